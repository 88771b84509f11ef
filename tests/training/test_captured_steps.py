"""Steps as a GPU captures them, on padded graphs, against the usual ones; without a GPU the same function is called."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import STANDARD, Property
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.inputs.graph.compute import GraphCompute
from fitsnap_nn.models import GraphModel, build_model
from fitsnap_nn.models.prediction import Prediction
from fitsnap_nn.settings.schema import PytorchSection, Reference
from fitsnap_nn.testing.device_rules import META, DeviceRules
from fitsnap_nn.testing.graphs import crystal, molecule
from fitsnap_nn.training import trainer as training
from fitsnap_nn.training.batches import Labels, SampleSet, collate, make_sample
from fitsnap_nn.training.differentiation import Differentiable, Differentiated, flatten, pad_batch
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.flat import FlatParameters
from fitsnap_nn.training.kalman import KalmanStep
from fitsnap_nn.training.losses import make_loss
from fitsnap_nn.training.objective import Objective, Term
from fitsnap_nn.training.set_errors import SetErrors
from fitsnap_nn.training.trainer import EpochReport, Trainer

CPU = torch.device("cpu")
ELEMENTS = ["Mo", "W"]
MACE = {"r_max": 4.0, "num_radial_basis": 4, "max_ell": 2, "hidden_irreps": "4x0e + 4x1o", "correlation": 2}
SOAP = {"max_angular": 2, "max_radial": 2, "cutoff_radius": 4.0, "cutoff_width": 1.0, "num_neurons_per_layer": 8}
MODELS = {
    "MACE": {**MACE, "radial_MLP": (8, 8), "avg_num_neighbors": 7.5},
    "SOAP_BPNN": SOAP,
    "NANOPET": {"cutoff": 4.0, "d_pet": 8, "num_heads": 2, "num_attention_layers": 1, "zbl": True},
    "CUSTOM": {"cutoff": 4.0, "layer_sizes": ["num_desc", "8", "1"], "multi_element_option": 3},
}
# Forces vanish by symmetry: the filter does not measure them.
PERFECT = Configuration("perfect", "all", tuple(ELEMENTS), np.array([[0.0] * 3, [1.6] * 3]), 3.2 * np.eye(3))
OPTIONS = {
    "Adam": PytorchSection(learning_rate=1e-3, num_epochs=3, batch_size=3, ema_decay=0.9, gradient_clip=0.5),
    "SOAP": PytorchSection(optimizer="SOAP", learning_rate=1e-3, num_epochs=3, batch_size=3),
    "LKF": PytorchSection(optimizer="LKF", num_epochs=1, batch_size=8),
}


def labelled(configuration: Configuration, number: int) -> Configuration:
    """Random labels; every third configuration has no forces, and molecules have no stress."""
    random = np.random.default_rng(number)
    labels = {"energy": np.asarray(random.normal()), "stress": 0.01 * random.normal(size=6)}
    if number % 3:
        labels["forces"] = random.normal(size=(len(configuration), 3))
    weights = {"energy": 10.0, "forces": 1.0, "stress": 1e-8}
    return replace(configuration, labels=labels, weights=weights)


def sample_set(model: GraphModel) -> SampleSet:
    random = np.random.default_rng(1)
    lone = molecule(ELEMENTS, 3.0 * random.random((3, 3)) + np.arange(3)[:, None])
    configurations = [
        *(crystal(ELEMENTS, number, count=1 + number % 3) for number in range(6)),
        lone,
        crystal(ELEMENTS, 8),
        PERFECT,
    ]
    samples = []
    with GraphCompute(model.elements, model.cutoff, Reference()) as compute:
        for number, one in enumerate(configurations):
            configuration = labelled(one, number)
            cached = compute.compute(configuration)
            batch = model.input.to_batch(configuration, cached)
            samples.append(make_sample(configuration, cached, batch, STANDARD, torch.float64))
    return SampleSet(samples, torch.float64)


def trained(model: GraphModel, options: PytorchSection) -> tuple[Sequence[EpochReport], torch.Tensor]:
    objective = Objective([Term(one, make_loss("mse", 1.0)) for one in STANDARD])
    samples, reports = sample_set(model), []
    fit = Trainer(model, samples, samples, objective, options, 3, Ranks(), CPU)
    fit.run(reports.append)
    return reports, fit.flat.vector.detach().clone()


@pytest.mark.parametrize("optimizer", OPTIONS)
@pytest.mark.parametrize("architecture", MODELS)
def test_captured_steps_are_the_usual_ones(architecture: str, optimizer: str, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    model = build_model({"architecture": architecture, "elements": ELEMENTS, **MODELS[architecture]})
    model.set_precision(torch.float64)
    usual, weights = trained(copy.deepcopy(model), OPTIONS[optimizer])
    monkeypatch.setattr(training, "is_captured", lambda model, device: True)
    captured, found = trained(copy.deepcopy(model), OPTIONS[optimizer])
    torch.testing.assert_close(found, weights, rtol=1e-9, atol=1e-9)
    for one, other in zip(usual, captured, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-10)
        assert other.validation.loss == pytest.approx(one.validation.loss, rel=1e-10)
        assert other.validation.mae == pytest.approx(one.validation.mae, rel=1e-10)
    assert float((weights - torch.cat([one.detach().flatten() for one in model.parameters()])).abs().max()) > 1e-4


def padded(model: GraphModel, properties: Sequence[Property]) -> tuple[Batch, list[torch.Tensor]]:
    """A padded batch, and the tensors of batch and labels that a captured function takes."""
    model.set_precision(torch.float32)
    batch, labels = pad_batch(*collate(sample_set(model).samples, torch.float32, CPU), properties)
    return batch, flatten(batch, labels, properties)


def objective_of(kind: str) -> Objective:
    return Objective([Term(one, make_loss(kind, 1.0)) for one in STANDARD])


def assert_needs_no_value(
    model: GraphModel,
    properties: Sequence[Property],
    function: Differentiable,
    inputs: Sequence[torch.Tensor],
    *,
    ordered: bool = True,
) -> None:
    """Meta tensors have shapes but no values: every operation whose result has a size that depends on them fails."""
    part = FlatParameters(model.to(META)).part(model)
    step = Differentiated(model, part, properties, function, captured=True)
    moved = [one.to(META) for one in inputs]
    with DeviceRules(ordered=ordered):
        gradient, sums = step._evaluate(*moved)
    assert gradient.device == sums.device == META
    assert gradient.shape == part.vector.shape


def rotations(model: GraphModel, batch: Batch) -> list[torch.Tensor]:
    return [torch.zeros(len(batch.n_atoms), 3, 3, dtype=torch.float64)] if model.needs_augmentation else []


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
@pytest.mark.parametrize("architecture", MODELS)
def test_a_step_needs_no_value_on_the_host(architecture: str, kind: str):
    model = build_model({"architecture": architecture, "elements": ELEMENTS, **MODELS[architecture]})
    batch, inputs = padded(model, STANDARD)
    objective = objective_of(kind)

    def slopes(prediction: Prediction, batch: Batch, labels: Labels, *scales: torch.Tensor):
        sums, found = objective.slopes(prediction, labels, batch, scales)
        return [sums], found

    scales = [torch.ones((), dtype=torch.float64) for _ in STANDARD]
    assert_needs_no_value(model, STANDARD, slopes, [*inputs, *scales, *rotations(model, batch)])


@pytest.mark.parametrize("one", STANDARD, ids=lambda one: one.name)
@pytest.mark.parametrize("architecture", MODELS)
def test_a_measurement_of_the_filter_needs_none(architecture: str, one: Property):
    model = build_model({"architecture": architecture, "elements": ELEMENTS, **MODELS[architecture]})
    batch, inputs = padded(model, [one])
    chosen = torch.ones(len(batch.species if one.per == "atom" else batch.n_atoms), dtype=torch.bool)
    arguments = [*inputs, chosen, torch.ones((), dtype=torch.float64), *rotations(model, batch)]
    function = partial(KalmanStep._measurement, None, Term(one, make_loss("mse", 1.0)))
    # Its counts of configurations are sums of ones, exact in any order.
    assert_needs_no_value(model, [one], function, arguments, ordered=one.per != "atom")


@pytest.mark.parametrize("architecture", MODELS)
def test_an_evaluation_needs_none(architecture: str):
    model = build_model({"architecture": architecture, "elements": ELEMENTS, **MODELS[architecture]})
    _, inputs = padded(model, STANDARD)
    objective = objective_of("mse")
    errors = SetErrors(model.to(META), objective, Ranks(), META, lambda: None, lambda _: None)
    moved = [one.to(META) for one in inputs]
    with DeviceRules():
        (sums,) = errors._sums_of_tensors(*moved)
    assert sums.device == META
    assert sums.shape == (3 * len(STANDARD),)
