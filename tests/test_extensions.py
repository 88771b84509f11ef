"""A loss, a property and an architecture added from outside: trained on and reported, no file of the package edited."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from processes import run, run_on_ranks

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

EXTENSION = '''\
"""Contents of another package: the section of an architecture, the architecture, and a loss."""

from dataclasses import dataclass

import torch
from torch import nn

from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.pairs import sum_by
from fitsnap_nn.settings.architectures import Architecture
from fitsnap_nn.settings.options import option
from fitsnap_nn.training.losses import Loss


@dataclass(frozen=True)
class ChargeModelSection(Architecture):
    """A toy."""

    cutoff: float = option(4.0, "cutoff", unit="Å", minimum=0.1)
    width: int = option(8, "number of features", minimum=1)


class ChargeModel(GraphModel):
    """Energies and charges of atoms, both linear in functions of the distances to the neighbours."""

    def __init__(self, elements, *, cutoff, width):
        super().__init__(tuple(elements))
        self.cutoff, self.width = cutoff, width
        self.embedding = nn.Embedding(len(self.elements), width)
        self.mix = nn.Linear(width, width)
        self.energy, self.charge = nn.Linear(width, 1, bias=False), nn.Linear(width, 1)

    def description(self):
        names = {"cutoff": self.cutoff, "width": self.width}
        return {"architecture": "ChargeModel", "elements": list(self.elements), **names}

    def features(self, graph):
        distances = torch.linalg.vector_norm(graph.vectors, dim=1, keepdim=True) / self.cutoff
        centres = torch.linspace(0.3, 1.0, self.width, dtype=distances.dtype)
        radial = torch.exp(-20.0 * (distances - centres) ** 2) * (1.0 - distances).clamp(min=0.0) ** 2
        received = sum_by(graph.edge_i, self.embedding(graph.species)[graph.edge_j] * radial, len(graph.species))
        return torch.tanh(self.mix(received + self.embedding(graph.species)))

    def forward(self, graph):
        return self.energy(self.features(graph)).squeeze(1)

    def predicts(self, name):
        return name == "charge"

    def property_values(self, batch, properties):
        return {one.name: self.charge(self.features(batch)) for one in properties}


@dataclass(frozen=True)
class LogCosh(Loss):
    """delta² log cosh(r / delta)."""

    def value_and_slope(self, residual):
        scaled = residual / self.delta
        return self.delta**2 * torch.log(torch.cosh(scaled)), self.delta * torch.tanh(scaled)
'''
ENTRY_POINTS = """\
[fitsnap_nn.architectures]
ChargeModel = extension:ChargeModelSection

[fitsnap_nn.models]
ChargeModel = extension:ChargeModel

[fitsnap_nn.losses]
LogCosh = extension:LogCosh
"""
INPUT = """\
[CALCULATOR]
calculator = LAMMPSGRAPH
elements = Cu Ag
energy = 1
force = 1
stress = 0
[PYTORCH]
model = ChargeModel
num_epochs = 60
batch_size = 4
learning_rate = 1e-2
dtype_setting = 2
manual_seed_flag = 1
output_file = model.pt
save_state_output = restart.pt
[TARGETS]
charge = per_atom scalar column=ref_charge unit=e weight=10 loss=LogCosh delta=0.5
[SCRAPER]
scraper = XYZ
[PATH]
dataPath = data.xyz
[OUTFILE]
folder = out
metrics = errors.json
metrics_style = JSON
[GROUPS]
group_sections = name training_size testing_size test_size eweight fweight vweight
group_types = str float float float float float float
all = 0.6 0.2 0.2 1 1 0
"""


def frame(seed: int) -> Atoms:
    """An alloy whose charges follow from the numbers of unlike neighbours; labels by a pair potential."""
    random = np.random.default_rng(seed)
    atoms = bulk("Cu", "fcc", a=3.8, cubic=True) * (2, 1, 1)
    atoms.symbols[random.permutation(len(atoms))[: len(atoms) // 2]] = "Ag"
    atoms.rattle(0.05, rng=random)
    distances = atoms.get_all_distances(mic=True)
    near = np.exp(-(distances**2) / 8.0) * (1 - np.eye(len(atoms)))
    unlike = atoms.numbers[:, None] != atoms.numbers
    sign = np.where(atoms.numbers == 29, 1.0, -1.0)
    atoms.arrays["ref_charge"] = 0.4 * sign * (near * unlike).sum(axis=1)
    atoms.info |= {"config_type": "all", "REF_energy": float(near.sum())}
    return atoms


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with data and inputs; processes that start find the extension as an installed package."""
    path = tmp_path_factory.mktemp("extension")
    info = path / "site" / "extension-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extension\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (path / "site" / "extension.py").write_text(EXTENSION, encoding="utf-8")
    frames = [frame(seed) for seed in range(30)]
    del frames[3].arrays["ref_charge"]
    write(path / "data.xyz", frames, format="extxyz")
    (path / "ChargeModel.in").write_text(INPUT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(path / "site"), os.environ.get("PYTHONPATH", "")]))
        yield path


def job(folder: str, epochs: int, *more: str) -> list[str]:
    keys = (f"OUTFILE.folder={folder}", f"PYTORCH.num_epochs={epochs}")
    return ["ChargeModel.in", "--no-verify", *more, *(word for key in keys for word in ("--set", key))]


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    """Output of a process that fits ``out``, predicts the data with its model, and fits ``whole``."""
    test = ["test", "out/model.pt", "data.xyz", "-o", "predicted.xyz"]
    return run_on_ranks(1, [job("out", 60), test, job("whole", 6)], folder)


def test_a_loss_and_a_property_from_outside(folder: Path, printed: str) -> None:
    assert "charge e" in printed
    assert "| *ALL  | Test       | charge   |    48 |" in printed  # by the command test
    rows = json.loads((folder / "out" / "errors.json").read_text(encoding="utf-8"))
    found = {row["subset"]: row for row in rows if row["group"] == "*ALL" and row["property"] == "charge"}
    assert {name: row["count"] for name, row in found.items()} == {"Train": 136, "Validation": 48, "Test": 48}
    assert all(row["unit"] == "e" and row["r2"] > 0.95 for row in found.values())
    for ending, count in (("", 136), ("_val", 48), ("_test", 48)):
        assert np.loadtxt(folder / "out" / f"charge_comparison{ending}.dat").shape == (count, 2)
    with (folder / "out" / "metrics.csv").open(encoding="utf-8") as file:
        epochs = list(csv.DictReader(file))
    first, last = (float(epochs[number]["charge_mae_e"]) for number in (0, -1))
    assert last < 0.2 * first
    model = torch.load(folder / "out" / "model.pt", weights_only=True)
    assert "charge.weight" in model["state_dict"]
    frames = read(folder / "predicted.xyz", ":")
    assert ["ref_charge" in atoms.arrays for atoms in frames] == [number != 3 for number in range(30)]
    of_test = [a.arrays["predicted_charge"] - a.arrays["ref_charge"] for a in frames if a.info["set"] == "Test"]
    assert np.abs(of_test).mean() == pytest.approx(found["Test"]["mae"], rel=1e-4)


def test_a_resumed_fit_of_a_property_is_the_same_on_two_ranks(folder: Path, printed: str) -> None:
    run_on_ranks(2, [job("parts", 3), job("parts", 6, "--resume")], folder)
    tables = [(folder / name / "metrics.csv").read_text(encoding="utf-8").splitlines() for name in ("whole", "parts")]
    numbers = [np.array([line.split(",")[:6] for line in lines[1:]], dtype=float) for lines in tables]
    assert len(numbers[0]) == 6
    np.testing.assert_allclose(numbers[1], numbers[0], rtol=1e-10)


def test_a_model_that_does_not_predict_a_property_is_refused(folder: Path) -> None:
    text = INPUT.replace("charge = per_atom", "spin = per_atom").replace("folder = out", "folder = other")
    (folder / "other.in").write_text(text)
    done = run([sys.executable, "-m", "fitsnap_nn", "other.in"], folder, timeout=100)
    assert done.returncode == 2
    assert "[TARGETS] spin: a ChargeModel model does not predict this" in done.stderr
