"""Predictions of a model for many configurations, computed by all ranks together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.properties import Property
from fitsnap_nn.inputs.base import CachedInput
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.evaluation import evaluate_together, to_float64
from fitsnap_nn.training.distributed import Ranks, pack

ATOMS = 300.0  # evaluated together: enough for speed, and little memory


def evaluate_all(
    model: Model[Any],
    configurations: Sequence[Configuration],
    cached_of: Callable[[Configuration], CachedInput],
    ranks: Ranks,
    properties: Sequence[Property],
    *,
    release: Callable[[], None] = lambda: None,
) -> list[Evaluation]:
    """Return predictions in float64, in the order of the configurations, on the first rank; an empty list on others.

    Args:
        cached_of: returns the cached input of a configuration.
        properties: what is wanted.
        release: called after cached inputs were used.
    """
    model = to_float64(model)
    found: dict[int, Evaluation] = {}
    for numbers in pack([float(len(configuration)) for configuration in configurations], ATOMS, ranks):
        members = [configurations[number] for number in numbers]
        predictions = evaluate_together(model, members, [cached_of(member) for member in members], properties)
        found |= zip(numbers, predictions, strict=True)
        release()
    everything = {number: one for share in ranks.gather(found) for number, one in share.items()}
    return [everything[number] for number in sorted(everything)]
