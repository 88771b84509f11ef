"""The model before training: its architecture from the settings, its baselines from the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fitsnap_nn.data.configuration import Configuration, Floats, Subset, composition_fractions
from fitsnap_nn.data.neighbours import is_isolated
from fitsnap_nn.data.properties import ENERGY
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.errors import DataError, InputError, Problem
from fitsnap_nn.inputs import CachedInput, DescriptorInput, input_class, join_batches, rows_class
from fitsnap_nn.memory import TRAINING_BYTES, shortage
from fitsnap_nn.models import BPNN, Model
from fitsnap_nn.models.baselines import FitStatistics, fit_composition
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.models.targets import describe_targets
from fitsnap_nn.settings.schema import Settings
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.workflow.preparation import Prepared
from fitsnap_nn.workflow.target_baselines import fit_targets, targets_of
from fitsnap_nn.workflow.warm_start import (
    Start,
    build_with_targets,
    create_from,
    freeze,
    initialize_from,
    refit_where_needed,
)


class Labelled(NamedTuple):
    """One configuration of the training set, and its cached input."""

    configuration: Configuration
    cached: CachedInput


def create_model(settings: Settings, start: Start | None = None) -> Model[Any]:
    """Return the architecture that the settings ask for, with random or pretrained weights.

    Args:
        settings: settings of the fit.
        start: initial weights, which `initialize` sets.

    Raises:
        CheckpointError: the pretrained file cannot be used.
        ImportError: a library that the architecture needs is not installed.
        InputError: the architecture does not support the elements, or a frozen parameter does not exist.
    """
    model = create_from(start, settings) if start else _create_new(settings)
    freeze(model, settings)
    return model


def _create_new(settings: Settings) -> Model[Any]:
    options = settings.pytorch
    if settings.solver.is_linear:
        return LinearModel(rows_class(settings.calculator.calculator).from_settings(settings))
    if pretrained := pretrained_file(settings):
        from fitsnap_nn.interfaces.mace_files import run_and_convert

        description, state = run_and_convert(pretrained, settings.elements, settings.architecture.pretrained[1])
        count = sum(tensor.numel() for tensor in state.values())
        if settings.pytorch.num_epochs and (short := shortage(TRAINING_BYTES * count)):
            what = f"[MACE] mace_model — training {count:.2g} weights needs {short}."
            raise InputError([Problem(str(pretrained), what, "num_epochs = 0 exports it without training.")])
        model = build_with_targets(description, settings)
        model.load_state_dict({**model.state_dict(), **state})
        return model
    if options.model in settings.architectures:
        hyperparameters = settings.architecture.hyperparameters()
        named = {"architecture": options.model, "elements": list(settings.elements)}
        members = {"committee": options.committee} if options.committee > 1 else {}
        return build_with_targets({**named, **hyperparameters, **members}, settings)
    kind = input_class(settings.calculator.calculator)
    assert issubclass(kind, DescriptorInput), "the checks of the settings see to it"
    hidden = [int(word) for word in options.layer_sizes[1:-1]]
    targets = describe_targets(settings.targets)
    return BPNN(
        kind.from_settings(settings),
        hidden,
        options.activation,
        options.multi_element_option,
        options.standardize,
        options.committee,
        targets,
    )


def pretrained_file(settings: Settings) -> Path | None:
    """Return the MACE file that the fit starts from, relative to the input file."""
    name, _ = settings.architecture.pretrained
    return Path(settings.folder, name) if name else None


def initialize(
    model: Model[Any], settings: Settings, prepared: Prepared, start: Start | None = None, ranks: Ranks | None = None
) -> list[str]:
    """Fit the baselines of a model to the training set, or take them from the file of its weights; set its precision.

    Args:
        model: from `create_model`.
        settings: settings of the fit.
        prepared: the data.
        start: initial weights.
        ranks: share the predictions that the element energies are refitted to.

    Returns:
        Lines about them for the log.
    """
    notes = initialize_from(start, model, settings, prepared) if start else _initialize_new(model, settings, prepared)
    return notes + refit_where_needed(model, start, settings, prepared, ranks or Ranks())


def _initialize_new(model: Model[Any], settings: Settings, prepared: Prepared) -> list[str]:
    training = [Labelled(c, prepared.store.cached(c)) for c in prepared.subset(Subset.TRAINING)]
    model.fit_to_data(model.input.to_batch(*one) for one in training)
    if pretrained_file(settings):
        notes = ["element energies and scale are those of mace_model"]
    else:
        notes = _set_baselines(model, settings, training)
    if targets := targets_of(model):
        configurations = [one.configuration for one in training]
        notes += fit_targets(targets, model.elements, settings, configurations, targets.specs)
    prepared.store.release()
    model.set_precision(getattr(torch, settings.pytorch.precision))
    return notes


def _set_baselines(model: Model[Any], settings: Settings, training: Sequence[Labelled]) -> list[str]:
    """Fit element energies to what reference and prior leave, and the scale to what those leave in turn."""
    notes = []
    labelled = [one for one in training if one.configuration.energy is not None]
    residuals = np.array(
        [
            ((c.energy or 0.0) - cached.reference_energy - _prior_energy(model, c, cached)) / len(c)
            for c, cached in labelled
        ]
    )
    if settings.pytorch.composition_baseline and labelled:
        configurations = [c for c, _ in labelled]
        fractions = composition_fractions(configurations, model.elements)
        found, how = _element_energies(model, settings, configurations, fractions, residuals)
        model.element_energies.copy_(torch.from_numpy(found))
        residuals = residuals - fractions @ found
        pairs = zip(model.elements, found, strict=True)
        notes.append(f"element energies {how}: {', '.join(f'{e} {energy:.4f}' for e, energy in pairs)} eV")
    if settings.pytorch.scale_targets:
        weighted = np.array([c.weight("energy") > 0 for c, _ in labelled], dtype=bool)
        fixed = settings.pytorch.fixed_scales.get(ENERGY.name)
        scale = model.target_scale(_statistics(residuals[weighted], training)) if fixed is None else fixed
        model.energy_scale.fill_(scale)
        notes.append(f"energies, forces and stresses are scaled by {float(model.energy_scale):.4g} eV")
    return notes


def _prior_energy(model: Model[Any], configuration: Configuration, cached: CachedInput) -> float:
    """Return the model's prior energy of a configuration, eV."""
    if not model.has_prior:
        return 0.0
    batch = join_batches([model.input.to_batch(configuration, cached)], torch.float64)
    return float(model.prior_energies(batch).sum())


def _element_energies(
    model: Model[Any],
    settings: Settings,
    configurations: Sequence[Configuration],
    fractions: Floats,
    energies_per_atom: Floats,
) -> tuple[Floats, str]:
    """Return element energies (E,) in eV by the method that the input asks for, and the name of the method.

    Raises:
        DataError: an element has no isolated atom.
    """
    if given := settings.pytorch.given_energies:
        weights = np.array([c.weight("energy") for c in configurations])
        return _complete(given, model.elements, fractions, energies_per_atom, weights)
    if settings.pytorch.element_energies == ("isolated",):
        cutoff = model.input.cutoff
        alone = np.array([is_isolated(c, cutoff) for c in configurations])
        found = fit_composition(fractions[alone], energies_per_atom[alone], np.ones(alone.sum()))
        if not found.determined:
            there = dict(zip(model.elements, fractions[alone].any(axis=0), strict=True))
            missing = [element for element in model.elements if not there[element]]
            raise DataError(
                f"[PYTORCH] element_energies = isolated, but no training configuration with an energy is an isolated "
                f"atom of {', '.join(missing)}, without neighbours up to {cutoff:g} Å. Add one, or give all energies."
            )
        return found.energies, "of isolated atoms"
    found = fit_composition(fractions, energies_per_atom, np.array([c.weight("energy") for c in configurations]))
    remark = "" if found.determined else " (minimum-norm solution: the data do not determine every element energy)"
    return found.energies, f"by least squares{remark}"


def _complete(
    given: Mapping[str, float], elements: Sequence[str], fractions: Floats, energies_per_atom: Floats, weights: Floats
) -> tuple[Floats, str]:
    """Return element energies (E,) in eV, those that are not given by least squares, and where they are from.

    Args:
        given: energies of some elements, eV.
        elements: all elements.
        fractions, energies_per_atom, weights: see `fit_composition`.
    """
    energies = np.array([given.get(element, 0.0) for element in elements])
    rest = [number for number, element in enumerate(elements) if element not in given]
    if not rest:
        return energies, "as given"
    found = fit_composition(fractions[:, rest], energies_per_atom - fractions @ energies, weights)
    energies[rest] = found.energies
    fitted = ", ".join(elements[number] for number in rest)
    remark = "" if found.determined else ": minimum-norm solution, as the data do not determine each of them"
    return energies, f"as given, by least squares for {fitted}{remark}"


def _statistics(energies: Floats, training: Sequence[Labelled]) -> FitStatistics:
    """Return the statistics of the labels that have a weight."""
    forces = [
        c.forces - cached.reference_forces for c, cached in training if c.forces is not None and c.weight("forces") > 0
    ]
    virials = [
        float(np.abs(voigt(c.stress) - cached.reference_stress).max()) * c.volume / len(c)
        for c, cached in training
        if c.stress is not None and c.weight("stress") > 0
    ]
    return FitStatistics(energies, forces, virials)
