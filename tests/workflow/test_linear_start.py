"""A fit that starts from least squares: its log and tables, its continuation, and inputs that cannot."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from small_fit import without_plots, write_small_input

import fitsnap_nn
from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import ENERGY, FORCES, STANDARD
from fitsnap_nn.errors import InputError
from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.reports.errors_table import LINEAR_COLUMNS, STYLES, ErrorRow
from fitsnap_nn.reports.linear import worse_than_linear
from fitsnap_nn.settings import load_settings
from fitsnap_nn.workflow.run import Fit

START = ("activation = tanh", "activation = tanh\ninitial = least_squares")
TABLE = ("metrics = errors.md", "metrics = errors.csv\nmetrics_style = CSV")


def run(path: Path, folder: str, epochs: int, *, resume: bool = False, **options: str) -> Fit:
    changes = {f"PYTORCH.{key}": value for key, value in options.items()}
    changes |= {"OUTFILE.folder": path.parent / folder, "PYTORCH.num_epochs": epochs, "MEMORY.cache": path.parent / "c"}
    with without_plots():
        return fitsnap_nn.fit(path, changes, verify=False, resume=resume)


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fit]:
    folder = tmp_path_factory.mktemp("start")
    path = write_small_input(folder, START, TABLE)
    found = {
        "whole": run(path, "whole", 3),
        "parts": run(path, "parts", 1),
        "random": run(path, "random", 3, initial="random"),
    }
    found["parts"] = run(path, "parts", 3, resume=True)
    found["frozen"] = run(path, "frozen", 1, freeze="networks.0.2")
    found["started"] = run(path, "started", 1, start_from=str(found["whole"].model_file))
    return found


def log(fit: Fit) -> str:
    return (fit.folder / "run.log").read_text(encoding="utf-8")


def test_log_says_what_was_solved(fits: dict[str, Fit]):
    text = log(fits["whole"])
    features = "the random features of the hidden layers"
    assert f"start: last layer by least squares on {features}: 9 coefficients; labels: 11 energy, " in text
    assert "by 5-fold cross-validation; weighted RMSE E " in text
    assert "linear model on the same descriptors: 15 coefficients; labels: 11 energy, " in text
    assert "  errors (validation set, mean absolute): E " in text
    assert ", the initial weights" in text
    assert "by least squares on" not in log(fits["random"])
    assert "linear SNAP" not in log(fits["random"])


def test_first_loss_is_far_below_that_of_random_weights(fits: dict[str, Fit]):
    line = next(line for line in log(fits["whole"]).splitlines() if line.endswith("the initial weights"))
    assert line.split()[0] == "0"
    assert float(line.split()[2]) < 0.3 * read_epochs(fits["random"].folder)[0].validation_loss


def test_a_resumed_fit_is_the_same(fits: dict[str, Fit]):
    whole, parts = fits["whole"], fits["parts"]
    weights, resumed = (fit.model.state_dict() for fit in (whole, parts))
    assert all(bool((weights[name] == resumed[name]).all()) for name in weights)
    assert whole.errors == parts.errors
    losses, again = ([(row.train_loss, row.validation_loss) for row in fit.history] for fit in (whole, parts))
    assert len(losses) == 3
    assert losses == again
    after = log(parts).split("continuing from")[1]
    assert "last layer" not in after
    assert "linear model on the same descriptors: 15 coefficients" in after


def test_errors_of_the_linear_model_are_in_the_table(fits: dict[str, Fit]):
    fit = fits["whole"]
    with (fit.folder / "errors.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(fit.errors)
    groups = {row["Group"] for row in rows}
    assert groups == {"*ALL", "Volume_BCC", "Displaced_BCC"}
    for row, found in zip(rows, fit.errors, strict=True):
        assert [float(row[name]) for name in LINEAR_COLUMNS] == [found.linear_mae, found.linear_rmse]
    linear = {(r.group, r.subset, r.property): r for r in fits["frozen"].errors}
    for row in fit.errors:  # they do not depend on the network
        other = linear[row.group, row.subset, row.property]
        np.testing.assert_allclose(row.linear_rmse, other.linear_rmse, rtol=1e-12)
    assert all(row.linear_mae is None for row in fits["random"].errors)


def test_each_style_of_the_table_has_the_errors_of_the_linear_model(fits: dict[str, Fit]):
    rows = fits["whole"].errors
    markdown = STYLES["MD"](rows).splitlines()
    assert {line.count("|") for line in markdown} == {11}
    assert markdown[0].endswith("| Linear MAE | Linear RMSE |")
    records = json.loads(STYLES["JSON"](rows))
    assert [record["linear_rmse"] for record in records] == [row.linear_rmse for row in rows]
    assert "linear_rmse" not in json.loads(STYLES["JSON"](fits["random"].errors))[0]
    assert STYLES["DF"](rows).splitlines()[0].split()[-1] == "RMSE"
    assert "Linear" not in STYLES["DF"](rows) + STYLES["MD"](fits["random"].errors)


def test_a_frozen_last_layer_is_said(fits: dict[str, Fit]):
    assert "start: last layer: not set by least squares, because it is frozen" in log(fits["frozen"])


def test_a_network_worse_than_the_linear_model_is_said(fits: dict[str, Fit]):
    worst = [one for one in fits["frozen"].verdict if "worse than the linear model on the same descriptors" in one]
    assert len(worst) == 1
    assert "instead of" in worst[0]
    assert not any("linear SNAP" in line for line in fits["random"].verdict)


def test_verdict_compares_the_judged_set():
    def row(subset: Subset, title: str, rmse: float, group: str = "*ALL") -> ErrorRow:
        return ErrorRow(group, subset.value, title, 3, rmse, rmse, 0.9, "", 0.02, 0.02)

    rows = [row(Subset.TRAINING, "Energy", 0.5), row(Subset.VALIDATION, "Energy", 0.01)]
    rows += [row(Subset.VALIDATION, "Energy", 0.5, "bulk"), row(Subset.VALIDATION, "Force", 0.03)]
    found = list(worse_than_linear(rows, Subset.VALIDATION, STANDARD))
    assert len(found) == 1
    assert f"RMSE {FORCES.symbol} 30.00 instead of 20.00 meV/Å. " in found[0]
    assert list(worse_than_linear(rows, Subset.VALIDATION, [ENERGY])) == []  # forces have no weight
    assert ENERGY.symbol + " " not in found[0].split("RMSE")[1].split(".")[0]
    assert list(worse_than_linear([row(Subset.VALIDATION, "Force", 0.0203)], Subset.VALIDATION, STANDARD)) == []
    assert list(worse_than_linear(rows[1:3], Subset.VALIDATION, STANDARD)) == []


def test_inputs_where_it_has_no_effect(tmp_path: Path, fits: dict[str, Fit]):
    text = log(fits["started"])
    assert "[PYTORCH] initial has no effect with start_from, whose file contains all weights." in text
    assert "linear SNAP" not in text
    assert "last layer" not in text
    path = write_small_input(tmp_path, START)
    (tmp_path / "other.pt").touch()
    given = [("PYTORCH", "model", "BPNN"), ("CALCULATOR", "calculator", "LAMMPSSNAP")]
    settings = load_settings(path, [("PYTORCH", "start_from", "other.pt"), *given])
    assert not settings.starts_from_least_squares
    expected = "[PYTORCH] initial has no effect with start_from, whose file contains all weights."
    assert expected in settings.notices
    assert load_settings(path).starts_from_least_squares
    assert not any("initial" in notice for notice in load_settings(path).notices)


def test_too_many_columns_are_refused(tmp_path: Path):
    path = write_small_input(tmp_path, START, ("num_desc 8 8 1", "num_desc 8 4000 1"))
    with pytest.raises(InputError) as error:
        load_settings(path)
    assert "least_squares would fit 4001 weights of the last layer, above the maximum of 3000" in str(error.value)
