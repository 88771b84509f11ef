"""The model before training: its architecture from the settings, what is fitted before the weights from the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.errors import DataError
from fitsnap_nn.inputs.cached import CachedInput
from fitsnap_nn.inputs.snap.bispectrum import largest_cutoff, n_descriptors
from fitsnap_nn.models import BPNN, Graph, GraphModel, Model, build_model
from fitsnap_nn.models.baselines import fit_composition, standardize
from fitsnap_nn.models.evaluation import single_batch
from fitsnap_nn.settings.schema import Settings
from fitsnap_nn.workflow.preparation import Prepared


class Labelled(NamedTuple):
    """One configuration of the training set, and what is computed of it beforehand."""

    configuration: Configuration
    record: CachedInput


def create_model(settings: Settings) -> Model:
    """The architecture that the settings ask for, with random weights from torch's generator, or pretrained ones.

    Raises:
        CheckpointError: the pretrained file cannot be used.
        ImportError: a library that the architecture needs is not installed.
    """
    options = settings.pytorch
    if pretrained := pretrained_file(settings):
        from fitsnap_nn.interfaces.mace_files import run_and_convert

        head = settings.architecture.mace_head_name
        description, state = run_and_convert(pretrained, settings.elements, head)
        model = build_model(description)
        model.load_state_dict(state)
        return model
    if options.model != "BPNN":
        hyperparameters = settings.architecture.hyperparameters()
        return build_model({"architecture": options.model, "elements": list(settings.elements), **hyperparameters})
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
        model.fit_to_data(_graphs(model, training))
    elif isinstance(model, BPNN) and settings.pytorch.standardize:
        blocks = ((c.element_indices(model.elements), prepared.store.record(c).descriptors) for c, _ in training)
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


def _set_baselines(model: Model, settings: Settings, training: Sequence[Labelled]) -> list[str]:
    """Element energies, of what reference and fixed terms leave; and the scale of what those leave in turn."""
    notes = []
    labelled = [one for one in training if one.configuration.energy is not None]
    fixed = [0.0] * len(labelled)
    if isinstance(model, GraphModel):
        fixed = [float(model.prior_energies(graph).sum()) for graph in _graphs(model, labelled)]
    residuals = np.array(
        [((c.energy or 0.0) - r.reference_energy - f) / len(c) for (c, r), f in zip(labelled, fixed, strict=True)]
    )
    if settings.pytorch.composition_baseline and labelled:
        configurations = [c for c, _ in labelled]
        fractions = _fractions(configurations, model.elements)
        found, how = _element_energies(model, settings, configurations, fractions, residuals)
        model.element_energies.copy_(torch.from_numpy(found))
        residuals = residuals - fractions @ found
        pairs = zip(model.elements, found, strict=True)
        notes.append(f"element energies {how}: {', '.join(f'{e} {energy:.4f}' for e, energy in pairs)} eV")
    if settings.pytorch.scale_targets:
        scale = _network_scale if isinstance(model, GraphModel) else _target_scale
        weighted = np.array([c.energy_weight > 0 for c, _ in labelled], dtype=bool)
        model.energy_scale.fill_(scale(residuals[weighted], training))
        notes.append(f"targets are scaled by {float(model.energy_scale):.4g} eV")
    return notes


def _element_energies(
    model: Model,
    settings: Settings,
    configurations: Sequence[Configuration],
    fractions: Floats,
    energies_per_atom: Floats,
) -> tuple[Floats, str]:
    """Energies (E,) in eV in the way that the input asks for, and which way that is.

    Raises:
        DataError: an element has no isolated atom.
    """
    if given := settings.pytorch.given_energies:
        return np.array([given[element] for element in model.elements]), "as given"
    if settings.pytorch.element_energies == ("isolated",):
        cutoff = model.cutoff if isinstance(model, GraphModel) else largest_cutoff(settings.bispectrum)
        alone = np.array([len(c) == 1 and not len(find_neighbours(c, cutoff).i) for c in configurations])
        found = fit_composition(fractions[alone], energies_per_atom[alone], np.ones(alone.sum()))
        if not found.determined:
            there = dict(zip(model.elements, fractions[alone].any(axis=0), strict=True))
            missing = [element for element in model.elements if not there[element]]
            raise DataError(
                f"[PYTORCH] element_energies = isolated, but no training configuration with an energy is a lone atom "
                f"of {', '.join(missing)}, without neighbours up to {cutoff:g} Å. Add one, or give all energies."
            )
        return found.energies, "of isolated atoms"
    found = fit_composition(fractions, energies_per_atom, np.array([c.energy_weight for c in configurations]))
    open_to_choice = "" if found.determined else ", the smallest of those that the compositions of the data leave open"
    return found.energies, f"by least squares{open_to_choice}"


def _fractions(configurations: Sequence[Configuration], elements: Sequence[str]) -> Floats:
    """(C, E) fraction of each element in each configuration."""
    counts = [np.bincount(c.element_indices(elements), minlength=len(elements)) / len(c) for c in configurations]
    return np.array(counts, dtype=np.float64).reshape(-1, len(elements))


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
