"""Whole fits with stage two, copies of the restart file and what is said of them."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
from small_fit import fit, log_of, without_plots, write_small_input

import fitsnap_nn
from fitsnap_nn.errors import DataError, InputError
from fitsnap_nn.export.model_file import load_model
from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.settings import load_settings
from fitsnap_nn.training.checkpoint import load_restart
from fitsnap_nn.workflow.pipeline import check
from fitsnap_nn.workflow.run import Fit

pytestmark = [pytest.mark.lammps]

STAGE_TWO = (
    "stage_two = 1\nstage_two_start = 3\nstage_two_energy_weight = 400\nstage_two_force_weight = 1\n"
    "stage_two_average = 1\nlog_interval = 4\nlog_mae = 1\ncheckpoint_interval = 2\nbest_model_metric = mae_prod\n"
)
CHANGES = (("num_epochs = 3\n", f"num_epochs = 6\n{STAGE_TWO}"),)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """A fit of six epochs, three of them of stage two, with copies of the restart file every two."""
    return fit(write_small_input(tmp_path_factory.mktemp("base"), *CHANGES), "fit")


def printed_epochs(result: Fit) -> list[int]:
    words = (line.split() for line in log_of(result).splitlines())
    return [int(cells[0]) for cells in words if len(cells) > 8 and cells[0].isdigit()]


def test_what_is_said_of_the_epochs(base: Fit):
    log = log_of(base)
    line = "stage two from epoch 4 on: learning rate 0.0002, energy_weight 400, force_weight 1; the best epoch"
    assert line in log
    assert printed_epochs(base) == [1, 4, 6]
    assert [row.epoch for row in base.history] == [1, 2, 3, 4, 5, 6]
    assert "RMSE E meV/atom" in log
    assert "MAE E meV/atom" in log
    assert ", lowest mae_prod of the validation set; its weights are kept" in log


def test_the_last_epoch_is_shown_if_the_fit_stops_early(base: Fit):
    path = base.folder.parent / "small.in"
    keys = {"stage_two": 0, "num_epochs": 60, "log_interval": 50, "early_stopping": 1, "learning_rate": 0.3}
    result = fit(path, "early", **keys, checkpoint_interval=0, best_model_metric="loss")
    assert printed_epochs(result) == [1, result.history[-1].epoch]
    assert result.history[-1].epoch < 50


def test_the_state_of_an_optimiser_is_taken_by_its_like(base: Fit):
    path, start = base.folder.parent / "small.in", base.folder / "restart.pt"
    common = {"num_epochs": 1, "stage_two": 0, "checkpoint_interval": 0, "save_state_input": start}
    same = fit(path, "same", optimizer="AdamW", amsgrad=1, **common)
    assert "start: optimiser: state after epoch 6 of the file, learning rate of the input" in log_of(same)
    (state,) = load_restart(same.folder / "restart.pt")["trainer"]["optimizer"]["state"].values()
    assert int(state["step"]) > 3
    assert bool((state["max_exp_avg_sq"] >= state["exp_avg_sq"]).all())


def test_the_bases_of_soap_are_taken_by_soap_only(base: Fit):
    path, start = base.folder.parent / "small.in", base.folder / "restart.pt"
    common = {"num_epochs": 1, "stage_two": 0, "checkpoint_interval": 0, "stage_two_average": 0}
    first = fit(path, "soap", optimizer="SOAP", save_state_input=start, **common)
    assert "is of optimizer = Adam, which SOAP cannot use" in log_of(first)
    second = fit(path, "second", optimizer="SOAP", save_state_input=first.folder / "restart.pt", **common)
    assert "start: optimiser: state after epoch 1 of the file" in log_of(second)
    other = fit(path, "third", save_state_input=first.folder / "restart.pt", **common)
    assert "is of optimizer = SOAP, which Adam cannot use" in log_of(other)


@pytest.mark.usefixtures("schedulefree")
def test_schedule_free_optimisers_start_anew(base: Fit):
    path, start = base.folder.parent / "small.in", base.folder / "restart.pt"
    common = {"num_epochs": 1, "stage_two": 0, "checkpoint_interval": 0, "stage_two_average": 0}
    free = fit(path, "free", optimizer="ScheduleFree", save_state_input=start, **common)
    assert "start: optimiser: its state starts from zero: that of ScheduleFree belongs to the weights" in log_of(free)
    other = fit(path, "other", save_state_input=free.folder / "restart.pt", **common)
    assert "is of optimizer = ScheduleFree, which Adam cannot use" in log_of(other)


def test_the_best_epoch_is_one_of_stage_two(base: Fit):
    best = next(row for row in reversed(base.history) if row.best)
    products = {row.epoch: math.prod(value for value in row.mae if value > 0) for row in base.history}
    assert best.epoch == min((4, 5, 6), key=lambda epoch: products[epoch])
    of_all = ("*ALL", "Validation", "Energy")
    (row,) = [one for one in base.errors if (one.group, one.subset, one.property) == of_all]
    assert (row.mae, row.rmse) == pytest.approx((best.mae[0], best.rmse[0]), rel=1e-9)


def test_copies_of_the_restart_file_continue_the_fit(base: Fit, tmp_path: Path):
    path = base.folder.parent / "small.in"
    states = {epoch: load_restart(base.folder / f"restart_{epoch}.pt")["trainer"] for epoch in (2, 4, 6)}
    assert [state["epoch"] for state in states.values()] == [2, 4, 6]
    assert not (base.folder / "restart_3.pt").exists()
    assert "restart_4.pt" in log_of(base)
    for epoch in (2, 4):
        folder = tmp_path / f"from{epoch}"
        shutil.copytree(base.folder, folder)
        shutil.copy(folder / f"restart_{epoch}.pt", folder / "restart.pt")
        log = log_of(fit(path, str(folder), resume=True))
        assert (f"removed {folder / 'restart_4.pt'}" in log) is (epoch == 2)
        found = load_restart(folder / "restart.pt")["trainer"]
        for name in ("weights", "best_weights", "epoch_mean"):
            assert torch.equal(found[name], states[6][name])
        assert [row.epoch for row in read_epochs(folder)] == [1, 2, 3, 4, 5, 6]


def test_copies_of_an_earlier_fit_are_removed(base: Fit):
    path = base.folder.parent / "small.in"
    first = fit(path, "old")
    (first.folder / "restart_8.pt").write_bytes(b"of the user")
    overrides = {"OUTFILE.folder": first.folder, "MEMORY.cache": base.folder.parent / "cache"}
    with without_plots():
        second = fitsnap_nn.fit(path, {**overrides, "PYTORCH.checkpoint_interval": 0}, verify=False, overwrite=True)
    assert sorted(one.name for one in second.folder.glob("restart_*.pt")) == ["restart_8.pt"]
    assert f"removed {first.folder / 'restart_4.pt'}, of an earlier fit" in log_of(second)


def test_a_copy_is_a_model_to_start_from(base: Fit):
    payload = load_restart(base.folder / "restart_4.pt")
    assert payload["model"]["provenance"]["epoch"] == 4
    model = load_model(base.folder / "restart_4.pt").model
    vector = torch.cat([one.detach().flatten() for one in model.parameters() if one.requires_grad])
    torch.testing.assert_close(vector.double(), payload["trainer"]["best_weights"], rtol=0, atol=0)


def test_more_epochs_do_not_move_a_stage_that_has_begun(base: Fit):
    path = write_small_input(base.folder.parent, *CHANGES, ("stage_two_start = 3\n", ""))
    result = fit(path, "more", num_epochs=4)
    assert "stage two from epoch 4 on" in log_of(result)
    longer = fit(path, "more", num_epochs=8, resume=True)
    assert "num_epochs changed from 4 to 8: stage two has begun after epoch 3, which does not change" in log_of(longer)
    rates = [row.learning_rate for row in read_epochs(longer.folder)]
    assert rates == [2e-3] * 3 + [pytest.approx(2e-4)] * 5
    write_small_input(base.folder.parent, *CHANGES)


def test_more_epochs_stretch_the_cosine_of_stage_two(tmp_path: Path):
    path = write_small_input(tmp_path, *CHANGES, ("stage_two_average = 1", "scheduler = cosine"))
    assert "schedule" not in log_of(fit(path, "fit", num_epochs=5))
    longer = fit(path, "fit", num_epochs=8, resume=True)
    assert "num_epochs changed from 5 to 8: the cosine schedule is stretched over the new number" in log_of(longer)
    rates = [row.learning_rate for row in read_epochs(longer.folder)]
    # At the last step of each epoch: epochs 4 and 5 of a stage of two epochs, the others of one of five.
    assert rates[4] < rates[3] < 2e-4
    assert 2e-4 > rates[5] > rates[6] > rates[7]
    assert rates[5] > rates[4]


def test_a_stress_weight_of_stage_two_fits_stresses(tmp_path: Path):
    changes = (("100 1 1e-8", "100 1 0"), ("10 1 1e-8", "10 1 0"), ("batch_size", "stage_two = 1\nbatch_size"))
    path = write_small_input(tmp_path, *changes)
    for weight, trained in (("None", False), ("1e-4", True)):
        result = fit(path, f"fit{trained}", stage_two_stress_weight=weight, stage_two_start=1)
        found = {one.property for one in result.errors}
        assert ("Stress" in found) is trained


def test_a_product_needs_a_validation_set(tmp_path: Path):
    path = write_small_input(tmp_path, (" 6 2 ", " 6 0 "), (" 5 2 ", " 5 0 "))
    with pytest.raises(DataError, match="best_model_metric = rmse_prod needs a validation set, which is empty: "):
        check(load_settings(path, [("PYTORCH", "best_model_metric", "rmse_prod")]))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"stage_two": 1, "stage_two_start": 3}, "stage two would begin after 3 epochs, but num_epochs is 3"),
        ({"stage_two": 1, "optimizer": "LKF"}, "stage_two — cannot be used with optimizer = LKF"),
        ({"optimizer": "ScheduleFree", "ema_decay": 0.9}, "ema_decay — cannot be used with optimizer = ScheduleFree"),
        ({"checkpoint_interval": 1, "num_epochs": 20_000}, "20000 copies of the restart file, above the maximum"),
        ({"checkpoint_interval": 1, "output_file": "restart_2.pt"}, "restart_2.pt is also the name of"),
        ({"beta": 1}, "beta — 1 is above the maximum, 0.9999"),
        ({"batch_atom_bounds": "9 None 3"}, "'9 None 3' is not a minimum and a maximum"),
        ({"batch_atom_bounds": "9 3"}, "'9 3' is not a minimum and a maximum"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, keys: dict[str, object], message: str):
    with pytest.raises(InputError, match=message):
        load_settings(write_small_input(tmp_path), [("PYTORCH", key, str(value)) for key, value in keys.items()])


def test_a_missing_package_is_said_before_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fitsnap_nn.settings.training_checks.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed\. pip install 'fitsnap_nn\[schedulefree\]'"):
        load_settings(write_small_input(tmp_path), [("PYTORCH", "optimizer", "schedulefree")])
