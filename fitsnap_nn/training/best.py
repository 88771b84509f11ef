"""The best epoch of a fit, whose weights are exported, and the epoch from which patience counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fitsnap_nn.settings.training import LAST, LOSS
from fitsnap_nn.training.set_errors import Errors


def rating(metric: str, epoch: int, loss: float, errors: Errors | None) -> float:
    """Return the number by which epochs are compared; the lowest is the best.

    Args:
        metric: ``loss``, or ``rmse_prod`` or ``mae_prod`` for the product over the properties, as in metatrain.
            Properties without labels or weights in the set do not count. ``last``: the last epoch is the best.
        epoch: the epoch.
        loss: of the validation set, or of the training set without one.
        errors: errors of the validation set; ``None`` without one.
    """
    if metric == LAST:
        return -float(epoch)
    if metric == LOSS or errors is None:
        return loss
    found = errors.rmse if metric == "rmse_prod" else errors.mae
    return math.prod(error for error, value in zip(found.values(), errors.values, strict=True) if value > 0)


class Best:
    """The best epoch so far.

    Args:
        metric: see `rating`.
        weights: (W,) initial weights.

    Attributes:
        epoch: the best epoch; 0 for the initial weights.
        loss, values: its loss and the terms of it.
        rating: see `rating`.
        weights: (W,) its weights, those that are validated.
        lowest_epoch, lowest_loss: the epoch of the lowest loss. Initial weights do not count: while their loss is not
            reached, a fit that improves is not stopped.
    """

    def __init__(self, metric: str, weights: Tensor) -> None:
        self._metric = metric
        self.weights = weights
        self.values: tuple[float, ...] = ()
        self.restart(0)

    def restart(self, epoch: int) -> None:
        """Forget the best epoch but its weights, because losses before and after an epoch cannot be compared.

        Args:
            epoch: the last epoch before; patience counts from it.
        """
        self.epoch, self.loss, self.rating = 0, math.inf, math.inf
        self.lowest_epoch, self.lowest_loss = epoch, math.inf

    def start(self, errors: Errors) -> None:
        """Take the initial weights as the best so far."""
        if math.isfinite(errors.loss):
            self.loss, self.values = errors.loss, errors.values
            self.rating = rating(self._metric, 0, errors.loss, errors)

    def consider(
        self, epoch: int, loss: float, values: Sequence[float], validation: Errors | None, weights: Tensor
    ) -> bool:
        """Compare an epoch with the best so far.

        Args:
            epoch: the epoch, from 1.
            loss: of the validation set, or of the training set without one.
            values: terms of the loss.
            validation: errors of the validation set; ``None`` without one.
            weights: (W,) validated weights, which are copied.

        Returns:
            Whether it is the best.
        """
        if loss < self.lowest_loss:
            self.lowest_epoch, self.lowest_loss = epoch, loss
        found = rating(self._metric, epoch, loss, validation)
        if not found < self.rating:
            return False
        self.epoch, self.loss, self.rating, self.values = epoch, loss, found, tuple(values)
        self.weights = weights.clone()
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain values."""
        return {
            "best_epoch": self.epoch,
            "best_loss": self.loss,
            "best_rating": self.rating,
            "best_values": list(self.values),
            "best_weights": self.weights,
            "lowest": [self.lowest_epoch, self.lowest_loss],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`, or of an earlier version that had fewer entries."""
        self.epoch, self.loss = state["best_epoch"], state["best_loss"]
        self.rating = state.get("best_rating", self.loss)
        self.values = tuple(state.get("best_values", ()))
        self.weights = state["best_weights"].to(self.weights.device)
        self.lowest_epoch, self.lowest_loss = state.get("lowest", (self.epoch, self.loss))
