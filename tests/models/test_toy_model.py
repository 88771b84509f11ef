"""The tests that architectures inherit: on models for which each holds, and on models that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor
from toy_model import AtomMessages, EdgeMessages

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.pairs import sum_by
from fitsnap_nn.testing.models import GraphModelTests

Outputs = Callable[[Graph], Tensor]


class TestMessagesBetweenAtoms(GraphModelTests):
    def make_model(self) -> GraphModel:
        return AtomMessages(["Ta", "O"])


class TestMessagesOnEdges(GraphModelTests):
    def make_model(self) -> GraphModel:
        return EdgeMessages(["In", "P", "O"], cutoff=4.5, layers=3)


class TestNoMessages(GraphModelTests):
    def make_model(self) -> GraphModel:
        return AtomMessages(["Ta"], layers=1)


def in_one_list(outputs: Outputs, graph: Graph) -> Tensor:
    return outputs(Graph(**{field.name: getattr(graph, field.name) for field in fields(Graph)}))


def scaled(outputs: Outputs, graph: Graph, weights: Tensor) -> Tensor:
    return outputs(replace(graph, vectors=graph.vectors * weights.to(graph.vectors.dtype)))


def sums(graph: Graph, values: Tensor) -> Tensor:
    return sum_by(graph.edge_i, values.to(graph.vectors.dtype), len(graph.species))


# What is done to a good model, by the name of the test that must find it.
WRONG: dict[str, Callable[[Outputs, Graph], Tensor]] = {
    "test_forces_are_minus_the_derivatives_of_the_energy": (
        lambda outputs, graph: outputs(graph) + sums(graph, graph.vectors.detach()[:, 0] ** 2)
    ),
    "test_stress_is_the_derivative_of_the_energy_by_strain": (
        lambda outputs, graph: outputs(graph) + graph.volume.to(graph.vectors.dtype)
    ),
    "test_rotation": lambda outputs, graph: scaled(outputs, graph, torch.tensor([1.0, 1.1, 1.2])),
    "test_inversion": lambda outputs, graph: outputs(graph) + 0.1 * sums(graph, graph.vectors[:, 0] ** 3),
    "test_permutation_of_atoms": lambda outputs, graph: outputs(graph) * torch.arange(len(graph.species)),
    "test_order_of_edges": (
        lambda outputs, graph: scaled(outputs, graph, torch.linspace(0.9, 1.0, len(graph.edge_i))[:, None])
    ),
    "test_a_doubled_cell": lambda outputs, graph: outputs(graph) * graph.n_atoms[graph.config],
    "test_an_isolated_atom": lambda outputs, graph: outputs(graph) / sums(graph, torch.ones(len(graph.edge_i))),
    "test_no_atoms": lambda outputs, graph: outputs(graph) - outputs(graph).max(),
    "test_configurations_of_a_batch_do_not_see_each_other": lambda outputs, graph: (
        outputs(graph) - outputs(graph).mean()
    ),
    "test_float32_is_close_to_float64": lambda outputs, graph: outputs(graph).double(),
    "test_images_as_ghosts": in_one_list,
    "test_how_far_atoms_matter": lambda outputs, graph: outputs(graph) + 0.1 * outputs(graph).sum(),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_model_is_found(name: str) -> None:
    tests = TestMessagesBetweenAtoms()
    model = AtomMessages(["Ta", "O"])
    model.set_precision(torch.float64)
    good = model.forward
    model.forward = lambda graph: WRONG[name](good, graph)
    with pytest.raises((AssertionError, RuntimeError)):
        getattr(tests, name)(model)


def test_a_jump_at_the_cutoff_is_found() -> None:
    model = AtomMessages(["Ta"])
    model.set_precision(torch.float64)
    good = model.distances
    model.distances = lambda graph: good(graph) + 1e-3
    with pytest.raises(AssertionError):
        TestMessagesBetweenAtoms().test_energy_and_forces_are_continuous_at_the_cutoff(model, ())


def test_weights_that_do_nothing_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = AtomMessages(["Ta"])
    model.spare = torch.nn.Linear(2, 2)
    model.set_precision(torch.float64)
    with pytest.raises(AssertionError, match=r"spare\.weight"):
        TestMessagesBetweenAtoms().test_derivatives_by_the_weights(model)
    with pytest.raises(RuntimeError, match="spare"):
        TestMessagesBetweenAtoms().test_the_description_makes_the_same_model(model, monkeypatch)
