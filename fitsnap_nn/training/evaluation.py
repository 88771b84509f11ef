"""What a model says of many configurations, computed by all ranks together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.inputs.cached import CachedInput
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.evaluation import Evaluation, evaluate_batch, single_batch, to_float64
from fitsnap_nn.training.batches import join_batches
from fitsnap_nn.training.distributed import Ranks, pack

ATOMS = 300.0  # that are evaluated together: enough to be quick, and little memory


def evaluate_all(
    model: Model,
    configurations: Sequence[Configuration],
    record_of: Callable[[Configuration], CachedInput],
    ranks: Ranks,
    *,
    forces: bool,
    release: Callable[[], None] = lambda: None,
) -> list[Evaluation]:
    """Predictions in float64, in the order of the configurations, on the first rank; an empty list on the others.

    Args:
        forces: whether records have gradients.
        release: called after records were used.
    """
    model = to_float64(model)
    found: dict[int, Evaluation] = {}
    for numbers in pack([float(len(configuration)) for configuration in configurations], ATOMS, ranks):
        members = [configurations[number] for number in numbers]
        records = [record_of(member) for member in members]
        batches = [
            single_batch(member, record, model.elements, torch.float64)
            for member, record in zip(members, records, strict=True)
        ]
        predictions = evaluate_batch(model, members, records, join_batches(batches), forces=forces)
        found |= zip(numbers, predictions, strict=True)
        release()
    everything = {number: one for share in ranks.gather(found) for number, one in share.items()}
    return [everything[number] for number in sorted(everything)]
