"""A fitted potential as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes

from fitsnap_nn.data.properties import ENERGY, FORCES, STANDARD, STRESS, plain_value
from fitsnap_nn.interfaces.potential import Potential, load_potential


class Calculator(AseCalculator):  # type: ignore[misc]
    """ASE calculator of a fitted potential: energy (eV), forces (eV/Å), stress (eV/Å³) and energies of atoms (eV).

    ``results`` also has the targets of the fit, by name, and the other outputs of `Potential.predict` that the argument
    ``outputs`` names.

    With a committee, or with ``outputs=["forces_std"]``, ``results`` also has uncertainties: ``energies_std`` (N,) of
    the atom energies and ``energy_std`` of the energy, eV, and ``forces_std`` (N,), eV/Å; see `Evaluation.spread`.

    Args:
        potential: a potential, or the path of a model or restart file.
        trust, device: of the potential in a file, see `load_potential`.
        outputs: names of outputs that are computed besides, see `Potential.predict`.
        **options: options of ``ase.calculators.calculator.Calculator``.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress", "energies"]

    def __init__(
        self,
        potential: Potential | str | Path,
        *,
        trust: bool = False,
        device: str = "auto",
        outputs: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.outputs = tuple(outputs)
        if not isinstance(potential, Potential):
            potential = load_potential(potential, trust=trust, device=device)
        self.potential = potential

    def __repr__(self) -> str:
        return f"Calculator({self.potential!r})"

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute results; called by ASE, see ``ase.calculators.calculator.Calculator``.

        Raises:
            DataError: the potential was not fitted for an element of the atoms.
        """
        super().calculate(atoms, properties, system_changes)
        wanted = (ENERGY, FORCES, STRESS) if "stress" in properties else (ENERGY, FORCES)
        outputs = [*self.outputs, *(["energies"] if "energies" in properties else [])]
        found = self.potential.predict(self.atoms, (*wanted, *self.potential.targets), outputs=outputs)
        self.results.update(energy=found.energy, free_energy=found.energy, forces=found.forces)
        for one in self.potential.targets:
            self.results[one.name] = plain_value(one, found.values[one.name])
        others = set(found.values) - {one.name for one in (*STANDARD, *self.potential.targets)}
        self.results.update({name: found.values[name] for name in others})
        if found.stress is not None:
            self.results["stress"] = found.stress
        self.results.update({f"{name}_std": values for name, values in found.spread.items()})
