"""Uncertainties from displaced last layers, of which the energy is a linear function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from small_models import SMALL_MACE
from test_bpnn import INP, REFERENCE
from test_bpnn import crystal as inp_crystal
from test_committee import committee

from fitsnap_nn.data.properties import ENERGY, FORCES
from fitsnap_nn.inputs.snap.compute import SnapCompute
from fitsnap_nn.models import Model
from fitsnap_nn.models.evaluation import evaluate
from fitsnap_nn.models.mace import MACE
from fitsnap_nn.models.nanopet import Nanopet
from fitsnap_nn.models.pair_network import PairNetwork
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.models.soap_bpnn import SoapBpnn
from fitsnap_nn.models.uncertainty import COMMITTEE, LAST_LAYER, Uncertainty, displaced
from fitsnap_nn.testing.graphs import crystal, make_graph
from fitsnap_nn.training.batches import Sample, SampleSet
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.rigidity import displacements_of

ELEMENTS = ("Ta", "O")
MODELS: dict[str, Callable[[], Model[Any]]] = {
    "SOAP_BPNN": lambda: SoapBpnn(ELEMENTS, max_angular=2, max_radial=2, cutoff_radius=4.0, num_neurons_per_layer=6),
    "SOAP_BPNN without hidden layers": lambda: SoapBpnn(
        ELEMENTS, max_angular=2, max_radial=2, cutoff_radius=4.0, num_hidden_layers=0
    ),
    "NANOPET": lambda: Nanopet(ELEMENTS, cutoff=4.0, d_pet=8, num_heads=2, num_gnn_layers=2),
    "MACE": lambda: MACE(ELEMENTS, **SMALL_MACE),
    "CUSTOM": lambda: PairNetwork(ELEMENTS, cutoff=4.0, layer_sizes=("num_desc", "6", "1"), multi_element_option=2),
}


def graph_model(name: str, request: pytest.FixtureRequest) -> tuple[Model[Any], Any]:
    if name == "MACE":
        request.getfixturevalue("mace")
    torch.manual_seed(3)
    model = MODELS[name]()
    model.set_precision(torch.float64)
    model.energy_scale.fill_(1.7)
    return model.eval(), make_graph(model, crystal(ELEMENTS, lattice=3.1))


@pytest.mark.parametrize("name", MODELS)
def test_energies_and_forces_are_linear_in_the_last_layer(name: str, request: pytest.FixtureRequest) -> None:
    model, graph = graph_model(name, request)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    size = sum(tensor.numel() for tensor in model.last_layer_parameters())
    own, displacement = predict(model, graph, (ENERGY, FORCES)), torch.randn(size, dtype=torch.float64)
    changes = []
    for factor in (1.0, -2.0):
        with displaced(model, factor * displacement):
            other = predict(model, graph, (ENERGY, FORCES))
        changes.append([(other.values[key] - own.values[key]) / factor for key in ("energy", "forces")])
    for one, two in zip(*changes, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-11)
    assert changes[0][1].abs().max() > 1e-6
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())  # restored to the bit


def test_displacements_have_the_covariance_of_the_rigidity(request: pytest.FixtureRequest) -> None:
    """With as many displacements as parameters, the mean of their products is C^-1, here from exact force rows."""
    model, graph = graph_model("SOAP_BPNN", request)
    parameters = model.last_layer_parameters()
    size = sum(tensor.numel() for tensor in parameters)
    samples = SampleSet([Sample(graph, {}, {})] * 150, torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fitsnap_nn.training.rigidity.DISPLACEMENTS", size)
        found = displacements_of(model, samples, True, Ranks())
    prediction = predict(model, graph, (ENERGY, FORCES), create_graph=True)
    values = [prediction.energy.sum() / len(graph.species), *prediction.values["forces"].flatten()]
    slopes = [torch.autograd.grad(value, parameters, retain_graph=True) for value in values]
    rows = torch.stack([torch.cat([one.flatten() for one in each]) for each in slopes])
    curvature = rows[:1].T @ rows[:1] / rows[0].square().sum() + rows[1:].T @ rows[1:] / rows[1:].square().sum()
    curvature.diagonal().add_(1e-6 * curvature.diagonal().mean())
    variances = (rows[1:] @ found.T).square().mean(dim=1)
    exact = (rows[1:] * torch.linalg.solve(curvature, rows[1:].T).T).sum(dim=1)
    assert np.corrcoef(variances.log(), exact.log())[0, 1] > 0.95  # random signs, 600 of them
    torch.testing.assert_close(variances.mean(), exact.mean(), rtol=0.15, atol=0.0)


def test_the_spread_is_scaled_and_agrees_in_batches() -> None:
    torch.manual_seed(2)
    model = committee(members=1)
    size = sum(tensor.numel() for tensor in model.last_layer_parameters())
    displacements = 0.1 * torch.randn(5, size, dtype=torch.float64)
    uncertainty = Uncertainty(LAST_LAYER, 2.0, 3.0, 1.0, displacements)
    with SnapCompute(INP, REFERENCE, gradients=True, strain=True) as compute:
        record = compute.compute(inp_crystal())
    found = evaluate(model, inp_crystal(), record, (ENERGY, FORCES), uncertainty)
    own = evaluate(model, inp_crystal(), record, (ENERGY, FORCES))
    others = []
    for displacement in displacements:
        with displaced(model, displacement):
            others.append(evaluate(model, inp_crystal(), record, (ENERGY, FORCES)))
    forces = np.stack([one.forces - own.forces for one in others])
    np.testing.assert_allclose(found.spread["forces"], 2.0 * np.sqrt((forces**2).sum(axis=2).mean(axis=0)), rtol=1e-9)
    energies = np.array([one.energy - own.energy for one in others])
    assert float(found.spread["energy"]) == pytest.approx(3.0 * np.sqrt((energies**2).mean()), rel=1e-9)
    assert not own.spread
    members = committee()
    raw, scaled = (
        evaluate(members, inp_crystal(), record, (ENERGY, FORCES), one)
        for one in (None, Uncertainty(COMMITTEE, 2.0, 3.0, 1.0, torch.zeros(0, 0, dtype=torch.float64)))
    )
    for name, factor in (("forces", 2.0), ("energy", 3.0), ("energies", 3.0)):
        np.testing.assert_allclose(scaled.spread[name], factor * raw.spread[name], rtol=1e-12)
