"""Limits of axes that outliers do not determine."""

from __future__ import annotations

import numpy as np

from fitsnap_nn.reports.results import Floats

SHARE = 0.04  # quantile at either end
REACH = 0.6  # how far the limits may exceed the quantiles, in units of their distance
PADDING = 0.04


def robust_limits(values: Floats, share: float = SHARE, reach: float = REACH) -> tuple[float, float]:
    """Return limits that include all values except outliers.

    The limits do not exceed the quantiles ``share`` and 1 - ``share`` by more than ``reach`` times their distance.

    Args:
        values: values of any shape; those that are not finite are ignored.
        share, reach: see above.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = np.quantile(finite, (share, 1 - share))
    margin = reach * (high - low)
    if margin == 0.0:
        low, high = finite.min(), finite.max()
    low, high = max(finite.min(), low - margin), min(finite.max(), high + margin)
    padding = PADDING * (high - low) or max(0.05 * abs(high), 1e-6)
    return float(low - padding), float(high + padding)


def clipped(values: Floats, limits: tuple[float, float]) -> Floats:
    """Return values moved into limits; those that are not finite go to the upper one."""
    low, high = limits
    inset = 0.012 * (high - low)
    return np.clip(np.nan_to_num(values, nan=high, posinf=high, neginf=low), low + inset, high - inset)


def outside(values: Floats, limits: tuple[float, float]) -> np.typing.NDArray[np.bool_]:
    """Return which values are outside limits, or not finite."""
    return ~((values >= limits[0]) & (values <= limits[1]))
