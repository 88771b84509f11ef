"""The report of a fit and the comparison of fits: complete, correct, and readable on a desktop and on a phone."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import numpy as np
import pytest
from browser import check_layout, opened

from fitsnap_nn.cli import main
from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import STANDARD
from fitsnap_nn.errors import CheckpointError, InputError
from fitsnap_nn.reports.citations import citations_of
from fitsnap_nn.reports.compare import compared_set, comparison_page, comparison_text, load_fits, tables
from fitsnap_nn.reports.epochs import EpochLog, EpochRow
from fitsnap_nn.reports.fit_record import load_record, save_record
from fitsnap_nn.reports.predicted import Structure, Values
from fitsnap_nn.reports.report import report_page, split_verdict, write_report
from fitsnap_nn.reports.resumes import CONTINUED, resumed_epochs
from fitsnap_nn.reports.structure_svg import MAX_ATOMS, structure_svg
from fitsnap_nn.settings.schema import Settings

INPUT = "[BISPECTRUM]\ntwojmax = 8\nrfac0 = 0.99363\n[GROUPS]\nbulk<&> = 0.7 0.3 1 1 1\n"
CHECKS = {
    "model": "Ta", "date": "2026-11-27",
    "checks": [
        {"name": "speed", "title": "Speed of MD", "verdict": "pass", "summary": "It ran.", "curves": [],
         "numbers": [{"label": "1 rank", "value": 1234.5, "unit": "steps/s", "reference": None}]},
        {"name": "hot", "title": "Hot run", "verdict": "fail", "summary": "It exploded <at once>.", "numbers": [],
         "curves": [{"label": "T", "x": [0, 1], "y": [300, None]}], "x_label": "t", "y_label": "T", "log": False},
    ],
}  # fmt: skip
UNCERTAINTY = {
    "method": "committee", "quantity": "force", "unit": "eV/Å", "threshold": 0.25, "threshold_rule": "95 % quantile",
    "rank_correlation": {"all": 0.71}, "calibration": {"sigma": [0.1], "rmse": [0.1], "count": [3]},
    "set": "Validation",
}  # fmt: skip


@pytest.fixture
def fit_folder(make_record, random_results, tmp_path):
    """Return a function that writes the output folder of a fit and returns it."""

    def write(name="Ta_fit", results=random_results, **changes):
        folder = tmp_path / name
        folder.mkdir()
        settings = {"citations": citations_of(Settings()), "seconds": {"training": 3.5}, **changes}
        record = make_record(results, **settings)
        save_record(folder, record)
        (folder / "input.used.in").write_text(INPUT, encoding="utf-8")
        with EpochLog(folder, STANDARD) as log:
            for epoch in (1, 2, 3):
                errors = (0.1 / epoch,) * 3
                log.write(EpochRow(epoch, 1 / epoch, 2 / epoch, errors, 1e-3, 0.5, epoch < 3, errors))
        return folder

    return write


def test_what_is_stored_is_what_is_read(fit_folder, make_record, random_results):
    record = make_record(random_results)
    found = load_record(fit_folder())
    assert found.errors[0] == record.errors[0]
    assert [row.group for row in found.errors] == [row.group for row in record.errors]
    assert (found.worst, found.properties, found.day) == (record.worst, record.properties, "2026-11-27 20:58 UTC")
    for name, values in record.predicted.values.items():
        again = found.predicted.values[name]
        np.testing.assert_allclose(again.model, values.model, rtol=1e-6)
        np.testing.assert_allclose(again.target, values.target, rtol=1e-6)
        assert (again.owner.tolist(), again.atom.tolist()) == (values.owner.tolist(), values.atom.tolist())
        plain = [
            field.name for field in fields(Values) if field.name not in ("model", "target", "owner", "atom", "weight")
        ]
        assert [getattr(again, name) for name in plain] == [getattr(values, name) for name in plain]
    assert found.predicted.names == record.predicted.names
    structure, written = found.predicted.worst[0], record.predicted.worst[0]
    assert structure.configuration == written.configuration
    np.testing.assert_array_equal(structure.positions, written.positions)


def test_energies_are_those_without_element_energies(make_record, make_result):
    results = [
        make_result("a", label=-20.0, energy=-19.0, atoms=2),
        make_result("a", label=-40.0, energy=-44.0, atoms=4),
    ]
    values = make_record(results).predicted.values["energy"]
    np.testing.assert_allclose(values.target.ravel(), 0.0, atol=1e-12)
    np.testing.assert_allclose(values.residual.ravel(), [500.0, -1000.0])


def test_configurations_without_weight_are_left_out_and_counted(make_record, make_result):
    weights = {"energy": 0.0, "forces": 0.0, "stress": 0.0}
    results = [make_result("atoms", label=99.0, atoms=1, weights=weights), make_result(label=1.0)]
    predicted = make_record(results).predicted
    assert (predicted.groups, predicted.left_out) == (["bulk"], 1)


def test_a_folder_without_a_fit_or_with_a_damaged_one_is_refused(fit_folder, tmp_path):
    with pytest.raises(InputError, match=r"no fit\.json: this is not the output folder of a finished fit"):
        load_record(tmp_path)
    folder = fit_folder()
    (folder / "predictions.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(CheckpointError, match=r"predictions\.npz is damaged"):
        load_record(folder)
    (folder / "fit.json").write_text('{"format": "fitsnap_nn fit", "version": 9}', encoding="utf-8")
    with pytest.raises(CheckpointError):
        load_record(folder)


def test_the_report_has_every_section_and_escapes_texts(fit_folder):
    folder = fit_folder(verification={"passed": False, "text": "forces differ by 3 eV/Å"})
    (folder / "md_checks.json").write_text(json.dumps(CHECKS), encoding="utf-8")
    (folder / "uncertainty.json").write_text(json.dumps(UNCERTAINTY), encoding="utf-8")
    page = report_page(folder, load_record(folder))
    for title in ("Verdict", "Errors", "Pictures", "Data", "Input", "Run", "Citations", "Uncertainty"):
        assert f">{title}</h2>" in page
    assert "Try another &lt;learning_rate&gt; &amp; weights" in page
    assert "bulk&lt;&amp;&gt; = 0.7 0.3 1 1 1" in page
    assert "It exploded &lt;at once&gt;." in page
    assert "FAILED" in page
    assert "1234.5" in page
    assert "95 % quantile" in page
    assert page.count("<svg") == 5
    assert re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"", page) == []
    assert "matplotlib is not installed" in page  # there are no pictures in the folder


def test_keys_that_differ_from_their_defaults_are_marked(fit_folder):
    folder = fit_folder()
    page = report_page(folder, load_record(folder))
    assert re.search(r'class="changed"[^>]*><span>twojmax = 8</span><span>default: 6</span>', page)
    assert re.search(r'class="default"[^>]*><span>rfac0 = 0.99363</span><span></span>', page)


def test_errors_in_the_table_are_those_of_the_error_table(fit_folder, make_result):
    results = [make_result("a", label=0.2, energy=0.0), make_result("a", label=-0.2, energy=0.0, subset=Subset.TEST)]
    folder = fit_folder(results=results)
    page = report_page(folder, load_record(folder))
    assert '100.0 <span class="soft">(100 %)</span>' in page  # meV/atom, as large as the labels
    assert "Energy RMSE, test set" in page


def test_verdicts_are_split():
    lines = ["verdict: 1 remark. RMSE 1", "  a: b", "  uncertainty: c", "  largest errors (relative):", "    d"]
    assert split_verdict(lines) == ("1 remark. RMSE 1", ["a: b"], ["uncertainty: c"])
    assert split_verdict([]).remarks == []


def test_resumed_epochs_are_read_from_the_log(tmp_path):
    assert resumed_epochs(tmp_path) == []
    lines = ["fitsnap_nn", *(CONTINUED.format(path="a b/restart.pt", epoch=epoch) for epoch in (3, 7)), "other 9"]
    (tmp_path / "run.log").write_text("\n".join(lines), encoding="utf-8")
    assert resumed_epochs(tmp_path) == [3, 7]


def test_structures_show_all_atoms_the_cell_and_the_largest_error():
    positions = np.random.default_rng(0).uniform(0, 9, size=(20, 3))
    errors = np.arange(20.0)
    one = Structure(0, np.full(20, 73), positions, 9 * np.eye(3), np.ones(3, bool), errors)
    svg = structure_svg(one, "a <b>")
    assert svg.count('fill="#4da6ff"') == 20  # the colour of tantalum
    assert svg.count("#9a9a9a") == 12
    assert svg.count("#c00020") == 1
    assert "<title>a &lt;b&gt;</title>" in svg
    many = one._replace(numbers=np.full(900, 73), positions=np.tile(positions, (45, 1)) * 3, force_errors=np.zeros(0))
    assert structure_svg(many, "").count('fill="#4da6ff"') == MAX_ATOMS


def test_atoms_on_faces_of_small_cells_have_images():
    cube = Structure(0, np.array([73]), np.zeros((1, 3)), 3 * np.eye(3), np.ones(3, bool), np.zeros(0))
    assert structure_svg(cube, "").count('fill="#4da6ff"') == 8
    free = cube._replace(pbc=np.zeros(3, bool), cell=np.zeros((3, 3)))
    assert structure_svg(free, "").count('fill="#4da6ff"') == 1
    assert "#9a9a9a" not in structure_svg(free, "")


@pytest.mark.usefixtures("matplotlib")
def test_the_command_report_writes_everything_again_without_data(fit_folder, capsys):
    folder = fit_folder()
    (folder / "md_checks.json").write_text(json.dumps(CHECKS), encoding="utf-8")
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"written: {folder}/report.html\n"
    pictures = {path.name for path in folder.glob("*.png")}
    assert pictures == {
        "parity.png", "errors_by_group.png", "force_errors.png", "residuals.png", "learning_curve.png", "md_checks.png"
    }  # fmt: skip
    first = (folder / "report.html").read_bytes()
    assert first.count(b"data:image/png;base64,") == 6
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").read_bytes() == first


def test_the_command_report_refuses_files_of_others(fit_folder, capsys):
    folder = fit_folder()
    (folder / "report.html").write_text("mine", encoding="utf-8")
    assert main(["report", str(folder)]) != 0
    assert "report.html" in capsys.readouterr().err
    assert (folder / "report.html").read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
@pytest.mark.usefixtures("matplotlib")
def test_pages_in_a_browser(fit_folder, tmp_path, make_result):
    names = [f"group_with_a_long_name_{number}" for number in range(44)]
    results = [make_result(name, subset, label=float(len(name)), force_label=np.ones((2, 3)), forces=np.zeros((2, 3)),
                           name="a_very_long_file_name_without_any_break_in_it_at_all.json#123")
               for name in names for subset in (Subset.TRAINING, Subset.VALIDATION)]  # fmt: skip
    long = ["group table " + "0123456789 " * 20]
    folder = fit_folder("fit_with_a_long_name" * 4, results=results, data={"summary": "x" * 300, "table": long})
    (folder / "md_checks.json").write_text(json.dumps(CHECKS), encoding="utf-8")
    (folder / "uncertainty.json").write_text(json.dumps(UNCERTAINTY), encoding="utf-8")
    assert main(["report", str(folder)]) == 0
    check_layout(folder / "report.html")
    with opened(folder / "report.html", 390) as page:
        page.click("figure img")
        assert page.evaluate("document.getElementById('zoom').open")
        page.click("dialog")
        assert not page.evaluate("document.getElementById('zoom').open")
    output = tmp_path / "compare.html"
    assert main(["compare", str(folder), str(fit_folder("other")), "-o", str(output)]) == 0
    check_layout(output)


def test_comparison_of_two_fits(fit_folder, make_result, capsys, tmp_path):
    def results(error):
        return [make_result("a", subset, label=1.0, energy=1.0 + error) for subset in (Subset.TRAINING, Subset.TEST)]

    good = fit_folder("good", results=results(0.002), data={"hash": "1"}, verification={"passed": True, "text": ""})
    bad = fit_folder("bad", results=results(0.02), data={"hash": "2"})
    (bad / "input.used.in").write_text(INPUT.replace("= 8", "= 10"), encoding="utf-8")
    (good / "md_checks.json").write_text(json.dumps(CHECKS), encoding="utf-8")
    fits = load_fits([good, bad])
    assert compared_set(fits) == "Test"
    (table,) = tables(fits)
    assert table["title"] == "Energy (meV/atom)"
    cells = table["rows"][0]["cells"]
    assert [cell["text"] for cell in cells] == ["1.000", "10.00"]
    assert [cell["best"] for cell in cells] == [True, False]
    text = comparison_text(fits)
    assert re.search(r"\[BISPECTRUM\] twojmax +8 +10", text)
    assert re.search(r"LAMMPS +verified +not verified", text)
    assert re.search(r"time of training +1\.5 s +1\.5 s", text), "that of the three epochs"
    assert re.search(r"MD speed +1 rank: 1234 steps/s +not measured", text)
    assert "The data, their sets or their weights differ" in text
    assert "&lt;learning_rate&gt;" in comparison_page(fits)
    output = tmp_path / "page.html"
    assert main(["compare", str(good), str(bad), "-o", str(output)]) == 0
    assert "errors of the test set" in capsys.readouterr().out
    assert main(["compare", str(good), str(bad), "-o", str(output)]) == 0, "its own page is replaced"
    output.write_text("mine", encoding="utf-8")
    assert main(["compare", str(good), str(bad), "-o", str(output)]) != 0
    assert output.read_text(encoding="utf-8") == "mine"


def test_equal_errors_are_not_marked(fit_folder, make_result):
    fits = load_fits([fit_folder(name, results=[make_result(label=1.0, energy=2.0)]) for name in ("one", "two")])
    assert not any(cell["best"] for row in tables(fits)[0]["rows"] for cell in row["cells"])
    assert "settings that differ" not in comparison_text(fits)


def test_comparison_needs_two_different_fits(fit_folder, capsys):
    folder = fit_folder()
    assert main(["compare", str(folder)]) != 0
    assert "at least two" in capsys.readouterr().err
    assert main(["compare", str(folder), f"{folder}/."]) != 0
    assert "given twice" in capsys.readouterr().err


def test_a_damaged_file_of_checks_is_an_error_that_names_it(fit_folder):
    folder = fit_folder()
    (folder / "md_checks.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"md_checks\.json is damaged"):
        write_report(folder, load_record(folder))
