"""Each loss by finite differences and by hand, group weights in each of them, and losses of other packages."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from random_potentials import crystal, random_bpnn
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import ENERGY, FORCES, STANDARD, STRESS, Property, labels_of
from fitsnap_nn.errors import InputError
from fitsnap_nn.inputs.snap.compute import SnapCompute
from fitsnap_nn.models import BPNN, predict
from fitsnap_nn.models.prediction import backward_by_autograd, predict_for_training
from fitsnap_nn.settings.schema import Bispectrum, Reference
from fitsnap_nn.training.batches import Sample, SampleSet, collate, make_sample
from fitsnap_nn.training.losses import LOSSES, make_loss
from fitsnap_nn.training.objective import Objective, Term

INP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(2,), wj=(1.0, 0.9), radelem=(0.5, 0.42))
# Thresholds so small that residuals lie on both sides of them.
EQUAL = {"A": 1.0, "B": 1.0}
DELTAS = {"energy": 0.5, "forces": 0.5, "stress": 3e4}
CPU = torch.device("cpu")


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("kind", LOSSES)
def test_the_slope_is_the_derivative_of_the_value(kind: str, delta: float) -> None:
    loss = make_loss(kind, delta)
    step = 1e-6
    residual = torch.linspace(-4.03, 4.01, 101, dtype=torch.float64)
    _, slope = loss.value_and_slope(residual)
    above, below = (loss.value_and_slope(residual + sign * step)[0] for sign in (1.0, -1.0))
    torch.testing.assert_close(slope, (above - below) / (2 * step), rtol=1e-8, atol=1e-8)
    assert slope.abs().max() > 0.25


@pytest.mark.parametrize(
    ("kind", "values", "slopes"),
    [
        ("mse", [9.0, 0.25, 0.0, 4.0], [-6.0, -1.0, 0.0, 4.0]),
        ("mae", [3.0, 0.5, 0.0, 2.0], [-1.0, -1.0, 0.0, 1.0]),
        ("huber", [4.0, 0.125, 0.0, 2.0], [-2.0, -0.5, 0.0, 2.0]),
    ],
)
def test_values_and_slopes_by_hand(kind: str, values: list[float], slopes: list[float]) -> None:
    """With the threshold at 2, where both forms of ``huber`` meet."""
    value, slope = make_loss(kind, 2.0).value_and_slope(torch.tensor([[-3.0, -0.5], [0.0, 2.0]]))
    assert value.flatten().tolist() == values
    assert slope.flatten().tolist() == slopes


def test_huber_is_torch_s() -> None:
    residual = torch.linspace(-3.0, 3.0, 61, dtype=torch.float64)
    expected = torch.nn.functional.huber_loss(residual, torch.zeros_like(residual), reduction="none", delta=0.7)
    torch.testing.assert_close(make_loss("huber", 0.7).value_and_slope(residual)[0], expected, rtol=1e-14, atol=1e-14)


def labelled(number: int, group: str) -> Configuration:
    random = np.random.default_rng(number)
    configuration = crystal(INP.type, number, repeat=1 + number % 2)
    tensor = random.normal(0, 0.01, (3, 3))
    return replace(
        configuration,
        group=group,
        labels=labels_of(
            energy=-9.0 * len(configuration) + random.normal(),
            forces=random.normal(size=(len(configuration), 3)),
            stress=tensor + tensor.T,
        ),
    )


CONFIGURATIONS = [labelled(1, "A"), labelled(2, "B"), labelled(3, "B"), labelled(4, "A")]


@pytest.fixture(scope="module")
def model() -> BPNN:
    return random_bpnn(INP, hidden=(6,))


@pytest.fixture(scope="module")
def samples_of(model: BPNN) -> Callable[[Mapping[str, float]], SampleSet]:
    """Makes samples, the labels of each group having one weight; a group of weight 0 has labels all the same."""
    with SnapCompute(INP, Reference(), gradients=True, strain=True) as compute:
        cached = [compute.compute(one) for one in CONFIGURATIONS]

    def make(weights: Mapping[str, float]) -> SampleSet:
        made: list[Sample] = []
        for configuration, one in zip(CONFIGURATIONS, cached, strict=True):
            weight = weights[configuration.group]
            of_all = {"energy": weight, "forces": 0.5 * weight, "stress": 1e-8 * weight}
            batch = model.input.to_batch(configuration, one)
            made.append(make_sample(replace(configuration, weights=of_all), one, batch, STANDARD, torch.float64))
        return SampleSet(made, torch.float64)

    return make


def objective_of(kind: str, properties: tuple[Property, ...] = STANDARD, reduction: str = "mean") -> Objective:
    return Objective([Term(one, make_loss(kind, DELTAS[one.name])) for one in properties], reduction)


def gradient(model: BPNN, samples: SampleSet, objective: Objective) -> Tensor:
    """Derivative of the objective by all weights, of one batch of all samples."""
    weights = list(model.parameters())
    model.zero_grad()
    batch, labels = collate(samples.samples, torch.float64, CPU)
    found, backward = predict_for_training(model, batch, objective.properties, weights)
    backward(objective.slopes(found, labels, batch, objective.scales(samples.total(range(len(samples)))))[1])
    return torch.cat([torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in weights])


@pytest.mark.parametrize("properties", [(ENERGY,), (FORCES,), (STRESS,), STANDARD], ids=lambda p: p[-1].name)
@pytest.mark.parametrize("kind", LOSSES)
def test_the_weight_of_a_group_multiplies_its_gradient(
    model: BPNN,
    samples_of: Callable[[Mapping[str, float]], SampleSet],
    kind: str,
    properties: tuple[Property, ...],
) -> None:
    """For each loss, also for residuals beyond the threshold of ``huber``."""
    objective = objective_of(kind, properties)

    def of(weight_of_a: float, weight_of_b: float) -> Tensor:
        return gradient(model, samples_of({"A": weight_of_a, "B": weight_of_b}), objective)

    alone, others = of(1.0, 0.0), of(0.0, 1.0)
    largest = 100.0 * float(torch.maximum(alone.abs(), others.abs()).max())
    assert alone.abs().max() > 0.0
    assert others.abs().max() > 0.0
    torch.testing.assert_close(of(100.0, 0.0), 100.0 * alone, rtol=1e-12, atol=1e-14 * largest)
    torch.testing.assert_close(of(100.0, 1.0), 100.0 * alone + others, rtol=1e-12, atol=1e-14 * largest)


def test_residuals_of_the_batch_are_on_both_sides_of_the_thresholds(
    model: BPNN, samples_of: Callable[[Mapping[str, float]], SampleSet]
) -> None:
    """Or the test above shows nothing of ``huber``."""
    samples = samples_of({"A": 1.0, "B": 1.0})
    batch, labels = collate(samples.samples, torch.float64, CPU)
    found = predict(model, batch)
    for one in (FORCES, STRESS):
        residuals = (found.values[one.name] / one.loss_unit.size - labels[one.name].values).abs()
        assert float(residuals.min()) < DELTAS[one.name] < float(residuals.max()), one.name


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", LOSSES)
def test_the_gradient_is_that_of_the_objective(
    model: BPNN, samples_of: Callable[[Mapping[str, float]], SampleSet], kind: str, reduction: str
) -> None:
    """Along a random direction in the space of the weights."""
    samples, objective = samples_of({"A": 2.0, "B": 3.0}), objective_of(kind, reduction=reduction)
    batch, labels = collate(samples.samples, torch.float64, CPU)
    counts = samples.total(range(len(samples)))
    slopes = gradient(model, samples, objective)
    start = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    direction = torch.randn(len(start), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for step in (1e-6, -1e-6):
        torch.nn.utils.vector_to_parameters(start + step * direction, model.parameters())
        found.append(objective.total(objective.sums(predict(model, batch), labels, batch), counts))
    torch.nn.utils.vector_to_parameters(start, model.parameters())
    assert float(slopes @ direction) == pytest.approx((found[0] - found[1]) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_sum_is_not_divided_by_the_number_of_labels(
    model: BPNN, samples_of: Callable[[Mapping[str, float]], SampleSet], kind: str
) -> None:
    samples = samples_of({"A": 1.0, "B": 1.0})
    counts = samples.total(range(len(samples)))
    atoms = sum(len(one) for one in CONFIGURATIONS)
    assert counts == {"energy": 4, "forces": 3 * atoms, "stress": 24}
    for one in STANDARD:
        mean, total = (objective_of(kind, (one,), reduction) for reduction in ("mean", "sum"))
        batch, labels = collate(samples.samples, torch.float64, CPU)
        sums = total.sums(predict(model, batch), labels, batch)
        assert total.total(sums, counts) == pytest.approx(counts[one.name] * mean.total(sums, counts), rel=1e-14)
        expected = counts[one.name] * gradient(model, samples, mean)
        torch.testing.assert_close(gradient(model, samples, total), expected, rtol=1e-12, atol=1e-12)


OWN_LOSS = """\
import torch
from fitsnap_nn.training.losses import Loss

class LogCosh(Loss):
    def value_and_slope(self, residual):
        return self.delta * torch.log(torch.cosh(residual)), self.delta * torch.tanh(residual)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with losses, as if pip had installed it."""
    (tmp_path / "own_losses.py").write_text(OWN_LOSS)
    info = tmp_path / "own_losses-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own_losses\nVersion: 1\n")
    points = "log_cosh = own_losses:LogCosh\nbroken = own_losses:Absent\nlost = no_such_module:Loss\n"
    (info / "entry_points.txt").write_text(f"[fitsnap_nn.losses]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_losses", raising=False)
    return tmp_path


def test_a_loss_of_another_package(installed: Path) -> None:
    value, slope = make_loss("log_cosh", 2.0).value_and_slope(torch.tensor([1.0], dtype=torch.float64))
    assert float(value) == pytest.approx(2.0 * math.log(math.cosh(1.0)))
    assert float(slope) == pytest.approx(2.0 * math.tanh(1.0))


@pytest.mark.parametrize(("kind", "what"), [("broken", "AttributeError"), ("lost", "ModuleNotFoundError")])
def test_a_broken_package_is_an_error_of_the_input(installed: Path, kind: str, what: str) -> None:
    with pytest.raises(InputError, match=rf"the loss {kind} .* cannot be used: {what}: .*") as caught:
        make_loss(kind, 1.0)
    assert caught.value.exit_code == 2


def test_an_unknown_loss_is_an_error_of_the_input(installed: Path) -> None:
    with pytest.raises(InputError, match="there is no loss cauchy"):
        make_loss("cauchy", 1.0)


@pytest.mark.parametrize("option", [1, 2, 3])
def test_the_written_out_derivative_is_that_of_autograd(
    samples_of: Callable[[Mapping[str, float]], SampleSet], option: int
) -> None:
    """To the last bit: a fit does not depend on which of the two is used."""
    model, objective, samples = random_bpnn(INP, hidden=(6, 5), option=option), objective_of("mse"), samples_of(EQUAL)
    weights = list(model.parameters())
    batch, labels = collate(samples.samples, torch.float64, CPU)
    counts = samples.total(range(len(samples)))
    gradients = []
    for explicit in (True, False):
        for weight in weights:
            weight.grad = torch.zeros_like(weight)
        if explicit:
            found, backward = predict_for_training(model, batch, STANDARD, weights)
            assert not found.energy.requires_grad
        else:
            found = predict(model, batch, STANDARD, create_graph=True)
            backward = backward_by_autograd(found, weights)
        backward(objective.slopes(found, labels, batch, objective.scales(counts))[1])
        gradients.append(torch.cat([weight.grad.flatten() for weight in weights]))
    assert gradients[0].abs().max() > 0
    assert torch.equal(*gradients)
