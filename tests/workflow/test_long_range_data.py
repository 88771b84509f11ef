"""Data that long-range interactions cannot describe are found when they are read, by ``check`` too."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from fitsnap_nn.errors import DataError
from fitsnap_nn.settings import load_settings
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.workflow.preparation import read_dataset

INPUT = """\
[CALCULATOR]
calculator = LAMMPSGRAPH
elements = Na Cl
energy = 1
force = 1
stress = 0
[PYTORCH]
model = NANOPET
[NANOPET]
long_range = {}
[SCRAPER]
scraper = XYZ
[PATH]
dataPath = {}
[REFERENCE]
pair_style = zero 4.0
pair_coeff = * *
[GROUPS]
group_sections = name training_size testing_size eweight fweight
group_types = str float float float float
ions = 1.0 0.0 1 1
"""


def test_a_wire(tmp_path: Path) -> None:
    frames = []
    for pbc in ([True] * 3, [True, True, False], [False] * 3, [False, True, False]):
        atoms = Atoms("NaCl", positions=[[0.0, 0.0, 0.0], [2.4, 0.0, 0.0]], cell=[9.0, 9.0, 9.0], pbc=pbc)
        atoms.calc = SinglePointCalculator(atoms, energy=-8.0, forces=np.zeros((2, 3)))
        frames.append(atoms)
    ase.io.write(tmp_path / "ions.xyz", frames)
    for long_range in (0, 1):
        (tmp_path / f"{long_range}.in").write_text(INPUT.format(long_range, tmp_path), encoding="utf-8")
    assert len(read_dataset(load_settings(tmp_path / "0.in"), Ranks()).configurations) == 4
    with pytest.raises(DataError, match=r"ions/ions.xyz#3: long_range = 1 needs three periodic directions"):
        read_dataset(load_settings(tmp_path / "1.in"), Ranks())
