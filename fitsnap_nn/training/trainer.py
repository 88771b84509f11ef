"""Training: the same steps, in the same order, with the same sums, on any number of ranks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fitsnap_nn.data.properties import Property
from fitsnap_nn.errors import TrainingError
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.models.base import Model, predict
from fitsnap_nn.settings.schema import PytorchSection
from fitsnap_nn.training.allocator import frozen_objects
from fitsnap_nn.training.augmentation import augment, random_rotations
from fitsnap_nn.training.batches import Batches, Labels, SampleSet
from fitsnap_nn.training.distributed import Ranks, pack, partition_by_cost
from fitsnap_nn.training.flat import FlatParameters
from fitsnap_nn.training.objective import Objective, error_sums
from fitsnap_nn.training.schedule import Schedule

EVALUATION_COST = 60_000.0  # of what is evaluated together: enough to be quick, and the memory is that of a batch


@dataclass(frozen=True)
class Errors:
    """Loss and errors of a set; ``mae`` and ``rmse`` by property name, in loss units, NaN where there is no label."""

    loss: float
    mae: Mapping[str, float]
    rmse: Mapping[str, float]


@dataclass(frozen=True)
class EpochReport:
    """One epoch, from 1. ``train_loss`` is that of the batches as they came, while the weights changed."""

    epoch: int
    train_loss: float
    validation: Errors | None
    learning_rate: float
    seconds: float
    is_best: bool


class Trainer:
    """Fits a model's weights.

    The model is best left alone until ``run`` ends; it then holds the weights of the best epoch: the lowest
    validation loss, or the lowest training loss where there is nothing to validate on.
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
        self.flat = FlatParameters(model)
        self.optimizer = _optimizer(self.flat.vector, options)
        self.batches = self._make_batches()
        self.schedule = Schedule(options, len(self.batches))
        self.average = self.flat.vector.detach().clone() if options.ema_decay else None
        self.epoch = 0
        self._drawn: tuple[int, Tensor] | None = None
        self.best_epoch = 0
        self.best_loss = math.inf
        self.best_weights = self.flat.vector.detach().clone()

    def run(self, after_epoch: Callable[[EpochReport], None]) -> None:
        """Train up to ``num_epochs``, from wherever a restart file left off, and keep the best weights.

        Raises:
            TrainingError: the loss is not a number.
        """
        # Steps are short: handing each backward pass to a thread of its own would take as long as some of them.
        with torch.autograd.set_multithreading_enabled(False), frozen_objects():
            while self.epoch < self.options.num_epochs and not self._should_stop():
                after_epoch(self._run_epoch())
        self.flat.assign(self.best_weights)

    def evaluate(self, samples: SampleSet) -> Errors:
        """Loss and errors of a set with the weights that would be kept now (averaged ones, with ``ema_decay``)."""
        properties = self.objective.properties
        losses = torch.zeros(len(properties), dtype=torch.float64, device=self.device)
        errors = torch.zeros(len(properties), 2, dtype=torch.float64, device=self.device)
        with self.holding(self._kept()):
            for batch, labels in samples.always_collated(pack(samples.costs, EVALUATION_COST, self.ranks), self.device):
                found = predict(self.model, batch, properties)
                losses += self.objective.sums(found, labels, batch)
                errors += error_sums(properties, found, labels, batch)
                self.release()
        sums = self.ranks.sum_(torch.cat([losses, errors.flatten()])).cpu()
        counts, size = samples.total(range(len(samples))), len(properties)
        loss = self.objective.total(sums[:size], counts)
        return _errors(loss, sums[size:].view(size, 2), counts, properties)

    @contextmanager
    def holding(self, weights: Tensor) -> Iterator[None]:
        """Let the model hold other weights for a while."""
        current = self.flat.vector.detach().clone()
        self.flat.assign(weights)
        try:
            yield
        finally:
            self.flat.assign(current)

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on, as tensors and plain values."""
        return {
            "epoch": self.epoch,
            "seed": self.seed,
            "weights": self.flat.vector.detach().clone(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self.epoch, self.seed = state["epoch"], state["seed"]
        self.batches = self._make_batches()
        self.flat.assign(state["weights"])
        self.average = None if state["average"] is None else state["average"].to(self.device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.best_epoch, self.best_loss = state["best_epoch"], state["best_loss"]
        self.best_weights = state["best_weights"].to(self.device)

    def _make_batches(self) -> Batches:
        options = self.options
        least, most = options.batch_atom_bounds
        bounds = (least, most) if most else None
        sizes, shuffle = self.training.sizes, options.shuffle_flag
        return Batches(sizes, options.batch_size, bounds, seed=self.seed, shuffle=shuffle)

    def _should_stop(self) -> bool:
        patience = self.options.early_stopping
        return bool(patience) and self.epoch - self.best_epoch >= patience

    def _run_epoch(self) -> EpochReport:
        started = time.perf_counter()
        losses = torch.zeros(len(self.objective.terms), dtype=torch.float64, device=self.device)
        first_step = self.epoch * len(self.batches)
        steps = list(self.batches.of_epoch(self.epoch))
        shares = [self._share(members) for members in steps]
        collated = self.training.collated(shares, self.device)
        for number, (members, share) in enumerate(zip(steps, shares, strict=True)):
            losses += self._step(first_step + number, members, share, collated)
            self.release()
        learning_rate = self.schedule.learning_rate(first_step + len(self.batches) - 1)
        self.ranks.sum_(losses)
        train_loss = self.objective.total(losses, self.training.total(range(len(self.training))))
        validation = self.evaluate(self.validation) if len(self.validation) else None
        self.epoch += 1
        loss = validation.loss if validation else train_loss
        if not (math.isfinite(train_loss) and math.isfinite(loss)):
            raise TrainingError(
                f"the loss is not a finite number in epoch {self.epoch} (learning rate "
                f"{learning_rate:.3g}). Lower learning_rate or set gradient_clip in [PYTORCH], "
                "and look for outliers in the per-group error table."
            )
        is_best = loss < self.best_loss
        if is_best:
            self.best_epoch, self.best_loss = self.epoch, loss
            self.best_weights = self._kept().clone()
        self.schedule.after_epoch(loss)
        seconds = time.perf_counter() - started
        return EpochReport(self.epoch, train_loss, validation, learning_rate, seconds, is_best)

    def _share(self, members: Sequence[int]) -> list[int]:
        """Return the members of a batch that belong to this rank."""
        costs = [self.training.costs[member] for member in members]
        return [members[number] for number in partition_by_cost(costs, self.ranks.size)[self.ranks.rank]]

    def _step(
        self, step: int, members: Sequence[int], share: Sequence[int], collated: Iterator[tuple[Batch, Labels]]
    ) -> Tensor:
        """Take one step with a batch; return this rank's part of the sums that the loss is made of.

        Args:
            members: of the whole batch, on all ranks.
            share: this rank's members.
            collated: yields the batch of this rank's members next, unless it has none. It is advanced here, so that a
                large batch is freed when the step returns.
        """
        counts = self.training.total(members)
        self.flat.gradient.zero_()
        sums = torch.zeros(len(self.objective.terms), dtype=torch.float64, device=self.device)
        if share:
            batch, labels = next(collated)
            if self.model.needs_augmentation:
                rotations = self._rotations(self.epoch)[share]
                batch, labels = augment(batch, labels, self.objective.properties, rotations)
            found = predict(self.model, batch, self.objective.properties, create_graph=True)
            sums = self.objective.backward(found, labels, batch, counts, self.flat.parameters)
        self.ranks.sum_(self.flat.gradient)
        if self.options.gradient_clip:
            torch.nn.utils.clip_grad_norm_([self.flat.vector], self.options.gradient_clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(step)
        self.optimizer.step()
        if self.average is not None:
            # A young average would remember the random start: let it forget that sooner.
            decay = min(self.options.ema_decay, (1 + step) / (10 + step))
            self.average.lerp_(self.flat.vector.detach(), 1.0 - decay)
        return sums

    def _rotations(self, epoch: int) -> Tensor:
        """(configurations, 3, 3) for the training set; drawn once an epoch."""
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, random_rotations(len(self.training), self.seed, epoch)
        return self._drawn[1]

    def _kept(self) -> Tensor:
        return self.flat.vector.detach() if self.average is None else self.average


def _optimizer(vector: Tensor, options: PytorchSection) -> torch.optim.Optimizer:
    kinds: dict[str, type[torch.optim.Adam]] = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}
    return kinds[options.optimizer]([vector], lr=options.learning_rate, weight_decay=options.weight_decay, fused=True)


def _errors(loss: float, sums: Tensor, counts: Mapping[str, int], properties: Sequence[Property]) -> Errors:
    mae, rmse = {}, {}
    for one, (absolute, squared) in zip(properties, sums.tolist(), strict=True):
        count = counts[one.name]
        mae[one.name] = absolute / count if count else math.nan
        rmse[one.name] = math.sqrt(squared / count) if count else math.nan
    return Errors(loss, mae, rmse)
