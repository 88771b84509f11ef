"""Consistency checks across keys. Every check reports all problems it finds; none stops the others."""

from __future__ import annotations

import os
from collections.abc import Iterator

from fitsnap_nn.errors import counted
from fitsnap_nn.memory import TRAINING_BYTES, shortage
from fitsnap_nn.settings.ace_checks import ACE_CALCULATOR, check_ace, num_inputs
from fitsnap_nn.settings.architectures import Mace
from fitsnap_nn.settings.descriptors import n_descriptors
from fitsnap_nn.settings.effects import add_notices
from fitsnap_nn.settings.elements import SYMBOLS
from fitsnap_nn.settings.files import group_exists, nearest, nearest_group
from fitsnap_nn.settings.formats import LAYOUTS
from fitsnap_nn.settings.groups import SIZES, WEIGHTS, written_rows
from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.lammps_words import arguments_problem
from fitsnap_nn.settings.layers import layers_problem, size_problem
from fitsnap_nn.settings.linear_checks import check_linear
from fitsnap_nn.settings.losses import UNITS, WITHOUT_DELTA, parse_deltas, parse_losses
from fitsnap_nn.settings.mace_size import num_weights
from fitsnap_nn.settings.outputs import check_files
from fitsnap_nn.settings.problems import ValueProblem, did_you_mean
from fitsnap_nn.settings.schema import Bispectrum, Reference, Settings
from fitsnap_nn.settings.scraper import check_scraper
from fitsnap_nn.settings.target_checks import check_targets
from fitsnap_nn.settings.training_checks import REFIT, check_training

MAX_COLUMNS = 3000  # of least squares: the matrices of five folds and three properties take 1 GiB, the solution 2 GiB
MAX_DESCRIPTORS = 50_000  # per atom; their derivatives take 1 MB per pair of neighbours
MAX_CUTOFF = 100.0  # Å


def check(document: Document, settings: Settings) -> None:
    """Run all checks; problems and notices are added to the document."""
    network = (_architecture, _targets, check_targets, _losses, _network)
    for step in (_elements, _descriptors, *((_targets, check_linear) if settings.solver.is_linear else network)):
        step(document, settings)
    check_training(document, settings)
    for step in (_initial_file, _reference, _sizes, check_scraper, _data):
        step(document, settings)
    check_files(document, settings)
    if not document.lacks_architecture:
        add_notices(document, settings)


def _initial_file(document: Document, settings: Settings) -> None:
    """Check that there is one file of initial weights at most, that it exists, and that its keys have an effect."""
    training, path, pretrained = settings.pytorch, settings.initial_file, settings.architecture.pretrained[0]
    key = "start_from" if training.start_from else "save_state_input"
    if path and document.weights_from == "input" and not os.path.isfile(path):
        inside = f"Give the model file in it ({training.output_file})."
        found = (f"{path} is a folder", inside) if os.path.isdir(path) else (f"no such file: {path}", nearest(path))
        document.report("PYTORCH", key, *found)
    if training.start_from and training.save_state_input:
        document.report("PYTORCH", "save_state_input", "cannot be used with start_from", "Remove one of the two.")
    if path and pretrained:
        what = f"cannot be used with [{training.model}] mace_model"
        document.report("PYTORCH", key, what, "Remove one of the two: each contains all weights.")
    if training.refit_element_energies and not (path or pretrained):
        what = "needs start_from, save_state_input or mace_model"
        hint = "A fit from random weights fits its element energies anyway."
        document.report("PYTORCH", "refit_element_energies", what, hint)
    if path and training.element_energies != ("least_squares",) and document.sound("PYTORCH", "element_energies"):
        document.report("PYTORCH", "element_energies", f"has no effect: {path} contains its element energies", REFIT)


def _elements(document: Document, settings: Settings) -> None:
    section, key = settings.elements_key
    if document.entry(section, key) is None:
        if document.sound("CALCULATOR", "calculator") and not document.architecture_stored:
            of_graph = settings.calculator.calculator == "LAMMPSGRAPH"
            where = ("CALCULATOR", "elements") if of_graph else (section, key)
            document.report(*where, "is missing", "List the elements in the order of the LAMMPS atom types.")
        return
    if not document.sound(section, key):
        return
    for symbol in dict.fromkeys(settings.elements):
        if symbol not in SYMBOLS:
            document.report(section, key, f"{symbol} is not a chemical element", did_you_mean(symbol, SYMBOLS))
        elif settings.elements.count(symbol) > 1:
            document.report(section, key, f"{symbol} is given {settings.elements.count(symbol)} times")
    in_both = settings.calculator.elements and document.entry("BISPECTRUM", "type") is not None
    if in_both and settings.calculator.elements != settings.bispectrum.type:
        what = f"differs from [BISPECTRUM] type = {' '.join(settings.bispectrum.type)}"
        document.report("CALCULATOR", "elements", what, "Remove one of the two.")
    if section == "BISPECTRUM":
        _one_for_each_element(document, settings.bispectrum)


def _one_for_each_element(document: Document, bispectrum: Bispectrum) -> None:
    count = len(bispectrum.type)
    if bispectrum.num_types != count and document.sound("BISPECTRUM", "numTypes"):
        what = f"is {bispectrum.num_types}, but type = {' '.join(bispectrum.type)} lists {count}"
        document.report("BISPECTRUM", "numTypes", what, f"Use {count}, or remove the key.")
    for name in ("twojmax", "wj", "radelem", "sinner", "dinner"):
        given = len(getattr(bispectrum, name))
        if given != count:
            what = f"{counted(given, 'value')} for {counted(count, 'element')}"
            document.report("BISPECTRUM", name, what, f"Give one value for each of {' '.join(bispectrum.type)}.")


def _descriptors(document: Document, settings: Settings) -> None:
    if settings.calculator.calculator == ACE_CALCULATOR:
        check_ace(document, settings)
        return
    bispectrum = settings.bispectrum
    if bispectrum.quadraticflag and bispectrum.chemflag:
        document.report("BISPECTRUM", "quadraticflag", "cannot be used with chemflag", "Set one of the two to 0.")
    if document.sound("BISPECTRUM", "rcutfac", "radelem", "rmin0"):
        cutoff = 2 * bispectrum.rcutfac * min(bispectrum.radelem)
        if cutoff <= max(bispectrum.rmin0, 0.0):
            what = (
                f"the smallest cutoff, 2 rcutfac radelem = {cutoff:g} Å, does not exceed rmin0 = {bispectrum.rmin0:g} Å"
            )
            document.report("BISPECTRUM", "rcutfac", what, "Increase rcutfac or radelem.")
        elif (largest := 2 * bispectrum.rcutfac * max(bispectrum.radelem)) > MAX_CUTOFF:
            what = f"the largest cutoff, 2 rcutfac radelem, is {largest:g} Å, above the maximum, {MAX_CUTOFF:g} Å"
            document.report("BISPECTRUM", "rcutfac", what, "Decrease rcutfac or radelem.")
    if document.sound("BISPECTRUM", "type", "twojmax", "chemflag", "quadraticflag"):
        count = n_descriptors(bispectrum)
        if count > MAX_DESCRIPTORS and settings.pytorch.model == "BPNN":
            key = "quadraticflag" if bispectrum.quadraticflag else "chemflag" if bispectrum.chemflag else "twojmax"
            what = f"{count} descriptors per atom, above the maximum of {MAX_DESCRIPTORS}"
            document.report("BISPECTRUM", key, what, f"Set {key} = 0, or decrease twojmax.")


def _architecture(document: Document, settings: Settings) -> None:
    """Check that the calculator provides the input of the model."""
    model, calculator = settings.pytorch.model, settings.calculator.calculator
    keys = (("PYTORCH", "model"), ("CALCULATOR", "calculator"))
    if not all(document.sound(*key) for key in keys):
        return
    if document.lacks_architecture:
        return
    needed = ("LAMMPSSNAP", ACE_CALCULATOR) if model == "BPNN" else ("LAMMPSGRAPH",)
    if calculator not in needed:
        what = f"is {calculator}, but [PYTORCH] model = {model} needs {' or '.join(needed)}"
        document.report("CALCULATOR", "calculator", what, f"Use calculator = {needed[0]}.")
    if model in settings.architectures:
        for key, what in settings.architecture.problems():
            document.report(model, key, what)
        _weights(document, settings)


def _weights(document: Document, settings: Settings) -> None:
    """Check that the weights of a MACE fit into memory; those of a file are checked when it is read."""
    network = settings.architecture
    keys = ("hidden_irreps", "edge_irreps", "radial_MLP", "num_interactions", "max_ell")
    if isinstance(network, Mace) and not network.mace_model and document.sound("MACE", *keys):
        count = num_weights(network, len(settings.elements))
        if short := shortage(TRAINING_BYTES * count):
            what = f"a model with at least {count:.2g} weights needs {short}"
            document.report("MACE", "hidden_irreps", what, "Use fewer channels.")


def _targets(document: Document, settings: Settings) -> None:
    calculator, training = settings.calculator, settings.pytorch
    if not (calculator.energy or calculator.force or calculator.stress or any(row.weight for row in settings.targets)):
        what = "energy, force and stress are all 0: there is nothing to fit"
        document.report("CALCULATOR", "", what, "Set at least one of them to 1.")
    elif not (calculator.energy or calculator.force or calculator.stress):
        what = "energy, force and stress are all 0: only targets are fitted"
        document.notices.append(f"[CALCULATOR] {what}. Do not run molecular dynamics with the model.")
    given = {name: getattr(training, name) is not None for name in ("energy_weight", "force_weight")}
    if sum(given.values()) == 1 and document.sound("PYTORCH", *given):
        has, lacks = sorted(given, key=lambda name: not given[name])
        hint = f"Set {lacks} too, or remove {has} to use the weights of the groups."
        document.report("PYTORCH", has, f"is set without {lacks}", hint)


def _losses(document: Document, settings: Settings) -> None:
    """Check loss and huber_delta by themselves, and against the properties of the fit."""
    training = settings.pytorch
    try:
        common, chosen = parse_losses(training.loss)
    except ValueProblem as problem:
        document.report("PYTORCH", "loss", problem.what, problem.hint)
        return
    kinds = {**dict.fromkeys([*UNITS, *(row.name for row in settings.targets)], common), **chosen}
    kinds |= {row.name: row.loss for row in settings.targets if row.loss}
    try:
        deltas = parse_deltas(training.huber_delta, {name: kinds[name] for name in dict.fromkeys([*UNITS, *chosen])})
    except ValueProblem as problem:
        document.report("PYTORCH", "huber_delta", problem.what, problem.hint)
        return
    known = {*UNITS, *document.sections.get("TARGETS", {})}
    for key, names in (("loss", chosen), ("huber_delta", deltas)):
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known) or "Declare it in section [TARGETS]."
                document.report("PYTORCH", key, f"{name} is not a property of this fit", hint)
    for row in settings.targets:
        twice = {"loss": row.loss and row.name in chosen, "huber_delta": row.delta is not None and row.name in deltas}
        for key in filter(twice.get, twice):
            what = f"{key.removeprefix('huber_')} is also set for {row.name} by [PYTORCH] {key}"
            document.report("TARGETS", row.name, what, "Remove one of the two.", row.where)
        if kinds[row.name] == "huber" and row.delta is None and row.name not in deltas:
            hint = f"Add delta=, in {row.unit or 'the unit of its labels'}."
            document.report("TARGETS", row.name, "the loss huber needs a delta", hint, row.where)
    idle = [name for name in deltas if kinds.get(name) in WITHOUT_DELTA]
    if idle:
        document.notices.append(f"[PYTORCH] huber_delta has no effect on {', '.join(idle)}: the loss has no delta.")


def _network(document: Document, settings: Settings) -> None:
    words = settings.pytorch.layer_sizes
    if not document.sound("PYTORCH", "layer_sizes"):
        return
    if problem := layers_problem(words, "energy per atom"):
        hint = "" if words[0] == "num_desc" else did_you_mean(words[0], ["num_desc"])
        document.report("PYTORCH", "layer_sizes", problem, hint or "Use, for instance, num_desc 64 64 1.")
    elif settings.pytorch.model == "BPNN":
        _first_layer(document, settings)
        _network_size(document, settings)


def _first_layer(document: Document, settings: Settings) -> None:
    """Check a first number of layer_sizes: it is the number of inputs, which the descriptors determine."""
    first, *others = settings.pytorch.layer_sizes
    if first == "num_desc" or not (count := num_inputs(document, settings)):
        return
    section = "ACE" if settings.calculator.calculator == ACE_CALCULATOR else "BISPECTRUM"
    allowed = {count}
    if settings.pytorch.multi_element_option == 3:
        allowed.add(count + len(settings.elements))
    if int(first) not in allowed:
        what = f"the first number, {first}, is the number of inputs, but [{section}] gives {count} descriptors"
        hint = f"Use num_desc {' '.join(others)}; for a first hidden layer of {first} nodes, num_desc {first} "
        document.report("PYTORCH", "layer_sizes", what, f"{hint}{' '.join(others)}.")


def _network_size(document: Document, settings: Settings) -> None:
    """Check that the network of layer_sizes fits into memory: weights, gradients and the two moments of Adam."""
    if not (count := num_inputs(document, settings)):
        return
    widths = [count, *map(int, settings.pytorch.layer_sizes[1:])]
    networks = len(settings.elements) if settings.pytorch.multi_element_option == 2 else 1
    if problem := size_problem(widths, networks):
        document.report("PYTORCH", "layer_sizes", problem)
    columns = networks * (widths[-2] + 1)
    if settings.starts_from_least_squares and columns > MAX_COLUMNS:
        what = f"least_squares would fit {columns} weights of the last layer, above the maximum of {MAX_COLUMNS}"
        document.report("PYTORCH", "initial", what, "Use fewer nodes in the last hidden layer, or initial = random.")


def _reference(document: Document, settings: Settings) -> None:
    reference = settings.reference
    for key, text in _commands(document, reference):
        if problem := arguments_problem(text):
            hint = "Give the arguments of the command in plain characters; rename files whose names contain others."
            document.report("REFERENCE", key, problem, hint)
    style = reference.pair_style.split()[0] if reference.pair_style else ""
    if not reference.pair_coeff and style != "none" and document.sound("REFERENCE", "pair_style"):
        document.report(
            "REFERENCE",
            "pair_style",
            f"{style} has no pair_coeff",
            "Add a key pair_coeff1 with the arguments of the command.",
        )


def _commands(document: Document, reference: Reference) -> Iterator[tuple[str, str]]:
    """Yield the key of each command of the reference potential, and its arguments."""
    yield "pair_style", reference.pair_style
    keys = [key for key in document.sections.get("REFERENCE", {}) if key.startswith("pair_coeff")]
    yield from zip(keys or ["pair_coeff"], reference.pair_coeff, strict=False)


def _sizes(document: Document, settings: Settings) -> None:
    groups = settings.groups
    if not document.sound("GROUPS", "group_sections"):
        return
    sized = {"size", "training_size"} & set(groups.group_sections)
    if not sized and settings.pytorch.training_fraction is None:
        other = "" if settings.solver.is_linear else ", or set [PYTORCH] training_fraction"
        hint = f"Add a column {' or '.join(SIZES[:2])}{other}."
        document.report("GROUPS", "group_sections", "no column gives the size of the training set", hint)
    replaced = []
    for (column, default), label in zip(WEIGHTS.items(), ("energy", "force", "stress"), strict=True):
        global_weight = getattr(settings.pytorch, f"{label}_weight")
        if column not in groups.group_sections and global_weight is None:
            document.notices.append(f"[GROUPS] has no column {column}: {default:g} is used for all groups.")
        elif column in groups.group_sections and global_weight is not None:
            replaced.append(f"{label}_weight = {global_weight:g} (column {column})")
    if replaced:
        document.notices.append(f"[PYTORCH] weights replace those of all groups: {', '.join(replaced)}.")


def _data(document: Document, settings: Settings) -> None:
    """Check that the data and every group of the table exist."""
    scraper, data_path = settings.scraper.scraper, settings.data_path
    if not document.sound("SCRAPER", "scraper") or not document.sound("PATH", "dataPath"):
        return
    if not os.path.exists(data_path):
        hint = nearest(data_path) or "Relative paths are relative to the folder of the input file."
        document.report("PATH", "dataPath", f"no such folder: {data_path}", hint)
        return
    if os.path.isfile(data_path):
        one_file = sorted(name for name, layout in LAYOUTS.items() if layout.group_by_frame)
        if scraper not in one_file:
            what = f"{data_path} is a file, but scraper = {scraper} reads folders"
            hint = f"A single file with all groups needs scraper = {' or '.join(one_file)}."
            document.report("PATH", "dataPath", what, hint)
        return
    rows = {name: entry.where for name, entry in written_rows(document).items()}
    rows |= {row.name: row.where for row in settings.groups.rows}
    for name, where in rows.items():
        if os.path.isabs(name) or ".." in name.split("/"):
            document.report("GROUPS", name, "groups must be inside dataPath", "Change dataPath.", where)
        elif not group_exists(data_path, name, scraper) and document.sound("GROUPS", name):
            hint = nearest_group(data_path, name, scraper)
            document.report("GROUPS", name, f"no such folder or file in {data_path}", hint, where)
