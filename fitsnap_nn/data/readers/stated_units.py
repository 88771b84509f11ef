"""Units that the header of a frame states, for example ``energy-unit=hartree``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from fitsnap_nn.errors import DataError
from fitsnap_nn.units import ENERGIES, LENGTHS, STYLES, factor
from fitsnap_nn.units import FIELDS as UNIT_FIELDS

STATED = re.compile(r"(?P<of>.*?)[-_ ]?units?|units?[-_](?!cell)(?P<also>.+)", re.IGNORECASE)
# Field of the label whose name ends in one of the words.
FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Energy": ("energy", "energies"),
        "Forces": ("force", "forces"),
        "Stress": ("stress", "stresses", "pressure"),
        "Virial": ("virial", "virials"),
        "Positions": ("length", "distance", "position", "positions", "pos", "coord", "coords", "coordinates"),
        "Lattice": ("length", "distance", "cell", "lattice", "box"),
    }
)
QUANTITY: Mapping[str, str] = MappingProxyType({**UNIT_FIELDS, "Virial": "energy"})


def stated_units(frame: Mapping[str, Any], where: str) -> dict[str, str]:
    """Return the units that a frame states, by field: those of `fitsnap_nn.units.FIELDS` and ``Virial``.

    Args:
        frame: entries of the frame by name.
        where: file and frame, for errors.

    Raises:
        DataError: a unit is unknown, or statements contradict each other.
    """
    units: dict[str, str] = {}
    for name, value in frame.items():
        if not isinstance(value, str):
            _refuse_bare_unit(name, value, where)
            continue
        for field in _fields(name, value, where):
            size = _size(field, value, f"{where}: {name}")
            if field in units and size != factor(QUANTITY[field], units[field]):
                raise DataError(f"{where}: {name} = {value} contradicts {units[field]}. Remove one of the two.")
            units[field] = value
    return units


def units_of_table(table: Mapping[str, Any], labels: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the units by field of a table of units by name.

    Databases of SchNetPack have one, and files of janus-core: ``units = {"energy": "eV", "time": "fs"}``.

    Args:
        table: the entry ``units`` of a frame.
        labels: field by name of a label; other names of the table are ignored.
        where: file and frame, for errors.

    Raises:
        DataError: the unit of a label is unknown.
    """
    units = {labels[name]: str(unit) for name, unit in table.items() if name in labels}
    if "distance" in table:
        units |= dict.fromkeys(("Positions", "Lattice"), str(table["distance"]))
    for field, unit in units.items():
        _size(field, unit, f"{where}: units")
    return units


def is_unit_name(name: str) -> bool:
    """Return whether a header entry states a unit."""
    return STATED.fullmatch(name) is not None


def require_all_units(units: Mapping[str, str], present: list[str], where: str) -> None:
    """Refuse a frame that states an unusual unit for one label and none for another.

    Args:
        units: stated units by field.
        present: fields of the labels of the frame.
        where: file and frame.

    Raises:
        DataError: energies, forces or lengths are not in eV and Å, and the unit of another label is missing.
    """
    unusual = [f for f in ("Energy", "Forces", "Positions") if f in units and factor(QUANTITY[f], units[f]) != 1.0]
    missing = [field for field in present if field not in units]
    if unusual and missing:
        raise DataError(
            f"{where}: the unit of {unusual[0]} is {units[unusual[0]]}, but that of {', '.join(missing)} is not "
            f"stated. State it in the header, for example {missing[0].lower()}-unit, or in [SCRAPER] property_array."
        )


def _size(field: str, unit: str, where: str) -> float:
    """Return the size of a unit, see `fitsnap_nn.units.factor`; refuse one that is unknown."""
    try:
        return factor(QUANTITY[field], unit)
    except ValueError as error:
        raise DataError(f"{where}: {error}. Correct it, or convert the labels to eV and Å.") from None


def _fields(name: str, value: str, where: str) -> Iterator[str]:
    match = STATED.fullmatch(name)
    if match is None:
        return
    quantity = (match["of"] or match["also"] or "").lower()
    if quantity:
        yield from (field for field, words in FIELDS.items() if quantity.endswith(words))
    elif value.lower() in STYLES:
        yield from FIELDS
    elif {**ENERGIES, **LENGTHS}.get(value.lower()) != 1.0:
        raise DataError(
            f"{where}: {name} = {value} does not say which quantity it refers to. "
            "Name it, for example energy-unit, or use a LAMMPS style such as metal."
        )


def _refuse_bare_unit(name: str, value: Any, where: str) -> None:
    """Refuse a unit that follows a number, as in ``energy=-1.5 Ha``: the header has it as an entry of its own."""
    if value is True and len(name) > 1 and ENERGIES.get(name.lower(), 1.0) != 1.0:
        raise DataError(f"{where}: the unit '{name}' is not part of an entry. Write, for example, energy-unit={name}.")
