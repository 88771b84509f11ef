"""Optimiser steps: how the weights change with a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.prediction import Prediction
from fitsnap_nn.settings.schema import PytorchSection
from fitsnap_nn.training.batches import Labels
from fitsnap_nn.training.differentiation import Differentiated, Share
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.flat import FlatParameters
from fitsnap_nn.training.objective import Objective
from fitsnap_nn.training.schedule import Schedule


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

    def learning_rate(self, number: int) -> float:
        """Return the learning rate of a step; NaN, the default, if there is none."""
        return float("nan")

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
        kinds: dict[str, type[torch.optim.Adam]] = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}
        self.fitted = fitted
        self.clip = options.gradient_clip
        self._parts = [fitted.weights.part(member) for member in fitted.members]
        self._losses = [
            Differentiated(member, part, fitted.objective.properties, self._slopes, captured=fitted.captured)
            for member, part in zip(fitted.members, self._parts, strict=True)
        ]
        self.schedule = schedule
        self.optimizer = kinds[options.optimizer](
            [fitted.weights.vector], lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )

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

    def learning_rate(self, number: int) -> float:
        return self.schedule.learning_rate(number)

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)

    def adopt(self, state: dict[str, Any]) -> bool:
        size = self.fitted.weights.vector.shape
        if any(one["exp_avg"].shape != size for one in state["state"].values()):
            return False
        self.load_state_dict({**self.state_dict(), "state": state["state"]})
        return True
