"""The package of docs/own_models.md, its code taken from the page: its model passes the tests that come with ours."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from fitsnap_nn.models import GraphModel
from fitsnap_nn.testing.models import GraphModelTests

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_models.md"


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package, as if pip had installed it."""
    folder = tmp_path_factory.mktemp("site-packages")
    text = PAGE.read_text(encoding="utf-8")
    for path, code in re.findall(r"```python\n# (pairnet/\S+)\n(.*?)```", text, flags=re.DOTALL):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(code, encoding="utf-8")
    (toml,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    points = toml.replace('project.entry-points."', "").replace('"]', "]").replace('"', "")
    (folder / "pairnet-1.0.dist-info").mkdir()
    (folder / "pairnet-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pairnet\nVersion: 1.0\n")
    (folder / "pairnet-1.0.dist-info" / "entry_points.txt").write_text(points)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


def section() -> type:
    found: type = importlib.import_module("pairnet.settings").PairNetSection
    return found


class TestPairNet(GraphModelTests):
    def make_model(self) -> GraphModel:
        model: GraphModel = importlib.import_module("pairnet.model").PairNet(["Ta", "O"], cutoff=4.0, width=8)
        return model


def test_the_model_takes_what_the_section_has() -> None:
    model = importlib.import_module("pairnet.model").PairNet(["Ta"], **section()().hyperparameters())
    assert {field.name for field in fields(section())} == model.description().keys() - {"architecture", "elements"}
