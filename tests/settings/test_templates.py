"""Templates and reference generated from the schema: committed as generated, complete, and valid inputs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from places import ROOT
from torch_archives import write_archive

from fitsnap_nn.settings import load_settings
from fitsnap_nn.settings.generate import generated_files, main
from fitsnap_nn.settings.keys import FOREIGN_SECTIONS, keys_of, section_classes, section_names
from fitsnap_nn.settings.template import ROW, Content, known_models, recommended, render_template


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


CONTENT = Content("JSON", "JSON", {"Bulk": ROW})


@pytest.mark.parametrize("elements", [["Ta"], ["W", "Be"]])
def test_templates_are_accepted(tmp_path, elements):
    (tmp_path / "JSON" / "Bulk").mkdir(parents=True)
    for model in known_models():
        path = tmp_path / f"{model}.in"
        path.write_text(render_template(model, elements, CONTENT))
        settings = load_settings(path)
        assert settings.notices == ()
        assert settings.elements == tuple(elements)
        for section, keys in recommended(model).items():
            for name in keys:
                assert name in keys_of(section)
        pairs = {("Ta",): ("1 1 zbl 73 73",), ("W", "Be"): ("1 1 zbl 74 74", "1 2 zbl 74 4", "2 2 zbl 4 4")}
        assert settings.reference.pair_coeff == ("* * zero", *pairs[tuple(elements)])
        assert settings.pytorch.multi_element_option == (len(elements) if model in ("BPNN", "ACE") else 1)


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/*.in")), ids=lambda path: path.parent.name)
def test_examples_are_accepted(path, tmp_path):
    """Examples of several architectures have a section for each, of which the model chooses one."""
    pretrained = [("MACE", "mace_model", str(write_archive(tmp_path / "pretrained.model")))]
    notices = load_settings(path, pretrained if path.parent.name == "Fine_tuning" else []).notices
    assert all(notice.startswith("Without effect with [PYTORCH] model = ") for notice in notices), notices
    assert len(notices) == (path.parent.name in ("CuTa_graphs", "Ta_graphs", "Molecules"))


def test_keys_in_comments_can_be_taken_up(tmp_path):
    """Each commented key of the long template, made live, is FitSNAP's default: nothing changes."""
    (tmp_path / "JSON" / "Bulk").mkdir(parents=True)
    long = render_template("BPNN", ["Ta"], CONTENT, every_key=True)
    body = long.split("\n\n", 1)
    live = re.sub(r"^# (?=\w+ =)", "", body[1], flags=re.MULTILINE)
    assert live.count("\n") == body[1].count("\n")
    assert live != body[1]
    one, other = tmp_path / "one.in", tmp_path / "other.in"
    one.write_text(render_template("BPNN", ["Ta"], CONTENT))
    other.write_text(live)
    first, second = load_settings(one), load_settings(other)
    for section in section_classes():
        if section != "GROUPS":
            assert first.section(section) == second.section(section)
