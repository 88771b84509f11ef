"""Labels that a trained model cannot reproduce are named, and large errors that the weights explain are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import ENERGY, FORCES
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.suspects import suspect_labels


@pytest.fixture
def make_training(make_result):
    """40 configurations of two atoms with energy errors of 1 meV/atom, and one each of the errors given (eV/atom)."""

    def make(*errors: float, weight: float = 1.0, count: int = 40) -> list[Result]:
        random = np.random.default_rng(7)
        values = [*(1e-3 * random.normal(size=count)), *errors]
        found = [
            make_result("bulk", Subset.TRAINING, 2, label=-20.0, energy=-20.0 + 2.0 * error, name=f"{k}.json")
            for k, error in enumerate(values)
        ]
        return [
            one if k < count else one._replace(configuration=replace(one.configuration, weights={"energy": weight}))
            for k, one in enumerate(found)
        ]

    return make


def test_one_and_several_are_named_with_their_errors(make_training):
    (line,) = suspect_labels(make_training(2.0), (ENERGY, FORCES))
    assert line.startswith("suspect labels: bulk/40.json E 2000 meV/atom: more than 50 times")
    (line,) = suspect_labels(make_training(2.0, -1.0, 3.0), (ENERGY,))
    assert "bulk/42.json E 3000 meV/atom, bulk/40.json E 2000 meV/atom, bulk/41.json E 1000 meV/atom:" in line


@pytest.mark.parametrize(
    ("errors", "weight", "count"),
    [
        pytest.param((0.03,), 1.0, 40, id="not far enough"),
        pytest.param((2.0,), 1e-6, 40, id="hardly fitted"),
        pytest.param((2.0,), 0.0, 40, id="not fitted"),
        pytest.param((2.0,), 1.0, 20, id="too few others"),
        pytest.param((2.0, 2.0, 2.0, 2.0, 2.0), 1.0, 40, id="a kind of its own"),
    ],
)
def test_others_are_not_named(make_training, errors, weight, count):
    assert list(suspect_labels(make_training(*errors, weight=weight, count=count), (ENERGY,))) == []


def test_errors_of_zero_are_not_suspect(make_result):
    perfect = [make_result("bulk", Subset.TRAINING, 2, label=-20.0, energy=-20.0, name=f"{k}.json") for k in range(40)]
    assert list(suspect_labels(perfect, (ENERGY,))) == []
