"""Whole fits of the architectures on neighbour graphs, one of them from another package: ranks, restarts, LAMMPS."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from places import EXAMPLE, SAMPLES
from processes import run_on_ranks
from small_fit import write_small_input

from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.training.checkpoint import load_restart

pytestmark = [pytest.mark.lammps, pytest.mark.mpi, pytest.mark.slow]

HERE = Path(__file__).resolve().parent
LONG_RANGE, COMMITTEE = "-long_range", "-committee"  # ends of the names of fits; what precedes is the architecture
SECTIONS = {
    "SOAP_BPNN": "cutoff_radius = 4.0\nmax_angular = 2\nmax_radial = 2\nnum_neurons_per_layer = 8",
    "NANOPET": "cutoff = 4.0\nd_pet = 8\nnum_heads = 2\nnum_attention_layers = 1",
    "CUSTOM": "cutoff = 4.0\nlayer_sizes = num_desc 8 1",
    "MACE": "r_max = 4.0\nhidden_irreps = 4x0e\ncorrelation = 2\nmax_ell = 2\nnum_radial_basis = 4\nradial_MLP = 8",
    "AtomMessages": "cutoff = 4.0\nwidth = 4",
}
SECTIONS |= {
    f"SOAP_BPNN{LONG_RANGE}": f"{SECTIONS['SOAP_BPNN']}\nlong_range = 1",
    f"NANOPET{LONG_RANGE}": f"{SECTIONS['NANOPET']}\nlong_range = 1\nuse_ewald = 0",
    f"MACE{COMMITTEE}": SECTIONS["MACE"],
}
# And the fixtures that skip without them.
LIBRARIES = {"SOAP_BPNN": "spex", "MACE": "mace", f"SOAP_BPNN{LONG_RANGE}": "spex", f"NANOPET{LONG_RANGE}": "torchpme"}
LIBRARIES |= {f"MACE{COMMITTEE}": "mace"}
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


def is_there(name: str) -> bool:
    """Whether the library of an architecture is installed; the fixture of that name skips the test if not."""
    return name not in LIBRARIES or importlib.util.find_spec(LIBRARIES[name]) is not None


@pytest.fixture(scope="module")
def _another_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A package that adds an architecture, as if it had been installed, for processes that are started."""
    site = tmp_path_factory.mktemp("packages")
    info = site / "toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (site / "toy_settings.py").write_text(TOY_SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(HERE), os.environ.get("PYTHONPATH", "")]))
        yield


@pytest.fixture(scope="module")
def fits(_another_package: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one for each section, in which are the folders of its fits.

    ``whole`` is of all epochs at once, and verified; ``bits`` stopped after two, ``parts`` after one on two ranks, and
    were resumed on one. One job on two ranks and one on one rank fit all of them.
    """
    folder = tmp_path_factory.mktemp("fits")
    inputs = [write_input(folder / name) for name in SECTIONS if is_there(name)]
    run_on_ranks(2, [job(path, "parts", "--no-verify", "--set", "PYTORCH.num_epochs=1") for path in inputs], folder)
    jobs = []
    for path in inputs:
        jobs += [
            job(path, "whole"),
            job(path, "bits", "--no-verify", "--set", "PYTORCH.num_epochs=2"),
            job(path, "bits", "--no-verify", "--resume"),
            job(path, "parts", "--no-verify", "--resume"),
        ]
    run_on_ranks(1, jobs, folder)
    return folder


def write_input(folder: Path) -> Path:
    """The input of a small fit, switched to the architecture that the folder is named after."""
    folder.mkdir()
    model = folder.name.removesuffix(LONG_RANGE).removesuffix(COMMITTEE)
    members = 2 if folder.name.endswith(COMMITTEE) else 1
    sections = f"[CALCULATOR]\ncalculator = LAMMPSGRAPH\n\n[{model}]\n{SECTIONS[folder.name]}\n\n"
    network = "layer_sizes = num_desc 8 8 1\nactivation = tanh\n"
    return write_small_input(
        folder,
        # A schedule that depends on the number of epochs would differ between a whole fit and one in parts.
        (network, f"model = {model}\ncommittee = {members}\nscheduler = constant\nwarmup_fraction = 0\n"),
        ("[BISPECTRUM]", f"{sections}[BISPECTRUM]"),
        (str(EXAMPLE / "JSON"), str(SAMPLES / "Ta_JSON")),
        ("Volume_BCC    = 6 2", "Displaced_FCC = 3 1"),
        ("Displaced_BCC = 5 2", "Displaced_BCC = 3 1"),
    )


def job(path: Path, folder: str, *more: str) -> list[str]:
    return [str(path), "--set", f"OUTFILE.folder={path.parent / folder}", *more]


@pytest.fixture(params=SECTIONS)
def folder(request: pytest.FixtureRequest) -> Path:
    """The fits of one section."""
    if request.param in LIBRARIES:
        request.getfixturevalue(LIBRARIES[request.param])
    return request.getfixturevalue("fits") / request.param


def losses(folder: Path) -> list[float]:
    return [loss for row in read_epochs(folder) for loss in (row.train_loss, row.validation_loss)]


def test_fit_restart_ranks_and_lammps(folder: Path) -> None:
    log = (folder / "whole" / "run.log").read_text(encoding="utf-8")
    assert "verified in LAMMPS" in log
    assert f"(model unified): {'1 rank' if folder.name.endswith(LONG_RANGE) else '1 and 2 ranks'}, " in log
    assert len(losses(folder / "parts")) == 6
    assert losses(folder / "parts") == pytest.approx(losses(folder / "whole"), rel=1e-10)


def test_a_resumed_fit_ends_with_the_same_bits(folder: Path) -> None:
    one, other = (load_restart(folder / name / "restart.pt")["trainer"] for name in ("whole", "bits"))
    assert torch.equal(one["weights"], other["weights"])
    assert torch.equal(one["best_weights"], other["best_weights"])
