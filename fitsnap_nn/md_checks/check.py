"""Result of one check: a verdict, a sentence, numbers and curves, as ``md_checks.json`` contains them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from fitsnap_nn.data.configuration import Floats


class Verdict(Enum):
    """Verdict of a check; the value is its name in tables and files."""

    PASS = "pass"
    FAIL = "fail"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Number:
    """A number of a check; ``reference`` is what it is compared with, such as the value of the labels."""

    label: str
    value: float
    unit: str
    reference: float | None = None


@dataclass(frozen=True)
class Curve:
    """Points to plot."""

    label: str
    x: Sequence[float] | Floats
    y: Sequence[float] | Floats


@dataclass(frozen=True)
class Check:
    """Result of a check.

    Attributes:
        name: identifier, such as ``dimers``.
        title: heading.
        verdict: pass, fail or not run.
        summary: one sentence with units: the result, or why the check was not run.
        numbers, curves: what the verdict follows from.
        x_label, y_label: axes of the curves, with units.
        log: whether the y axis is logarithmic.
    """

    name: str
    title: str
    verdict: Verdict
    summary: str
    numbers: tuple[Number, ...] = ()
    curves: tuple[Curve, ...] = ()
    x_label: str = ""
    y_label: str = ""
    log: bool = False

    def noting(self, remark: str) -> Check:
        """Return the check with a remark at the end of the summary."""
        return replace(self, summary=f"{self.summary.rstrip('.')}. {remark}") if remark else self

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON; numbers that are not finite are ``None``."""
        values: dict[str, Any] = _plain({**asdict(self), "verdict": self.verdict.value})
        return values


def judged(faults: Iterable[str], good: str) -> tuple[Verdict, str]:
    """Return the verdict and the summary of a check.

    Args:
        faults: what is wrong, as clauses; empty if nothing is.
        good: the summary if nothing is wrong.
    """
    found = list(faults)
    text = "; ".join(found) or good
    return (Verdict.FAIL if found else Verdict.PASS), f"{text[0].upper()}{text[1:]}."


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
