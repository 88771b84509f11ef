"""``export --unified``: models on SNAP descriptors that compute these themselves, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from random_potentials import random_bpnn, random_linear
from small_fit import fit, write_small_input

from fitsnap_nn.cli import main
from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.export.model_file import load_model, load_payload, payload_with, write_payload
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.workflow.export_unified import export_unified


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committee of two BPNN, with a calibrated uncertainty."""
    path = write_small_input(tmp_path_factory.mktemp("fit"), ("num_desc 8 8 1\n", "num_desc 8 8 1\ncommittee = 2\n"))
    return fit(path, "out", num_epochs=2).model_file


@pytest.mark.lammps
@pytest.mark.mpi
def test_lammps_reproduces_the_model_and_its_descriptors(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(model), str(tmp_path / "gpu"), "--unified"]) == 0
    text = capsys.readouterr().out
    assert "(model unified): 1 and 2 ranks, 1 configuration" in text
    names = {path.name for path in (tmp_path / "gpu").iterdir()}
    assert names >= {"pot.mod", "pot.mliap.unified", "pot.uncertainty.mod", "in.md", "md.data"}
    assert not any(name.endswith(("mliappy", "descriptor")) for name in names)
    assert str(tmp_path / "gpu" / "pot.mod") in text
    assert main(["export", str(model), str(tmp_path / "gpu"), "--unified"]) == 2
    assert "already exists" in capsys.readouterr().err


@pytest.mark.lammps
@pytest.mark.parametrize("kind", ["chemical", "quadratic", "linear"])
def test_other_kinds(model: Path, tmp_path: Path, kind: str) -> None:
    content = load_model(model)
    bispectrum = content.model.input.bispectrum  # type: ignore[attr-defined]
    options = {"chemical": {"chemflag": True}, "quadratic": {"quadraticflag": True, "twojmax": (2,)}, "linear": {}}
    section = replace(bispectrum, **options[kind])
    other = random_linear(section) if kind == "linear" else random_bpnn(section)
    path = tmp_path / "other.pt"
    changed = content._replace(model=other, uncertainty=None)
    write_payload(path, payload_with(load_payload(model), changed))
    verification = export_unified(path, tmp_path / "out", quiet=True)
    assert verification is not None
    assert verification.formats == ("unified",)


def test_a_model_without_a_structure_is_not_verified(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bare.pt"
    write_payload(path, {**load_payload(model), "structure": None})
    assert export_unified(path, tmp_path / "out") is None
    assert "not verified in LAMMPS, since the model file contains no structure" in capsys.readouterr().out


def test_what_it_refuses(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["mace.model"], "--unified is for models on SNAP descriptors, not for mace.model"),
        ([str(model), "--elements", "Ta"], "not for --elements"),
    ):
        assert main(["export", *arguments, "--unified"]) == 2
        assert message in capsys.readouterr().err
    graph = fit(write_custom(tmp_path), "out", num_epochs=0).model_file
    assert main(["export", str(graph), str(tmp_path / "new"), "--unified"]) == 5
    assert "cannot be exported with --unified: it is on neighbour graphs already." in capsys.readouterr().err
    content = load_model(model)
    large = random_bpnn(replace(content.model.input.bispectrum, twojmax=(17,)))  # type: ignore[attr-defined]
    for changed, message in (
        ({"properties": (PropertyRow("charge", "atom", "scalar", "q"),)}, "predicts charge: --unified is for models"),
        (
            {"model": large},
            "cannot be exported with --unified: twojmax = 17: SNAP descriptors in torch have at most 16",
        ),
    ):
        with pytest.MonkeyPatch.context() as patch:
            other = content._replace(**changed)  # type: ignore[arg-type]
            patch.setattr("fitsnap_nn.workflow.export_unified.load_model", lambda path, trust, other=other: other)
            with pytest.raises(CheckpointError, match=message):
                export_unified(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def write_custom(folder: Path) -> Path:
    """The input of a pair network."""
    bispectrum = write_small_input(folder).read_text().partition("[PYTORCH]")[0]
    section = "[CALCULATOR]\ncalculator = LAMMPSGRAPH\nelements = Ta\n[CUSTOM]\ncutoff = 4.2\n"
    changes = ("layer_sizes = num_desc 8 8 1\nactivation = tanh\n", "model = CUSTOM\n")
    return write_small_input(folder, (bispectrum, section), changes)
