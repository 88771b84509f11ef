"""Committees of models from several fits: what they predict, in Python and LAMMPS, and what cannot be combined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from places import EXAMPLE
from small_fit import fit, write_small_input

import fitsnap_nn
from fitsnap_nn.cli import main
from fitsnap_nn.data.any_format import read_any
from fitsnap_nn.data.readers import ReadOptions
from fitsnap_nn.data.split import Split
from fitsnap_nn.errors import CheckpointError, InputError
from fitsnap_nn.export.combine import combine
from fitsnap_nn.export.model_file import ModelFile, load_model, load_payload, payload_with, write_payload
from fitsnap_nn.models.descriptor_network import DescriptorNetwork
from fitsnap_nn.models.mixed_committee import MixedCommittee
from fitsnap_nn.models.pair_network import PairNetwork
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.workflow.combine import combine_models

ACE = """\
[ACE]
numTypes = 1
type = Ta
ranks = 1 2
nmax = 3 2
lmax = 0 2
nmaxbase = 3
rcutfac = 4.6
"""
CUSTOM = """\
[CUSTOM]
cutoff = 4.2
layer_sizes = num_desc 8 1
[CALCULATOR]
calculator = LAMMPSGRAPH
elements = Ta
"""
LAYERS = "layer_sizes = num_desc 8 8 1\nactivation = tanh\n"
DATA = sorted(str(path) for name in ("Volume_BCC", "Displaced_BCC") for path in (EXAMPLE / "JSON" / name).glob("*"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model files of fits with the same split, one with a committee of two."""
    folder = tmp_path_factory.mktemp("fits")
    found = {}
    bispectrum = write_small_input(folder).read_text().partition("[PYTORCH]")[0]
    network = "model = CUSTOM\ncommittee = 2\n"
    for name, section, changes in (
        ("SNAP", bispectrum, ()),
        ("ACE", f"{ACE}[CALCULATOR]\ncalculator = LAMMPSPACE\n", ((LAYERS, "layer_sizes = num_desc 8 1\n"),)),
        ("CUSTOM", CUSTOM, ((LAYERS, network), ("dtype_setting = 2\n", ""))),
    ):
        (folder / name).mkdir()
        path = write_small_input(folder / name, (bispectrum, section), *changes)
        found[name] = fit(path, "out", num_epochs=2).model_file
    return found


@pytest.fixture(scope="module")
def files(models: dict[str, Path]) -> dict[str, ModelFile]:
    return {name: load_model(path) for name, path in models.items()}


@pytest.fixture(scope="module")
def written(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder of the mean of an ACE model and a committee of two pair networks, and what the command printed."""
    folder = tmp_path_factory.mktemp("mean") / "out"
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("fitsnap_nn.reports.runlog.Console.line", lambda self, text, final=False: lines.append(text))
        members = [str(models[name]) for name in ("ACE", "CUSTOM")]
        code = main(["combine", *members, "-o", str(folder), "--name", "Ta_mean", "--data", *DATA])
    assert code == 0
    return folder, "\n".join(lines)


@pytest.mark.lammps
@pytest.mark.mpi
def test_the_command_writes_a_potential_that_lammps_reproduces(written: tuple[Path, str]) -> None:
    folder, text = written
    names = {"Ta_mean.pt", "Ta_mean.mod", "Ta_mean.mliap.unified", "Ta_mean.uncertainty.mod", "in.md", "md.data"}
    assert names <= {path.name for path in folder.iterdir()}
    assert "verified in LAMMPS" in text
    assert "1 and 2 ranks, 2 configurations" in text
    assert "mean of 3 models" in text
    for name in ("ACE/out/FitTorch_Pytorch.pt", "CUSTOM/out/FitTorch_Pytorch.pt", "mean"):
        for subset in ("training", "validation"):
            assert f"{name} ({subset} set, mean absolute): E " in text
    assert "uncertainty of forces (committee): rank correlation" in text


def test_every_member_counts_once(written: tuple[Path, str], models: dict[str, Path]) -> None:
    configuration, *_ = read_any(DATA[0], ReadOptions(), [])
    mean, ace, pair = (
        fitsnap_nn.load_potential(path).predict(configuration)
        for path in (written[0] / "Ta_mean.pt", models["ACE"], models["CUSTOM"])
    )
    for name in ("forces", "stress"):
        expected = (ace.values[name] + 2 * pair.values[name]) / 3
        scale = np.abs(expected).max()
        np.testing.assert_allclose(mean.values[name], expected, rtol=0, atol=2e-6 * scale)
    assert abs(mean.energy - (ace.energy + 2 * pair.energy) / 3) < 1e-5
    assert mean.spread["forces"].shape == (len(configuration),)
    assert load_model(written[0] / "Ta_mean.pt").uncertainty is not None


def test_the_file_is_used_like_others(
    written: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(written[0] / "Ta_mean.pt")
    assert main(["test", path, *DATA, "-o", str(tmp_path / "out.xyz")]) == 0
    assert "11 were seen in training and 4 in validation" in capsys.readouterr().out
    assert "predicted_forces_std" in (tmp_path / "out.xyz").read_text()
    assert main(["export", path, str(tmp_path / "again")]) == 0
    capsys.readouterr()
    assert main(["show", path]) == 0
    card = capsys.readouterr().out
    for line in ("member 1    architecture ACE", "member 3    architecture CUSTOM", "cutoff      4.6 Å"):
        assert line in card
    assert "uncertainty committee; threshold" in card


def test_inputs_do_not_describe_it(
    written: tuple[Path, str], models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path, infile = str(written[0] / "Ta_mean.pt"), str(models["CUSTOM"].parent.parent / "small.in")
    assert main(["test", infile, "--model", path]) == 5
    error = capsys.readouterr().err
    assert f"{path} cannot be tested on the data of an input" in error
    assert "test MODEL FILE ..." in error
    assert main([infile, "--set", f"PYTORCH.start_from={path}", "--set", "OUTFILE.folder=new"]) == 2
    assert "train its members and combine them again" in capsys.readouterr().err


def test_files_are_replaced_only_if_asked_for(
    written: tuple[Path, str], models: dict[str, Path], tmp_path: Path
) -> None:
    members = [models["ACE"], models["CUSTOM"]]
    with pytest.raises(InputError, match=r"Ta_mean\.mod  already exists\. Give --overwrite"):
        combine_models(members, written[0], name="Ta_mean", quiet=True)
    (tmp_path / "pot.pt").write_text("mine")
    with pytest.raises(InputError, match=r"already exists|has not written"):
        combine_models(members, tmp_path, quiet=True)
    with pytest.raises(InputError, match=r"has not written and would replace: pot\.pt"):
        combine_models(members, tmp_path, quiet=True, overwrite=True)
    assert (tmp_path / "pot.pt").read_text() == "mine"


def test_without_data_it_is_not_calibrated(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    combine_models([models["CUSTOM"], models["ACE"]], tmp_path)
    text = capsys.readouterr().out
    assert "uncertainty: not calibrated, and not in the files for LAMMPS. Name the data files" in text
    content = load_model(tmp_path / "pot.pt")
    assert content.uncertainty is None
    assert len(content.model.members()) == 3
    assert not (tmp_path / "pot.uncertainty.mod").exists()


def test_kinds_and_precision(files: dict[str, ModelFile]) -> None:
    found = combine([files["ACE"], files["CUSTOM"]])
    assert isinstance(found.model, MixedCommittee)
    assert [type(one) for one in found.model.members()] == [DescriptorNetwork, PairNetwork, PairNetwork]
    assert [one.precision for one in found.model.members()] == [torch.float64, torch.float32, torch.float32]
    assert found.model.precision == torch.float32
    assert {p.dtype for p in combine([files["ACE"], files["ACE"]]).model.parameters()} == {torch.float64}
    assert not any(p.requires_grad for p in found.model.parameters())


@pytest.mark.lammps
def test_a_model_on_snap_descriptors(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration, *_ = read_any(DATA[0], ReadOptions(), [])
    combine_models([models["SNAP"], models["ACE"]], tmp_path, equal=True)
    assert "verified in LAMMPS" in capsys.readouterr().out
    mean, snap, ace = (
        fitsnap_nn.load_potential(path).predict(configuration)
        for path in (tmp_path / "pot.pt", models["SNAP"], models["ACE"])
    )
    for name in ("forces", "stress"):
        expected = (snap.values[name] + ace.values[name]) / 2
        np.testing.assert_allclose(mean.values[name], expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    assert mean.energy == pytest.approx((snap.energy + ace.energy) / 2, rel=1e-12)
    assert main(["show", str(tmp_path / "pot.pt")]) == 0
    assert "member 1    architecture SNAP" in capsys.readouterr().out


def test_the_cutoff_of_zero_does_not_matter(files: dict[str, ModelFile]) -> None:
    reference = files["ACE"].reference
    assert "zero 6.0" in reference.pair_style
    other = replace(reference, pair_style=reference.pair_style.replace("zero 6.0", "zero 9.0"))
    assert len(combine([files["ACE"], files["CUSTOM"]._replace(reference=other)]).model.members()) == 3


def test_what_any_fit_has_trained_on_is_not_validation(files: dict[str, ModelFile]) -> None:
    keys = [bytes([number]) * 16 for number in range(6)]
    first = Split(5, tuple(keys[:2]), tuple(keys[2:4]))
    other = Split(6, (keys[1], keys[2]), (keys[3], keys[4]), (keys[5],))
    one, two = (files["ACE"]._replace(split=split) for split in (first, other))
    assert combine([one, two]).split == Split(5, tuple(keys[:3]), tuple(keys[3:5]), (keys[5],))
    assert combine([one, two._replace(split=None)]).split is None


def test_what_cannot_be_combined(files: dict[str, ModelFile], models: dict[str, Path], tmp_path: Path) -> None:
    ace, custom = files["ACE"], files["CUSTOM"]
    row = PropertyRow("charge", "atom", "scalar", "q")
    zbl = replace(ace.reference, pair_coeff=("* * zero", "* * zbl 72 73"))
    none = replace(ace.reference, pair_style="zero 9.0", pair_coeff=("* *",))
    for other, message in (
        (custom._replace(properties=(row,)), r"predicts charge: committees have"),
        (custom._replace(reference=none), r"has units metal, atom_style atomic, but .* zbl 73 73"),
        (custom._replace(reference=zbl), r"has pair_style .* zbl 72 73.*, but .* zbl 73 73.*same \[REFERENCE\]"),
        (custom._replace(eshift={"Ta": 1.5}), r"has Ta 1\.5 eV, but .* has none.*same \[ESHIFT\]"),
        (custom._replace(files={"x.table": b"1"}), r"has x\.table \(6b86b273\), but .* has none"),
    ):
        with pytest.raises(CheckpointError, match=message):
            combine([ace, other])
    with pytest.raises(InputError, match="at least two models"):
        combine_models([models["ACE"]], tmp_path)
    with pytest.raises(InputError, match=r"ACE.*\.pt is listed more than once"):
        combine_models([models["ACE"], models["CUSTOM"], str(models["ACE"])], tmp_path)
    with pytest.raises(InputError, match=r"--name a b: .*Choose another name"):
        combine_models([models["ACE"], models["CUSTOM"]], tmp_path, name="a b")
    assert not list(tmp_path.iterdir())


def test_nothing_of_an_earlier_export_is_left(models: dict[str, Path], tmp_path: Path) -> None:
    members = [models["ACE"], models["CUSTOM"]]
    combine_models(members, tmp_path, data=DATA, quiet=True)
    watch, foreign = tmp_path / "pot.uncertainty.mod", tmp_path / "pot.yace"
    assert watch.exists()
    foreign.write_text("mine")
    combine_models(members, tmp_path, quiet=True, overwrite=True)
    assert not watch.exists()
    assert foreign.read_text() == "mine"


def test_members_with_other_splits_have_no_common_validation_set(
    models: dict[str, Path], files: dict[str, ModelFile], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = files["ACE"].split
    assert split is not None
    swapped = files["ACE"]._replace(split=replace(split, training=split.validation, validation=split.training))
    other = tmp_path / "swapped.pt"
    write_payload(other, payload_with(load_payload(models["ACE"]), swapped))
    combine_models([models["ACE"], other], tmp_path / "out", data=DATA)
    assert "in the training set of none. Split the data of all members alike" in capsys.readouterr().out
    assert load_model(tmp_path / "out" / "pot.pt").uncertainty is None
