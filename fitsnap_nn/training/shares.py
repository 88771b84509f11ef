"""The batches of an epoch, and what each rank computes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from fitsnap_nn.data.properties import Property
from fitsnap_nn.models.base import Model
from fitsnap_nn.training.augmentation import random_rotations
from fitsnap_nn.training.batches import Batches, SampleSet
from fitsnap_nn.training.differentiation import Share, collation_device, make_share
from fitsnap_nn.training.distributed import Ranks, partition_by_cost


class Shares:
    """This rank's part of each batch of an epoch, augmented if the model needs it.

    Args:
        model: the model, on ``device``.
        properties: properties of the labels.
        batches: the batches of each epoch.
        seed: seed of the augmentation.
        ranks: the ranks of this run.
        device: device of the batches.
        captured: whether steps are captured on the GPU, see `differentiation.is_captured`.
    """

    def __init__(
        self,
        model: Model[Any],
        properties: Sequence[Property],
        batches: Batches,
        seed: int,
        ranks: Ranks,
        device: torch.device,
        *,
        captured: bool,
    ) -> None:
        self._augmented = model.needs_augmentation
        self._captured = captured
        self._collated_on = collation_device(model, device)
        self._properties = properties
        self._batches = batches
        self._seed = seed
        self._ranks = ranks

    def of_epoch(self, epoch: int, samples: SampleSet, done: int) -> Iterator[tuple[Sequence[int], Share | None]]:
        """Return the batches of an epoch that are left to do.

        Args:
            epoch: epoch, from 0.
            samples: the training set.
            done: batches that the fit has done before it was stopped.

        Returns:
            Members of each batch on all ranks, and this rank's part; ``None`` if it has none. A part is not referred to
            from here once it is returned, so that a large batch is freed after its step.
        """
        steps = list(self._batches.of_epoch(epoch))
        shares = [self._share(members, samples) for members in steps]
        # All batches of the epoch, also those before: the rounding may depend on how they are collated together.
        collated = samples.collated(shares, self._collated_on)
        for share in shares[:done]:
            if share:
                next(collated)
        # Every rank draws all rotations, so that they do not depend on the partition.
        rotations = random_rotations(len(samples), self._seed, epoch) if self._augmented else None

        def part(share: list[int]) -> Share | None:
            if not share:
                return None
            own = None if rotations is None else rotations[share]
            return make_share(share, *next(collated), self._properties, own, captured=self._captured)

        return ((members, part(share)) for members, share in zip(steps[done:], shares[done:], strict=True))

    def _share(self, members: Sequence[int], samples: SampleSet) -> list[int]:
        """Return the members of a batch that are assigned to this rank."""
        costs = [samples.costs[member] for member in members]
        return [members[number] for number in partition_by_cost(costs, self._ranks.size)[self._ranks.rank]]
