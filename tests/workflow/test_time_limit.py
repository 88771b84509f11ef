"""`max_time`: the fit is saved within an epoch, says what is left, and goes on to the same result."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from small_fit import fit, without_plots

import fitsnap_nn
from fitsnap_nn.errors import CheckpointError, InputError, TimeLimit
from fitsnap_nn.export.card import describe_model
from fitsnap_nn.settings.problems import ValueProblem, parse_time
from fitsnap_nn.training.stopping import Stopping
from fitsnap_nn.workflow import records


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("01:30:00", 5400), ("90:00", 5400), ("5400", 5400), ("1-00:00:00", 86400), ("0:0:1.5", 1.5), ("OFF", None)],
)
def test_formats(text: str, seconds: float | None):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["1h", "-5", "0", "1:2:3:4", "nan", "1e3", "00:00"])
def test_what_is_no_time(text: str):
    with pytest.raises(ValueProblem):
        parse_time(text)


def test_errors_name_the_key(small_input: Path):
    with pytest.raises(InputError, match=r"max_time — '2 hours' is not a time.*hh:mm:ss"):
        fit(small_input, "out", max_time="2 hours")


@pytest.mark.slow
def test_the_fit_goes_on_in_the_middle_of_an_epoch(small_input: Path):
    """With Adam, whose 11 configurations make three steps per epoch; one question more in each validation."""
    straight = fit(small_input, "straight")
    answers = iter([False] * 6)
    with (
        patch.object(Stopping, "out_of_time", lambda self: next(answers, True)),
        pytest.raises(TimeLimit, match=r"in epoch 2 of 3; .* after step 2 of 3 of epoch 2\. To go on:.*--resume") as at,
    ):
        fit(small_input, "limited", max_time="100")
    assert "Left to do: up to 2 of 3 epochs, the first of them begun, and the errors" in str(at.value)
    assert at.value.exit_code == 9
    folder = small_input.parent / "limited"
    assert (folder / "run.log").read_text(encoding="utf-8").endswith(f"{at.value}\n")
    assert not (folder / "FitTorch_Pytorch.pt").exists()
    assert "epoch 1" in describe_model(folder / "restart.pt")
    limited = fit(small_input, "limited", resume=True, max_time="1:00:00")
    assert "after epoch 1 and step 2 of the next one" in (folder / "run.log").read_text(encoding="utf-8")
    rows = [[replace(row, seconds=0.0) for row in one.history] for one in (straight, limited)]
    assert rows[0] == rows[1]
    states = [torch.load(one.folder / "restart.pt", weights_only=True)["trainer"] for one in (straight, limited)]
    assert torch.equal(*(state["weights"] for state in states))


@pytest.mark.slow
def test_a_full_disk_at_the_limit_leaves_the_last_epoch(small_input: Path):
    answers = iter([False] * 6)
    real = records.save_restart

    def save(path: Path, **content: Any) -> None:
        if content["trainer"]["part"]:
            raise CheckpointError("no space left")
        real(path, **content)

    with (
        patch.object(Stopping, "out_of_time", lambda self: next(answers, True)),
        patch.object(records, "save_restart", save),
        pytest.raises(CheckpointError, match="no space left"),
    ):
        fit(small_input, "full", max_time="100")
    log = (small_input.parent / "full" / "run.log").read_text(encoding="utf-8")
    assert re.search(r"in epoch 2 of 3; .*restart\.pt contains the state after epoch 1\. To go on: .*--resume", log)


@pytest.mark.slow
@pytest.mark.parametrize("initial", ["random", "least_squares"])  # with errors of the initial weights, or without
def test_a_limit_before_the_first_step_saves_nothing(small_input: Path, initial: str):
    with pytest.raises(TimeLimit, match=r"in epoch 1 of 3; nothing is saved.*--overwrite"):
        fit(small_input, "out", max_time="0.001", initial=initial)
    assert not (small_input.parent / "out" / "restart.pt").exists()


@pytest.mark.slow
def test_event_files_have_what_the_metrics_have(small_input: Path, outside, capsys: pytest.CaptureFixture[str]):
    outside.library("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    keys = {"OUTFILE.tensorboard": 1, "OUTFILE.folder": small_input.parent / "out", "PYTORCH.log_interval": 2}
    for _ in range(2):  # the second fit replaces the files of the first
        with without_plots():
            result = fitsnap_nn.fit(small_input, keys, verify=False, overwrite=True)
    events = EventAccumulator(str(result.folder / "tensorboard"))
    events.Reload()
    for name, values in {
        "loss/training": [row.train_loss for row in result.history],
        "force/RMSE of validation (eV/Å)": [row.rmse[1] for row in result.history],
    }.items():
        found = events.Scalars(name)
        assert [one.step for one in found] == [1, 2, 3]
        assert [one.value for one in found] == pytest.approx(values, rel=1e-6)
    printed = capsys.readouterr().out
    assert "tensorboard" in printed
    assert "CPU time" in printed
