"""SOAP-BPNN against metatrain's numbers, its formulas written out, and what every graph model must satisfy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from outside import Outside
from processes import run
from scipy.special import spherical_jn
from small_models import assert_repulsion_is_added, assert_same_hyperparameters
from torch import Tensor
from torch.nn import functional

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.blocks import neighbour_blocks
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.settings import architectures
from fitsnap_nn.testing.graphs import crystal, ghost_graph, make_graph, molecule
from fitsnap_nn.testing.models import GraphModelTests

Outside().library("spex")  # which they import at once

from fitsnap_nn.models.soap import radial_tables, spherical_harmonics  # noqa: E402
from fitsnap_nn.models.soap_bpnn import NUM_PSEUDO_ELEMENTS, SoapBpnn  # noqa: E402

ELEMENTS = ("O", "H", "C")  # metatrain sorts them: H, C, O
LAST = "last_layers.energy.energy___0.module_map.module_list"
LEGACY = pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "mixtures"])
VARIANTS = {
    "defaults": {},
    "no normalisation": {"layernorm": False},
    "no hidden layer": {"num_hidden_layers": 0},
    "one hidden layer": {"num_hidden_layers": 1},
    "head": {"heads": "mlp"},
    "head only": {"num_hidden_layers": 0, "heads": "mlp", "layernorm": False},
}


class TestLegacy(GraphModelTests):
    def make_model(self) -> GraphModel:
        return SoapBpnn(["In", "P"], max_angular=3, max_radial=3, cutoff_radius=4.2, cutoff_width=0.9)


class TestMixtures(GraphModelTests):
    def make_model(self) -> GraphModel:
        return SoapBpnn(["Ta", "O", "C"], max_angular=2, max_radial=2, cutoff_radius=4.0, legacy=False, heads="mlp")


class TestLinearWithRepulsion(GraphModelTests):
    def make_model(self) -> GraphModel:
        return SoapBpnn(
            ["Ta"], max_angular=2, max_radial=4, cutoff_radius=5.0, num_hidden_layers=0, layernorm=False, zbl=True
        )


def small(legacy: bool = True, **hyperparameters: object) -> SoapBpnn:
    """Random parameters, those of the normalisation too, in float64."""
    torch.manual_seed(3)
    options = {"max_angular": 2, "max_radial": 2, "num_neurons_per_layer": 7, **hyperparameters}
    model = SoapBpnn(("Ta", "O"), legacy=legacy, **options)
    with torch.no_grad():
        for parameter in (model.norm_weight, model.norm_bias) if model.norm_weight is not None else ():
            parameter += torch.randn_like(parameter)
            parameter[-1] = torch.where(model.power_spectrum.multiplicity == 1, parameter[0], parameter[-1])
    model.set_precision(torch.float64)
    return model


def spectrum_of(model: SoapBpnn, graph: Graph) -> Tensor:
    """(N, D)."""
    rows = model.rows(graph)
    return model.power_spectrum(model.expansion_coefficients(graph, rows))[rows.row_of_atom]


def all_ordered(model: SoapBpnn, values: Tensor) -> Tensor:
    """Features (..., D), or parameters (1 or 2, ..., D) of both orders, for each ordered pair of channels."""
    spectrum = model.power_spectrum
    full = values.new_zeros(*values.shape[1:-1], len(spectrum.unfolding))
    full[..., spectrum.second], full[..., spectrum.first] = values[-1], values[0]
    return full


def formula(model: SoapBpnn, graph: Graph) -> Tensor:
    """Outputs (N,) as metatrain has them: on all ordered pairs, atom by atom."""
    half = spectrum_of(model, graph) / model.power_spectrum.multiplicity.double().sqrt()
    spectrum = all_ordered(model, half[None])
    first = all_ordered(model, model.first)
    outputs = []
    for features, element in zip(spectrum, graph.species.tolist(), strict=True):
        network = element if model.legacy else 0
        x = features if model.centre is None else features * all_ordered(model, model.centre)[element, 0]
        if model.norm_weight is not None:
            scale, shift = (all_ordered(model, p)[network, 0] for p in (model.norm_weight, model.norm_bias))
            x = functional.layer_norm(x, x.shape, scale, shift, eps=1e-5)
        x = first[network] @ x
        for layer in model.layers:
            x = layer[network] @ functional.silu(x)
        outputs.append(x.squeeze())
    return torch.stack(outputs)


@LEGACY
@pytest.mark.parametrize("variant", VARIANTS)
def test_half_of_the_features_are_the_model_of_all(legacy: bool, variant: str):
    model = small(legacy, **VARIANTS[variant])
    graph = make_graph(model, crystal(model.elements), molecule(model.elements, np.zeros((1, 3))))
    with torch.no_grad():
        torch.testing.assert_close(model(graph), formula(model, graph), rtol=1e-9, atol=1e-10)


@LEGACY
def test_parameters_start_as_those_of_all_features(legacy: bool):
    """Linear(features, neurons) starts with weights of variance 1/(3 features); a pair has the sum of two, or one."""
    torch.manual_seed(1)
    model = SoapBpnn(("Ta", "O"), legacy=legacy)
    pairs, first = model.power_spectrum.multiplicity, model.first.detach()
    of_pair = torch.where(pairs == 2, first[0] + first[-1], first[0])
    for number in (1, 2):
        variance = float(of_pair[..., pairs == number].var())
        assert variance == pytest.approx(number / (3.0 * int(pairs.sum())), rel=0.05)
    if not legacy:
        single = model.power_spectrum.multiplicity == 1
        for parameter in (model.first, model.centre):
            assert torch.equal(parameter[0][..., single], parameter[1][..., single])
            assert not torch.isclose(parameter[0], parameter[1])[..., ~single].all()


@pytest.mark.parametrize(
    ("max_radial", "max_angular", "sizes"),
    [(7, 6, (8, 7, 7, 6, 6, 5, 5)), (4, 2, (5, 4, 4)), (8, 3, (9, 8, 8, 7)), (0, 0, (1,))],
)
def test_radial_functions(max_radial: int, max_angular: int, sizes: tuple[int, ...]):
    """As many as metatrain has; Bessel functions that vanish at the cutoff, orthonormal for each l."""
    tables = radial_tables(max_angular, max_radial, 4.3)
    assert tables.sizes == sizes
    values = tables.cubics[0].numpy()
    points = np.linspace(0.0, 4.3, len(values))
    assert points[1] == float(tables.spacing)
    assert np.abs(values[-1]).max() < 1e-12
    start = 0
    for degree, size in enumerate(sizes):
        functions = values[:, start : start + size]
        start += size
        products = np.trapezoid(
            functions[:, :, None] * functions[:, None, :] * points[:, None, None] ** 2, points, axis=0
        )
        assert np.abs(products - np.eye(size)).max() < 2e-3  # of the trapezoids
        zeros = [np.pi * (number + 1) for number in range(size)] if degree == 0 else []
        for number, zero in enumerate(zeros):
            shape = spherical_jn(degree, zero * points / 4.3)
            assert np.abs(functions[:, number] / functions[0, number] - shape / shape[0]).max() < 1e-12


def test_spherical_harmonics_are_orthonormal_and_differentiate_twice():
    nodes, weights = np.polynomial.legendre.leggauss(8)
    turns = 2.0 * np.pi * np.arange(16) / 16
    heights, angles = (part.ravel() for part in np.meshgrid(nodes, turns, indexing="ij"))
    flat = np.sqrt(1.0 - heights**2)
    points = torch.from_numpy(np.column_stack([flat * np.cos(angles), flat * np.sin(angles), heights]))
    values = spherical_harmonics(2.5 * points, 4).numpy()
    products = np.einsum("p,pa,pb->ab", np.repeat(weights, 16) * 2.0 * np.pi / 16, values, values)
    assert np.abs(products - np.eye(25)).max() < 1e-12
    few = points[5:9].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda vectors: spherical_harmonics(vectors, 6), (few,))
    assert torch.autograd.gradgradcheck(lambda vectors: spherical_harmonics(vectors, 6), (few,))


def test_atoms_with_many_neighbours_beside_atoms_with_few():
    """They take several blocks of the layout, alone one."""
    model = small()
    dense, sparse = crystal(model.elements, lattice=2.4), crystal(model.elements, 1, lattice=4.5, count=24)
    alone = [predict(model, make_graph(model, one)) for one in (dense, sparse)]
    graph = make_graph(model, dense, sparse)
    assert len(neighbour_blocks(graph.edge_i, len(graph.species)).block_atom) > len(graph.species)
    found = predict(model, graph)
    expected = {name: torch.cat([one.values[name] for one in alone]) for name in ("energy", "forces", "stress")}
    assert found.values.keys() == expected.keys()
    for name, values in found.values.items():
        torch.testing.assert_close(values, expected[name], rtol=1e-10, atol=1e-10)
    atom_energies = torch.cat([one.atom_energies for one in alone])
    torch.testing.assert_close(found.atom_energies, atom_energies, rtol=1e-10, atol=1e-10)


def test_ghosts_of_an_element_share_a_row():
    model = small()
    ghosts = ghost_graph(model, crystal(model.elements))
    assert len(ghosts.species) > 2 * ghosts.owned
    assert len(model.rows(ghosts).species) == ghosts.owned + len(model.elements)


def test_tables_stay_exact_when_the_model_has_been_in_float32():
    model = small()
    graph = make_graph(model, crystal(model.elements))
    expected = spectrum_of(model, graph)
    model.set_precision(torch.float32)
    model.set_precision(torch.float64)
    assert torch.equal(spectrum_of(model, graph), expected)


def test_repulsion_is_added():
    assert_repulsion_is_added(small(), small(zbl=True))


def test_the_section_has_the_model_s_hyperparameters():
    assert_same_hyperparameters(SoapBpnn, architectures.SoapBpnn)


FRESH = """
from dataclasses import replace
import torch
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.blocks import neighbour_blocks
from fitsnap_nn.models.soap_bpnn import SoapBpnn

torch.manual_seed(0)
model = SoapBpnn(("Ta",))
model.set_precision(torch.float64)
one, two = torch.tensor([0, 0]), torch.tensor([1, 2])
vectors = torch.tensor([[1.5, 0.3, 0.2], [-0.2, 1.9, 0.9]], dtype=torch.float64)
graph = Graph(
    species=torch.zeros(3, dtype=torch.int64), config=torch.zeros(3, dtype=torch.int64), n_atoms=torch.tensor([3]),
    volume=torch.ones(1), edge_i=one, edge_j=two, reverse_edge_index=one, vectors=vectors,
)
_, edge_gradients = model.energies_and_gradients(graph)

def energy(vectors):
    return float(model.atom_energies(replace(graph, vectors=vectors)).sum())

turn = torch.tensor([[0.0, 0.0, 0.0], [-0.3, 0.5, 0.1]], dtype=torch.float64)
expected = (energy(vectors + 1e-4 * turn) - energy(vectors - 1e-4 * turn)) / 2e-4
found = float((edge_gradients * turn).sum())
assert abs(found) > 1e-3 and abs(found - expected) < 1e-6, (found, expected)
"""


def test_derivatives_in_a_process_that_imports_nothing_else(tmp_path: Path):
    """Where the derivatives of the library's harmonics are not registered, they are silently 0."""
    done = run([sys.executable, "-c", FRESH], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def spectrum(shared_file: Callable[[str], Path]) -> dict[str, NDArray]:
    with np.load(shared_file("oracle/soap_power_spectrum_acac0.npz")) as file:
        return dict(file)


@pytest.fixture
def network(shared_file: Callable[[str], Path]) -> dict[str, NDArray]:
    with np.load(shared_file("oracle/soap_bpnn_acac.npz")) as file:
        return dict(file)


def metatrain_s_columns(model: SoapBpnn) -> Tensor:
    """For each of our ordered pairs of channels its place in metatrain's list.

    A channel is (kind, n) here and (n, kind) there; kinds are elements in our order here and sorted there, or mixtures.
    """
    kinds = torch.tensor([2, 0, 1]) if model.legacy else torch.arange(NUM_PSEUDO_ELEMENTS)
    parts, start = [], 0
    for size in model.expansion.sizes:
        channels = (torch.arange(size) * len(kinds) + kinds[:, None]).flatten()
        width = len(channels)
        parts.append((start + channels[:, None] * width + channels).flatten())
        start += width**2
    return torch.cat(parts)


def graph_of_frame(model: SoapBpnn, numbers: NDArray, positions: NDArray) -> Graph:
    species = tuple(chemical_symbols[number] for number in numbers)
    frame = Configuration("acac", "test", species, positions, np.zeros((3, 3)), pbc=(False, False, False))
    return make_graph(model, frame)


def test_metatrain_s_power_spectrum(spectrum: dict[str, NDArray]):
    """The norm is that of all ordered pairs."""
    model = SoapBpnn(ELEMENTS)
    found = spectrum_of(model, graph_of_frame(model, spectrum["numbers"], spectrum["positions"]))
    full = torch.from_numpy(spectrum["power_spectrum"])[:, metatrain_s_columns(model)]
    expected = full[:, model.power_spectrum.first] * model.power_spectrum.multiplicity.double().sqrt()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.norm(dim=1), full.norm(dim=1), rtol=0, atol=1e-7)


@LEGACY
def test_metatrain_s_atomic_energies(network: dict[str, NDArray], legacy: bool):
    prefix = f"legacy_{legacy}/weights/"
    weights = {key.removeprefix(prefix): torch.from_numpy(network[key]) for key in network if key.startswith(prefix)}
    model = SoapBpnn(ELEMENTS, legacy=legacy)
    model.set_precision(torch.float64)
    with torch.no_grad():
        (load_legacy if legacy else load_mixtures)(model, weights)
    graph = graph_of_frame(model, network[f"legacy_{legacy}/numbers"], network[f"legacy_{legacy}/positions"])
    expected = torch.from_numpy(network[f"legacy_{legacy}/atomic_energies"])
    assert expected.std() > 0.01
    torch.testing.assert_close(model(graph), expected, rtol=0, atol=1e-6)


def both_orders(model: SoapBpnn, values: Tensor) -> Tensor:
    """(2, ..., D) from metatrain's (..., all ordered pairs)."""
    columns, spectrum = metatrain_s_columns(model), model.power_spectrum
    return torch.stack([values[..., columns[spectrum.first]], values[..., columns[spectrum.second]]])


def load_legacy(model: SoapBpnn, weights: dict[str, Tensor]) -> None:
    """One weight for both orders is their mean; what normalised features are shifted by is an offset of the layer."""
    for ours, theirs in enumerate((2, 0, 1)):
        first = weights[f"bpnn.module_list.{theirs}.0.weight"]
        scale, shift = (weights[f"layernorm.module_list.{theirs}.{name}"] for name in ("weight", "bias"))
        model.first[0, ours] = both_orders(model, first * scale).mean(0)
        offsets = torch.linalg.lstsq(model.first[0, ours] * model.power_spectrum.multiplicity, (first @ shift)[:, None])
        model.norm_bias[0, ours, 0] = offsets.solution[:, 0]
        model.layers[0][ours] = weights[f"bpnn.module_list.{theirs}.2.weight"]
        model.layers[1][ours] = weights[f"{LAST}.{theirs}.weight"]


def load_mixtures(model: SoapBpnn, weights: dict[str, Tensor]) -> None:
    order = [2, 0, 1]
    model.mixing.copy_(weights["soap_calculator.calculator.species.embedding.weight"][order])
    model.centre.copy_(both_orders(model, weights["center_encoding.weight"][order, None]))
    model.first.copy_(both_orders(model, weights["bpnn_for_tensors.0.weight"][None]))
    model.norm_weight.copy_(both_orders(model, weights["layernorm_for_tensors.weight"][None, None]))
    model.norm_bias.copy_(both_orders(model, weights["layernorm_for_tensors.bias"][None, None]))
    model.layers[0].copy_(weights["bpnn_for_tensors.2.weight"][None])
    model.layers[1].copy_(weights[f"{LAST}.0.weight"][None])


def test_a_channel_with_itself_has_one_parameter_in_training():
    """There are two, which start equal and have equal gradients."""
    model = small(legacy=False)
    found = predict(model, make_graph(model, crystal(model.elements)), create_graph=True)
    (found.energy.sum() + found.forces.square().sum()).backward()
    single = model.power_spectrum.multiplicity == 1
    for parameter in (model.centre, model.first, model.norm_weight, model.norm_bias):
        assert torch.equal(parameter.grad[0][..., single], parameter.grad[1][..., single])
        assert parameter.grad[..., single].any()
