"""The epoch log: what is on disk after each epoch, and after a fit that goes on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fitsnap_nn.data.irreducible_blocks import blocks_of
from fitsnap_nn.data.properties import ENERGY, FORCES, STANDARD, STRESS, user_property
from fitsnap_nn.data.symmetries import Cartesian, Scalar
from fitsnap_nn.reports.epochs import EpochLog, EpochRow, epoch_header, epoch_line, read_epochs

NO_ERRORS = (math.nan,) * 3


def row(epoch: int) -> EpochRow:
    mae, rmse = (0.1172, 0.0761, math.nan), (0.2, 0.3, math.nan)
    return EpochRow(epoch, 1 / epoch, 2 / epoch, mae, 5e-5, 0.21, best=epoch % 2 == 1, rmse=rmse)


def test_every_epoch_is_on_disk_before_the_next(tmp_path):
    with EpochLog(tmp_path, STANDARD) as log:
        for epoch in (1, 2, 3):
            log.write(row(epoch))
            losses = np.loadtxt(tmp_path / "loss_vs_epochs.dat", ndmin=2)
            np.testing.assert_allclose(losses, [(n, 1 / n, 2 / n) for n in range(1, epoch + 1)], rtol=1e-8)
            assert [entry.epoch for entry in read_epochs(tmp_path)] == list(range(1, epoch + 1))


def test_metrics_come_back_as_they_were(tmp_path):
    with EpochLog(tmp_path, STANDARD) as log:
        log.write(row(3))
        log.write(EpochRow(4, np.float64(0.25)))
    first, second = read_epochs(tmp_path)
    assert str(first) == str(row(3))  # nan equals nan as text
    assert str(second) == str(EpochRow(4, 0.25, mae=NO_ERRORS, rmse=NO_ERRORS))


def test_going_on_drops_only_what_the_restart_file_does_not_know(tmp_path):
    with EpochLog(tmp_path, STANDARD) as log:
        for epoch in range(1, 13):
            log.write(row(epoch))
    before = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    with EpochLog(tmp_path, STANDARD, after=10) as log:
        log.write(row(11))
    after = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert after == before[:12]
    assert np.loadtxt(tmp_path / "loss_vs_epochs.dat")[:, 0].tolist() == list(range(1, 12))


@pytest.mark.parametrize("name", ["metrics.csv", "loss_vs_epochs.dat"])
def test_a_line_cut_off_in_the_middle_goes(tmp_path, name):
    with EpochLog(tmp_path, STANDARD) as log:
        log.write(row(1))
        log.write(row(2))
    text = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(text[:-7])
    with EpochLog(tmp_path, STANDARD, after=5) as log:
        log.write(row(3))
    lines = (tmp_path / name).read_text(encoding="utf-8").splitlines()[1:]
    assert [line.replace(",", " ").split()[0] for line in lines] == ["1", "3"]


def test_files_of_earlier_versions_have_no_rmse(tmp_path):
    """Also with the names of errors in the name of a property."""
    odd = user_property("my_rmse_mae", "atom", Scalar(), "e")
    with EpochLog(tmp_path, (ENERGY, odd)) as log:
        for epoch in (1, 2):
            log.write(EpochRow(epoch, 1.0, 2.0, (0.1, 0.2), 1e-3, 0.5, rmse=(0.3, 0.4)))
    path = tmp_path / "metrics.csv"
    lines = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(",".join(cells[:5] + cells[7:]) + "\n" for cells in lines), encoding="utf-8")
    assert [(one.mae, one.rmse) for one in read_epochs(tmp_path)] == [((0.1, 0.2), ())] * 2
    with EpochLog(tmp_path, (ENERGY, odd), after=1) as log:
        log.write(EpochRow(2, 1.0, 2.0, (0.1, 0.2), 1e-3, 0.5, rmse=(0.3, 0.4)))
    first, second = read_epochs(tmp_path)
    assert (first.mae, str(first.rmse)) == ((0.1, 0.2), "(nan, nan)")
    assert (second.mae, second.rmse) == ((0.1, 0.2), (0.3, 0.4))


def test_lines_show_both_errors_on_demand():
    header, line = epoch_header(STANDARD, rmse=True), epoch_line(row(3), STANDARD, rmse=True)
    titles = ("RMSE E meV/atom", "RMSE F meV/Å", "RMSE P GPa", "MAE E meV/atom", "MAE F meV/Å", "MAE P GPa")
    for title, value in zip(titles, ("200.0", "300.0", "-", "117.2", "76.1", "-"), strict=True):
        end = header.index(title) + len(title)
        assert line[:end].endswith(f" {value}")


def test_going_on_without_files_starts_them(tmp_path):
    with EpochLog(tmp_path, STANDARD, after=7) as log:
        log.write(row(8))
    assert [entry.epoch for entry in read_epochs(tmp_path)] == [8]


def test_a_new_fit_starts_new_files(tmp_path):
    for _ in range(2):
        with EpochLog(tmp_path, STANDARD) as log:
            log.write(row(1))
    assert len(read_epochs(tmp_path)) == 1


@pytest.mark.parametrize("stress", [False, True])
def test_lines_stand_under_their_titles(stress):
    properties = STANDARD if stress else STANDARD[:2]
    header = epoch_header(properties)
    mae = (0.1172, 0.0761, 0.41)[: len(properties)]
    line = epoch_line(EpochRow(12, 0.123456, 0.2, mae, 5e-5, 0.21, best=True), properties)
    assert line.endswith(" *best")
    values = {"epoch": "12", "train loss": "0.1235", "E meV/atom": "117.2", "F meV/Å": "76.1", "lr": "5.0e-05"}
    if stress:
        values["P GPa"] = "0.410"
    for title, value in values.items():
        end = header.index(title) + len(title)
        assert line[:end].endswith(f" {value}")
    assert ("P GPa" in header) is stress


def test_what_does_not_exist_is_a_dash():
    assert epoch_line(EpochRow(1, 2.0, seconds=1.0), STANDARD).split() == ["1", "2.000", *"-----", "1.00"]


def test_columns_are_those_of_the_properties(tmp_path):
    charge = user_property("charge", "atom", Scalar(), "e")
    dipole = user_property("dipole", "configuration", Cartesian(1), "", intensive=True)
    with EpochLog(tmp_path, (ENERGY, FORCES, charge, dipole)) as log:
        log.write(EpochRow(1, 1.0, 2.0, (0.1, 0.2, 0.3, 0.4), 1e-3, 0.5))
    header, line = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert header.split(",") == [
        "epoch", "train_loss", "validation_loss", "energy_mae_eV_per_atom", "force_mae_eV_per_A", "charge_mae_e",
        "dipole_mae", "energy_rmse_eV_per_atom", "force_rmse_eV_per_A", "charge_rmse_e", "dipole_rmse",
        "learning_rate", "seconds", "best",
    ]  # fmt: skip
    assert line.split(",")[3:7] == ["0.1", "0.2", "0.3", "0.4"]
    assert read_epochs(tmp_path)[0].mae == (0.1, 0.2, 0.3, 0.4)
    shown = epoch_line(read_epochs(tmp_path)[0], (ENERGY, FORCES, charge, dipole)).split()
    assert shown == ["1", "1.000", "2.000", "100.0", "200.0", "0.300", "0.400", "1.0e-03", "0.50"]


def test_irreducible_blocks_have_columns_of_their_own(tmp_path):
    """They follow those of the properties, and are 'nan' in epochs of a fit that did not evaluate them."""
    shift = user_property("Shift", "atom", Cartesian(2, symmetric=False), "ppm")
    blocks = blocks_of([ENERGY, STRESS, shift])
    with EpochLog(tmp_path, (ENERGY, shift)) as log:
        log.write(EpochRow(1, 1.0, 2.0, (0.1, 0.2), 1e-3, 0.5, rmse=(0.3, 0.4)))
    later = EpochRow(2, 1.0, 2.0, (0.1, 0.2), 1e-3, 0.5, False, (0.3, 0.4), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    with EpochLog(tmp_path, (ENERGY, shift), 1, blocks) as log:
        log.write(later)
    header = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    names = ("shift_lambda=0", "shift_lambda=1_pseudo", "shift_lambda=2")
    assert header[7:13] == [f"{name}_{kind}_ppm" for kind in ("mae", "rmse") for name in names]
    first, second = read_epochs(tmp_path)
    assert second == later
    assert (first.mae, first.rmse, str(first.block_mae)) == ((0.1, 0.2), (0.3, 0.4), "(nan, nan, nan)")
    assert epoch_line(second, (ENERGY, shift)).split() == ["2", "1.000", "2.000", "100.0", "0.200", "1.0e-03", "0.50"]


def test_standard_columns_and_the_header_of_the_losses(tmp_path):
    with EpochLog(tmp_path, STANDARD):
        pass
    assert (tmp_path / "metrics.csv").read_text(encoding="utf-8") == (
        "epoch,train_loss,validation_loss,energy_mae_eV_per_atom,force_mae_eV_per_A,stress_mae_GPa,"
        "energy_rmse_eV_per_atom,force_rmse_eV_per_A,stress_rmse_GPa,learning_rate,seconds,best\n"
    )
    losses = (tmp_path / "loss_vs_epochs.dat").read_text(encoding="utf-8")
    assert losses == "# epoch training_loss validation_loss\n"
