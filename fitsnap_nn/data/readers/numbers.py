"""Numbers in data files."""

from __future__ import annotations

from typing import Any

import numpy as np

from fitsnap_nn.data.configuration import Floats

NUMERIC = frozenset({int, float, type(None), np.float64, np.float32, np.int64, np.int32})  # None becomes NaN


def numbers(value: Any) -> Floats:
    """Return a number or nested lists of numbers as an array.

    Raises:
        ValueError: the value is not numeric, is a Boolean or text, is ragged or nested too deeply, or has an integer
            beyond the range of float64.
    """
    # numpy would convert True to 1.0, also among floats, and text to the number that Python reads in it, 1_5 to 15.0.
    array = value if isinstance(value, (np.ndarray, np.generic)) else np.asarray(value, dtype=object)
    is_numeric = array.dtype.kind in "iuf" or (array.dtype.kind == "O" and set(map(type, array.ravel())) <= NUMERIC)
    if not is_numeric:
        raise ValueError("not an array of numbers")
    try:
        return np.asarray(array, dtype=np.float64)
    except OverflowError as error:
        raise ValueError(str(error)) from None
