"""The end of a fit before its last epoch: by a signal or at a time limit, on all ranks after the same step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fitsnap_nn.training.distributed import Ranks

BETWEEN = 1.0  # s between two agreements of several ranks
MOST_STEPS = 1000  # between two agreements
RESERVE = 2.0  # s before the time limit for ending the program


class FitStopped(Exception):
    """The fit stops here, on all ranks or in an evaluation on the first; the state of the trainer can be saved."""


class PartOfEpoch(NamedTuple):
    """State of an epoch between two of its steps.

    Attributes:
        steps: steps that are done.
        losses: (properties,) sums of losses of each rank, or of all ranks together.
        seconds: wall time so far, s.
    """

    steps: int
    losses: tuple[Tensor, ...]
    seconds: float

    def plain(self) -> dict[str, Any]:
        """Return plain values and tensors for a restart file."""
        return {"steps": self.steps, "losses": [one.cpu() for one in self.losses], "seconds": self.seconds}

    def losses_of(self, ranks: Ranks) -> Tensor:
        """Return the sums of this rank; another number of ranks than before leaves their sum to the first."""
        if len(self.losses) == ranks.size:
            return self.losses[ranks.rank].clone()
        total = torch.stack(self.losses).sum(dim=0)
        return total if ranks.is_first else torch.zeros_like(total)


class Stopping:
    """Whether to stop, as the first rank decides.

    A single rank looks before every step. Several agree about once per second, after a number of steps that the first
    one announces each time: no other step waits for it.

    Args:
        ranks: the ranks of this run.
        deadline: end of the time of the program on the clock; ``None``: no limit.
        clock: returns the time in s.

    Attributes:
        signalled: returns the number of the signal that asks for it, or 0; set by the trainer.
    """

    def __init__(
        self, ranks: Ranks, deadline: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.signalled: Callable[[], int] = lambda: 0
        self._ranks = ranks
        self._deadline = deadline
        self._clock = clock
        self._waiting = 0  # steps until the ranks agree again
        self._between = 1  # steps between the last two agreements
        self._agreed_at = self._previous = clock()
        self._longest = 0.0  # time of a step, or between two agreements, s
        self._saving = 0.0

    def saving_took(self, seconds: float) -> None:
        """Take note of the time that writing the restart file has taken."""
        self._saving = max(self._saving, seconds)

    def wanted(self) -> bool:
        """Return whether this rank, the first, wants to stop."""
        return self._ranks.is_first and (self.signalled() > 0 or self.out_of_time())

    def out_of_time(self) -> bool:
        """Return whether one more step and writing the restart file could take longer than the time that is left."""
        if self._deadline is None:
            return False
        return self._clock() + self._longest + 2.0 * self._saving + RESERVE > self._deadline

    def agreed(self) -> bool:
        """Return whether to stop before this step, the same on all ranks."""
        now = self._clock()
        self._longest, self._previous = max(self._longest, now - self._previous), now
        if self._ranks.size == 1:
            return self.wanted()
        if self._waiting:
            self._waiting -= 1
            return False
        step_time = (now - self._agreed_at) / self._between
        between = min(MOST_STEPS, 2 * self._between, max(1, int(BETWEEN / max(step_time, 1e-6))))
        stop, self._between = self._ranks.broadcast((self.wanted(), between))
        self._agreed_at, self._waiting = now, self._between - 1
        return stop

    def between_epochs(self) -> None:
        """Leave the time between two epochs, such as that of a validation, out of the time of a step."""
        self._previous = self._clock()

    def check(self) -> None:
        """Stop an evaluation on the first rank; the others wait for it until it ends all.

        Raises:
            FitStopped: this rank wants to stop.
        """
        if self.wanted():
            raise FitStopped
