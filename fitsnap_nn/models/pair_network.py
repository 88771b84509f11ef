"""FitSNAP's pair network (calculator LAMMPSCUSTOM, solver NETWORK): an energy for each pair of neighbours.

A pair is described by Bessel functions of its length and by Gaussians of the angles to all other neighbours of its
central atom. The descriptors are those of FitSNAP 3.1, ``fitsnap3lib/lib/neural_networks``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from fitsnap_nn.inputs.batch import join_batches
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.padded import PaddedGraph
from fitsnap_nn.models.angular_gaussians import AngularGaussians
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.baselines import standardize
from fitsnap_nn.models.elements import PerElement, along
from fitsnap_nn.models.mlp import ACTIVATIONS, ONE_HOT, PER_ELEMENT, SHARED, uniform
from fitsnap_nn.models.pairs import cosine_cutoff
from fitsnap_nn.models.tables import neighbour_tables
from fitsnap_nn.settings.pair_network import SWITCH

BASELINES = ("element_energies", "energy_scale")


class PairNetwork(GraphModel):
    """e_i = sum_j f(r_ij) net((D_ij - mean) / deviation), with the descriptors D_ij of each pair of neighbours.

    D_ij consists of sqrt(2 / r_c) sin(n pi r_ij / r_c) f(r_ij) / r_ij, n = 1 … num_radial, and of
    sum_k g(r_ik) exp(-4 (c_ijk - mu_m)²), m = 1 … num_3body, over all neighbours k of i, j included. mu_m are equally
    spaced from -1 to 1; c_ijk is the cosine of the angle between the two pairs, and 0 for k = j. f falls from 1 to 0 as
    half a cosine period within cutoff_width of the cutoff r_c, g from r = 0 on.

    Args:
        elements: chemical symbols, in the order of LAMMPS' atom types.
        num_radial: number of Bessel functions.
        num_3body: number of Gaussians.
        cutoff: r_c, Å.
        cutoff_width: of f, Å; ``None``: f is 1 up to 3.5 Å, as in FitSNAP.
        layer_sizes: nodes per layer, from ``num_desc`` to 1.
        activation: of the hidden layers; a key of ``ACTIVATIONS``.
        multi_element_option: 1: one network for all pairs; 2: one per element of the central atom; 3: one network with
            the elements of both atoms as one-hot inputs.
    """

    def __init__(
        self,
        elements: Sequence[str],
        *,
        num_radial: int = 4,
        num_3body: int = 11,
        cutoff: float = 5.0,
        cutoff_width: float | None = None,
        layer_sizes: Sequence[str] = ("num_desc", "512", "512", "1"),
        activation: str = "softplus",
        multi_element_option: int = SHARED,
    ) -> None:
        super().__init__(tuple(elements))
        self._hyperparameters: dict[str, Any] = {
            "num_radial": num_radial,
            "num_3body": num_3body,
            "cutoff": cutoff,
            "cutoff_width": cutoff_width,
            "layer_sizes": list(layer_sizes),
            "activation": activation,
            "multi_element_option": multi_element_option,
        }
        self.cutoff = cutoff
        self.cutoff_width = max(cutoff - SWITCH, 0.0) if cutoff_width is None else cutoff_width
        if not self.cutoff_width:
            raise ValueError(f"A cutoff of {cutoff:g} Å needs a cutoff_width: FitSNAP's starts at {SWITCH:g} Å.")
        self.option = multi_element_option
        self.gaussians = AngularGaussians(num_3body)
        count = len(self.elements)
        networks = count if self.option == PER_ELEMENT else 1
        size = num_radial + num_3body
        sizes = [size, *map(int, layer_sizes[1:])]
        inputs = [size + 2 * count if self.option == ONE_HOT else size, *sizes[1:]]
        self.weights = nn.ParameterList(
            nn.Parameter(uniform((networks, b, a), fan)) for (a, b), fan in zip(pairwise(sizes), inputs, strict=False)
        )
        self.biases = nn.ParameterList(
            nn.Parameter(uniform((networks, b), fan)) for b, fan in zip(sizes[1:], inputs, strict=False)
        )
        # The columns of the first layer that a one-hot input selects, for the element of each of the two atoms.
        self.element_weights: nn.Parameter | None = None
        if self.option == ONE_HOT:
            self.element_weights = nn.Parameter(uniform((2, count, sizes[1]), inputs[0]))
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.zeros(networks, size))
        self.register_buffer("scale", torch.ones(networks, size))

    @property
    def layout(self) -> str:
        sizes = [self.shift.shape[1], *(weight.shape[1] for weight in self.weights)]
        return f"{' '.join(map(str, sizes))}, {self._hyperparameters['activation']}"

    def description(self) -> dict[str, Any]:
        return {"architecture": "CUSTOM", "elements": list(self.elements), **self._hyperparameters}

    def per_element(self) -> Mapping[str, PerElement]:
        state = self.state_dict()
        layouts = {"element_energies": along(self.element_energies)}
        if self.option == PER_ELEMENT:
            layouts |= {name: along(tensor) for name, tensor in state.items() if name not in BASELINES}
        if self.element_weights is not None:
            layouts["element_weights"] = along(self.element_weights, 1)
        return layouts

    @torch.no_grad()
    def fit_to_data(self, batches: Iterable[Graph]) -> None:
        """Standardise each descriptor to mean 0 and standard deviation 1 over the pairs that a network is used for."""

        def blocks() -> Iterable[tuple[Any, Any]]:
            for batch in batches:
                graph = join_batches([batch], torch.float64)
                yield self._network_of(graph).numpy(), self.descriptors(graph).numpy()

        found = standardize(blocks(), (len(self.shift), self.shift.shape[1]))
        self.shift.copy_(torch.from_numpy(found.shift))
        self.scale.copy_(torch.from_numpy(found.scale))

    def forward(self, graph: Graph) -> Tensor:
        distances = torch.linalg.vector_norm(graph.vectors, dim=1)
        outputs = self._networks(graph, self.descriptors(graph))
        return graph.sum_by_centre(outputs * cosine_cutoff(distances, self.cutoff, self.cutoff_width))

    def last_layer_parameters(self) -> Sequence[Tensor]:
        return [self.weights[-1], self.biases[-1]]

    def descriptors(self, graph: Graph) -> Tensor:
        """Return the descriptors (E, D) of each edge: num_radial Bessel functions, then num_3body Gaussians."""
        distances = torch.linalg.vector_norm(graph.vectors, dim=1)
        orders = torch.arange(1, self._hyperparameters["num_radial"] + 1, device=distances.device)
        factors = math.sqrt(2.0 / self.cutoff) * cosine_cutoff(distances, self.cutoff, self.cutoff_width) / distances
        radial = torch.sin((math.pi / self.cutoff * distances)[:, None] * orders) * factors[:, None]
        tables = neighbour_tables(graph)
        directions = tables.split(graph.vectors / distances[:, None])
        weights = tables.split(cosine_cutoff(distances, self.cutoff, self.cutoff))
        angular = []
        for direction, weight, mask in zip(directions, weights, tables.masks, strict=True):
            others = 1.0 - torch.eye(mask.shape[1], dtype=direction.dtype, device=direction.device)
            cosines = (direction @ direction.transpose(1, 2)) * others
            angular.append(self.gaussians(cosines, torch.where(mask, weight, 0.0)))
        return torch.cat([radial, tables.join(angular)], dim=1)

    def _network_of(self, graph: Graph) -> Tensor:
        """Return the index (E,) of the network of each edge."""
        centres = graph.species.index_select(0, graph.edge_i)
        return centres if self.option == PER_ELEMENT else torch.zeros_like(centres)

    def _networks(self, graph: Graph, descriptors: Tensor) -> Tensor:
        """Return the output (E,) of the network of each edge."""
        if len(self.shift) == 1:
            return self._network(0, graph, descriptors)
        numbers = self._network_of(graph)
        if isinstance(graph, PaddedGraph):  # all networks for all edges: no size depends on the elements
            outputs = torch.stack([self._network(n, graph, descriptors) for n in range(len(self.shift))], dim=1)
            chosen = numbers[:, None] == torch.arange(len(self.shift), device=numbers.device)
            return torch.where(chosen, outputs, 0.0).sum(dim=1)
        outputs = torch.zeros_like(descriptors[:, 0])
        for number in range(len(self.shift)):
            edges = torch.where(numbers == number)[0]
            outputs = outputs.index_copy(0, edges, self._network(number, graph, descriptors.index_select(0, edges)))
        return outputs

    def _network(self, number: int, graph: Graph, descriptors: Tensor) -> Tensor:
        """Return the output of one network for descriptors (M, D), which are those of all edges with one-hot inputs."""
        value = ACTIVATIONS[self._hyperparameters["activation"]].value
        values = (descriptors - self.shift[number]) / self.scale[number]
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = nn.functional.linear(value(values) if layer else values, weight[number], bias[number])
            if self.element_weights is not None and not layer:
                one_hot = graph.one_hot(len(self.elements), values.dtype)
                for atoms, of_elements in zip((graph.edge_i, graph.edge_j), self.element_weights, strict=True):
                    values = values + one_hot.index_select(0, atoms) @ of_elements
        return values.squeeze(1)
