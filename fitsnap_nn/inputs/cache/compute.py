"""A rank's share of the work: which records to compute, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.inputs.cache.store import InputStore
from fitsnap_nn.inputs.cached import CachedInput

R = TypeVar("R", bound=CachedInput)
R_co = TypeVar("R_co", bound=CachedInput, covariant=True)


class Calculator(Protocol[R_co]):
    """What turns configurations into records."""

    def compute_all(self, configurations: Iterable[Configuration]) -> Iterator[R_co]:
        """The records of configurations, in their order."""


def estimated_cost(configuration: Configuration, cutoff: float = 5.0) -> float:
    """Time to compute a record, in units of a neighbour's share: for dealing configurations to ranks.

    A configuration costs as much as 150 neighbours, and an atom as 5 (measured, with the kernel).
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
    calculator: Calculator[R],
    store: InputStore[R],
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Compute and store the records that a rank's share of the configurations still lacks; returns their number.

    Args:
        progress: called after each record with how many are done and how many there are.

    Raises:
        DataError, LammpsError: what was computed before is kept, but for the last few that were computed together.
    """
    missing = store.missing(configurations)
    if not missing:
        return 0
    with store.writer() as writer:
        records = calculator.compute_all(missing)
        for done, (configuration, record) in enumerate(zip(missing, records, strict=True), start=1):
            writer.add(configuration, record)
            if progress:
                progress(done, len(missing))
    store.refresh()
    return len(missing)
