"""The model before training: its architecture from the settings, what is fitted before the weights from the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.descriptors.bispectrum import n_descriptors
from fitsnap_nn.descriptors.record import AnyRecord
from fitsnap_nn.models import BPNN, Graph, GraphModel, Model, build
from fitsnap_nn.models.baselines import fit_composition, standardize
from fitsnap_nn.models.evaluation import single_batch
from fitsnap_nn.preparation import Prepared
from fitsnap_nn.settings.schema import Settings


class Labelled(NamedTuple):
    """One configuration of the training set, and what is computed of it beforehand."""

    configuration: Configuration
    record: AnyRecord


def create_model(settings: Settings) -> Model:
    """The architecture that the settings ask for, with random weights from torch's generator, or pretrained ones.

    Raises:
        CheckpointError: the pretrained file cannot be used.
        ImportError: a library that the architecture needs is not installed.
    """
    options = settings.pytorch
    if pretrained := pretrained_file(settings):
        from fitsnap_nn.models.mace_files import run_and_convert

        head = settings.architecture.mace_head_name
        description, state = run_and_convert(pretrained, settings.elements, head)
        model = build(description)
        model.load_state_dict(state)
        return model
    if options.model != "BPNN":
        section = settings.architecture
        hypers = section.hyperparameters() if hasattr(section, "hyperparameters") else asdict(section)
        return build({"architecture": options.model, "elements": list(settings.elements), **hypers})
    hidden = [int(word) for word in options.layer_sizes[1:-1]]
    size = n_descriptors(settings.bispectrum)
    return BPNN(settings.elements, size, hidden, options.activation, options.multi_element_option)


def pretrained_file(settings: Settings) -> Path | None:
    """The file of mace that the fit starts from, relative to the input file."""
    name: str = settings.architecture.mace_model if settings.pytorch.model == "MACE" else ""
    return Path(settings.folder, name) if name else None


def initialize(model: Model, settings: Settings, prepared: Prepared) -> list[str]:
    """Fit the baselines of a model to the training set, and set its precision.

    Returns:
        What to tell the user about them.
    """
    training = [Labelled(c, prepared.store.record(c)) for c in prepared.subset(testing=False)]
    if isinstance(model, GraphModel):
        model.calibrate(_graphs(model, training))
    elif isinstance(model, BPNN) and settings.pytorch.standardize:
        blocks = ((_species(c, model.elements), prepared.store.record(c).descriptors) for c, _ in training)
        found = standardize(blocks, (len(model.elements), n_descriptors(settings.bispectrum)))
        model.standardize(*(torch.from_numpy(array) for array in found))
    if pretrained_file(settings):
        notes = ["element energies and scale are those of mace_model"]
    else:
        notes = _set_baselines(model, settings, training)
    prepared.store.release()
    model.set_precision(getattr(torch, settings.pytorch.precision))
    return notes


def _graphs(model: GraphModel, training: Sequence[Labelled]) -> Iterator[Graph]:
    for configuration, record in training:
        graph = single_batch(configuration, record, model.elements, torch.float64)
        assert isinstance(graph, Graph)
        yield graph


def _species(configuration: Configuration, elements: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([elements.index(symbol) for symbol in configuration.species], dtype=np.int64)


def _set_baselines(model: Model, settings: Settings, training: Sequence[Labelled]) -> list[str]:
    """Element energies, by least squares on what reference and fixed terms leave; and the scale of the targets."""
    notes = []
    labelled = [one for one in training if one.configuration.energy is not None and one.configuration.energy_weight > 0]
    counts = [np.bincount(_species(c, model.elements), minlength=len(model.elements)) / len(c) for c, _ in labelled]
    fractions = np.array(counts).reshape(-1, len(model.elements))
    fixed = [0.0] * len(labelled)
    if isinstance(model, GraphModel):
        fixed = [float(model.fixed_energies(graph).sum()) for graph in _graphs(model, labelled)]
    residuals = np.array(
        [((c.energy or 0.0) - r.reference_energy - f) / len(c) for (c, r), f in zip(labelled, fixed, strict=True)]
    )
    if settings.pytorch.composition_baseline and labelled:
        found = fit_composition(fractions, residuals, np.array([c.energy_weight for c, _ in labelled]))
        model.element_energies.copy_(torch.from_numpy(found.energies))
        residuals = residuals - fractions @ found.energies
        pairs = zip(model.elements, found.energies, strict=True)
        notes.append(
            "element energies by least squares: " + ", ".join(f"{e} {energy:.4f}" for e, energy in pairs) + " eV"
        )
        if not found.determined:
            notes.append("the compositions of the data leave these energies open: the smallest were taken")
    if settings.pytorch.scale_targets:
        scale = _network_scale if isinstance(model, GraphModel) else _target_scale
        model.energy_scale.fill_(scale(residuals, training))
        notes.append(f"targets are scaled by {float(model.energy_scale):.4g} eV")
    return notes


def _target_scale(residuals: np.ndarray, training: Sequence[Labelled]) -> float:
    """Half the spread of energies per atom, or the largest force times 1 Å if that is more; eV.

    Where only stresses are fitted, the largest virial of an atom.
    """
    forces = [float(np.abs(array).max()) for array in _forces(training)]
    virials = [
        float(np.abs(voigt(c.stress) - r.reference_stress).max()) * c.volume / len(c)
        for c, r in training
        if c.stress is not None and c.stress_weight > 0
    ]
    spread = 0.5 * float(np.ptp(residuals)) if len(residuals) else 0.0
    return max(spread, *forces, 0.0) or max(virials, default=0.0) or 1.0


def _network_scale(residuals: np.ndarray, training: Sequence[Labelled]) -> float:
    """Root mean square of the force components times 1 Å, or of the energies per atom where there are no forces; eV."""
    forces = [array.ravel() for array in _forces(training)]
    values = np.concatenate(forces) if forces else residuals
    return float(np.sqrt(np.mean(values**2))) if len(values) and np.any(values) else 1.0


def _forces(training: Sequence[Labelled]) -> list[np.ndarray]:
    """The forces that are fitted, less the reference's."""
    return [c.forces - r.reference_forces for c, r in training if c.forces is not None and c.force_weight > 0]
