"""SOAP-BPNN: feed-forward networks on the SOAP power spectrum of each atom's neighbours, as metatrain has it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.soap import PowerSpectrum, SphericalExpansion
from fitsnap_nn.models.zbl import Zbl

MIXTURES = 4  # kinds of neighbours with legacy = False, each a learned mixture of the elements
NORM_EPSILON = 1e-5


class Rows(NamedTuple):
    """What is computed: a row for each atom with neighbours, and one an element for all without, as ghosts are.

    Attributes:
        of_atom: (N,) the row of each atom.
        species: (R,), sorted.
        counts: rows of each element.
    """

    of_atom: Tensor
    species: Tensor
    counts: list[int]


class Normalisation(NamedTuple):
    """What the normalisation needs besides the first layer's weights; S elements, or 1 for all, and K outputs.

    Attributes:
        mean, square: (S, 1, D) weights of the features in their mean, and of their squares in the mean square.
        sums: (S, K) what the mean of the features is multiplied by.
        biases: (S, K).
    """

    mean: Tensor
    square: Tensor
    sums: Tensor
    biases: Tensor


class SoapBpnn(GraphModel):
    """out_i = network(LayerNorm(c_Z p_i)), without biases but for the one in the normalisation.

    With ``legacy`` neighbours of each element have channels of their own, each element has its own network, and c = 1.
    Without, neighbours have ``MIXTURES`` channels, one network serves all, and c_Z (one for each ordered pair of
    channels) tells it the element. The power spectrum p holds each pair of channels once, but the normalisation is over
    all ordered pairs, and parameters start as if there was one for each: it is the original's model with half the
    features.

    Args:
        elements: chemical symbols, in the order of LAMMPS' atom types.
        max_angular: largest l of the expansion.
        max_radial: largest n of the radial functions for l = 0.
        cutoff_radius, cutoff_width: Å.
        heads: ``mlp`` for one more hidden layer than ``num_hidden_layers``, or ``linear``.
        zbl: add the ZBL repulsion.
    """

    def __init__(
        self,
        elements: Sequence[str],
        *,
        max_angular: int = 6,
        max_radial: int = 7,
        cutoff_radius: float = 5.0,
        cutoff_width: float = 0.5,
        legacy: bool = True,
        num_hidden_layers: int = 2,
        num_neurons_per_layer: int = 32,
        layernorm: bool = True,
        heads: str = "linear",
        zbl: bool = False,
    ) -> None:
        super().__init__(tuple(elements))
        self.hyperparameters = {
            "max_angular": max_angular,
            "max_radial": max_radial,
            "cutoff_radius": cutoff_radius,
            "cutoff_width": cutoff_width,
            "legacy": legacy,
            "num_hidden_layers": num_hidden_layers,
            "num_neurons_per_layer": num_neurons_per_layer,
            "layernorm": layernorm,
            "heads": heads,
            "zbl": zbl,
        }
        self.cutoff = cutoff_radius
        self.expansion = SphericalExpansion(max_angular, max_radial, cutoff_radius, cutoff_width)
        count = len(self.elements)
        channels = count if legacy else MIXTURES
        self.power_spectrum = PowerSpectrum([channels * size for size in self.expansion.sizes])
        self.mixing = None if legacy else nn.Parameter(torch.randn(count, channels))
        sizes = [num_neurons_per_layer] * (num_hidden_layers + (heads == "mlp")) + [1]
        self._make_first(count if legacy else 1, sizes[0])
        self.layers = nn.ParameterList(
            nn.Parameter(_uniform((count if legacy else 1, outputs, inputs), inputs))
            for inputs, outputs in pairwise(sizes)
        )
        self.zbl = Zbl(self.elements, cutoff_radius) if zbl else None

    def _make_first(self, networks: int, outputs: int) -> None:
        """Parameters up to the first layer, (1 or 2, networks, outputs, D): two where the order of a pair matters."""
        multiplicity = self.power_spectrum.orders
        features = len(multiplicity)
        first = _uniform((1 if self.legacy else 2, networks, outputs, features), int(multiplicity.sum()))
        self.centre: nn.Parameter | None = None
        if self.legacy:
            first /= multiplicity.sqrt()  # one weight is for both orders: its double varies as the sum of two
        else:
            centre = torch.randn(2, len(self.elements), 1, features)
            for parameter in (centre, first):
                parameter[1] = torch.where(multiplicity == 1, parameter[0], parameter[1])
            self.centre = nn.Parameter(centre)
        self.first = nn.Parameter(first)
        self.norm_weight: nn.Parameter | None = None
        if self.hyperparameters["layernorm"]:
            self.norm_weight = nn.Parameter(torch.ones(len(first), networks, 1, features))
            self.norm_bias = nn.Parameter(torch.zeros(len(first), networks, 1, features))

    @property
    def legacy(self) -> bool:
        return bool(self.hyperparameters["legacy"])

    def description(self) -> dict[str, Any]:
        return {"architecture": "SOAP_BPNN", "elements": list(self.elements), **self.hyperparameters}

    def forward(self, graph: Graph) -> Tensor:
        rows = self.rows(graph)
        values = self._first_values(self.spectrum(graph, rows), rows)
        for weights in self.layers:
            values = _by_element(silu(values), weights, rows)
        return values.squeeze(1).index_select(0, rows.of_atom)

    def prior_energies(self, graph: Graph) -> Tensor:
        return super().prior_energies(graph) if self.zbl is None else self.zbl.energies(graph)

    def rows(self, graph: Graph) -> Rows:
        """Which atoms are computed, in which order."""
        elements = torch.arange(len(self.elements), device=graph.species.device)
        occupied = torch.zeros_like(graph.species, dtype=torch.bool).index_fill_(0, graph.edge_i, True)
        atoms = torch.where(occupied)[0]
        species, order = torch.sort(torch.cat([elements, graph.species[atoms]]), stable=True)
        place = torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=order.device))
        of_atom = place[graph.species].index_copy_(0, atoms, place[len(elements) :])
        return Rows(of_atom, species, torch.bincount(species).tolist())

    def spectrum(self, graph: Graph, rows: Rows) -> Tensor:
        """(R, D) power spectrum; channels are (kind of neighbour, n)."""
        count, elements = len(rows.species), len(self.elements)
        atoms, kinds = rows.of_atom[graph.edge_i], graph.species[graph.edge_j]
        parts = self.expansion(graph.vectors, atoms, count, kinds, elements)
        if self.mixing is not None:
            by_kind = [part.view(count, elements, -1) for part in parts]
            mixed = torch.split(self.mixing.t() @ torch.cat(by_kind, dim=2), [part.shape[2] for part in by_kind], dim=2)
            parts = [new.reshape(count, -1, old.shape[2]) for new, old in zip(mixed, parts, strict=True)]
        spectrum: Tensor = self.power_spectrum(parts)
        return spectrum

    def _first_values(self, spectrum: Tensor, rows: Rows) -> Tensor:
        """(R, K) outputs of the first layer: with x = c_Z p, W LN(x) = (W' x - mean(x) W' 1) / deviation(x) + W b."""
        roots = self.power_spectrum.orders.to(spectrum.dtype).sqrt()
        centre = roots.new_ones(1, 1, 1, len(roots)) if self.centre is None else self.centre
        if self.norm_weight is None:
            return _by_element(spectrum, _mean_of_orders(self.first * (centre * roots)), rows)
        values = _by_element(spectrum, _mean_of_orders(self.first * (centre * roots * self.norm_weight)), rows)
        norm = self._normalisation(self.norm_weight, centre, roots)
        mean = _by_element(spectrum, norm.mean, rows)
        variance = _by_element(spectrum.square(), norm.square, rows) - mean.square()
        scaled = (values - mean * _of_rows(norm.sums, rows)) * torch.rsqrt(variance.clamp_min(0.0) + NORM_EPSILON)
        return scaled + _of_rows(norm.biases, rows)

    def _normalisation(self, weight: Tensor, centre: Tensor, roots: Tensor) -> Normalisation:
        """Sums over the orders of a pair: each feature stands for both. The weights are many, so one pass over them."""
        orders = roots.square()
        total = orders.sum()
        both = torch.cat([weight, self.norm_bias], dim=2) * orders
        sums, biases = _mean_of_orders(self.first @ both.transpose(2, 3)).unbind(2)
        return Normalisation(
            mean=_mean_of_orders(centre * roots) / total,
            square=_mean_of_orders(centre.square()) / total,
            sums=sums,
            biases=biases,
        )


def _mean_of_orders(values: Tensor) -> Tensor:
    return values[0] if len(values) == 1 else values.mean(dim=0)


def _uniform(shape: tuple[int, ...], inputs: int) -> Tensor:
    """Start of a linear layer's weights, as ``nn.Linear`` has it."""
    return torch.empty(shape).uniform_(-1.0, 1.0) / math.sqrt(inputs)


def _by_element(values: Tensor, weights: Tensor, rows: Rows) -> Tensor:
    """(R, out): rows (R, in) times the matrix (out, in) of their element, or times the one for all."""
    if len(weights) == 1:
        return values @ weights[0].t()
    return torch.cat([part @ w.t() for part, w in zip(torch.split(values, rows.counts), weights, strict=True)])


def _of_rows(values: Tensor, rows: Rows) -> Tensor:
    """(R, K) from (S, K), or (1, K) as it is."""
    return values if len(values) == 1 else values.index_select(0, rows.species)
