"""Structures for the checks, chosen from data: crystals with their strained cells, vacancies, slabs and molecules."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.neighbours import find_neighbours

VACUUM = 6.0  # Å without atoms along a lattice vector that make a cell one of a surface or a molecule
SMALL_CELL, LARGE_CELL = 20, 64  # atoms per cell of a crystal; the larger one if a composition has no smaller
QUIET = 0.5  # eV/Å; larger forces are those of liquids and displaced atoms
METASTABLE = 0.5  # eV/atom above the lowest energy of the composition, beyond which a cell is no crystal to check
MAX_CRYSTALS = 4
SAME_CRYSTAL = 0.15  # strain below which a cell with the same sites is the same crystal; bcc becomes fcc at 0.26
SAME_SITE = 0.05  # Å by which atoms of a strained cell may be off the strained sites
ISOTROPIC = 1e-3  # deviation of the metric from that of a scaled cell
VOLUME_PER_SITE = 0.08  # relative difference of the volumes per site of a vacancy cell and its crystal
MAX_VACANCY, MAX_SURFACE = 10.0, 0.6  # eV, eV/Å²; larger energies are not those of a vacancy or a surface
MAX_SLABS = 3
KELVIN = 8.617333262e-5  # eV
THERMAL_CELL = 12  # atoms, below which cells are those of strained crystals rather than of molecular dynamics
DISORDERED = 0.1  # eV/Å, rms force above which a group has thermal displacements
ROOM, HOTTEST = 300.0, 5000.0  # K, limits of the temperature that is taken from the data

Key = tuple[tuple[str, int], ...]
K = TypeVar("K")


class Defect(NamedTuple):
    """A configuration with a vacancy or surfaces.

    Attributes:
        configuration: the atoms, with an energy label.
        crystal: the crystal that it was made of.
        cells: number of cells of the crystal with the same atoms, that of a vacancy included.
        missing: element of the missing atom; empty for a slab.
    """

    configuration: Configuration
    crystal: Configuration
    cells: float
    missing: str = ""


@dataclass(frozen=True)
class References:
    """Data of the checks.

    Attributes:
        configurations: all configurations; labels may be missing.
        elements: chemical symbols of the model.
    """

    configurations: Sequence[Configuration]
    elements: tuple[str, ...]

    @cached_property
    def lowest(self) -> dict[Key, float]:
        """Lowest energy label by composition, eV/atom."""
        found: dict[Key, float] = {}
        for one in self.configurations:
            if one.energy is not None:
                key = formula(one.species)
                found[key] = min(found.get(key, math.inf), one.energy / len(one))
        return found

    def above(self, one: Configuration) -> float:
        """Return the energy label above the lowest of the composition, eV/atom; 0 without a label."""
        return 0.0 if one.energy is None else one.energy / len(one) - self.lowest[formula(one.species)]

    @cached_property
    def bulk(self) -> list[Configuration]:
        """Configurations that fill their periodic cells."""
        return [one for one in self.configurations if not any(vacuum_directions(one))]

    @cached_property
    def crystals(self) -> tuple[Configuration, ...]:
        """Cell with the lowest energy of each composition, group and size, those of each composition in turn.

        Relaxed cells that turn out the same are removed later.
        """
        best: dict[tuple[Key, str, int], Configuration] = {}
        for one in self.bulk:
            force = 0.0 if one.forces is None else float(np.abs(one.forces).max())
            if len(one) <= LARGE_CELL and force <= QUIET and self.above(one) <= METASTABLE:
                key = formula(one.species), one.group, len(one)
                if key not in best or self.above(one) < self.above(best[key]):
                    best[key] = one
        by_composition: dict[Key, list[Configuration]] = {}
        for (composition, _, _), one in best.items():
            by_composition.setdefault(composition, []).append(one)
        lists = [self._distinct(members) for members in by_composition.values()]
        lists.sort(key=lambda members: (len(members[0]), len(set(members[0].species))))
        turns = max(map(len, lists), default=0)
        return tuple(members[turn] for turn in range(turns) for members in lists if turn < len(members))

    def _distinct(self, members: Sequence[Configuration]) -> list[Configuration]:
        """Return the small cells of a composition, or the large ones if there are none, without strained copies.

        They are in the order of their energies.
        """
        small = [one for one in members if len(one) <= SMALL_CELL]
        found: list[Configuration] = []
        for one in sorted(small or members, key=lambda one: (self.above(one), len(one))):
            deformations = [strain_of(one, other) for other in found]
            if not any(each is not None and _largest_strain(each) < SAME_CRYSTAL for each in deformations):
                found.append(one)
        return found

    def ground_state(self, composition: Key) -> Configuration | None:
        """Return the crystal of a composition with the lowest energy."""
        same = [one for one in self.crystals if formula(one.species) == composition]
        return min(same, key=self.above, default=None)

    @cached_property
    def vacancies(self) -> list[Defect]:
        """Supercells with one atom less, that with the lowest energy of each size and missing element."""
        found: dict[tuple[int, str, Key], Defect] = {}
        for one in self.bulk:
            if one.energy is None or len(one) < 2:
                continue
            for element in self.elements:
                crystal = self.ground_state(formula((*one.species, element)))
                if crystal is None or len(one) + 1 < 2 * len(crystal) or crystal.energy is None:
                    continue
                site = one.volume / (len(one) + 1) * len(crystal) / crystal.volume
                defect = Defect(one, crystal, (len(one) + 1) / len(crystal), element)
                plausible = 0.0 < formation_energy(defect, one.energy, crystal.energy) < MAX_VACANCY
                whole = not (len(one) + 1) % len(crystal)
                if whole and abs(site - 1.0) <= VOLUME_PER_SITE and (plausible or len(set(crystal.species)) > 1):
                    _keep_lowest(found, (len(one), element, formula(crystal.species)), defect)
        return list(found.values())

    @cached_property
    def slabs(self) -> list[Defect]:
        """Slabs between vacuum, that with the lowest energy of each size and area; the first few."""
        found: dict[tuple[int, float, Key], Defect] = {}
        for one in self.configurations:
            directions = vacuum_directions(one)
            crystal = self.ground_state(formula(one.species))
            if sum(directions) != 1 or one.energy is None or crystal is None or crystal.energy is None:
                continue
            defect = Defect(one, crystal, len(one) / len(crystal))
            if 0.0 < surface_energy(defect, one.energy, crystal.energy) < MAX_SURFACE:
                # Areas within 10 % are those of strained slabs of the same orientation.
                area = round(math.log(area_of(one)) / 0.1)
                _keep_lowest(found, (len(one), area, formula(one.species)), defect)
        return list(found.values())[:MAX_SLABS]

    @cached_property
    def molecule(self) -> Configuration | None:
        """Isolated molecule with the most atoms, and of its composition with the lowest energy."""
        found = [one for one in self.configurations if all(vacuum_directions(one)) and len(one) > 1]
        return min(found, key=lambda one: (-len(one), self.above(one)), default=None)

    @cached_property
    def shortest(self) -> dict[tuple[str, str], float]:
        """Shortest distance of each pair of elements, Å; absent if no pair is closer than its covalent radii."""
        found: dict[tuple[str, str], float] = {}
        reach = 2.0 * max(radius(element) for element in self.elements)
        for one in self.configurations:
            neighbours = find_neighbours(one, reach)
            distances = np.linalg.norm(neighbours.vectors, axis=1)
            kinds = one.element_indices(self.elements)
            codes = kinds[neighbours.i] * len(self.elements) + kinds[neighbours.j]
            for code in np.unique(codes):
                first, second = sorted(divmod(int(code), len(self.elements)))
                pair = self.elements[first], self.elements[second]
                found[pair] = min(found.get(pair, math.inf), float(distances[codes == code].min()))
        return found

    @cached_property
    def temperature(self) -> float:
        """Highest temperature that the data suggest, K.

        The mean potential energy of a group above the lowest of its composition is 3/2 k_B T per atom if the atoms are
        bound harmonically. Groups without thermal displacements and those with vacuum do not count.
        """
        groups: dict[str, list[Configuration]] = {}
        for one in self.configurations:
            if one.energy is not None and (len(one) >= THERMAL_CELL and sum(vacuum_directions(one)) in (0, 3)):
                groups.setdefault(one.group, []).append(one)
        found = [ROOM]
        for members in groups.values():
            forces = [float((one.forces**2).mean()) for one in members if one.forces is not None]
            if forces and math.sqrt(np.mean(forces)) >= DISORDERED:
                found.append(2.0 * float(np.mean([self.above(one) for one in members])) / (3.0 * KELVIN))
        return min(max(found), HOTTEST)


def formula(species: Iterable[str]) -> Key:
    """Return the reduced composition: elements with coprime counts."""
    counts = Counter(species)
    divisor = math.gcd(*counts.values())
    return tuple(sorted((element, count // divisor) for element, count in counts.items()))


def formula_text(species: Iterable[str]) -> str:
    """Return the reduced composition as text, such as ``Cu3Ta``."""
    return "".join(f"{element}{count if count > 1 else ''}" for element, count in formula(species))


def radius(element: str) -> float:
    """Return the covalent radius, Å."""
    return float(covalent_radii[atomic_numbers[element]])


def vacuum_directions(configuration: Configuration) -> tuple[bool, bool, bool]:
    """Return whether the atoms leave a gap of more than ``VACUUM`` along each lattice vector, or it is not periodic."""
    if not any(configuration.pbc) or configuration.volume < 1e-6:  # rows of non-periodic directions may be zero
        along_x, along_y, along_z = (not periodic for periodic in configuration.pbc)
        return along_x, along_y, along_z
    inverse = np.linalg.inv(configuration.cell)
    heights = 1.0 / np.linalg.norm(inverse, axis=0)
    places = np.sort(configuration.positions @ inverse % 1.0, axis=0)
    gaps = np.diff(places, axis=0, append=places[:1] + 1.0).max(axis=0) * heights
    # A single atom in a small cell is a crystal: its gap is the cell itself.
    first, second, third = (bool(gap > VACUUM) or not p for gap, p in zip(gaps, configuration.pbc, strict=True))
    return first, second, third


def strain_of(configuration: Configuration, crystal: Configuration) -> Floats | None:
    """Return (3, 3) the deformation that maps the cell of a crystal to that of a configuration with the same sites.

    Args:
        configuration: may be strained by any amount, or translated.
        crystal: the reference.

    Returns:
        F with ``configuration.cell = crystal.cell @ F``; ``None`` if it is not such a cell, or its atoms are displaced.
    """
    if configuration.species != crystal.species or configuration.pbc != crystal.pbc:
        return None
    places = configuration.positions @ np.linalg.inv(configuration.cell)
    sites = crystal.positions @ np.linalg.inv(crystal.cell)
    shifts = places - sites
    shifts -= shifts[0]
    shifts -= np.round(shifts)
    if np.abs(shifts @ configuration.cell).max() > SAME_SITE:
        return None
    return np.asarray(np.linalg.solve(crystal.cell, configuration.cell), dtype=np.float64)


def scale_of(deformation: Floats) -> float | None:
    """Return the factor of all lengths in a deformation; ``None`` if it changes the shape."""
    metric = deformation @ deformation.T
    square = float(np.trace(metric)) / 3.0
    return math.sqrt(square) if np.abs(metric / square - np.eye(3)).max() < ISOTROPIC else None


def area_of(slab: Configuration) -> float:
    """Return the area of one surface of a slab, Å²."""
    first, second = (vector for vector, vacuum in zip(slab.cell, vacuum_directions(slab), strict=True) if not vacuum)
    return float(np.linalg.norm(np.cross(first, second)))


def formation_energy(defect: Defect, energy: float, crystal: float) -> float:
    """Return the formation energy of a vacancy, eV; for compounds, the energy that removing the atom takes.

    Args:
        defect: the cell with the vacancy.
        energy: its energy, eV.
        crystal: energy of the cell of the crystal, eV.
    """
    removed = crystal / len(defect.crystal) if len(set(defect.crystal.species)) == 1 else 0.0
    return energy - defect.cells * crystal + removed


def surface_energy(defect: Defect, energy: float, crystal: float) -> float:
    """Return the surface energy of a slab, eV/Å²; see `formation_energy` for the arguments."""
    return (energy - defect.cells * crystal) / (2.0 * area_of(defect.configuration))


def _largest_strain(deformation: Floats) -> float:
    """Return the largest principal strain."""
    return float(np.abs(np.linalg.svd(deformation, compute_uv=False) - 1.0).max())


def _keep_lowest(found: dict[K, Defect], key: K, defect: Defect) -> None:
    energy = defect.configuration.energy
    known = found[key].configuration.energy if key in found else None
    if energy is not None and (known is None or energy < known):
        found[key] = defect
