"""Fits that start from the weights of a model file: other data, weights, schedule, and other elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fitsnap_nn.data.configuration import Subset, composition_fractions
from fitsnap_nn.data.properties import ENERGY
from fitsnap_nn.errors import CheckpointError, DataError, InputError, Problem
from fitsnap_nn.export.model_file import Payload, load_payload, split_of
from fitsnap_nn.export.reference_files import changed_files
from fitsnap_nn.inputs import DescriptorInput, input_class
from fitsnap_nn.models import Model, build_model
from fitsnap_nn.models.baselines import fit_composition
from fitsnap_nn.models.targets import TARGET_PARTS, TargetError, describe_targets
from fitsnap_nn.settings.architectures import ArchitectureError
from fitsnap_nn.settings.files import MACE_SUFFIX
from fitsnap_nn.settings.load import document_of
from fitsnap_nn.settings.problems import did_you_mean
from fitsnap_nn.settings.schema import Settings
from fitsnap_nn.settings.training import KALMAN, SCHEDULE_FREE
from fitsnap_nn.training.checkpoint import load_restart
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.evaluation import evaluate_all
from fitsnap_nn.training.trainer import Trainer
from fitsnap_nn.workflow.device import choose_device
from fitsnap_nn.workflow.preparation import Prepared
from fitsnap_nn.workflow.stored_settings import adopt, is_zero
from fitsnap_nn.workflow.target_baselines import fit_targets, targets_of

ADAM = {"Adam", "AdamW"}  # optimisers with the same state
LISTED_NAMES = 40  # maximum number of parameters that an error lists one by one


@dataclass(frozen=True)
class Start:
    """Initial weights of a fit.

    Attributes:
        path: the file.
        payload: content of the model file, or of the best model in a restart file.
        notes: lines for the log.
        resumed: whether the fit is continued. The file is then its own restart file, whose model has the elements and
            the baselines of this fit.
    """

    path: Path
    payload: Payload
    notes: tuple[str, ...]
    resumed: bool = False

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols of the model in the file."""
        return tuple(self.payload["elements"])

    @property
    def seen(self) -> tuple[bytes, ...]:
        """Keys of the configurations that the fits before this one have seen, see `Split`."""
        split = split_of(self.payload)
        if split is None:
            return ()
        return split.earlier if self.resumed else (*split.training, *split.validation, *split.earlier)


def find_start(settings: Settings, resumed: Path | None = None) -> tuple[Settings, Start | None]:
    """Return the settings with the architecture of the file that the fit starts from, and its content.

    Args:
        settings: settings of the input.
        resumed: restart file of a fit that is continued; it takes the place of the initial file.

    Returns:
        The settings as they are, and ``None``, for a fit from random weights.

    Raises:
        InputError: the file cannot be used, or keys of the input contradict it.
        CheckpointError: the restart file of a continued fit cannot be read.
    """
    initial = settings.initial_file
    if not initial:
        return settings, None
    given = not is_zero(settings.reference)  # the reference potential of the input is used, not the stored one
    if resumed is not None:
        payload = load_payload(resumed, trust=given)
        adopted, _ = adopt(settings, payload, str(resumed), check=False)
        return adopted, Start(resumed, payload, (), resumed=True)
    try:
        payload = load_payload(initial, trust=given)
        adopted, notes = adopt(settings, payload, initial)
    except (CheckpointError, ArchitectureError) as error:
        raise _refused(settings, f"{error}", _remedy(initial)) from error
    if changed := changed_files(payload, adopted):
        hint = f"Put the file of the fit there: `python -m fitsnap_nn export {initial} FOLDER` writes it."
        raise _refused(settings, "; ".join(changed) + ".", hint)
    epoch = payload["provenance"].get("epoch")
    described = f"weights of {initial}" + (f", epoch {epoch}" if epoch else "")
    return adopted, Start(Path(initial), payload, (described, *notes))


def create_from(start: Start, settings: Settings) -> Model[Any]:
    """Return a model of the stored architecture for the elements of the input, still with random weights.

    Raises:
        InputError: the architecture does not support the elements of the input.
        ImportError: a library that it needs is not installed.
    """
    description = dict(start.payload["description"])
    if "model_input" in description:
        kind = input_class(settings.calculator.calculator)
        assert issubclass(kind, DescriptorInput), "the settings are those of the file"
        description["model_input"] = kind.from_settings(settings).payload()
    else:
        description["elements"] = list(settings.elements)
    model = build_with_targets(description, settings)
    _refuse_changed_targets(start, settings)
    try:
        model.state_for_elements(_stored_state(model, start), start.elements)
    except ValueError as error:
        what = f"the elements {' '.join(settings.elements)} differ from {' '.join(start.elements)}: {error}"
        hint = f"Use the elements {' '.join(start.elements)}, or fit a new model."
        raise _refused(settings, what, hint) from error
    return model


def build_with_targets(description: Mapping[str, Any], settings: Settings) -> Model[Any]:
    """Return the model of a description, with the targets of the input.

    Raises:
        InputError: the model lacks features that a target needs.
    """
    rows = settings.targets if settings.architecture.takes_targets or description["architecture"] == "BPNN" else ()
    described = {"targets": describe_targets(rows)} if rows else {}
    try:
        return build_model({**{key: value for key, value in description.items() if key != "targets"}, **described})
    except TargetError as error:
        hint = "Remove it, or fit it with a model of its own, for instance SOAP_BPNN."
        raise InputError([Problem(settings.source, f"[TARGETS] {error}.", hint)]) from error


def _refuse_changed_targets(start: Start, settings: Settings) -> None:
    """Refuse a target that the file has under the same name, but with another symmetry or head."""
    stored = {one["name"]: one for one in start.payload["description"].get("targets", ())}
    for one in describe_targets(settings.targets):
        if stored.get(one["name"], one) != one:
            what = f"its target {one['name']} differs from that of the input in symmetry, per_atom, intensive or head"
            raise _refused(settings, what, "Use the same words, or another name.")


def _stored_state(model: Model[Any], start: Start) -> dict[str, torch.Tensor]:
    """Return the state dict of the file, with the initial values of targets that it lacks."""
    initial = {name: value for name, value in model.state_dict().items() if name.startswith(TARGET_PARTS)}
    return {**initial, **start.payload["state_dict"]}


def initialize_from(start: Start, model: Model[Any], settings: Settings, prepared: Prepared) -> list[str]:
    """Give a model of `create_from` the weights and baselines of the file, and set its precision.

    Returns:
        Lines about the baselines for the log.
    """
    new = [element for element in model.elements if element not in start.elements]
    model.set_precision(torch.float64)
    targets = targets_of(model)
    stored = {one["name"] for one in start.payload["description"].get("targets", ())}
    added = [name for name in targets.specs if name not in stored] if targets else []
    if new or added:  # the standardisation of descriptors of new elements, norms of new targets
        members = prepared.subset(Subset.TRAINING)
        model.fit_to_data(model.input.to_batch(one, prepared.store.cached(one)) for one in members)
        prepared.store.release()
    state = model.state_for_elements(_stored_state(model, start), start.elements)
    model.load_state_dict({name: value for name, value in state.items() if name in model.state_dict()})
    notes = [] if start.resumed else ["element energies, scale and standardisation are those of the file"]
    if targets and added:
        training = prepared.subset(Subset.TRAINING)
        notes += fit_targets(targets, model.elements, settings, training, added)
    model.set_precision(getattr(torch, settings.pytorch.precision))
    return notes


def refit_element_energies(
    model: Model[Any],
    prepared: Prepared,
    ranks: Ranks,
    elements: Sequence[str] | None = None,
    device: torch.device | None = None,
) -> str:
    """Add to the element energies what the model leaves of the energies of the training set.

    The changes d minimise sum_c w_c (r_c - sum_Z x_cZ d_Z)^2 with the residuals r_c = (E_c - prediction)/N_c in
    eV/atom and the fractions x_cZ of the elements.

    Args:
        model: the model on the CPU, with its initial weights.
        prepared: the data.
        ranks: share the predictions.
        elements: elements to refit; all by default.
        device: where to evaluate the model.

    Returns:
        A line for the log.

    Raises:
        DataError: no training configuration has an energy with a weight.
    """
    chosen = list(model.elements) if elements is None else list(elements)
    labelled = (c for c in prepared.subset(Subset.TRAINING) if c.energy is not None and c.weight("energy") > 0)
    members = [one for one in labelled if elements is None or set(elements) & set(one.species)]
    if not members and elements:
        return f"element energies of {', '.join(chosen)} are 0: no training configuration with an energy contains them"
    if not members:
        raise DataError(
            f"the element energies of {', '.join(chosen)} cannot be fitted: no training configuration has an energy "
            "with a weight. Add energies, or give them a weight, for instance [PYTORCH] energy_weight."
        )
    release = prepared.store.release
    found = evaluate_all(model, members, prepared.inputs_of, ranks, [ENERGY], release=release, device=device)
    left = [(c.energy or 0.0) - one.energy for c, one in zip(members, found, strict=True)] if found else []
    residuals = np.array(ranks.broadcast(left)) / [len(one) for one in members]
    columns = [model.elements.index(element) for element in chosen]
    fractions = composition_fractions(members, model.elements)[:, columns]
    weights = np.array([one.weight("energy") for one in members])
    change = fit_composition(fractions, residuals, weights)
    model.element_energies[columns] += torch.from_numpy(change.energies)
    pairs = zip(chosen, model.element_energies[columns].tolist(), change.energies, strict=True)
    listed = ", ".join(f"{element} {energy:.4f} ({delta:+.4f})" for element, energy, delta in pairs)
    remark = "" if change.determined else " (minimum-norm change: the data do not determine every element energy)"
    before, after = (
        float(np.average(r, weights=weights)) for r in (residuals, residuals - fractions @ change.energies)
    )
    return (
        f"element energies refitted to the residuals of the initial model{remark}: {listed} eV; mean residual "
        f"{before:.4f} before, {round(after, 4) + 0.0:.4f} eV/atom after"
    )


def refit_where_needed(
    model: Model[Any], start: Start | None, settings: Settings, prepared: Prepared, ranks: Ranks
) -> list[str]:
    """Refit all element energies if the input asks for it, otherwise those of elements that the file lacks.

    A fit that is continued keeps those of its restart file.

    Returns:
        Lines for the log.
    """
    if start and start.resumed:
        return []
    new = [element for element in model.elements if start and element not in start.elements]
    if settings.pytorch.refit_element_energies:
        return [refit_element_energies(model, prepared, ranks, device=choose_device(settings, ranks))]
    return [refit_element_energies(model, prepared, ranks, new, choose_device(settings, ranks))] if new else []


def freeze(model: Model[Any], settings: Settings) -> None:
    """Exclude the parameters that [PYTORCH] freeze names from training.

    Raises:
        InputError: a word names no parameter, or nothing is left to train.
    """
    words, parameters = settings.pytorch.freeze, dict(model.named_parameters())
    problems, where = [], document_of(settings).where("PYTORCH", "freeze") if words else ""
    for word in words:
        members = [name for name in parameters if name == word or name.startswith(f"{word.rstrip('.')}.")]
        for name in members:
            parameters[name].requires_grad_(False)
        if not members:
            hint = f"{did_you_mean(word, _beginnings(parameters))} Possible: {', '.join(_listed(parameters))}.".strip()
            problems.append(Problem(where, f"[PYTORCH] freeze — {word} is not a parameter.", hint))
    if words and not problems and not any(parameter.requires_grad for parameter in parameters.values()):
        what = f"[PYTORCH] freeze — {' '.join(words)} leaves no weight to train."
        problems.append(Problem(where, what, "Use num_epochs = 0 to evaluate a model without training."))
    if problems:
        raise InputError(problems)


def load_optimizer(trainer: Trainer, start: Start, settings: Settings) -> str:
    """Give a trainer the state of the optimiser in the file of ``save_state_input``, as FitSNAP does.

    The learning rate is that of the input.

    Returns:
        A line for the log.
    """
    kept = "optimiser: its state starts from zero"
    try:
        restart = load_restart(start.path)
    except CheckpointError:
        return f"{kept}: {start.path} is a model file, which has none"
    stored, own = restart["settings"]["pytorch"], settings.pytorch
    before = stored.get("optimizer", "Adam")
    if own.optimizer == SCHEDULE_FREE:
        return f"{kept}: that of ScheduleFree belongs to the weights of the last epoch instead of the best one"
    if before != own.optimizer and not {before, own.optimizer} <= ADAM:
        return f"{kept}: that of the file is of optimizer = {before}, which {own.optimizer} cannot use"
    same = start.elements == tuple(trainer.model.elements) and tuple(stored.get("freeze", ())) == own.freeze
    if not same or not trainer.step.adopt(restart["trainer"]["optimizer"]):
        return f"{kept}: the file has other trainable parameters"
    rate = "" if own.optimizer == KALMAN else ", learning rate of the input"
    return f"optimiser: state after epoch {restart['trainer']['epoch']} of the file{rate}"


def _beginnings(names: Iterable[str]) -> list[str]:
    """Return all names of parameters and of what contains them."""
    parts = (name.split(".") for name in names)
    return list(dict.fromkeys(".".join(words[: n + 1]) for words in parts for n in range(len(words))))


def _listed(names: Iterable[str]) -> list[str]:
    """Return names, or where there are many of them, their beginnings."""
    every = list(names)
    depth = max(name.count(".") for name in every) + 1
    while depth > 1 and len(every) > LISTED_NAMES:
        depth -= 1
        every = list(dict.fromkeys(".".join(name.split(".")[:depth]) for name in every))
    return every


def _remedy(path: str) -> str:
    return "Use [MACE] mace_model for files of mace-torch." if path.endswith(MACE_SUFFIX) else ""


def _refused(settings: Settings, what: str, hint: str) -> InputError:
    key = "start_from" if settings.pytorch.start_from else "save_state_input"
    where = document_of(settings).where("PYTORCH", key)
    return InputError([Problem(where, f"[PYTORCH] {key} — {what.rstrip('.')}.", hint)])
