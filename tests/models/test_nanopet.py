"""NanoPET against metatrain's numbers, its formula written out again, and what every graph model must satisfy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from small_models import assert_repulsion_is_added, assert_same_hyperparameters
from torch import Tensor
from torch.nn import functional

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models import tables
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.nanopet import Nanopet
from fitsnap_nn.models.pairs import cosine_cutoff
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.settings import architectures
from fitsnap_nn.testing.graphs import crystal, ghost_graph, make_graph, molecule
from fitsnap_nn.testing.models import GraphModelTests, forces_of

FRAMES = ("frame0", "frame1")
OURS = {  # metatrain's names of weights, and ours
    "encoder.cartesian_encoder": "vector_encoder",
    "encoder.center_encoder": "centre_encoder",
    "encoder.neighbor_encoder": "neighbour_encoder",
    "encoder.compressor": "compressor",
    "gnn_contractions": "contractions",
    "attention_block.layernorm": "in_projection.0",
    "attention_block.in_proj": "in_projection.1",
    "attention_block.out_proj": "out_projection",
    "ff_block.layernorm": "feed_forward.0",
    "ff_block.mlp": "feed_forward.1",
    "ff_block.output": "feed_forward.3",
    "heads.energy": "head",
    "last_layers.energy.energy___0": "last_layer",
}
WIDTH, HEADS, LAYERS = 128, 4, 2


class Turning(GraphModelTests):
    """Neither rotation nor inversion is built in."""

    rotates = False
    inverts = False


class TestDefaults(Turning):
    def make_model(self) -> GraphModel:
        return Nanopet(["In", "P"], cutoff=3.6, cutoff_width=1.2, d_pet=12, num_heads=3)


class TestThreeLayersOfMessages(Turning):
    def make_model(self) -> GraphModel:
        return Nanopet(
            ["Ta"], cutoff=3.6, cutoff_width=0.6, d_pet=8, num_heads=2, num_attention_layers=1, num_gnn_layers=3
        )


class TestNoMessages(Turning):
    def make_model(self) -> GraphModel:
        return Nanopet(
            ["C", "H", "O"], cutoff=3.6, cutoff_width=1.2, d_pet=8, num_heads=1, num_gnn_layers=1, heads="linear"
        )


@pytest.fixture(scope="module")
def oracle(shared_file: Callable[[str], Path]) -> dict[str, NDArray]:
    with np.load(shared_file("oracle/nanopet_acac_ta.npz")) as file:
        return dict(file)


@pytest.fixture(scope="module")
def weights(oracle: dict[str, NDArray]) -> dict[str, Tensor]:
    prefix = "weights/"
    return {key[len(prefix) :]: torch.from_numpy(oracle[key]) for key in oracle if key.startswith(prefix)}


@pytest.fixture(scope="module")
def trained(oracle: dict[str, NDArray], weights: dict[str, Tensor]) -> Nanopet:
    """Our model with metatrain's weights."""
    model = Nanopet([chemical_symbols[number] for number in oracle["types"]])
    model.set_precision(torch.float64)
    missing, unexpected = model.load_state_dict({our_name(key): weights[key] for key in weights}, strict=False)
    assert (missing, unexpected) == (["element_energies", "energy_scale"], [])
    return model


def our_name(key: str) -> str:
    for theirs, ours in OURS.items():
        key = key.replace(theirs, ours)
    key = re.sub(r"^transformer\.layers", "transformers.0", key)
    return re.sub(r"^gnn_transformers\.(\d+)\.layers", lambda match: f"transformers.{int(match[1]) + 1}", key)


def graph_of_frame(oracle: dict[str, NDArray], frame: str, model: Nanopet) -> Graph:
    numbers, positions, cell, pbc = (oracle[f"{frame}/{name}"] for name in ("numbers", "positions", "cell", "pbc"))
    species = tuple(chemical_symbols[number] for number in numbers)
    flags = tuple(bool(flag) for flag in pbc)
    return make_graph(model, Configuration(frame, "test", species, positions, cell, pbc=flags))


@pytest.mark.parametrize("frame", FRAMES)
def test_agrees_with_metatrain_but_for_its_padding(oracle: dict[str, NDArray], trained: Nanopet, frame: str):
    graph = graph_of_frame(oracle, frame, trained)
    features = torch.from_numpy(oracle[f"{frame}/features"])
    energies = torch.from_numpy(oracle[f"{frame}/atomic_energies"])[:, 0]
    with torch.no_grad():
        torch.testing.assert_close(trained.features(graph), features, rtol=0, atol=1e-5)
        torch.testing.assert_close(trained(graph), energies, rtol=0, atol=2e-7)


Attention = Callable[[Tensor, Tensor], Tensor]


def theirs(logits: Tensor, factors: Tensor) -> Tensor:
    """Weights (N, H, M, M) of attention as metatrain has them: they depend on what is in slots without edges."""
    found = torch.softmax(logits, dim=3) * factors
    return found / (found.sum(dim=3, keepdim=True) + 1e-6)


def without_padding(logits: Tensor, factors: Tensor) -> Tensor:
    found = logits.exp() * factors
    return found / found.sum(dim=3, keepdim=True) / (1.0 + 1e-6)


def formula(weights: dict[str, Tensor], graph: Graph, attention: Attention, padding: int) -> Tensor:
    """Features (N, d) of metatrain's NanoPET, its tables padded with the edge of this number; cutoff 5, width 0.5."""
    counts = torch.bincount(graph.edge_i)
    columns = torch.arange(int(counts.max()))
    filled = columns < counts[:, None]
    table = torch.where(filled, (counts.cumsum(0) - counts)[:, None] + columns, padding)
    distances = graph.vectors.norm(dim=1)
    cosines = 0.5 * (1.0 + torch.cos(math.pi * (distances - 4.5) / 0.5))
    factors = torch.where(distances < 4.5, 1.0, cosines)[table] * filled

    hidden = functional.silu(graph.vectors @ weights["encoder.cartesian_encoder.0.weight"].T)
    hidden = functional.silu(hidden @ weights["encoder.cartesian_encoder.2.weight"].T)
    parts = [
        hidden @ weights["encoder.cartesian_encoder.4.weight"].T,
        weights["encoder.center_encoder.weight"][graph.species[graph.edge_i]],
        weights["encoder.neighbor_encoder.weight"][graph.species[graph.edge_j]],
    ]
    edges = torch.cat(parts, dim=1) @ weights["encoder.compressor.weight"].T
    first = transformed(weights, "transformer.layers", edges[table], factors, attention)
    edges = first[filled]
    messages = torch.cat([edges, edges[graph.reverse_edge_index]], dim=1) @ weights["gnn_contractions.0.weight"].T
    second = transformed(weights, "gnn_transformers.0.layers", messages[table], factors, attention)
    return ((first + second) / math.sqrt(2.0) * factors[:, :, None]).sum(dim=1)


def transformed(weights: dict[str, Tensor], prefix: str, x: Tensor, factors: Tensor, attention: Attention) -> Tensor:
    for layer in range(LAYERS):

        def weight(name: str, start: str = f"{prefix}.{layer}") -> Tensor:
            return weights[f"{start}.{name}"]

        def normed(x: Tensor, block: str, weight: Callable[[str], Tensor] = weight) -> Tensor:
            return functional.layer_norm(
                x, (WIDTH,), weight(f"{block}.layernorm.weight"), weight(f"{block}.layernorm.bias")
            )

        projected = normed(x, "attention_block") @ weight("attention_block.in_proj.weight").T
        query, key, value = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in projected.chunk(3, dim=2))
        logits = query @ key.transpose(2, 3) / math.sqrt(WIDTH / HEADS)
        found = (attention(logits, factors[:, None, None, :]) @ value).transpose(1, 2).flatten(2)
        x = (x + found @ weight("attention_block.out_proj.weight").T) / math.sqrt(2.0)
        found = functional.gelu(normed(x, "ff_block") @ weight("ff_block.mlp.weight").T)
        x = (x + found @ weight("ff_block.output.weight").T) / math.sqrt(2.0)
    return x


@pytest.mark.parametrize("frame", FRAMES)
def test_metatrain_is_this_formula_with_padding(
    oracle: dict[str, NDArray], weights: dict[str, Tensor], trained: Nanopet, frame: str
):
    """Metatrain pads with the first edge of its list, that between the first and the third atom."""
    graph = graph_of_frame(oracle, frame, trained)
    padding = int(torch.where((graph.edge_i == 0) & (graph.edge_j == 2))[0][0])
    expected = torch.from_numpy(oracle[f"{frame}/features"])
    torch.testing.assert_close(formula(weights, graph, theirs, padding), expected, rtol=0, atol=1e-12)


class TheirNames(dict[str, Tensor]):
    """Our weights, looked up by the names that metatrain gives them."""

    def __missing__(self, key: str) -> Tensor:
        return self[our_name(key)]


@pytest.fixture(params=["random", *(pytest.param(frame, marks=pytest.mark.shared) for frame in FRAMES)])
def model_and_graph(request: pytest.FixtureRequest) -> tuple[Nanopet, Graph]:
    """Random weights on a crystal that is its own neighbour, and metatrain's on its own frames."""
    if request.param == "random":
        torch.manual_seed(2)
        model = Nanopet(["Ta", "O"])
        model.set_precision(torch.float64)
        return model, make_graph(model, crystal(model.elements))
    model = request.getfixturevalue("trained")
    return model, graph_of_frame(request.getfixturevalue("oracle"), request.param, model)


@pytest.mark.parametrize("padding", [0, 7])
def test_we_are_this_formula_without(model_and_graph: tuple[Nanopet, Graph], padding: int):
    model, graph = model_and_graph
    with torch.no_grad():
        expected = formula(TheirNames(model.state_dict()), graph, without_padding, padding)
        torch.testing.assert_close(model.features(graph), expected, rtol=0, atol=1e-12)


def small(dtype: torch.dtype = torch.float64, **hyperparameters: object) -> Nanopet:
    torch.manual_seed(3)
    model = Nanopet(["Ta", "O"], **{"d_pet": 8, "num_heads": 2, "cutoff": 4.0, **hyperparameters})
    model.set_precision(dtype)
    return model


def test_it_is_as_large_as_metatrain_s():
    model = Nanopet(["C", "H", "O"])
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_331_584


def test_the_cutoff_is_half_a_cosine():
    distances = torch.linspace(0.5, 5.5, 101, dtype=torch.float64)
    found = cosine_cutoff(distances, 5.0, 1.5)
    cosines = 0.5 * (1.0 + torch.cos(math.pi * (distances - 3.5) / 1.5))
    expected = torch.where(distances < 3.5, 1.0, torch.where(distances > 5.0, 0.0, cosines))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("fullness", [0.0, 1.0])
def test_tables_change_nothing(monkeypatch: pytest.MonkeyPatch, fullness: float):
    """One table for all atoms, or one for each number of neighbours."""
    model = small(cutoff=4.2)
    dense = crystal(model.elements, lattice=2.6)
    line = molecule(model.elements, np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [4.1, 0.3, 0.0], [50.0, 0.0, 0.0]]))
    graph = make_graph(model, line, dense, crystal(model.elements, 1, lattice=3.6))
    assert len(torch.bincount(graph.edge_i, minlength=len(graph.species)).unique()) > 4
    expected = predict(model, graph)
    monkeypatch.setattr(tables, "MIN_FILL", fullness)
    for found, wanted in zip(predict(model, graph), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_tables_are_well_filled():
    shares = [least / most for least, most in tables._degree_ranges([0, 1, 5, 6, 7, 20, 26, 27, 110])]
    assert min(shares) >= tables.MIN_FILL
    assert tables._degree_ranges([0, 1, 5, 6, 7, 20, 26, 27, 110]) == [(110, 110), (20, 27), (5, 7), (1, 1)]
    assert tables._degree_ranges([0]) == []


def test_an_edge_at_the_cutoff_changes_nothing():
    """Neither energies nor the derivatives by the other edges."""
    model = small()
    places = np.array([[0.0, 0.0, 0.0], [2.1, 0.0, 0.3], [0.2, 2.4, 0.0], [-4.0 + 1e-9, 0.0, 0.0]])
    with_edge = make_graph(model, molecule(model.elements, places))
    places[3, 0] -= 2e-9
    without = make_graph(model, molecule(model.elements, places))
    assert len(with_edge.edge_i) == len(without.edge_i) + 2
    kept = torch.linalg.vector_norm(with_edge.vectors, dim=1) < 3.99
    (one, edge_gradients), (other, expected) = (
        model.energies_and_gradients(with_edge),
        model.energies_and_gradients(without),
    )
    torch.testing.assert_close(one, other, rtol=0, atol=1e-14)
    torch.testing.assert_close(edge_gradients[kept], expected, rtol=0, atol=1e-14)
    assert edge_gradients[~kept].abs().max() < 1e-8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("gap", [0.0, 1e-14, 1e-9, 1e-6, 1e-3])
def test_all_is_finite_where_all_neighbours_are_at_the_cutoff(dtype: torch.dtype, gap: float):
    model = small(dtype)
    graph = make_graph(model, molecule(model.elements, np.array([[0.0, 0.0, 0.0], [3.9, 0.0, 0.0]])), dtype=dtype)
    graph = replace(graph, vectors=graph.vectors * ((4.0 - gap) / 3.9))
    found = predict(model, graph, create_graph=True)
    assert forces_of(found).abs().max() < 10.0 * max(gap, 1e-7)
    (found.energy.sum() + forces_of(found).square().sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_the_energy_changes_under_rotation():
    """Which is why it `needs_augmentation`."""
    model = small()
    graph = make_graph(model, crystal(model.elements))
    turned = replace(graph, vectors=graph.vectors[:, [1, 2, 0]])
    assert (predict(model, turned).energy - predict(model, graph).energy).abs() > 1e-4
    assert model.needs_augmentation


def test_repulsion_is_added():
    assert_repulsion_is_added(small(), small(zbl=True))


def test_heads_must_share_the_features():
    with pytest.raises(ValueError, match="num_heads = 3 does not divide d_pet = 8"):
        small(num_heads=3)


def test_the_section_has_the_model_s_hyperparameters():
    assert_same_hyperparameters(Nanopet, architectures.Nanopet)


def test_the_head_is_not_computed_for_ghosts():
    model = small()
    ghosts = ghost_graph(model, crystal(model.elements))
    assert len(ghosts.species) > 2 * ghosts.owned
    rows = []
    model.last_layer.register_forward_pre_hook(lambda layer, values: rows.append(len(values[0])))
    assert len(model(ghosts)) == len(ghosts.species)
    assert rows == [ghosts.owned]
