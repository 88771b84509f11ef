"""FitSNAP's pair network: its formulas written out again, FitSNAP itself, and what every graph model must satisfy."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from outside import Outside
from torch import Tensor

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.pair_network import PairNetwork
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.settings.architectures import Custom
from fitsnap_nn.testing.graphs import crystal, make_graph, molecule
from fitsnap_nn.testing.models import GraphModelTests

LAYERS = ("num_desc", "6", "5", "1")


def pair_network(*elements: str, **hypers: Any) -> PairNetwork:
    """Small, with a standardisation that differs between networks."""
    torch.manual_seed(5)
    options = {"num_radial": 3, "num_3body": 4, "cutoff": 4.2, "layer_sizes": LAYERS, **hypers}
    model = PairNetwork(elements, **options)
    model.shift += torch.randn(model.shift.shape)
    model.scale *= 0.5 + torch.rand(model.scale.shape)
    return model


class TestOneElement(GraphModelTests):
    def make_model(self) -> GraphModel:
        return pair_network("Ta")


class TestANetworkPerElement(GraphModelTests):
    def make_model(self) -> GraphModel:
        return pair_network("In", "P", multi_element_option=2, activation="tanh", cutoff_width=1.0)


class TestElementsAsInputs(GraphModelTests):
    def make_model(self) -> GraphModel:
        return pair_network("C", "H", "O", multi_element_option=3, num_3body=1, cutoff=3.4, cutoff_width=3.4)


class TestNoAngles(GraphModelTests):
    def make_model(self) -> GraphModel:
        return pair_network("Ta", num_3body=0, layer_sizes=("num_desc", "1"))


def graph_of(model: GraphModel) -> Graph:
    """Two crystals with different numbers of neighbours, a pair, and an isolated atom."""
    pair, lone = np.array([[0.0, 0.0, 0.0], [2.0, 0.5, 0.0]]), np.zeros((1, 3))
    others = [molecule(model.elements, places) for places in (pair, lone)]
    return make_graph(model, crystal(model.elements), crystal(model.elements, 1, count=2, lattice=2.6), *others)


def formula(model: PairNetwork, graph: Graph) -> NDArray[np.float64]:
    """Descriptors as in the docstring of the model, pair by pair."""
    vectors, cutoff, width = graph.vectors.numpy(), model.cutoff, model.cutoff_width
    count = model.gaussians._constants["centres"].numel()
    rows = []
    for number, (vector, centre) in enumerate(zip(vectors, graph.edge_i.tolist(), strict=True)):
        r = np.linalg.norm(vector)
        start = cutoff - width
        switch = 1.0 if r <= start else 0.5 + 0.5 * np.cos(np.pi * (r - start) / width)
        radial = [
            np.sqrt(2.0 / cutoff) * np.sin(n * np.pi * r / cutoff) / r * switch
            for n in range(1, model.shift.shape[1] - count + 1)
        ]
        angular = np.zeros(count)
        for other in np.flatnonzero(graph.edge_i.numpy() == centre):
            length = np.linalg.norm(vectors[other])
            cosine = vector @ vectors[other] / (r * length) if other != number else 0.0
            weight = 0.5 + 0.5 * np.cos(np.pi * length / cutoff)
            angular += weight * np.exp(-4.0 * (cosine - np.linspace(-1.0, 1.0, count)) ** 2)
        rows.append([*radial, *angular])
    return np.array(rows)


@pytest.mark.parametrize(
    "hypers", [{}, {"cutoff_width": 0.7}, {"num_radial": 8, "num_3body": 23}, {"num_3body": 1}, {"num_3body": 0}]
)
def test_descriptors_are_the_formula(hypers: dict[str, Any]) -> None:
    model = pair_network("Ta", **hypers)
    model.set_precision(torch.float64)
    graph = graph_of(model)
    with torch.no_grad():
        np.testing.assert_allclose(model.descriptors(graph).numpy(), formula(model, graph), rtol=0, atol=1e-12)


def test_one_hot_inputs_are_columns_of_the_first_layer() -> None:
    model = pair_network("Ta", "O", multi_element_option=3)
    model.set_precision(torch.float64)
    graph = graph_of(model)
    one_hot = torch.eye(2, dtype=torch.float64)
    with torch.no_grad():
        inputs = (model.descriptors(graph) - model.shift) / model.scale
        elements = [one_hot[graph.species[atoms]] for atoms in (graph.edge_i, graph.edge_j)]
        assert model.element_weights is not None
        first = torch.cat([model.weights[0][0], *(part.t() for part in model.element_weights)], dim=1)
        values = torch.cat([inputs, *elements], dim=1) @ first.t() + model.biases[0][0]
        for weight, bias in zip(list(model.weights)[1:], list(model.biases)[1:], strict=True):
            values = torch.nn.functional.softplus(values) @ weight[0].t() + bias[0]
        found = model._networks(graph, model.descriptors(graph))
    torch.testing.assert_close(found, values[:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("option", [1, 2])
def test_descriptors_are_standardised_over_the_pairs_of_a_network(option: int) -> None:
    model = PairNetwork(["Ta", "O"], num_radial=3, cutoff=4.2, layer_sizes=LAYERS, multi_element_option=option)
    each = [make_graph(model, crystal(model.elements, seed, lattice=2.9)) for seed in range(3)]
    model.fit_to_data(iter(each))
    for number in range(len(model.shift)):
        rows = [model.descriptors(graph)[(graph.species[graph.edge_i] == number) | (option == 1)] for graph in each]
        inputs = (torch.cat(rows).detach() - model.shift[number]) / model.scale[number]
        assert inputs.mean(dim=0).abs().max() < 1e-5
        assert (inputs.std(dim=0, correction=0) - 1.0).abs().max() < 1e-5


def test_an_unsmooth_cutoff_is_refused() -> None:
    with pytest.raises(ValueError, match="A cutoff of 3 Å needs a cutoff_width"):
        PairNetwork(["Ta"], cutoff=3.0)


def test_hyperparameters_are_those_of_the_section() -> None:
    hypers = Custom(layer_sizes=LAYERS).hyperparameters()
    description = PairNetwork(["Ta"], **hypers).description()
    assert description == {"architecture": "CUSTOM", "elements": ["Ta"], **hypers, "layer_sizes": list(LAYERS)}
    defaults = PairNetwork(["Ta"]).description()
    assert {**defaults, "layer_sizes": tuple(defaults["layer_sizes"])}.items() >= Custom().hyperparameters().items()


@pytest.fixture
def fitsnap(outside: Outside) -> Iterator[ModuleType]:
    """FitSNAP's own pair network, with constants in float64: its own are float32, so that pi has seven digits."""
    outside.library("fitsnap3lib")
    spec = importlib.util.find_spec("fitsnap3lib")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    names = ["fitsnap3lib", "fitsnap3lib.lib", "fitsnap3lib.lib.neural_networks"]
    names.append(f"{names[-1]}.descriptors")
    folder = Path(next(iter(spec.submodule_search_locations)), "lib", "neural_networks")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setitem(sys.modules, name, ModuleType(name))
        for name, path in {
            f"{names[3]}.bessel": "descriptors/bessel.py",
            f"{names[3]}.g3b": "descriptors/g3b.py",
            f"{names[2]}.pairwise": "pairwise.py",
        }.items():
            spec = importlib.util.spec_from_file_location(name, folder / path)
            assert spec is not None
            assert spec.loader is not None
            patch.setitem(sys.modules, name, module := importlib.util.module_from_spec(spec))
            spec.loader.exec_module(module)
        torch.set_default_dtype(torch.float64)
        yield module
        torch.set_default_dtype(torch.float32)


def test_a_training_step_is_fitsnap_s(fitsnap: ModuleType) -> None:
    """Energies, forces and the loss, and its gradients: FitSNAP's standardising layer is fixed here."""
    model = PairNetwork(["Ta"], num_radial=8, num_3body=23, cutoff=5.0, layer_sizes=("num_desc", "32", "32", "1"))
    model.set_precision(torch.float64)
    graph = graph_of(model)
    model.fit_to_data([graph])
    network = fitsnap.create_torch_network([31, 32, 32, 1])
    first, *layers = (layer for layer in network if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():
        first.weight.copy_(torch.diag(1.0 / model.scale[0]))
        first.bias.copy_(-model.shift[0] / model.scale[0])
        for weight, bias, layer in zip(model.weights, model.biases, layers, strict=True):
            weight[0].copy_(layer.weight)
            bias[0].copy_(layer.bias)
    theirs = fitsnap.FitTorch([network], 31, 8, 23, 5.0, dtype=torch.float64)
    # Positions of all atoms at 0: FitSNAP adds to them the vectors to the images of neighbours.
    positions = torch.zeros(len(graph.species), 3, requires_grad=True)
    energies, forces = theirs(
        positions, torch.stack([graph.edge_i, graph.edge_j], dim=1), graph.vectors, graph.config[graph.edge_i],
        graph.n_atoms, graph.species, graph.edge_i, graph.edge_j, "cpu", torch.float64,
    )  # fmt: skip
    found = predict(model, graph, create_graph=True)
    torch.testing.assert_close(found.energy, energies, rtol=0, atol=1e-11)
    assert found.forces is not None
    torch.testing.assert_close(found.forces, forces, rtol=0, atol=1e-12)

    def loss(energy: Tensor, force: Tensor) -> Tensor:
        return 0.01 * (energy / graph.n_atoms + 7.0).square().mean() + (force - 0.3).square().mean()

    weights = [*model.weights, *model.biases]
    slopes = torch.autograd.grad(loss(found.energy, found.forces), weights)
    their_weights = [*(layer.weight for layer in layers), *(layer.bias for layer in layers)]
    for slope, expected in zip(slopes, torch.autograd.grad(loss(energies, forces), their_weights), strict=True):
        torch.testing.assert_close(slope[0], expected, rtol=1e-10, atol=1e-11)
