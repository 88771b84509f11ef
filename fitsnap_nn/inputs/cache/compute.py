"""Computing the inputs that the cache lacks, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.inputs.base import CachedInput, Compute
from fitsnap_nn.inputs.cache.store import InputStore

C = TypeVar("C", bound=CachedInput)


def estimated_cost(configuration: Configuration, cutoff: float = 5.0) -> float:
    """Return the time to compute an input, in units of the time per neighbour; used to share the work among ranks.

    A configuration costs as much as 150 neighbours, and an atom as 5 (measured with the SNAP kernel).

    Args:
        cutoff: Å.
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
    compute: Compute[C],
    store: InputStore[C],
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Compute and store the inputs that the store lacks; return their number.

    Args:
        configurations: this rank's share.
        progress: called after each with how many are done and how many there are.

    Raises:
        DataError, LammpsError: what was computed before is kept, except the last few, which are computed together.
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
