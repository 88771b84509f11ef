"""Networks on ACE descriptors as LAMMPS runs them: what every graph model must satisfy, and the network of the fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from random_potentials import crystal
from small_models import randomize_baselines

from fitsnap_nn.data.properties import STANDARD, derivatives_of
from fitsnap_nn.inputs.ace.input import AceInput
from fitsnap_nn.models import BPNN
from fitsnap_nn.models.ace import AceNetwork
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.schema import Reference
from fitsnap_nn.testing.graphs import crystal as synthetic
from fitsnap_nn.testing.graphs import make_graph
from fitsnap_nn.testing.models import GraphModelTests


def ace_input(*elements: str, **options: Any) -> AceInput:
    common = {"ranks": (1, 2, 3, 4), "nmax": (3, 2, 1, 1), "lmax": (0, 2, 2, 1), "nmaxbase": 4, "rcutfac": (4.2,)}
    return AceInput(Ace(num_types=len(elements), type=elements, **{**common, **options}))


def network(*elements: str, **options: Any) -> AceNetwork:
    model = AceNetwork(ace_input(*elements, **options), [6, 5], "tanh")
    graph = make_graph(model, *(synthetic(model.elements, seed) for seed in range(4)))
    values = model.descriptors(graph)
    for element in range(len(elements)):
        of_element = values[graph.species == element]
        model.shift[element], model.scale[element] = of_element.mean(dim=0), 0.1 + 2.0 * of_element.std(dim=0)
    return model


class TestOneElement(GraphModelTests):
    def make_model(self) -> GraphModel:
        return network("Ta", rcinner=(2.2,), drcinner=(0.5,))


class TestTwoElements(GraphModelTests):
    def make_model(self) -> GraphModel:
        return network("In", "P", rcutfac=(4.2, 4.0, 3.8, 3.5), decay=(1.0, 2.0, 1.5, 3.0))


class TestHighRanks(GraphModelTests):
    def make_model(self) -> GraphModel:
        options = {"ranks": (1, 5, 6), "nmax": (2, 1, 1), "lmax": (0, 2, 1), "b_basis": "minsub"}
        return network("Ta", **options, wigner_flag=False)


@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("committee", [1, 2])
def test_it_is_the_network_of_the_fit(option: int, committee: int) -> None:
    torch.manual_seed(1)
    model = BPNN(ace_input("In", "P"), [7, 5], "softplus", option, committee=committee)
    randomize_baselines(model)
    configuration = crystal(("In", "P"), 4)
    with model.input.open(Reference(), Path(), derivatives_of(STANDARD)) as compute:
        expected = predict(model, model.input.to_batch(configuration, compute.compute(configuration)))
    on_graph = AceNetwork.of(model)
    found = predict(on_graph, make_graph(on_graph, configuration))
    torch.testing.assert_close(found.atom_energies, expected.atom_energies, rtol=1e-12, atol=1e-12)
    for name in ("forces", "stress"):
        torch.testing.assert_close(found.values[name], expected.values[name], rtol=1e-9, atol=1e-11)


def test_graphs_in_float32_cost_no_digits_but_those_of_their_vectors() -> None:
    """Descriptors cancel: in float32 they, and not the vectors, would determine the error."""
    model = network("Ta")
    graph = make_graph(model, synthetic(model.elements, count=30))
    rounded = replace(graph, vectors=graph.vectors.float())
    model.set_precision(torch.float32)
    expected = model(replace(graph, vectors=rounded.vectors.double()))
    found = model(rounded)
    assert (model.precision, found.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(found.double(), expected, rtol=1e-7, atol=0)
