"""Tests of a saved model: the sets of its fit, inputs without sections of the model, data files without an input."""

from __future__ import annotations

import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk
from places import EXAMPLE
from processes import mpirun
from small_fit import SMALL_INPUT, without_plots, write_small_input

import fitsnap_nn
from fitsnap_nn.cli import main
from fitsnap_nn.errors import CheckpointError, DataError, InputError
from fitsnap_nn.export.card import describe_model
from fitsnap_nn.export.model_file import load_model
from fitsnap_nn.workflow.evaluation import evaluate_files, evaluate_input
from fitsnap_nn.workflow.run import Fit

VOLUMES = EXAMPLE / "JSON" / "Volume_BCC" / "Volume_BCC.json"
WITHOUT_SEED = ("random_seed = 5\n", "")
TESTED = (("training_size testing_size eweight", "training_size testing_size test_size eweight"),
          ("str float float float float float", "str float float float float float float"),
          ("= 6 2 10", "= 6 2 4 10"), ("= 5 2 100", "= 5 2 3 100"))  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """A fit with a test set and a random split that the input does not repeat."""
    folder = tmp_path_factory.mktemp("fitted")
    path = write_small_input(folder, WITHOUT_SEED, *TESTED)
    with without_plots():
        return fitsnap_nn.fit(path, {"OUTFILE.folder": folder / "fit"}, verify=False, quiet=True)


def sets(result: Fit, group: str = "*ALL") -> dict[str, int]:
    return {row.subset: row.count for row in result.errors if (row.group, row.property) == (group, "Energy")}


def again(fitted: Fit, tmp_path: Path, *changes: tuple[str, str], **options: object) -> Fit:
    path = write_small_input(tmp_path, *changes)
    overrides = {"OUTFILE.folder": tmp_path / "again", "MEMORY.cache": fitted.folder / "cache"}
    with without_plots():
        return fitsnap_nn.evaluate(path, fitted.model_file, overrides, **options)


def test_the_data_of_the_fit_are_split_as_in_the_fit(fitted, tmp_path, capsys):
    found = again(fitted, tmp_path, WITHOUT_SEED, *TESTED)
    assert sets(found) == {"Train": 11, "Validation": 4, "Test": 7}
    assert [(r.group, r.subset, r.mae) for r in found.errors] == [(r.group, r.subset, r.mae) for r in fitted.errors]
    assert "sets: as in the fit of the model" in capsys.readouterr().out
    assert any("set: E" in line for line in found.verdict)


def test_other_sizes_and_seeds_do_not_make_training_data_unseen(fitted, tmp_path, capsys):
    whole = [("= 6 2 10", "= 0.0 1.0 10"), ("= 5 2 100", "= 0.0 1.0 100"), ("random_seed = 5", "random_seed = 6")]
    found = again(fitted, tmp_path, *whole)
    counts = sets(found)
    assert (counts["Train"], counts["Validation"]) == (11, 4)
    assert counts["Test"] > 7
    assert "11 were seen in training and 4 in validation" in capsys.readouterr().out


def test_a_model_file_without_a_split_says_so(fitted, tmp_path, capsys):
    payload = torch.load(fitted.model_file, weights_only=True)
    del payload["split"], payload["properties"]
    torch.save(payload, tmp_path / "old.pt")
    assert "split       not in this file" in describe_model(tmp_path / "old.pt")
    assert "11 training and 4 validation configurations" in describe_model(fitted.model_file)
    found = evaluate_files(tmp_path / "old.pt", [str(VOLUMES)])
    assert set(sets(found)) == {"Unknown"}
    assert "warning: the split of the fit is unknown" in capsys.readouterr().out


def test_a_restart_file_has_the_split_too(fitted):
    assert load_model(fitted.folder / "restart.pt").split == load_model(fitted.model_file).split != None  # noqa: E711


@pytest.mark.parametrize("form", ["json", "xyz", "traj"])
def test_training_data_in_another_format_are_known(fitted, tmp_path, form):
    """ASE's extended XYZ has eight decimals, so that the coordinates differ."""
    source = str(VOLUMES)
    if form != "json":
        evaluate_files(fitted.model_file, [source], output=tmp_path / "first.xyz", quiet=True)
        frames = ase.io.read(tmp_path / "first.xyz", ":")
        for frame in frames:
            frame.info.clear()
        source = str(tmp_path / f"data.{form}")
        ase.io.write(source, frames, format="extxyz" if form == "xyz" else "traj")
    found = evaluate_files(fitted.model_file, [source], quiet=True)
    counts = sets(found)
    assert (counts.pop("Train"), counts.pop("Validation")) == (6, 2)
    assert counts["Test"] == len(ase.io.read(tmp_path / "first.xyz", ":")) - 8 if form != "json" else counts["Test"] > 4
    assert {row.group for row in found.errors} == {"*ALL", source}


def test_predictions_are_those_of_the_ase_calculator_and_labels_stay(fitted, tmp_path):
    output = tmp_path / "predictions.xyz"
    found = evaluate_files(fitted.model_file, [str(VOLUMES)], output=output, quiet=True)
    frames = ase.io.read(output, ":")
    calculator = fitsnap_nn.Calculator(fitted.model_file)
    for frame in frames[::5]:
        alone = frame.copy()
        alone.calc = calculator
        assert frame.info["predicted_energy"] == pytest.approx(alone.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(frame.arrays["predicted_forces"], alone.get_forces(), atol=1e-6)
        np.testing.assert_allclose(frame.info["predicted_stress"], alone.get_stress(voigt=False).ravel(), atol=1e-7)
    errors = [(f.info["predicted_energy"] - f.get_potential_energy()) / len(f) for f in frames]
    row = {(r.group, r.subset, r.property): r for r in found.errors}["*ALL", "Train", "Energy"]
    of_training = [abs(e) for e, f in zip(errors, frames, strict=True) if f.info["set"] == "Train"]
    assert np.mean(of_training) == pytest.approx(row.mae, rel=1e-6)
    stresses = [r for r in found.errors if r.property == "Stress" and r.subset == "Train"]
    difference = [
        f.info["predicted_stress"].reshape(3, 3) - f.get_stress(voigt=False) for f in frames if f.info["set"] == "Train"
    ]
    i, j = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
    assert np.abs(difference)[:, i, j].mean() * 160.2176634 == pytest.approx(stresses[0].mae, rel=1e-5)


def test_files_without_labels_give_predictions_only(fitted, tmp_path, capsys):
    ase.io.write(tmp_path / "atom.xyz", [bulk("Ta", cubic=True), bulk("Ta", a=3.2)], format="extxyz")
    arguments = ["test", str(fitted.model_file), str(tmp_path / "atom.xyz"), "-o", str(tmp_path / "out.xyz")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "no labels" in printed
    assert "2 are unseen (Test)" in printed
    assert ["predicted_energy" in f.info for f in ase.io.read(tmp_path / "out.xyz", ":")] == [True, True]
    assert main(arguments) == 2
    assert "exists. --overwrite replaces it." in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def test_missing_labels_are_counted(fitted, tmp_path, capsys):
    (tmp_path / "a.xyz").write_text(
        '1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 config_type=cold energy=-11\nTa 0 0 0\n'
        '1\nLattice="4 0 0 0 4 0 0 0 5" Properties=species:S:1:pos:R:3 config_type=hot energy=-10\nTa 0 0 0\n'
        "1\nProperties=species:S:1:pos:R:3 pbc=\"F F F\"\nTa 0 0 0\n"
    )  # fmt: skip
    found = evaluate_files(fitted.model_file, [str(tmp_path / "a.xyz")])
    printed = capsys.readouterr().out
    assert "1 of 3 configurations have no energy label" in printed
    assert "3 of 3 configurations have no force label" in printed
    assert {row.group for row in found.errors} == {"*ALL", "cold", "hot"}


def test_what_cannot_be_tested_is_named(fitted, tmp_path):
    for name, text, message in (
        ("a.unknown", "nothing", "format of the file is not recognised"),
        ("c.in", "[PATH]\ndataPath = JSON\n", "is an input file, not data. Use test .* --model MODEL"),
        ("b.xyz", "1\n\nW 0 0 0\n", "contains W, but the elements of the model are Ta"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=message):
            evaluate_files(fitted.model_file, [str(tmp_path / name)], quiet=True)
    with pytest.raises(DataError, match="is a folder"):
        evaluate_files(fitted.model_file, [str(tmp_path)], quiet=True)
    with pytest.raises(DataError, match="No such file"):
        evaluate_files(fitted.model_file, [str(tmp_path / "c.xyz")], quiet=True)
    with pytest.raises(CheckpointError, match="No such file"):
        evaluate_files(tmp_path / "none.pt", [str(VOLUMES)], quiet=True)


def test_no_file_that_is_read_is_replaced(fitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "JSON"
    for group in ("Volume_BCC", "Displaced_BCC"):
        shutil.copytree(EXAMPLE / "JSON" / group, data / group)
    model = shutil.copy(fitted.model_file, tmp_path / "model.pt")
    path = write_small_input(tmp_path, WITHOUT_SEED, (str(EXAMPLE / "JSON"), str(data)))
    link = tmp_path / "link.xyz"
    link.symlink_to(path)
    volumes = data / "Volume_BCC" / "Volume_BCC.json"
    before = {file: Path(file).read_bytes() for file in (path, model, volumes)}
    for output in (path, model, volumes, link):
        with pytest.raises(InputError, match="is a file that the test reads"):
            evaluate_input(path, model=model, output=output, overwrite=True, quiet=True)
        if output not in (path, link):
            with pytest.raises(InputError, match="is a file that the test reads"):
                evaluate_files(model, [str(volumes)], output=output, overwrite=True, quiet=True)
    assert {file: Path(file).read_bytes() for file in before} == before


def without_sections(text: str, *names: str) -> str:
    parts = text.removeprefix("[").split("\n[")
    return "".join(f"[{part}\n" for part in parts if part.split("]")[0] not in names)


def test_sections_of_the_model_may_be_missing(fitted, tmp_path, capsys):
    text = without_sections(SMALL_INPUT, "BISPECTRUM", "REFERENCE", "PYTORCH").format(data=EXAMPLE / "JSON")
    path = tmp_path / "data.in"
    path.write_text(text)
    overrides = {"OUTFILE.folder": tmp_path / "fit", "MEMORY.cache": fitted.folder / "cache"}
    with without_plots():
        found = fitsnap_nn.evaluate(path, fitted.model_file, overrides)
    printed = capsys.readouterr().out
    assert "model: from the file: [BISPECTRUM] type = Ta, bzeroflag = 1, twojmax = 4; [PYTORCH] layer_sizes" in printed
    assert "[REFERENCE] pair_style hybrid/overlay zero 6.0 zbl 4.0 4.8" in printed
    assert set(sets(found)) <= {"Train", "Validation", "Test"}
    for key, value, message in (
        ("BISPECTRUM.twojmax", "6", r"twojmax — is 6, but .* was fitted with 4 for Ta\. Remove the key to use"),
        ("BISPECTRUM.type", "W", r"type — is W, but .* was fitted with Ta\."),
        ("ESHIFT.Ta", "3", r"\[ESHIFT\] Ta — is 3\.0, but .* was fitted with 0\.0"),
        ("PYTORCH.layer_sizes", "num_desc 9 1", "layer_sizes — is num_desc 9 1, but .* with num_desc 8 8 1"),
        ("PYTORCH.model", "MACE", r"model — is MACE, but .* was fitted with BPNN\."),
        ("REFERENCE.pair_style", "zero 9", r"\[REFERENCE\] — differs from that of"),
    ):
        with pytest.raises(InputError, match=message) as found:
            fitsnap_nn.evaluate(path, fitted.model_file, {**overrides, key: value}, quiet=True)
        assert "esume" not in str(found.value)
        assert "start_from" not in str(found.value)


def test_an_input_without_a_fit_is_told_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"no model \w+_fit/.*\.pt of this input\. Fit it first"):
        evaluate_input(write_small_input(tmp_path))


def test_eshift_of_the_fit_is_added_to_labels_of_files(tmp_path, capsys):
    path = write_small_input(tmp_path, ("[PATH]", "[ESHIFT]\nTa = 3.5\n[PATH]"))
    with without_plots():
        result = fitsnap_nn.fit(path, {"OUTFILE.folder": tmp_path / "fit"}, verify=False, quiet=True)
    found = evaluate_files(result.model_file, [str(VOLUMES)])
    assert "[ESHIFT] of the fit is added to the energies of the files: Ta 3.5 eV" in capsys.readouterr().out
    mae = {(r.group, r.subset): r.mae for r in result.errors if r.property == "Energy"}["Volume_BCC", "Train"]
    assert {r.subset: r.mae for r in found.errors if r.property == "Energy"}["Train"] == pytest.approx(mae, rel=1e-9)


@pytest.mark.mpi
@pytest.mark.slow
def test_two_ranks_give_the_same_predictions(fitted, tmp_path):
    shutil.copy(VOLUMES, tmp_path / "a.json")
    displaced = EXAMPLE / "JSON" / "Displaced_BCC" / "Displaced_BCC.json"
    shutil.copy(displaced, tmp_path / "b.json")
    files = ["a.json", "b.json"]
    arguments = ["-m", "fitsnap_nn", "test", str(fitted.model_file), *files, "-o", "two.xyz"]
    done = mpirun(2, arguments, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| *ALL ") > 0
    evaluate_files(fitted.model_file, [str(tmp_path / name) for name in files], output=tmp_path / "one.xyz", quiet=True)
    one, two = (ase.io.read(tmp_path / f"{name}.xyz", ":") for name in ("one", "two"))
    assert [f.info["set"] for f in one] == [f.info["set"] for f in two]
    energies = [[f.info["predicted_energy"] for f in frames] for frames in (one, two)]
    np.testing.assert_allclose(*energies, atol=1e-8)
    again = mpirun(2, arguments, tmp_path)
    assert again.returncode == 2
    assert again.stderr.count("two.xyz exists") == 1


def test_a_graph_model_needs_neither_calculator_nor_model_in_the_input(tmp_path, capsys):
    data = without_sections(SMALL_INPUT, "BISPECTRUM", "REFERENCE", "PYTORCH").format(data=EXAMPLE / "JSON")
    graph = "[CALCULATOR]\ncalculator = LAMMPSGRAPH\nelements = Ta\n[PYTORCH]\nmodel = NANOPET\nnum_epochs = 0\n"
    options = "[NANOPET]\ncutoff = 4.0\nd_pet = 8\nnum_heads = 2\nnum_attention_layers = 1\n"
    (tmp_path / "fit.in").write_text(graph + options + data)
    (tmp_path / "data.in").write_text(f"[CALCULATOR]\nstress = 0\n{data}")
    overrides = {"OUTFILE.folder": tmp_path / "fit"}
    with without_plots():
        result = fitsnap_nn.fit(tmp_path / "fit.in", overrides, verify=False, quiet=True)
        found = fitsnap_nn.evaluate(tmp_path / "data.in", result.model_file, overrides, output=tmp_path / "p.xyz")
    taken = "[CALCULATOR] calculator = LAMMPSGRAPH, elements = Ta; [PYTORCH] model = NANOPET; [NANOPET] cutoff = 4"
    assert f"model: from the file: {taken}" in capsys.readouterr().out
    assert sets(found) == sets(result)
    assert len(ase.io.read(tmp_path / "p.xyz", ":")) == 15
    evaluate_files(result.model_file, [str(VOLUMES)], output=tmp_path / "q.xyz", quiet=True)
    one, two = (
        {f.info["source"].split("/")[-1]: f for f in ase.io.read(tmp_path / p, ":")} for p in ("p.xyz", "q.xyz")
    )
    shared = [name for name in one if name.startswith("Volume")]
    for name in shared:
        assert one[name].info["predicted_energy"] == pytest.approx(two[name].info["predicted_energy"], abs=1e-8)
    assert len(shared) == 8
