"""A fitted potential in Python: the network plus the reference; also as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes

from fitsnap_nn.data.atoms import configuration_from_atoms
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import DataError
from fitsnap_nn.export.model_file import load_model
from fitsnap_nn.inputs.graph.compute import GraphCompute
from fitsnap_nn.inputs.snap.compute import SnapCompute
from fitsnap_nn.models import GraphModel, Model
from fitsnap_nn.models.evaluation import Evaluation, evaluate, to_float64
from fitsnap_nn.settings.schema import Bispectrum, Reference


class Potential:
    """Energies, forces and stresses in float64, the same as LAMMPS computes from the exported files.

    Args:
        model: copied, so that a fit can go on with the original.
        folder: where the reference's file names start.
    """

    def __init__(self, model: Model, bispectrum: Bispectrum, reference: Reference, folder: Path = Path()) -> None:
        self.model = to_float64(model)
        self.elements = model.elements
        self._bispectrum = bispectrum
        self._reference = reference
        self._folder = folder

    def predict(self, configuration: Configuration | Atoms, *, stress: bool = True) -> Evaluation:
        """Evaluate a configuration.

        Raises:
            DataError: an element the potential was not fitted for.
            LammpsError: LAMMPS refused the configuration.
        """
        if isinstance(configuration, Atoms):
            configuration = configuration_from_atoms(configuration)
        unknown = sorted(set(configuration.species) - set(self.elements))
        if unknown:
            raise DataError(
                f"{configuration.id}: the potential is for {', '.join(self.elements)}, not for {', '.join(unknown)}."
            )
        if isinstance(self.model, GraphModel):
            return evaluate(self.model, configuration, self._graphs.compute(configuration))
        stress = stress and all(configuration.pbc)
        record = (self._with_strain if stress else self._without_strain).compute(configuration)
        return evaluate(self.model, configuration, record)

    @cached_property
    def _graphs(self) -> GraphCompute:
        assert isinstance(self.model, GraphModel)
        return GraphCompute(self.elements, self.model.cutoff, self._reference, self._folder)

    @cached_property
    def _with_strain(self) -> SnapCompute:
        return self._calculator(strain=True)

    @cached_property
    def _without_strain(self) -> SnapCompute:
        return self._calculator(strain=False)

    def _calculator(self, strain: bool) -> SnapCompute:
        return SnapCompute(self._bispectrum, self._reference, gradients=True, strain=strain, folder=self._folder)


def load_potential(path: str | Path) -> Potential:
    """The potential in a model file, or the best one in a restart file.

    Raises:
        CheckpointError: it is neither.
    """
    content = load_model(path)
    return Potential(content.model, content.bispectrum, content.reference, Path(path).parent)


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
