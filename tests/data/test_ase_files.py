"""Extended XYZ, VASP and whatever else ASE reads, against what was written and the formats' own conventions."""

from __future__ import annotations

import gzip
from pathlib import Path

import ase.io
import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding, summarize
from fitsnap_nn.data.readers import FORMATS, DataFile, ReadOptions
from fitsnap_nn.errors import DataError


def read(kind: str, path: Path, group: str = "group", **units: str) -> list[Configuration]:
    return list(FORMATS[kind].read(DataFile(str(path), group, path.name), ReadOptions(units), []))


def labelled(seed: int = 0) -> Atoms:
    """Copper and gold in a tilted cell with energy, forces and stress of effective medium theory."""
    rng = np.random.default_rng(seed)
    atoms = Atoms("Cu2Au2", cell=4.0 * np.eye(3) + rng.normal(scale=0.2, size=(3, 3)), pbc=True)
    atoms.set_scaled_positions(np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]))
    atoms.rattle(0.1, rng=rng)
    atoms.calc = EMT()
    atoms.get_stress()
    return atoms


def assert_same(configuration: Configuration, atoms: Atoms, tolerance: float) -> None:
    assert configuration.species == tuple(atoms.get_chemical_symbols())
    assert configuration.pbc == tuple(atoms.pbc)
    assert np.allclose(configuration.positions, atoms.positions, atol=tolerance)
    assert np.allclose(configuration.cell, atoms.cell.array, atol=tolerance)
    assert configuration.energy == pytest.approx(atoms.get_potential_energy(), abs=tolerance)
    assert np.allclose(configuration.forces, atoms.get_forces(apply_constraint=False), atol=tolerance)
    assert np.allclose(configuration.stress, atoms.get_stress(voigt=False), atol=tolerance)


def test_extended_xyz_there_and_back(tmp_path: Path) -> None:
    written = [labelled(seed) for seed in range(3)]
    ase.io.write(tmp_path / "a.xyz", written, format="extxyz")
    configurations = read("XYZ", tmp_path / "a.xyz")
    assert [item.id for item in configurations] == [f"a.xyz#{k}" for k in range(3)]
    for configuration, atoms in zip(configurations, written, strict=True):
        assert_same(configuration, atoms, 1e-7)


@pytest.mark.parametrize("name", ["a.traj", "a.json", "a.db"])
def test_other_formats_of_ase(tmp_path: Path, name: str) -> None:
    atoms = labelled()
    ase.io.write(tmp_path / name, atoms)
    (configuration,) = read("ASE", tmp_path / name)
    assert configuration.id == name
    assert_same(configuration, atoms, 1e-12)


def test_velocities_and_constraints_do_not_touch_the_labels(tmp_path: Path) -> None:
    atoms = labelled()
    atoms.set_momenta(np.ones((4, 3)))
    atoms.set_constraint(FixAtoms([0, 1]))
    ase.io.write(tmp_path / "a.traj", atoms)
    (configuration,) = read("ASE", tmp_path / "a.traj")
    assert configuration.energy == pytest.approx(EMT().get_potential_energy(atoms))
    assert np.abs(configuration.forces[0]).max() > 0.0
    assert_same(configuration, atoms, 1e-12)


def test_the_energy_is_the_one_that_forces_derive_from(tmp_path: Path) -> None:
    atoms = Atoms("Cu", cell=np.eye(3), pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, free_energy=-1.5)
    ase.io.write(tmp_path / "a.traj", atoms)
    assert read("ASE", tmp_path / "a.traj")[0].energy == -1.5


def xyz(tmp_path: Path, comment: str, properties: str = "species:S:1:pos:R:3", row: str = "Cu 0 0 0") -> Path:
    path = tmp_path / "a.xyz"
    path.write_text(f"1\nProperties={properties} {comment}\n{row}\n")
    return path


LATTICE = 'Lattice="2 0 0 0 3 0 0 0 4"'
NINE = "1 4 5 4 2 6 5 6 3"
TENSOR = np.array([[1.0, 4.0, 5.0], [4.0, 2.0, 6.0], [5.0, 6.0, 3.0]])


@pytest.mark.parametrize("prefix", ["", "REF_", "DFT_", "dft_"])
def test_names_of_reference_labels(tmp_path: Path, prefix: str) -> None:
    comment = f'{LATTICE} {prefix}energy=-2 {prefix}stress="{NINE}"'
    path = xyz(tmp_path, comment, f"species:S:1:pos:R:3:{prefix}forces:R:3", "Cu 0 0 0 1 2 3")
    (configuration,) = read("XYZ", path)
    assert configuration.energy == -2.0
    assert np.array_equal(configuration.forces, [[1.0, 2.0, 3.0]])
    assert np.array_equal(configuration.stress, TENSOR)


def test_a_reference_label_comes_before_a_plain_one(tmp_path: Path) -> None:
    (configuration,) = read("XYZ", xyz(tmp_path, "energy=1.0 REF_energy=2.0"))
    assert configuration.energy == 2.0


@pytest.mark.parametrize("name", ["virial", "REF_virial", "virials"])
def test_a_virial_is_minus_the_volume_times_the_stress(tmp_path: Path, name: str) -> None:
    path = xyz(tmp_path, f'{LATTICE} {name}="{NINE}"')
    (configuration,) = read("XYZ", path)
    assert np.allclose(configuration.stress, -TENSOR / 24.0)
    (configuration,) = read("XYZ", path, Stress="kB")
    assert np.allclose(configuration.stress, -TENSOR / 24.0)


def test_missing_labels_pbc_charges_and_weights(tmp_path: Path) -> None:
    path = xyz(
        tmp_path,
        f'{LATTICE} pbc="T F T" energy_weight=2 force_weight=3.0 stress_weight=0',
        "species:S:1:pos:R:3:initial_charges:R:1",
        "Cu 0 0 0 0.25",
    )
    (configuration,) = read("XYZ", path)
    assert configuration.energy is None
    assert configuration.forces is None
    assert configuration.stress is None
    assert configuration.pbc == (True, False, True)
    assert np.array_equal(configuration.charges, [0.25])
    weights = tuple(configuration.weight(name) for name in ("energy", "forces", "stress"))
    assert weights == (2.0, 3.0, 0.0)
    (plain,) = read("XYZ", xyz(tmp_path, "energy=1"))
    assert plain.pbc == (False, False, False)
    assert plain.charges is None


def test_config_type_names_the_group_of_a_frame(tmp_path: Path) -> None:
    frames = [Atoms("Cu", info={"config_type": name} if name else {}) for name in ("bulk", "surface", "bulk", "")]
    ase.io.write(tmp_path / "all.xyz", frames, format="extxyz")
    configurations = read("XYZ", tmp_path / "all.xyz", group="")
    assert [item.group for item in configurations] == ["bulk", "surface", "bulk", "Default"]
    ids = ["bulk/all.xyz#0", "surface/all.xyz#1", "bulk/all.xyz#2", "Default/all.xyz#3"]
    assert [item.id for item in configurations] == ids


@pytest.mark.parametrize(
    ("comment", "what"),
    [
        ("energy=NaN", "Energy contains a number that is not finite"),
        ("energy=none", "Energy is not an array of numbers"),
        ('virial="1 0 0 0 1 0 0 0 1"', "a virial must consist of numbers and requires a Lattice"),
        (f"{LATTICE} REF_virial=none", "virial is not an array of numbers"),
        (f'{LATTICE} stress="1 2 3"', r"stress has shape \(3,\)"),
        ("energy_weight=heavy", "energy_weight is not a number"),
    ],
)
def test_what_does_not_fit_is_named_with_its_file(tmp_path: Path, comment: str, what: str) -> None:
    with pytest.raises(DataError, match=rf"a\.xyz.*({what})"):
        read("XYZ", xyz(tmp_path, comment))


@pytest.mark.parametrize("kind", ["XYZ", "VASP", "ASE"])
@pytest.mark.parametrize("text", ["", "2\n\nCu 0 0 0\n", "nothing of the kind\n"])
def test_files_of_another_form(tmp_path: Path, kind: str, text: str) -> None:
    path = tmp_path / "bad.xyz"
    path.write_text(text)
    with pytest.raises(DataError, match=r"bad\.xyz: "):
        read(kind, path)


OUTCAR_HEAD = """ POTCAR:    PAW_PBE Ta_pv 07Sep2000
 POTCAR:    PAW_PBE Ta_pv 07Sep2000
   ions per type =               2
   ISPIN  =      1    spin polarized calculation?
--------------------------------------- Iteration      1(   1)  ---------------------------------------
"""
OUTCAR_STEP = """  in kB      10.00000    20.00000    30.00000     4.00000     5.00000     6.00000
      direct lattice vectors                 reciprocal lattice vectors
     3.300000000  0.000000000  0.000000000     0.303030303  0.000000000  0.000000000
     0.000000000  3.300000000  0.000000000     0.000000000  0.303030303  0.000000000
     0.000000000  0.000000000  3.300000000     0.000000000  0.000000000  0.303030303
 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
      0.00000      0.00000      0.00000         0.100000      0.200000      0.300000
      1.65000      1.65000      {x:.5f}        -0.100000     -0.200000     -0.300000
 -----------------------------------------------------------------------------------
  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  =       {energy:.6f} eV

  energy  without entropy=      -23.800000  energy(sigma->0) =      -23.850000
"""
PRESSURE = np.array([[10.0, 4.0, 6.0], [4.0, 20.0, 5.0], [6.0, 5.0, 30.0]])  # kB; OUTCAR: xx yy zz xy yz zx

VASPRUN_HEAD = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <kpoints><varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1</v></varray></kpoints>
 <parameters><i name="PSTRESS">0.0</i></parameters>
 <atominfo><array name="atoms"><set><rc><c>Ta</c><c>1</c></rc><rc><c>Ta</c><c>1</c></rc></set></array></atominfo>
 <structure name="initialpos">
 <crystal><varray name="basis"><v>3.3 0 0</v><v>0 3.3 0</v><v>0 0 3.3</v></varray></crystal>
 <varray name="positions"><v>0 0 0</v><v>0.5 0.5 0.5</v></varray></structure>
"""
VASPRUN_STEP = """ <calculation>
 <scstep><energy><i name="e_fr_energy">{energy}</i><i name="e_0_energy">-23.85</i></energy></scstep>
 <structure><crystal><varray name="basis"><v>3.3 0 0</v><v>0 3.3 0</v><v>0 0 3.3</v></varray></crystal>
 <varray name="positions"><v>0 0 0</v><v>0.5 0.5 {z}</v></varray></structure>
 <varray name="forces"><v>0.1 0.2 0.3</v><v>-0.1 -0.2 -0.3</v></varray>
 <varray name="stress"><v>10 4 6</v><v>4 20 5</v><v>6 5 30</v></varray>
 <energy><i name="e_fr_energy">{energy}</i><i name="e_0_energy">-23.85</i></energy>
 </calculation>
"""


def assert_vasp(configuration: Configuration, x: float, energy: float) -> None:
    assert configuration.species == ("Ta", "Ta")
    assert configuration.energy == pytest.approx(energy)
    assert np.allclose(configuration.positions, [[0, 0, 0], [1.65, 1.65, x]])
    assert np.allclose(configuration.cell, 3.3 * np.eye(3))
    assert np.allclose(configuration.forces, [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])
    assert np.allclose(configuration.stress, -0.1 * ase.units.GPa * PRESSURE)


def test_units_of_a_database_of_schnetpack(tmp_path: Path) -> None:
    atoms = labelled()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    plain = Atoms(atoms.symbols, atoms.positions / ase.units.Bohr, cell=atoms.cell / ase.units.Bohr, pbc=True)
    with connect(tmp_path / "a.db") as database:
        data = {
            "energy_U0": np.array([energy / ase.units.Hartree]),
            "forces": forces / ase.units.Hartree * ase.units.Bohr,
        }
        database.write(plain, data=data)
        units = {"energy_U0": "Ha", "forces": "Ha/Bohr", "gap": "Ha"}
        database.metadata = {"_property_unit_dict": units, "_distance_unit": "Bohr"}
    source = DataFile(str(tmp_path / "a.db"), "group", "a.db")
    findings: list[Finding] = []
    (configuration,) = FORMATS["ASE"].read(source, ReadOptions(names={"energy": "energy_U0"}), findings)
    assert configuration.energy == pytest.approx(energy, rel=1e-6)
    assert np.allclose(configuration.forces, forces, rtol=1e-6, atol=1e-9)
    assert np.allclose(configuration.positions, atoms.positions, rtol=1e-6)
    assert np.allclose(configuration.cell, atoms.cell.array, rtol=1e-6)
    assert any("units that the file states: Energy Ha, Forces Ha/Bohr" in line for line in summarize(findings))


def test_outcar_with_two_ionic_steps(tmp_path: Path) -> None:
    steps = [(1.65, -23.9), (1.70, -23.7)]
    text = OUTCAR_HEAD + "".join(OUTCAR_STEP.format(x=x, energy=energy) for x, energy in steps)
    (tmp_path / "OUTCAR").write_text(text)
    configurations = read("VASP", tmp_path / "OUTCAR")
    assert [item.id for item in configurations] == ["OUTCAR#0", "OUTCAR#1"]
    for configuration, step in zip(configurations, steps, strict=True):
        assert_vasp(configuration, *step)


@pytest.mark.parametrize("name", ["OUTCAR.gz", "vasprun.xml.gz"])
def test_compressed_vasp_files(tmp_path: Path, name: str) -> None:
    text = OUTCAR_HEAD + OUTCAR_STEP.format(x=1.65, energy=-23.9)
    if "xml" in name:
        text = f"{VASPRUN_HEAD}{VASPRUN_STEP.format(z=0.5, energy=-23.9)}</modeling>"
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    (configuration,) = read("VASP", tmp_path / name)
    assert_vasp(configuration, 1.65, -23.9)


@pytest.mark.parametrize("ending", ["</modeling>\n", "<calculation><structure>"])
def test_vasprun_with_two_ionic_steps_finished_or_cut_short(tmp_path: Path, ending: str) -> None:
    steps = [(0.5, -23.9), (0.6, -23.7)]
    text = VASPRUN_HEAD + "".join(VASPRUN_STEP.format(z=z, energy=energy) for z, energy in steps)
    (tmp_path / "vasprun.xml").write_text(text + ending)
    configurations = read("VASP", tmp_path / "vasprun.xml")
    assert len(configurations) == 2
    for configuration, (z, energy) in zip(configurations, steps, strict=True):
        assert_vasp(configuration, 3.3 * z, energy)


def test_vasprun_without_a_finished_step(tmp_path: Path) -> None:
    (tmp_path / "vasprun.xml").write_text(VASPRUN_HEAD + "<calculation><structure>")
    assert read("VASP", tmp_path / "vasprun.xml") == []
