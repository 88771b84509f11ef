"""OUTCAR and vasprun.xml: which steps are labels and with which numbers, against what was written and against ASE."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from vasp_text import HARD_STOP, NOT_REACHED, assert_step, outcar, remarks, steps, vasprun, write

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.properties import ENERGY
from fitsnap_nn.data.readers import FORMATS, Column, DataFile, ReadOptions, VaspOptions
from fitsnap_nn.errors import DataError

Writer = Callable[..., str]
DEFAULTS = VaspOptions()
BOTH = pytest.mark.parametrize(("name", "text_of"), [("OUTCAR", outcar), ("vasprun.xml", vasprun)])


def read(path: Path, options: VaspOptions = DEFAULTS) -> tuple[list[Configuration], list[Finding]]:
    findings: list[Finding] = []
    source = DataFile(str(path), "g", f"g/{path.name}")
    return list(FORMATS["VASP"].read(source, ReadOptions(vasp=options), findings)), findings


@BOTH
def test_labels_are_those_written_and_those_of_ase(tmp_path: Path, name: str, text_of: Writer) -> None:
    made = steps(3)
    path = write(tmp_path / name, text_of(made))
    configurations, findings = read(path)
    assert [one.id for one in configurations] == [f"g/{name}#{k}" for k in range(3)]
    frames = ase.io.read(path, ":", format="vasp-xml" if "xml" in name else "vasp-out")
    for configuration, step, atoms in zip(configurations, made, frames, strict=True):
        assert_step(configuration, step)
        assert np.allclose(configuration.positions, atoms.positions)
        assert configuration.energy == pytest.approx(atoms.calc.results["free_energy"], abs=1e-7)
        assert np.allclose(configuration.forces, atoms.calc.results["forces"])
        assert np.allclose(configuration.stress, atoms.get_stress(voigt=False), atol=1e-9)
    assert "vasp_use_TOTEN" in remarks(findings)
    assert not remarks(findings, warning=True)


@BOTH
def test_energy_without_entropy_on_request(tmp_path: Path, name: str, text_of: Writer) -> None:
    made = steps(1)
    (configuration,), findings = read(write(tmp_path / name, text_of(made)), VaspOptions(free_energy=False))
    assert configuration.energy == pytest.approx(made[0].energy + made[0].entropy_term)
    assert "derivatives of the free energy" in remarks(findings)


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
@BOTH
def test_compressed_files(
    tmp_path: Path, name: str, text_of: Writer, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    made = steps(1)
    path = tmp_path / f"{name}.{suffix}"
    path.write_bytes(compress(text_of(made).encode()))
    assert_step(read(path)[0][0], made[0])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="cannot be read"):
        read(path)


@BOTH
def test_unconverged_steps_are_left_out_or_kept_with_a_label(tmp_path: Path, name: str, text_of: Writer) -> None:
    made = steps(4)
    made[1].iterations = made[3].iterations = 60
    path = write(tmp_path / name, text_of(made))
    configurations, findings = read(path)
    assert [one.id for one in configurations] == [f"g/{name}#0", f"g/{name}#2"]
    left_out = [one.where for one in findings if "did not converge" in one.what and not one.warning]
    assert left_out == [f"g/{name}#1", f"g/{name}#3"]
    kept, findings = read(path, VaspOptions(unconverged_label="BAD"))
    assert [one.id for one in kept] == [f"g/{name}#0", f"g/{name}#1_BAD", f"g/{name}#2", f"g/{name}#3_BAD"]
    assert_step(kept[3], made[3])
    assert "kept" in remarks(findings)
    plain, _ = read(path, VaspOptions(unconverged_label="''"))
    assert [one.id for one in plain] == [f"g/{name}#{k}" for k in range(4)]


@pytest.mark.parametrize("ending", [NOT_REACHED, HARD_STOP])
def test_steps_that_the_outcar_calls_unconverged(tmp_path: Path, ending: str) -> None:
    made = steps(2)
    made[0].ending = ending
    configurations, findings = read(write(tmp_path / "OUTCAR", outcar(made)))
    assert [one.id for one in configurations] == ["g/OUTCAR#1"]
    assert "g/OUTCAR#0: the electronic loop did not converge" in remarks(findings)


@pytest.mark.parametrize(("changes", "count"), [((-9e-5, 8e-5), 1), ((-9e-5, 2e-4), 0), ((2e-4, 1e-6), 0)])
def test_convergence_in_the_last_iteration_that_nelm_allows(
    tmp_path: Path, changes: tuple[float, float], count: int
) -> None:
    made = [replace(step, iterations=60, changes=changes) for step in steps(1)]
    assert len(read(write(tmp_path / "OUTCAR", outcar(made, EDIFF=1e-4)))[0]) == count


@BOTH
def test_nelm_of_one(tmp_path: Path, name: str, text_of: Writer) -> None:
    made = [replace(step, iterations=1) for step in steps(1)]
    assert read(write(tmp_path / name, text_of(made, NELM=1)))[0] == []
    # ALGO = None and Exact: one iteration is all there is, which says nothing about convergence.
    for algorithm in (2, 90):
        configurations, findings = read(write(tmp_path / name, text_of(made, NELM=1, IALGO=algorithm)))
        assert len(configurations) == 1
        assert "one-shot" in remarks(findings, warning=True)
    assert read(write(tmp_path / name, text_of(steps(1), IALGO=90)))[1][-1].warning is False


@BOTH
def test_fixed_charge_density_is_not_self_consistent(tmp_path: Path, name: str, text_of: Writer) -> None:
    configurations, findings = read(write(tmp_path / name, text_of(steps(1), ICHARG=11)))
    assert not configurations
    assert "ICHARG" in remarks(findings)


def test_iterations_of_the_linear_response_do_not_count(tmp_path: Path) -> None:
    made = steps(1)
    (configuration,), _ = read(write(tmp_path / "vasprun.xml", vasprun(made, response=100)))
    assert_step(configuration, made[0])


@BOTH
def test_external_pressure_is_not_part_of_the_energy(tmp_path: Path, name: str, text_of: Writer) -> None:
    made = steps(1)
    (configuration,), _ = read(write(tmp_path / name, text_of(made, PSTRESS=500.0)))
    assert_step(configuration, made[0])


@BOTH
def test_only_the_last_of_repeated_steps(tmp_path: Path, name: str, text_of: Writer) -> None:
    made = steps(3)
    (configuration,), findings = read(write(tmp_path / name, text_of(made, IBRION=-1, NSW=3)))
    assert_step(configuration, made[2])
    assert "IBRION = -1" in remarks(findings)


@BOTH
def test_stress_that_was_not_computed(tmp_path: Path, name: str, text_of: Writer) -> None:
    (configuration,), findings = read(write(tmp_path / name, text_of(steps(1), ISIF=1)))
    assert configuration.stress is None
    assert "ISIF" in remarks(findings)


@BOTH
def test_results_of_a_machine_learned_force_field_are_no_labels(tmp_path: Path, name: str, text_of: Writer) -> None:
    made = steps(4)
    made[0].result = made[1].result = "dft and ml" if name == "OUTCAR" else "dft"
    made[2].result = "ml"
    configurations, findings = read(write(tmp_path / name, text_of(made)))
    for configuration, step in zip(configurations, (made[0], made[1], made[3]), strict=True):
        assert_step(configuration, step)
    assert f"({3 if name == 'OUTCAR' else 1} steps)" in remarks(findings)
    assert "ML_LMLFF" in remarks(findings)
    made = [replace(step, result="ml") for step in made]
    configurations, findings = read(write(tmp_path / name, text_of(made)))
    assert not configurations
    assert "all ionic steps are of a machine-learned force field" in remarks(findings, warning=True)


def test_columns_without_the_van_der_waals_correction_are_skipped(tmp_path: Path) -> None:
    made = steps(2)
    for configuration, step in zip(read(write(tmp_path / "OUTCAR", outcar(made, vdw=True)))[0], made, strict=True):
        assert_step(configuration, step)


def test_more_than_ten_species(tmp_path: Path) -> None:
    """VASP prints ten numbers of atoms; the eleventh is the rest of the atoms, twelve species are ambiguous."""
    eleven = "H2HeLi3BeBCNOFNeNa5"
    made = steps(1, eleven)
    assert_step(read(write(tmp_path / "OUTCAR", outcar(made)))[0][0], made[0])
    made = steps(1, f"{eleven}Mg2")
    with pytest.raises(DataError, match=r"12 potentials \(H He .* Mg\).* 10 numbers for 13 of 20 atoms.*vasprun\.xml"):
        read(write(tmp_path / "OUTCAR", outcar(made)))
    assert_step(read(write(tmp_path / "vasprun.xml", vasprun(made)))[0][0], made[0])


def test_species_that_repeat(tmp_path: Path) -> None:
    made = steps(1, "TaOTa2O")
    assert_step(read(write(tmp_path / "OUTCAR", outcar(made)))[0][0], made[0])


def test_outcar_without_positions(tmp_path: Path) -> None:
    text = "\n".join(line for line in outcar(steps(1)).splitlines() if "POSITION" not in line)
    with pytest.raises(DataError, match=r"step 1 .*NWRITE = 0.*vasprun\.xml"):
        read(write(tmp_path / "OUTCAR", text))


def test_numbers_that_touch_and_numbers_that_overflow(tmp_path: Path) -> None:
    made = steps(1)
    made[0].atoms.positions[:, 1] = -12345.12345
    made[0].forces[0, 0] = 123456.5
    path = write(tmp_path / "OUTCAR", outcar(made))
    assert_step(read(path)[0][0], made[0])
    write(path, path.read_text().replace("123456.500000", "*" * 13))
    with pytest.raises(DataError, match=r"step 1 .*\*\*\*\*\*"):
        read(path)


@pytest.mark.parametrize("joint", ["", "\n", "\n\n"])
@BOTH
def test_several_runs_in_one_file(tmp_path: Path, name: str, text_of: Writer, joint: str) -> None:
    first, second = steps(2, "Ta3"), steps(2, "W3", seed=1)
    third = steps(1, "Ta2O4", seed=2)
    third[0].iterations = 20
    text = text_of(first).rstrip() + joint + text_of(second, end=False) + text_of(third, NELM=20)
    configurations, findings = read(write(tmp_path / name, text))
    assert [one.id for one in configurations] == [f"g/{name}#{k}" for k in range(4)]
    for configuration, step in zip(configurations, first + second, strict=True):
        assert_step(configuration, step)
    assert "several runs" in remarks(findings)
    assert f"g/{name}#4: the electronic loop" in remarks(findings)


def test_a_second_run_without_its_first_line(tmp_path: Path) -> None:
    first, second = steps(1, "Ta3"), steps(1, "W3", seed=1)
    text = outcar(first) + outcar(second).partition("\n")[2].replace(" INCAR:", "")
    for configuration, step in zip(read(write(tmp_path / "OUTCAR", text))[0], first + second, strict=True):
        assert_step(configuration, step)


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.6, 0.8, 0.9, 0.97, 0.99])
@BOTH
def test_run_that_was_cut_short_anywhere(tmp_path: Path, name: str, text_of: Writer, fraction: float) -> None:
    """Steps read from a truncated file equal those of the whole file, and the truncation is reported."""
    made = steps(3)
    text = text_of(made, end=False)
    path = write(tmp_path / name, text[: int(fraction * len(text))])
    try:
        configurations, findings = read(path)
    except DataError:
        assert fraction < 0.1  # before anything that identifies a vasprun.xml
        return
    for configuration, step in zip(configurations, made, strict=False):
        assert_step(configuration, step)
    assert len(configurations) < 3
    said = remarks(findings) if configurations else remarks(findings, warning=True)
    assert ("cut short" if configurations else "no ionic step was finished") in said
    with pytest.raises(DataError, match=r"cut short: .*vasp_ignore_incomplete"):
        read(path, VaspOptions(ignore_incomplete=False))


def test_user_defined_properties_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "OUTCAR", outcar(steps(1)))
    options = ReadOptions(columns=[Column(ENERGY, "gap")])
    with pytest.raises(DataError, match=r"OUTCAR: .* not gap of \[TARGETS\]"):
        list(FORMATS["VASP"].read(DataFile(str(path), "g", "g"), options, []))


def test_file_without_nelm(tmp_path: Path) -> None:
    text = "\n".join(line for line in outcar(steps(1)).splitlines() if "NELM" not in line)
    configurations, findings = read(write(tmp_path / "OUTCAR", text))
    assert len(configurations) == 1
    assert "NELM is not in the file" in remarks(findings)


def test_vasprun_that_is_damaged_in_the_middle(tmp_path: Path) -> None:
    made = steps(3)
    head, _, tail = vasprun(made).partition("</calculation>")
    (configuration,), findings = read(write(tmp_path / "vasprun.xml", f"{head}</calculation>\n<\0{tail}"))
    assert_step(configuration, made[0])
    assert "damaged file" in remarks(findings, warning=True)
