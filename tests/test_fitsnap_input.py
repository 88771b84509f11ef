"""A FitSNAP input for its tantalum data, keys and values as its users write them, from the data to a verified model."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from places import DataSet
from small_fit import without_plots
from tantalum_input import ace_input, pair_network_input, tantalum_input

import fitsnap_nn
from fitsnap_nn.reports.epochs import read_epochs

pytestmark = pytest.mark.slow


def write_input(folder: Path, data: Path) -> Path:
    path = folder / "Ta-example.in"
    path.write_text(tantalum_input(data, 12, more="random_seed = 1234"))
    return path


def test_it_runs_as_it_is(
    tmp_path: Path, tantalum: DataSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    result = fitsnap_nn.fit(write_input(tmp_path, tantalum.folder))
    rows = read_epochs(result.folder)
    counts = {(row.subset, row.property): row.count for row in result.errors if row.group == "*ALL"}
    assert counts["Train", "Energy"] == tantalum.training
    assert counts["Validation", "Energy"] == tantalum.configurations - tantalum.training
    # The input gives no seed. With the sample, errors of the validation set may go either way in so few epochs of eight
    # steps, but the training loss falls from any start.
    assert rows[-1].train_loss < 0.7 * rows[0].train_loss
    if tantalum.configurations > 300:
        assert rows[-1].mae[0] < 0.6 * rows[0].mae[0]
        assert rows[-1].mae[1] < 0.4  # FitSNAP's is 0.21 to 0.27 eV/Å after 5 epochs and 0.1 after 100
    assert result.verification.formats == ("mliappy",)  # LAMMPS' text form knows no softplus
    assert result.verification.difference.force < 1e-9
    assert "Without effect" in capsys.readouterr().out
    atoms = np.genfromtxt(result.folder / "peratom.dat", names=True, dtype=None, encoding="utf-8")
    assert len(atoms) == tantalum.atoms
    assert {"Fx_Truth", "Fz_Pred", "Testing_Bool"} <= set(atoms.dtype.names)


def test_the_input_of_its_pair_network(tmp_path: Path, tantalum: DataSet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    whole = tantalum.configurations > 300
    path = tmp_path / "Ta-example.in"
    path.write_text(pair_network_input(tantalum.folder, 2 if whole else 8))
    with without_plots():
        result = fitsnap_nn.fit(path)
    rows = read_epochs(result.folder)
    assert rows[-1].train_loss < 0.8 * rows[0].train_loss
    if whole:
        assert rows[-1].mae[1] < 0.254  # eV/Å, FitSNAP's after two epochs
    assert result.verification.formats == ("unified",)
    assert result.verification.ranks == (1, 2)
    assert result.verification.difference.force < 1e-4  # float32


def test_the_input_of_its_network_on_ace(tmp_path: Path, tantalum: DataSet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "Ta-example.in"
    path.write_text(ace_input(tantalum.folder, 3))
    with without_plots():
        result = fitsnap_nn.fit(path)
    rows = read_epochs(result.folder)
    assert rows[-1].train_loss < 0.9 * rows[0].train_loss
    assert result.verification.formats == ("unified",)
    assert result.verification.ranks == (1, 2)
    assert result.verification.difference.force < 1e-9
    model = fitsnap_nn.load_potential(result.folder / "FitTorch_Pytorch.pt")
    assert "68 ACE functions per atom" in (result.folder / "run.log").read_text(encoding="utf-8")
    assert model.elements == ("Ta",)


def test_lammps_with_python_runs_its_softplus_network(
    tmp_path: Path, fitsnap_tantalum: Path, native_lammps: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITSNAP_NN_LAMMPS", shlex.join([*native_lammps, "lmp"]))
    with without_plots():
        result = fitsnap_nn.fit(write_input(tmp_path, fitsnap_tantalum), {"PYTORCH.num_epochs": 1})
    assert result.verification.formats == ("mliappy",)
    assert result.verification.ranks == (1, 2)
    assert result.verification.difference.force < 1e-9
