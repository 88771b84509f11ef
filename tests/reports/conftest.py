"""Labelled configurations with known predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.properties import labels_of
from fitsnap_nn.reports.results import Result

MakeResult = Callable[..., Result]


@pytest.fixture
def make_result() -> MakeResult:
    """Build a result of `atoms` atoms; a label or prediction that is not given is missing.

    Those of other properties than energy, forces and stress are given by name in `labels` and `predictions`.
    """

    def make(
        group="bulk",
        subset=Subset.TRAINING,
        atoms=2,
        species=None,
        label=None,
        energy=0.0,
        force_label=None,
        forces=None,
        stress_label=None,
        stress=None,
        labels=None,
        predictions=None,
        name="a.json",
    ):
        configuration = Configuration(
            id=f"{group}/{name}",
            group=group,
            species=species or ("Ta",) * atoms,
            positions=np.zeros((atoms, 3)),
            cell=np.eye(3),
            labels={**labels_of(energy=label, forces=force_label, stress=stress_label), **labels_of(**(labels or {}))},
            subset=subset,
        )
        values = {**labels_of(energy=energy, forces=forces, stress=stress), **labels_of(**(predictions or {}))}
        return Result(configuration, Evaluation(values))

    return make


@pytest.fixture
def random_results(make_result: MakeResult) -> list[Result]:
    """Three groups with all labels: one of all three sets, one of training data only, one of a single configuration."""
    random = np.random.default_rng(7)
    results = []
    train, validation, test = Subset
    for group, subsets in (
        ("bulk", [*[validation] * 3, *[train] * 3, test, test]),
        ("melt", [train] * 4),
        ("slab", [validation]),
    ):
        for number, subset in enumerate(subsets):
            atoms = 1 + number % 3
            tensor = random.normal(size=(3, 3))
            results.append(
                make_result(
                    group,
                    subset,
                    atoms,
                    label=float(random.normal()),
                    energy=float(random.normal()),
                    force_label=random.normal(size=(atoms, 3)),
                    forces=random.normal(size=(atoms, 3)),
                    stress_label=tensor + tensor.T,
                    stress=random.normal(size=6),
                    name=f"{number}.json",
                )
            )
    return results
