"""Whole fits on a few configurations: outputs, restarts, tests of saved models, the Python interface."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from processes import run
from small_fit import without_plots

import fitsnap_nn
from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.errors import CheckpointError, InputError, Interrupted, TrainingError
from fitsnap_nn.export.model_file import load_model
from fitsnap_nn.models import BPNN
from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.settings import load_settings
from fitsnap_nn.training.checkpoint import load_restart
from fitsnap_nn.training.trainer import Trainer
from fitsnap_nn.workflow.evaluation import evaluate
from fitsnap_nn.workflow.pipeline import check
from fitsnap_nn.workflow.run import Fit


def fit(
    path: Path, folder: str, verify: bool = False, resume: bool = False, plots: bool = False, **keys: object
) -> Fit:
    overrides = {"OUTFILE.folder": path.parent / folder, "MEMORY.cache": path.parent / "cache"}
    overrides |= {f"PYTORCH.{key}": value for key, value in keys.items()}
    with nullcontext() if plots else without_plots():
        return fitsnap_nn.fit(path, overrides, verify=verify, resume=resume)


def weights(result: Fit) -> torch.Tensor:
    return load_restart(result.folder / "restart.pt")["trainer"]["weights"]


def of_all(result: Fit, quantity: str, subset: str = "Validation") -> float:
    (row,) = [r for r in result.errors if (r.group, r.subset, r.property) == ("*ALL", subset, quantity)]
    return row.mae


@pytest.mark.slow
def test_a_fit_leaves_its_files_and_lammps_agrees(small_input: Path):
    result = fit(small_input, "fit", verify=True, plots=True)
    names = {path.name for path in result.folder.iterdir()}
    assert names >= {
        "FitTorch_Pytorch.pt", "restart.pt", "errors.md", "energy_comparison.dat", "energy_comparison_val.dat",
        "force_comparison.dat", "force_comparison_val.dat", "loss_vs_epochs.dat", "metrics.csv", "run.log",
        "input.used.in", "pot.mod", "pot.mliap.descriptor", "pot.mliap.nn", "in.md", "parity.png", "learning_curve.png",
        "errors_by_group.png", "report.html", "fit.json", "predictions.npz", "CITE.bib",
    }  # fmt: skip
    assert result.verification.ranks == (1, 2)
    assert result.verification.difference.force < 1e-9
    assert np.loadtxt(result.folder / "energy_comparison.dat").shape == (11, 2)
    assert np.loadtxt(result.folder / "loss_vs_epochs.dat").shape == (3, 3)


def test_the_model_that_is_exported_is_the_one_reported(small_input: Path):
    result = fit(small_input, "fit", num_epochs=6, learning_rate=0.05)
    best = min(read_epochs(result.folder), key=lambda row: row.validation_loss)
    assert best.epoch < 6, "the last epoch is the best: this test shows nothing"
    assert of_all(result, "Energy") == pytest.approx(best.mae[0], rel=1e-9)
    tested = evaluate(load_settings(small_input, [("OUTFILE", "folder", str(result.folder))]), result.model_file)
    assert [(r.group, r.subset, r.mae) for r in tested.errors] == [(r.group, r.subset, r.mae) for r in result.errors]


def test_a_repeated_fit_is_the_same_to_the_bit(small_input: Path):
    first, second = (weights(fit(small_input, folder)) for folder in ("one", "two"))
    assert torch.equal(first, second)
    assert not torch.equal(first, weights(fit(small_input, "three", seed=4)))


@pytest.mark.parametrize(
    "keys",
    [
        {"scheduler": "cosine", "warmup_fraction": 0.2, "ema_decay": 0.9, "optimizer": "AdamW", "weight_decay": 0.01},
        {"scheduler": "plateau", "plateau_patience": 0, "learning_rate": 0.05, "gradient_clip": 0.1},
        {"dtype_setting": 1, "manual_seed_flag": 0},
    ],
    ids=["cosine, EMA", "plateau, clipping", "float32, drawn seed"],
)
def test_a_resumed_fit_ends_with_the_same_bits(
    small_input: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, object]
):
    if "manual_seed_flag" in keys:
        monkeypatch.setattr(torch, "seed", lambda: 12345)
    whole = fit(small_input, "whole", num_epochs=6, **keys)
    stop_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        fit(small_input, "parts", num_epochs=6, **keys)
    monkeypatch.undo()
    parts = fit(small_input, "parts", num_epochs=6, resume=True, **keys)
    assert torch.equal(weights(whole), weights(parts))
    one, other = (load_restart(result.folder / "restart.pt")["trainer"] for result in (whole, parts))
    assert torch.equal(one["best_weights"], other["best_weights"])
    assert one["best_epoch"] == other["best_epoch"]
    losses = [[row.validation_loss for row in read_epochs(result.folder)] for result in (whole, parts)]
    assert losses[0] == losses[1]
    assert whole.errors == parts.errors


def test_frozen_weights_stay_and_a_resumed_fit_has_them(small_input: Path):
    def layer(result: Fit, number: int) -> torch.Tensor:
        model = load_model(result.model_file).model
        assert isinstance(model, BPNN)
        return model.networks[0][number].weight

    start = fit(small_input, "start", num_epochs=0, freeze="networks.0.0")
    whole = fit(small_input, "whole", num_epochs=4, freeze="networks.0.0")
    fit(small_input, "parts", num_epochs=2, freeze="networks.0.0")
    parts = fit(small_input, "parts", num_epochs=4, resume=True, freeze="networks.0.0")
    assert torch.equal(layer(start, 0), layer(whole, 0))
    assert not torch.equal(layer(start, 1), layer(whole, 1))
    assert torch.equal(weights(whole), weights(parts))


def stop_after(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """Interrupt training as the user would, in the middle of an epoch."""
    original = Trainer._step

    def step(self: Trainer, number: int, *rest: Any) -> torch.Tensor:
        if number == epochs * len(self.batches) + 1:
            raise KeyboardInterrupt
        return original(self, number, *rest)

    monkeypatch.setattr(Trainer, "_step", step)


@pytest.mark.slow
def test_a_killed_fit_is_resumed_exactly(small_input: Path):
    keys = {"num_epochs": 150, "learning_rate": 1e-4}
    whole = fit(small_input, "whole", **keys)
    flags = [text for key, value in keys.items() for text in ("-k", "PYTORCH", key, str(value))]
    folder = small_input.parent / "killed"
    command = [sys.executable, "-m", "fitsnap_nn", str(small_input), *flags, "--set", f"OUTFILE.folder={folder}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not (folder / "restart.pt").exists():
            time.sleep(0.02)
        process.kill()
    assert load_restart(folder / "restart.pt")["trainer"]["epoch"] < 150, "killed too late: this test shows nothing"
    parts = fit(small_input, "killed", resume=True, **keys)
    assert torch.equal(weights(whole), weights(parts))
    assert whole.errors == parts.errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_training_between_two_batches(
    small_input: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
):
    whole = fit(small_input, "whole", num_epochs=5)
    original, steps = Trainer._step, []

    def step(self: Trainer, *rest: Any) -> torch.Tensor:
        steps.append(rest)
        if len(steps) == 2 * len(self.batches) + 2:
            os.kill(os.getpid(), number)
        return original(self, *rest)

    monkeypatch.setattr(Trainer, "_step", step)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted) as leaving:
        fit(small_input, "parts", num_epochs=5)
    monkeypatch.undo()
    assert leaving.value.exit_code == 128 + number
    assert len(steps) == 8  # three batches per epoch: the batch of the signal is finished
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    log = (small_input.parent / "parts" / "run.log").read_text(encoding="utf-8")
    last = log.splitlines()[-1]
    assert last.startswith("interrupted in epoch 3 of 5; ")
    state = "the state after step 2 of 3 of epoch 3"
    assert last.endswith(f"restart.pt contains {state}. To go on: the same command with --resume")
    assert torch.equal(weights(whole), weights(fit(small_input, "parts", num_epochs=5, resume=True)))


def test_an_interruption_before_the_first_epoch_has_saved_nothing(small_input: Path, monkeypatch: pytest.MonkeyPatch):
    stop_after(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        fit(small_input, "fit")
    log = (small_input.parent / "fit" / "run.log").read_text(encoding="utf-8")
    assert "interrupted in epoch 1 of 3; nothing is saved. To start again: the same command with --overwrite" in log


def test_a_fit_ends_with_a_verdict(small_input: Path):
    result = fit(small_input, "fit", num_epochs=4, early_stopping=50)
    assert result.verdict[0].startswith("verdict: ")
    assert "best epoch" in result.verdict[0]
    assert (result.folder / "run.log").read_text(encoding="utf-8").endswith("\n".join(result.verdict) + "\n")


def test_a_damaged_restart_file_is_named(small_input: Path):
    result = fit(small_input, "fit")
    path = result.folder / "restart.pt"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CheckpointError, match=r"restart\.pt"):
        fit(small_input, "fit", resume=True)


def test_another_fit_is_not_continued(small_input: Path):
    result = fit(small_input, "fit")
    with pytest.raises(CheckpointError, match=r"\[PYTORCH\] learning_rate"):
        fit(small_input, "fit", resume=True, learning_rate=0.1)
    text = small_input.read_text()
    small_input.write_text(text.replace("Displaced_BCC = 5 2 100", "Displaced_BCC = 5 2 50"))
    with pytest.raises(CheckpointError, match="Displaced_BCC"):
        fit(small_input, "fit", resume=True)
    assert torch.equal(weights(result), load_restart(result.folder / "restart.pt")["trainer"]["weights"])


def test_nothing_is_overwritten_unasked(small_input: Path):
    result = fit(small_input, "fit")
    before = {path: path.read_bytes() for path in result.folder.iterdir()}
    with pytest.raises(InputError, match="holds an earlier run"):
        fit(small_input, "fit", seed=9)
    assert {path: path.read_bytes() for path in result.folder.iterdir()} == before


def test_zero_epochs_evaluate_a_saved_model_as_it_is(small_input: Path):
    trained = fit(small_input, "trained", num_epochs=4)
    loaded = fit(small_input, "loaded", num_epochs=0, save_state_input=trained.folder / "restart.pt")
    assert loaded.errors == trained.errors
    one, other = (torch.load(r.model_file, weights_only=True)["state_dict"] for r in (trained, loaded))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("fitted", "bettered"),
    [("energy", "Energy"), ("force", "Force"), ("stress", "Stress")],
)
def test_each_kind_of_label_can_be_fitted_alone(small_input: Path, fitted: str, bettered: str):
    flags = {f"CALCULATOR.{name}": int(name == fitted) for name in ("energy", "force", "stress")}
    errors = {}
    for epochs in (0, 150):
        overrides = {**flags, "OUTFILE.folder": small_input.parent / f"{epochs}", "PYTORCH.num_epochs": epochs}
        with without_plots():
            result = fitsnap_nn.fit(small_input, {**overrides, "PYTORCH.learning_rate": 0.003}, verify=False)
        errors[epochs] = of_all(result, bettered, "Train")
    assert errors[150] < 0.5 * errors[0]


def test_labels_that_are_not_fitted_do_not_matter(small_input: Path):
    one = fit(small_input, "one", energy_weight=1, force_weight=0)
    settings = {"CALCULATOR.force": 0, "CALCULATOR.stress": 0, "OUTFILE.folder": small_input.parent / "two"}
    settings |= {"PYTORCH.energy_weight": 1, "PYTORCH.force_weight": 0}
    with without_plots():
        two = fitsnap_nn.fit(small_input, settings, verify=False)
    assert of_all(two, "Energy") > 0
    assert {row.property for row in two.errors} == {"Energy"}
    assert {row.property for row in one.errors} == {"Energy", "Force", "Stress"}


def test_early_stopping_stops(small_input: Path):
    result = fit(small_input, "fit", num_epochs=500, learning_rate=0.3, early_stopping=2)
    rows = read_epochs(result.folder)
    best = min(rows, key=lambda row: row.validation_loss).epoch
    assert rows[-1].epoch == best + 2 < 500


def test_a_loss_that_is_not_finite_ends_the_fit(small_input: Path):
    with pytest.raises(TrainingError, match="not a finite number"):
        fit(small_input, "fit", learning_rate=1e18, num_epochs=20, activation="relu", dtype_setting=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_not_replaced_silently(small_input: Path):
    with pytest.raises(InputError, match=r"device = cuda, but torch .* With auto or cpu it runs on the CPU"):
        fit(small_input, "fit", device="cuda")


@pytest.mark.slow
def test_no_testing_data_is_fine(small_input: Path):
    text = small_input.read_text()
    small_input.write_text(text.replace("= 6 2 10", "= 6 0 10").replace("= 5 2 100", "= 5 0 100"))
    result = fit(small_input, "fit", verify=True)
    assert math.isnan(read_epochs(result.folder)[0].validation_loss)
    assert {row.subset for row in result.errors} == {"Train"}
    assert result.verification.difference is not None


def test_nofit_computes_descriptors_only(small_input: Path):
    overrides = {"OUTFILE.folder": small_input.parent / "fit"}
    fitsnap_nn.fit(small_input, overrides, train=False)
    assert not (small_input.parent / "fit" / "restart.pt").exists()
    assert any((small_input.parent / "fit" / "cache").rglob("*.bin"))


def test_a_second_fit_computes_no_descriptors(small_input: Path, capsys: pytest.CaptureFixture[str]):
    fit(small_input, "one")
    assert "15 computed, 0 from the cache" in capsys.readouterr().out
    fit(small_input, "two")
    assert "0 computed, 15 from the cache" in capsys.readouterr().out


def test_check_counts_the_data(small_input: Path):
    text = str(check(load_settings(small_input)))
    assert "15 configurations" in text
    assert "11 training, 4 validation" in text


def test_a_model_of_other_descriptors_is_refused(small_input: Path):
    result = fit(small_input, "fit")
    settings = load_settings(small_input, [("BISPECTRUM", "rcutfac", "4.0")])
    with pytest.raises(InputError, match=r"\[BISPECTRUM\] rcutfac — is 4\.0, but"):
        evaluate(settings, result.model_file)


def test_loaded_potential_and_ase_calculator_repeat_the_report(small_input: Path):
    result = fit(small_input, "fit")
    potential = fitsnap_nn.load_potential(result.model_file)
    peratom = np.loadtxt(result.folder / "energy_comparison.dat")
    assert peratom.shape[1] == 2
    from fitsnap_nn.training.distributed import Ranks
    from fitsnap_nn.workflow.preparation import read_dataset

    dataset = read_dataset(load_settings(small_input), Ranks())
    held_out: Configuration = next(c for c in dataset.configurations if c.subset is Subset.VALIDATION)
    found = potential.predict(held_out)
    atoms = ase.Atoms(held_out.species, held_out.positions, cell=held_out.cell, pbc=held_out.pbc)
    atoms.calc = fitsnap_nn.Calculator(potential)
    assert atoms.get_potential_energy() == pytest.approx(found.energy, abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), found.forces, atol=1e-9)
    model_column = np.loadtxt(result.folder / "energy_comparison_val.dat")[:, 0]
    per_atom = found.energy / len(held_out)
    assert np.abs(model_column - per_atom).min() < 1e-9


@pytest.mark.slow
def test_the_command_line_fits_and_tells_what_it_wrote(small_input: Path):
    done = run([sys.executable, "-m", "fitsnap_nn", str(small_input)], small_input.parent)
    assert done.returncode == 0, done.stderr
    assert "verified in LAMMPS" in done.stdout
    assert done.stdout.count("├──") > 10
    assert done.stdout == (small_input.parent / "small_fit" / "run.log").read_text(encoding="utf-8")
    assert done.stderr in ("", "loading torch ...\n")  # on a slow machine
