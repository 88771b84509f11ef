"""Labelled configurations with known predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.properties import STANDARD, labels_of
from fitsnap_nn.reports.errors_table import errors_table
from fitsnap_nn.reports.fit_record import FitRecord
from fitsnap_nn.reports.predicted import predicted_of
from fitsnap_nn.reports.results import Result, in_the_fit
from fitsnap_nn.reports.verdict import element_spread, judged_set
from fitsnap_nn.reports.worst import worst_results

VERDICT = (
    "verdict: 1 remark. RMSE of the test set: E 3.1 meV/atom, which is 2 % of the RMS of the labels",
    "  stalled: the loss fell by 1 %. Try another <learning_rate> & weights",
    "  largest errors (relative to the RMSE over all sets):",
    "    bulk/1.json (Test): E 3 meV/atom",
)
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


@pytest.fixture
def make_record() -> Callable[..., FitRecord]:
    """Build the description of a fit from its results."""

    def make(results, properties=STANDARD, **changes):
        energies = element_spread(results)
        worst = worst_results(in_the_fit(results), properties)
        judged = judged_set(results, properties)
        record = FitRecord(
            name="Ta",
            architecture="BPNN",
            model="BPNN 55 8 1",
            num_weights=457,
            elements=("Ta",),
            cutoff=5.3,
            date="2026-11-27T20:58:01+00:00",
            predicted=predicted_of(results, properties, energies, [one.result for one in worst]),
            properties=tuple((one.title, one.report_unit.label) for one in properties),
            judged=judged.value if judged else "",
            verdict=VERDICT,
            errors=tuple(errors_table(results, properties)),
            element_energies=energies,
            worst=tuple(one.entry for one in worst),
        )
        return replace(record, **changes)

    return make
