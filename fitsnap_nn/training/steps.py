"""Optimiser steps: how the weights change with a batch."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.prediction import Prediction
from fitsnap_nn.settings.schema import PytorchSection
from fitsnap_nn.settings.training import SCHEDULE_FREE, SHAMPOO
from fitsnap_nn.training.batches import Labels
from fitsnap_nn.training.differentiation import Differentiated, Share
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.flat import FlatParameters
from fitsnap_nn.training.objective import Objective
from fitsnap_nn.training.schedule import Schedule
from fitsnap_nn.training.shampoo import Soap

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)

BETA2 = 0.999  # decay of the mean square gradient, the default of Adam and of schedule-free AdamW
BETA2_OF_SOAP = 0.99  # the same, and decay of the averages that determine the bases: these have to follow the weights


class Fitted(NamedTuple):
    """Models, weights and objective of a fit, and its ranks.

    Attributes:
        members: the model, or the members of a committee, on their device; each is fitted to the labels by itself.
        weights: trainable parameters of all members.
        objective: weighted sum, or geometric mean, of losses.
        ranks: the ranks of this run.
        captured: whether steps are captured on the GPU; see `differentiation.is_captured`.
    """

    members: Sequence[Model[Any]]
    weights: FlatParameters
    objective: Objective
    ranks: Ranks
    captured: bool = False


class Step(ABC):
    """Base class of methods of optimisation."""

    @abstractmethod
    def take(self, number: int, epoch: int, share: Share | None, counts: Mapping[str, int]) -> Tensor:
        """Change the weights, by the same amount on every rank.

        Args:
            number: step since the start of the fit, from 0.
            epoch: epoch, from 0.
            share: this rank's part of the batch; ``None`` if it has none.
            counts: label components of the whole batch on all ranks, by property name.

        Returns:
            (properties,) sums of losses on this rank, float64, with the weights before the step.
        """

    @abstractmethod
    def evaluated(self) -> Tensor:
        """Return the weights to validate and export (W,): those of the model, or what the optimiser makes of them."""

    def learning_rate(self, number: int) -> float:
        """Return the learning rate of a step; NaN, the default, if there is none."""
        return float("nan")

    def notes(self) -> Iterator[str]:
        """Yield what is worth telling about the steps of a new fit."""
        yield from ()

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the state between two steps, as tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""

    @abstractmethod
    def adopt(self, state: dict[str, Any]) -> bool:
        """Start from the state of another fit with a step of this class, but with the settings of this one.

        Args:
            state: result of `state_dict`.

        Returns:
            Whether the state fits the weights; otherwise nothing is changed.
        """


class GradientStep(Step):
    """Step along the gradient of the objective, by an optimiser of torch.

    Args:
        fitted: model and objective.
        options: section PYTORCH of the input.
        schedule: learning rate of each step.
    """

    def __init__(self, fitted: Fitted, options: PytorchSection, schedule: Schedule) -> None:
        self.fitted = fitted
        self.clip = options.gradient_clip
        self._parts = [fitted.weights.part(member) for member in fitted.members]
        self._losses = [
            Differentiated(member, part, fitted.objective.properties, self._slopes, captured=fitted.captured)
            for member, part in zip(fitted.members, self._parts, strict=True)
        ]
        self.schedule = schedule
        matrices = chain.from_iterable(member.weight_matrices() for member in fitted.members)
        self.optimizer = make_optimizer(fitted.weights.vector, matrices, options)

    def take(self, number: int, epoch: int, share: Share | None, counts: Mapping[str, int]) -> Tensor:
        members, weights, objective, ranks, _ = self.fitted
        weights.gradient.zero_()
        sums = torch.zeros(len(objective.terms), dtype=torch.float64, device=weights.vector.device)
        if share:
            for loss in self._losses:
                (found,) = loss(share, *objective.scales(counts))
                sums += found
        # Gradients are already divided by the label counts of the whole batch, so that ranks add up to its mean.
        ranks.sum_(weights.gradient)
        if self.clip:
            for part in self._parts:
                torch.nn.utils.clip_grad_norm_([part.vector], self.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(number)
        self.optimizer.step()
        return sums / len(members)

    def _slopes(
        self, prediction: Prediction, batch: Batch, labels: Labels, *scales: float | Tensor
    ) -> tuple[Sequence[Tensor], Mapping[str, Tensor]]:
        sums, slopes = self.fitted.objective.slopes(prediction, labels, batch, scales)
        return [sums], slopes

    def evaluated(self) -> Tensor:
        vector = self.fitted.weights.vector
        group, state = self.optimizer.param_groups[0], self.optimizer.state.get(vector, {})
        if "z" not in state:
            return vector.detach()
        # Schedule-free methods hold y = (1 - beta) z + beta x while they train; x is what they converge to (A. Defazio
        # et al., arXiv:2405.15682). Their eval() would change the weights in place, and rounding the way back.
        return torch.lerp(vector.detach(), state["z"], 1.0 - 1.0 / group["betas"][0])

    def learning_rate(self, number: int) -> float:
        return self.schedule.learning_rate(number)

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)

    def adopt(self, state: dict[str, Any]) -> bool:
        vector = self.fitted.weights.vector
        adopted = {key: dict(one) for key, one in state["state"].items()}
        if any(one["exp_avg"].shape != vector.shape for one in adopted.values()):
            return False
        if isinstance(self.optimizer, Soap) and not all(map(self.optimizer.accepts, adopted.values())):
            return False
        if self.optimizer.param_groups[0].get("amsgrad"):
            for one in adopted.values():
                one.setdefault("max_exp_avg_sq", one["exp_avg_sq"].clone())
        self.load_state_dict({**self.state_dict(), "state": adopted})
        return True


def make_optimizer(vector: Tensor, matrices: Iterable[Tensor], options: PytorchSection) -> torch.optim.Optimizer:
    """Return the optimiser that an input asks for.

    Args:
        vector: (W,) all trainable weights, with their gradient.
        matrices: the matrices among them, as views.
        options: section PYTORCH of the input.
    """
    rate, decay = options.learning_rate, options.weight_decay
    if options.optimizer == SHAMPOO:
        return without_dynamo(Soap)(vector, matrices, rate, (options.beta, BETA2_OF_SOAP), decay)
    moments = options.beta, BETA2
    if options.optimizer == SCHEDULE_FREE:
        from schedulefree import AdamWScheduleFree  # optional; the checks of the input have found it

        free: torch.optim.Optimizer = AdamWScheduleFree([vector], lr=rate, betas=moments, weight_decay=decay)
        free.train()  # type: ignore[attr-defined]  # before the first step: this changes no weights
        return free
    kinds: dict[str, type[torch.optim.Adam]] = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}
    return without_dynamo(kinds[options.optimizer])(
        [vector], lr=rate, betas=moments, weight_decay=decay, amsgrad=options.amsgrad, fused=True
    )


def without_dynamo(kind: type[Kind]) -> type[Kind]:
    """Return an optimiser of torch that does not import ``torch._dynamo``, as a class of the same name.

    The decorators that prepare its methods for ``torch.compile`` import that at their first call, which takes one
    second per rank. Nothing is compiled here, and without them the methods do the same.

    Args:
        kind: class of torch.
    """
    names = ("add_param_group", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return cast("type[Kind]", type(kind.__name__, (kind,), methods))
