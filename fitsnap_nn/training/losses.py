"""Losses: functions of a residual and their derivatives; a fit has one per property.

To add a loss, define one class here, or in another package with the entry-point group ``fitsnap_nn.losses``; see
docs/losses.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType

from torch import Tensor

from fitsnap_nn.errors import InputError, Problem

GROUP = "fitsnap_nn.losses"  # entry points of other packages


@dataclass(frozen=True)
class Loss(ABC):
    """Base class of element-wise losses of residuals (prediction minus label).

    Attributes:
        delta: threshold, for losses that have one, in the loss unit of the property (eV/atom, eV/Å, bar).
    """

    delta: float = 1.0

    @abstractmethod
    def value_and_slope(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each residual and its derivative with respect to the residual.

        Args:
            residual: any shape, in the loss unit of the property.

        Returns:
            Two tensors of the same shape.
        """


class SquaredError(Loss):
    """r²."""

    def value_and_slope(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        return residual * residual, 2.0 * residual


class AbsoluteError(Loss):
    """|r|; the slope at 0 is 0."""

    def value_and_slope(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        return residual.abs(), residual.sign()


class Huber(Loss):
    """r² / 2 up to |r| = delta, and delta (|r| - delta / 2) beyond: P. J. Huber, Ann. Math. Stat. 35, 73 (1964)."""

    def value_and_slope(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        slope = residual.clamp(-self.delta, self.delta)
        return slope * (residual - 0.5 * slope), slope


LOSSES: Mapping[str, Callable[[float], Loss]] = MappingProxyType(
    {"mse": SquaredError, "mae": AbsoluteError, "huber": Huber}
)


def make_loss(kind: str, delta: float) -> Loss:
    """Return a loss by name, from this package or from an entry point.

    Args:
        kind: name of the loss.
        delta: its threshold, in the loss unit of the property.

    Raises:
        InputError: the loss is unknown, or its package cannot be imported.
    """
    if kind in LOSSES:
        return LOSSES[kind](delta)
    points = {point.name: point for point in entry_points(group=GROUP)}
    if kind not in points:
        raise InputError([Problem("[PYTORCH] loss", f"there is no loss {kind}.", f"Losses: {', '.join(LOSSES)}.")])
    try:
        made: Loss = points[kind].load()(delta)
    except Exception as error:
        remedy = "Repair or remove the package that provides it."
        what = f"the loss {kind} ({points[kind].value}) cannot be used: {type(error).__name__}: {error}."
        raise InputError([Problem("[PYTORCH] loss", what, remedy)]) from error
    return made
