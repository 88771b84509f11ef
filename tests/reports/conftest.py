"""Labelled configurations with known predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.reports.results import Result

MakeResult = Callable[..., Result]


@pytest.fixture
def make_result() -> MakeResult:
    """Build a result of `atoms` atoms; a label or prediction that is not given is missing."""

    def make(
        group="bulk",
        testing=False,
        atoms=2,
        species=None,
        label=None,
        energy=0.0,
        force_label=None,
        forces=None,
        stress_label=None,
        stress=None,
        name="a.json",
    ):
        configuration = Configuration(
            id=f"{group}/{name}",
            group=group,
            species=species or ("Ta",) * atoms,
            positions=np.zeros((atoms, 3)),
            cell=np.eye(3),
            energy=label,
            forces=None if force_label is None else np.asarray(force_label, dtype=float),
            stress=None if stress_label is None else np.asarray(stress_label, dtype=float),
            testing=testing,
        )
        return Result(
            configuration,
            energy,
            None if forces is None else np.asarray(forces, dtype=float),
            None if stress is None else np.asarray(stress, dtype=float),
        )

    return make


@pytest.fixture
def random_results(make_result: MakeResult) -> list[Result]:
    """Three groups with all labels, one of them without testing data, one of a single configuration."""
    random = np.random.default_rng(7)
    results = []
    for group, members, tested in (("bulk", 6, 3), ("melt", 4, 0), ("slab", 1, 1)):
        for number in range(members):
            atoms = 1 + number % 3
            tensor = random.normal(size=(3, 3))
            results.append(
                make_result(
                    group,
                    number < tested,
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
