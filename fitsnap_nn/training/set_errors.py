"""Loss and errors of a set of samples, with the same values on any number of ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fitsnap_nn.data.irreducible_blocks import BlockOfProperty
from fitsnap_nn.errors import TrainingError
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.captured import Captured
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.training.batches import Labels, SampleSet
from fitsnap_nn.training.differentiation import collation_device, flatten, is_captured, pad_batch, unflatten
from fitsnap_nn.training.distributed import Ranks, rank_batches
from fitsnap_nn.training.objective import Objective, error_sums

# Maximum cost of an evaluation batch. On CPUs its memory is that of a training batch; GPUs need more to be kept busy.
EVALUATION_COST, GPU_EVALUATION_COST = 60_000.0, 600_000.0
SHORT_OF_MEMORY = (
    "the memory of the GPU does not suffice for a batch. Use smaller batches ([PYTORCH] batch_size, or "
    "batch_atom_bounds for batches by number of atoms), dtype_setting = 1, a smaller model, or [PYTORCH] device = cpu."
)


@dataclass(frozen=True)
class Errors:
    """Loss and errors of a set.

    Attributes:
        loss: value of the objective.
        values: of each term of the objective.
        mae, rmse: by property name, in loss units (eV/atom, eV/Å, bar); NaN without labels.
        block_mae, block_rmse: of irreducible blocks by title, see `SetErrors`.
    """

    loss: float
    values: tuple[float, ...]
    mae: Mapping[str, float]
    rmse: Mapping[str, float]
    block_mae: Mapping[str, float] = field(default_factory=dict)
    block_rmse: Mapping[str, float] = field(default_factory=dict)


class SetErrors:
    """Evaluation of a model on sets of samples.

    Args:
        model: the model, on ``device``.
        objective: weighted sum of losses.
        ranks: the ranks of this run.
        device: device of batches.
        release: called after each batch, to release the memory of its cached inputs.
        say: prints a line.
        blocks: irreducible blocks of properties whose errors are evaluated too.
    """

    def __init__(
        self,
        model: Model[Any],
        objective: Objective,
        ranks: Ranks,
        device: torch.device,
        release: Callable[[], None],
        say: Callable[[str], None],
        blocks: Sequence[BlockOfProperty] = (),
    ) -> None:
        self._model = model
        self._objective = objective
        self._ranks = ranks
        self._device = device
        self._release = release
        self._say = say
        self._blocks = blocks
        self._matrices = [(one.whole, torch.tensor(one.matrix, device=device)) for one in blocks]
        self._cost = EVALUATION_COST if device.type == "cpu" else GPU_EVALUATION_COST
        self._collated_on = collation_device(model, device)
        self._captured = Captured(self._sums_of_tensors, device) if is_captured(model, device) else None

    def of(self, samples: SampleSet, before_batch: Callable[[int, int], None]) -> Errors:
        """Return loss and errors of a set.

        Args:
            samples: the set, the same on every rank.
            before_batch: called before each batch of this rank with the number of those that are done, and of all.

        Returns:
            The same values on every rank.

        Raises:
            TrainingError: the memory of the GPU does not suffice for a single configuration.
        """
        while (sums := self._ranks.sum_(self._sums(samples, before_batch)).cpu())[-1]:
            self._halve(samples)
        counts, size = samples.total(range(len(samples))), len(self._objective.properties)
        return _errors(self._objective, self._blocks, sums[:size], sums[size:-1].view(-1, 2), counts)

    def _sums(self, samples: SampleSet, before_batch: Callable[[int, int], None]) -> Tensor:
        """Return the sums of losses and errors on this rank, then 1 if the memory of its GPU does not suffice, else 0.

        All ranks have to know the last, as they share the batches.
        """
        count = 3 * len(self._objective.properties) + 2 * len(self._blocks)
        sums = torch.zeros(count + 1, dtype=torch.float64, device=self._device)
        groups = list(rank_batches(samples.costs, self._cost, self._ranks))
        try:
            for number, (batch, labels) in enumerate(samples.collated_once(groups, self._collated_on)):
                before_batch(number, len(groups))
                sums[:-1] += self._sums_of_batch(batch, labels)
                self._release()
        except torch.OutOfMemoryError:
            sums[-1] = 1.0
        return sums

    def _sums_of_batch(self, batch: Batch, labels: Labels) -> Tensor:
        if self._captured is None:
            return self._evaluate(batch, labels)
        properties = self._objective.properties
        return self._captured(*flatten(*pad_batch(batch, labels, properties), properties))[0]

    def _sums_of_tensors(self, *tensors: Tensor) -> list[Tensor]:
        batch, labels, _ = unflatten(tensors, self._objective.properties)
        return [self._evaluate(batch, labels)]

    def _evaluate(self, batch: Batch, labels: Labels) -> Tensor:
        """Return the sums of losses (properties,), then those of `error_sums`, flattened."""
        properties = self._objective.properties
        found = predict(self._model, batch, properties)
        losses = self._objective.sums(found, labels, batch)
        return torch.cat([losses, error_sums(properties, found, labels, batch, self._matrices).flatten()])

    def _halve(self, samples: SampleSet) -> None:
        """Halve the batches of later evaluations, after one did not fit into the memory of the GPU.

        Raises:
            TrainingError: the largest configuration is a batch of its own already.
        """
        if self._cost < max(samples.costs):
            raise TrainingError(SHORT_OF_MEMORY)
        self._cost /= 2
        samples.forget_kept()
        self._say("note: validation batches halved, because larger ones exceed the memory of the GPU")


@contextmanager
def explaining_memory() -> Iterator[None]:
    """Translate the error for lack of GPU memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(f"{SHORT_OF_MEMORY} ({str(error).splitlines()[0]})") from error


def _errors(
    objective: Objective, blocks: Sequence[BlockOfProperty], losses: Tensor, sums: Tensor, counts: Mapping[str, int]
) -> Errors:
    """Return the errors of a set from its sums of losses (properties,) and of `error_sums` (properties + blocks, 2)."""
    properties = {one.name: counts[one.name] for one in objective.properties}
    of_blocks = {
        one.title: counts[one.whole.name] // one.whole.symmetry.components * one.symmetry.components for one in blocks
    }
    errors = (*_mean_errors(sums[: len(properties)], properties), *_mean_errors(sums[len(properties) :], of_blocks))
    return Errors(objective.total(losses, counts), tuple(objective.values(losses, counts)), *errors)


def _mean_errors(sums: Tensor, counts: Mapping[str, int]) -> tuple[dict[str, float], dict[str, float]]:
    """Return MAE and RMSE by name from sums (names, 2) over numbers of label components."""
    mae, rmse = {}, {}
    for (name, count), (absolute, squared) in zip(counts.items(), sums.tolist(), strict=True):
        mae[name] = absolute / count if count else math.nan
        rmse[name] = math.sqrt(squared / count) if count else math.nan
    return mae, rmse
