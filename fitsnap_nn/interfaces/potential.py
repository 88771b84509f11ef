"""A fitted potential in Python: the network plus the reference potential."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from fitsnap_nn import devices
from fitsnap_nn.data.atoms import configuration_from_atoms
from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.fitted import property_of
from fitsnap_nn.data.properties import STANDARD, STRESS, Derivatives, Property, derivatives_of, plain_value
from fitsnap_nn.errors import DataError
from fitsnap_nn.export.model_file import load_model
from fitsnap_nn.inputs import Batch, CachedInput, Compute, join_batches
from fitsnap_nn.interfaces.outputs import Outputs, parse_outputs
from fitsnap_nn.lammps.cell import to_lammps
from fitsnap_nn.lammps.reference import ReferencePotential
from fitsnap_nn.models import Model
from fitsnap_nn.models.committee import member_weights
from fitsnap_nn.models.evaluation import evaluate, to_float64
from fitsnap_nn.models.prediction import weighted_mean
from fitsnap_nn.models.uncertainty import Uncertainty
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.settings.schema import Reference

MAX_LISTED = 5  # atoms in a message


class Potential:
    """Energies, forces and stresses in float64, equal to those of the exported files in LAMMPS.

    Args:
        model: the model; it is copied, so that a fit can continue with the original.
        reference: pair style whose energy is added to that of the model.
        folder: folder to which file names in ``reference`` are relative.
        device: where the model is evaluated; ``None`` for the device of ``model``.
        targets: rows of section [TARGETS] of the fit.
        uncertainty: how uncertainties are found; ``None`` if the fit has not determined it.

    Attributes:
        model: the float64 model.
        elements: chemical symbols, in the order of LAMMPS' atom types.
        targets: properties that the model predicts besides energy, forces and stress.
    """

    def __init__(
        self,
        model: Model[Any],
        reference: Reference,
        folder: Path = Path(),
        device: torch.device | None = None,
        targets: Sequence[PropertyRow] = (),
        uncertainty: Uncertainty | None = None,
    ) -> None:
        self.model = to_float64(model, device)
        self.uncertainty = uncertainty
        self.elements = model.elements
        self._reference = reference
        self._folder = folder
        self.targets = tuple(property_of(row) for row in targets if self.model.predicts(row.name))
        self._computes: dict[str, Compute] = {}
        self._reference_potential: ReferencePotential | None = None

    def __repr__(self) -> str:
        weights = sum(parameter.numel() for parameter in self.model.parameters())
        device = self.model.element_energies.device
        where = "" if device.type == "cpu" else f", {device}"
        return f"Potential({type(self.model).__name__}, {' '.join(self.elements)}, {weights} weights{where})"

    def predict(
        self,
        configuration: Configuration | Atoms,
        properties: Iterable[Property] | None = None,
        *,
        outputs: Iterable[str] | None = None,
    ) -> Evaluation:
        """Return the prediction for a configuration.

        Args:
            configuration: a configuration, or ASE's ``Atoms``.
            properties: requested properties; the energy is always included. A stress requires a fully periodic cell.
                By default energy, forces and stress if there are no ``outputs`` either.
            outputs: names of requested outputs besides the properties: ``forces``, ``stress``, a target of the fit;
                ``energies`` of atoms; ``features`` of atoms before the heads of the model; and
                ``energy_last_layer_features`` and so on, before the last layer of the energy or a target; the
                uncertainties ``forces_std``, ``energy_std`` and ``energies_std``. metatrain's names are accepted.

        Returns:
            Energy (eV), forces (eV/Å) and stress (eV/Å³); with a committee, or if uncertainties are requested, also
            their ``spread``. Other outputs are in its ``values``: (N,) eV for ``energies``, (N, K) for features, and
            targets in the shapes of their labels.

        Raises:
            DataError: the potential was not fitted for an element of the configuration, atoms are at the same place, an
                energy, force or stress is not a finite number, or the potential does not have an output.
            LammpsError: LAMMPS rejected the configuration.
        """
        if isinstance(configuration, Atoms):
            configuration = configuration_from_atoms(configuration)
        unknown = sorted(set(configuration.species) - set(self.elements))
        if unknown:
            raise DataError(
                f"{configuration.id}: the potential is for {', '.join(self.elements)}, not for {', '.join(unknown)}."
            )
        if properties is None:
            properties = STANDARD if outputs is None else ()
        named = parse_outputs(outputs or (), self.targets)
        requested = dict.fromkeys((*properties, *named.properties))
        wanted = [one for one in requested if one != STRESS or all(configuration.pbc)]
        cached = self._compute(derivatives_of(wanted)).compute(configuration)
        found = evaluate(self.model, configuration, cached, wanted, self._uncertainty(named))
        targets = {
            one.name: np.asarray(plain_value(one, found.values[one.name])) for one in wanted if one in self.targets
        }
        found = replace(found, values={**found.values, **targets, **self._of_atoms(configuration, cached, named)})
        _require_finite(configuration, found)
        return found

    def energy_terms(self, configuration: Configuration) -> float:
        """Return the sum of the magnitudes of the terms of the energy, eV, see `Model.energy_terms`.

        Args:
            configuration: as for `predict`.
        """
        cached = self._compute(derivatives_of(STANDARD)).compute(configuration)
        return self.model.energy_terms(self._batch(configuration, cached))

    def _batch(self, configuration: Configuration, cached: CachedInput) -> Batch:
        device = self.model.element_energies.device
        return join_batches([self.model.input.to_batch(configuration, cached)], torch.float64, device)

    def _uncertainty(self, named: Outputs) -> Uncertainty | None:
        """Return how the spread is found: that of displaced last layers costs as much as a prediction for each.

        Raises:
            DataError: uncertainties are requested, but the fit has not determined them.
        """
        committee = len(self.model.members()) > 1
        if named.deviations and not (committee or self.uncertainty):
            raise DataError(
                "this potential has no uncertainties. Continue its fit with [EXTRAS] uncertainty = last_layer and "
                "--resume: a complete fit is not trained again."
            )
        return self.uncertainty if named.deviations or committee else None

    @torch.no_grad()
    def _of_atoms(self, configuration: Configuration, cached: CachedInput, named: Outputs) -> dict[str, Floats]:
        """Return energies and features of atoms."""
        if not (named.energies or named.features):
            return {}
        batch = self._batch(configuration, cached)
        found = {}
        if named.energies:
            members = self.model.members()
            mean = weighted_mean([one.atom_energies(batch) for one in members], member_weights(self.model))
            found["energies"] = mean.cpu().numpy() + self._reference_energies(configuration)
        for name, of in named.features.items():
            try:
                found[name] = self.model.atom_features(batch, of).double().cpu().numpy()
            except NotImplementedError as error:
                raise DataError(f"{name} is not an output of this potential: {error}.") from error
        return found

    def _reference_energies(self, configuration: Configuration) -> Floats:
        if self._reference_potential is None:
            self._reference_potential = ReferencePotential(self._reference, self.elements, self._folder)
        return self._reference_potential.atom_energies(configuration, to_lammps(configuration))

    def _compute(self, derivatives: Derivatives) -> Compute:
        """Return the computation of the model input; derivatives with the same cache key share one."""
        key = json.dumps(self.model.input.cache_key(derivatives), sort_keys=True)
        if key not in self._computes:
            opened = self.model.input.open(self._reference, self._folder, derivatives)
            self._computes[key] = opened.__enter__()
        return self._computes[key]


def _require_finite(configuration: Configuration, found: Evaluation) -> None:
    """Refuse a prediction that is not finite.

    Raises:
        DataError: it names the configuration, and the atoms if they are known.
    """
    wrong = [name for name, values in found.values.items() if not np.isfinite(values).all()]
    if not wrong:
        return
    forces = np.zeros((0, 3)) if found.forces is None else found.forces
    (atoms,) = np.nonzero(~np.isfinite(forces).all(axis=1))
    listed = ", ".join(f"{atom + 1} ({configuration.species[atom]})" for atom in atoms[:MAX_LISTED])
    more = ", ..." if len(atoms) > MAX_LISTED else ""
    where = f" Forces on atoms {listed}{more} are not finite." if len(atoms) else ""
    raise DataError(
        f"{configuration.id}: {' and '.join(wrong)} by the potential are not finite numbers.{where} "
        "Check the structure for atoms that are too close."
    )


def load_potential(path: str | Path, *, trust: bool = False, device: str = "auto") -> Potential:
    """Load the potential in a model file, or the best one in a restart file.

    Args:
        path: the file.
        trust: let its reference potential run code (pair styles such as ``mliap`` and ``python``) and read files
            outside the model file. For files from sources that you trust only.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:NUMBER``, see `devices.choose`.

    Raises:
        CheckpointError: the file is neither, is damaged, or needs ``trust``.
        InputError: torch does not find the requested GPU.
    """
    chosen, content = devices.choose(device), load_model(path, trust=trust)
    reference, folder = content.located_reference(), Path(path).parent
    return Potential(content.model, reference, folder, chosen, content.properties, content.uncertainty)
