"""Fits that start from the weights of a file: what they take from it, what may differ, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from places import EXAMPLE, SAMPLES
from processes import run_on_ranks
from small_fit import fit, log_of, without_plots, write_small_input

import fitsnap_nn
from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.errors import CheckpointError, DataError, InputError
from fitsnap_nn.export.model_file import load_model
from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.settings import load_settings
from fitsnap_nn.training.checkpoint import load_restart
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.workflow.pipeline import check
from fitsnap_nn.workflow.preparation import read_dataset
from fitsnap_nn.workflow.run import Fit
from fitsnap_nn.workflow.warm_start import find_start

ARCHITECTURE = (r"\[BISPECTRUM\].*?\n\n", r"layer_sizes.*?\n", r"activation.*?\n", r"\[REFERENCE\].*?\n\n")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """A fit whose model and restart file others start from; its best epoch is not its last."""
    folder = tmp_path_factory.mktemp("base")
    with without_plots():
        return fitsnap_nn.fit(
            write_small_input(folder), {"OUTFILE.folder": folder / "fit", "PYTORCH.num_epochs": 12}, verify=False
        )


def write_input(folder: Path, base: Fit, *changes: tuple[str, str], name: str = "new.in", start: str = "") -> Path:
    """The input of the base fit without its architecture, which the file determines."""
    text = write_small_input(folder, *changes).read_text()
    for pattern in ARCHITECTURE:
        text = re.sub(pattern, "", text, flags=re.DOTALL)
    text = text.replace("[PYTORCH]\n", f"[PYTORCH]\n{start or f'start_from = {base.model_file}'}\n")
    (folder / name).write_text(text)
    return folder / name


def mae(result: Fit, quantity: str) -> float:
    (row,) = [r for r in result.errors if (r.group, r.subset, r.property) == ("*ALL", "Validation", quantity)]
    return row.mae


def test_a_fit_starts_from_the_errors_of_the_file(tmp_path: Path, base: Fit) -> None:
    result = fit(write_input(tmp_path, base), "fit", num_epochs=0)
    assert result.errors == base.errors
    best = next(row for row in reversed(read_epochs(base.folder)) if row.best)
    first = re.search(r"^ +0 +- +(\S+) +(\S+) .*the initial weights$", log_of(result), re.MULTILINE)
    assert first, log_of(result)
    assert float(first[1]) == pytest.approx(best.validation_loss, rel=1e-3)
    assert float(first[2]) == pytest.approx(1000 * best.mae[0], rel=1e-3)


def test_what_is_taken_from_the_file_is_said(tmp_path: Path, base: Fit) -> None:
    text = check(load_settings(write_input(tmp_path, base))).text
    for part in (
        f"weights of {base.model_file}, epoch",
        "[BISPECTRUM] type = Ta, bzeroflag = 1, twojmax = 4",
        "[PYTORCH] layer_sizes = num_desc 8 8 1, activation = tanh",
        "[REFERENCE] pair_style hybrid/overlay zero 6.0 zbl 4.0 4.8; pair_coeff * * zero; * * zbl 73 73",
    ):
        assert part in text
    assert "from the file" not in check(load_settings(write_small_input(tmp_path))).text


def test_the_path_is_relative_to_the_input(tmp_path: Path, base: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    path = write_input(tmp_path, base, start="start_from = models/base.pt")
    with pytest.raises(InputError, match=r"new\.in:\d+  \[PYTORCH\] start_from — no such file: .*models/base\.pt"):
        load_settings(path)
    (tmp_path / "models" / "base.pt").mkdir(parents=True)
    with pytest.raises(InputError, match=r"base\.pt is a folder\. Give the model file in it"):
        load_settings(path)
    (tmp_path / "models" / "base.pt").rmdir()
    (tmp_path / "models" / "base.pt").write_bytes(base.model_file.read_bytes())
    assert "epoch" in check(load_settings(path)).text


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("PYTORCH.layer_sizes", "num_desc 8 9 1", "is num_desc 8 9 1, but .* was fitted with num_desc 8 8 1"),
        ("PYTORCH.activation", "silu", "is silu, but .* was fitted with tanh"),
        ("PYTORCH.multi_element_option", "2", "is 2, but .* was fitted with 1"),
        ("PYTORCH.model", "NANOPET", "is NANOPET, but .* was fitted with BPNN"),
        ("CALCULATOR.calculator", "LAMMPSGRAPH", "is LAMMPSGRAPH, but .* was fitted with LAMMPSSNAP"),
        ("BISPECTRUM.rcutfac", "4.5", r"is 4\.5, but .* was fitted with 4\.67637"),
        ("BISPECTRUM.twojmax", "6", "is 6, but .* was fitted with 4"),
        ("BISPECTRUM.radelem", "0.6", r"is 0\.6, but .* was fitted with 0\.5 for Ta"),
        ("BISPECTRUM.bzeroflag", "0", "is 0, but .* was fitted with 1"),
        ("REFERENCE.pair_style", "zero 10.0", r"differs from that of .*pair_style: hybrid/overlay .* and zero 10\.0"),
        ("PYTORCH.element_energies", "Ta -3", "has no effect: .* refit_element_energies = 1"),
        ("PYTORCH.save_state_input", "{base}", "cannot be used with start_from"),
        ("BISPECTRUM.type", "Ta W", "elements Ta W differ from Ta: with multi_element_option = 1 one network"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, base: Fit, key: str, value: str, message: str) -> None:
    reference = {"REFERENCE.pair_style": "zbl 4.0 4.8", "REFERENCE.pair_coeff1": "* * 73 73"} if "W" in value else {}
    keys = {key: value.replace("{base}", str(base.model_file)), **reference}
    with pytest.raises(InputError, match=message) as found:
        check(load_settings(write_input(tmp_path, base), [(*name.split("."), text) for name, text in keys.items()]))
    assert str(found.value).startswith("command line ") or key == "BISPECTRUM.type"


def test_contradictions_have_their_lines(tmp_path: Path, base: Fit) -> None:
    path = write_input(tmp_path, base)
    line = path.read_text().count("\n") + 2
    path.write_text(f"{path.read_text()}[BISPECTRUM]\ntwojmax = 6\n")
    for overrides in ([], [("PYTORCH", "seed", "7")]):
        with pytest.raises(InputError, match=rf"new\.in:{line}  \[BISPECTRUM\] twojmax — is 6, but"):
            check(load_settings(path, overrides))


def test_shifts_of_unknown_elements_are_refused(tmp_path: Path, base: Fit) -> None:
    with pytest.raises(InputError, match=r"\[ESHIFT\] Te — not among the elements Ta\."):
        check(load_settings(write_input(tmp_path, base), [("ESHIFT", "Te", "1")]))


def test_keys_that_agree_with_the_file_are_fine(tmp_path: Path, base: Fit) -> None:
    path = write_small_input(tmp_path, ("[PYTORCH]", f"[PYTORCH]\nstart_from = {base.model_file}"))
    assert "from the file" not in check(load_settings(path, [("PYTORCH", "layer_sizes", "14 8 8 1")])).text


def test_a_refused_resume_names_start_from_which_works(tmp_path: Path, base: Fit) -> None:
    path = write_small_input(tmp_path, ("Volume_BCC    = 6 2", "Volume_BCC    = 4 2"))
    with pytest.raises(CheckpointError, match="start_from, a new fit starts from the weights of this file"):
        fitsnap_nn.fit(path, {"OUTFILE.folder": base.folder}, verify=False, resume=True)
    restart = write_input(tmp_path, base, start=f"start_from = {base.folder / 'restart.pt'}")
    other = fit(restart, "fit", num_epochs=1, learning_rate=1e-6, scheduler="cosine")
    assert mae(other, "Energy") == pytest.approx(mae(base, "Energy"), rel=0.01)


def test_files_of_other_kinds_are_refused_with_a_way(tmp_path: Path, base: Fit) -> None:
    for name, message in (("x.model", r"Use \[MACE\] mace_model"), ("x.pt", "not a torch file")):
        (tmp_path / name).write_bytes(b"something")
        with pytest.raises(InputError, match=message):
            check(load_settings(write_input(tmp_path, base, start=f"start_from = {name}")))


def test_an_architecture_that_is_not_installed_is_named(tmp_path: Path, base: Fit) -> None:
    payload = torch.load(base.model_file, weights_only=True)
    payload["description"] = {"architecture": "PAIRNET", "elements": ["Ta"], "width": 3}
    torch.save(payload, tmp_path / "other.pt")
    with pytest.raises(InputError, match="its architecture, PAIRNET, is of a package that is not installed"):
        check(load_settings(write_input(tmp_path, base, start="start_from = other.pt")))


def test_a_fit_that_never_improves_keeps_the_initial_weights(tmp_path: Path, base: Fit) -> None:
    result = fit(write_input(tmp_path, base), "fit", num_epochs=6, learning_rate=10.0, early_stopping=2)
    found = [row.validation_loss for row in read_epochs(result.folder)]
    assert len(found) == min(6, found.index(min(found)) + 1 + 2)  # patience counts from the lowest of the epochs
    assert "no epoch improved on it, and they are kept unchanged" in log_of(result)
    assert result.errors == base.errors


def test_save_state_input_takes_the_optimiser_too(tmp_path: Path, base: Fit) -> None:
    """Its weights are the best, its moments those of the last epoch; epochs are counted anew, as in FitSNAP."""
    results = {}
    for name in ("restart.pt", "FitTorch_Pytorch.pt"):
        path = write_input(tmp_path, base, start=f"save_state_input = {base.folder / name}")
        results[name] = fit(path, name, num_epochs=1)
    restart = load_restart(base.folder / "restart.pt")["trainer"]
    found = {name: load_restart(result.folder / "restart.pt")["trainer"] for name, result in results.items()}
    steps = {name: int(one["optimizer"]["state"][0]["step"]) for name, one in found.items()}
    assert steps == {"restart.pt": 12 * 3 + 3, "FitTorch_Pytorch.pt": 3}
    assert int(restart["optimizer"]["state"][0]["step"]) == 36
    assert [one["epoch"] for one in found.values()] == [1, 1]
    assert "state after epoch 12 of the file, learning rate of the input" in log_of(results["restart.pt"])
    assert "is a model file, which has none" in log_of(results["FitTorch_Pytorch.pt"])
    assert not torch.equal(found["restart.pt"]["weights"], found["FitTorch_Pytorch.pt"]["weights"])


def shifted_data(folder: Path, shift: float) -> Path:
    """The data of the small fit with other energies, as of another reference method."""
    for group in ("Volume_BCC", "Displaced_BCC"):
        (folder / "data" / group).mkdir(parents=True)
        text = (EXAMPLE / "JSON" / group / f"{group}.json").read_text()
        content = json.loads(text[text.index("{") :])
        for frame in content["Dataset"]["Data"]:
            frame["Energy"] += shift * frame["NumAtoms"]
        (folder / "data" / group / f"{group}.json").write_text(json.dumps(content))
    return folder / "data"


def test_element_energies_adapt_to_another_reference_method(tmp_path: Path, base: Fit) -> None:
    data = shifted_data(tmp_path, 622.0)
    path = write_input(tmp_path, base, (str(EXAMPLE / "JSON"), str(data)))
    kept = fit(path, "kept", num_epochs=0)
    refitted = fit(path, "refitted", num_epochs=0, refit_element_energies=1)
    assert mae(kept, "Energy") == pytest.approx(622.0, abs=5.0)
    assert mae(refitted, "Energy") < 2.0 * mae(base, "Energy")
    assert mae(refitted, "Force") == pytest.approx(mae(base, "Force"), rel=1e-12)
    potential, residuals, weights = fitsnap_nn.load_potential(refitted.model_file), [], []
    for one in members(path):
        residuals.append((one.energy - potential.predict(one).energy) / len(one))
        weights.append(one.weight("energy"))
    assert np.average(residuals, weights=weights) == pytest.approx(0.0, abs=1e-9)
    assert re.search(r"element energies refitted .* mean residual 62\d\.\d+ before, -?0\.0000 eV", log_of(refitted))


def members(path: Path) -> Sequence:
    settings, _ = find_start(load_settings(path))
    dataset = read_dataset(settings, Ranks())
    return [one for one in dataset.configurations if one.subset is Subset.TRAINING]


def test_there_must_be_energies_to_refit_to(tmp_path: Path, base: Fit) -> None:
    path = write_input(tmp_path, base)
    with pytest.raises(DataError, match="element energies of Ta cannot be fitted: no training configuration"):
        fit(path, "fit", refit_element_energies=1, energy_weight=0, force_weight=1)
    with pytest.raises(InputError, match="refit_element_energies — needs start_from"):
        load_settings(write_small_input(tmp_path), [("PYTORCH", "refit_element_energies", "1")])


def test_frozen_layers_stay(tmp_path: Path, base: Fit) -> None:
    path = write_input(tmp_path, base)
    result = fit(path, "fit", num_epochs=2, learning_rate=1e-5, freeze="networks.0.0 networks.0.1.bias")
    before, after = (load_model(one.model_file).model.state_dict() for one in (base, result))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("networks")} - same == {
        "networks.0.1.weight", "networks.0.2.weight", "networks.0.2.bias",
    }  # fmt: skip
    assert "201 weights, 128 of them frozen (networks.0.0 networks.0.1.bias)" in log_of(result)


def test_wrong_names_of_parameters_are_found_before_the_data_are_read(tmp_path: Path, base: Fit) -> None:
    path = write_input(tmp_path, base, ("dtype_setting", "freeze = networks.0.5\ndtype_setting"))
    for given in (path, write_small_input(tmp_path, ("dtype_setting", "freeze = networks.0.5\ndtype_setting"))):
        message = r"in:\d+  \[PYTORCH\] freeze — networks\.0\.5 is not a parameter.*Possible: networks\.0\.0\.weight, "
        with pytest.raises(InputError, match=message):
            check(load_settings(given))
        with pytest.raises(InputError, match=message):
            fit(given, "wrong")
    with pytest.raises(InputError, match="leaves no weight to train"):
        fit(path, "wrong", freeze="networks")
    assert not (tmp_path / "wrong").exists()


def test_descriptors_of_elements_go_with_their_symbols(tmp_path: Path, base: Fit) -> None:
    two = [("BISPECTRUM", "type", "W Ta"), ("BISPECTRUM", "wj", "0.9 1.0"), ("BISPECTRUM", "numTypes", "2")]
    reference = [("REFERENCE", "pair_style", "zbl 4.0 4.8"), ("REFERENCE", "pair_coeff1", "2 2 73 73")]
    path = write_input(tmp_path, base)
    with pytest.raises(InputError, match=r"\[REFERENCE\] — is needed for W Ta: that of .* is for Ta"):
        check(load_settings(path, two))
    with pytest.raises(InputError, match=r"wj — is 1\.0 0\.9, but .* was fitted with 1\.0 for Ta"):
        check(load_settings(path, [two[0], ("BISPECTRUM", "wj", "1 0.9"), *reference]))


TANTALUM = """\
{architecture}
[PYTORCH]
{network}
num_epochs = 1
learning_rate = 1e-3
dtype_setting = 2
manual_seed_flag = 1
[PATH]
dataPath = {data}
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
Ta_JSON/Displaced_BCC = 2 1 100 1 0
"""
KINDS = {
    "BPNN": (
        "[BISPECTRUM]\ntype = {elements}\ntwojmax = 2\nradelem = {radii}",
        "layer_sizes = num_desc 4 1\nactivation = tanh\nmulti_element_option = 2",
    ),
    "NANOPET": (
        "[CALCULATOR]\ncalculator = LAMMPSGRAPH\nelements = {elements}\n[NANOPET]\nd_pet = 4\ncutoff = 4.0",
        "model = NANOPET",
    ),
}


def test_an_omitted_model_is_known_before_keys_are_judged(tmp_path: Path) -> None:
    """Defaults of the trainer and remarks on idle sections are those of the architecture in the file."""
    architecture, network = (text.format(elements="Ta") for text in KINDS["NANOPET"])
    one, two = tmp_path / "one.in", tmp_path / "two.in"
    one.write_text(TANTALUM.format(architecture=architecture, network=network, data=SAMPLES))
    first = fit(one, "one", num_epochs=0)
    idle = "[NANOPET]\nd_pet = 4\n[MACE]\nr_max = 4.0\n[BISPECTRUM]\nrcutfac = 4.0"
    start = f"start_from = {first.model_file}\nscheduler = plateau\nplateau_factor = 0.5"
    two.write_text(TANTALUM.format(architecture=idle, network=start, data=SAMPLES))
    settings = load_settings(two)
    assert not any("ithout effect" in note or "no effect" in note for note in settings.notices)
    text = check(settings).text
    assert "start: Without effect with [PYTORCH] model = NANOPET: section [MACE]." in text
    assert "start: [BISPECTRUM] rcutfac has no effect with [CALCULATOR] calculator = LAMMPSGRAPH." in text
    assert "gradient_clip = 1.0: defaults of NANOPET, which the input does not set" in text
    assert "NANOPET] cutoff = 4" in text
    assert "plateau_factor" not in text
    assert find_start(settings)[0].pytorch.gradient_clip == 1.0
    second = fit(two, "two", num_epochs=1)
    first.model_file.unlink()
    assert len(fit(two, "two", num_epochs=2, resume=True).history) == 2
    assert second.model.elements == ("Ta",)


@pytest.mark.parametrize("kind", KINDS)
def test_new_elements_leave_the_others_as_they_are(tmp_path: Path, kind: str) -> None:
    architecture, network = KINDS[kind]
    one, three = tmp_path / "one.in", tmp_path / "three.in"
    one.write_text(
        TANTALUM.format(architecture=architecture.format(elements="Ta", radii="0.5"), network=network, data=SAMPLES)
    )
    first = fit(one, "one")
    architecture = architecture.format(elements="In Ta P", radii="0.45 0.5 0.4")
    text = TANTALUM.format(architecture=architecture, network=f"start_from = {first.model_file}", data=SAMPLES)
    three.write_text(f"{text}InP_JSON/Bulk = 2 0 1 1 0\n")
    second = fit(three, "three", num_epochs=0)
    assert mae(second, "Energy") == pytest.approx(mae(first, "Energy"), rel=1e-10)
    assert mae(second, "Force") == pytest.approx(mae(first, "Force"), rel=1e-10)
    models = [load_model(result.model_file).model for result in (first, second)]
    assert models[1].elements == ("In", "Ta", "P")
    assert models[1].element_energies[1] == models[0].element_energies[0]
    assert models[1].energy_scale == models[0].energy_scale
    (row,) = [r for r in second.errors if (r.group, r.property) == ("InP_JSON/Bulk", "Energy")]
    assert row.mae < 0.5
    assert "elements In Ta P (in the file Ta): new: In P" in log_of(second)
    assert "element energies refitted to the residuals of the initial model (minimum-norm" in log_of(second)
    whole = fit(three, "whole", num_epochs=2)
    fit(three, "parts", num_epochs=1)
    parts = fit(three, "parts", num_epochs=2, resume=True)
    states = [load_restart(one.folder / "FitTorchModel")["model"]["state_dict"] for one in (whole, parts)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.mpi
@pytest.mark.slow
def test_resumed_and_on_two_ranks_it_is_the_same_fit(tmp_path: Path, base: Fit) -> None:
    """The file that a fit started from may change before the fit is continued."""
    start = tmp_path / "start.pt"
    start.write_bytes(base.model_file.read_bytes())
    data = shifted_data(tmp_path, -7.5)
    path = write_input(tmp_path, base, (str(EXAMPLE / "JSON"), str(data)), start="start_from = start.pt")
    keys = {"refit_element_energies": 1, "freeze": "networks.0.1", "learning_rate": 1e-4, "ema_decay": 0.9}
    whole = fit(path, "whole", num_epochs=4, **keys)
    flags = [text for key, value in {**keys, "num_epochs": 4}.items() for text in ("-k", "PYTORCH", key, str(value))]
    run_on_ranks(2, [[str(path), *flags, "--set", f"OUTFILE.folder={tmp_path / 'two'}", "--no-verify"]], tmp_path)
    fit(path, "parts", num_epochs=2, **keys)
    start.write_bytes((tmp_path / "parts" / "FitTorch_Pytorch.pt").read_bytes())
    parts = fit(path, "parts", num_epochs=4, resume=True, **keys)
    one, other = (load_restart(result.folder / "restart.pt") for result in (whole, parts))
    assert torch.equal(one["trainer"]["weights"], other["trainer"]["weights"])
    for name, tensor in one["model"]["state_dict"].items():
        assert torch.equal(tensor, other["model"]["state_dict"][name])
    assert whole.errors == parts.errors
    losses = [[row.validation_loss for row in read_epochs(folder)] for folder in (whole.folder, tmp_path / "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-10)
