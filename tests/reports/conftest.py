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
    """Build a result of `atoms` atoms; a label or prediction that is not given is missing."""

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
        name="a.json",
        weights=None,
    ):
        configuration = Configuration(
            id=f"{group}/{name}",
            group=group,
            species=species or ("Ta",) * atoms,
            positions=np.zeros((atoms, 3)),
            cell=np.eye(3),
            labels=labels_of(energy=label, forces=force_label, stress=stress_label),
            subset=subset,
            weights=weights or {},
        )
        return Result(configuration, Evaluation(labels_of(energy=energy, forces=forces, stress=stress)))

    return make


@pytest.fixture
def random_results(make_result: MakeResult) -> list[Result]:
    """Three groups with all labels, one of them with training data only, one of a single configuration."""
    random = np.random.default_rng(7)
    results = []
    for group, members, validated, tested in (("bulk", 7, 3, 1), ("melt", 4, 0, 0), ("slab", 1, 1, 0)):
        subsets = [Subset.VALIDATION] * validated + [Subset.TEST] * tested
        subsets += [Subset.TRAINING] * (members - len(subsets))
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
