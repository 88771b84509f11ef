"""Random rotations, and what they do to a batch: a potential that does not mind them predicts what labels become."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import STANDARD, user_property
from fitsnap_nn.data.symmetries import Cartesian, Scalar, Spherical, Symmetry, from_blocks, to_blocks
from fitsnap_nn.data.voigt import from_voigt, voigt
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.pairs import sum_by
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.models.soap import spherical_harmonics
from fitsnap_nn.models.spherical import rotated
from fitsnap_nn.testing.graphs import crystal, make_graph, molecule
from fitsnap_nn.training.augmentation import augment, random_rotations
from fitsnap_nn.training.batches import Labels, Target


class Springs(GraphModel):
    """Pairs of atoms that pull at one another."""

    cutoff = 4.0

    def description(self) -> dict[str, Any]:
        return {}

    def forward(self, graph: Graph) -> Tensor:
        return sum_by(graph.edge_i, torch.linalg.vector_norm(graph.vectors, dim=1) ** 1.5, len(graph.species))


def labels_of(graph: Graph, model: Springs) -> Labels:
    values = predict(model, graph, STANDARD).values
    ones = torch.ones(len(graph.n_atoms), 1)
    rows = {"energy": values["energy"][:, None], "forces": values["forces"], "stress": values["stress"]}
    return {name: Target(value, ones, ones[:, 0].bool()) for name, value in rows.items()}


@pytest.fixture
def graph() -> Graph:
    lone, pair = np.zeros((1, 3)), np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 0.5]])
    configurations: list[Configuration] = [crystal(["Ta"]), molecule(["Ta"], lone), molecule(["Ta"], pair)]
    return make_graph(Springs(("Ta",)), *configurations, crystal(["Ta"], 1))


def test_labels_turn_with_the_atoms(graph: Graph):
    model = Springs(("Ta",))
    labels = labels_of(graph, model)
    turned, expected = augment(graph, labels, STANDARD, random_rotations(4, seed=5, epoch=2))
    assert (turned.vectors - graph.vectors).abs().max() > 1.0
    stress, turned_stress = labels["stress"].values, expected["stress"].values
    assert (turned_stress - stress)[0].abs().max() > 0.01 * stress.abs().max()
    again = labels_of(turned, model)
    assert again.keys() == expected.keys()
    for name, target in again.items():
        for found, wanted in zip(target, expected[name], strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_each_configuration_has_its_own_turn(graph: Graph):
    labels = labels_of(graph, Springs(("Ta",)))
    rotations = random_rotations(4, seed=5, epoch=2)
    turned, found = augment(graph, labels, STANDARD, rotations)
    for number, rotation in enumerate(rotations):
        atoms, edges = graph.config == number, graph.config[graph.edge_i] == number
        torch.testing.assert_close(turned.vectors[edges], graph.vectors[edges] @ rotation.T)
        torch.testing.assert_close(found["forces"].values[atoms], labels["forces"].values[atoms] @ rotation.T)
        stress = rotation.numpy() @ from_voigt(labels["stress"].values[number]) @ rotation.numpy().T
        np.testing.assert_allclose(found["stress"].values[number], voigt(stress), atol=1e-14)


def test_properties_of_the_user_turn_by_their_symmetry(graph: Graph):
    moment = user_property("moment", "atom", Cartesian(1), "")
    dipole = user_property("dipole", "configuration", Cartesian(1), "")
    charge = user_property("charge", "atom", Scalar(), "e")
    random = torch.Generator().manual_seed(3)
    ones = torch.ones(4, 1)
    rows = {moment: len(graph.species), dipole: 4, charge: len(graph.species)}
    labels = {
        one.name: Target(
            torch.randn(count, one.symmetry.components, generator=random, dtype=torch.float64), ones, ones[:, 0].bool()
        )
        for one, count in rows.items()
    }
    rotations = random_rotations(4, seed=5, epoch=2)
    _, found = augment(graph, labels, tuple(rows), rotations)
    assert torch.equal(found["charge"].values, labels["charge"].values)
    for number, rotation in enumerate(rotations):
        atoms = graph.config == number
        for name, members in (("moment", atoms), ("dipole", torch.arange(4) == number)):
            expected = labels[name].values[members] @ rotation.T
            torch.testing.assert_close(found[name].values[members], expected, rtol=1e-12, atol=1e-12)


def made_of_vectors(symmetry: Symmetry, vectors: Tensor) -> Tensor:
    """A property (N, components) that the vectors (N, 3, 3) of each row determine, and that turns with them."""
    first, second, _ = vectors.unbind(1)
    if isinstance(symmetry, Spherical):
        values = spherical_harmonics(first, symmetry.degree)[:, symmetry.degree**2 :]
    elif isinstance(symmetry, Scalar):
        values = (first * second).sum(dim=1, keepdim=True)
    elif symmetry.rank == 1:
        values = first
    else:
        matrices = first[:, :, None] * second[:, None, :]
        values = torch.from_numpy(voigt(matrices)) if symmetry.symmetric else matrices.flatten(1)
    sign = torch.linalg.det(vectors)[:, None] if symmetry.pseudo else 1.0
    return values * sign


@pytest.mark.parametrize("pseudo", [False, True])
@pytest.mark.parametrize(
    "symmetry",
    [Scalar(), Cartesian(1), Cartesian(2), Cartesian(2, symmetric=False), *(Spherical(degree) for degree in range(6))],
    ids=str,
)
def test_every_symmetry_turns_with_vectors(symmetry: Symmetry, pseudo: bool):
    symmetry = replace(symmetry, pseudo=pseudo)
    random = torch.Generator().manual_seed(3)
    vectors = torch.randn(50, 3, 3, generator=random, dtype=torch.float64)
    rotations = random_rotations(50, seed=5, epoch=2)
    turned = torch.einsum("nij,nkj->nki", rotations, vectors)
    found = rotated(made_of_vectors(symmetry, vectors), symmetry, rotations)
    torch.testing.assert_close(found, made_of_vectors(symmetry, turned), rtol=0.0, atol=1e-12)
    # The same through irreducible blocks.
    blocks = made_of_vectors(symmetry, vectors) @ torch.from_numpy(to_blocks(symmetry)).T
    parts = torch.split(blocks, [block.size for block in symmetry.blocks], dim=1)
    pairs = zip(parts, symmetry.blocks, strict=True)
    turned_parts = [rotated(part, Spherical(block.degree, block.pseudo), rotations) for part, block in pairs]
    again = torch.cat(turned_parts, dim=1) @ torch.from_numpy(from_blocks(symmetry)).T
    torch.testing.assert_close(again, found, rtol=0.0, atol=1e-12)


def test_rotations_are_evenly_distributed():
    """Against moments of the Haar measure on O(3): E Q = 0, E Q_ij Q_kl = d_ik d_jl / 3, E Q_11^4 = 1/5."""
    count = 200_000
    rotations = random_rotations(count, seed=1, epoch=0)
    identity = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(rotations @ rotations.transpose(1, 2), identity.expand(count, 3, 3))
    signs = torch.linalg.det(rotations)
    proper = rotations * signs[:, None, None]
    expected = torch.einsum("ik,jl->ijkl", identity, identity) / 3.0
    tolerance = 5.0 / count**0.5
    assert signs.mean().abs() < tolerance
    for matrices in (rotations, proper):
        assert matrices.mean(dim=0).abs().max() < tolerance
        moments = torch.einsum("cij,ckl->ijkl", matrices, matrices) / count
        assert (moments - expected).abs().max() < tolerance
        assert ((matrices**4).mean(dim=0) - 0.2).abs().max() < tolerance


def test_they_depend_on_seed_and_epoch_alone():
    first = random_rotations(5, seed=3, epoch=1)
    torch.testing.assert_close(random_rotations(5, seed=3, epoch=1), first, rtol=0, atol=0)
    for other in (random_rotations(5, seed=4, epoch=1), random_rotations(5, seed=3, epoch=2)):
        assert (other - first).abs().amax(dim=(1, 2)).min() > 1e-3
