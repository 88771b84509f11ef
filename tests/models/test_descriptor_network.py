"""Networks on SNAP and ACE descriptors as functions of the graph: rules of graph models, and those of the fit."""

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
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.models import BPNN
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.descriptor_network import DescriptorNetwork
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.schema import Bispectrum, Reference
from fitsnap_nn.testing.graphs import crystal as synthetic
from fitsnap_nn.testing.graphs import make_graph
from fitsnap_nn.testing.models import GraphModelTests


def ace_input(*elements: str, **options: Any) -> AceInput:
    common = {"ranks": (1, 2, 3, 4), "nmax": (3, 2, 1, 1), "lmax": (0, 2, 2, 1), "nmaxbase": 4, "rcutfac": (4.2,)}
    return AceInput(Ace(num_types=len(elements), type=elements, **{**common, **options}))


def snap_input(*elements: str, **options: Any) -> SnapInput:
    common = {"twojmax": (4,), "rcutfac": 4.2, "rfac0": 0.97, "wj": (1.0, 0.7), "radelem": (0.5, 0.46)}
    found = {**common, **options}
    by_element = {name: found[name][: len(elements)] for name in ("wj", "radelem")}
    return SnapInput(Bispectrum(num_types=len(elements), type=elements, **{**found, **by_element}))


def network(model_input: SnapInput | AceInput) -> DescriptorNetwork:
    model = DescriptorNetwork(model_input, [6, 5], "tanh")
    graph = make_graph(model, *(synthetic(model.elements, seed) for seed in range(4)))
    values = model.descriptors(graph)
    for element in range(len(model.elements)):
        of_element = values[graph.species == element]
        model.shift[element], model.scale[element] = of_element.mean(dim=0), 0.1 + 2.0 * of_element.std(dim=0)
    return model


class TestAce(GraphModelTests):
    def make_model(self) -> GraphModel:
        return network(ace_input("Ta", rcinner=(2.2,), drcinner=(0.5,)))


class TestAceOfTwoElements(GraphModelTests):
    def make_model(self) -> GraphModel:
        return network(ace_input("In", "P", rcutfac=(4.2, 4.0, 3.8, 3.5), decay=(1.0, 2.0, 1.5, 3.0)))


class TestAceOfHighRanks(GraphModelTests):
    def make_model(self) -> GraphModel:
        options = {"ranks": (1, 5, 6), "nmax": (2, 1, 1), "lmax": (0, 2, 1), "b_basis": "minsub"}
        return network(ace_input("Ta", **options, wigner_flag=False))


class TestSnap(GraphModelTests):
    def make_model(self) -> GraphModel:
        return network(snap_input("Ta", twojmax=(6,), rmin0=0.3))


class TestSnapOfTwoElements(GraphModelTests):
    def make_model(self) -> GraphModel:
        inner = {"switchinnerflag": True, "sinner": (2.3, 2.2), "dinner": (0.4, 0.3)}
        return network(snap_input("In", "P", **inner, bzeroflag=False))


class TestChemicalSnap(GraphModelTests):
    def make_model(self) -> GraphModel:
        return network(snap_input("In", "P", twojmax=(3,), chemflag=True, bnormflag=True))


class TestQuadraticSnap(GraphModelTests):
    def make_model(self) -> GraphModel:
        return network(snap_input("In", "P", twojmax=(2,), quadraticflag=True))


INPUTS = {
    "ACE": ace_input("In", "P"),
    "SNAP": snap_input("In", "P"),
    "chemical SNAP": snap_input("In", "P", chemflag=True, twojmax=(3,)),
    "quadratic SNAP": snap_input("In", "P", quadraticflag=True, twojmax=(2,)),
}


@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("committee", [1, 2])
@pytest.mark.parametrize("name", INPUTS)
def test_it_is_the_network_of_the_fit(name: str, option: int, committee: int) -> None:
    torch.manual_seed(1)
    model = BPNN(INPUTS[name], [7, 5], "softplus", option, committee=committee)
    randomize_baselines(model)
    configuration = crystal(("In", "P"), 4)
    with model.input.open(Reference(), Path(), derivatives_of(STANDARD)) as compute:
        expected = predict(model, model.input.to_batch(configuration, compute.compute(configuration)))
    on_graph = DescriptorNetwork.of(model)
    found = predict(on_graph, make_graph(on_graph, configuration))
    torch.testing.assert_close(found.atom_energies, expected.atom_energies, rtol=1e-12, atol=1e-12)
    for name in ("forces", "stress"):
        torch.testing.assert_close(found.values[name], expected.values[name], rtol=1e-9, atol=1e-11)


def test_graphs_in_float32_cost_no_digits_but_those_of_their_vectors() -> None:
    """Descriptors cancel: in float32 they, and not the vectors, would determine the error."""
    model = network(ace_input("Ta"))
    graph = make_graph(model, synthetic(model.elements, count=30))
    rounded = replace(graph, vectors=graph.vectors.float())
    model.set_precision(torch.float32)
    expected = model(replace(graph, vectors=rounded.vectors.double()))
    found = model(rounded)
    assert (model.precision, found.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(found.double(), expected, rtol=1e-7, atol=0)
