"""``combine`` with inputs: fits that run first, go on, or are there already; and weights from the validation set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from places import EXAMPLE
from processes import mpirun
from small_fit import write_small_input
from test_combine import ACE, CUSTOM, LAYERS

import fitsnap_nn
from fitsnap_nn.cli import main
from fitsnap_nn.data.any_format import read_any
from fitsnap_nn.data.readers import ReadOptions
from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.export.model_file import load_model
from fitsnap_nn.models.mixed_committee import MixedCommittee
from fitsnap_nn.workflow.combine import combine_models

GROUPS = "Volume_BCC    = 6 2 10 1 1e-8\nDisplaced_BCC = 5 2 100 1 1e-8\n"
DISPLACED = "".join(f"Displaced_{name} = 5 4 100 1 1e-8\n" for name in ("A15", "BCC", "FCC"))
FILES = sorted(str(path) for path in (EXAMPLE / "JSON").glob("Displaced_*/*"))


def write_inputs(folder: Path) -> list[str]:
    """Inputs of an ACE model and of a pair network with the same split, 12 configurations for validation."""
    bispectrum = write_small_input(folder).read_text().partition("[PYTORCH]")[0]
    (folder / "small.in").unlink()
    found = []
    for name, section, network in (
        ("ACE", f"{ACE}[CALCULATOR]\ncalculator = LAMMPSPACE\n", "layer_sizes = num_desc 8 1\n"),
        ("CUSTOM", CUSTOM, "model = CUSTOM\n"),
    ):
        changes = (bispectrum, section), (LAYERS, network), (GROUPS, DISPLACED), ("num_epochs = 3", "num_epochs = 2")
        path = write_small_input(folder, *changes).rename(folder / f"{name}.in")
        path.write_text(path.read_text().replace("[OUTFILE]\n", f"[OUTFILE]\nfolder = {name}_fit\n"))
        found.append(path.name)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder in which two ranks have run ``combine`` with two inputs, and what they printed."""
    folder = tmp_path_factory.mktemp("inputs")
    arguments = ["-m", "fitsnap_nn", "combine", *write_inputs(folder), "-o", "mean", "--name", "Ta_mean"]
    done = mpirun(2, arguments, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.mark.lammps
@pytest.mark.mpi
def test_two_ranks_fit_and_combine(folder: tuple[Path, str]) -> None:
    path, text = folder
    assert "models to fit: ACE.in, CUSTOM.in" in text
    for name in ("ACE", "CUSTOM"):
        assert f"input: {name}.in" in text
        assert (path / f"{name}_fit" / "pot.mod").exists()
        assert f"{name}_fit/FitTorch_Pytorch.pt (validation set, mean absolute): E " in text
    assert "sets: as in the fit of the model" in text
    assert text.count("verified in LAMMPS") == 3
    names = {"Ta_mean.pt", "Ta_mean.mod", "Ta_mean.uncertainty.mod"}
    assert names <= {one.name for one in (path / "mean").iterdir()}


def force_errors(text: str) -> list[float]:
    """Errors on the validation set that ``combine`` prints, the last of the mean."""
    return [float(one) for one in re.findall(r"\(validation set, mean absolute\): E .*? F ([\d.]+) meV/Å", text)]


def test_weights_are_those_of_the_smallest_errors(folder: tuple[Path, str]) -> None:
    path, text = folder
    model = load_model(path / "mean" / "Ta_mean.pt").model
    assert isinstance(model, MixedCommittee)
    printed = re.search(r"weights \(.*\): ACE_fit\S* ([\d.]+), CUSTOM_fit\S* ([\d.]+)", text)
    assert printed is not None
    assert [float(one) for one in printed.groups()] == pytest.approx(model.weights, abs=5e-3)
    assert model.weights[0] != pytest.approx(0.5, abs=0.01)
    first, second, mean = force_errors(text)[-3:]
    assert mean < min(first, second)
    configuration, *_ = read_any(FILES[0], ReadOptions(), [])
    found, *members = (
        fitsnap_nn.load_potential(path / one).predict(configuration)
        for one in ("mean/Ta_mean.pt", "ACE_fit/FitTorch_Pytorch.pt", "CUSTOM_fit/FitTorch_Pytorch.pt")
    )
    for name, values in found.values.items():
        expected = sum(weight * one.values[name] for weight, one in zip(model.weights, members, strict=True))
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9)


def test_finished_fits_are_used_as_they_are(
    folder: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, text = folder
    monkeypatch.chdir(path)
    before = {one: one.stat().st_mtime_ns for one in path.glob("*_fit/*")}
    combine_models(["ACE.in", "CUSTOM_fit/FitTorch_Pytorch.pt"], tmp_path / "again")
    again = capsys.readouterr().out
    assert "models to fit" not in again
    assert force_errors(again) == pytest.approx(force_errors(text)[-3:], rel=1e-3)
    assert {one: one.stat().st_mtime_ns for one in path.glob("*_fit/*")} == before
    combine_models(["ACE.in", "CUSTOM.in"], tmp_path / "equal", equal=True)
    assert "weights: equal\n" in capsys.readouterr().out
    model = load_model(tmp_path / "equal" / "pot.pt").model
    assert isinstance(model, MixedCommittee)
    assert model.weights == (0.5, 0.5)
    assert main(["show", "mean/Ta_mean.pt"]) == 0
    assert "of the members in the mean" in capsys.readouterr().out


def test_a_useless_member_is_left_out(
    folder: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = folder
    monkeypatch.chdir(path)
    monkeypatch.setattr("fitsnap_nn.workflow.combine.choose_weights", lambda _: [0.4, 0.0, 0.6])
    third = path / "other.pt"
    third.write_bytes((path / "ACE_fit" / "FitTorch_Pytorch.pt").read_bytes())
    combine_models(["ACE.in", third, "CUSTOM.in"], tmp_path / "out", data=FILES)
    assert f"note: {third} is not part of the mean, which is better without it" in capsys.readouterr().out
    content = load_model(tmp_path / "out" / "pot.pt")
    assert isinstance(content.model, MixedCommittee)
    assert content.model.weights == (0.4, 0.6)
    assert "mean of 2 models" in content.provenance["origin"]
    monkeypatch.setattr("fitsnap_nn.workflow.combine.choose_weights", lambda _: [1.0, 0.0])
    with pytest.raises(CheckpointError, match=r"than ACE_fit\S* alone\. Use that model, or give --equal"):
        combine_models(["ACE.in", "CUSTOM.in"], tmp_path / "one")
    assert not (tmp_path / "one").exists()


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def test_interrupted_and_changed_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ace, custom = write_inputs(tmp_path)
    command = ["combine", ace, custom, "-o", "mean"]
    with monkeypatch.context() as patch:
        patch.setattr("fitsnap_nn.workflow.pipeline.conclude", interrupt)
        assert main(command) == 130
    assert "To go on: the same command with --resume" in capsys.readouterr().out
    assert main(command) == 2
    printed = capsys.readouterr()
    assert "ACE_fit  holds an earlier run" in printed.err
    assert "--resume continues it" in printed.err
    assert main([*command, "--resume"]) == 0
    printed = capsys.readouterr()
    assert "models to fit: ACE.in, CUSTOM.in" in printed.out
    assert "continuing from ACE_fit/restart.pt after epoch 2" in printed.out
    text = Path(ace).read_text()
    Path(ace).write_text(text.replace("num_epochs = 2", "num_epochs = 1"))
    assert main([*command[:-1], "next"]) == 2
    assert "ACE_fit/FitTorch_Pytorch.pt is from another version of this input" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert "models to fit: ACE.in\n" in capsys.readouterr().out


def test_what_cannot_be_combined_is_refused_before_any_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ace, custom = write_inputs(tmp_path)
    text = Path(custom).read_text()
    Path("targets.in").write_text(
        f"{write_small_input(tmp_path).read_text()}\n[TARGETS]\ncharge = per_atom scalar column=ref_charge unit=e\n"
    )
    assert main(["combine", ace, "targets.in", "-o", "mean"]) == 2
    assert "targets.in  its model predicts targets, and cannot be a member of a committee" in capsys.readouterr().err
    Path(custom).write_text(text.replace("zbl 73 73", "zbl 72 73"))
    assert main(["combine", ace, custom, "-o", "mean"]) == 5
    assert re.search(r"CUSTOM\.in has pair_style .* but ACE\.in has .*same \[REFERENCE\]", capsys.readouterr().err)
    Path(custom).write_text(text.replace("CUSTOM_fit", "ACE_fit"))
    assert main(["combine", ace, custom, "-o", "mean"]) == 2
    assert "ACE_fit/FitTorch_Pytorch.pt is listed more than once" in capsys.readouterr().err
    Path("mean").mkdir()
    Path("mean/pot.mod").write_text("mine")
    Path(custom).write_text(text)
    assert main(["combine", ace, custom, "-o", "mean"]) == 2
    assert "pot.mod  already exists" in capsys.readouterr().err
    assert not list(tmp_path.glob("*_fit"))
