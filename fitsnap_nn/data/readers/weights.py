"""Weights of single frames in the data files: they multiply the weights of the group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.readers.numbers import numbers
from fitsnap_nn.errors import DataError

ALL = "all"
# Names of the factor for each property, those of MACE included; one of them may be used in a frame.
NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        ALL: ("config_weight",),
        "energy": ("energy_weight", "config_energy_weight"),
        "forces": ("forces_weight", "force_weight", "config_forces_weight", "config_force_weight"),
        "stress": (
            *("stress_weight", "config_stress_weight", "virial_weight", "virials_weight"),
            *("config_virial_weight", "config_virials_weight"),
        ),
    }
)
WEIGHT_KEYS = frozenset(name for names in NAMES.values() for name in names)


def frame_weights(
    frame: Mapping[str, Any], properties: Sequence[str], keys: Mapping[str, str], where: str
) -> dict[str, float]:
    """Return the factors by which a frame multiplies the weights of its group.

    Args:
        frame: entries of the frame by name.
        properties: user-defined properties, whose factor is called ``<name>_weight``.
        keys: names from the input, by property or ``all``; they replace the names above.
        where: file and frame, for errors.

    Returns:
        Factors by property name; properties without one are omitted.

    Raises:
        DataError: a factor is not a number or is negative, or two names of one factor contradict each other.
    """
    names = {**NAMES, **{name: (f"{name}_weight",) for name in properties}}
    names |= {which: (key,) for which, key in keys.items() if key}
    found = {which: _factor(frame, candidates, where) for which, candidates in names.items()}
    common = found.pop(ALL)
    factors = {which: value for which, value in found.items() if value is not None}
    return factors if common is None else {which: common * factors.get(which, 1.0) for which in found}


def weight_notes(path: str, names: Sequence[str]) -> list[Finding]:
    """Return a note on the names of weights that a file contains."""
    what = "multiplies the weight of the group; a label whose weight is 0 is left out."
    return [Finding(f"{', '.join(names)} of each frame {what}", path, warning=False)] if names else []


def used_names(frames: Iterable[Mapping[str, Any]], keys: Mapping[str, str]) -> list[str]:
    """Return the names of weights that frames contain, in the order of first occurrence."""
    wanted = WEIGHT_KEYS | set(keys.values())
    return list(dict.fromkeys(name for frame in frames for name in frame if name in wanted))


def _factor(frame: Mapping[str, Any], names: Sequence[str], where: str) -> float | None:
    values = {name: _number(frame[name], f"{where}: {name}") for name in names if name in frame}
    if len(set(values.values())) > 1:
        text = " and ".join(f"{name} = {value:g}" for name, value in values.items())
        raise DataError(f"{where}: {text} contradict each other. Remove all but one.")
    return next(iter(values.values()), None)


def _number(value: Any, what: str) -> float:
    try:
        array = numbers(value)
    except ValueError:
        raise DataError(f"{what} is not a number. Correct or remove it.") from None
    if array.shape != ():
        raise DataError(
            f"{what} has shape {array.shape}, but a weight is one number per frame: weights per atom are not "
            "supported. Remove or rename it."
        )
    if not np.isfinite(array) or array < 0.0:
        raise DataError(f"{what} is {float(array):g}. A weight must be a number of at least 0: correct it.")
    return float(array)
