"""Reading and checking of an input file: checked ``Settings``, or an error with all problems."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from fitsnap_nn.errors import InputError, Problem, counted
from fitsnap_nn.settings.architectures import BUILT_IN, ArchitectureError, architecture_names, load_architecture
from fitsnap_nn.settings.checks import check
from fitsnap_nn.settings.fields import parse_number, parse_value
from fitsnap_nn.settings.files import read_text
from fitsnap_nn.settings.fitsnap_names import adopt_fitsnap_names
from fitsnap_nn.settings.groups import read_columns, read_rows
from fitsnap_nn.settings.ini import COMMAND_LINE, Document, Entry, WeightsFrom, read_ini
from fitsnap_nn.settings.keys import FOREIGN_SECTIONS, Key, keys_of, section_classes, section_names
from fitsnap_nn.settings.other_names import OTHER_SECTIONS, OTHER_VALUES, other_name
from fitsnap_nn.settings.problems import ValueProblem, did_you_mean
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.settings.schema import Bispectrum, Groups, PathSection, PytorchSection, Reference, Scraper, Settings
from fitsnap_nn.settings.scraper import check_scraper
from fitsnap_nn.settings.targets import merge_earlier_name, read_targets, with_training_keys
from fitsnap_nn.settings.training_defaults import with_training_defaults

# Remedies for values of FitSNAP that this package refuses: for all values of a key, and for some.
REMEDIES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        (
            "SOLVER",
            "solver",
        ): "Networks: PYTORCH, with a section [PYTORCH]. Linear models: SVD, RIDGE, ARD, LASSO; ANL for uncertainties.",
        (
            "CALCULATOR",
            "calculator",
        ): "Use LAMMPSSNAP for SNAP descriptors, LAMMPSPACE for ACE descriptors or LAMMPSGRAPH for neighbour graphs.",
    }
)
SVD = "Use SVD, which runs on any number of ranks and machines."
VALUE_REMEDIES: Mapping[tuple[str, str, str], str] = MappingProxyType(
    {
        ("SOLVER", "solver", "SCALAPACK"): SVD,
        ("SOLVER", "solver", "TENSORFLOWSVD"): SVD,
    }
)


Overrides = Sequence[tuple[str, str, str]]


def load_settings(
    path: str | os.PathLike[str],
    overrides: Overrides = (),
    *,
    weights_from: WeightsFrom = "input",
) -> Settings:
    """Read and check an input file.

    Only the existence of data files is checked: no data are read and nothing is computed.

    Args:
        path: input file.
        overrides: (section, key, value) from the command line; they take precedence over the file.
        weights_from: origin of the initial weights: the input, which starts from random weights or names a file; the
            restart file of a fit that is continued, which then needs no other file; or a model that is tested. The
            input may omit the architecture if a file determines it, see ``workflow.stored_settings``.

    Raises:
        InputError: lists all problems of the file and of the overrides.
    """
    document, text = _read(path, overrides)
    document.weights_from = weights_from
    if overrides:
        text = f"# {os.path.basename(document.source)} with command-line overrides\n{document.text}"
    settings = _build(document, os.path.dirname(document.source) or ".", text)
    check(document, settings)
    if document.problems:
        raise InputError(document.problems)
    return replace(settings, notices=tuple(document.notices))


def load_scraper(overrides: Overrides) -> Scraper:
    """Return section [SCRAPER] with names, units and signs from the command line, for data without an input file.

    Raises:
        InputError: a key does not exist, is not for this purpose, or has an invalid value.
    """
    document = Document(COMMAND_LINE)
    document.override(overrides)
    for section in document.headers:
        if section != "SCRAPER":
            document.report(section, "", "only keys of [SCRAPER] can be set here", "Edit the new file for others.")
    if document.entry("SCRAPER", "scraper"):
        document.report("SCRAPER", "scraper", "the format of the data is recognised, and cannot be set here")
    # Keys that the format does not have are reported by `check`; extended XYZ has all of them.
    scraper = Scraper(**{**_values(document, "SCRAPER"), "scraper": "XYZ"})
    _report_unknown_keys(document, "SCRAPER")
    check_scraper(document, Settings(scraper=scraper))
    if document.problems:
        raise InputError(document.problems)
    return scraper


def _read(path: str | os.PathLike[str], overrides: Overrides) -> tuple[Document, str]:
    """Return the document with the overrides, and the text of the file."""
    source = os.fspath(path)
    try:
        text = read_text(source)
    except ValueProblem as problem:
        raise InputError([Problem(source, f"{problem.what}.", problem.hint)]) from None
    document = read_ini(text, source)
    document.override(overrides)
    document.notices += _adopt_names(document)
    return document, text


def _adopt_names(document: Document) -> list[str]:
    """Replace the names of FitSNAP and of earlier versions by ours; return notices."""
    merge_earlier_name(document)
    return adopt_fitsnap_names(document)


def document_of(settings: Settings) -> Document:
    """Return the document of checked settings, overrides included, with the locations of the keys in the input file."""
    document = read_ini(settings.text, settings.source)
    _adopt_names(document)
    try:
        written = read_ini(read_text(settings.source), settings.source)
        _adopt_names(written)
    except ValueProblem:  # removed since it was read
        return document
    document.headers = {section: written.headers.get(section, COMMAND_LINE) for section in document.headers}
    for section, entries in document.sections.items():
        for key, entry in entries.items():
            there = written.entry(section, key)
            entries[key] = there if there and there.value == entry.value else Entry(entry.value, COMMAND_LINE)
    return document


def outline(settings: Settings) -> str:
    """Return a summary of a checked input file: ``Ta.in ok (12 sections, 49 keys, 12 groups)``."""
    document = read_ini(settings.text, settings.source)
    rows = {row.name for row in settings.groups.rows}
    keys = sum(key not in rows for entries in document.sections.values() for key in entries)
    counts = {"section": len(document.sections), "key": keys, "group": len(rows)}
    return f"{settings.source} ok ({', '.join(counted(number, noun) for noun, number in counts.items())})"


def _build(document: Document, folder: str, text: str) -> Settings:
    """Build settings from the valid parts of the document; defaults replace the rest, so that checks can go on."""
    _check_sections(document)
    sections = {name: cls(**_values(document, name)) for name, cls in section_classes().items()}
    _report_unknown(document)
    sections["BISPECTRUM"] = _per_element(document, sections["BISPECTRUM"])
    if document.entry("ACE", "numTypes") is None:
        sections["ACE"] = replace(sections["ACE"], num_types=len(sections["ACE"].type))
    sections["GROUPS"] = _groups(document, sections["GROUPS"], sections["PATH"], folder)
    sections["REFERENCE"] = _reference(sections["REFERENCE"])
    chosen = {name: sections.pop(name) for name in BUILT_IN} | _foreign_architectures(document, sections["PYTORCH"])
    settings = Settings(
        **{name.lower(): section for name, section in sections.items()},
        architectures=chosen,
        targets=_targets(document, sections["PYTORCH"]),
        source=document.source,
        folder=folder,
        text=text,
    )
    if settings.solver.is_linear:
        settings = replace(settings, pytorch=_without_network(document, settings))
    document.architecture_stored = document.weights_from == "model" or bool(settings.initial_file)
    if not (document.lacks_architecture or document.weights_from == "model" or settings.solver.is_linear):
        settings = replace(settings, pytorch=with_training_defaults(document, settings))
    training = replace(settings.pytorch, save_state_input=_restart_file(settings))
    return replace(settings, pytorch=training, eshift=_eshift(document, settings))


def _without_network(document: Document, settings: Settings) -> PytorchSection:
    """Return section [PYTORCH] of a linear fit, in which only the keys `OF_LINEAR` have an effect."""
    given = settings.pytorch
    named = document.entry("PYTORCH", "output_file") is not None
    return PytorchSection(
        output_file=given.output_file if named else f"{settings.outfile.potential}.pt",
        device=given.device,
        dtype_setting=2,
        num_epochs=0,
    )


def _targets(document: Document, training: PytorchSection) -> tuple[PropertyRow, ...]:
    """Return the rows of TARGETS, completed by keys of PYTORCH, which `check` judges."""
    try:
        scales = training.fixed_scales
    except ValueProblem:
        scales = {}
    return with_training_keys(read_targets(document), training.per_structure_targets, scales)


def _foreign_architectures(document: Document, training: PytorchSection) -> dict[str, Any]:
    """Import the sections of other packages that the input uses; those that it does not use are not imported."""
    sections: dict[str, Any] = {}
    for name in architecture_names():
        chosen = name == training.model
        if name in BUILT_IN or not (chosen or name in document.headers):
            continue
        try:
            sections[name] = load_architecture(name)(**_values(document, name))
        except ArchitectureError as error:
            if chosen:
                document.report("PYTORCH", "model", str(error), "Repair or reinstall that package.")
            else:
                document.notices.append(f"[{name}] is not checked: {error}.")
            continue
        _report_unknown_keys(document, name)
    return sections


def _restart_file(settings: Settings) -> str:
    """Find the restart file as FitSNAP does, in the working folder; else in the output folder or beside the input."""
    name = settings.pytorch.save_state_input
    folders = ("", settings.output_folder, settings.folder, os.path.join(settings.folder, settings.output_folder))
    places = (os.path.normpath(os.path.join(folder, name)) for folder in folders)
    return next((place for place in places if name and os.path.isfile(place)), name)


def _check_sections(document: Document) -> None:
    names = section_names()
    for section in document.headers:
        if section not in names and section not in FOREIGN_SECTIONS:
            known = f"Known sections: {', '.join(names)}."
            hint = OTHER_SECTIONS.get(section.upper()) or did_you_mean(section, names) or known
            document.report(section, "", "unknown section", hint)


def _values(document: Document, section: str) -> dict[str, Any]:
    """Return the values that the document sets in a section, by attribute."""
    values: dict[str, Any] = {}
    for name, key in keys_of(section).items():
        if key.is_prefix:
            stem = name.removesuffix("*")
            entries = document.sections.get(section, {}).items()
            values[key.attribute] = tuple(entry.value for written, entry in entries if written.startswith(stem))
            continue
        entry = document.entry(section, name)
        if entry is None:
            continue
        try:
            values[key.attribute] = parse_value(entry.value, key)
        except ValueProblem as problem:
            ours = OTHER_VALUES.get((name, entry.value.lower()))
            hint = f"Here it is {ours}." if ours else REMEDIES.get((section, name), problem.hint)
            document.report(section, name, problem.what, VALUE_REMEDIES.get((section, name, entry.value.upper()), hint))
    return values


def _report_unknown(document: Document) -> None:
    """Report unknown keys; rows of GROUPS and TARGETS and elements of ESHIFT are not keys."""
    for section in section_classes():
        if section != "GROUPS":
            _report_unknown_keys(document, section)


def _report_unknown_keys(document: Document, section: str) -> None:
    known = keys_of(section)
    for written in document.sections.get(section, {}):
        if written not in known and not any(_starts(written, key) for key in known.values()):
            document.report(section, written, "unknown key", _hint(document, section, written))


def _starts(written: str, key: Key) -> bool:
    return key.is_prefix and written.startswith(key.name.removesuffix("*"))


def _hint(document: Document, section: str, written: str) -> str:
    """Return where a key belongs, what it is called here, or the most similar key.

    Several architectures use a name for different keys: the section that the user chose decides.
    """
    chosen = document.entry("PYTORCH", "model")
    model = chosen.value if chosen else ""
    last = written.rpartition(".")[2]  # of a path such as soap.max_angular
    homes = [other for other in section_classes() if last in keys_of(other)]
    foreign = other_name(written, (section, model))
    if foreign and foreign.section in (section, model):
        return foreign.hint
    if homes:
        home = next((other for other in (section, model) if other in homes), homes[0])
        return f"It belongs to section [{home}]." if last == written else f"Here it is {last} in [{home}]."
    return foreign.hint if foreign else did_you_mean(written, [name.removesuffix("*") for name in keys_of(section)])


def _per_element(document: Document, bispectrum: Bispectrum) -> Bispectrum:
    """Repeat defaults, and a single twojmax, for every element."""
    count = len(bispectrum.type)
    repeated: dict[str, Any] = {}
    for name in ("twojmax", "wj", "radelem", "sinner", "dinner"):
        value = getattr(bispectrum, name)
        if len(value) == 1 and (name == "twojmax" or document.entry("BISPECTRUM", name) is None):
            repeated[name] = value * count
    if document.entry("BISPECTRUM", "numTypes") is None:
        repeated["num_types"] = count
    return replace(bispectrum, **repeated)


def _groups(document: Document, groups: Groups, path: PathSection, folder: str) -> Groups:
    if not document.sound("GROUPS", "group_sections", "group_types"):
        return groups
    columns = read_columns(document, groups.group_sections, groups.group_types)
    if columns is None:
        return groups
    types = tuple(kind.__name__ for kind in columns.types)
    return replace(groups, group_types=types, rows=read_rows(document, columns, path.group_file, folder))


def _reference(reference: Reference) -> Reference:
    """Put each command on one line; add the coefficients of FitSNAP's default pair style."""
    style = reference.pair_style.replace("\n", " ")
    coefficients = tuple(text.replace("\n", " ") for text in reference.pair_coeff)
    if not coefficients and style.split()[:1] == ["zero"]:
        coefficients = ("* *",)
    return replace(reference, pair_style=style, pair_coeff=coefficients)


def _eshift(document: Document, settings: Settings) -> dict[str, float]:
    """Return the energy shift of every element, eV; 0 by default."""
    (section, key), elements = settings.elements_key, settings.elements
    shifts = dict.fromkeys(elements, 0.0)
    for element, entry in document.sections.get("ESHIFT", {}).items():
        try:
            shifts[element] = float(parse_number(entry.value, float))
        except ValueProblem as problem:
            document.report("ESHIFT", element, problem.what, problem.hint)
        known = document.entry(section, key) is not None and document.sound(section, key)
        if known and element not in elements:
            what = f"not among the elements of [{section}] {key} = {' '.join(elements)}"
            document.report("ESHIFT", element, what, did_you_mean(element, elements))
    return shifts
