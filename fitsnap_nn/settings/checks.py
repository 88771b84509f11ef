"""What a file must satisfy beyond each key by itself. Every check reports all it finds and stops nothing."""

from __future__ import annotations

import os

from fitsnap_nn.settings.elements import SYMBOLS
from fitsnap_nn.settings.files import ONE_FILE, group_exists, nearest, nearest_group
from fitsnap_nn.settings.groups import SIZES, WEIGHTS, written_rows
from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.keys import FOREIGN_SECTIONS, did_you_mean, keys_of, section_names
from fitsnap_nn.settings.schema import Bispectrum, Settings
from fitsnap_nn.units import label_units


def check(document: Document, settings: Settings) -> None:
    """Run all checks; problems and notices are added to the document."""
    for step in (_elements, _descriptors, _architecture, _targets, _network, _batches, _baselines):
        step(document, settings)
    for step in (_outputs, _reference, _sizes, _labels, _data, _notices):
        step(document, settings)


def _elements(document: Document, settings: Settings) -> None:
    section, key = settings.elements_key
    if document.entry(section, key) is None:
        if document.sound("CALCULATOR", "calculator"):
            of_graph = settings.calculator.calculator == "LAMMPSGRAPH"
            where = ("CALCULATOR", "elements") if of_graph else (section, key)
            document.report(*where, "is missing", "Give the elements, in the order of LAMMPS' atom types.")
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
        what = f"are not those of [BISPECTRUM] type = {' '.join(settings.bispectrum.type)}"
        document.report("CALCULATOR", "elements", what, "Remove one of the two.")
    if section == "BISPECTRUM":
        _one_for_each_element(document, settings.bispectrum)


def _one_for_each_element(document: Document, bispectrum: Bispectrum) -> None:
    count = len(bispectrum.type)
    if bispectrum.num_types != count and document.sound("BISPECTRUM", "numTypes"):
        what = f"{bispectrum.num_types} types, but type = {' '.join(bispectrum.type)} has {count}"
        document.report("BISPECTRUM", "numTypes", what, f"Write {count}, or remove the key.")
    for name in ("twojmax", "wj", "radelem", "sinner", "dinner"):
        given = len(getattr(bispectrum, name))
        if given != count:
            what = f"{given} value{'s' if given != 1 else ''} for {count} element{'s' if count != 1 else ''}"
            document.report("BISPECTRUM", name, what, f"Give one for each of {' '.join(bispectrum.type)}.")


def _descriptors(document: Document, settings: Settings) -> None:
    bispectrum = settings.bispectrum
    if bispectrum.quadraticflag and bispectrum.chemflag:
        document.report("BISPECTRUM", "quadraticflag", "cannot be used with chemflag", "Set one of the two to 0.")
    if document.sound("BISPECTRUM", "rcutfac", "radelem", "rmin0"):
        cutoff = 2 * bispectrum.rcutfac * min(bispectrum.radelem)
        if cutoff <= max(bispectrum.rmin0, 0.0):
            what = f"the least cutoff, 2 rcutfac radelem = {cutoff:g} Å, is not above rmin0 = {bispectrum.rmin0:g} Å"
            document.report("BISPECTRUM", "rcutfac", what)


def _architecture(document: Document, settings: Settings) -> None:
    """The model and where its input comes from must go together."""
    model, calculator = settings.pytorch.model, settings.calculator.calculator
    if not (document.sound("PYTORCH", "model") and document.sound("CALCULATOR", "calculator")):
        return
    needed = "LAMMPSSNAP" if model == "BPNN" else "LAMMPSGRAPH"
    if calculator != needed:
        what = f"{calculator}, but [PYTORCH] model = {model} needs {needed}"
        document.report("CALCULATOR", "calculator", what, f"Write calculator = {needed}.")
    if model in settings.architectures:
        for key, what in settings.architecture.problems():
            document.report(model, key, what)


def _targets(document: Document, settings: Settings) -> None:
    calculator, training = settings.calculator, settings.pytorch
    if not (calculator.energy or calculator.force or calculator.stress):
        what = "energy, force and stress are all 0: nothing is left to fit"
        document.report("CALCULATOR", "", what, "Set at least one to 1.")
    given = {name: getattr(training, name) is not None for name in ("energy_weight", "force_weight")}
    if sum(given.values()) == 1 and document.sound("PYTORCH", *given):
        has, lacks = sorted(given, key=lambda name: not given[name])
        hint = f"Give {lacks} too, or neither, which leaves the weights to the groups."
        document.report("PYTORCH", has, f"is given without {lacks}", hint)


def _network(document: Document, settings: Settings) -> None:
    words = settings.pytorch.layer_sizes
    if not document.sound("PYTORCH", "layer_sizes"):
        return
    wrong = [word for word in words[1:] if not _positive(word)]
    hint = "Write, for instance, num_desc 64 64 1."
    if words[0] != "num_desc" and not _positive(words[0]):
        hint = did_you_mean(words[0], ["num_desc"]) or hint
        document.report("PYTORCH", "layer_sizes", f"{words[0]} is neither num_desc nor a number of nodes", hint)
    elif wrong:
        document.report("PYTORCH", "layer_sizes", f"{' '.join(wrong)}: not a number of nodes", hint)
    elif len(words) < 2 or int(words[-1]) != 1:
        document.report("PYTORCH", "layer_sizes", "the last layer must have 1 node, the energy of an atom", hint)


def _batches(document: Document, settings: Settings) -> None:
    bounds = settings.pytorch.batch_atom_bounds
    if not document.sound("PYTORCH", "batch_atom_bounds"):
        return
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        what = f"{' '.join(map(str, bounds))}: not the least and the most atoms of a batch"
        document.report("PYTORCH", "batch_atom_bounds", what, "Write, for instance, 0 500.")


def _baselines(document: Document, settings: Settings) -> None:
    """Element energies must be a way to find them, or one for each element; and they must be used."""
    training = settings.pytorch
    if training.element_energies == ("least_squares",) or not document.sound("PYTORCH", "element_energies"):
        return
    if not training.composition_baseline:
        what = "is given, but composition_baseline = 0 subtracts no energies"
        document.report("PYTORCH", "element_energies", what, "Remove one of the two.")
    if training.model == "MACE" and settings.architecture.mace_model:
        document.report("PYTORCH", "element_energies", "is given, but mace_model brings its own", "Remove the key.")
    elements = settings.elements
    hint = f"Write, for instance, {' '.join(f'{element} -1.5' for element in elements)}."
    try:
        given = training.given_energies
    except ValueError:
        what = f"'{' '.join(training.element_energies)}' is no energy for each element"
        ways = did_you_mean(training.element_energies[0], ("least_squares", "isolated"))
        document.report("PYTORCH", "element_energies", what, ways or hint)
        return
    if given and set(given) != set(elements):
        what = f"is for {' '.join(given)}, but the elements are {' '.join(elements)}"
        document.report("PYTORCH", "element_energies", what, hint)


def _positive(word: str) -> bool:
    return word.isascii() and word.isdigit() and int(word) > 0


def _outputs(document: Document, settings: Settings) -> None:
    """Files that are read must exist; files that are written must not be one another."""
    training = settings.pytorch
    restart = training.save_state_input
    if restart and not os.path.isfile(restart):
        document.report("PYTORCH", "save_state_input", f"no such file: {restart}", nearest(restart))
    written: dict[str, str] = {}
    names = {
        ("PYTORCH", "save_state_output"): training.save_state_output,
        ("PYTORCH", "output_file"): training.output_file,
        ("OUTFILE", "metrics"): settings.outfile.metrics,
    }
    for (section, key), name in names.items():
        if name in written:
            document.report(section, key, f"{name} is also the file of {written[name]}", "Name another file.")
        written.setdefault(name, f"[{section}] {key}")


def _reference(document: Document, settings: Settings) -> None:
    reference = settings.reference
    style = reference.pair_style.split()[0] if reference.pair_style else ""
    if not reference.pair_coeff and style != "none" and document.sound("REFERENCE", "pair_style"):
        document.report("REFERENCE", "pair_style", f"{style} has no pair_coeff", "Add pair_coeff1 = its arguments.")


def _sizes(document: Document, settings: Settings) -> None:
    groups = settings.groups
    if not document.sound("GROUPS", "group_sections"):
        return
    sized = {"size", "training_size"} & set(groups.group_sections)
    if not sized and settings.pytorch.training_fraction is None:
        hint = f"Add one of {', '.join(SIZES[:2])}, or give [PYTORCH] training_fraction."
        document.report("GROUPS", "group_sections", "no column says how much is trained on", hint)
    for (column, default), label in zip(WEIGHTS.items(), ("energy", "force", "stress"), strict=True):
        global_weight = getattr(settings.pytorch, f"{label}_weight")
        if column not in groups.group_sections and global_weight is None:
            document.notices.append(f"[GROUPS] has no column {column}: it is {default:g} for every group.")


def _labels(document: Document, settings: Settings) -> None:
    try:
        label_units(settings.scraper.property_array)
    except ValueError as error:
        document.report("SCRAPER", "property_array", str(error))


def _data(document: Document, settings: Settings) -> None:
    """The data and every group of the table must be there."""
    scraper, data_path = settings.scraper.scraper, settings.data_path
    if not document.sound("SCRAPER", "scraper") or not document.sound("PATH", "dataPath"):
        return
    if not os.path.exists(data_path):
        hint = nearest(data_path) or "Relative paths start at the folder of the input file."
        document.report("PATH", "dataPath", f"no such folder: {data_path}", hint)
        return
    if os.path.isfile(data_path):
        if scraper not in ONE_FILE:
            what = f"{data_path} is a file, {scraper} data are in a folder"
            hint = f"One file for all groups is for scraper = {' or '.join(sorted(ONE_FILE))}."
            document.report("PATH", "dataPath", what, hint)
        return
    rows = {name: entry.where for name, entry in written_rows(document).items()}
    rows |= {row.name: row.where for row in settings.groups.rows}
    for name, where in rows.items():
        if os.path.isabs(name) or ".." in name.split("/"):
            document.report("GROUPS", name, "a group lies below dataPath", "Change dataPath.", where)
        elif not group_exists(data_path, name, scraper) and document.sound("GROUPS", name):
            hint = nearest_group(data_path, name, scraper)
            document.report("GROUPS", name, f"no such folder or file in {data_path}", hint, where)


def _notices(document: Document, settings: Settings) -> None:
    """One line that lists all that was given and changes nothing."""
    idle = []
    for section in section_names():
        keys = keys_of(section)
        given = [name for name in document.sections.get(section, {}) if name in keys and keys[name].no_effect]
        if given:
            idle.append(f"[{section}] {', '.join(given)}")
    idle += [f"section [{section}]" for section in document.headers if section in FOREIGN_SECTIONS]
    if idle:
        document.notices.append(f"Without effect here (docs/input.md says why): {'; '.join(idle)}.")
