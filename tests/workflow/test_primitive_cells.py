"""Supercells that are trained as primitive cells: the same training to rounding, with fewer atoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from processes import mpirun
from small_fit import fit, log_of

INPUT = """\
[CALCULATOR]
calculator = LAMMPSGRAPH
elements = Cu Au
energy = 1
force = 1
stress = 1

[PYTORCH]
model = CUSTOM
optimizer = Adam
learning_rate = 5e-3
num_epochs = 3
batch_size = 3
dtype_setting = 2
manual_seed_flag = 1
seed = 3

[CUSTOM]
cutoff = 4.2
layer_sizes = num_desc 6 1
multi_element_option = 3

[SCRAPER]
scraper = XYZ

[PATH]
dataPath = data.xyz

[OUTFILE]
potential = pot

[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
group_types = str float float float float float
random_sampling = 1
random_seed = 5
strained = 8 2 2 3 0.4
moving   = 3 1 1 2 0.3
"""


def labelled(atoms: Atoms, group: str) -> Atoms:
    atoms.calc = EMT()
    results = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.info["config_type"] = group
    return atoms


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Input for sheared supercells of Cu3Au, copper with internal strain, and disordered cells."""
    frames = []
    for number in range(14):
        strain = np.eye(3) + 0.04 * np.random.default_rng(number).uniform(-1, 1, (3, 3))
        atoms = bulk("Cu", "fcc", 3.7, cubic=True)
        if number % 2:
            atoms.symbols[0] = "Au"
        else:
            atoms.positions[0] += [0.1, 0.03, -0.05]
        atoms = atoms.repeat((1, 2, 1 + number % 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        if number >= 10:
            atoms.rattle(0.1, seed=number)
        frames.append(labelled(atoms, "moving" if number >= 10 else "strained"))
    write(tmp_path / "data.xyz", frames)
    found = tmp_path / "Cu.in"
    found.write_text(INPUT, encoding="utf-8")
    return found


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"loss": "huber", "huber_delta": "energy 0.01 forces 0.1 stress 1000", "gradient_clip": 5.0, "balance": 1},
        {"loss_reduction": "sum", "optimizer": "SOAP", "learning_rate": 1e-3},
        {"stage_two": 1, "stage_two_start": 1, "stage_two_force_weight": 7.0, "batch_size": 2},
    ],
)
def test_training_is_the_same(path: Path, keys: dict[str, object]) -> None:
    small, large = (fit(path, f"out{flag}", primitive_cells=flag, **keys) for flag in (1, 0))
    note = "8 perfect supercells of the training set are trained as primitive cells: "
    assert note in log_of(small)
    assert "perfect supercell" not in log_of(large)
    for one, other in zip(small.history, large.history, strict=True):
        # The file rounds coordinates to 1e-8 Å, also those of equivalent atoms.
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-7)
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-7)
    assert small.model is not None
    assert large.model is not None
    for ours, theirs in zip(small.model.parameters(), large.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)
    for row, expected in zip(small.errors, large.errors, strict=True):
        assert (row.group, row.count) == (expected.group, expected.count)
        assert row.mae == pytest.approx(expected.mae, rel=1e-6)


@pytest.mark.mpi
def test_two_ranks(path: Path) -> None:
    alone = fit(path, "one")
    command = ["-m", "fitsnap_nn", path.name, "--set", "OUTFILE.folder=two", "--no-verify"]
    done = mpirun(2, command, path.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are trained as primitive cells" in done.stdout
    losses = np.loadtxt(path.parent / "two" / "loss_vs_epochs.dat")
    np.testing.assert_allclose(losses[:, 1:], np.loadtxt(alone.folder / "loss_vs_epochs.dat")[:, 1:], rtol=1e-9)


@pytest.mark.parametrize("keys", [{"optimizer": "LKF"}, {"model": "NANOPET", "num_epochs": 1}])
def test_where_the_loss_would_not_be_the_same(path: Path, keys: dict[str, object]) -> None:
    text = path.read_text(encoding="utf-8")
    options = "cutoff = 4.0\nd_pet = 8\nnum_heads = 2\nlong_range = 1\nsmearing = 1.0\n"
    if keys.get("model"):
        text = f"{text[: text.index('[CUSTOM]')]}[NANOPET]\n{options}\n{text[text.index('[SCRAPER]') :]}"
    path.write_text(text, encoding="utf-8")
    assert "perfect supercell" not in log_of(fit(path, "out", **keys))
