"""Balanced losses, committees and the patience of the trainer, on random descriptors."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from test_least_squares import CPU, OBJECTIVE, network, sample_set

from fitsnap_nn.data.properties import STANDARD
from fitsnap_nn.models import BPNN
from fitsnap_nn.models.prediction import predict, predict_for_training
from fitsnap_nn.settings.schema import PytorchSection
from fitsnap_nn.training.batches import SampleSet, collate
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.flat import FlatParameters
from fitsnap_nn.training.objective import Objective
from fitsnap_nn.training.trainer import EpochReport, Trainer

OPTIONS = PytorchSection(learning_rate=1e-2, num_epochs=2, batch_size=5)


def balanced() -> Objective:
    return Objective(OBJECTIVE.terms, balanced=True)


def subset(samples: SampleSet, members: Sequence[int]) -> SampleSet:
    return SampleSet([samples.samples[member] for member in members], torch.float64)


def trainer_of(
    model: BPNN,
    objective: Objective,
    options: PytorchSection = OPTIONS,
    validation: Sequence[int] = range(15, 24),
    force_weight: float = 1.0,
) -> Trainer:
    samples = sample_set()
    for sample in samples.samples:
        sample.labels["forces"].weights.mul_(force_weight)
    sets = subset(samples, range(15)), subset(samples, validation)
    return Trainer(model, *sets, objective, options, 3, Ranks(), CPU)


def trained(trainer: Trainer) -> list[EpochReport]:
    reports: list[EpochReport] = []
    trainer.run(reports.append)
    return reports


def test_the_gradient_is_that_of_the_geometric_mean():
    samples, model, objective = sample_set(), network(), balanced()
    flat = FlatParameters(model)
    batch, labels = collate(samples.samples, torch.float64, CPU)
    counts = samples.total(range(len(samples)))

    def sums() -> torch.Tensor:
        return objective.sums(predict(model, batch, STANDARD), labels, batch)

    values = objective.values(sums(), counts)
    assert objective.total(sums(), counts) == pytest.approx(math.prod(values) ** (1 / 3), rel=1e-12)
    objective.balance(values)
    prediction, backward = predict_for_training(model, batch, STANDARD, list(model.parameters()))
    backward(objective.slopes(prediction, labels, batch, objective.scales(counts))[1])
    direction, vector = torch.randn(len(flat.vector), dtype=torch.float64), flat.vector.detach()
    found = []
    for sign in (1, -1):
        vector.add_(direction, alpha=sign * 1e-6)
        found.append(objective.total(sums(), counts))
        vector.add_(direction, alpha=-sign * 1e-6)
    assert float(flat.gradient @ direction) == pytest.approx((found[0] - found[1]) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["Adam", "LKF"])
def test_weights_of_a_property_as_a_whole_do_not_matter(optimizer: str):
    """Adam's step depends on the scale of the gradient by its epsilon only."""
    options, found = replace(OPTIONS, optimizer=optimizer), []
    for factor in (1.0, 1e4):
        trainer = trainer_of(network(), balanced(), options, force_weight=factor)
        found.append([report.validation.loss / factor ** (1 / 3) for report in trained(trainer)])
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_a_property_without_validation_labels_is_balanced_by_its_training_loss():
    trainer = trainer_of(network(), balanced(), validation=[19, 22])  # without energies
    assert not trainer.validation.total([0, 1])["energy"]
    values = trainer.evaluate(trainer.validation).values
    training = trainer.evaluate(trainer.training).values
    trainer._balance_start()
    used = [training[0], *values[1:]]
    mean = math.prod(used) ** (1 / 3)
    assert trainer.objective.factors == pytest.approx([mean / 3 / value for value in used], rel=1e-12)
    before = trainer.objective.factors[0]
    (first, *_) = trained(trainer)
    assert trainer.objective.factors[0] != before
    positive = [value for value in first.validation.values if value > 0]
    assert first.validation.loss == pytest.approx(math.prod(positive) ** (1 / len(positive)), rel=1e-12)


def test_a_property_without_any_label_keeps_its_factor():
    objective = balanced()
    objective.balance([4.0, 0.0, 9.0], [5.0, 0.0, 1.0])
    assert objective.factors == pytest.approx([6 / 8, 1.0, 6 / 18])
    objective.balance([math.nan, 1.0, 1.0])
    assert objective.factors == pytest.approx([6 / 8, 1.0, 6 / 18])


@pytest.mark.parametrize("optimizer", ["Adam", "LKF"])
def test_a_resumed_fit_is_the_same_to_the_bit(optimizer: str):
    options = replace(OPTIONS, optimizer=optimizer, num_epochs=3, ema_decay=0.9)
    parts = trainer_of(network(committee=2), balanced(), options)
    states: list[dict[str, object]] = []
    expected: list[EpochReport] = []

    def after_epoch(report: EpochReport) -> None:
        expected.append(report)
        states.append(copy.deepcopy(parts.state_dict()))

    parts.run(after_epoch)
    resumed = trainer_of(network(committee=2), balanced(), options)
    resumed.load_state_dict(states[0])
    found = trained(resumed)
    assert [one.validation for one in found] == [one.validation for one in expected[1:]]
    assert [one.train_loss for one in found] == [one.train_loss for one in expected[1:]]
    assert torch.equal(resumed.state_dict()["best_weights"], parts.state_dict()["best_weights"])
    assert resumed.objective.factors == parts.objective.factors


def test_restart_files_from_before_balance_still_load():
    trainer = trainer_of(network(), OBJECTIVE)
    trained(trainer)
    old = {name: value for name, value in trainer.state_dict().items() if name in OLD}
    other = trainer_of(network(), OBJECTIVE, replace(OPTIONS, num_epochs=3))
    other.load_state_dict(old)
    assert (other.best.lowest_epoch, other.best.lowest_loss) == (trainer.best.epoch, trainer.best.loss)
    assert len(trained(other)) == 1


OLD = (
    "epoch", "seed", "weights", "average", "optimizer", "schedule", "best_epoch", "best_loss", "best_weights",
)  # fmt: skip


@pytest.mark.parametrize("option", [1, 2])
def test_members_are_trained_independently(option: int):
    """The first member is the network that the same fit without the others gives."""
    alone, committee = trainer_of(network(option), OBJECTIVE), trainer_of(network(option, committee=3), OBJECTIVE)
    size = len(alone.flat.vector)
    committee.model.load_state_dict(committee.model.state_dict() | alone.model.state_dict())
    assert torch.equal(committee.flat.vector[:size], alone.flat.vector)
    for trainer in (alone, committee):
        trained(trainer)
    weights = [trainer.state_dict()["best_weights"][:size] for trainer in (alone, committee)]
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-10, atol=1e-12)
    assert not torch.allclose(committee.flat.vector[size : 2 * size], committee.flat.vector[2 * size :], rtol=0.1)


def test_patience_does_not_count_from_initial_weights():
    """A start that no epoch reaches ends a fit only when the epochs themselves stop to improve."""
    trainer = trainer_of(network(), OBJECTIVE, replace(OPTIONS, num_epochs=8, early_stopping=2))
    trainer.best.rating = 0.0
    losses = [report.validation.loss for report in trained(trainer)]
    assert len(losses) > 2
    lowest = losses.index(min(losses)) + 1
    assert trainer.best.lowest_epoch == lowest
    assert trainer.best.epoch == 0
    assert len(losses) == min(8, lowest + 2)


def test_terms_of_a_sum_are_reported():
    for objective, optimizer in ((OBJECTIVE, "Adam"), (balanced(), "Adam"), (OBJECTIVE, "LKF")):
        trainer = trainer_of(network(), objective, replace(OPTIONS, optimizer=optimizer))
        best = min(trained(trainer), key=lambda report: report.validation.loss)
        assert sum(trainer.best.values) == pytest.approx(sum(best.validation.values))
        expected = best.validation.values if not objective.balanced and optimizer == "Adam" else ()
        assert trainer.summed_terms == expected
