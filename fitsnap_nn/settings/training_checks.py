"""Consistency checks of the trainer: batches, element energies, optimiser, stage two, copies of the restart file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

from fitsnap_nn.errors import counted
from fitsnap_nn.settings.elements import SYMBOLS
from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.problems import ValueProblem, did_you_mean
from fitsnap_nn.settings.schema import Settings
from fitsnap_nn.settings.training import KALMAN, SCHEDULE_FREE

REFIT = "Remove the key; refit_element_energies = 1 adapts the element energies to these data."
# Columns of the group table that the weights of [PYTORCH] replace.
COLUMNS: Mapping[str, str] = MappingProxyType({"energy": "eweight", "force": "fweight", "stress": "vweight"})
MAX_SNAPSHOTS = 10_000  # copies of the restart file; a folder with more is slow to list


def check_training(document: Document, settings: Settings) -> None:
    """Run the checks of the trainer; problems and notices are added to the document."""
    steps = (
        _batches,
        _baselines,
        _optimizer,
        _stage_two,
        _snapshots,
        _committee,
        _uncertainty,
        _max_time,
        _tensorboard,
    )
    for step in steps:
        step(document, settings)


def _batches(document: Document, settings: Settings) -> None:
    bounds = settings.pytorch.batch_atom_bounds
    if not document.sound("PYTORCH", "batch_atom_bounds"):
        return
    minimum, maximum = bounds if len(bounds) == 2 else (0, 0)
    if len(bounds) != 2 or (maximum is not None and (minimum or 0) > maximum):
        what = f"'{' '.join(map(str, bounds))}' is not a minimum and a maximum number of atoms"
        document.report("PYTORCH", "batch_atom_bounds", what, "Use, for instance, 0 500, or 300 None.")


def _baselines(document: Document, settings: Settings) -> None:
    """Check that element energies are a method or a number for some elements, and that they have an effect."""
    training = settings.pytorch
    if training.element_energies == ("least_squares",) or not document.sound("PYTORCH", "element_energies"):
        return
    if not training.composition_baseline:
        what = "has no effect with composition_baseline = 0"
        document.report("PYTORCH", "element_energies", what, "Remove one of the two.")
    if settings.architecture.pretrained[0]:
        what = "has no effect: mace_model contains its own element energies"
        document.report("PYTORCH", "element_energies", what, REFIT)
    if settings.initial_file:
        return
    elements = settings.elements
    hint = f"Use, for instance, {' '.join(f'{element} -1.5' for element in elements)}."
    try:
        given = training.given_energies
    except ValueError:
        what = f"'{' '.join(training.element_energies)}' is not a list of elements and energies"
        ways = did_you_mean(training.element_energies[0], ("least_squares", "isolated"))
        document.report("PYTORCH", "element_energies", what, ways or hint)
        return
    for word in [word for word in given if word not in elements]:
        number = int(word) if word.isascii() and word.isdigit() and len(word) < 4 else 0
        meant = f"Write {SYMBOLS[number - 1]} for {word}." if 0 < number <= len(SYMBOLS) else ""
        what = f"{word} is not among the elements {' '.join(elements)}"
        document.report("PYTORCH", "element_energies", what, meant or did_you_mean(word, elements) or hint)
    if len(set(given)) < len(training.element_energies) // 2:
        document.report("PYTORCH", "element_energies", "gives an element more than once", "Remove all but one.")
    if fitted := [element for element in elements if given and element not in given]:
        what = f"[PYTORCH] element_energies lists {' '.join(given)}; those of {' '.join(fitted)} are fitted."
        document.notices.append(what)


def _optimizer(document: Document, settings: Settings) -> None:
    training = settings.pytorch
    if training.optimizer != SCHEDULE_FREE:
        return
    if find_spec("schedulefree") is None:
        what = "ScheduleFree needs the package schedulefree, which is not installed"
        document.report("PYTORCH", "optimizer", what, "pip install 'fitsnap_nn[schedulefree]'")
    for key in ("ema_decay", "stage_two_average"):
        if getattr(training, key) and document.entry("PYTORCH", key) is not None:
            what = "cannot be used with optimizer = ScheduleFree, which averages the weights itself"
            document.report("PYTORCH", key, what, f"Remove {key}.")


def _stage_two(document: Document, settings: Settings) -> None:
    """Check that stage two begins before the fit ends, and that it differs from what is before."""
    training = settings.pytorch
    if not training.stage_two or not training.num_epochs:
        return
    if training.optimizer == KALMAN:
        what = "cannot be used with optimizer = LKF, which has no learning rate"
        document.report("PYTORCH", "stage_two", what, "Use Adam, AdamW, SOAP or ScheduleFree.")
    start = training.second_stage or 0
    if start >= training.num_epochs and document.sound("PYTORCH", "num_epochs", "stage_two_start"):
        what = f"stage two would begin after {counted(start, 'epoch')}, but num_epochs is {training.num_epochs}"
        hint = f"Use less than {training.num_epochs} for stage_two_start, or more epochs."
        document.report("PYTORCH", "stage_two_start", what, hint)
    weights = {label: getattr(training, f"stage_two_{label}_weight") for label in COLUMNS}
    given = {label: weight for label, weight in weights.items() if weight is not None}
    columns = settings.groups.group_sections
    replaced = [
        f"stage_two_{label}_weight = {weight:g} (column {COLUMNS[label]})"
        for label, weight in given.items()
        if COLUMNS[label] in columns and getattr(training, f"{label}_weight") is None
    ]
    if replaced:
        what = f"weights of stage two replace those of all groups, except 0: {', '.join(replaced)}"
        document.notices.append(f"[PYTORCH] {what}.")
    if not given:
        rate = f"[PYTORCH] stage_two = 1 changes the learning rate only, to {training.second_rate:g}"
        document.notices.append(f"{rate}: the input sets no stage_two_energy_weight, _force_weight or _stress_weight.")


def _snapshots(document: Document, settings: Settings) -> None:
    training = settings.pytorch
    every = training.checkpoint_interval
    if every and training.num_epochs // every > MAX_SNAPSHOTS:
        what = f"{training.num_epochs // every} copies of the restart file, above the maximum of {MAX_SNAPSHOTS}"
        document.report("PYTORCH", "checkpoint_interval", what, "Increase checkpoint_interval.")


def _committee(document: Document, settings: Settings) -> None:
    """Check that the members of a committee start from different weights."""
    if settings.pytorch.committee > 1 and settings.architecture.pretrained[0]:
        what = "its members would be equal: all start from mace_model"
        document.report("PYTORCH", "committee", what, "Use committee = 1.")


def _uncertainty(document: Document, settings: Settings) -> None:
    """Check that the method of uncertainties fits the model."""
    method = settings.uncertainty
    members = settings.pytorch.committee
    if method == "committee" and members == 1:
        what = "there is no committee"
        document.report("EXTRAS", "uncertainty", what, "Use last_layer, or [PYTORCH] committee above 1.")
    elif method == "last_layer" and members > 1:
        what = "last_layer is for single networks"
        document.report("EXTRAS", "uncertainty", what, "Use committee, or set [PYTORCH] committee = 1.")


def _max_time(document: Document, settings: Settings) -> None:
    if not document.sound("PYTORCH", "max_time"):
        return
    try:
        limit = settings.pytorch.time_limit
    except ValueProblem as problem:
        document.report("PYTORCH", "max_time", str(problem), "Use hh:mm:ss, such as 01:30:00, or seconds.")
        return
    if limit is not None and settings.solver.is_linear:
        what = f"has no effect with solver = {settings.solver.solver}, which cannot be interrupted and continued"
        document.report("PYTORCH", "max_time", what, "Remove it.")


def _tensorboard(document: Document, settings: Settings) -> None:
    if not settings.outfile.tensorboard:
        return
    if settings.solver.is_linear:
        what = f"has no effect with solver = {settings.solver.solver}, which has no epochs"
        document.report("OUTFILE", "tensorboard", what, "Remove it.")
    elif find_spec("tensorboard") is None:
        what = "the package tensorboard is not installed"
        document.report("OUTFILE", "tensorboard", what, "pip install 'fitsnap_nn[tensorboard]', or remove the key.")
