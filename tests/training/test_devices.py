"""The choice of a device, and what happens when the memory of a GPU does not suffice (simulated on the CPU)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from small_fit import fit, log_of, write_small_input

import fitsnap_nn
from fitsnap_nn import devices
from fitsnap_nn.errors import FitsnapError, InputError, TrainingError
from fitsnap_nn.models import prediction
from fitsnap_nn.training import differentiation, evaluation, set_errors


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs, as far as the choice of a device can tell."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_ranks_take_gpus_in_turn(two_gpus: None):
    assert [str(devices.choose(local_rank=rank)) for rank in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert str(devices.choose("cuda:1", local_rank=2)) == "cuda:1"
    assert str(devices.choose("cpu", local_rank=1)) == "cpu"


def test_the_environment_variable_replaces_auto_only(two_gpus: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(devices.VARIABLE, "cpu")
    assert str(devices.choose()) == "cpu"
    assert str(devices.choose("cuda")) == "cuda:0"
    monkeypatch.setenv(devices.VARIABLE, "gpu")
    with pytest.raises(InputError, match=r"environment  FITSNAP_NN_DEVICE = gpu is not a device.*cuda:NUMBER"):
        devices.choose()


def test_a_number_that_no_gpu_has(two_gpus: None):
    with pytest.raises(InputError, match="torch finds 2 GPUs, numbered from 0"):
        devices.choose("cuda:2")


@pytest.mark.skipif(torch.version.cuda is not None, reason="torch has CUDA")
def test_the_reason_why_there_is_no_gpu(tmp_path: Path):
    with pytest.raises(InputError, match="built without support for GPUs"):
        fitsnap_nn.load_potential(tmp_path / "any.pt", device="cuda")
    path = write_small_input(tmp_path)
    with pytest.raises(InputError, match=r"small.in  \[PYTORCH\] device = cuda, but .* built without support for GPUs"):
        fit(path, "fit", device="cuda")


def limited(function: Callable[..., Any], largest: int, calls: list[int]) -> Callable[..., Any]:
    """A function of a model and a batch that runs out of memory above a number of configurations."""

    def run(model: Any, batch: Any, *arguments: Any, **keys: Any) -> Any:
        calls.append(len(batch.n_atoms))
        if calls[-1] > largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return function(model, batch, *arguments, **keys)

    return run


def test_evaluation_halves_batches_for_lack_of_memory(tmp_path: Path):
    path, calls = write_small_input(tmp_path), []
    whole = fit(path, "whole", num_epochs=1)
    small = limited(prediction.predict, 2, calls)
    with patch("fitsnap_nn.models.evaluation.predict", small), patch.object(set_errors, "predict", small):
        halved = fit(path, "halved", num_epochs=1)
    assert max(calls) > 2
    log = log_of(halved)
    assert "note: validation batches halved, because larger ones exceed the memory of the GPU" in log
    assert log.count("note: evaluation batches divided by") == 1
    for one, other in zip(whole.errors, halved.errors, strict=True):
        assert other.group == one.group
        assert other.mae == pytest.approx(one.mae, rel=1e-12)
    assert halved.history[0].validation_loss == pytest.approx(whole.history[0].validation_loss, rel=1e-12)


def test_each_group_is_evaluated_once_and_in_order():
    done: list[Sequence[int]] = []

    def evaluate(group: Sequence[int]) -> None:
        if len(group) > 2:
            raise torch.OutOfMemoryError
        done.append(group)

    assert evaluation.for_each_within_memory([[0, 1], [2, 3, 4, 5, 6], [7, 8, 9], [10]], evaluate) == 2
    assert [number for group in done for number in group] == list(range(11))
    with pytest.raises(FitsnapError, match="a single configuration"):
        evaluation.for_each_within_memory([[0]], lambda _: evaluate([0, 0, 0]))


def test_training_without_enough_memory_names_the_settings(tmp_path: Path):
    small = limited(differentiation.predict_for_training, 2, [])
    with (
        patch.object(differentiation, "predict_for_training", small),
        pytest.raises(TrainingError, match=r"batch_size, or batch_atom_bounds .*device = cpu.*Tried to allocate"),
    ):
        fit(write_small_input(tmp_path), "fit")


def test_validation_of_a_configuration_that_does_not_fit_names_the_settings(tmp_path: Path):
    none = limited(prediction.predict, 0, [])
    with patch.object(set_errors, "predict", none), pytest.raises(TrainingError, match="batch_size"):
        fit(write_small_input(tmp_path), "fit")


def test_tf32_has_no_effect_on_a_cpu_and_says_so(tmp_path: Path):
    log = log_of(fit(write_small_input(tmp_path), "fit", num_epochs=1, tf32=1))
    assert "note: [PYTORCH] tf32 = 1 has no effect on a CPU" in log


def test_tf32_holds_in_the_block_only():
    before = torch.backends.cuda.matmul.allow_tf32
    with devices.tf32(True):
        assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32 == before
