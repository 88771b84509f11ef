"""Runs of VASP as its files describe them, and the judgement of the electronic loop of each ionic step."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fitsnap_nn.data.configuration import Floats

UNCONVERGED = "the electronic loop did not converge (it ran into NELM or was stopped)"
NOT_SELF_CONSISTENT = "not self-consistent: the charge density was kept fixed (ICHARG of 10 or more)"
# IALGO of ALGO = Eigenval, None and Subrot: energies of given orbitals, without a self-consistency loop.
ONE_SHOT_ALGORITHMS = frozenset({2, 3, 4})
EXACT_DIAGONALIZATION = 90  # IALGO of ALGO = Exact, one-shot if NELM = 1
DAMAGED = "damaged file"
SYMBOL = re.compile(r"[A-Z][a-z]?")
SAME_LENGTH = 1e-3  # Å; OUTCAR prints five decimals
SAME_ENERGY = 1e-4  # eV; both files print eight decimals, but the PV term of vasprun.xml is subtracted


class Step(NamedTuple):
    """Finished ionic step.

    Attributes:
        positions: (N, 3) Å.
        cell: (3, 3) Å, lattice vectors as rows.
        forces: (N, 3) eV/Å, or ``None``.
        pressure: (3, 3) kB in VASP's sign, that of LAMMPS' pressure, or ``None``.
        free_energy: TOTEN, eV; the forces are its gradient.
        energy_without_entropy: eV, or ``None``.
        problem: why it is not a label, for example `UNCONVERGED`; empty if it is.
    """

    positions: Floats
    cell: Floats
    forces: Floats | None
    pressure: Floats | None
    free_energy: float
    energy_without_entropy: float | None
    problem: str = ""


@dataclass
class Run:
    """Run of VASP.

    Attributes:
        species: (N,) chemical symbols.
        parameters: resolved INCAR parameters that decide how the steps are judged.
        steps: finished ionic steps of density functional theory.
        predicted: number of results of a machine-learned force field, which are not labels.
        cut_short: where the file ends before the run does, or why its rest is `DAMAGED`; empty if it is complete.
    """

    species: tuple[str, ...] = ()
    parameters: dict[str, float] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    predicted: int = 0
    cut_short: str = ""

    @property
    def is_one_shot(self) -> bool:
        """Whether energies are those of given orbitals, whose convergence the file does not state."""
        algorithm = self.parameters.get("IALGO")
        exact_once = algorithm == EXACT_DIAGONALIZATION and self.parameters.get("NELM") == 1
        return algorithm in ONE_SHOT_ALGORITHMS or exact_once

    @property
    def repeats_one_structure(self) -> bool:
        """Whether all steps are the same structure: IBRION = -1 does not move atoms, but NSW repeats the step."""
        return self.parameters.get("IBRION") == -1 and self.parameters.get("NSW", 0) > 1

    def problem(self, iterations: int, ended_by_limit: bool, last_changes: tuple[float, ...] = ()) -> str:
        """Judge the electronic loop of a step.

        VASP 5 writes the same line whether or not the loop converged, therefore the iterations are counted. VASP stops
        when both changes are below EDIFF, which can happen in the last iteration that NELM allows.

        Args:
            iterations: number of iterations.
            ended_by_limit: whether the file states that EDIFF was not reached.
            last_changes: total-energy and band-energy change of the last iteration, eV; empty if unknown.

        Returns:
            The problem, or an empty string.
        """
        if self.parameters.get("ICHARG", 0) >= 10:
            return NOT_SELF_CONSISTENT
        if self.is_one_shot:
            return ""
        if ended_by_limit:
            return UNCONVERGED
        if iterations < self.parameters.get("NELM", np.inf):
            return ""
        ediff = self.parameters.get("EDIFF", 0.0)
        return "" if len(last_changes) == 2 and max(map(abs, last_changes)) < ediff else UNCONVERGED

    def is_same_as(self, other: Run) -> bool:
        """Return whether the first step of another run has the same atoms, positions and energy."""
        if self.species != other.species or not self.steps or not other.steps:
            return False
        mine, theirs = self.steps[0], other.steps[0]
        if not np.allclose(mine.cell, theirs.cell, atol=SAME_LENGTH):
            return False
        shift = np.linalg.solve(mine.cell.T, (mine.positions - theirs.positions).T).T
        apart = np.abs((shift - np.rint(shift)) @ mine.cell).max()  # the files may use different periodic images
        return bool(apart < SAME_LENGTH and abs(mine.free_energy - theirs.free_energy) < SAME_ENERGY)


def symbol_of(text: str) -> str:
    """Return the chemical symbol at the start of the name of a potential (``Cu_pv``), or an empty string."""
    from ase.data import atomic_numbers  # slow to import, and most data sets are JSON

    match = SYMBOL.match(text.strip())
    return match.group() if match and match.group() in atomic_numbers else ""
