"""Interface of all models: a model maps a batch to per-atom energies and their gradients.

`fitsnap_nn.models.prediction` turns these into the properties of a fit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from fitsnap_nn.data.properties import Property
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.baselines import FitStatistics, rms_scale
from fitsnap_nn.models.elements import PerElement, for_elements
from fitsnap_nn.models.explicit import Derived, ExplicitRun
from fitsnap_nn.models.targets import TargetModel

if TYPE_CHECKING:
    from fitsnap_nn.inputs.base import ModelInput

B = TypeVar("B", bound=Batch)


class Model(torch.nn.Module, ABC, Generic[B]):
    """Base class of every architecture; see `DescriptorModel` and `GraphModel`.

    Attributes:
        elements: chemical symbols, in the order of LAMMPS' atom types.
        element_energies: (number of elements,) eV, float64: energy per atom of each element.
        energy_scale: () eV, float64: energy per unit of the network's output.
        needs_augmentation: whether the model is not rotationally invariant by construction, so that training
            configurations are rotated and inverted at random.
        has_prior: whether `prior_energies` may differ from zero.
        takes_padding: whether batches may be padded, see `PaddedGraph`.
    """

    elements: tuple[str, ...]
    element_energies: Tensor
    energy_scale: Tensor
    needs_augmentation: ClassVar[bool] = False
    has_prior: ClassVar[bool] = False
    takes_padding: bool = False

    @property
    @abstractmethod
    def input(self) -> ModelInput:
        """Model input from which the batches are made."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Return architecture and hyperparameters as plain values.

        Returns:
            The argument of ``build_model``; stored in model and restart files.
        """

    def per_element(self) -> Mapping[str, PerElement] | None:
        """Return which tensors of the state dict have a dimension over elements; ``None`` (the default): unknown."""
        return None

    def state_for_elements(self, state: Mapping[str, Tensor], elements: Sequence[str]) -> dict[str, Tensor]:
        """Return the state dict of a model that differs in its elements only, in the layout of this one.

        Args:
            state: state dict of the other model.
            elements: its chemical symbols.

        Returns:
            Tensors by name. New elements have the values that they have in this model.

        Raises:
            ValueError: the architecture does not support this change of elements; the message gives the reason.
        """
        if tuple(elements) == self.elements:
            return dict(state)
        layouts = self.per_element()
        if layouts is None:
            raise ValueError(
                f"{type(self).__name__} does not state which of its parameters belong to elements (method per_element)"
            )
        old = [elements.index(element) if element in elements else None for element in self.elements]
        return for_elements(self.state_dict(), state, layouts, old)

    @property
    def layout(self) -> str:
        """Layer sizes for the log; empty if the input file already states them."""
        return ""

    @property
    def precision(self) -> torch.dtype:
        """Floating-point type of the network, see `set_precision`."""
        return next(parameter.dtype for parameter in self.parameters() if parameter.is_floating_point())

    @abstractmethod
    def set_precision(self, dtype: torch.dtype) -> None:
        """Set the floating-point type of the network; energies and baselines stay float64.

        Args:
            dtype: ``torch.float32`` or ``torch.float64``.
        """

    def fit_to_data(self, batches: Iterable[B]) -> None:
        """Determine parameters that the hyperparameters leave open, from the training set; does nothing by default.

        Args:
            batches: one batch per training configuration, in the types of the cache. The iterable is consumed once.
        """

    def energy_terms(self, batch: B) -> float:
        """Return the sum of the magnitudes of the terms of an energy, eV, to which errors by rounding are proportional.

        Args:
            batch: one configuration, float64.

        Returns:
            0 (the default) for models whose terms are not much larger than their energies.
        """
        return 0.0

    def prior_energies(self, batch: B) -> Tensor:
        """Return the parameter-free part of the atom energies, excluding the element energies.

        Args:
            batch: N atoms.

        Returns:
            (N,) eV, float64. Called only if ``has_prior`` is true.
        """
        return torch.zeros(len(batch.species), dtype=torch.float64, device=batch.species.device)

    @abstractmethod
    def target_scale(self, statistics: FitStatistics) -> float:
        """Return the value of ``energy_scale`` for a training set.

        Args:
            statistics: of the labels of the training set.

        Returns:
            Scale in eV.
        """

    def start_training_step(self, batch: B, *, forces: bool, virials: bool) -> ExplicitRun | None:
        """Return a forward pass with analytic derivatives, or ``None`` (the default) to use autograd.

        Args:
            batch: N atoms in C configurations.
            forces, virials: derivatives to compute.
        """
        return None

    def weight_matrices(self) -> Iterator[Tensor]:
        """Yield the trainable weights that are matrices, as two-dimensional views of the parameters.

        Yields:
            (rows, columns), such as (inputs, outputs) of a layer; for parameters of more dimensions, one matrix per
            index of all but the last two.
        """
        for module in self.modules():
            tensors = [weights.detach() for weights in module.parameters(recurse=False) if weights.requires_grad]
            if tensors and (paths := getattr(module, "weight_views", None)):
                # e3nn stores all paths in one vector: (inputs, outputs), or (inputs, elements, outputs) of products.
                tensors = [path.detach().movedim(-2, 0) for path in paths()]
            for tensor in tensors:
                if tensor.dim() > 1:
                    yield from tensor.view(-1, *tensor.shape[-2:])

    def members(self) -> tuple[Model[B], ...]:
        """Return the models of a committee, which are trained separately; the model itself if it is none.

        They share their parameters with this model, whose prediction is their mean.
        """
        return (self,)

    def predicts(self, name: str) -> bool:
        """Return whether the model predicts a property that is neither the energy nor one of its derivatives.

        Args:
            name: name of the property.
        """
        return False

    def baseline_values(self, batch: B) -> Mapping[str, Tensor]:
        """Return what properties other than the energy are without the network, as `property_values`; none: 0.

        Args:
            batch: N atoms in C configurations; it may be on another device than the model.
        """
        return {}

    def property_values(self, batch: B, properties: Sequence[Property]) -> Mapping[str, Tensor]:
        """Return predictions of properties for which `predicts` is true.

        Args:
            batch: N atoms in C configurations.
            properties: properties to predict.

        Returns:
            By property name, (N or C, components) in the internal unit of the property.

        Raises:
            NotImplementedError: the model predicts no such properties.
        """
        raise NotImplementedError(f"{type(self).__name__} predicts the energy and its derivatives only")

    def atom_features(self, batch: B, of: str = "") -> Tensor:
        """Return the features (N, K) of each atom before the heads, or before the last layer of an output.

        Args:
            batch: N atoms.
            of: name of the output, ``energy`` or a target; empty: the features that all heads share.

        Raises:
            NotImplementedError: the model does not provide its features.
        """
        raise NotImplementedError(f"{type(self).__name__} does not provide its features")

    def last_layer_parameters(self) -> Sequence[Tensor]:
        """Return the parameters that the energy is a linear function of: those of the last layers.

        Raises:
            NotImplementedError: the model does not name them.
        """
        raise NotImplementedError(f"{type(self).__name__} does not name the parameters of its last layer")

    @abstractmethod
    def atom_energies(self, batch: B) -> Tensor:
        """Return per-atom energies, differentiable with respect to the inputs of the batch.

        Args:
            batch: N atoms.

        Returns:
            (N,) eV, float64.
        """

    @abstractmethod
    def energies_and_gradients(self, batch: B) -> tuple[Tensor, Tensor]:
        """Return per-atom energies and the gradients of their sum with respect to the inputs.

        Both are differentiable with respect to the weights if gradients are enabled.

        Args:
            batch: N atoms.

        Returns:
            (N,) eV, float64; gradients with one row per atom or edge, see the subclasses.
        """

    @abstractmethod
    def forces_from(self, batch: B, gradients: Tensor) -> Tensor:
        """Return forces from the gradients of `energies_and_gradients`.

        Args:
            batch: N atoms.
            gradients: second result of `energies_and_gradients`.

        Returns:
            (N, 3) eV/Å.
        """

    @abstractmethod
    def virials_from(self, batch: B, gradients: Tensor) -> Tensor:
        """Return dE/d(strain) from the gradients of `energies_and_gradients`.

        Args:
            batch: C configurations.
            gradients: second result of `energies_and_gradients`.

        Returns:
            (C, 6) eV, Voigt order.
        """

    def derivatives(self, batch: B, *, forces: bool, virials: bool) -> Derived:
        """Return energies and the requested derivatives of a batch.

        Args:
            batch: N atoms in C configurations.
            forces: compute forces (N, 3), eV/Å.
            virials: compute dE/d(strain) (C, 6), eV.
        """
        atom_energies, gradients = self.energies_and_gradients(batch)
        return Derived(
            atom_energies,
            batch.sum_by_configuration(atom_energies),
            self.forces_from(batch, gradients) if forces else None,
            self.virials_from(batch, gradients) if virials else None,
        )


class GraphModel(TargetModel, Model[Graph]):
    """Base class of models on a neighbour graph; batches are `Graph`.

    e_i = E0(Z_i) + s out_i, with the element energies E0 and the scale s fitted before training. With edges
    r_ij = R_j - R_i, F_i = sum_j dE/dr_ij - sum_j dE/dr_ji and stress = sum_ij r_ij dE/dr_ij / V, symmetrised.

    Attributes:
        cutoff: cutoff radius of the graph, Å. Longer vectors, which a graph for several models may contain, must not
            change any result.
        num_message_passing: number of message-passing layers; 0 for a local model.
        has_long_range: whether energies also depend on positions and cells: batches are `PlacedGraph`.
    """

    cutoff: float
    num_message_passing: int = 0
    has_long_range: bool = False
    has_prior = True
    takes_padding = True

    def __init__(self, elements: tuple[str, ...]) -> None:
        super().__init__()
        self.elements = tuple(elements)
        self.targets = None
        self.register_buffer("element_energies", torch.zeros(len(self.elements), dtype=torch.float64))
        self.register_buffer("energy_scale", torch.ones((), dtype=torch.float64))

    @property
    def input(self) -> ModelInput:
        from fitsnap_nn.inputs.graph.input import GraphInput

        return GraphInput(self.elements, self.cutoff, self.has_long_range)

    def target_scale(self, statistics: FitStatistics) -> float:
        return rms_scale(statistics)

    @property
    def receptive_field(self) -> int:
        """Range of the model in cutoff radii: each message-passing layer adds one."""
        return 1 + self.num_message_passing

    @abstractmethod
    def forward(self, graph: Graph) -> Tensor:
        """Return the network's per-atom output, differentiable with respect to ``graph.vectors``.

        Args:
            graph: N atoms, ghosts included.

        Returns:
            (N,) in units of ``energy_scale``. Entries of ghosts are not used.
        """

    def atom_energies(self, batch: Graph) -> Tensor:
        return self.energies_of(batch, self(batch))

    def energies_of(self, batch: Graph, outputs: Tensor) -> Tensor:
        learned = self.energy_scale * outputs.double()
        return self.element_energies[batch.species] + learned + self.prior_energies(batch)

    def set_precision(self, dtype: torch.dtype) -> None:
        # Module.to would round the baselines too: total energies need more digits than float32 has.
        baselines = self.element_energies, self.energy_scale
        self.to(dtype)
        self.element_energies, self.energy_scale = (baseline.to(torch.float64) for baseline in baselines)

    def energies_and_gradients(self, batch: Graph) -> tuple[Tensor, Tensor]:
        """Return per-atom energies (N,), eV, and the edge gradients dE/dr_ij (E, 3), eV/Å.

        With long-range interactions the gradients with respect to positions and cells follow, (E + N + 3 C, 3).
        """
        return self.energies_gradients_and_targets(batch, ())[:2]

    def energies_gradients_and_targets(
        self, batch: Graph, names: Collection[str]
    ) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
        """Return the results of `energies_and_gradients`, and the values of targets, from one forward pass."""
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            leaves = {name: getattr(batch, name).detach().requires_grad_(True) for name in batch.differentiated}
            batch = replace(batch, **leaves)
            energies, values = self.energies_and_targets(batch, names) if names else (self.atom_energies(batch), {})
            found = torch.autograd.grad(
                energies.sum(), list(leaves.values()), create_graph=create_graph, materialize_grads=True
            )
            gradients = found[0] if len(found) == 1 else torch.cat([one.reshape(-1, 3) for one in found])
        if not create_graph:
            energies, values = energies.detach(), {name: value.detach() for name, value in values.items()}
        return energies, gradients, values

    @torch.no_grad()
    def energy_terms(self, batch: Graph) -> float:
        # The energy is a sum over atoms. The vectors from which it is computed are rounded too, which changes it by up
        # to the sum of |dE/dr_k r_k| times the precision. In a compressed cell that exceeds the total energy by far.
        energies, gradients = self.energies_and_gradients(batch)
        vectors = torch.cat([getattr(batch, name).reshape(-1, 3) for name in batch.differentiated])
        learned = energies - self.element_energies[batch.species]
        return float(learned.abs().sum() + (gradients * vectors).abs().sum())

    def forces_from(self, batch: Graph, gradients: Tensor) -> Tensor:
        return batch.forces(gradients)

    def virials_from(self, batch: Graph, gradients: Tensor) -> Tensor:
        return batch.virials(gradients)
