"""Training configurations with far larger errors than all others: their labels are probably wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from fitsnap_nn.data.properties import Property
from fitsnap_nn.data.statistics import root_mean_square
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.worst import error_of, symbol_text

# Weighted error over the root mean square of those of the other configurations. An indium phosphide with wrong elements
# in FitSNAP's data InP_JPCA2020 reaches 760. The most compressed crystals of its tantalum data reach 20 to 40, and in
# one split, whose fit is wrong by 10 eV/atom there, 145.
FACTOR = 50.0
MOST = 3  # suspects per property. If there are more, their own errors hide them: see the checks of the data instead
FEWEST = 30  # configurations: of fewer, a sound one can differ as much


def suspect_labels(training: Sequence[Result], properties: Sequence[Property]) -> Iterator[str]:
    """Yield a remark for each property in which few configurations of the training set have far larger errors.

    Errors are weighted as in the loss, so that configurations which the fit may neglect are not named.

    Args:
        training: predictions and labels of the training set.
        properties: properties that are judged.
    """
    for quantity in properties:
        found = []
        for result in training:
            error, weight = error_of(quantity, [result]), result.configuration.weight(quantity.name)
            if error is not None and weight > 0:
                found.append((math.sqrt(weight) * error, error, result.configuration.id))
        found.sort(reverse=True)
        if suspects := found[: _leading([weighted for weighted, _, _ in found])]:
            listed = ", ".join(f"{name} {symbol_text(quantity, error)}" for _, error, name in suspects)
            yield (
                f"suspect labels: {listed}: more than {FACTOR:.0f} times the weighted error of the other training "
                "configurations. Check their labels, elements and cells; if "
                "these are right, the configurations are too extreme for the model or its weights"
            )


def _leading(errors: Sequence[float]) -> int:
    """Return how many of the errors, in descending order, exceed those of all after them by `FACTOR`."""
    if len(errors) < FEWEST:
        return 0
    rest = [root_mean_square(np.array(errors[count:])) for count in range(1, MOST + 1)]
    return max((k + 1 for k, rms in enumerate(rest) if errors[k] > FACTOR * rms > 0), default=0)
