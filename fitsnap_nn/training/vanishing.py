"""Configurations whose forces vanish by symmetry, whatever the weights of the model: they say nothing about these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fitsnap_nn.data.properties import FORCES
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.training.batches import SampleSet
from fitsnap_nn.training.distributed import Ranks, rank_batches
from fitsnap_nn.training.flat import Part

BATCH_COST = 20_000.0  # maximum cost of a batch: about 1000 atoms
# Forces over those of other configurations. Strained crystals in FitSNAP's tantalum data, with coordinates rounded to
# 1e-4 Å, have up to 0.001, the most symmetric others 0.05.
VANISHING = 3e-3
REST = 1e-3  # largest forces below this fraction of the largest of all do not count in what is usual for others


@torch.no_grad()
def forces_vanish(
    model: Model[Any],
    part: Part,
    scales: Tensor,
    samples: SampleSet,
    ranks: Ranks,
    seed: int,
    release: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return which configurations have no forces with random weights, and therefore with any.

    The forces of a fitted model would not do: those of a relaxed structure vanish with its weights only.

    Args:
        model: the model; its weights are the same afterwards.
        part: its weights (W,).
        scales: (W,) standard deviations of the random weights.
        samples: the training set, the same on every rank.
        ranks: share the predictions.
        seed: seed of the random weights.
        release: called after each batch, to release the memory of its cached inputs.

    Returns:
        (configurations,) bool, on the CPU, the same on every rank.
    """
    weights, device = part.vector.clone(), part.vector.device
    random = torch.randn(len(weights), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    part.vector.copy_(random.to(device) * scales)
    largest = torch.zeros(len(samples), dtype=torch.float64)
    groups = list(rank_batches(samples.costs, BATCH_COST, ranks))
    for group, (batch, _) in zip(groups, samples.collated(groups, device), strict=True):
        lengths = predict(model, batch, [FORCES]).values[FORCES.name].double().norm(dim=1)
        found = lengths.new_zeros(len(group)).scatter_reduce_(0, batch.config, lengths, "amax")
        largest[group] = found.cpu()
        release()
    part.vector.copy_(weights)
    ranks.sum_(largest)
    others = largest[largest > REST * largest.max()]
    return largest < VANISHING * others.median() if len(others) else torch.zeros(len(largest), dtype=torch.bool)
