"""A fitted potential in Python: the network on LAMMPS' descriptors plus the reference; also as an ASE calculator."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from numpy.typing import NDArray

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.deploy.model_file import load_model
from fitsnap_nn.descriptors.record import Record
from fitsnap_nn.descriptors.snap import SnapCalculator
from fitsnap_nn.errors import DataError
from fitsnap_nn.models import Batch, Model, predict
from fitsnap_nn.settings.schema import Bispectrum, Reference


class Evaluation(NamedTuple):
    """What a potential says of one configuration of N atoms.

    Attributes:
        energy: eV.
        forces: (N, 3) eV/Å.
        stress: (6,) eV/Å³, Voigt order xx yy zz yz xz xy, ASE sign; ``None`` if it was not asked for, or the cell is
            not fully periodic.
    """

    energy: float
    forces: Floats
    stress: Floats | None


class Potential:
    """Energies, forces and stresses in float64, the same as LAMMPS computes from the exported files.

    Args:
        model: copied, so that a fit can go on with the original.
        folder: where the reference's file names start.
    """

    def __init__(self, model: Model, bispectrum: Bispectrum, reference: Reference, folder: Path = Path()) -> None:
        self.model = _double(model)
        self.elements = model.elements
        self._bispectrum = bispectrum
        self._reference = reference
        self._folder = folder

    def predict(self, configuration: Configuration | Atoms, *, stress: bool = True) -> Evaluation:
        """Evaluate a configuration; without ``stress`` it takes less than a tenth of the time.

        Raises:
            DataError: an element the potential was not fitted for.
            LammpsError: LAMMPS refused the configuration.
        """
        if isinstance(configuration, Atoms):
            configuration = from_atoms(configuration)
        unknown = sorted(set(configuration.species) - set(self.elements))
        if unknown:
            raise DataError(
                f"{configuration.id}: the potential is for {', '.join(self.elements)}, not for {', '.join(unknown)}."
            )
        stress = stress and all(configuration.pbc)
        record = (self._with_strain if stress else self._without_strain).compute(configuration)
        return evaluate(self.model, configuration, record, stress=stress)

    @cached_property
    def _with_strain(self) -> SnapCalculator:
        return self._calculator(strain=True)

    @cached_property
    def _without_strain(self) -> SnapCalculator:
        return self._calculator(strain=False)

    def _calculator(self, strain: bool) -> SnapCalculator:
        return SnapCalculator(self._bispectrum, self._reference, gradients=True, strain=strain, folder=self._folder)


def load_potential(path: str | Path) -> Potential:
    """The potential in a model file, or the best one in a restart file.

    Raises:
        CheckpointError: it is neither.
    """
    content = load_model(path)
    return Potential(content.model, content.bispectrum, content.reference, Path(path).parent)


def evaluate(model: Model, configuration: Configuration, record: Record, *, stress: bool) -> Evaluation:
    """A float64 model on a configuration's record, with the reference added."""
    index = {element: number for number, element in enumerate(model.elements)}
    batch = Batch(
        species=torch.tensor([index[symbol] for symbol in configuration.species]),
        config=torch.zeros(len(configuration), dtype=torch.int64),
        n_atoms=torch.tensor([len(configuration)]),
        volume=torch.tensor([configuration.volume], dtype=torch.float64),
        descriptors=_tensor(record.descriptors),
        pair_i=torch.from_numpy(record.pair_i.astype(np.int64)),
        pair_j=torch.from_numpy(record.pair_j.astype(np.int64)),
        gradients=_tensor(record.gradients),
        strain_gradients=_tensor(record.strain_gradients),
    )
    found = predict(model, batch, forces=True, stress=stress)
    assert found.forces is not None
    return Evaluation(
        float(found.energy[0]) + record.reference_energy,
        found.forces.numpy() + record.reference_forces,
        None if found.stress is None else found.stress[0].numpy() + record.reference_stress,
    )


def from_atoms(atoms: Atoms) -> Configuration:
    """The atoms and the cell, without labels."""
    first, second, third = (bool(periodic) for periodic in atoms.pbc)
    return Configuration(
        id=str(atoms.symbols),
        group="",
        species=tuple(atoms.get_chemical_symbols()),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell, dtype=np.float64),
        pbc=(first, second, third),
        charges=np.array(atoms.get_initial_charges(), dtype=np.float64),
    )


class Calculator(AseCalculator):  # type: ignore[misc]
    """An ASE calculator.

    Args:
        potential: a potential, or the path of a model or restart file.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, potential: Potential | str | Path, **options: Any) -> None:
        super().__init__(**options)
        self.potential = potential if isinstance(potential, Potential) else load_potential(potential)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """What ASE calls; see ``ase.calculators.calculator.Calculator``."""
        super().calculate(atoms, properties, system_changes)
        found = self.potential.predict(self.atoms, stress="stress" in properties)
        self.results.update(energy=found.energy, free_energy=found.energy, forces=found.forces)
        if found.stress is not None:
            self.results["stress"] = found.stress


def _double(model: Model) -> Model:
    """A copy in float64."""
    double = copy.deepcopy(model).cpu().eval()
    double.set_precision(torch.float64)
    return double


def _tensor(array: NDArray[np.floating]) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float64))
