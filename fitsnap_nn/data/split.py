"""The split of a fit as stored in its model file: which configurations the trainer has seen."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats, Subset

KEY_BYTES = 16
# Data files round coordinates: OUTCAR to 1e-5 Å, extended XYZ of ASE to 1e-8 Å. Structures are therefore compared by
# a few weighted means of all coordinates, in cells of a grid. The search covers the neighbouring cell where a mean is
# closer to its border than rounding can shift it.
GRID = 1e-4  # Å
ROUNDING = 5e-6  # Å
MEANS = 3
WEIGHTS_SEED = 20260


@dataclass(frozen=True)
class Split:
    """Split of the data of a fit.

    Attributes:
        seed: random seed of the shuffle before the split.
        training, validation: sorted keys of the configurations, see `structure_key`.
        earlier: keys of the configurations that an earlier fit has seen, whose weights this one started from.
    """

    seed: int
    training: tuple[bytes, ...]
    validation: tuple[bytes, ...]
    earlier: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, configurations: Iterable[Configuration], seed: int, earlier: Iterable[bytes] = ()) -> Split:
        """Return the split of a data set.

        Args:
            configurations: all sets of the fit.
            seed: random seed of the shuffle.
            earlier: keys of the configurations that earlier fits have seen.
        """
        keys: dict[Subset, list[bytes]] = {subset: [] for subset in Subset}
        for configuration in configurations:
            keys[configuration.subset].append(structure_key(configuration))
        return cls(
            seed,
            tuple(sorted(keys[Subset.TRAINING])),
            tuple(sorted(keys[Subset.VALIDATION])),
            tuple(sorted({*earlier})),
        )

    def is_of(self, configurations: Iterable[Configuration]) -> bool:
        """Return whether training and validation set of a data set are those of this split."""
        found = Split.of(configurations, self.seed)
        return (found.training, found.validation) == (self.training, self.validation)

    def assign(self, configurations: Sequence[Configuration]) -> tuple[Configuration, ...]:
        """Return the configurations with the sets in which the trainer has seen them; all others are the test set."""
        training, validation = frozenset(self.training), frozenset(self.validation)
        seen = [
            (Subset.TRAINING, training),
            (Subset.VALIDATION, validation),
            (Subset.TRAINING, frozenset(self.earlier)),
        ]

        def found(configuration: Configuration) -> Subset:
            keys = list(_keys(configuration))
            return next((subset for subset, known in seen if not known.isdisjoint(keys)), Subset.TEST)

        return tuple(replace(one, subset=found(one)) for one in configurations)


def structure_key(configuration: Configuration) -> bytes:
    """Return 16 bytes that identify atoms, cell, charges and spins, whatever the file format they are read from.

    Structures whose coordinates differ by less than about 1e-4 Å may have the same key. The order of the atoms and
    their periodic images matter.
    """
    return _hash(configuration, np.floor(_means(configuration) / GRID))


def _keys(configuration: Configuration) -> Iterator[bytes]:
    """Yield the keys that the structure can have after rounding."""
    means = _means(configuration)
    bounds = np.floor((means[:, None] + np.array([-ROUNDING, ROUNDING])) / GRID)
    for cells in itertools.product(*(dict.fromkeys(pair) for pair in bounds.tolist())):
        yield _hash(configuration, np.array(cells))


def _hash(configuration: Configuration, cells: Floats) -> bytes:
    content = (configuration.species, tuple(map(bool, configuration.pbc)), [int(cell) for cell in cells])
    return hashlib.sha256(repr(content).encode()).digest()[:KEY_BYTES]


def _means(configuration: Configuration) -> Floats:
    """Return (MEANS,) weighted sums of all coordinates, over the square root of their number.

    Rounding errors of single coordinates are independent, so that they do not grow with the number of atoms.
    """
    # Absent charges and spins are equivalent to zeros, which some formats write.
    size = len(configuration)
    charges = np.zeros(size) if configuration.charges is None else configuration.charges
    spins = np.zeros((size, 4)) if configuration.spins is None else configuration.spins
    values = np.concatenate([part.ravel() for part in (configuration.positions, charges, spins)])
    # RandomState, unlike Generator, guarantees the same numbers in every version of NumPy (NEP 19).
    weights = np.random.RandomState(WEIGHTS_SEED).uniform(-1.0, 1.0, (MEANS, len(values) + 9))
    means: Floats = weights[:, :-9] @ values / np.sqrt(3 * size) + weights[:, -9:] @ configuration.cell.ravel() / 3
    return means
