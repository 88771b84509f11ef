"""The package of docs/own_models.md, its code taken from the page: its model passes the tests that come with ours."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from page_package import install

from fitsnap_nn.models import GraphModel
from fitsnap_nn.testing.models import GraphModelTests

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_models.md"


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package, as if pip had installed it."""
    folder = tmp_path_factory.mktemp("site-packages")
    install(PAGE, "pairnet", folder)
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
