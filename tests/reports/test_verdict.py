"""Each line of the verdict on a fit appears where it is due, and not elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import ENERGY, FORCES, STRESS
from fitsnap_nn.reports.epochs import EpochRow
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.verdict import judged_set, verdict, verdict_of_errors

PROPERTIES = (ENERGY, FORCES)
MakeResults = Callable[..., list[Result]]


@pytest.fixture
def make_results(make_result) -> MakeResults:
    """Two groups of 40 configurations with energies around -10 eV/atom and forces of 1 eV/Å, and errors as given."""

    def make(training=0.005, validation=0.006, offset=0.0, bad=1.0, validated=20, elements=("Ta",)) -> list[Result]:
        random = np.random.default_rng(3)
        results = []
        for group in ("bulk", "melt"):
            for number in range(40):
                subset = Subset.VALIDATION if number < validated else Subset.TRAINING
                error = (validation if subset is Subset.VALIDATION else training) * (bad if group == "melt" else 1.0)
                species = tuple(elements[k % len(elements)] for k in range(2 + number % 3))
                atoms = len(species)
                energy = float(-10.0 * atoms + 0.3 * atoms * random.normal() - 5.0 * species.count("W"))
                forces = random.normal(size=(atoms, 3))
                results.append(
                    make_result(
                        group,
                        subset,
                        atoms,
                        species=species,
                        label=energy,
                        energy=energy + atoms * (error * random.normal() + offset),
                        force_label=forces,
                        forces=forces + error * random.normal(size=(atoms, 3)),
                        name=f"{number}.json",
                    )
                )
        return results

    return make


def history(
    losses: Sequence[float], training: Sequence[float] | None = None, learning_rate: float = 1e-3
) -> list[EpochRow]:
    rows = zip(losses, training or losses, strict=True)
    best = int(np.argmin(losses))
    return [
        EpochRow(k + 1, train, loss, learning_rate=learning_rate, best=k <= best)
        for k, (loss, train) in enumerate(rows)
    ]


def converged(epochs: int = 100) -> list[float]:
    return [0.01 + math.exp(-k / 8) for k in range(epochs)]


def remarks(lines: list[str]) -> list[str]:
    """The names of the remarks: their words before the colon."""
    return [line.strip().split(":")[0] for line in lines[1:] if line.startswith("  ") and line[2] != " "][:-1]


def test_a_good_fit_has_one_line_with_its_figures(make_results):
    lines = verdict(history(converged()), make_results(), PROPERTIES, 100)
    assert lines[0].startswith("verdict: no sign of a problem. RMSE of the validation set: E 5.")
    assert "best epoch 100 of 100" in lines[0]
    assert remarks(lines) == []


@pytest.mark.parametrize(("offset", "found"), [(0.0, False), (9.0, False), (12.0, True), (-1e4, True)])
def test_labels_of_another_energy_reference(make_result, offset, found):
    lines = verdict_of_errors([make_result(label=-20.0, energy=-20.0 + 2 * offset)], PROPERTIES)
    assert ("another energy reference" in remarks(lines)) == found


def test_shares_are_those_of_the_labels_without_element_energies(make_results):
    """Energies of two elements that differ by 5 eV: their spread about the element energies is 0.3 eV/atom."""
    results = make_results(training=0.03, validation=0.03, elements=("Ta", "W", "W"))
    first = verdict_of_errors(results, PROPERTIES)[0]
    assert verdict_of_errors(results, PROPERTIES, ["undetermined: why"])[1] == "  undetermined: why"
    shares = first.split("which is ")[1].split(" of the RMS")[0].split(", ")
    energy, force = (float(share.split()[0]) for share in shares)
    assert energy == pytest.approx(10.0, rel=0.25)
    assert force == pytest.approx(3.0, rel=0.15)


def test_a_loss_that_still_falls_is_not_converged(make_results):
    falling = [1.0 / (k + 1) for k in range(100)]
    (line,) = [x for x in verdict(history(falling), make_results(), PROPERTIES, 100) if "not converged" in x]
    assert "fell by 10 % in the last 10 epochs (best epoch 100 of 100)" in line
    assert "--resume" in line
    assert remarks(verdict(history(falling), make_results(), PROPERTIES, 200, early_stopping=10)) == []


def test_a_loss_that_never_falls_is_stalled(make_results):
    flat = [1.0 + 0.01 * (-1) ** k for k in range(50)]
    poor = make_results(training=0.9, validation=0.9)
    assert "stalled" in remarks(verdict(history(flat), poor, PROPERTIES, 50))
    # A warm start can be at its optimum from the first epoch.
    assert "stalled" not in remarks(verdict(history(flat), make_results(), PROPERTIES, 50))


def test_spikes_are_counted(make_results):
    training = converged()
    training[40] = 0.1 * 12  # recovers
    training[60], training[90] = 30.0, 0.2
    lines = verdict(history(converged(), training), make_results(), PROPERTIES, 100)
    (line,) = [line for line in lines if "unstable" in line]
    assert "in 2 of 100 epochs" in line
    assert "gradient_clip" in line


@pytest.mark.parametrize("learning", [True, False])
def test_an_early_best_epoch_has_its_cause(make_results, learning):
    losses = [*np.linspace(1.0, 0.1, 10), *np.linspace(0.11, 0.5, 90)]
    training = converged() if learning else [*np.linspace(1.0, 0.1, 10), *np.full(90, 0.4)]
    lines = verdict(history(losses, training), make_results(), PROPERTIES, 100)
    (line,) = [line for line in lines if "lowest loss early" in line]
    assert "10 of 100" in line
    assert ("overfitting" in line) == learning
    assert "the weights of epoch 10 are kept" in line.lower()


def test_without_a_learning_rate_none_is_recommended(make_results):
    losses = [*np.linspace(1.0, 0.1, 10), *np.linspace(0.11, 0.5, 80), *np.full(10, 9.0)]
    lines = verdict(history(losses, losses, math.nan), make_results(0.9, 0.9), PROPERTIES, 100)
    assert {"unstable", "lowest loss early"} <= set(remarks(lines))
    flat = verdict(history([1.0] * 50, learning_rate=math.nan), make_results(0.9, 0.9), PROPERTIES, 50)
    assert any("Try optimizer = Adam" in line for line in flat)
    assert sum("use balance = 1 or a larger batch_size" in line for line in lines) == 2
    assert not any("learning_rate" in line or "gradient_clip" in line for line in [*lines, *flat])


def test_negligible_terms_of_the_loss_are_named(make_results):
    for terms, listed in (
        ([0.002, 1.0], "energy 0.2 %"),
        ([1.0, 0.009], "force 0.9 %"),
        ([0.02, 1.0], ""),
        ([0.0, 1.0], ""),  # without labels, or without weights
        ([], ""),
    ):
        lines = verdict(history(converged()), make_results(), PROPERTIES, 100, terms=terms)
        found = [line for line in lines if "negligible in the loss" in line]
        assert len(found) == bool(listed)
        assert all(f"negligible in the loss: {listed} of the loss in the best epoch" in line for line in found)


def test_the_spread_of_a_committee_and_its_correlation_with_the_error(make_results):
    plain = make_results()
    assert not any("committee" in line for line in verdict(history(converged()), plain, PROPERTIES, 100))
    results = []
    for one in plain:
        error = abs(one.evaluation.energy - one.configuration.energy)
        results.append(one._replace(evaluation=replace(one.evaluation, spread={"energy": np.array(2.0 * error)})))
    lines = verdict(history(converged()), results, PROPERTIES, 100)
    (line,) = [line for line in lines if line.startswith("  uncertainty: ")]
    errors = [
        abs(one.evaluation.energy - one.configuration.energy) / len(one.configuration)
        for one in results
        if one.configuration.subset is Subset.VALIDATION
    ]
    expected = f"standard deviation of the energy {2000 * np.mean(errors):.3g} meV/atom (mean over"
    assert expected in line
    assert line.endswith("the validation set); correlation with the absolute error 1.00")


def test_early_stopping_says_where_and_how_to_go_on(make_results):
    losses = [*converged(60), *np.full(20, 0.02)]
    first = verdict(history(losses), make_results(), PROPERTIES, 500, early_stopping=20)[0]
    assert "best epoch 60 of 80. Stopped early, after epoch 80 of 500" in first
    assert "no lower validation loss in 20 epochs" in first
    assert "--resume with a larger early_stopping" in first


def test_validation_errors_far_above_training_are_overfitting(make_results):
    lines = verdict(history(converged()), make_results(0.01, 0.05), PROPERTIES, 100)
    (line,) = [line for line in lines if "overfitted" in line]
    assert "validation set E " in line
    assert "F " in line
    few = make_results(0.01, 0.05, validated=3)
    assert "overfitted" not in remarks(verdict(history(converged()), few, PROPERTIES, 100))


def test_a_constant_offset_of_the_energies_is_said_with_its_sign(make_results):
    lines = verdict(history(converged()), make_results(offset=-0.05), PROPERTIES, 100)
    (line,) = [line for line in lines if "constant offset" in line]
    assert line.startswith("  constant offset: energies are low by 4")
    assert "meV/atom on average, with a spread of 5." in line
    assert "constant offset" not in remarks(verdict([], make_results(offset=0.003), PROPERTIES, 0))


def test_a_group_far_worse_than_the_others_is_named(make_results):
    lines = verdict(history(converged()), make_results(0.03, 0.03, bad=20), PROPERTIES, 100)
    found = [line for line in lines if "worst groups" in line]
    assert len(found) == 2
    assert all("worst groups: melt " in line for line in found)


def test_large_errors_are_called_large(make_results):
    lines = verdict(history(converged()), make_results(0.8, 0.8), PROPERTIES, 100)
    (line,) = [line for line in lines if "large errors" in line]
    assert "energy" in line
    assert "force" in line


def test_the_worst_five_configurations_are_listed_with_file_and_set(make_results, make_result):
    outlier = make_result("odd", Subset.TRAINING, 2, label=-20.0, energy=-18.0, name="x.xyz#7")
    lines = verdict(history(converged()), [*make_results(), outlier], PROPERTIES, 100)
    at = next(k for k, line in enumerate(lines) if "largest errors" in line)
    assert lines[at + 1] == "    odd/x.xyz#7 (Train): E 1000 meV/atom"
    assert len(lines) == at + 6


def test_the_least_seen_set_is_judged(make_result):
    sets = (Subset.TRAINING, Subset.VALIDATION, Subset.TEST)
    results = [make_result(subset=one, label=None if one is Subset.TEST else 1.0) for one in sets]
    assert judged_set(results, PROPERTIES) is Subset.VALIDATION
    assert judged_set([*results, make_result(subset=Subset.TEST, label=1.0)], PROPERTIES) is Subset.TEST
    assert verdict_of_errors([make_result()], PROPERTIES) == ["verdict: nothing to judge, no configuration has labels"]


def test_properties_without_weight_and_without_labels_are_left_out(make_results):
    for result in (results := make_results()):
        result.configuration.weights["forces"] = 0.0
    first = verdict(history(converged()), results, (*PROPERTIES, STRESS), 100)[0]
    assert "E 5" in first
    assert "F " not in first
    assert "P " not in first


def test_one_epoch_and_constant_labels_are_no_trouble(make_result):
    results = [make_result(label=1.0, energy=1.1, force_label=np.zeros((2, 3)), forces=np.zeros((2, 3)))]
    lines = verdict(history([1.0]), results, PROPERTIES, 1)
    assert "which is -, - of the RMS of the labels; best epoch 1 of 1" in lines[0]


def test_initial_weights_that_no_epoch_improved_on_are_named(make_results):
    rows = [replace(row, best=False) for row in history([0.02] * 20)]
    first = verdict(rows, make_results(), PROPERTIES, 50, early_stopping=20)[0]
    assert "no epoch of 20 improved on the initial weights. Stopped early, after epoch 20 of 50" in first
