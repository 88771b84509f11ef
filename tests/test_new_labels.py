"""The command ``new`` with data whose labels it does not find at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from fitsnap_nn.cli import main
from fitsnap_nn.settings import load_settings


def write_frames(path: Path, info: str, column: str, count: int = 3) -> None:
    """Write cells of copper, displaced at random, with an energy and a column of forces under given names."""
    frames = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        if info:
            atoms.info[info] = -3.0 * len(atoms) + 0.1 * seed
            atoms.arrays[column] = np.full((len(atoms), 3), 0.1 * seed)
        frames.append(atoms)
    write(path, frames)


def new(folder: Path, data: str, *options: str) -> int:
    return main(["new", str(folder / "x.in"), "--data", str(folder / data), *options])


def test_names_of_labels_are_listed_and_can_be_stated(tmp_path, capsys):
    write_frames(tmp_path / "a.xyz", "energy_xtb", "forces_xtb")
    assert new(tmp_path, "a.xyz") == 3
    message = capsys.readouterr().err
    assert "no labels found; keys of the file: energy_xtb, forces_xtb." in message
    assert "--set SCRAPER.energy_key=NAME" in message
    assert new(tmp_path, "a.xyz", "--set", "SCRAPER.energy_key=energy_xtb") == 0
    assert "labels read: energy = energy_xtb, forces = forces_xtb." in capsys.readouterr().out
    settings = load_settings(tmp_path / "x.in")
    assert settings.scraper.energy_key == "energy_xtb"
    assert (settings.calculator.energy, settings.calculator.force) == (True, True)
    assert main(["check", str(tmp_path / "x.in")]) == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("SCRAPER.energy_kye=a", "[SCRAPER] energy_kye — unknown key. Did you mean energy_key?"),
        ("SCRAPER.scraper=ASE", "the format of the data is recognised, and cannot be set here"),
        ("SCRAPER.property_array=Energy: parsec", "parsec"),
        ("PYTORCH.num_epochs=3", "only keys of [SCRAPER] can be set here. Edit the new file for others."),
    ],
)
def test_other_keys_are_refused(tmp_path, capsys, option, message):
    write_frames(tmp_path / "a.xyz", "energy", "forces")
    assert new(tmp_path, "a.xyz", "--set", option) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.in").exists()


def test_the_reason_why_the_only_file_is_not_read(tmp_path, capsys):
    write_frames(tmp_path / "a.xyz", "energy", "forces")
    six = (tmp_path / "a.xyz").read_text().replace("energy=", 'stress="0.1 0.2 0.3 0 0 0" energy=')
    (tmp_path / "a.xyz").write_text(six)
    assert new(tmp_path, "a.xyz") == 3
    message = capsys.readouterr().err
    assert "no file can be read" in message
    assert "stress has six components" in message
    assert "are read in the order" not in message
    assert new(tmp_path, "a.xyz", "--set", "SCRAPER.stress_order=xx yy zz xy yz zx") == 0
    assert main(["check", str(tmp_path / "x.in")]) == 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("pw.out", "     Program PWSCF v.7.2 starts on", "output of Quantum ESPRESSO. Convert it with `ase convert`"),
        ("cp2k.log", " CP2K| version string:", "output of CP2K. To convert it, see 'Other programs' in docs/data.md."),
        ("a.dump", "ITEM: TIMESTEP\n0\n", "a LAMMPS dump, which has no energies. Use dump style extxyz"),
        ("input.data", "begin\ncomment a\nlattice 1 0 0\n", "data of RuNNer or n2p2."),
        ("set.000/energy.npy", "", "data of DeePMD-kit."),
        ("notes.txt", "begin the day", "not a data file of a known format."),
    ],
)
def test_files_of_other_programs_are_named(tmp_path, capsys, name, text, message):
    (tmp_path / "run" / name).parent.mkdir(parents=True)
    (tmp_path / "run" / name).write_text(text)
    assert new(tmp_path, "run") == 3
    error = capsys.readouterr().err
    assert "no FitSNAP JSON files, XYZ files, VASP runs, ASE databases or trajectories" in error
    assert f"{name}: {message}" in error


def test_configurations_without_labels_do_not_shape_the_input(tmp_path, capsys):
    write_frames(tmp_path / "good.xyz", "energy", "forces")
    start = bulk("Cu", cubic=True)
    start.positions[1] = start.positions[0] + [0.2, 0.0, 0.0]
    write(tmp_path / "random.xyz", start)
    assert new(tmp_path, ".") == 0
    output = capsys.readouterr().out
    assert "1 configuration without energy, forces and stress: not considered here" in output
    assert "Cu-Cu 0.20 Å" not in output
    settings = load_settings(tmp_path / "x.in")
    assert [row.name for row in settings.groups.rows] == ["good"]
