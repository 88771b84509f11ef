"""Labels that a fit asks for and the data lack: refused, warned of, or counted, in `check` and before a fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from fitsnap_nn.cli import main

INPUT = """[BISPECTRUM]
type = Cu
[CALCULATOR]
{calculator}
[PYTORCH]
layer_sizes = num_desc 2 1
[SCRAPER]
scraper = {scraper}
{more}
[PATH]
dataPath = data
[OUTFILE]
potential = pot
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
* = 1.0 0.0 {weights}
"""
PERIODIC = 'Lattice="3 0 0 0 3 0 0 0 3"'
STRESS = 'stress="0.1 0 0 0 0.1 0 0 0 0.1"'


def frame(header: str, forces: str | None = "forces", cell: str = PERIODIC) -> str:
    columns = f":{forces}:R:3" if forces else ""
    atoms = "".join(f"Cu {x} 0 0 {force if forces else ''}\n" for x, force in ((0.0, "0 0 1"), (1.5, "0 0 -1")))
    return f"2\n{cell} Properties=species:S:1:pos:R:3{columns} {header}\n{atoms}"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """A function that writes data and input, runs a command, and returns its exit code and all that it printed."""
    monkeypatch.chdir(tmp_path)

    def run(
        *frames: str,
        weights: str = "1 1 0",
        more: str = "",
        calculator: str = "",
        command: str = "check",
        scraper: str = "XYZ",
    ) -> tuple[int, str]:
        if frames:
            Path("data").mkdir(exist_ok=True)
            # Different structures, so that nothing else is remarkable.
            moved = [text.replace("Cu 1.5", f"Cu {1.5 + 0.01 * k}") for k, text in enumerate(frames)]
            Path("data/g.xyz").write_text("".join(moved))
        text = INPUT.format(scraper=scraper, more=more, calculator=calculator, weights=weights)
        Path("a.in").write_text(text)
        code = main([command, "a.in"])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


@pytest.mark.parametrize("command", ["check", "fit"])
def test_a_fit_without_any_label_is_refused_with_both_sets_of_names(run: Any, command: str) -> None:
    code, out = run(frame("QM_energy=1", "QM_forces"), command=command)
    assert code == 3
    error = out.partition("error:")[2]
    for words in ("energy: free_energy, energy, total_energy", "REF_", "QM_energy, QM_forces", "[SCRAPER] energy_key"):
        assert words in error
    code, out = run(frame("QM_energy=1", "QM_forces"), more="energy_key = QM_energy")
    assert code == 0
    assert "warning" not in out
    assert "energy = QM_energy, forces = QM_forces" in out


@pytest.mark.parametrize(("weights", "calculator"), [("0 0 0", ""), ("1 0 1", "energy = 0\nstress = 0")])
def test_a_fit_whose_weights_are_all_zero_is_refused(run: Any, weights: str, calculator: str) -> None:
    code, out = run(frame("energy=1"), weights=weights, calculator=calculator)
    assert code == 3
    assert "no label has a weight above 0" in out
    assert "energy in 1, forces in 1" in out


def test_weights_of_all_frames_may_be_zero_too(run: Any) -> None:
    code, out = run(frame("energy=1 config_weight=0"))
    assert code == 3
    assert "nothing to fit" in out


@pytest.mark.parametrize(
    ("text", "weights", "name"),
    [
        (frame("my_energy=1"), "1 1 0", "energy"),
        (frame("energy=1", "f"), "1 1 0", "forces"),
        (frame("energy=1"), "1 1 1e-8", "stress"),
        (frame("REF_energy=1 " + STRESS, "REF_forces"), "1 1 1e-8", "stress"),
    ],
)
def test_a_label_that_is_missing_everywhere_is_a_warning(run: Any, text: str, weights: str, name: str) -> None:
    code, out = run(text, text, weights=weights)
    assert code == 0
    assert f"warning: none of 2 configurations with a weight for {name} has this label" in out


def test_complete_labels_and_labels_without_weight_are_not_remarkable(run: Any) -> None:
    for text, weights in ((frame(f"energy=1 {STRESS}"), "1 1 1e-8"), (frame("energy=1", None), "1 0 0")):
        code, out = run(text, text, weights=weights)
        assert code == 0
        assert "warning" not in out
        assert "note" not in out


def test_molecules_need_no_stress(run: Any) -> None:
    code, out = run(frame("energy=1", cell=""), weights="1 1 1e-8")
    assert code == 0
    assert "warning" not in out


def test_partly_missing_labels_are_counted(run: Any) -> None:
    code, out = run(frame("energy=1"), frame("energy=1", None), frame("energy=1 forces_weight=0"))
    assert code == 0
    assert "warning" not in out
    assert "note: 1 of 2 configurations with a weight for forces lack this label: g/g.xyz#1." in out


def test_a_configuration_without_labels_among_others_is_named(run: Any) -> None:
    Path("data/g").mkdir(parents=True)
    atoms = Atoms("Cu", cell=3 * np.eye(3), pbc=True)
    ase.io.write("data/g/POSCAR", Atoms("Cu", cell=3.1 * np.eye(3), pbc=True), format="vasp")
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.zeros((1, 3)))
    ase.io.write("data/g/a.traj", atoms)
    code, out = run(scraper="ASE")
    assert code == 0
    assert "warning: g/POSCAR: has no label" in out


def test_fields_of_json_under_other_names(run: Any) -> None:
    Path("data/g").mkdir(parents=True)
    content = {
        "AtomTypes": ["Cu"],
        "Positions": [[0, 0, 0]],
        "Lattice": (3 * np.eye(3)).tolist(),
        "TotalEnergy": 1.0,
        "Force": [[0, 0, 0]],
    }
    Path("data/g/1.json").write_text(json.dumps({"Dataset": {"Data": [content]}}))
    code, out = run(scraper="JSON")
    assert code == 3
    assert "energy: Energy; forces: Forces; stress: Stress" in out
    assert "TotalEnergy, Force" in out
    code, out = run(more="energy_key = TotalEnergy\nforces_key = Force", scraper="JSON")
    assert code == 0
    assert "warning" not in out


def test_a_name_that_no_file_has_is_an_error(run: Any) -> None:
    code, out = run(frame("energy=1"), more="energy_key = E_tot")
    assert code == 3
    assert "[SCRAPER] energy_key = E_tot: no configuration has this label" in out
    assert "forces = forces" in out


def test_stresses_that_nothing_explains(run: Any) -> None:
    size = 1.0  # eV/Å³; 13.5 eV per atom
    code, out = run(frame(f'energy=1 stress="{2 * size} 0 0 0 0 0 0 0 0"'), weights="1 1 1")
    assert code == 0
    assert "warning: g/g.xyz: the stress is out of proportion to the energy" in out
    code, out = run(frame(f'energy=1 stress="{size} 0 0 0 0 0 0 0 0"'), weights="1 1 1")
    assert "warning" not in out


def test_a_stress_of_exactly_zero_is_warned_of_once(run: Any) -> None:
    zero = frame('energy=1 stress="0 0 0 0 0 0 0 0 0"')
    code, out = run(zero, weights="1 1 1")
    assert code == 0
    assert "warning: g/g.xyz: every component of the stress is exactly 0" in out
    assert out.count("warning:") == 1
    code, out = run(zero, weights="1 1 0")
    assert (code, "warning" in out) == (0, False)


def test_a_stress_without_volume_is_a_note_if_it_has_no_weight(run: Any) -> None:
    slab = frame(f'energy=1 pbc="T T F" {STRESS}')
    for weights, kind in (("1 1 1", "warning"), ("1 1 0", "note")):
        code, out = run(slab, weights=weights)
        assert code == 0
        assert f"{kind}: g/g.xyz: the stress label is ignored" in out


@pytest.mark.parametrize(
    ("scraper", "key"),
    [
        ("VASP", "property_array = Stress: kB"),
        ("ASE", "property_array = Energy: Ry"),
        ("ASE", "stress_sign = pressure"),
        ("VASP", "energy_key = energy"),
        ("JSON", "virial_key = virial"),
    ],
)
def test_keys_that_contradict_the_format_are_refused(run: Any, scraper: str, key: str) -> None:
    code, out = run(frame("energy=1"), more=key, scraper=scraper)
    assert code == 2
    assert f"{key.split()[0]} — cannot be used with scraper = {scraper}" in out


def test_a_wrong_order_of_components_is_refused(run: Any) -> None:
    code, out = run(frame("energy=1"), more="stress_order = xx yy zz xy yz yx")
    assert code == 2
    assert "does not contain each of the six components once" in out
