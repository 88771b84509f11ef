"""The contract between data, models and everything that uses a model: Batch -> Model -> Prediction.

A model is a function from a batch to the energies of its atoms. Forces and virials follow by
differentiation here, once, so that training, evaluation and deployment cannot disagree.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fitsnap_nn.data.voigt import COLUMNS, ROWS
from fitsnap_nn.models.pairs import contract_pairs, contract_pairs_backward, pair_forces, sum_by


@dataclass(frozen=True)
class Batch:
    """Atoms of C configurations, concatenated: N atoms.

    Attributes:
        species: (N,) int64, index into the model's elements.
        config: (N,) int64, the configuration that an atom belongs to.
        n_atoms: (C,) int64.
        volume: (C,) float64 Å³.
    """

    species: Tensor
    config: Tensor
    n_atoms: Tensor
    volume: Tensor

    @property
    def cost(self) -> float:
        """How much work it is, in pairs of atoms with descriptors; ranks share work by it. Factors are measured."""
        return 0.0


@dataclass(frozen=True)
class DescriptorBatch(Batch):
    """Atoms with D descriptors each, and their derivatives for P pairs of atoms.

    Attributes:
        descriptors: (N, D).
        pair_i, pair_j: (P,) int32 or int64, indices into the atoms of the batch.
        gradients: (P, 3, D) dB_i/dR_j, 1/Å.
        strain_gradients: (N, 6, D) dB_i/d(strain), Voigt; (0, 6, D) where no stress is wanted.
    """

    descriptors: Tensor
    pair_i: Tensor
    pair_j: Tensor
    gradients: Tensor
    strain_gradients: Tensor

    @property
    def cost(self) -> float:
        return len(self.pair_i) + 300.0 * len(self.n_atoms)


@dataclass(frozen=True)
class Graph(Batch):
    """Atoms and the vectors between neighbours: E edges, each pair of neighbours twice, as (i, j) and as (j, i).

    In molecular dynamics on several ranks a graph holds the atoms of one rank, the ghosts after them, and the edges of
    its own atoms only; `with_ghosts` and `reversed` then fetch from other ranks what this one does not have. A model
    that passes messages uses these two, and knows nothing of ranks.

    Attributes:
        edge_i: (E,) int64, the atom whose neighbour it is; sorted.
        edge_j: (E,) int64, the atom of which the neighbour is an image.
        reverse: (E,) int64, for each edge the one of the same two images seen from the other end; the edge itself where
            another rank has that.
        vectors: (E, 3) Å, from i to j.
    """

    edge_i: Tensor
    edge_j: Tensor
    reverse: Tensor
    vectors: Tensor

    @property
    def cost(self) -> float:
        return 4.0 * (self.pairs + 30.0 * len(self.n_atoms))

    @property
    def pairs(self) -> int:
        """How many edges it has."""
        return len(self.edge_i)

    @property
    def owned(self) -> int:
        """How many of the atoms, the first ones, are not ghosts; energies of the others are not used."""
        return len(self.species)

    def with_ghosts(self, features: Tensor) -> Tensor:
        """Features (N, ...) of the atoms, those of ghosts taken from the atoms that they are images of."""
        return features

    def reversed(self, messages: Tensor) -> Tensor:
        """Messages (E, ...) of the edges, for each that of its reverse."""
        return messages.index_select(0, self.reverse)


class Prediction(NamedTuple):
    """What a model says of a batch. Energies are float64 always.

    Attributes:
        energy: (C,) eV.
        atom_energies: (N,) eV.
        forces: (N, 3) eV/Å, or ``None`` when not asked for.
        stress: (C, 6) eV/Å³, Voigt order xx yy zz yz xz xy, ASE sign, or ``None``.
    """

    energy: Tensor
    atom_energies: Tensor
    forces: Tensor | None
    stress: Tensor | None


class Model(torch.nn.Module, ABC):
    """Base of every architecture; see `DescriptorModel` and `GraphModel`.

    Attributes:
        elements: chemical symbols, in the order of LAMMPS' atom types.
        element_energies: (number of elements,) eV, float64, the part of the energy that follows from the composition.
        energy_scale: () eV, float64, what one unit of the network's output is.
    """

    elements: tuple[str, ...]
    element_energies: Tensor
    energy_scale: Tensor

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Architecture and hyperparameters as plain values, from which ``models.build`` makes the same model."""

    @abstractmethod
    def set_precision(self, dtype: torch.dtype) -> None:
        """Compute in this type; energies and baselines stay float64."""

    @abstractmethod
    def atom_energies(self, batch: Any) -> Tensor:
        """Energies of the atoms, (N,) eV, float64, differentiable by what the batch holds of their surroundings."""


# Derivatives of a loss by the parameters, from its derivatives by the energies (N,) and the gradients (N, D) of atoms.
Pullback = Callable[[Tensor, Tensor], Sequence[Tensor]]


class Explicit(NamedTuple):
    """A model whose derivatives are written out, on one batch.

    Attributes:
        parameters: what its energies depend on; differentiable by the weights.
        run: energies of the atoms (N,) float64, dE_i/dB_i (N, D), and the way back to the parameters.
    """

    parameters: Sequence[Tensor]
    run: Callable[[], tuple[Tensor, Tensor, Pullback]]


class DescriptorModel(Model):
    """A model of descriptors; its batches are `DescriptorBatch`."""

    def explicit(self, batch: DescriptorBatch) -> Explicit | None:
        """The model without automatic differentiation, which saves half of a short training step; ``None``: unknown."""
        return None

    def energies_and_gradients(self, batch: DescriptorBatch) -> tuple[Tensor, Tensor]:
        """Energies of the atoms, and dE_i/dB_i (N, D); differentiable by the weights where gradients are enabled."""
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            batch = replace(batch, descriptors=batch.descriptors.detach().requires_grad_(True))
            energies = self.atom_energies(batch)
            (beta,) = torch.autograd.grad(energies.sum(), batch.descriptors, create_graph=create_graph)
        return (energies if create_graph else energies.detach()), beta


class GraphModel(Model):
    """A model of a neighbour graph; its batches are `Graph`.

    e_i = E0(Z_i) + s out_i, with the element energies E0 and the scale s fitted before training.

    Attributes:
        cutoff: of the graph, Å.
        message_layers: how many cutoffs away atoms matter to an atom's energy; 1 for a model without messages.
        augments: whether it has to learn rotations and inversion, from configurations turned at random in training.
    """

    cutoff: float
    message_layers: int = 1
    augments: bool = False

    def __init__(self, elements: tuple[str, ...]) -> None:
        super().__init__()
        self.elements = tuple(elements)
        self.register_buffer("element_energies", torch.zeros(len(self.elements), dtype=torch.float64))
        self.register_buffer("energy_scale", torch.ones((), dtype=torch.float64))

    @abstractmethod
    def outputs(self, graph: Graph) -> Tensor:
        """(N,) what the network says of each atom, in units of the scale; differentiable by ``graph.vectors``."""

    def calibrate(self, graphs: Iterable[Graph]) -> None:
        """Take from the graphs of the training set what the hyperparameters leave to it: nothing, here."""

    def fixed_energies(self, graph: Graph) -> Tensor:
        """(N,) eV, float64: the part of the energies that has no weights, besides the element energies."""
        return torch.zeros(len(graph.species), dtype=torch.float64, device=graph.species.device)

    def atom_energies(self, batch: Graph) -> Tensor:
        learned = self.energy_scale * self.outputs(batch).double()
        return self.element_energies[batch.species] + learned + self.fixed_energies(batch)

    def set_precision(self, dtype: torch.dtype) -> None:
        baselines = self.element_energies, self.energy_scale
        self.to(dtype)
        self.element_energies, self.energy_scale = (baseline.to(torch.float64) for baseline in baselines)

    def energies_and_pulls(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """Energies of the atoms, and dE/dr (E, 3) of the edges; differentiable by the weights if gradients are on."""
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            graph = replace(graph, vectors=graph.vectors.detach().requires_grad_(True))
            energies = self.atom_energies(graph)
            (pulls,) = torch.autograd.grad(
                energies.sum(), graph.vectors, create_graph=create_graph, materialize_grads=True
            )
        return (energies if create_graph else energies.detach()), pulls


def predict(
    model: Model, batch: Batch, *, forces: bool = True, stress: bool = True, create_graph: bool = False
) -> Prediction:
    """Energies, and by differentiation forces and stresses, of a batch.

    With descriptors B, F_j = -sum_i dE_i/dB_i . dB_i/dR_j and stress = sum_i dE_i/dB_i . dB_i/d(strain) / V. With edges
    r_ij = R_j - R_i, F_i = sum_j dE/dr_ij - sum_j dE/dr_ji and stress = sum_ij r_ij dE/dr_ij / V, symmetrised.

    Args:
        create_graph: keep what is needed to differentiate all of it by the weights.
    """
    with torch.set_grad_enabled(create_graph):
        if not (forces or stress):
            atom_energies = model.atom_energies(batch)
            found_forces = found_stress = None
        elif isinstance(batch, Graph):
            assert isinstance(model, GraphModel)
            atom_energies, pulls = model.energies_and_pulls(batch)
            found_forces = _edge_forces(batch, pulls) if forces else None
            found_stress = _edge_stress(batch, pulls) if stress else None
        else:
            assert isinstance(model, DescriptorModel)
            assert isinstance(batch, DescriptorBatch)
            if explicit := model.explicit(batch):
                found: tuple[Tensor, Tensor, Tensor | None, Tensor | None] = _ExplicitPrediction.apply(  # type: ignore[no-untyped-call]
                    batch, explicit.run, forces, stress, *explicit.parameters
                )
                return Prediction(*found)
            atom_energies, beta = model.energies_and_gradients(batch)
            found_forces = pair_forces(beta, batch.gradients, batch.pair_i, batch.pair_j) if forces else None
            found_stress = _stress(batch, beta) if stress else None
        energy = sum_by(batch.config, atom_energies, len(batch.n_atoms))
        return Prediction(energy, atom_energies, found_forces, found_stress)


class _ExplicitPrediction(torch.autograd.Function):
    """All of a prediction as one operation: a step with few atoms takes as long as autograd needs to record it."""

    @staticmethod
    def forward(
        ctx: Any,
        batch: DescriptorBatch,
        run: Callable[[], tuple[Tensor, Tensor, Pullback]],
        forces: bool,
        stress: bool,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*parameters)
        atom_energies, beta, ctx.pullback = run()
        ctx.batch, ctx.like = batch, beta
        energy = sum_by(batch.config, atom_energies, len(batch.n_atoms))
        found = contract_pairs(beta, batch.gradients, batch.pair_i, batch.pair_j) if forces else None
        return energy, atom_energies, found, _stress(batch, beta) if stress else None

    @staticmethod
    def backward(
        ctx: Any,
        energy_bar: Tensor | None,
        atoms_bar: Tensor | None,
        forces_bar: Tensor | None,
        stress_bar: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors  # raises where the weights have changed since
        batch: DescriptorBatch = ctx.batch
        beta_bar = None
        if forces_bar is not None:
            beta_bar = contract_pairs_backward(forces_bar, batch.gradients, batch.pair_i, batch.pair_j)
        if stress_bar is not None:
            virials_bar = _per_volume(batch, stress_bar).index_select(0, batch.config)
            from_stress = torch.bmm(batch.strain_gradients.mT, virials_bar.unsqueeze(2)).squeeze(2)
            beta_bar = from_stress if beta_bar is None else beta_bar + from_stress
        if energy_bar is not None:
            by_atom = energy_bar.index_select(0, batch.config)
            atoms_bar = by_atom if atoms_bar is None else atoms_bar + by_atom
        if beta_bar is None:
            beta_bar = torch.zeros_like(ctx.like)
        if atoms_bar is None:
            atoms_bar = torch.zeros_like(batch.config, dtype=torch.float64)
        return None, None, None, None, *ctx.pullback(atoms_bar, beta_bar)


def _stress(batch: DescriptorBatch, beta: Tensor) -> Tensor:
    atom_virials = torch.bmm(batch.strain_gradients, beta.unsqueeze(2)).squeeze(2)
    return _per_volume(batch, sum_by(batch.config, atom_virials, len(batch.n_atoms)))


def _edge_forces(graph: Graph, pulls: Tensor) -> Tensor:
    count = len(graph.species)
    return sum_by(graph.edge_i, pulls, count) - sum_by(graph.edge_j, pulls, count)


def _edge_stress(graph: Graph, pulls: Tensor) -> Tensor:
    products = graph.vectors[:, ROWS] * pulls[:, COLUMNS] + graph.vectors[:, COLUMNS] * pulls[:, ROWS]
    virials = sum_by(graph.config[graph.edge_i], 0.5 * products, len(graph.n_atoms))
    return _per_volume(graph, virials)


def _per_volume(batch: Batch, virials: Tensor) -> Tensor:
    return virials / batch.volume[:, None].to(virials.dtype)
