"""Quantities of a data set that several checks use, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from fitsnap_nn.data.audit.pairs import Pairs, find_pairs
from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.settings.schema import Settings

SHORT_RATIO = 0.7  # distance over the sum of covalent radii below which large forces and energies are expected
CLOSE_RATIO = 0.4  # the same below which a distance is a mistake, see `fitsnap_nn.data.audit.structures`
CLOSE = 0.5  # Å; shorter than any bond
FIT_ROUNDS = 5  # of the robust fit of element energies
OUTLIER = 10.0  # multiples of the median residual beyond which a configuration leaves the robust fit

T = TypeVar("T")


@dataclass(frozen=True)
class Contact:
    """Short distances of one configuration.

    Attributes:
        short: (N,) whether an atom has a neighbour below SHORT_RATIO.
        closest: the pair of atoms that is too close, such as ``Ta-Ta 0.4 Å``; empty if there is none.
    """

    short: NDArray[np.bool_]
    closest: str


class Measures:
    """Configurations and settings of a fit, with what the checks need to know about them.

    Attributes:
        configurations: all sets of the fit.
        settings: checked settings.
    """

    def __init__(self, configurations: Sequence[Configuration], settings: Settings) -> None:
        self.configurations = configurations
        self.settings = settings
        self._results: dict[Callable[..., Any], Any] = {}

    @cached_property
    def n_atoms(self) -> Floats:
        """(C,) number of atoms."""
        return np.array([len(one) for one in self.configurations], dtype=np.float64)

    @cached_property
    def energies(self) -> Floats:
        """(C,) eV/atom; NaN without a label."""
        values = [np.nan if one.energy is None else one.energy for one in self.configurations]
        return np.array(values) / self.n_atoms

    @cached_property
    def groups(self) -> dict[str, NDArray[np.int64]]:
        """Indices of the configurations of each group."""
        members: dict[str, list[int]] = {}
        for index, configuration in enumerate(self.configurations):
            members.setdefault(configuration.group, []).append(index)
        return {group: np.array(indices) for group, indices in members.items()}

    @cached_property
    def group_numbers(self) -> NDArray[np.int64]:
        """(C,) number of the group of each configuration, in the order of ``groups``."""
        numbers = np.empty(len(self.configurations), dtype=np.int64)
        for number, indices in enumerate(self.groups.values()):
            numbers[indices] = number
        return numbers

    @cached_property
    def pairs(self) -> Pairs:
        """Pairs of similar configurations."""
        return find_pairs(self.configurations)

    @cached_property
    def contacts(self) -> list[Contact]:
        """Short distances of each configuration."""
        return [_contact(one) for one in self.configurations]

    @cached_property
    def fractions(self) -> Floats:
        """(C, E) fraction of each element of the settings."""
        elements = self.settings.elements
        rows = [_fractions(one.species, tuple(elements)) for one in self.configurations]
        return np.array(rows).reshape(-1, len(elements))

    @cached_property
    def corrected_energies(self) -> Floats:
        """(C,) eV/atom, energies minus those of the elements from a robust least-squares fit; NaN without a label.

        Configurations far off leave the fit, so that a few wrong energies do not shift all others.
        """
        kept = np.isfinite(self.energies)
        residual = self.energies
        for _ in range(FIT_ROUNDS):
            if not kept.any():
                break
            found = np.linalg.lstsq(self.fractions[kept], self.energies[kept], rcond=None)[0]
            residual = self.energies - self.fractions @ found
            deviation = np.abs(residual - np.median(residual[kept]))
            kept = np.isfinite(residual) & (deviation <= OUTLIER * np.median(deviation[kept]) + 1e-9)
        return residual

    def once(self, compute: Callable[[Measures], T]) -> T:
        """Return the result of a function of the data, computed on the first call."""
        if compute not in self._results:
            self._results[compute] = compute(self)
        found: T = self._results[compute]
        return found

    def labelled(self, name: str) -> Iterator[tuple[int, Configuration, Floats]]:
        """Yield index, configuration and label of a property, for configurations with the label."""
        for index, configuration in enumerate(self.configurations):
            if (label := configuration.labels.get(name)) is not None:
                yield index, configuration, label

    def is_fitted(self, name: str, group: str | None = None) -> bool:
        """Return whether a label enters the loss with a weight: only then is a mistake in it more than a note.

        Args:
            name: name of the property.
            group: in this group; ``None``: in any.
        """
        return any(one.weight(name) > 0.0 for _, one, _ in self.labelled(name) if group in (None, one.group))


@lru_cache(maxsize=4096)
def covalent_radii_of(species: tuple[str, ...]) -> Floats:
    """Return the covalent radius of each atom, Å."""
    return np.array([covalent_radii[atomic_numbers.get(symbol, 0)] for symbol in species])


@lru_cache(maxsize=4096)
def _fractions(species: tuple[str, ...], elements: tuple[str, ...]) -> Floats:
    return np.array([species.count(symbol) for symbol in elements], dtype=np.float64) / len(species)


def _contact(configuration: Configuration) -> Contact:
    """Return the short distances of a configuration.

    Raises:
        DataError: see `find_neighbours`.
    """
    radii = covalent_radii_of(configuration.species)
    short = np.zeros(len(radii), dtype=bool)
    neighbours = find_neighbours(configuration, max(2.0 * SHORT_RATIO * float(radii.max()), CLOSE))
    if not len(neighbours.i):
        return Contact(short, "")
    distances = np.linalg.norm(neighbours.vectors, axis=1)
    sums = radii[neighbours.i] + radii[neighbours.j]
    short[neighbours.i[distances < SHORT_RATIO * sums]] = True
    margins = distances - np.maximum(CLOSE, CLOSE_RATIO * sums)
    closest = int(margins.argmin())
    if margins[closest] >= 0.0:
        return Contact(short, "")
    symbols = sorted(configuration.species[k] for k in (neighbours.i[closest], neighbours.j[closest]))
    return Contact(short, f"{'-'.join(symbols)} {distances[closest]:.2f} Å")
