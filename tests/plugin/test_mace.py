"""The ML-IAP object of mace-torch as it is, against its ASE calculator."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from decks import COLUMNS, crystal, last_dump, start, write_deck
from processes import run

HERE = Path(__file__).parent
BAR_PER_EV = 1.6021765e6  # of 1 Å³, as LAMMPS has it


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, plugin_environment: None, mace: None) -> Path:
    """A folder with mace.pt and ase.npz."""
    folder = tmp_path_factory.mktemp("mace")
    made = run([sys.executable, str(HERE / "mace_case.py"), str(folder)], folder, timeout=60)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_same_as_ase(case: Path, ranks: int) -> None:
    atoms = crystal(3)
    pair = [f"pair_style mliap unified {case / 'mace.pt'} 0", "pair_coeff * * Ar Kr"]
    dump = [f"dump atoms all custom 1 {ranks}.dump {COLUMNS}", "dump_modify atoms sort id format float %.17g"]
    deck = write_deck(case / f"{ranks}.deck", [*start(case / "atoms.data", atoms, pair), *dump, "run 0"])
    ended = run(["mpirun", "-np", str(ranks), "lmp", "-in", str(deck), "-log", "none"], case, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found, ase = last_dump(case / f"{ranks}.dump"), np.load(case / "ase.npz")
    stress = found[:, 9:].sum(0) / BAR_PER_EV / atoms.get_volume()
    assert np.abs(found[:, 8] - ase["energies"]).max() < 1e-11
    assert np.abs(found[:, 5:8] - ase["forces"]).max() < 1e-11
    assert np.abs(stress[[0, 1, 2, 5, 4, 3]] - ase["stress"]).max() < 1e-8
