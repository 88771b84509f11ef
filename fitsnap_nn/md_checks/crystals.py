"""Relaxed crystals of the data: equations of state and elastic constants, of the potential and of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.voigt import from_voigt, voigt
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.md_checks.references import References, formula, formula_text, scale_of, strain_of
from fitsnap_nn.md_checks.runner import Runner, message_of
from fitsnap_nn.units import GPA

SCALES = np.linspace(0.85, 1.15, 13) ** (1 / 3)  # of lengths, for volumes within 15 %
NEAR = 0.12  # relative volume, within which an equation of state is fitted
STEP = 0.005  # strain of the finite differences
SAME_ENERGY, SAME_VOLUME = 5e-4, 0.005  # eV/atom and relative: relaxed cells that differ less are the same crystal
LARGEST_STRAIN = 0.08  # of the labelled cells from which elastic constants are determined
FEWEST = 5, 12  # labelled cells for an equation of state, and for elastic constants


@dataclass(frozen=True, eq=False)
class Crystal:
    """A crystal of the data.

    Attributes:
        data: its cell in the data.
        relaxed: the cell relaxed by the potential; ``None`` if that failed.
        energy: eV/atom of the relaxed cell.
        is_ground_state: whether it has the lowest energy of its composition in the data.
        error: why it was not relaxed.
    """

    data: Configuration
    relaxed: Configuration | None
    energy: float
    is_ground_state: bool
    error: str = ""

    @cached_property
    def name(self) -> str:
        """Composition and group, as in messages."""
        return f"{formula_text(self.data.species)} {Path(self.data.group).stem}".strip()


@dataclass(frozen=True)
class EquationOfState:
    """Result of a fit of the third-order Birch-Murnaghan equation.

    Attributes:
        volume: equilibrium volume, Å³/atom.
        bulk_modulus: GPa.
    """

    volume: float
    bulk_modulus: float


def relaxed_crystals(runner: Runner, references: References, most: int) -> list[Crystal]:
    """Return the crystals of the data, relaxed; those that relax to an earlier one are left out.

    Raises:
        LammpsTimeoutError: the time limit was reached.
    """
    candidates = references.crystals[:most]
    if not candidates:
        return []
    found: list[Crystal] = []
    for data, result in zip(candidates, runner.relax_each(candidates, cell=True), strict=True):
        lowest = references.ground_state(formula(data.species)) is data
        if isinstance(result, LammpsError):
            crystal = Crystal(data, None, np.nan, lowest, message_of(result))
        else:
            crystal = Crystal(data, result.structure, result.energy / len(data), lowest)
        if not any(_same(crystal, other) for other in found):
            found.append(crystal)
    return found


def _same(first: Crystal, second: Crystal) -> bool:
    if first.relaxed is None or second.relaxed is None:
        return False
    volumes = [one.volume / len(one) for one in (first.relaxed, second.relaxed)]
    return (
        formula(first.data.species) == formula(second.data.species)
        and abs(first.energy - second.energy) < SAME_ENERGY
        and abs(volumes[0] / volumes[1] - 1.0) < SAME_VOLUME
    )


def deformed(crystal: Configuration, deformation: Floats) -> Configuration:
    """Return a cell whose vectors and atoms are multiplied by a (3, 3) matrix from the right."""
    return replace(crystal, cell=crystal.cell @ deformation, positions=crystal.positions @ deformation, labels={})


def volume_cells(crystal: Configuration) -> list[Configuration]:
    """Return scaled cells of a crystal, from compressed to expanded."""
    return [deformed(crystal, scale * np.eye(3)) for scale in SCALES.tolist()]


def scaled_cells(crystal: Configuration, references: References) -> list[Configuration]:
    """Return the configurations with an energy label that are scaled cells of a crystal, by volume."""
    found = []
    for one in references.configurations:
        deformation = strain_of(one, crystal) if one.energy is not None else None
        if deformation is not None and scale_of(deformation) is not None:
            found.append(one)
    return sorted(found, key=lambda one: one.volume)


def equation_of_state(volumes: Floats, energies: Floats) -> EquationOfState | None:
    """Fit the third-order Birch-Murnaghan equation to the points near the minimum.

    It is a polynomial of degree 3 in V^(-2/3) (F. Birch, Phys. Rev. 71, 809 (1947)).

    Args:
        volumes: Å³/atom.
        energies: eV/atom.

    Returns:
        ``None`` if there are too few points near the minimum, or none on one side of it.
    """
    lowest = float(volumes[int(energies.argmin())])
    near = np.abs(volumes / lowest - 1.0) <= NEAR
    if near.sum() < FEWEST[0] or not (volumes[near].min() < lowest < volumes[near].max()):
        return None
    x = (volumes[near] / lowest) ** (-2 / 3)
    polynomial = np.polynomial.Polynomial.fit(x, energies[near], 3)
    slope, curvature = polynomial.deriv(1), polynomial.deriv(2)
    roots = [root.real for root in slope.roots() if abs(root.imag) < 1e-9 and x.min() <= root.real <= x.max()]
    minima = [root for root in roots if curvature(root) > 0]
    if len(minima) != 1:
        return None
    # At the minimum dE/dx = 0, so that V d²E/dV² = V (dx/dV)² d²E/dx² with dx/dV = -2/3 x/V.
    volume = lowest * minima[0] ** -1.5
    bulk_modulus = (2 / 3 * minima[0]) ** 2 * curvature(minima[0]) / volume
    return EquationOfState(float(volume), float(bulk_modulus) / GPA)


def elastic_cells(crystal: Configuration) -> list[Configuration]:
    """Return cells of a crystal with each of the six strains, negative and positive, for `elastic_constants`."""
    cells = []
    for direction in np.eye(6) * [1, 1, 1, 0.5, 0.5, 0.5]:  # a shear strain in Voigt notation is twice the component
        cells += [deformed(crystal, np.eye(3) + sign * STEP * from_voigt(direction)) for sign in (-1, 1)]
    return cells


def elastic_constants(found: Sequence[Evaluation]) -> Floats:
    """Return (6, 6) elastic constants, GPa, in Voigt order, from the stresses of `elastic_cells`."""
    stresses = np.array([one.values["stress"] for one in found]).reshape(6, 2, 6)
    constants = (stresses[:, 1] - stresses[:, 0]) / (2 * STEP * GPA)
    symmetric: Floats = (constants + constants.T) / 2
    return symmetric


class StrainedCell(NamedTuple):
    """A labelled configuration that is a strained cell of a crystal.

    Attributes:
        configuration: the configuration.
        strain: (6,) engineering strains in Voigt order, in the frame of the crystal.
        rotation: (3, 3), vectors of the crystal are multiplied by it from the right to get those of the configuration.
    """

    configuration: Configuration
    strain: Floats
    rotation: Floats

    def in_crystal(self, stress: Floats) -> Floats:
        """Return (6,) a stress (3, 3) of the configuration in the frame of the crystal."""
        return voigt(self.rotation @ stress @ self.rotation.T)


def strained_cells(crystal: Configuration, references: References) -> list[StrainedCell]:
    """Return the configurations with a stress label that are strained cells of a crystal."""
    found = []
    for one in references.configurations:
        deformation = strain_of(one, crystal) if one.stress is not None else None
        if deformation is None:
            continue
        rows, stretches, columns = np.linalg.svd(deformation)
        # F = U S V = (U S U^T)(U V): vectors are multiplied from the right, so that the strain U S U^T acts first.
        tensor = voigt(rows @ np.diag(stretches - 1.0) @ rows.T)
        if np.abs(tensor).max() <= LARGEST_STRAIN:
            found.append(StrainedCell(one, tensor * [1, 1, 1, 2, 2, 2], rows @ columns))
    return found


def constants_from_stresses(strains: Floats, stresses: Floats) -> Floats | None:
    """Return (6, 6) elastic constants, GPa, by least squares from cells whose atoms are on the strained sites.

    Args:
        strains: (C, 6) Voigt strains, relative to any cell near the minimum.
        stresses: (C, 6) eV/Å³.

    Returns:
        ``None`` if the strains do not determine them.
    """
    if len(strains) < FEWEST[1]:
        return None
    matrix = np.column_stack([np.ones(len(strains)), strains])
    # All strains have to vary by more than rounding: relative to the largest singular value, that of the constant.
    if np.linalg.matrix_rank(matrix, tol=1e-3 * np.sqrt(len(strains))) < 7:
        return None
    found = np.linalg.lstsq(matrix, stresses / GPA, rcond=None)[0][1:]
    symmetric: Floats = (found + found.T) / 2
    return symmetric


def is_cubic(constants: Floats) -> bool:
    """Return whether elastic constants have cubic symmetry in their frame, within 2 % of the largest."""
    tolerance = 0.02 * np.abs(constants).max()
    return bool(np.abs(constants - cubic(constants)).max() <= tolerance)


def cubic(constants: Floats) -> Floats:
    """Return the cubic part of elastic constants."""
    c11, c44 = float(np.diag(constants)[:3].mean()), float(np.diag(constants)[3:].mean())
    c12 = float(constants[[0, 0, 1], [1, 2, 2]].mean())
    result = np.zeros((6, 6))
    result[:3, :3] = c12
    np.fill_diagonal(result, [c11, c11, c11, c44, c44, c44])
    return result
