"""docs/names.md has a row for each name of the other systems' documentation, with a key and a test that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from seed_names import NAMES

from fitsnap_nn.settings import load_settings
from fitsnap_nn.settings.keys import keys_of, section_names
from fitsnap_nn.settings.other_names import OTHER_SECTIONS, other_name

ROOT = Path(__file__).resolve().parent.parent
KEY = re.compile(r"`\[([A-Za-z_]+)\] (\w+)`")
MODELS = {"SOAP-BPNN": "SOAP_BPNN", "NanoPET": "NANOPET", "MACE": "MACE"}


class Row(NamedTuple):
    """Row of the page: name, keys (section, key), its text, and path and name of a test."""

    name: str
    keys: list[tuple[str, str]]
    here: str
    test: str


@cache
def rows() -> dict[str, list[Row]]:
    """Return the rows of docs/names.md by section."""
    found: dict[str, list[Row]] = {}
    for part in (ROOT / "docs" / "names.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, table = part.partition("\n")
        lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
        found[title] = [Row(name.strip("`"), KEY.findall(here), here, test.strip("`")) for name, here, test in lines]
    return found


ROWS = [pytest.param(page, row, id=f"{page}-{row.name}") for page, found in rows().items() for row in found]


@pytest.mark.parametrize("page", NAMES)
def test_every_name_has_one_row(page: str):
    assert sorted(row.name for row in rows()[page]) == sorted(NAMES[page])
    assert set(rows()) == set(NAMES)


@pytest.mark.parametrize(("page", "row"), ROWS)
def test_its_key_and_its_test_exist(page: str, row: Row):
    for section, key in row.keys:
        assert section in section_names()
        known = keys_of(section).get(key)
        assert known is not None
        assert bool(known.no_effect) is ("without effect" in row.here) or key in ("nonlinear", "num_elements")
    assert row.keys or row.here.startswith(("answered: ", "the same file", "output of"))
    path, _, function = row.test.partition("::")
    assert re.search(rf"^\s*def {function}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("page", "row"), ROWS)
def test_a_name_that_is_no_key_is_answered(page: str, row: Row):
    """An input with the name gets an error that says what it is here."""
    model = MODELS.get(page.rpartition(" ")[2], "MACE")
    is_key = not (row.here.startswith(("the same file", "output of")) or ".pt" in row.name or row.name == "num_desc")
    if not is_key:
        return
    parts = [part for part in row.name.split(".") if not part.startswith("<")]
    sections = (model, "PYTORCH", "CALCULATOR", "SOLVER")
    found = any(parts[-1] in keys_of(section) for section in sections) or other_name(row.name, sections)
    assert found or any(part.upper() in OTHER_SECTIONS for part in parts)


@pytest.mark.parametrize(
    ("section", "key", "value"), [("PYTORCH", "num_elements", "1"), ("MACE", "use_embedding_readout", "1")]
)
def test_names_without_effect_are_said(tmp_path: Path, section: str, key: str, value: str):
    (tmp_path / "JSON" / "all").mkdir(parents=True)
    model = "[CALCULATOR]\ncalculator = LAMMPSGRAPH\nelements = Ta\n[PYTORCH]\nmodel = MACE\n"
    path = tmp_path / "fit.in"
    path.write_text(f"{model}[GROUPS]\nall = 1.0 1 1 0\n", encoding="utf-8")
    notices = load_settings(path, [(section, key, value)]).notices
    assert any(one.startswith("Without effect") and f"[{section}] {key}" in one for one in notices)


def test_each_row_of_an_architecture_is_a_key_that_changes_it():
    from models import test_every_key

    shown = {(section, key) for section, keys in test_every_key.VALUES.items() for key in keys}
    wanted = {key for _, row in [one.values for one in ROWS] if "test_every_key" in row.test for key in row.keys}
    assert wanted <= shown
