"""Fits with linear solvers: known coefficients, files, metrics, tests of the model, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from linear_case import INP, INPUT, TANTALUM, check_two_ranks, fit, values_of, write_case
from places import DataSet
from random_potentials import crystal, random_linear
from small_fit import without_plots
from tantalum_input import WEIGHTS

import fitsnap_nn
from fitsnap_nn.cli import main
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import CheckpointError, InputError
from fitsnap_nn.export.export import export
from fitsnap_nn.reports.linear_metrics import linear_metrics
from fitsnap_nn.reports.results import Result
from fitsnap_nn.settings import load_settings
from fitsnap_nn.workflow.run import Fit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("linear")
    write_case(folder, INP, INPUT)
    return folder


@pytest.fixture(scope="module")
def fitted(folder: Path) -> Fit:
    return fit(folder, "svd")


def test_the_coefficients_of_the_labels_are_found(fitted: Fit) -> None:
    expected = random_linear(INP).values
    # LAMMPS' bar differs from the exact one by 8e-8, which the stress labels contain.
    np.testing.assert_allclose(values_of(fitted), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert values_of(fitted)[~fitted.model.fitted].tolist() == [0.0] * 9
    assert max(row.rmse for row in fitted.errors if row.property != "Stress") < 1e-6


def test_files_for_pair_style_snap(fitted: Fit) -> None:
    text = (fitted.folder / "pot.snapcoeff").read_text().splitlines()
    assert text[1:4] == ["2 15", "In 0.5 1.0", f"{values_of(fitted)[0]:.17g} # B[0]"]
    assert "quadraticflag 0" in (fitted.folder / "pot.snapparam").read_text()
    log = (fitted.folder / "run.log").read_text(encoding="utf-8")
    assert "solver SVD: 21 coefficients; rows: 7 energy, " in log
    assert "coefficients for pair_style snap" in log


@pytest.mark.mpi
@pytest.mark.slow
def test_two_ranks_find_the_same_and_files_are_verified_in_lammps(folder: Path) -> None:
    check_two_ranks(folder, "snap and mliappy")


def test_the_system_is_that_of_the_fit(fitted: Fit) -> None:
    names = ("Descriptors.npy", "Truth-Ref.npy", "Weights.npy")
    matrix, labels, weights = (np.load(fitted.folder / name) for name in names)
    with (fitted.folder / "FitSNAP.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(matrix) == len(labels) == len(weights) == len(rows)
    assert {row["Row_Type"] for row in rows} == {"Energy", "Force", "Stress"}
    assert [float(row["weights"]) for row in rows] == weights.tolist()
    predicted = np.array([float(row["preds"]) for row in rows])
    np.testing.assert_allclose(matrix @ values_of(fitted), predicted, rtol=1e-10, atol=1e-9)
    trained = np.array([row["Testing"] == "Training" for row in rows])
    assert {row["Configs"] for row in np.array(rows)[~trained]} == {"7.json"}
    weighted = weights[trained, None] * np.column_stack([matrix, labels])[trained]
    used = np.abs(matrix).any(axis=0) & (values_of(fitted) != 0)
    solution = np.linalg.lstsq(weighted[:, :-1][:, used], weighted[:, -1], rcond=None)[0]
    np.testing.assert_allclose(values_of(fitted)[used], solution, rtol=0, atol=1e-9 * np.abs(solution).max())


def test_metrics_are_those_of_fitsnap(fitted: Fit) -> None:
    with (fitted.folder / "FitSNAP.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = [row for row in rows if row["Testing"] == "Training" and row["Row_Type"] == "Force"]
    truth, weight = (np.array([float(row[name]) for row in chosen]) for name in ("truths", "weights"))
    lines = (fitted.folder / "metrics.md").read_text().splitlines()
    assert lines[0].split() == ["|", "|", "ncount", "|", "mae", "|", "rmse", "|", "rsq", "|"]
    table = {line.split("|")[1].strip(): line.split("|")[2:6] for line in lines[2:]}
    assert int(table["('*ALL', 'Unweighted', 'Training', 'Force')"][0]) == len(truth)
    assert int(table["('two', 'Unweighted', 'Testing', 'Energy')"][0]) == 1
    assert float(table["('one', 'weighted', 'Training', 'Energy')"][3]) == pytest.approx(1.0)
    assert list(table).index("('*ALL', 'weighted', 'Testing', 'Stress')") < list(table).index(
        "('one', 'Unweighted', 'Training', 'Energy')"
    )
    # Shifted predictions, whose errors are known.
    potential = fitsnap_nn.load_potential(fitted.model_file)
    configuration = crystal(INP.type, 1)
    found = potential.predict(configuration)
    labels = {"energy": np.array(found.energy + 0.16), "forces": found.forces + 0.5}
    shifted = Configuration(**{**vars(configuration), "labels": labels, "weights": {"energy": 3.0, "forces": 0.0}})
    metrics = linear_metrics([Result(shifted, found)], load_properties())
    energy, forces, weighted, idle = (row for row in metrics if row.group == "*ALL")
    assert (energy.subsystem, energy.ncount, weighted.weighting) == ("Energy", 1, "weighted")
    assert (energy.mae, weighted.rmse) == (pytest.approx(0.01), pytest.approx(0.03))
    assert np.isnan(energy.rsq)
    assert (forces.ncount, forces.mae, forces.rmse) == (48, pytest.approx(0.5), pytest.approx(0.5))
    reference = found.reference["forces"]
    net = (labels["forces"] - reference).ravel()
    assert forces.rsq == pytest.approx(1 - 48 * 0.25 / np.square(net - net.mean()).sum())
    assert (idle.ncount, idle.mae) == (0, 0.0)
    assert weight.min() > 0


def load_properties() -> Any:
    from fitsnap_nn.data.properties import ENERGY, FORCES

    return [ENERGY, FORCES]


@pytest.mark.parametrize(("style", "first"), [("CSV", "Group,Weighting,Testing,Subsystem,ncount,mae,rmse,rsq"),
                                              ("DF", "Group  Weighting"), ("JSON", "[")])  # fmt: skip
def test_styles_of_the_metrics(folder: Path, style: str, first: str) -> None:
    found = fit(folder, f"style {style}", OUTFILE__metrics_style=style)
    text = (found.folder / "metrics.md").read_text()
    assert text.startswith(first)
    if style == "JSON":
        assert json.loads(text)[0] | {"mae": 0, "rmse": 0, "rsq": 0} == {
            "Group": "*ALL", "Weighting": "Unweighted", "Testing": "Training", "Subsystem": "Energy", "ncount": 7,
            "mae": 0, "rmse": 0, "rsq": 0,
        }  # fmt: skip


def test_the_saved_model_is_tested_shown_and_exported(fitted: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    errors = fitsnap_nn.evaluate(
        fitted.folder.parent / "linear.in", fitted.model_file, {"OUTFILE.folder": fitted.folder}, quiet=True
    ).errors
    assert [row.subset for row in errors if row.group == "two"][-1] == "Validation"
    assert [(row.group, row.count, row.mae) for row in errors] == [(r.group, r.count, r.mae) for r in fitted.errors]
    written = export(fitted.model_file, fitted.folder / "exported")
    assert {Path(name).name for name in written} >= {"pot.snapcoeff", "pot.snapparam", "pot.mliap.mliappy", "pot.mod"}
    assert main(["show", str(fitted.model_file)]) == 0
    assert "architecture LINEAR" in capsys.readouterr().out


def test_a_model_of_the_other_kind_is_said(fitted: Fit) -> None:
    path = fitted.folder.parent / "linear.in"
    with pytest.raises(InputError, match=r"solver — is PYTORCH, but .*pot.pt is a linear model"):
        fitsnap_nn.evaluate(path, fitted.model_file, {"SOLVER.solver": "PYTORCH"}, quiet=True)
    changes = {"SOLVER.solver": "PYTORCH", "PYTORCH.start_from": fitted.model_file}
    with pytest.raises(InputError, match="a linear model, whose coefficients cannot be the initial weights"):
        fitsnap_nn.fit(path, changes, quiet=True)
    with pytest.raises(CheckpointError, match="there is nothing to continue"):
        fitsnap_nn.fit(path, resume=True, quiet=True)


def test_other_solvers(fitted: Fit, folder: Path) -> None:
    ridge = values_of(fit(folder, "ridge", SOLVER__solver="RIDGE", RIDGE__alpha=100.0))
    assert np.linalg.norm(ridge) < np.linalg.norm(values_of(fitted))
    found = fit(folder, "anl", SOLVER__solver="ANL", EXTRAS__dump_dataframe=0)
    used = values_of(found) != 0
    np.testing.assert_allclose(np.load(found.folder / "mean.npy"), values_of(found)[used], rtol=1e-12)
    assert np.load(found.folder / "covariance.npy").shape == (21, 21)
    assert not (found.folder / "FitSNAP.csv").exists()


def test_nothing_of_an_earlier_network_is_left(folder: Path) -> None:
    network = {"layer_sizes": "num_desc 4 1", "num_epochs": 1, "activation": "tanh", "output_file": "pot.pt"}
    keys = {f"PYTORCH__{key}": value for key, value in network.items()}
    found = fit(folder, "twice", SOLVER__solver="PYTORCH", **keys)
    of_network = ("loss_vs_epochs.dat", "metrics.csv", "pot.mliap.nn")
    assert all((found.folder / name).exists() for name in of_network)
    with without_plots():
        again = fitsnap_nn.fit(
            folder / "linear.in", {"OUTFILE.folder": found.folder}, verify=False, quiet=True, overwrite=True
        )
    assert not any((found.folder / name).exists() for name in of_network)
    assert again.history == []
    assert (found.folder / "pot.snapcoeff").exists()


REFUSED = (
    ({"CALCULATOR.calculator": "LAMMPSGRAPH"}, "is LAMMPSGRAPH, but [SOLVER] solver = SVD is linear in SNAP or ACE"),
    (
        {
            "CALCULATOR.calculator": "LAMMPSPACE",
            "ACE.type": "In P Al",
            "ACE.ranks": "2",
            "ACE.nmax": "11",
            "ACE.lmax": "12",
        },
        "[ACE] nmax — a linear model would have 21882 coefficients",
    ),
    (
        {"CALCULATOR.calculator": "LAMMPSPACE", "ACE.type": "In P", "ACE.quadraticflag": "1"},
        "quadraticflag — unknown key",
    ),
    (
        {"SOLVER.solver": "RIDGE", "EXTRAS.apply_transpose": "1"},
        "changes the meaning of the parameters of",
    ),
    ({"BISPECTRUM.chemflag": "1"}, "= 4 2 differs between elements, which chemflag = 1 does not allow"),
    ({"BISPECTRUM.twojmax": "16", "BISPECTRUM.quadraticflag": "1"}, "a linear model would have 82082 coefficients"),
    ({"PROPERTIES.charge": "per_atom scalar"}, "a linear model predicts energy, forces and stress only"),
    ({"SOLVER.solver": "ScaLAPACK"}, "'ScaLAPACK' is not one of PYTORCH, SVD, RIDGE, ARD, LASSO, ANL. Use SVD"),
)


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_what_linear_solvers_do_not_support(folder: Path, changes: dict[str, str], message: str) -> None:
    overrides = [(*key.split("."), value) for key, value in changes.items()]
    with pytest.raises(InputError) as error:
        load_settings(folder / "linear.in", overrides)
    assert message in str(error.value)


def test_a_missing_scikit_learn_is_said_before_anything_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fitsnap_nn.settings.linear_checks.find_spec", lambda name: None)
    for solver in ("ARD", "LASSO"):
        with pytest.raises(InputError, match=rf"{solver} needs scikit-learn. .*pip install 'fitsnap_nn\[linear\]'"):
            load_settings(folder / "linear.in", [("SOLVER", "solver", solver)])
    assert load_settings(folder / "linear.in", [("SOLVER", "solver", "RIDGE")]).solver.is_linear


def test_missing_constants_are_said(folder: Path) -> None:
    without = load_settings(folder / "linear.in", [("BISPECTRUM", "bzeroflag", "1")]).notices
    assert any(notice.startswith("[BISPECTRUM] bzeroflag = 1: the linear model has no constant") for notice in without)
    assert not any("bzeroflag" in notice for notice in load_settings(folder / "linear.in").notices)


def test_keys_without_effect_are_said(folder: Path) -> None:
    changes = [("PYTORCH", "learning_rate", "1"), ("PYTORCH", "output_file", "a.pt"), ("RIDGE", "alpha", "1")]
    settings = load_settings(folder / "linear.in", changes)
    assert settings.pytorch.output_file == "a.pt"
    assert "[RIDGE] alpha has no effect with [SOLVER] solver = SVD." in settings.notices
    expected = "[PYTORCH] learning_rate has no effect with [SOLVER] solver = SVD, a linear model."
    assert expected in settings.notices
    ard = load_settings(folder / "linear.in", [("SOLVER", "solver", "ARD"), ("ARD", "alphabig", "1")])
    assert "[ARD] alphabig has no effect with directmethod = 0." in ard.notices
    network = load_settings(folder / "linear.in", [("SOLVER", "solver", "PYTORCH")])
    dumps = "dump_descriptors, dump_truth, dump_weights, dump_dataframe"
    assert f"[EXTRAS] {dumps} have no effect with [SOLVER] solver = PYTORCH." in network.notices


# Coefficients of FitSNAP for this input and its tantalum data, 26 May 2021, and the rmse of all energies and forces.
PUBLISHED = (
    -2.97994848705222237, -0.0114374539722844198, -0.00765461855113633814, -0.0502616837463119095,
    -0.149917503068569991, 0.0946827935902690848, 0.0582627755480193341, 0.0606076096845120094, -0.115443486307962626,
    -0.170155722689120381, -0.105692176533228016, 0.0397826631070501702, -0.113740487868262588, 0.0404876496810439579,
    -0.0726629412536461822, -0.0648706052876557165, -0.0953306396015503599, -0.102394326002813535,
    -0.157112282962739352, 0.0485467074973501556, 0.00249466073965078777, 0.00121982220639401708,
    -0.0497372495010148241, -0.0514062784751681684, -0.0341562112288336384, -0.0159489124674594279,
    -0.0150097345738021484, -0.00622553796531437331, -0.0650157916908287031, 0.0396654127059130265,
    0.0107549952629704612,
)  # fmt: skip


def test_tantalum_has_the_published_coefficients(tmp_path: Path, tantalum: DataSet) -> None:
    """FitSNAP's example Ta_Linear_JCP2014; our sample of the same groups only runs."""
    groups = "\n".join(f"{name} = 1.0 0.0 {weights}" for name, weights in WEIGHTS.items())
    path = tmp_path / "Ta.in"
    path.write_text(TANTALUM.format(data=tantalum.folder, groups=groups))
    with without_plots():
        found = fitsnap_nn.fit(path, {"OUTFILE.folder": tmp_path / "fit"}, verify=False, quiet=True)
    assert sum(row.count for row in found.errors if row.group == "*ALL" and row.property == "Energy") == (
        tantalum.configurations
    )
    if tantalum.configurations > 300:
        # Without the kernel, strain derivatives are finite differences, with an error of 1e-7.
        exact = found.model.input.strain_error == 0.0
        np.testing.assert_allclose(values_of(found), PUBLISHED, rtol=1e-10 if exact else 1e-7)
        rmse = {row.property: row.rmse for row in found.errors if row.group == "*ALL"}
        assert (rmse["Energy"], rmse["Force"]) == (pytest.approx(0.379769, rel=2e-6), pytest.approx(0.160973, rel=3e-6))
