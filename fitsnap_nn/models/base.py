"""The contract between data, models and everything that uses a model: Batch -> Model -> Prediction.

A model is a function from a batch to the energies of its atoms. Forces and virials follow by
differentiation here, once, so that training, evaluation and deployment cannot disagree.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from fitsnap_nn.data.properties import ENERGY, FORCES, STANDARD, STRESS, Property
from fitsnap_nn.data.voigt import COLUMNS, ROWS
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.models.baselines import FitStatistics, half_spread_scale, rms_scale
from fitsnap_nn.models.explicit import Derived, Explicit, contract_strain, predict_explicitly
from fitsnap_nn.models.pairs import pair_forces, sum_by

if TYPE_CHECKING:
    from fitsnap_nn.inputs.base import ModelInput

B = TypeVar("B", bound=Batch)


class Prediction(NamedTuple):
    """Prediction of a model for a batch, without the reference potential.

    Attributes:
        atom_energies: (N,) eV, float64.
        values: by property name: ``energy`` (C,) eV, float64; ``forces`` (N, 3) eV/Å; ``stress`` (C, 6) eV/Å³ in
            Voigt order xx yy zz yz xz xy and ASE's sign; others (C or N, components). Only what was asked for.
    """

    atom_energies: Tensor
    values: Mapping[str, Tensor]

    @property
    def energy(self) -> Tensor:
        """(C,) total energies, eV, float64."""
        return self.values["energy"]

    @property
    def forces(self) -> Tensor | None:
        """(N, 3) eV/Å, or ``None`` where they were not asked for."""
        return self.values.get("forces")

    @property
    def stress(self) -> Tensor | None:
        """(C, 6) eV/Å³, or ``None`` where it was not asked for."""
        return self.values.get("stress")


class Model(torch.nn.Module, ABC, Generic[B]):
    """Base of every architecture; see `DescriptorModel` and `GraphModel`.

    Attributes:
        elements: chemical symbols, in the order of LAMMPS' atom types.
        element_energies: (number of elements,) eV, float64, the part of the energy that follows from the composition.
        energy_scale: () eV, float64, the energy of one unit of the network's output.
        needs_augmentation: whether the model is not rotationally invariant by construction, so that training
            configurations are rotated and inverted at random.
        has_prior: whether `prior_energies` may differ from zero.
    """

    elements: tuple[str, ...]
    element_energies: Tensor
    energy_scale: Tensor
    needs_augmentation: ClassVar[bool] = False
    has_prior: ClassVar[bool] = False

    @property
    @abstractmethod
    def input(self) -> ModelInput:
        """The model input that its batches are made from."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Return architecture and hyperparameters as plain values, from which ``build_model`` makes the same model."""

    @property
    def layout(self) -> str:
        """Its layers in a few words, for the log; empty where the input file says it all."""
        return ""

    @abstractmethod
    def set_precision(self, dtype: torch.dtype) -> None:
        """Compute in this type; energies and baselines stay float64."""

    def fit_to_data(self, batches: Iterable[B]) -> None:
        """Take from the training set what the hyperparameters leave open; nothing by default.

        Args:
            batches: one for each training configuration, in the types of the cache; to be gone through once.
        """

    def prior_energies(self, batch: B) -> Tensor:
        """Return (N,) eV, float64: the part of the energies without weights, besides the element energies.

        Called only where ``has_prior`` is true.
        """
        return torch.zeros(len(batch.species), dtype=torch.float64, device=batch.species.device)

    @abstractmethod
    def target_scale(self, statistics: FitStatistics) -> float:
        """Return the value of ``energy_scale`` for a training set, eV."""

    def predicts(self, name: str) -> bool:
        """Return whether the model predicts a property that is neither the energy nor a derivative of it."""
        return False

    def property_values(self, batch: B, properties: Sequence[Property]) -> Mapping[str, Tensor]:
        """Return predictions of properties for which `predicts` is true: (N or C, components), by name."""
        raise NotImplementedError(f"{type(self).__name__} predicts the energy and its derivatives only")

    @abstractmethod
    def atom_energies(self, batch: B) -> Tensor:
        """Return (N,) eV, float64: energies of the atoms, differentiable with respect to the batch's inputs."""

    @abstractmethod
    def energies_and_gradients(self, batch: B) -> tuple[Tensor, Tensor]:
        """Return energies of the atoms, and their gradients with respect to the inputs.

        Differentiable with respect to the weights where gradients are enabled.
        """

    @abstractmethod
    def forces_from(self, batch: B, gradients: Tensor) -> Tensor:
        """Return (N, 3) eV/Å: forces that follow from the gradients of `energies_and_gradients`."""

    @abstractmethod
    def virials_from(self, batch: B, gradients: Tensor) -> Tensor:
        """Return (C, 6) eV: derivatives with respect to strain, Voigt order, that follow from the gradients."""

    def derivatives(self, batch: B, *, forces: bool, virials: bool) -> Derived:
        """Return energies, and the derivatives that are wanted, of a batch."""
        atom_energies, gradients = self.energies_and_gradients(batch)
        return Derived(
            atom_energies,
            sum_by(batch.config, atom_energies, len(batch.n_atoms)),
            self.forces_from(batch, gradients) if forces else None,
            self.virials_from(batch, gradients) if virials else None,
        )


class DescriptorModel(Model[DescriptorBatch]):
    """A model of per-atom descriptors; its batches are `DescriptorBatch`.

    With descriptors B, F_j = -sum_i dE_i/dB_i . dB_i/dR_j and stress = sum_i dE_i/dB_i . dB_i/d(strain) / V.
    """

    def target_scale(self, statistics: FitStatistics) -> float:
        return half_spread_scale(statistics)

    def energies_and_gradients(self, batch: DescriptorBatch) -> tuple[Tensor, Tensor]:
        """Return energies of the atoms (N,), and dE_i/dB_i (N, D)."""
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            batch = replace(batch, descriptors=batch.descriptors.detach().requires_grad_(True))
            energies = self.atom_energies(batch)
            (beta,) = torch.autograd.grad(energies.sum(), batch.descriptors, create_graph=create_graph)
        return (energies if create_graph else energies.detach()), beta

    def explicit(self, batch: DescriptorBatch) -> Explicit | None:
        """Return the model with written-out derivatives, twice as fast in short training steps; ``None``: unknown."""
        return None

    def forces_from(self, batch: DescriptorBatch, gradients: Tensor) -> Tensor:
        return pair_forces(gradients, batch.gradients, batch.pair_i, batch.pair_j)

    def virials_from(self, batch: DescriptorBatch, gradients: Tensor) -> Tensor:
        return contract_strain(batch, gradients)

    def derivatives(self, batch: DescriptorBatch, *, forces: bool, virials: bool) -> Derived:
        explicit = self.explicit(batch)
        if explicit is None:
            return super().derivatives(batch, forces=forces, virials=virials)
        return predict_explicitly(explicit, batch, forces=forces, virials=virials)


class GraphModel(Model[Graph]):
    """A model of a neighbour graph; its batches are `Graph`.

    e_i = E0(Z_i) + s out_i, with the element energies E0 and the scale s fitted before training. With edges
    r_ij = R_j - R_i, F_i = sum_j dE/dr_ij - sum_j dE/dr_ji and stress = sum_ij r_ij dE/dr_ij / V, symmetrised.

    Attributes:
        cutoff: of the graph, Å.
        num_message_passing: message-passing layers; 0 for a model without messages.
    """

    cutoff: float
    num_message_passing: int = 0
    has_prior = True

    def __init__(self, elements: tuple[str, ...]) -> None:
        super().__init__()
        self.elements = tuple(elements)
        self.register_buffer("element_energies", torch.zeros(len(self.elements), dtype=torch.float64))
        self.register_buffer("energy_scale", torch.ones((), dtype=torch.float64))

    @property
    def input(self) -> ModelInput:
        from fitsnap_nn.inputs.graph.input import GraphInput

        return GraphInput(self.elements, self.cutoff)

    def target_scale(self, statistics: FitStatistics) -> float:
        return rms_scale(statistics)

    @property
    def receptive_field(self) -> int:
        """Number of cutoffs over which atoms influence the energy of an atom."""
        return 1 + self.num_message_passing

    @abstractmethod
    def forward(self, graph: Graph) -> Tensor:
        """Return (N,) the network's output for each atom, in units of the scale; differentiable by ``vectors``."""

    def atom_energies(self, batch: Graph) -> Tensor:
        outputs: Tensor = self(batch)
        learned = self.energy_scale * outputs.double()
        return self.element_energies[batch.species] + learned + self.prior_energies(batch)

    def set_precision(self, dtype: torch.dtype) -> None:
        baselines = self.element_energies, self.energy_scale
        self.to(dtype)
        self.element_energies, self.energy_scale = (baseline.to(torch.float64) for baseline in baselines)

    def energies_and_gradients(self, batch: Graph) -> tuple[Tensor, Tensor]:
        """Return energies of the atoms (N,), and the edge gradients dE/dr_ij (E, 3)."""
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            batch = replace(batch, vectors=batch.vectors.detach().requires_grad_(True))
            energies = self.atom_energies(batch)
            (edge_gradients,) = torch.autograd.grad(
                energies.sum(), batch.vectors, create_graph=create_graph, materialize_grads=True
            )
        return (energies if create_graph else energies.detach()), edge_gradients

    def forces_from(self, batch: Graph, gradients: Tensor) -> Tensor:
        count = len(batch.species)
        return sum_by(batch.edge_i, gradients, count) - sum_by(batch.edge_j, gradients, count)

    def virials_from(self, batch: Graph, gradients: Tensor) -> Tensor:
        vectors = batch.vectors
        products = vectors[:, ROWS] * gradients[:, COLUMNS] + vectors[:, COLUMNS] * gradients[:, ROWS]
        return sum_by(batch.config[batch.edge_i], 0.5 * products, len(batch.n_atoms))


def predict(
    model: Model[B], batch: B, properties: Iterable[Property] = STANDARD, *, create_graph: bool = False
) -> Prediction:
    """Return the properties of a batch; the energy always, its derivatives by differentiation.

    Args:
        properties: what is wanted.
        create_graph: keep what is needed to differentiate all of it with respect to the weights.
    """
    wanted = tuple(properties)
    others = [one for one in wanted if one.derivative is None and one != ENERGY]
    values: dict[str, Tensor] = {}
    forces, stress = FORCES in wanted, STRESS in wanted
    with torch.set_grad_enabled(create_graph):
        if forces or stress:
            found = model.derivatives(batch, forces=forces, virials=stress)
            atom_energies, values["energy"] = found.atom_energies, found.energy
            if found.forces is not None:
                values["forces"] = found.forces
            if found.virials is not None:
                values["stress"] = found.virials / batch.volume[:, None].to(found.virials.dtype)
        else:
            atom_energies = model.atom_energies(batch)
            values["energy"] = sum_by(batch.config, atom_energies, len(batch.n_atoms))
        if others:
            values |= model.property_values(batch, others)
    return Prediction(atom_energies, values)
