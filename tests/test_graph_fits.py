"""Whole fits of the architectures on neighbour graphs, one of them from another package: ranks, restarts, LAMMPS."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from processes import mpirun, run

from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.training.checkpoint import load_restart

HERE = Path(__file__).resolve().parent
SECTIONS = {
    "SOAP_BPNN": "cutoff_radius = 4.0\nmax_angular = 2\nmax_radial = 2\nnum_neurons_per_layer = 8",
    "NANOPET": "cutoff = 4.0\nd_pet = 8\nnum_heads = 2\nnum_attention_layers = 1",
    "MACE": "r_max = 4.0\nhidden_irreps = 4x0e\ncorrelation = 2\nmax_ell = 2\nnum_radial_basis = 4\nradial_MLP = 8",
    "AtomMessages": "cutoff = 4.0\nwidth = 4",
}
# Another package's settings; its model is in tests/toy_model.py.
TOY_SETTINGS = """\
from dataclasses import dataclass
from fitsnap_nn.settings.architectures import Architecture
from fitsnap_nn.settings.options import option

@dataclass(frozen=True)
class AtomMessages(Architecture):
    '''A toy.'''

    cutoff: float = option(4.0, "distance up to which atoms are neighbours", unit="Å", minimum=0.1)
    width: int = option(6, "number of features", minimum=1)
    layers: int = option(2, "how often messages are passed", minimum=1)
"""
ENTRY_POINTS = """\
[fitsnap_nn.architectures]
AtomMessages = toy_settings:AtomMessages

[fitsnap_nn.models]
AtomMessages = toy_model:AtomMessages
"""


@pytest.fixture(autouse=True)
def _another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that adds an architecture, as if it had been installed."""
    info = tmp_path / "packages" / "toy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (info.parent / "toy_settings.py").write_text(TOY_SETTINGS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(info.parent), str(HERE)]))


@pytest.fixture(params=SECTIONS)
def graph_input(request: pytest.FixtureRequest, small_input: Path) -> Path:
    """The input of a small fit, switched to an architecture on graphs."""
    if request.param == "MACE":
        pytest.importorskip("mace", reason="mace-torch is not installed")
    if request.param == "SOAP_BPNN":
        pytest.importorskip("sphericart.torch", reason="torch-spex is not installed")
    text = small_input.read_text(encoding="utf-8")
    text = text.replace("layer_sizes = num_desc 8 8 1\nactivation = tanh\n", f"model = {request.param}\n")
    section = f"[{request.param}]\n{SECTIONS[request.param]}\n"
    small_input.write_text(f"[CALCULATOR]\ncalculator = LAMMPSGRAPH\n\n{section}\n{text}", encoding="utf-8")
    return small_input


def arguments(path: Path, folder: str, *more: str) -> list[str]:
    return ["-m", "fitsnap_nn", str(path), "--set", f"OUTFILE.folder={folder}", *more]


def losses(folder: Path) -> list[float]:
    return [loss for row in read_epochs(folder) for loss in (row.train_loss, row.validation_loss)]


def test_fit_restart_ranks_and_lammps(graph_input: Path) -> None:
    folder = graph_input.parent
    whole = run([sys.executable, *arguments(graph_input, "whole")], folder)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert "verified in LAMMPS" in whole.stdout
    assert "(model unified): 1 and 2 ranks" in whole.stdout
    first = mpirun(2, arguments(graph_input, "parts", "--no-verify", "--set", "PYTORCH.num_epochs=1"), folder)
    assert first.returncode == 0, first.stdout + first.stderr
    second = run([sys.executable, *arguments(graph_input, "parts", "--no-verify", "--resume")], folder)
    assert second.returncode == 0, second.stdout + second.stderr
    assert losses(folder / "parts") == pytest.approx(losses(folder / "whole"), rel=1e-10)


def test_a_resumed_fit_ends_with_the_same_bits(graph_input: Path) -> None:
    folder = graph_input.parent
    for name, more in (("whole", []), ("parts", ["--set", "PYTORCH.num_epochs=2"]), ("parts", ["--resume"])):
        done = run([sys.executable, *arguments(graph_input, name, "--no-verify", *more)], folder)
        assert done.returncode == 0, done.stdout + done.stderr
    one, other = (load_restart(folder / name / "restart.pt")["trainer"] for name in ("whole", "parts"))
    assert torch.equal(one["weights"], other["weights"])
    assert torch.equal(one["best_weights"], other["best_weights"])
