"""Every factor against ase.units or scipy.constants (two editions of CODATA apart, hence 1e-7)."""

from __future__ import annotations

import ase.units
import pytest
import scipy.constants as si

from fitsnap_nn.units import FIELDS, LABELS, QUANTITIES, STYLES, UNITS, factor, label_units

CUBE = ase.units.Bohr**3


@pytest.mark.parametrize(
    ("quantity", "unit", "expected"),
    [
        ("energy", "electronvolt", 1.0),
        ("energy", "eV", 1.0),
        ("energy", "meV", 1e-3),
        ("energy", "Hartree", ase.units.Hartree),
        ("energy", "Ha", ase.units.Hartree),
        ("energy", "rydberg", ase.units.Rydberg),
        ("energy", "kcal/mol", ase.units.kcal / ase.units.mol),
        ("energy", "kcal_per_mol", ase.units.kcal / ase.units.mol),
        ("energy", "kJ/mol", ase.units.kJ / ase.units.mol),
        ("energy", "Joule", ase.units.J),
        ("energy", "erg", 1e-7 * ase.units.J),
        ("force", "electronvoltperangstrom", 1.0),
        ("force", "eV_per_Angstrom", 1.0),
        ("force", "eV/Å", 1.0),
        ("force", "Hartree/Bohr", ase.units.Hartree / ase.units.Bohr),
        ("force", "kcal/mol/Angstrom", ase.units.kcal / ase.units.mol),
        ("force", "Newton", ase.units.J / ase.units.m),
        ("force", "dynes", 1e-5 * ase.units.J / ase.units.m),
        ("length", "Angstrom", 1.0),
        ("length", "bohr", ase.units.Bohr),
        ("length", "nm", ase.units.nm),
        ("length", "cm", 1e-2 * ase.units.m),
        ("length", "meters", ase.units.m),
        ("pressure", "bar", ase.units.bar),
        ("pressure", "kB", 1e3 * ase.units.bar),
        ("pressure", "kbar", 1e3 * ase.units.bar),
        ("pressure", "GPa", ase.units.GPa),
        ("pressure", "MPa", 1e-3 * ase.units.GPa),
        ("pressure", "Pa", ase.units.Pascal),
        ("pressure", "atm", si.atm * ase.units.Pascal),
        ("pressure", "eV/Angstrom^3", 1.0),
        ("pressure", "eV per Å³", 1.0),
        ("pressure", "Hartree/Bohr**3", ase.units.Hartree / CUBE),
        ("pressure", "dyne/cm^2", 0.1 * ase.units.Pascal),
    ],
)
def test_factor_of_each_unit(quantity: str, unit: str, expected: float) -> None:
    for name in (unit, unit.upper(), unit.lower()):
        assert factor(quantity, name) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(
    ("style", "length", "energy", "force", "pressure"),
    [
        ("metal", "angstrom", "eV", "eV/angstrom", "bar"),
        ("real", "angstrom", "kcal/mol", "kcal/mol/angstrom", "atm"),
        ("si", "m", "J", "N", "Pa"),
        ("cgs", "cm", "erg", "dyne", "dyne/cm2"),
        ("electron", "bohr", "Hartree", "Hartree/bohr", "Pa"),
        ("atomic", "bohr", "Hartree", "Hartree/bohr", "Hartree/bohr3"),
    ],
)
def test_a_style_names_its_own_units(style: str, length: str, energy: str, force: str, pressure: str) -> None:
    for quantity, unit in zip(QUANTITIES, (length, energy, force, pressure), strict=True):
        assert factor(quantity, style) == pytest.approx(factor(quantity, unit), rel=1e-12)


def test_every_style_and_field_has_its_labels() -> None:
    for style in STYLES.values():
        assert set(style.labels) == set(QUANTITIES)
    assert set(FIELDS.values()) == set(UNITS) == set(QUANTITIES) < set(LABELS)


def test_unknown_units_name_their_neighbours() -> None:
    with pytest.raises(ValueError, match=r"unknown energy unit 'hartre'.*hartree"):
        factor("energy", "hartre")
    with pytest.raises(ValueError, match="unknown pressure unit 'eV'"):
        factor("pressure", "eV")


def test_property_array_in_full_and_in_short() -> None:
    full = label_units("Stress: pressure kB Metal; Energy: energy eV metal\nforces = force Hartree/Bohr metal;")
    assert full == {"Stress": "kB", "Energy": "eV", "Forces": "Hartree/Bohr"}
    assert label_units("Stress: GPa; Positions: nm") == {"Stress": "GPa", "Positions": "nm"}
    assert label_units("") == {}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Stres: kB", "'Stres' is not a field with a unit"),
        ("Stress: pressure kX metal", "unknown pressure unit 'kX'"),
        ("Stress: pressure kB real", "not to 'real'"),
        ("Stress", "does not have the form"),
        ("Stress: pressure kB metal now", "does not have the form"),
    ],
)
def test_a_wrong_property_array_is_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        label_units(text)
