"""Labels under the names of other programs: which are read, in which unit, with which sign, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.io
import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding, summarize
from fitsnap_nn.data.readers import FORMATS, DataFile, ReadOptions
from fitsnap_nn.errors import DataError

LATTICE = 'Lattice="2 0 0 0 3 0 0 0 4"'
VOLUME = 24.0
TENSOR = 0.01 * np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
FORCE = (0.5, -1.0, 2.0)


def nine(tensor: Any) -> str:
    return '"' + " ".join(str(number) for number in np.ravel(tensor)) + '"'


def frame(header: str, species: str = "Cu", **columns: tuple[float, ...]) -> str:
    properties = "".join(f":{name}:R:{len(row)}" for name, row in columns.items())
    row = " ".join(str(number) for values in columns.values() for number in values)
    return f"1\n{LATTICE} Properties=species:S:1:pos:R:3{properties} {header}\n{species} 0 0 0 {row}\n"


def read(
    tmp_path: Path, *frames: str, findings: list[Finding] | None = None, kind: str = "XYZ", **options: Any
) -> list[Configuration]:
    path = tmp_path / "a.xyz"
    path.write_text("".join(frames))
    found = [] if findings is None else findings
    return list(FORMATS[kind].read(DataFile(str(path), "group", path.name), ReadOptions(**options), found))


FAMILIES = [
    ("REF_energy=-2 REF_stress=" + nine(TENSOR), "REF_forces"),
    ("dft_energy=-2 dft_virial=" + nine(-VOLUME * TENSOR), "dft_force"),
    ("DFT_energy=-2 DFT_virials=" + nine(-VOLUME * TENSOR), "DFT_forces"),
    ("total_energy=-2 stress=" + nine(TENSOR), "forces"),
    ("Energy=-2 Virial=" + nine(-VOLUME * TENSOR), "force"),
    ("free_energy=-2 energy=-1.5 stress=" + nine(TENSOR), "forces"),
    ("Timestep=0 Potential_energy=-2 Stress=" + nine(-TENSOR / ase.units.bar), "forces"),
]


@pytest.mark.parametrize("kind", ["XYZ", "ASE"])
@pytest.mark.parametrize(("header", "forces"), FAMILIES)
def test_names_of_mace_quip_nequip_gpumd_ase_and_lammps(tmp_path: Path, header: str, forces: str, kind: str) -> None:
    (configuration,) = read(tmp_path, frame(header, **{forces: FORCE}), kind=kind)
    assert configuration.energy == -2.0
    assert np.array_equal(configuration.forces, [FORCE])
    assert np.allclose(configuration.stress, TENSOR, rtol=1e-6)


def test_usual_names_need_no_note_and_others_are_told(tmp_path: Path) -> None:
    findings: list[Finding] = []
    read(tmp_path, frame("energy=1 stress=" + nine(TENSOR), forces=FORCE), findings=findings)
    read(tmp_path, frame("energy=1 free_energy=1"), findings=findings)
    assert findings == []
    read(tmp_path, frame("energy=1 free_energy=2"), findings=findings)
    assert "energy = free_energy (free energy, consistent with the forces); not read: energy" in findings.pop().what
    read(tmp_path, frame("REF_energy=1 energy=2 my_stress=3", REF_forces=FORCE, forces=(1, 1, 1)), findings=findings)
    (note,) = findings
    assert not note.warning
    assert "energy = REF_energy, forces = REF_forces; not read: " in note.what
    assert {"energy", "my_stress", "forces"} <= set(note.what.rstrip(".").partition("not read: ")[2].split(", "))
    findings.clear()
    read(tmp_path, frame("QM_energy=1", QM_forces=FORCE), findings=findings)
    assert summarize(findings) == [f"{tmp_path}/a.xyz: no labels found; keys of the file: QM_energy, QM_forces."]


def test_charges_that_differ_are_told(tmp_path: Path) -> None:
    findings: list[Finding] = []
    read(tmp_path, frame("energy=1 charge=1 spin=0"), frame("energy=1 charge=-1 spin=0"), findings=findings)
    (note,) = findings
    assert not note.warning
    assert note.what.startswith("charge has the values -1, 1, which models do not use")


def test_labels_of_another_method_never_fill_up_a_frame(tmp_path: Path) -> None:
    other = {"forces": FORCE}
    first, second, third = read(
        tmp_path,
        frame("energy=1 stress=" + nine(TENSOR), **other),
        frame("REF_energy=-2 energy=1 stress=" + nine(TENSOR), REF_forces=(0.0, 0.0, 0.0), **other),
        frame("REF_energy=-3", **other),
    )
    assert dict(first.labels) == {}
    assert (second.energy, second.stress) == (-2.0, None)
    assert np.array_equal(second.forces, np.zeros((1, 3)))
    assert (third.energy, third.forces) == (-3.0, None)


def test_energies_of_two_kinds_are_not_mixed_within_a_file(tmp_path: Path) -> None:
    both, only = frame("energy=1 free_energy=2"), frame("energy=1")
    assert [one.energy for one in read(tmp_path, both, both)] == [2.0, 2.0]
    assert [one.energy for one in read(tmp_path, both, only)] == [1.0, 1.0]
    assert [one.energy for one in read(tmp_path, frame("free_energy=2"), only)] == [2.0, None]


def test_calculator_results_beside_reference_labels_in_other_formats(tmp_path: Path) -> None:
    atoms = Atoms("Cu", cell=np.eye(3), pbc=True, info={"REF_energy": -7.0, "REF_stress": np.arange(6.0)})
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=[FORCE])
    ase.io.write(tmp_path / "a.traj", atoms)
    findings: list[Finding] = []
    source = DataFile(str(tmp_path / "a.traj"), "group", "a.traj")
    (configuration,) = FORMATS["ASE"].read(source, ReadOptions(), findings)
    assert (configuration.energy, configuration.forces) == (-7.0, None)
    assert np.array_equal(configuration.stress, [[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    assert "not read: energy, forces" in findings[0].what


def test_names_from_the_input(tmp_path: Path) -> None:
    text = frame("QM_energy=-2 energy=1 QM_virial=" + nine(-VOLUME * TENSOR), QM_forces=FORCE, forces=(0, 0, 0))
    (configuration,) = read(tmp_path, text, names={"energy": "QM_energy"})
    assert configuration.energy == -2.0
    assert np.array_equal(configuration.forces, [FORCE])
    assert np.allclose(configuration.stress, TENSOR)
    suffixed = frame("energy_xtb=-2 energy=1 virial_xtb=" + nine(-VOLUME * TENSOR), forces_xtb=FORCE, forces=(0, 0, 0))
    (other,) = read(tmp_path, suffixed, names={"energy": "energy_xtb"})
    assert other.energy == configuration.energy
    assert np.array_equal(other.forces, configuration.forces)
    assert np.array_equal(other.stress, configuration.stress)
    (other,) = read(tmp_path, frame("energy_U0=-2 energy=1", forces=FORCE), names={"energy": "energy_U0"})
    assert other.energy == configuration.energy
    assert np.array_equal(other.forces, configuration.forces)
    (configuration,) = read(tmp_path, text, names={"energy": "QM_energy", "forces": "forces"})
    assert np.array_equal(configuration.forces, [[0, 0, 0]])
    (configuration,) = read(tmp_path, text, names={"energy": "energy"})
    assert (configuration.energy, configuration.stress) == (1.0, None)
    (configuration,) = read(tmp_path, frame("e0=5", forces=FORCE), names={"energy": "E0"})
    assert configuration.energy == 5.0
    assert np.array_equal(configuration.forces, [FORCE])


def test_a_named_stress_leaves_the_virial_alone(tmp_path: Path) -> None:
    text = frame(f"energy=1 stress={nine(TENSOR)} virial={nine(VOLUME * TENSOR)}")
    with pytest.raises(DataError, match=r"a\.xyz: stress and virial have opposite signs"):
        read(tmp_path, text)
    (configuration,) = read(tmp_path, text, names={"stress": "stress"})
    assert np.allclose(configuration.stress, TENSOR)
    (configuration,) = read(tmp_path, text, names={"virial": "virial"})
    assert np.allclose(configuration.stress, -TENSOR)
    with pytest.raises(DataError, match="stress and virial differ"):
        read(tmp_path, frame(f"stress={nine(TENSOR)} virial={nine(-2 * VOLUME * TENSOR)}"))
    read(tmp_path, frame(f"stress={nine(TENSOR)} virial={nine(-VOLUME * TENSOR)}"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (frame("energy=1", forces=FORCE, force=(1, 2, 3)), "force and forces have different values.*forces_key"),
        (frame("energy=1 Energy=2"), "Energy and energy have different values.*energy_key"),
        (frame("energy=1 total_energy=2"), "total_energy and energy have different values"),
        ("1\n i = 0, time = 0.000, E = -17.2\nCu 0 0 0\n", "trajectory of CP2K"),
        (frame("Step=0 Time=0.0 Energy=-17"), "CP2K, whose Energy is in hartree"),
        (frame("REF_stress=none"), "stress is not an array of numbers"),
        (f"1\n{LATTICE} Properties=pos:R:3 energy=1\n0 0 0\n", "does not name the elements"),
        (frame("energy=1", "Cu_pv"), r"a\.xyz, configuration 0: 'Cu_pv' is not a chemical element"),
        (frame("energy=1", "X"), "'X' is not a chemical element"),
    ],
)
def test_what_cannot_be_read_without_a_guess_is_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(DataError, match=what):
        read(tmp_path, text)


def test_tensors_per_atom_are_no_stress_of_the_frame(tmp_path: Path) -> None:
    (configuration,) = read(tmp_path, frame("energy=1", virials=tuple(range(9))))
    assert configuration.stress is None


@pytest.mark.parametrize(("species", "element"), [("D", "H"), ("t", "H"), ("Cu1", "Cu"), ("FE2", "Fe"), ("cu", "Cu")])
@pytest.mark.parametrize("properties", [True, False])
def test_isotopes_and_numbered_labels(tmp_path: Path, species: str, element: str, properties: bool) -> None:
    findings: list[Finding] = []
    text = frame("energy=1", species) if properties else f"1\n{LATTICE} energy=1\n{species} 0 0 0\n"
    (configuration,) = read(tmp_path, text, findings=findings)
    assert configuration.species == (element,)
    assert [f"{species} as {element}" in one.what for one in findings] == ([] if species == "cu" else [True])


SIX = '"1 2 3 4 5 6"'
ASE_ORDER = [[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]]
VASP_ORDER = [[1.0, 4.0, 6.0], [4.0, 2.0, 5.0], [6.0, 5.0, 3.0]]


def test_six_components_need_an_order(tmp_path: Path) -> None:
    findings: list[Finding] = []
    (configuration,) = read(tmp_path, frame(f"energy=1 REF_energy=1 REF_stress={SIX}"), findings=findings)
    assert np.array_equal(configuration.stress, ASE_ORDER)  # MACE's and ASE's own
    assert any("xx yy zz yz xz xy" in one.what for one in findings)
    for name in ("stress", "virial", "dft_virial"):
        text = frame(f"{name}={SIX}")
        with pytest.raises(DataError, match=r"has six components, whose order is not fixed.*stress_order"):
            read(tmp_path, text)
        (configuration,) = read(tmp_path, text, stress_order=["xx", "yy", "zz", "xy", "yz", "zx"])
        scale = 1.0 if name == "stress" else -1.0 / VOLUME
        assert np.allclose(configuration.stress, scale * np.array(VASP_ORDER))


@pytest.mark.parametrize("sign", ["tension", "pressure", "format"])
def test_a_unit_changes_the_unit_and_a_sign_the_sign(tmp_path: Path, sign: str) -> None:
    findings: list[Finding] = []
    text = frame(f"energy=1 stress={nine(TENSOR / ase.units.GPa)}")
    (configuration,) = read(tmp_path, text, findings=findings, units={"Stress": "GPa"}, stress_sign=sign)
    assert np.allclose(configuration.stress, (-1.0 if sign == "pressure" else 1.0) * TENSOR, rtol=1e-7)
    assert f"read in GPa as {'a pressure' if sign == 'pressure' else 'positive in tension'}" in findings[0].what
    (configuration,) = read(tmp_path, frame("virial=" + nine(-VOLUME * TENSOR)), stress_sign=sign)
    assert np.allclose(configuration.stress, TENSOR)


KCAL = ase.units.kcal / ase.units.mol


@pytest.mark.parametrize(
    ("header", "energy", "force", "stress"),
    [
        (
            "energy-unit=hartree force-unit=hartree/bohr stress-unit=GPa",
            ase.units.Hartree,
            ase.units.Hartree / ase.units.Bohr,
            ase.units.GPa,
        ),
        ("energy_unit=kcal/mol forces_unit=kcal/mol/angstrom stress_units=kbar", KCAL, KCAL, 1e3 * ase.units.bar),
        ("unit_energy=meV unit_force=meV/A Stress-Unit=eV/A^3", 1e-3, 1e-3, 1.0),
        ("units=metal", 1.0, 1.0, ase.units.bar),
        ("energy_unit=eV", 1.0, 1.0, 1.0),
        (
            'units="_JSON ' + r'{\"energy\": \"meV\", \"forces\": \"meV/Ang\", \"stress\": \"GPa\", \"time\": \"fs\"}"',
            1e-3,
            1e-3,
            ase.units.GPa,
        ),
    ],
)
def test_units_in_the_header(tmp_path: Path, header: str, energy: float, force: float, stress: float) -> None:
    findings: list[Finding] = []
    text = frame(f"energy=-3 stress={nine(TENSOR)} {header}", forces=FORCE)
    (configuration,) = read(tmp_path, text, findings=findings)
    assert configuration.energy == pytest.approx(-3 * energy, rel=1e-6)
    assert np.allclose(configuration.forces, force * np.array([FORCE]), rtol=1e-6)
    assert np.allclose(configuration.stress, stress * TENSOR, rtol=1e-6)
    assert any(one.what.startswith("units that the file states: ") for one in findings)


def test_lengths_and_virials_in_other_units(tmp_path: Path) -> None:
    units = "length-unit=bohr energy-unit=Ry virial-unit=Ry force-unit=Ry/bohr"
    (configuration,) = read(tmp_path, frame(f"energy=1 {units} virial={nine(TENSOR)}", forces=FORCE))
    assert np.allclose(configuration.cell, ase.units.Bohr * np.diag([2.0, 3.0, 4.0]))
    size = -ase.units.Rydberg / (VOLUME * ase.units.Bohr**3)
    assert np.allclose(configuration.stress, size * TENSOR, rtol=1e-6)
    assert np.allclose(configuration.forces, ase.units.Rydberg / ase.units.Bohr * np.array([FORCE]), rtol=1e-6)


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("energy=1 energy-unit=eV/atom", "energy-unit: unknown energy unit 'eV/atom'"),
        ("energy=1 energy-unit=hartree", "unit of Energy is hartree, but that of Forces is not stated"),
        ("energy=1 length-unit=bohr", "unit of Positions is bohr, but that of Energy, Forces is not stated"),
        ("energy=1 Ha", "the unit 'Ha' is not part of an entry"),
        ("energy=1 units=hartree", "does not say which quantity"),
        ("energy=1 energy-unit=eV energy_unit=Ry", "contradicts eV"),
        ('energy=1 units="_JSON ' + r'{\"energy\": \"parsec\"}"', "units: unknown energy unit 'parsec'"),
    ],
)
def test_stated_units_that_leave_a_doubt_are_refused(tmp_path: Path, header: str, what: str) -> None:
    with pytest.raises(DataError, match=rf"a\.xyz, configuration 0: .*{what}"):
        read(tmp_path, frame(header, forces=FORCE))


def test_a_unit_of_the_input_that_contradicts_the_header_is_warned_of(tmp_path: Path) -> None:
    findings: list[Finding] = []
    (configuration,) = read(tmp_path, frame("energy=1 energy-unit=eV"), findings=findings, units={"Energy": "Ry"})
    assert configuration.energy == pytest.approx(ase.units.Rydberg)
    assert [one.what for one in findings if one.warning] == [
        "[SCRAPER] property_array = Energy: Ry replaces the unit eV of the header."
    ]


def test_fitsnaps_own_files_are_refused_until_unit_and_sign_are_stated(tmp_path: Path) -> None:
    """FitSNAP writes bar and the sign of a pressure, without a unit."""
    text = frame(f"energy=-3 stress={nine(-TENSOR / ase.units.bar)}", forces=FORCE)
    with pytest.raises(DataError, match=r"Stress: bar and stress_sign = pressure for files of FitSNAP"):
        read(tmp_path, text)
    (configuration,) = read(tmp_path, text, units={"Stress": "bar"}, stress_sign="pressure")
    assert np.allclose(configuration.stress, TENSOR, rtol=1e-6)


def test_strong_compression_is_not_refused(tmp_path: Path) -> None:
    """As in scans of the volume: 3 TPa at 90 eV per atom of compression work, and an energy that has risen by 30 eV."""
    strong = frame("energy=27 stress=" + nine(-18.7 * np.eye(3)))
    assert len(read(tmp_path, frame("energy=-3"), strong)) == 2
    with pytest.raises(DataError, match=r"configuration 1: the stress is 3e\+03 GPa"):
        read(tmp_path, frame("energy=-3"), frame("energy=-2.9 stress=" + nine(-18.7 * np.eye(3))))


@pytest.mark.parametrize(
    ("header", "weights"),
    [
        ("config_weight=2", (2.0, 2.0, 2.0)),
        ("config_weight=2 config_energy_weight=3 config_forces_weight=5 config_stress_weight=0.5", (6.0, 10.0, 1.0)),
        ("energy_weight=3 force_weight=5", (3.0, 5.0, 1.0)),
        ("forces_weight=5 config_virials_weight=7", (1.0, 5.0, 7.0)),
    ],
)
def test_weights_of_a_frame_multiply(tmp_path: Path, header: str, weights: tuple[float, ...]) -> None:
    findings: list[Finding] = []
    text = frame(f"energy=1 stress={nine(TENSOR)} {header}", forces=FORCE)
    (configuration,) = read(tmp_path, text, findings=findings)
    assert tuple(configuration.weight(name) for name in ("energy", "forces", "stress")) == weights
    (note,) = findings
    assert header.split("=")[0] in note.what


def test_a_label_of_weight_zero_is_unknown(tmp_path: Path) -> None:
    text = frame("REF_energy=0.0 config_energy_weight=0", REF_forces=FORCE)
    assert set(read(tmp_path, text)[0].labels) == {"forces"}
    assert set(read(tmp_path, frame("REF_energy=0.0 config_weight=0", REF_forces=FORCE))[0].labels) == set()


def test_weights_under_names_of_the_input(tmp_path: Path) -> None:
    keys = {"all": "w", "forces": "wf"}
    (configuration,) = read(tmp_path, frame("energy=1 w=2 wf=3 force_weight=9", forces=FORCE), weight_names=keys)
    assert (configuration.weight("energy"), configuration.weight("forces")) == (2.0, 6.0)


@pytest.mark.parametrize(
    ("header", "columns", "what"),
    [
        ("config_weight=-1", {}, "config_weight is -1. A weight must be"),
        ("force_weight=nan", {}, "force_weight is nan"),
        ("energy_weight=1 config_energy_weight=2", {}, "contradict each other"),
        ("energy=1", {"forces_weight": (0.5,)}, r"forces_weight has shape \(1,\).*weights per atom are not supported"),
    ],
)
def test_weights_that_are_refused(tmp_path: Path, header: str, columns: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError, match=rf"a\.xyz: .*{what}"):
        read(tmp_path, frame(header, **columns))
