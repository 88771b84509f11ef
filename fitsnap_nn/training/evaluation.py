"""What a model says of many configurations, computed by all ranks together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.descriptors.record import AnyRecord
from fitsnap_nn.models.contract import Model
from fitsnap_nn.models.evaluation import Evaluation, evaluate, in_double
from fitsnap_nn.training.parallel import Ranks


def evaluate_all(
    model: Model,
    configurations: Sequence[Configuration],
    record_of: Callable[[Configuration], AnyRecord],
    ranks: Ranks,
    *,
    forces: bool,
    release: Callable[[], None] = lambda: None,
) -> list[Evaluation]:
    """Predictions in float64, in the order of the configurations, on the first rank; an empty list on the others.

    Args:
        forces: whether records have gradients.
        release: called after each record was used.
    """
    model = in_double(model)
    mine = ranks.mine([float(len(configuration)) for configuration in configurations])
    found = {}
    for number in mine:
        configuration = configurations[number]
        found[number] = evaluate(model, configuration, record_of(configuration), forces=forces)
        release()
    everything = {number: one for share in ranks.gather(found) for number, one in share.items()}
    return [everything[number] for number in sorted(everything)]
