"""The data audit: labels that agree with each other in a unit that is not the stated one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from fitsnap_nn.data.audit import audit
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding, summarize
from fitsnap_nn.data.properties import labels_of
from fitsnap_nn.settings.schema import Bispectrum, Settings
from fitsnap_nn.units import BOHR, HARTREE, KCAL_PER_MOL, KJ_PER_MOL

# Hartree-Fock and DFT with all electrons, hartree.
MOLECULES = {"CH3CH2OH": -155.03, "CH3OH": -115.73, "H2O": -76.43, "CO2": -188.59, "CH4": -40.52, "H2": -1.175}


def configuration(atoms: Atoms, energy: float, number: int = 0, scale: float = 1.0) -> Configuration:
    return Configuration(
        id=f"group/{number}",
        group="group",
        species=tuple(atoms.get_chemical_symbols()),
        positions=atoms.positions * scale,
        cell=atoms.cell.array * scale,
        pbc=tuple(bool(one) for one in atoms.pbc),
        labels=labels_of(energy=np.array(energy)),
        weights={"energy": 1.0},
    )


def found(members: Sequence[Configuration], elements: str) -> list[Finding]:
    findings = audit(members, Settings(bispectrum=Bispectrum(type=tuple(elements.split()))))
    return [one for one in findings if "unit" in one.what or "lengths" in one.what]


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (HARTREE, ""),
        (
            1.0,
            "the energies are all-electron energies, and their unit is probably hartree, not eV. State the units",
        ),
        (HARTREE / KCAL_PER_MOL, "(all-electron energies are "),
        (HARTREE / KJ_PER_MOL, "their unit is probably kJ/mol."),
        (1e3 * HARTREE, "their unit is another one."),
    ],
)
def test_units_of_energies_with_all_electrons(unit, message):
    members = [configuration(molecule(name), value * unit, k) for k, (name, value) in enumerate(MOLECULES.items())]
    findings = found(members, "C H O")
    assert len(findings) == bool(message)
    assert all(one.warning for one in findings)
    assert message in "".join(summarize(findings))


@pytest.mark.parametrize("energy", [-3.7, -1350.0, -45_000.0])  # relative to atoms; without and with core electrons
def test_energies_in_electronvolts(energy):
    members = [configuration(bulk("Cu", cubic=True), 4 * energy, k) for k in range(3)]
    assert found(members, "Cu") == []


@pytest.mark.parametrize(
    ("symbol", "scale", "message"),
    [
        ("Cu", 1.0, ""),
        ("Ta", 1.0, ""),
        ("Ar", 1.0, ""),
        ("Cu", 0.8, ""),  # half the volume
        ("Cu", 1.0 / BOHR, "lengths are probably in bohr, not in Å"),
        ("Ta", 1.0 / BOHR, "lengths are probably in bohr, not in Å"),
        ("Cu", BOHR, "lengths are probably multiplied by 0.529, as if they were in bohr"),
    ],
)
def test_units_of_lengths(symbol, scale, message):
    members = [configuration(bulk(symbol, cubic=True), -3.0 - k, k, scale * (1.0 + 0.01 * k)) for k in range(8)]
    findings = found(members, symbol)
    assert len(findings) == bool(message)
    assert message in "".join(summarize(findings))


def test_isolated_atoms_and_dimers_far_apart_have_no_unit():
    members = [configuration(Atoms("Cu2", [[0, 0, 0], [d, 0, 0]]), -1.0, k) for k, d in enumerate((2.2, 4.0, 6.0, 9.0))]
    assert found([*members, configuration(Atoms("Cu"), 0.0, 9)], "Cu") == []
