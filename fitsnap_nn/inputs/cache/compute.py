"""Computation of the inputs missing from the cache, and an estimate of its cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.inputs.base import Compute
from fitsnap_nn.inputs.cache.store import InputStore


def estimated_cost(configuration: Configuration, cutoff: float = 5.0) -> float:
    """Estimate the time to compute an input, in units of the time per neighbour, to balance the ranks.

    The overhead per configuration equals 150 neighbours and that per atom 5 (measured with the SNAP kernel). The
    number of neighbours is estimated from the mean density. For cells that are not fully periodic the volume is the
    bounding box of the atoms, enlarged by 2 Å.

    Args:
        cutoff: neighbour cutoff, Å.
    """
    count = len(configuration)
    if all(configuration.pbc):
        volume = configuration.volume
    else:
        volume = float(np.prod(np.ptp(configuration.positions, axis=0) + 2.0))
    neighbours = 4.0 / 3.0 * np.pi * cutoff**3 * count / volume
    return 150.0 + count * (5.0 + float(neighbours))


def compute_missing(
    configurations: Sequence[Configuration],
    compute: Compute,
    store: InputStore,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Compute and store the inputs that are not in the store yet.

    Args:
        configurations: the configurations assigned to this rank.
        compute: computes the inputs.
        store: cache that receives them.
        progress: called after each input with the number completed and the total number.

    Returns:
        Number of inputs computed.

    Raises:
        DataError, LammpsError: a configuration failed. Inputs of previous batches remain in the store.
    """
    missing = store.missing(configurations)
    if not missing:
        return 0
    with store.writer() as writer:
        inputs = compute.compute_all(missing)
        for done, (configuration, cached) in enumerate(zip(missing, inputs, strict=True), start=1):
            writer.add(configuration, cached)
            if progress:
                progress(done, len(missing))
    store.refresh()
    return len(missing)
