"""Checks of the section TARGETS against the architecture and the keys of training."""

from __future__ import annotations

from collections.abc import Iterable

from fitsnap_nn.settings.architectures import BUILT_IN, Mace
from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.problems import ValueProblem, did_you_mean
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.settings.schema import Settings
from fitsnap_nn.settings.targets import SECTION

DERIVED = ("forces", "stress", "force")  # follow from the energy, with its scale
TENSOR_MODELS = ", ".join(name for name, section in BUILT_IN.items() if section.takes_targets)


def check_targets(document: Document, settings: Settings) -> None:
    """Check that the architecture can predict the targets, and the keys of [PYTORCH] that name targets."""
    names = [row.name for row in settings.targets]
    _check_scales(document, settings, names)
    _check_per_structure(document, settings, names)
    if settings.pytorch.log_separate_blocks and not any(len(row.blocks) > 1 for row in settings.targets):
        document.notices.append("[PYTORCH] log_separate_blocks has no effect: no target has several blocks.")
    _check_own_readouts(document, settings)
    if document.lacks_architecture or not document.sound("PYTORCH", "model"):
        return
    for row in settings.targets:
        if problem := _problem(row, settings):
            document.report(SECTION, row.name, *problem, row.where)
    if settings.targets and settings.pytorch.committee > 1:
        document.report("PYTORCH", "committee", f"cannot be used with [{SECTION}]", "Use committee = 1.")
    if settings.targets and settings.pytorch.model == "BPNN" and settings.pytorch.initial != "random":
        document.report("PYTORCH", "initial", f"cannot be used with [{SECTION}]", "Use initial = random.")


def _problem(row: PropertyRow, settings: Settings) -> tuple[str, str] | None:
    """Return why the architecture cannot predict a target, and the remedy."""
    if settings.pytorch.model == "BPNN" and not row.is_invariant:
        what = f"{row.symmetry} is not invariant, but the descriptors of model = BPNN are: they contain no directions"
        return what, f"Use calculator = LAMMPSGRAPH and one of the models {TENSOR_MODELS}."
    model = settings.pytorch.model
    if model in BUILT_IN and not settings.architecture.takes_targets:
        what = f"model = {model} predicts the energy and its derivatives only"
        return what, f"Remove it, or use one of the models {TENSOR_MODELS}."
    return settings.architecture.target_problem(row)


def _check_own_readouts(document: Document, settings: Settings) -> None:
    """Check that mace_head_target names a target that the readouts of MACE can predict."""
    section = settings.architecture
    if settings.pytorch.model != "MACE" or not isinstance(section, Mace) or section.mace_head_target == "energy":
        return
    name = section.mace_head_target
    row = next((row for row in settings.targets if row.name == name), None)
    if section.mace_model:
        what = "must be energy with mace_model, whose readouts predict an energy"
        document.report("MACE", "mace_head_target", what, f"{name} gets a head of its own.")
    elif row is None:
        hint = did_you_mean(name, ["energy", *(row.name for row in settings.targets)])
        document.report("MACE", "mace_head_target", f"{name} is not a target of this fit", hint)
    elif not row.is_invariant or row.intensive:
        what = f"{name} is not a sum of atomic invariants, which MACE's readouts predict"
        document.report("MACE", "mace_head_target", what, "Choose an extensive or per_atom scalar, or energy.")


def _check_scales(document: Document, settings: Settings, names: Iterable[str]) -> None:
    try:
        scales = settings.pytorch.fixed_scales
    except ValueProblem as problem:
        document.report("PYTORCH", "fixed_scaling_weights", problem.what, problem.hint)
        return
    written = document.sections.get(SECTION, {})
    for name in scales:
        _check_name(document, "fixed_scaling_weights", name, ["energy", *names])
        if name in written and any(word.startswith("scale=") for word in written[name].value.split()):
            what = f"scale is also set for {name} by [PYTORCH] fixed_scaling_weights"
            document.report(SECTION, name, what, "Remove one of the two.")


def _check_per_structure(document: Document, settings: Settings, names: Iterable[str]) -> None:
    for name in settings.pytorch.per_structure_targets:
        if name == "energy":
            what = "energy is always divided by the number of atoms in the loss"
            hint = "Weights in [GROUPS] can make up for it: eweight is per (eV/atom)²."
            document.report("PYTORCH", "per_structure_targets", what, hint)
        else:
            _check_name(document, "per_structure_targets", name, list(names))
    for row in settings.targets:
        if row.name in settings.pytorch.per_structure_targets and (row.per == "atom" or row.intensive):
            kind = "per_atom" if row.per == "atom" else "intensive"
            what = f"{row.name} is {kind} and never divided by the number of atoms"
            document.report("PYTORCH", "per_structure_targets", what, f"Remove {row.name}.")


def _check_name(document: Document, key: str, name: str, known: list[str]) -> None:
    if name in DERIVED:
        document.report(
            "PYTORCH", key, f"{name} follows from the energy and has no entry of its own", f"Remove {name}."
        )
    elif name not in known:
        hint = did_you_mean(name, known) or f"Declare it in section [{SECTION}]."
        document.report("PYTORCH", key, f"{name} is not a target of this fit", hint)
