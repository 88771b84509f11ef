"""Parallel evaluation of a model on many configurations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.properties import Property
from fitsnap_nn.inputs.base import CachedInput
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.evaluation import evaluate_together, to_float64
from fitsnap_nn.training.distributed import Ranks, rank_batches

MAX_ATOMS = 300.0  # per batch: amortises the overhead of a batch, with little memory


def evaluate_all(
    model: Model[Any],
    configurations: Sequence[Configuration],
    inputs_of: Callable[[Sequence[Configuration]], Sequence[CachedInput]],
    ranks: Ranks,
    properties: Sequence[Property],
    *,
    release: Callable[[], None] = lambda: None,
) -> list[Evaluation]:
    """Evaluate a model in float64 on all ranks and collect the predictions on rank 0.

    Args:
        model: the model; left unchanged.
        configurations: the configurations, the same on every rank.
        inputs_of: returns the model inputs of configurations, in order.
        ranks: the ranks of this run.
        properties: requested properties.
        release: called after each batch, to release the memory of its cached inputs.

    Returns:
        One evaluation per configuration, in the same order, on rank 0; an empty list on other ranks.
    """
    model = to_float64(model)
    evaluations: dict[int, Evaluation] = {}
    for numbers in rank_batches([float(len(configuration)) for configuration in configurations], MAX_ATOMS, ranks):
        members = [configurations[number] for number in numbers]
        predictions = evaluate_together(model, members, inputs_of(members), properties)
        evaluations |= zip(numbers, predictions, strict=True)
        release()
    everything = {number: one for of_rank in ranks.gather(evaluations) for number, one in of_rank.items()}
    return [everything[number] for number in sorted(everything)]
