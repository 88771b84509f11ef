"""Readers of extended XYZ and of all other formats that ASE supports, with the label names of other programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.properties import Property
from fitsnap_nn.data.readers.ase_files import DEFAULT_GROUP, labelled_configuration, read_frames
from fitsnap_nn.data.readers.extxyz import CP2K_MARKERS, entries, read_extended_xyz
from fitsnap_nn.data.readers.labels import LAMMPS, PLAIN, Chosen, Family, Frame, choose, label_notes, state_notes
from fitsnap_nn.data.readers.raw import DataFile, ReadOptions, Units
from fitsnap_nn.data.readers.stated_units import QUANTITY, is_unit_name, require_all_units, stated_units, units_of_table
from fitsnap_nn.data.readers.stress import (
    COMPONENTS,
    LARGE,
    implausible_stresses,
    refuse_contradiction,
    stress_of_virial,
    stress_tensor,
)
from fitsnap_nn.data.readers.vasp import is_vasp, read_vasp
from fitsnap_nn.data.readers.weights import used_names, weight_notes
from fitsnap_nn.data.symmetries import Cartesian
from fitsnap_nn.errors import DataError
from fitsnap_nn.units import GPA, STYLES, factor

FIELDS = {"energy": "Energy", "forces": "Forces", "stress": "Stress", "virial": "Virial"}  # by label
NOT_CHECKED = (
    "ASE reads this VASP file for the labels of [TARGETS], and does not check convergence: make sure that the "
    "electronic loops of all steps converged."
)
FITSNAP_XYZ = "property_array = Stress: bar and stress_sign = pressure for files of FitSNAP"


def read_xyz(source: DataFile, options: ReadOptions, findings: list[Finding]) -> Iterator[Configuration]:
    """Yield all frames of an extended XYZ file.

    Names, units and signs of the labels are those of docs/data.md; units that the header states are converted.

    Args:
        source: the file.
        options: names, units and signs of labels from the input.
        findings: receives remarks on the file.

    Raises:
        DataError: the file is not extended XYZ, or the data are inconsistent.
    """
    frames, tables = read_extended_xyz(source.path, findings)
    chosen = choose(tables, options.names)
    stated, units = _units(source.path, tables, chosen, options)
    findings += _remarks(source.path, tables, chosen, options, stated, units)
    configurations = [
        _configuration(source, atoms, k if len(frames) > 1 else None, table, chosen, options, unit)
        for k, (atoms, table, unit) in enumerate(zip(frames, tables, units, strict=True))
    ]
    _refuse_implausible(source.path, configurations, tables, chosen, units)
    yield from configurations


def read_ase(source: DataFile, options: ReadOptions, findings: list[Finding]) -> Iterator[Configuration]:
    """Yield all frames of a file in a format that ASE recognises; ASE's units and signs apply.

    The labels are stored calculator results, or entries with other names as in extended XYZ. The energy is the free
    energy if available. OUTCAR and vasprun.xml are left to `read_vasp`, unless labels are wanted that it does not read.

    Args:
        source: the file.
        options: names of labels from the input, and user-defined properties.
        findings: receives remarks on the file.

    Raises:
        DataError: ASE cannot read the file, or the data are inconsistent.
    """
    if _is_extended_xyz(source.path):
        yield from read_xyz(source, options, findings)
        return
    if is_vasp(Path(source.path)):
        if not options.columns:
            named = source if source.group else source._replace(group=DEFAULT_GROUP, id=f"{DEFAULT_GROUP}/{source.id}")
            yield from read_vasp(named, options, findings)
            return
        findings.append(Finding(NOT_CHECKED, source.id))
    frames = read_frames(source.path, None, findings)
    tables = [entries(atoms) for atoms in frames]
    chosen = choose(tables, options.names)
    chosen = chosen._replace(family=replace(chosen.family, voigt=True))
    findings += _name_remarks(source.path, tables, chosen, options, usual=replace(PLAIN, voigt=True))
    stated, units = _units(source.path, tables, chosen, options)
    findings += _unit_remarks(source.path, stated, options)
    for k, (atoms, table) in enumerate(zip(frames, tables, strict=True)):
        number = k if len(frames) > 1 else None
        yield _configuration(source, atoms, number, table, chosen, options, units[k])


def _is_extended_xyz(path: str) -> bool:
    from ase.io.formats import UnknownFileTypeError, filetype

    try:
        return bool(filetype(path) == "extxyz")
    except (UnknownFileTypeError, OSError, UnicodeDecodeError):
        return False  # reading the file gives the better error


def _units(
    path: str, tables: Sequence[Frame], chosen: Chosen, options: ReadOptions
) -> tuple[list[dict[str, str]], list[Units]]:
    """Return the units that each frame states, and those it is read in."""
    stated, units = [], []
    for k, table in enumerate(tables):
        where = f"{path}, configuration {k}"
        stated.append(_stated(table, chosen, where))
        units.append(_units_of_frame(where, table, stated[-1], chosen, options))
    return stated, units


def _units_of_frame(where: str, table: Frame, header: Mapping[str, str], chosen: Chosen, options: ReadOptions) -> Units:
    """Return the units of one frame: those of [SCRAPER], else of the header, else of the family of names."""
    units = {**chosen.family.units, **header, **options.units}
    if CP2K_MARKERS[1] <= table.keys() and "Energy" not in units and any(chosen.found(table, "energy")):
        raise DataError(
            f"{where}: the header is that of CP2K, whose Energy is in hartree, and states no unit. "
            "State the units in [SCRAPER] property_array."
        )
    present = [field for label, field in FIELDS.items() if any(chosen.found(table, label))]
    require_all_units(units, present, where)
    return units


def _stated(table: Frame, chosen: Chosen, where: str) -> dict[str, str]:
    """Return the units that a frame states for its labels and lengths, by field."""
    found = stated_units(table, where)
    if isinstance(listed := table.get("units"), Mapping):
        names = FIELDS | {name: FIELDS[label] for label in FIELDS for name, _ in chosen.found(table, label)}
        found = {**units_of_table(listed, names, where), **found}
    return found


def _configuration(
    source: DataFile,
    atoms: Any,
    number: int | None,
    table: Frame,
    chosen: Chosen,
    options: ReadOptions,
    units: Units,
) -> Configuration:
    where = source.path if number is None else f"{source.path}, configuration {number}"
    labels = {label: chosen.value(table, label, where) for label in ("energy", "forces")}
    labels["stress"] = _stress(atoms, table, chosen, options, units, where)
    # The stress is in internal units already.
    kept = {field: unit for field, unit in units.items() if field not in ("Stress", "Virial")}
    return labelled_configuration(source, atoms, labels, replace(options, units=kept), number)


def _stress(atoms: Any, table: Frame, chosen: Chosen, options: ReadOptions, units: Units, where: str) -> Floats | None:
    """Return the stress in eV/Å³, positive in tension, of the entry for stress or virial; both must agree."""
    order = options.stress_order or (COMPONENTS if chosen.family.voigt else ())
    found: list[Floats] = []
    if (value := chosen.value(table, "stress", where)) is not None:
        sign = _sign(chosen, options)
        scale = factor("pressure", units.get("Stress", "eV/angstrom^3"))
        found.append(sign * scale * stress_tensor(value, f"{where}: stress", order))
    if (value := chosen.value(table, "virial", where)) is not None:
        virial = factor("energy", units.get("Virial", "eV")) * stress_tensor(value, f"{where}: virial", order)
        volume = atoms.cell.volume * factor("length", units.get("Lattice", "angstrom")) ** 3
        found.append(stress_of_virial(virial, volume, where))
    if len(found) == 2:
        refuse_contradiction(found[0], found[1], where)
    return found[0] if found else None


def _sign(chosen: Chosen, options: ReadOptions) -> float:
    return {"tension": 1.0, "pressure": -1.0}.get(options.stress_sign, chosen.family.stress_sign)


def _name_remarks(
    path: str, tables: Sequence[Frame], chosen: Chosen, options: ReadOptions, usual: Family = PLAIN
) -> Iterator[Finding]:
    """Yield notes on the names of labels and weights, and on states that models do not use."""
    weights = used_names(tables, options.weight_names)
    yield from label_notes(path, tables, chosen, [*weights, *_names_of_units(tables)], usual=usual)
    yield from weight_notes(path, weights)
    yield from state_notes(path, tables)


def _remarks(
    path: str,
    tables: Sequence[Frame],
    chosen: Chosen,
    options: ReadOptions,
    stated: Sequence[Mapping[str, str]],
    units: Sequence[Units],
) -> Iterator[Finding]:
    """Yield notes on names, units, sign and order of the labels of one file."""
    yield from _name_remarks(path, tables, chosen, options)
    if chosen.family is LAMMPS and not chosen.family.units.keys() <= options.units.keys():
        what = "file of LAMMPS' dump style extxyz, which states no units: metal units are assumed (eV, eV/Å, bar)."
        yield Finding(what, path, warning=False)
    yield from _unit_remarks(path, stated, options)
    with_stress = [
        (table, unit) for table, unit in zip(tables, units, strict=True) if any(chosen.found(table, "stress"))
    ]
    if any("Stress" in unit for _, unit in with_stress) or (with_stress and options.stress_sign != "format"):
        unit = next((unit["Stress"] for _, unit in with_stress if "Stress" in unit), "eV/Å³")
        unit = STYLES[unit].labels["pressure"] if unit in STYLES else unit
        meaning = "positive in tension, ASE's sign" if _sign(chosen, options) > 0 else "a pressure, LAMMPS' sign"
        what = f"stress is read in {unit} as {meaning}; [SCRAPER] stress_sign changes the sign."
        yield Finding(what, path, warning=False)
    elif "Stress" in options.units and any(any(chosen.found(table, "virial")) for table in tables):
        what = "[SCRAPER] property_array changes the unit of stresses, not of virials (eV, or that of the header)."
        yield Finding(what, path, warning=False)
    for column in options.columns:
        if _is_matrix(column.property) and any(column.name in table for table in tables):
            what = f"nine numbers of {column.name} in the header are read as ASE writes a matrix: column by column."
            yield Finding(what, path, warning=False)
    if chosen.family.voigt and not options.stress_order and any(_has_six(chosen, table) for table in tables):
        what = f"six stress components are read in the order {' '.join(COMPONENTS)}, as ASE and MACE write them."
        yield Finding(what, path, warning=False)


def _unit_remarks(path: str, stated: Sequence[Mapping[str, str]], options: ReadOptions) -> Iterator[Finding]:
    """Yield a note on the units that frames state, and a warning where the input replaces them."""
    units = dict.fromkeys(f"{field} {unit}" for frame in stated for field, unit in frame.items())
    if units:
        what = f"units that the file states: {', '.join(units)}. Labels are converted to eV and Å."
        yield Finding(what, path, warning=False)
    for field, unit in options.units.items():
        other = next((frame[field] for frame in stated if frame.get(field, unit) != unit), None)
        if other is not None and factor(QUANTITY[field], other) != factor(QUANTITY[field], unit):
            yield Finding(f"[SCRAPER] property_array = {field}: {unit} replaces the unit {other} of the header.", path)


def _names_of_units(tables: Sequence[Frame]) -> list[str]:
    """Return the names of the entries that state units."""
    entries = (entry for table in tables for entry in table.items())
    return [name for name, value in entries if is_unit_name(name) and isinstance(value, str | Mapping)]


def _has_six(chosen: Chosen, table: Mapping[str, Any]) -> bool:
    found = (value for label in ("stress", "virial") for _, value in chosen.found(table, label))
    return any(getattr(value, "shape", None) == (6,) for value in found)


def _is_matrix(quantity: Property) -> bool:
    """Whether the order of nine numbers per configuration matters."""
    return (
        quantity.per == "configuration"
        and isinstance(quantity.symmetry, Cartesian)
        and quantity.symmetry.components == 9
    )


def _refuse_implausible(
    path: str,
    configurations: Sequence[Configuration],
    tables: Sequence[Frame],
    chosen: Chosen,
    units: Sequence[Units],
) -> None:
    """Refuse a stress without a stated unit whose size shows that it is not in eV/Å³.

    Raises:
        DataError: a stress above 1 TPa is out of proportion to the energies of the file.
    """
    wrong = set(map(id, implausible_stresses(configurations)))
    for k, configuration in enumerate(configurations):
        size = 0.0 if configuration.stress is None else float(abs(configuration.stress).max())
        unstated = "Stress" not in units[k] and any(chosen.found(tables[k], "stress"))
        if id(configuration) not in wrong or size <= LARGE or not unstated:
            continue
        raise DataError(
            f"{path}, configuration {k}: the stress is {size / GPA:.3g} GPa if its unit is eV/Å³, as "
            f"usual in extended XYZ. State unit and sign in [SCRAPER]: {FITSNAP_XYZ}, or, if eV/Å³ is right, "
            "property_array = Stress: eV/Angstrom^3."
        )
