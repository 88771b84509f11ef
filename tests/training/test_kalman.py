"""The Kalman filter against its textbook form, and its measurements against finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from stand_in_input import StandInInput
from test_least_squares import CPU, ELEMENTS, OBJECTIVE, SIZE, network, sample_set

from fitsnap_nn.data.fitted import property_of
from fitsnap_nn.data.properties import ENERGY, FORCES, STANDARD, STRESS, Property
from fitsnap_nn.errors import TrainingError
from fitsnap_nn.models import BPNN
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.models.targets import describe_targets
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.training import kalman
from fitsnap_nn.training.batches import SampleSet, Target, collate
from fitsnap_nn.training.differentiation import Share
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.flat import FlatParameters
from fitsnap_nn.training.kalman import (
    ATOM_GROUPS,
    FORGETTING,
    FORGETTING_RATE,
    LARGEST_STEP,
    NOISE,
    KalmanFilter,
    KalmanStep,
    scales_of,
)
from fitsnap_nn.training.losses import SquaredError
from fitsnap_nn.training.objective import Objective, Term, residuals
from fitsnap_nn.training.steps import Fitted

PRIOR = 50.0


class DenseFilter:
    """The extended Kalman filter of one scalar measurement after another, with a covariance per block."""

    largest_step = LARGEST_STEP

    def __init__(self, weights: np.ndarray, blocks: Sequence[int], scales: np.ndarray) -> None:
        ends = np.cumsum([0, *blocks])
        self.parts = [slice(a, b) for a, b in pairwise(ends)]
        self.weights = weights.copy()
        self.scales = scales
        self.covariances = [np.diag(PRIOR * scales[part] ** 2) for part in self.parts]
        self.forgetting = FORGETTING
        self.limited = 0

    def update(self, h: np.ndarray, residual: float) -> None:
        f = self.forgetting
        limits: list[float] = []
        gains = [covariance @ h[part] for covariance, part in zip(self.covariances, self.parts, strict=True)]
        a = 1.0 / sum(f + h[part] @ gain for part, gain in zip(self.parts, gains, strict=True))
        for part, gain in zip(self.parts, gains, strict=True):
            step = a * abs(residual) * np.linalg.norm(gain / self.scales[part]) / math.sqrt(len(gain))
            limits.append(self.largest_step / step)
        self.limited += min(limits) < 1.0
        a *= min(1.0, *limits)
        for number, (part, gain) in enumerate(zip(self.parts, gains, strict=True)):
            self.weights[part] += a * residual * gain
            self.covariances[number] = (self.covariances[number] - a * np.outer(gain, gain)) / f
        self.forgetting = FORGETTING_RATE * f + 1.0 - FORGETTING_RATE


def random_filters(blocks: Sequence[int]) -> tuple[KalmanFilter, DenseFilter, Callable[[], tuple[np.ndarray, float]]]:
    random = np.random.default_rng(1)
    weights = random.normal(size=sum(blocks))
    scales = np.concatenate([np.sqrt(np.arange(1.0, size + 1)) for size in blocks])
    one = KalmanFilter(torch.from_numpy(weights.copy()), blocks, torch.from_numpy(scales), PRIOR)
    return one, DenseFilter(weights, blocks, scales), lambda: (random.normal(size=sum(blocks)), 0.2 * random.normal())


@pytest.mark.parametrize("blocks", [[7], [3, 4, 1]])
@pytest.mark.parametrize("period", [1, 13])
def test_the_filter_is_the_textbook_one(blocks: list[int], period: int):
    """However many updates are collected before the covariances are written; some steps are limited."""
    found, expected, measure = random_filters(blocks)
    for number in range(39):
        h, residual = measure()
        found.update(torch.from_numpy(h), residual)
        expected.update(h, residual)
        if number % period == period - 1:
            found.settle()
    np.testing.assert_allclose(found.weights.numpy(), expected.weights, rtol=1e-10, atol=1e-10)
    for covariance, dense in zip(found.covariances, expected.covariances, strict=True):
        np.testing.assert_allclose(covariance.numpy(), dense, rtol=1e-10, atol=1e-10)
    assert found.forgetting == pytest.approx(expected.forgetting, rel=1e-14)
    assert 5 < expected.limited < 34


def test_weights_of_any_scale_are_equally_uncertain():
    """A network that writes some of its weights in other units is fitted in the same way."""
    random, found = np.random.default_rng(3), []
    tensors, steps = [random.normal(size=4), random.normal(size=2)], [random.normal(size=7) for _ in range(20)]
    scales = np.array([50.0, 50.0, 50.0, 50.0, 0.02, 0.02])
    for factor in (np.ones(6), scales):
        weights = torch.from_numpy(np.concatenate(tensors) * factor)
        one = KalmanFilter(weights, [6], scales_of(torch.split(weights, [4, 2]), PRIOR), PRIOR)
        for step in steps:
            one.update(torch.from_numpy(step[:6] / factor), step[6])
        found.append(weights.numpy() / factor)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)


def test_weights_that_are_all_0_have_the_variance_1():
    scales = scales_of([torch.zeros(2), torch.tensor([3.0])], PRIOR)
    one = KalmanFilter(torch.zeros(3), [3], scales, PRIOR)
    torch.testing.assert_close(one.covariances[0].diag(), torch.tensor([1.0, 1.0, 9.0 * PRIOR]).double())


def test_a_linear_problem_converges_to_least_squares(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kalman, "LARGEST_STEP", math.inf)
    random = np.random.default_rng(2)
    rows, truth = random.normal(size=(5_000, 5)), random.normal(size=5)
    labels = rows @ truth + 0.1 * random.normal(size=len(rows))
    one = KalmanFilter(torch.zeros(5, dtype=torch.float64), [5], torch.ones(5, dtype=torch.float64), 1.0)
    for row, label in zip(rows, labels, strict=True):
        one.update(torch.from_numpy(row), float(label - row @ one.weights.numpy()))
        one.settle()
    solution = np.linalg.lstsq(rows, labels, rcond=None)[0]
    np.testing.assert_allclose(one.weights.numpy(), solution, atol=5e-3)
    assert 0.5 < float(torch.trace(one.covariances[0])) / np.trace(np.linalg.inv(rows.T @ rows)) < 4.0


def step_of(model: BPNN, samples: SampleSet, objective: Objective = OBJECTIVE, seed: int = 4) -> KalmanStep:
    trained = [one for one in model.members() if any(weight.requires_grad for weight in one.parameters())]
    return KalmanStep(Fitted(trained, FlatParameters(model), objective, Ranks()), samples, PRIOR, seed)


def share_of(samples: SampleSet, members: Sequence[int]) -> Share:
    return Share(members, *collate([samples.samples[member] for member in members], torch.float64, CPU))


Measured = list[tuple[torch.Tensor, float]]


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Arguments of the updates of the filters, which leave weights and covariances as they are."""
    found: Measured = []
    monkeypatch.setattr(KalmanFilter, "update", lambda self, h, residual: found.append((h.clone(), residual)))
    return found


def root_mean_square(model: BPNN, share: Share, quantity: Property, chosen: torch.Tensor | None) -> tuple[float, int]:
    """Weighted RMS residual, and the number of configurations that it is a mean of; loops over labels."""
    found = residuals(quantity, predict(model, share.batch, STANDARD), share.labels, share.batch)
    target: Target = share.labels[quantity.name]
    total, count, configurations = 0.0, 0, set()
    for row in range(len(found.values)):
        if target.present[row] and float(target.weights[row]) > 0 and (chosen is None or chosen[row]):
            total += float(target.weights[row]) * float(found.values[row].square().sum())
            count += found.values.shape[1]
            configurations.add(int(share.batch.config[row]) if quantity.per == "atom" else row)
    return (math.sqrt(total / count) if count else 0.0), len(configurations)


@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("quantity", STANDARD)
def test_measurements_and_their_derivatives(option: int, quantity: Property, updates: Measured):
    """Some labels are missing, and others have the weight 0."""
    samples, model = sample_set(), network(option)
    share, step = share_of(samples, range(9)), step_of(model, samples)
    groups = step._groups_of_atoms(2, share)
    chosen = None if quantity.per != "atom" else groups == 1
    everything = torch.ones_like(share.batch.n_atoms, dtype=torch.bool)
    step._measure(STANDARD.index(quantity), share, everything if chosen is None else chosen)
    (h, residual), vector = updates[0], step.fitted.weights.vector.detach()
    value, configurations = root_mean_square(model, share, quantity, chosen)
    assert residual == pytest.approx(step._scale * math.sqrt(configurations) * value, rel=1e-12)
    direction = torch.from_numpy(np.random.default_rng(3).normal(size=len(vector)))
    for part in (direction, torch.eye(len(vector), dtype=torch.float64)[-1]):
        values = []
        for sign in (1, -1):
            vector.add_(part, alpha=sign * 1e-6)
            values.append(root_mean_square(model, share, quantity, chosen)[0])
            vector.add_(part, alpha=-sign * 1e-6)
        expected = -step._scale * (values[0] - values[1]) / 2e-6
        assert float(h @ part) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_each_atom_is_in_one_measurement_and_labels_without_weight_in_none(updates: Measured):
    samples, model = sample_set(), network()
    step, members = step_of(model, samples), [0, 4, 6]  # forces: all; stress: weights 0, 1e-8 and 0
    share, counts = share_of(samples, members), samples.total(members)
    sums = step.take(0, 0, share, counts)
    assert len(updates) == 1 + ATOM_GROUPS + 1
    torch.testing.assert_close(sums, OBJECTIVE.sums(predict(model, share.batch, STANDARD), share.labels, share.batch))
    updates.clear()
    step.take(0, 0, share_of(samples, [1]), samples.total([1]))  # neither energy, forces nor stress
    assert not updates


def symmetric_set() -> SampleSet:
    """The forces of configurations 0 and 3 do not depend on the weights, but their labels are not 0."""
    samples = sample_set()
    for member in (0, 3):
        samples.samples[member].batch.gradients.zero_()  # type: ignore[attr-defined]
    return samples


def test_forces_that_vanish_by_symmetry_are_in_no_measurement(updates: Measured):
    samples, model = symmetric_set(), network()
    step = step_of(model, samples)
    assert list(step.notes()) == [
        "the forces of 2 of 24 training configurations vanish by symmetry, whatever the weights, and are not used by "
        "the filter"
    ]
    found: list[Measured] = []
    for members in ([0, 4, 6], [4, 6], [0, 3]):
        updates.clear()
        share = share_of(samples, members)
        sums = step.take(0, 0, share, samples.total(members))
        prediction = predict(model, share.batch, STANDARD)
        torch.testing.assert_close(sums, OBJECTIVE.sums(prediction, share.labels, share.batch))
        found.append(list(updates))
    with_symmetric, without, symmetric = found
    assert len(symmetric) == 1  # the energy: their stresses have no weight
    assert len(with_symmetric) == 1 + ATOM_GROUPS + 1
    forces = slice(1, 1 + ATOM_GROUPS)  # after the energy
    for (h, residual), (expected, value) in zip(with_symmetric[forces], without[forces], strict=True):
        torch.testing.assert_close(h, expected, rtol=1e-12, atol=1e-14)
        assert residual == pytest.approx(value, rel=1e-12)


def test_what_vanishes_is_kept_in_a_restart_but_not_taken_from_another_fit():
    step, other = step_of(network(), symmetric_set()), step_of(network(), sample_set())
    state = step.state_dict()
    assert other.adopt(state)
    assert not list(other.notes())
    other.load_state_dict(state)
    assert list(other.notes()) == list(step.notes())
    del state["vanishing"]  # of a version that measured all forces
    step.load_state_dict(state)
    assert not list(step.notes())


def test_groups_of_atoms_depend_on_seed_epoch_and_configuration_only():
    samples, model = sample_set(), network()
    step, other = step_of(model, samples), step_of(network(), samples, seed=5)
    groups = step._groups_of_atoms(0, share_of(samples, [3, 7, 2]))
    alone = torch.cat([step._groups_of_atoms(0, share_of(samples, [member])) for member in (3, 7, 2)])
    assert torch.equal(groups, alone)
    every = share_of(samples, range(len(samples)))
    changed = [step._groups_of_atoms(1, every), other._groups_of_atoms(0, every)]
    assert all(not torch.equal(one, step._groups_of_atoms(0, every)) for one in changed)
    counts = torch.bincount(step._groups_of_atoms(0, share_of(samples, [3])), minlength=ATOM_GROUPS)
    assert counts.tolist() == [2, 1, 1, 1]  # five atoms


def test_weights_of_balanced_losses_do_not_matter_between_properties(updates: Measured):
    """Neither in residuals nor in derivatives."""
    found = []
    for factor in (1.0, 700.0):
        samples, model = sample_set(), network()
        for sample in samples.samples:
            sample.labels["energy"].weights.mul_(factor)
        objective = Objective(OBJECTIVE.terms, balanced=True)
        batch, labels = collate(samples.samples, torch.float64, CPU)
        sums = objective.sums(predict(model, batch, STANDARD), labels, batch)
        objective.balance(objective.values(sums, samples.total(range(len(samples)))))
        updates.clear()
        step_of(model, samples, objective).take(0, 0, share_of(samples, range(5)), samples.total(range(5)))
        found.append(list(updates))
    for (h, residual), (expected, value) in zip(*found, strict=True):
        torch.testing.assert_close(h, expected, rtol=1e-10, atol=1e-10)
        assert residual == pytest.approx(value, rel=1e-10)


TARGET_ROWS = (
    PropertyRow("charge", "atom", "scalar", "charge"),
    PropertyRow("energy_hf", "configuration", "scalar", "energy_hf"),
    PropertyRow("gap", "configuration", "scalar", "gap", intensive=True),
)


@pytest.mark.parametrize("row", TARGET_ROWS, ids=lambda row: row.name)
def test_the_noise_of_a_target_is_what_its_baseline_leaves(row: PropertyRow):
    """The baseline of the second element is a thousand times what the network has to learn."""
    random, baseline = np.random.default_rng(5), np.array([3.0, -700.0])
    model = BPNN(StandInInput(ELEMENTS, SIZE), [5], "tanh", 1, targets=describe_targets([row]))
    model.set_precision(torch.float64)
    assert model.targets is not None
    model.targets.set_baseline(row.name, baseline, np.ones(1))
    one, whole, squares, changed = property_of(row), sample_set(), [], []
    for sample in whole.samples:
        expected = baseline[sample.batch.species.numpy()][:, None]
        divisor = len(expected) if one.per == "configuration" else 1  # the residual of an extensive target is per atom
        if one.per == "configuration":
            expected = (expected.mean(axis=0) if one.intensive else expected.sum(axis=0))[None]
        rest = random.normal(size=expected.shape)
        labels = torch.from_numpy(expected + rest)
        target = Target(labels, torch.full_like(labels, 2.0), torch.ones_like(labels, dtype=torch.bool))
        changed.append(sample._replace(labels={one.name: target}, counts={one.name: len(labels)}))
        squares.append(2.0 * (rest / (1 if one.intensive else divisor)) ** 2)
    objective = Objective([Term(one, SquaredError())])
    step = step_of(model, SampleSet(changed, torch.float64), objective)
    assert step._scale == pytest.approx(1.0 / (NOISE * math.sqrt(np.concatenate(squares).mean())), rel=1e-10)


def teach(samples: SampleSet, properties: Sequence[Property]) -> None:
    """Replace the labels by predictions of a network that differs from `network` in its weights."""
    model = network()
    random = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=random, dtype=torch.float64)
    for sample in samples.samples:
        found = predict(model, sample.batch, properties)
        for one in properties:
            target = sample.labels[one.name]
            values = found.values[one.name].detach() / one.loss_unit.size
            target.values.copy_(values.reshape(target.values.shape))


@pytest.mark.parametrize("kept", [[ENERGY], [FORCES], [STRESS], list(STANDARD)])
def test_a_few_epochs_find_a_network_that_fits(kept: list[Property]):
    samples = sample_set(properties=kept)
    teach(samples, kept)
    objective = Objective([term for term in OBJECTIVE.terms if term.property in kept])
    model = network()
    step, batch = step_of(model, samples, objective), collate(samples.samples, torch.float64, CPU)

    def loss() -> float:
        return objective.total(objective.sums(predict(model, batch[0], kept), batch[1], batch[0]), counts)

    counts = samples.total(range(len(samples)))
    before = loss()
    for number in range(60):
        members = list(range(4 * (number % 6), 4 * (number % 6) + 4))
        step.take(number, number // 6, share_of(samples, members), samples.total(members))
    assert loss() < 0.02 * before


def test_frozen_weights_stay():
    samples, model = sample_set(), network(committee=2)
    model.networks[0].requires_grad_(False)  # the whole first member
    model.networks[1][1].requires_grad_(False)
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    step = step_of(model, samples)
    step.take(0, 0, share_of(samples, range(8)), samples.total(range(8)))
    changed = [name for name, tensor in model.named_parameters() if not torch.equal(tensor, before[name])]
    assert changed == [f"networks.1.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")]


def test_layers_are_blocks_and_large_ones_are_divided(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kalman, "LARGEST_BLOCK", 20)
    (one,) = step_of(network(), sample_set()).filters
    assert one.blocks == [20, 15, 20, 4, 5]  # 6 x 5 + 5, 5 x 4 + 4, 4 + 1
    monkeypatch.setattr(kalman, "LARGEST_COVARIANCE", 8 * (20**2 + 15**2 + 20**2 + 4**2 + 5**2) - 1)
    with pytest.raises(TrainingError, match=r"covariances of 64 weights .* Use smaller layers, such as 32 32, or opt"):
        step_of(network(), sample_set())
