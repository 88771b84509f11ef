"""Learning rate schedule: linear warm-up, then constant, cosine, plateau or exponential; and stage two."""

from __future__ import annotations

import math
from typing import Any

from fitsnap_nn.settings.schema import PytorchSection
from fitsnap_nn.settings.training import SCHEDULE_FREE


class Schedule:
    """Learning rate as a function of the step and of past validation losses.

    It rises linearly from 0 over ``warmup_fraction`` of all steps. Afterwards, *constant*: no change; *cosine*: half a
    period from ``learning_rate`` to ``min_learning_rate`` at the last step; *plateau*: multiplied by ``plateau_factor``
    if the validation loss has not improved for more than ``plateau_patience`` epochs; *exponential*: multiplied by
    ``lr_scheduler_gamma`` after each epoch. All of them end before stage two, which has a learning rate of its own: it
    falls with *cosine*, unless the mean of the weights is taken, and otherwise is constant. Schedule-free optimisers
    have only the warm-up.

    Args:
        options: section PYTORCH of the input.
        steps_per_epoch: number of batches per epoch.

    Attributes:
        second_stage: epochs before stage two; ``None`` without one. The trainer changes it when stage two begins.
    """

    def __init__(self, options: PytorchSection, steps_per_epoch: int) -> None:
        self.options = options
        self.kind = "constant" if options.optimizer == SCHEDULE_FREE else options.scheduler
        self.second_stage = options.second_stage
        self.steps_per_epoch = max(1, steps_per_epoch)
        self.warmup = int(options.warmup_fraction * max(1, options.num_epochs * steps_per_epoch))
        epochs = options.num_epochs if self.second_stage is None else min(self.second_stage, options.num_epochs)
        self.total = max(1, epochs * steps_per_epoch)
        self.factor = 1.0
        self.lowest = math.inf
        self.waited = 0

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step.

        Args:
            step: step since the start of the fit, from 0.
        """
        options, epoch = self.options, step // self.steps_per_epoch
        if self.second_stage is not None and epoch >= self.second_stage:
            return self._in_stage_two(step, self.second_stage)
        if step < self.warmup:
            return options.learning_rate * (step + 1) / self.warmup
        if self.kind == "cosine":
            return self._cosine(options.learning_rate, step, self.warmup, self.total)
        factor = options.lr_scheduler_gamma**epoch if self.kind == "exponential" else self.factor
        return max(options.learning_rate * factor, min(options.min_learning_rate, options.learning_rate))

    @property
    def falls_in_stage_two(self) -> bool:
        """Whether stage two has a cosine of its own. A mean of weights is of use if they still move."""
        return self.kind == "cosine" and not self.options.stage_two_average

    def _in_stage_two(self, step: int, start: int) -> float:
        if not self.falls_in_stage_two:
            return self.options.second_rate
        first, last = start * self.steps_per_epoch, self.options.num_epochs * self.steps_per_epoch
        return self._cosine(self.options.second_rate, step, first, last)

    def _cosine(self, rate: float, step: int, first: int, last: int) -> float:
        """Return half a period of the cosine from a learning rate at one step to the minimum at another."""
        done = min((step - first) / max(1, last - first), 1.0)
        lowest = min(self.options.min_learning_rate, rate)
        return lowest + (rate - lowest) * 0.5 * (1.0 + math.cos(math.pi * done))

    def after_epoch(self, loss: float) -> None:
        """Update the plateau detection at the end of an epoch.

        Args:
            loss: validation loss, or training loss without a validation set.
        """
        if self.kind != "plateau":
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
