"""Training loop, with results that do not depend on the number of ranks beyond rounding."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fitsnap_nn.data.irreducible_blocks import blocks_of
from fitsnap_nn.devices import tf32
from fitsnap_nn.errors import TrainingError
from fitsnap_nn.interrupts import deferred_signals
from fitsnap_nn.memory import frozen_objects
from fitsnap_nn.models.base import Model
from fitsnap_nn.settings.schema import PytorchSection
from fitsnap_nn.settings.training import KALMAN
from fitsnap_nn.training.averages import Averages
from fitsnap_nn.training.batches import Batches, SampleSet
from fitsnap_nn.training.best import Best
from fitsnap_nn.training.differentiation import Share, is_captured
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.flat import FlatParameters, trainable
from fitsnap_nn.training.kalman import KalmanStep
from fitsnap_nn.training.objective import Objective
from fitsnap_nn.training.schedule import Schedule
from fitsnap_nn.training.set_errors import Errors, SetErrors, explaining_memory
from fitsnap_nn.training.shares import Shares
from fitsnap_nn.training.steps import Fitted, GradientStep, Step
from fitsnap_nn.training.stopping import FitStopped, PartOfEpoch, Stopping


@dataclass(frozen=True)
class EpochReport:
    """Results of one epoch.

    Attributes:
        epoch: number of the epoch, from 1.
        train_loss: loss of the training batches, each with the weights before its step.
        validation: errors of the validation set; ``None`` without one.
        learning_rate: of the last step.
        seconds: wall time, s.
        is_best: whether it is the best epoch so far, see `Best`.
    """

    epoch: int
    train_loss: float
    validation: Errors | None
    learning_rate: float
    seconds: float
    is_best: bool


class Trainer:
    """Optimises the weights of a model.

    The model must not be modified until `run` returns. It then has the weights of the best epoch, by default that with
    the lowest validation loss, or the lowest training loss without a validation set.

    Args:
        model: the model, on ``device``.
        training, validation: the sets; ``validation`` may be empty.
        objective: weighted sum of losses.
        options: section PYTORCH of the input.
        seed: seed of batch order and augmentation.
        ranks: the ranks of this run.
        device: device of batches.
        release: called after each batch, to release the memory of its cached inputs.
        say: prints a line.
        stage_two: training and validation set with the weights of stage two; ``None`` if they do not change.

    Attributes:
        on_part: called with the number of steps or batches that are done, their total, and whether it is validation.
        stopping: whether to stop before the last epoch; by default only at a signal.
        part: steps of the current epoch, if the fit has stopped in the middle of it.
    """

    def __init__(
        self,
        model: Model[Any],
        training: SampleSet,
        validation: SampleSet,
        objective: Objective,
        options: PytorchSection,
        seed: int,
        ranks: Ranks,
        device: torch.device,
        release: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda _: None,
        stage_two: tuple[SampleSet, SampleSet] | None = None,
    ) -> None:
        self.model = model
        self.training = training
        self.validation = validation
        self.objective = objective
        self.options = options
        self.seed = seed
        self.ranks = ranks
        self.device = device
        self.release = release
        self.say = say
        self.stage_two = stage_two or (training, validation)
        self.in_stage_two = False
        self.captured = is_captured(model, device)
        blocks = blocks_of(objective.properties) if options.log_separate_blocks else ()
        self.errors = SetErrors(model, objective, ranks, device, release, say, blocks)
        self.flat = FlatParameters(model)
        self.batches, self.shares = self._make_batches()
        self.schedule = Schedule(options, len(self.batches))
        self.step = self._make_step()
        self.averages = Averages(options.ema_decay, self.flat.vector)
        self.best = Best(options.best_model_metric, self.flat.vector.detach().clone())
        self.epoch = 0
        self.on_part: Callable[[int, int, bool], None] = lambda *_: None
        self.stopping = Stopping(ranks)
        self.part: PartOfEpoch | None = None

    def run(self, after_epoch: Callable[[EpochReport], None]) -> None:
        """Train up to epoch ``num_epochs``, from the current epoch on, then set the best weights.

        Args:
            after_epoch: called with the report of each epoch.

        Raises:
            TrainingError: the loss is not a finite number, or the memory of the GPU does not suffice for a batch.
            FitStopped: SIGINT or SIGTERM has arrived, or the time is over; raised between two steps on all ranks, or
                in an evaluation on the first rank.
        """
        # Without this autograd hands work to its device threads, an overhead that matters in steps this short.
        deferred, autograd = deferred_signals(self.ranks.is_first), torch.autograd.set_multithreading_enabled(False)
        products = tf32(self.options.tf32)
        with autograd, products, frozen_objects(), explaining_memory(), deferred as self.stopping.signalled:
            if self.objective.balanced and not (self.epoch or self.part):
                self._balance_start()
            while self._goes_on():
                after_epoch(self._run_epoch())
            if self.stopping.signalled():  # during the last epoch
                raise FitStopped
        self.flat.assign(self.best.weights)

    def evaluate_start(self) -> EpochReport:
        """Return the errors of the initial weights as epoch 0.

        It counts as the best epoch so far: a fit that improves on it in no epoch keeps the initial weights.
        """
        started = time.perf_counter()
        errors = self.evaluate(self.validation if len(self.validation) else self.training)
        self.best.start(errors)
        validation, train_loss = (errors, math.nan) if len(self.validation) else (None, errors.loss)
        return EpochReport(0, train_loss, validation, math.nan, time.perf_counter() - started, True)

    @property
    def summed_terms(self) -> tuple[float, ...]:
        """Terms of the loss of the best epoch; empty if their sum is not minimised."""
        return () if self.objective.balanced or self.options.optimizer == KALMAN else self.best.values

    @property
    def stage_two_began(self) -> int | None:
        """Epochs before stage two; ``None`` if it has not begun."""
        return self.schedule.second_stage if self.in_stage_two else None

    def evaluate(self, samples: SampleSet) -> Errors:
        """Return loss and errors of a set, with the weights that are exported: averaged ones if there are any.

        Args:
            samples: the set, the same on every rank.

        Returns:
            The same values on every rank.
        """
        with self.holding(self.kept()):
            return self.errors.of(samples, self._in_evaluation)

    def _in_evaluation(self, done: int, total: int) -> None:
        self.stopping.check()
        self.on_part(done, total, True)

    def kept(self) -> Tensor:
        """Return the weights that are validated and exported."""
        return self.averages.of(self.step.evaluated())

    @contextmanager
    def holding(self, weights: Tensor) -> Iterator[None]:
        """Replace the weights of the model within the block.

        Args:
            weights: (W,) in the order of `FlatParameters`.
        """
        current = self.flat.vector.detach().clone()
        self.flat.assign(weights)
        try:
            yield
        finally:
            self.flat.assign(current)

    def state_dict(self) -> dict[str, Any]:
        """Return the complete state of the fit between two steps, as tensors and plain values."""
        return {
            "epoch": self.epoch,
            "seed": self.seed,
            "weights": self.flat.vector.detach().clone(),
            **self.averages.state_dict(),
            "optimizer": self.step.state_dict(),
            "schedule": self.schedule.state_dict(),
            "factors": self.objective.factors,
            "stage_two": self.stage_two_began,
            "part": self.part.plain() if self.part else None,
            **self.best.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state, so that the fit continues bit for bit.

        Args:
            state: result of `state_dict`.
        """
        self.epoch, self.seed = state["epoch"], state["seed"]
        self.batches, self.shares = self._make_batches()
        self.step = self._make_step()
        self.flat.assign(state["weights"])
        self.averages.load_state_dict(state, self.device)
        self.step.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.objective.factors = list(state.get("factors", self.objective.factors))
        self.best.load_state_dict(state)
        if (begun := state.get("stage_two")) is not None:
            self._enter_stage_two(begun)
        if part := state.get("part"):
            self.part = PartOfEpoch(part["steps"], tuple(part["losses"]), part["seconds"])

    def _make_batches(self) -> tuple[Batches, Shares]:
        options, properties = self.options, self.objective.properties
        sizes, shuffle = self.training.sizes, options.shuffle_flag
        batches = Batches(sizes, options.batch_size, options.atom_bounds, seed=self.seed, shuffle=shuffle)
        shares = Shares(self.model, properties, batches, self.seed, self.ranks, self.device, captured=self.captured)
        return batches, shares

    def _make_step(self) -> Step:
        trained = [one for one in self.model.members() if trainable(one)]
        fitted = Fitted(trained, self.flat, self.objective, self.ranks, self.captured)
        if self.options.optimizer == KALMAN:
            return KalmanStep(fitted, self.training, self.options.initial_variance, self.seed, self.release)
        return GradientStep(fitted, self.options, self.schedule)

    def _balance_start(self) -> None:
        """Set the factors of a balanced objective to those at the initial weights."""
        values = self.evaluate(self.validation if len(self.validation) else self.training).values
        self.objective.balance(values, *(() if all(values) else (self.evaluate(self.training).values,)))

    def _goes_on(self) -> bool:
        """Return whether to train another epoch; stage two begins here if it is due, or instead of early stopping."""
        if self.epoch >= self.options.num_epochs:
            return False
        patience, start = self.options.early_stopping, self.schedule.second_stage
        stopped = bool(patience) and self.epoch - self.best.lowest_epoch >= patience
        if start is None or self.in_stage_two:
            return not stopped
        if stopped or self.epoch >= start:
            self._begin_stage_two()
        return True

    def _begin_stage_two(self) -> None:
        """Change weights and learning rate; losses before and after cannot be compared."""
        self._enter_stage_two(self.epoch)
        self.best.restart(self.epoch)
        if self.objective.balanced:
            self._balance_start()
        options = self.options
        weights = {name: getattr(options, f"stage_two_{name}_weight") for name in ("energy", "force", "stress")}
        changed = [f"{name}_weight {weight:g}" for name, weight in weights.items() if weight is not None]
        self.say(
            f"stage two from epoch {self.epoch + 1} on: "
            f"{', '.join([f'learning rate {options.second_rate:.3g}', *changed])}; the best epoch is chosen anew"
        )

    def _enter_stage_two(self, start: int) -> None:
        self.in_stage_two, self.schedule.second_stage = True, start
        self.training, self.validation = self.stage_two

    def _run_epoch(self) -> EpochReport:
        started = time.perf_counter()
        part, self.part = self.part, None
        losses = torch.zeros(len(self.objective.terms), dtype=torch.float64, device=self.device)
        if part:
            losses += part.losses_of(self.ranks).to(self.device)
            started -= part.seconds
        self._take_steps(losses, part.steps if part else 0, started)
        learning_rate = self.step.learning_rate((self.epoch + 1) * len(self.batches) - 1)
        self.ranks.sum_(losses)
        counts = self.training.total(range(len(self.training)))
        train_loss = self.objective.total(losses, counts)
        validated = part and part.steps == len(self.batches)  # stopped in the validation: the mean has this epoch
        if self.in_stage_two and self.options.stage_two_average and not validated:
            self.averages.after_epoch(self.epoch - (self.schedule.second_stage or 0), self.step.evaluated())
        validation = self._validate(losses, started) if len(self.validation) else None
        values = self.objective.values(losses, counts)
        # Those of the training set would favour properties with few labels, which a network can interpolate.
        self.objective.balance(*([validation.values] if validation else []), values)
        self.epoch += 1
        loss = validation.loss if validation else train_loss
        if not (math.isfinite(train_loss) and math.isfinite(loss)):
            raise TrainingError(self._not_finite(learning_rate))
        terms = validation.values if validation else values
        is_best = self.best.consider(self.epoch, loss, terms, validation, self.kept())
        self.schedule.after_epoch(loss)
        seconds = time.perf_counter() - started
        return EpochReport(self.epoch, train_loss, validation, learning_rate, seconds, is_best)

    def _take_steps(self, losses: Tensor, done: int, started: float) -> None:
        """Take the steps of an epoch.

        Args:
            losses: (properties,) sums of losses on this rank, to which those of the steps are added.
            done: steps that the fit has taken before it was stopped.
            started: start of the epoch, on the clock of `time.perf_counter`.

        Raises:
            FitStopped: on all ranks; ``part`` has the state of the epoch.
        """
        first_step, count = self.epoch * len(self.batches), len(self.batches)
        shares = self.shares.of_epoch(self.epoch, self.training, done)
        self.stopping.between_epochs()
        for number in range(done, count):
            if self.stopping.agreed():
                if number:
                    sums = tuple(self.ranks.share(losses.cpu()))
                    self.part = PartOfEpoch(number, sums, time.perf_counter() - started)
                raise FitStopped
            self.on_part(number, count, False)
            losses += self._step(first_step + number, shares)
            self.release()

    def _validate(self, losses: Tensor, started: float) -> Errors:
        """Return the errors of the validation set at the end of an epoch, whose losses are summed over the ranks."""
        try:
            return self.evaluate(self.validation)
        except FitStopped:
            self.part = PartOfEpoch(len(self.batches), (losses,), time.perf_counter() - started)
            raise

    def _not_finite(self, learning_rate: float) -> str:
        remedy, rate = "Lower learning_rate or set gradient_clip in [PYTORCH]", f" (learning rate {learning_rate:.3g})"
        if math.isnan(learning_rate):
            remedy, rate = "Use balance = 1, a larger batch_size or optimizer = Adam in [PYTORCH]", ""
        return (
            f"the loss is not a finite number in epoch {self.epoch}{rate}. {remedy}, and look for outliers in the "
            "per-group error table."
        )

    def _step(self, number: int, shares: Iterator[tuple[Sequence[int], Share | None]]) -> Tensor:
        """Take one optimiser step with a batch.

        Args:
            number: step since the start of the fit, from 0.
            shares: yields the batch next. It is advanced here, so that no caller keeps a reference to a large batch
                after the step.

        Returns:
            (properties,) sums of losses on this rank.
        """
        members, share = next(shares)
        sums = self.step.take(number, self.epoch, share, self.training.total(members))
        self.averages.after_step(number, self.flat.vector.detach())
        return sums
