"""Checks of units from absolute sizes, for data whose labels agree with each other in a wrong unit.

Energies and forces in kcal/mol are consistent, and so are data that are all in atomic units; the comparison of forces
with energy differences in `fitsnap_nn.data.audit.consistency` does not find them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from fitsnap_nn.data.audit.measures import Measures, covalent_radii_of
from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.settings.elements import atomic_number
from fitsnap_nn.units import BOHR, HARTREE, KCAL_PER_MOL, KJ_PER_MOL

# Energies of methods with all electrons exceed the estimate by 10 % for gold.
IMPOSSIBLE = 2.0
TOLERANCE = 0.03
HARTREES = "hartree"
IN_ALL_ELECTRON_ENERGIES: Mapping[str, float] = MappingProxyType(
    {HARTREES: 1.0 / HARTREE, "probably kcal/mol": 1.0 / KCAL_PER_MOL, "probably kJ/mol": 1.0 / KJ_PER_MOL}
)
# Nearest-neighbour distances over the sum of covalent radii are 0.7 (uranium) to 1.3 (LiH), apart from noble gases.
LONG, SHORT = 1.45, 0.6
MOST = 0.9  # share of the atoms
MIN_ATOMS = 8
SAMPLE = 200  # configurations of which distances are measured
NOBLE_GASES = frozenset({"He", "Ne", "Ar", "Kr", "Xe", "Rn"})

REMEDY = "State the units of all labels in [SCRAPER] property_array, or convert the files to eV and Å."
LENGTHS = (
    "the nearest neighbours of most atoms are {which} of the sum of their covalent radii: lengths are probably {unit}. "
    "Convert the files to eV and Å."
)


def energies_in_other_units(data: Measures) -> list[Finding]:
    """Find groups whose energies are those of all electrons in another unit than eV, or below them.

    No method gives an energy far below that of all electrons of the atoms. Programs for molecules give just this one,
    so that its unit can be read from its size.
    """
    findings = []
    for group, indices in data.groups.items():
        judged = [int(k) for k in indices if np.isfinite(data.energies[k]) and _has_core(data.configurations[k])]
        if not judged:
            continue
        sizes = np.array([_all_electrons(data.configurations[k].species) for k in judged])
        if not (unit := _unit(data.energies[judged] / sizes)):
            continue
        what = (
            f"the energies, on average {data.energies[judged].mean():.4g} per atom, cannot be in eV (all-electron "
            f"energies are {sizes.mean():.4g} eV per atom): their unit is {unit}. {REMEDY}"
        )
        if unit == HARTREES:
            what = f"the energies are all-electron energies, and their unit is probably hartree, not eV. {REMEDY}"
        findings.append(Finding(what, f"group {group}", data.is_fitted("energy", group)))
    return findings


def _has_core(one: Configuration) -> bool:
    """Return whether the estimate is accurate: bonds change the energy of hydrogen by 20 %."""
    return any(symbol not in ("H", "He") for symbol in one.species)


def _unit(ratios: Floats) -> str:
    """Return the unit of energies that is not eV, from their ratios to the energies of all electrons in eV."""
    low, middle, high = np.percentile(ratios, (10, 50, 90))
    for name, size in IN_ALL_ELECTRON_ENERGIES.items():
        if abs(low / size - 1.0) < TOLERANCE and abs(high / size - 1.0) < TOLERANCE:
            return name
    return "another one" if middle > IMPOSSIBLE else ""


@lru_cache(maxsize=4096)
def _all_electrons(species: tuple[str, ...]) -> float:
    """Return the energy of all electrons in eV/atom.

    B.-G. Englert and J. Schwinger, Phys. Rev. A 32, 26 (1985): within 1 % from carbon on, 8 % for hydrogen.
    """
    z = np.array([atomic_number(symbol) for symbol in species], dtype=np.float64)
    energies = 0.768745 * z ** (7 / 3) - 0.5 * z**2 + 0.2699 * z ** (5 / 3)
    return -HARTREE * float(energies.mean())


def lengths_in_other_units(data: Measures) -> list[Finding]:
    """Find data in which nearly all nearest neighbours are too far away, or too close, as in bohr taken for Å."""
    members = [one for one in data.configurations if len(one) > 1 and not NOBLE_GASES & set(one.species)]
    sample = members[:: -(-len(members) // SAMPLE)] if members else []
    ratios = np.concatenate([_nearest(one) for one in sample]) if sample else np.empty(0)
    if len(ratios) < MIN_ATOMS:
        return []
    if np.mean(ratios > LONG) > MOST:
        return [Finding(LENGTHS.format(which=f"beyond {LONG:g}", unit="in bohr, not in Å"))]
    if np.mean(ratios < SHORT) > MOST:
        return [
            Finding(LENGTHS.format(which=f"below {SHORT:g}", unit=f"multiplied by {BOHR:.3f}, as if they were in bohr"))
        ]
    return []


def _nearest(one: Configuration) -> Floats:
    """Return the distance of each atom to its nearest neighbour over the sum of radii; infinity beyond `LONG`.

    Raises:
        DataError: see `find_neighbours`.
    """
    radii = covalent_radii_of(one.species)
    neighbours = find_neighbours(one, 2.0 * LONG * float(radii.max()))
    found = np.linalg.norm(neighbours.vectors, axis=1) / (radii[neighbours.i] + radii[neighbours.j])
    nearest = np.full(len(radii), np.inf)
    np.minimum.at(nearest, neighbours.i, found)
    return nearest
