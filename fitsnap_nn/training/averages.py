"""Averages of the weights over steps and epochs, which are validated and exported instead of the last weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Averages:
    """Averages of the weights of a fit.

    Args:
        decay: decay per step of the exponential moving average; 0 for none.
        weights: (W,) initial weights.
    """

    def __init__(self, decay: float, weights: Tensor) -> None:
        self._decay = decay
        self._moving = weights.detach().clone() if decay else None
        self._mean: Tensor | None = None

    def after_step(self, step: int, weights: Tensor) -> None:
        """Update the exponential moving average.

        Args:
            step: step since the start of the fit, from 0.
            weights: (W,) after it.
        """
        if self._moving is not None:
            # EMA warm-up as in TensorFlow's ExponentialMovingAverage(num_updates): a smaller decay in the first steps
            # reduces the weight of the random initial parameters.
            self._moving.lerp_(weights, 1.0 - min(self._decay, (1 + step) / (10 + step)))

    def after_epoch(self, number: int, weights: Tensor) -> None:
        """Add an epoch to the mean over epochs: stochastic weight averaging (P. Izmailov et al., UAI 2018).

        Args:
            number: epochs in the mean so far; 0 starts a new one.
            weights: (W,) after the epoch.
        """
        if self._mean is None or not number:
            self._mean = weights.detach().clone()
        else:
            self._mean.lerp_(weights, 1.0 / (number + 1))

    def of(self, weights: Tensor) -> Tensor:
        """Return the weights to validate: the mean over epochs, else the moving average, else those given."""
        return next((one for one in (self._mean, self._moving) if one is not None), weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors."""
        return {"average": self._moving, "epoch_mean": self._mean}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore the result of `state_dict`, or of an earlier version that had no mean over epochs."""
        moving, mean = state["average"], state.get("epoch_mean")
        self._moving = None if moving is None else moving.to(device)
        self._mean = None if mean is None else mean.to(device)
