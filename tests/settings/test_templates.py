"""What is generated from the schema: it is committed as generated, it is complete, and it works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from places import ROOT

from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import load_settings
from fitsnap_nn.settings.generate import generated_files, main
from fitsnap_nn.settings.keys import FOREIGN_SECTIONS, keys_of, section_classes, section_names
from fitsnap_nn.settings.template import RECOMMENDED, render_template, write_template


def test_committed_files_are_as_generated(tmp_path):
    main(tmp_path)
    for name in generated_files():
        assert (ROOT / name).read_text() == (tmp_path / name).read_text(), "run python -m fitsnap_nn.settings.generate"
    assert {path.name for path in (ROOT / "input_templates").iterdir()} == {
        Path(name).name for name in generated_files() if name.startswith("input_templates")
    }


def test_the_page_has_every_key_and_section():
    page = (ROOT / "docs" / "input.md").read_text()
    chapters = dict(re.findall(r"^## \[(\w+)\]\n(.*?)(?=^## )", page, flags=re.MULTILINE | re.DOTALL))
    assert tuple(chapters) == section_names()
    for section in section_classes():
        for name, key in keys_of(section).items():
            assert f"`{name}`" in chapters[section]
            assert key.no_effect in chapters[section]
    assert all(f"`[{section}]`" in page for section in FOREIGN_SECTIONS)


@pytest.mark.parametrize("elements", [["Ta"], ["W", "Be"]])
def test_templates_are_accepted(tmp_path, elements):
    (tmp_path / "JSON" / "Bulk").mkdir(parents=True)
    for model in RECOMMENDED:
        path = tmp_path / f"{model}.in"
        path.write_text(render_template(model, elements, "JSON", ["Bulk"]))
        settings = load_settings(path)
        assert settings.notices == ()
        assert settings.elements == tuple(elements)
        for section, keys in RECOMMENDED[model].items():
            for name in keys:
                assert name in keys_of(section)
        pairs = {("Ta",): ("1 1 zbl 73 73",), ("W", "Be"): ("1 1 zbl 74 74", "1 2 zbl 74 4", "2 2 zbl 4 4")}
        assert settings.reference.pair_coeff == ("* * zero", *pairs[tuple(elements)])
        assert settings.pytorch.multi_element_option == (len(elements) if model == "BPNN" else 1)


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/*.in")), ids=lambda path: path.parent.name)
def test_examples_are_accepted(path):
    """Examples of several architectures have a section for each, of which the model chooses one."""
    notices = load_settings(path).notices
    assert all(notice.startswith("Without effect with [PYTORCH] model = ") for notice in notices), notices
    assert len(notices) == ("graphs" in path.parent.name)


def test_keys_in_comments_can_be_taken_up(tmp_path):
    """Each commented key of the long template, made live, is FitSNAP's default: nothing changes."""
    (tmp_path / "JSON" / "Bulk").mkdir(parents=True)
    long = render_template("BPNN", ["Ta"], "JSON", ["Bulk"], every_key=True)
    body = long.split("\n\n", 1)
    live = re.sub(r"^# (?=\w+ =)", "", body[1], flags=re.MULTILINE)
    assert live.count("\n") == body[1].count("\n")
    assert live != body[1]
    one, other = tmp_path / "one.in", tmp_path / "other.in"
    one.write_text(render_template("BPNN", ["Ta"], "JSON", ["Bulk"]))
    other.write_text(live)
    first, second = load_settings(one), load_settings(other)
    for section in section_classes():
        if section != "GROUPS":
            assert first.section(section) == second.section(section)


@pytest.mark.parametrize(
    ("files", "data", "scraper", "groups"),
    [
        (["D/B/1.json", "D/A/1.json", "D/empty/README", "D/.hidden/1.json"], "D", "JSON", ["A", "B"]),
        (["D/b.xyz", "D/a.extxyz", "D/README"], "D", "XYZ", ["a", "b"]),
        (["D/all.extxyz"], "D/all.extxyz", "XYZ", ["*"]),
        (["D/relax/run1/OUTCAR", "D/md/vasprun.xml"], "D", "VASP", ["md", "relax"]),
    ],
)
def test_new_looks_at_the_data(tmp_path, files, data, scraper, groups):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "inputs").mkdir()
    path = tmp_path / "inputs" / "new.in"
    assert write_template(str(path), "BPNN", ["Ta"], str(tmp_path / data)) == len(groups)
    settings = load_settings(path)
    assert settings.scraper.scraper == scraper
    assert settings.path.data_path == f"../{data}"
    assert [row.name for row in settings.groups.rows] == groups


def test_new_reports_all_and_writes_over_nothing(tmp_path):
    path = tmp_path / "new.in"
    path.write_text("precious")
    with pytest.raises(InputError) as error:
        write_template(str(path), "BPMM", ["Tb", "Q"], str(tmp_path / "nowhere"))
    text = str(error.value)
    for words in ("Q is not a chemical element", "unknown model BPMM", "no such file or folder", "exists already"):
        assert words in text
    assert path.read_text() == "precious"
