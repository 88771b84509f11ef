"""Unit conversion and unit labels.

Internal units are Å, eV, eV/Å and eV/Å³. Factors convert a number in the named unit to internal units by
multiplication. Constants are CODATA 2022 values, exact where the SI defines them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

ELEMENTARY_CHARGE = 1.602176634e-19  # C, exact
AVOGADRO = 6.02214076e23  # 1/mol, exact

JOULE = 1.0 / ELEMENTARY_CHARGE
HARTREE = 27.211386245981
RYDBERG = HARTREE / 2.0
KCAL_PER_MOL = 4184.0 * JOULE / AVOGADRO
KJ_PER_MOL = 1000.0 * JOULE / AVOGADRO
BOHR = 0.529177210544
METRE = 1e10
NEWTON = JOULE / METRE
PASCAL = JOULE / METRE**3
BAR = 1e5 * PASCAL
GPA = 1e9 * PASCAL
# 1 bar of LAMMPS' units metal, from the digits of nktv2p (update.cpp), in which LAMMPS prints pressures.
LAMMPS_BAR = 1.0 / 1.6021765e6

LONGEST_NAME = 40  # characters of a unit in a message

QUANTITIES = ("length", "energy", "force", "pressure")

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "length": "Å",
        "energy": "eV",
        "energy per atom": "eV/atom",
        "force": "eV/Å",
        "stress": "eV/Å³",
        "pressure": "bar",
        "time": "ps",
        "temperature": "K",
    }
)


class UnitStyle(NamedTuple):
    """LAMMPS ``units`` style: factor of each quantity to internal units, and unit labels."""

    length: float
    energy: float
    force: float
    pressure: float
    labels: Mapping[str, str]


def _style(length: float, energy: float, force: float, pressure: float, names: str) -> UnitStyle:
    return UnitStyle(
        length, energy, force, pressure, MappingProxyType(dict(zip(QUANTITIES, names.split(), strict=True)))
    )


STYLES: Mapping[str, UnitStyle] = MappingProxyType(
    {
        "metal": _style(1.0, 1.0, 1.0, BAR, "Å eV eV/Å bar"),
        "real": _style(1.0, KCAL_PER_MOL, KCAL_PER_MOL, 1.01325 * BAR, "Å kcal/mol kcal/mol/Å atm"),
        "si": _style(METRE, JOULE, NEWTON, PASCAL, "m J N Pa"),
        "cgs": _style(1e-2 * METRE, 1e-7 * JOULE, 1e-5 * NEWTON, 0.1 * PASCAL, "cm erg dyn dyn/cm²"),
        "electron": _style(BOHR, HARTREE, HARTREE / BOHR, PASCAL, "bohr Ha Ha/bohr Pa"),
    }
)


def _named(table: Mapping[str, float]) -> dict[str, float]:
    """Expand keys that list several names, separated by blanks."""
    return {name: value for names, value in table.items() for name in names.split()}


LENGTHS = _named(
    {
        "angstrom angstroms ang a å": 1.0,
        "bohr au": BOHR,
        "nm nanometer nanometers nanometre nanometres": 10.0,
        "cm centimeter centimeters centimetre centimetres": 1e-2 * METRE,
        "m meter meters metre metres": METRE,
    }
)
ENERGIES = _named(
    {
        "ev electronvolt electronvolts": 1.0,
        "mev": 1e-3,
        "hartree hartrees ha eh": HARTREE,
        "rydberg rydbergs ryd ry": RYDBERG,
        "kcal/mol kilocalorie/mol": KCAL_PER_MOL,
        "kj/mol kilojoule/mol": KJ_PER_MOL,
        "j joule joules": JOULE,
        "erg ergs": 1e-7 * JOULE,
    }
)
FORCES = {
    **{f"{energy}/{length}": ENERGIES[energy] / LENGTHS[length] for energy in ENERGIES for length in LENGTHS},
    **_named({"n newton newtons": NEWTON, "dyn dyne dynes": 1e-5 * NEWTON}),
}
PRESSURES = {
    **{f"{energy}/{length}3": ENERGIES[energy] / LENGTHS[length] ** 3 for energy in ENERGIES for length in LENGTHS},
    **_named(
        {
            "bar bars": BAR,
            "kb kbar kilobar kbars kilobars": 1e3 * BAR,
            "atm atmosphere atmospheres": 1.01325 * BAR,
            "pa pascal pascals": PASCAL,
            "kpa": 1e3 * PASCAL,
            "mpa": 1e6 * PASCAL,
            "gpa gigapascal gigapascals": GPA,
            "dyn/cm2 dyne/cm2 barye": 0.1 * PASCAL,
        }
    ),
}
ATOMIC = UnitStyle(BOHR, HARTREE, HARTREE / BOHR, HARTREE / BOHR**3, MappingProxyType({}))

UNITS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        quantity: MappingProxyType(
            {
                **table,
                **{name: getattr(style, quantity) for name, style in (*STYLES.items(), ("atomic", ATOMIC))},
            }
        )
        for quantity, table in zip(QUANTITIES, (LENGTHS, ENERGIES, FORCES, PRESSURES), strict=True)
    }
)


def factor(quantity: str, unit: str) -> float:
    """Return the factor that converts a number in ``unit`` to internal units.

    Args:
        quantity: one of `QUANTITIES`.
        unit: name of a unit, such as ``eV``, ``kcal/mol``, ``eV_per_Angstrom``, ``electronvoltperangstrom``, ``kB``
            (kilobar), ``GPa``, ``eV/Å^3``, or of a LAMMPS style, for the unit of the quantity in that style; case is
            ignored.

    Raises:
        ValueError: unknown unit; the message suggests similar ones.
    """
    table = UNITS[quantity]
    name = re.sub(r"[\s_^*-]", "", unit.lower().replace("per", "/")).replace("³", "3").replace("²", "2")
    if name in table:
        return table[name]
    shown = unit if len(unit) <= LONGEST_NAME else f"{unit[:LONGEST_NAME]}..."
    # The time of the comparison grows with the square of the length.
    near = difflib.get_close_matches(name[:LONGEST_NAME], table, n=3) or list(table)[:4]
    raise ValueError(f"unknown {quantity} unit {shown!r}; similar units: {', '.join(near)}")


FIELDS: Mapping[str, str] = MappingProxyType(
    {"Energy": "energy", "Forces": "force", "Stress": "pressure", "Positions": "length", "Lattice": "length"}
)


def label_units(text: str) -> dict[str, str]:
    """Parse ``[SCRAPER] property_array`` to a dict from fields of the data files to units.

    Args:
        text: ``field: quantity unit target`` for each field, separated by semicolons or line breaks. Quantity and
            target are optional, the target can only be ``metal``: ``Stress: pressure kB Metal; Energy: Hartree``.

    Raises:
        ValueError: an unknown field or unit, or another target.
    """
    units: dict[str, str] = {}
    for entry in re.split(r"[;\n]", text):
        words = re.sub(r"[:=]", " ", entry).split()
        if not words:
            continue
        field, rest = words[0].capitalize(), words[1:]
        if field not in FIELDS:
            raise ValueError(f"'{words[0]}' is not a field with a unit. Fields: {', '.join(FIELDS)}")
        if len(rest) > 1 and rest[0].lower() in (*QUANTITIES, "stress", "forces"):
            rest = rest[1:]
        if not rest or len(rest) > 2:
            raise ValueError(f"'{entry.strip()}' does not have the form 'field: quantity unit metal'")
        if len(rest) == 2 and rest[1].lower() != "metal":
            raise ValueError(f"'{entry.strip()}': labels are converted to metal units, not to '{rest[1]}'")
        factor(FIELDS[field], rest[0])
        units[field] = rest[0]
    return units
