"""Learning rate schedule: linear warm-up, then constant, cosine or plateau."""

from __future__ import annotations

import math
from typing import Any

from fitsnap_nn.settings.schema import PytorchSection


class Schedule:
    """Learning rate as a function of the step and of past validation losses.

    It rises linearly from 0 over ``warmup_fraction`` of all steps. Afterwards, *constant*: no change; *cosine*: half a
    period from ``learning_rate`` to ``min_learning_rate`` at the last step; *plateau*: multiplied by ``plateau_factor``
    if the validation loss has not improved for more than ``plateau_patience`` epochs.

    Args:
        options: section PYTORCH of the input.
        steps_per_epoch: number of batches per epoch.
    """

    def __init__(self, options: PytorchSection, steps_per_epoch: int) -> None:
        self.options = options
        self.total = max(1, options.num_epochs * steps_per_epoch)
        self.warmup = int(options.warmup_fraction * self.total)
        self.factor = 1.0
        self.lowest = math.inf
        self.waited = 0

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step.

        Args:
            step: step since the start of the fit, from 0.
        """
        options = self.options
        if step < self.warmup:
            return options.learning_rate * (step + 1) / self.warmup
        if options.scheduler == "cosine":
            done = (step - self.warmup) / max(1, self.total - self.warmup)
            span = options.learning_rate - options.min_learning_rate
            return options.min_learning_rate + span * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
        return max(options.learning_rate * self.factor, min(options.min_learning_rate, options.learning_rate))

    def after_epoch(self, loss: float) -> None:
        """Update the plateau detection at the end of an epoch.

        Args:
            loss: validation loss, or training loss without a validation set.
        """
        if self.options.scheduler != "plateau":
            return
        if loss < self.lowest:
            self.lowest, self.waited = loss, 0
        else:
            self.waited += 1
        if self.waited > self.options.plateau_patience:
            self.factor *= self.options.plateau_factor
            self.waited = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the plateau detection, as plain values."""
        return {"factor": self.factor, "lowest": self.lowest, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self.factor, self.lowest, self.waited = state["factor"], state["lowest"], state["waited"]
