"""SOAP-BPNN: feed-forward networks on the SOAP power spectrum of each atom, as in metatrain."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations_with_replacement, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from fitsnap_nn.data.properties import ENERGY
from fitsnap_nn.inputs.batch import join_batches
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.padded import PaddedGraph
from fitsnap_nn.models.elements import PerElement, along
from fitsnap_nn.models.long_range import LongRangeModel
from fitsnap_nn.models.mlp import uniform
from fitsnap_nn.models.soap import PowerSpectrum, SphericalExpansion
from fitsnap_nn.models.soap_rows import AllRows, Rows
from fitsnap_nn.models.soap_tensors import TargetHead, TensorBasis, normalize
from fitsnap_nn.models.targets import Blocks, Targets
from fitsnap_nn.models.zbl import Zbl

NUM_PSEUDO_ELEMENTS = 4  # neighbour channels with legacy = False: learned linear combinations of the elements
NORM_EPSILON = 1e-5


class Hidden(NamedTuple):
    """Results of the hidden layers.

    Attributes:
        shared: (R, K) values of the last layer that heads share.
        last: (R, K) inputs of the last layer of the energy.
        expansion: coefficients by degree, (R, channels, 2l + 1).
        rows: the R rows.
    """

    shared: Tensor
    last: Tensor
    expansion: list[Tensor]
    rows: Rows | AllRows


class Normalisation(NamedTuple):
    """Terms of the layer normalisation after the first layer's weights are applied; S elements (or 1), K outputs.

    Attributes:
        mean, square: (S, 1, D) weights of the features in their mean, and of their squares in the mean square.
        sums: (S, K) W' 1, factor of the mean of the features.
        biases: (S, K) W b.
    """

    mean: Tensor
    square: Tensor
    sums: Tensor
    biases: Tensor


class SoapBpnn(LongRangeModel):
    """out_i = network(LayerNorm(c_Z p_i)); the normalisation has the only bias.

    With ``legacy``, each neighbour element has its own channels, each centre element has its own network, and c = 1.
    Otherwise neighbours are mapped to ``NUM_PSEUDO_ELEMENTS`` channels, all centre elements share a network, and c_Z
    (one factor per ordered pair of channels) encodes the centre element.

    metatrain's power spectrum has one feature per ordered pair of channels. Since it is symmetric, p holds each
    unordered pair once, here with half the features. Normalisation and initial weights are those of the ordered pairs,
    so that both represent the same model.

    Args:
        elements: chemical symbols, in the order of LAMMPS' atom types.
        max_angular: maximum l of the expansion.
        max_radial: maximum n of the radial functions for l = 0; fewer for larger l.
        cutoff_radius, cutoff_width: Å.
        heads: ``mlp`` adds one hidden layer to ``num_hidden_layers``; ``linear`` adds none.
        zbl: add the ZBL repulsion.
        long_range: add the `LongRange` features to the outputs of the last hidden layer; the keys after it are its
            arguments.
        add_lambda_basis: see `soap_tensors.TensorBasis`; without effect if there are no targets.
        targets: descriptions of targets, see `describe_targets`.

    Raises:
        ValueError: ``long_range`` without a hidden layer.
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
        long_range: bool = False,
        use_ewald: bool = True,
        smearing: float = 1.4,
        kspace_resolution: float = 1.33,
        interpolation_nodes: int = 5,
        add_lambda_basis: bool = True,
        targets: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(tuple(elements))
        self.hyperparameters: dict[str, Any] = {
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
        if long_range:  # otherwise the description is that of earlier versions
            self.hyperparameters |= {
                "long_range": True,
                "use_ewald": use_ewald,
                "smearing": smearing,
                "kspace_resolution": kspace_resolution,
                "interpolation_nodes": interpolation_nodes,
            }
        self.cutoff = cutoff_radius
        self.expansion = SphericalExpansion(max_angular, max_radial, cutoff_radius, cutoff_width)
        count = len(self.elements)
        channels = count if legacy else NUM_PSEUDO_ELEMENTS
        self.power_spectrum = PowerSpectrum([channels * size for size in self.expansion.sizes])
        self.mixing = None if legacy else nn.Parameter(torch.randn(count, channels))
        sizes = [num_neurons_per_layer] * (num_hidden_layers + (heads == "mlp")) + [1]
        self._create_first_layer(count if legacy else 1, sizes[0])
        self.layers = nn.ParameterList(
            nn.Parameter(uniform((count if legacy else 1, outputs, inputs), inputs))
            for inputs, outputs in pairwise(sizes)
        )
        self.zbl = Zbl(self.elements, cutoff_radius) if zbl else None
        if long_range and not num_hidden_layers:
            raise ValueError("long_range needs num_hidden_layers above 0")
        self._create_long_range(self.hyperparameters, num_neurons_per_layer)
        if targets:
            self._create_heads(targets, add_lambda_basis)

    def _create_heads(self, targets: Sequence[Mapping[str, Any]], add_lambda_basis: bool) -> None:
        count, hypers = len(self.elements), self.hyperparameters
        self.targets = Targets(targets, count)
        networks, channels = (count, count) if self.legacy else (1, NUM_PSEUDO_ELEMENTS)
        widths = [channels * size for size in self.expansion.sizes]
        shared = hypers["num_neurons_per_layer"]
        self.target_heads = nn.ModuleDict(
            {
                name: TargetHead(spec, spec.head or hypers["heads"], shared, widths, networks, add_lambda_basis)
                for name, spec in self.specs.items()
            }
        )
        hypers["add_lambda_basis"] = add_lambda_basis

    def _create_first_layer(self, networks: int, outputs: int) -> None:
        """Create the parameters up to the first layer, (1 or 2, networks, outputs, D).

        The first dimension is 2 where the two orders of a pair of channels have independent parameters.
        """
        multiplicity = self.power_spectrum.multiplicity
        features = len(multiplicity)
        first = uniform((1 if self.legacy else 2, networks, outputs, features), int(multiplicity.sum()))
        self.centre: nn.Parameter | None = None
        if self.legacy:
            first /= multiplicity.sqrt()  # one weight replaces the sum of two independent ones: equal variance
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
        named = {"architecture": "SOAP_BPNN", "elements": list(self.elements), **self.hyperparameters}
        return named | self.described_targets()

    def per_element(self) -> Mapping[str, PerElement]:
        """Return the layouts; the features of the first layer with ``legacy`` are left to `state_for_elements`."""
        layouts = {"element_energies": along(self.element_energies)} | self.layouts_of_targets()
        layouts |= self._long_range_per_element()
        if self.mixing is not None and self.centre is not None:
            return layouts | {"mixing": along(self.mixing), "centre": along(self.centre, 1)}
        layouts |= {f"layers.{number}": along(weights) for number, weights in enumerate(self.layers)}
        return layouts | {name: along(self.get_parameter(name), 1) for name in self._with_features()}

    def state_for_elements(self, state: Mapping[str, Tensor], elements: Sequence[str]) -> dict[str, Tensor]:
        if not self.legacy or tuple(elements) == self.elements:
            return super().state_for_elements(state, elements)
        if self.specs:
            what = "with legacy = 1 the heads of targets cannot be transferred to other elements"
            raise ValueError(f"{what}; legacy = 0 allows it")
        if len(elements) != len(self.elements) and self.norm_weight is not None:
            raise ValueError(
                "with legacy = 1 the layer normalisation averages over the features of all elements, so that another "
                "number of elements changes every energy; legacy = 0 and layernorm = 0 allow it"
            )
        # Each pair of neighbour elements has features of its own, which are found by their symbols. Where a pair is
        # new, the weights are those of this model; they act on features that vanish without the new element.
        own, others = self._feature_labels(self.elements), self._feature_labels(elements)
        place = {label: number for number, label in enumerate(others)}
        known = [number for number, label in enumerate(own) if label in place]
        there = [place[own[number]] for number in known]
        arranged = dict(state)
        for name in self._with_features():
            initial, old = self.get_parameter(name).detach(), state[name]
            # The networks of the old elements, with the features of this model.
            networks = [self.elements.index(e) if e in self.elements else 0 for e in elements]
            arranged[name] = initial[:, networks].clone()
            arranged[name][..., known] = old[..., there].to(initial.dtype)
        return super().state_for_elements(arranged, elements)

    def _with_features(self) -> list[str]:
        """Return the names of the parameters whose last dimension are the features."""
        return ["first"] if self.norm_weight is None else ["first", "norm_weight", "norm_bias"]

    def _feature_labels(self, elements: Sequence[str]) -> list[tuple[int, frozenset[tuple[str, int]]]]:
        """Return l and the unordered pair of channels (element, n) of each feature, in their order."""
        labels = []
        for degree, size in enumerate(self.expansion.sizes):
            channels = [(element, n) for element in elements for n in range(size)]
            pairs = combinations_with_replacement(channels, 2)
            labels += [(degree, frozenset(pair)) for pair in pairs]
        return labels

    def forward(self, graph: Graph) -> Tensor:
        return self.outputs(graph, ())[0]

    def outputs(self, graph: Graph, names: Collection[str]) -> tuple[Tensor, Blocks]:
        hidden = self._hidden_layers(graph)
        values = hidden.rows.linear(hidden.last, self.layers[-1]) if len(self.layers) else hidden.last
        blocks = {name: self.target_heads[name](hidden.shared, hidden.expansion, hidden.rows) for name in names}
        return hidden.rows.of_atoms(values.squeeze(1)), blocks

    def _hidden_layers(self, graph: Graph) -> Hidden:
        rows = self.rows(graph)
        expansion = self.expansion_coefficients(graph, rows)
        values = self._first_layer(self.power_spectrum(expansion), rows)
        shared = values
        for number, weights in enumerate(self.layers, start=1):
            values = silu(values)
            if number == self.hyperparameters["num_hidden_layers"]:
                if self.long_range is not None:  # from here on no two atoms are alike
                    features = rows.of_atoms(values)
                    values = features + self.long_range(graph, features)
                    expansion = [rows.of_atoms(part) for part in expansion] if self.specs else expansion
                    rows = AllRows(graph.one_hot(len(self.elements), values.dtype))
                shared = values
            if number < len(self.layers):
                values = rows.linear(values, weights)
        return Hidden(shared, values, expansion, rows)

    def atom_features(self, batch: Graph, of: str = "") -> Tensor:
        if not self.layers:
            raise NotImplementedError("SOAP_BPNN with num_hidden_layers = 0 has no features but its inputs")
        hidden = self._hidden_layers(batch)
        last = hidden.last
        if of and of != ENERGY.name:
            head = self.target_heads[of]
            assert isinstance(head, TargetHead)
            last = head.hidden_values(hidden.shared, hidden.rows)
        return hidden.rows.of_atoms(last if of else hidden.shared)

    def last_layer_parameters(self) -> Sequence[Tensor]:
        return [self.layers[-1] if len(self.layers) else self.first]

    def fit_to_data(self, graphs: Iterable[Graph]) -> None:
        """Normalise the basis tensors of targets that consist of products of vectors.

        Args:
            graphs: one per training configuration.
        """
        bases = [module for module in self.modules() if isinstance(module, TensorBasis) and module.only_products]
        if bases:
            joined = (join_batches([graph], self.first.dtype) for graph in graphs)
            normalize(bases, (self._coefficients_and_elements(graph) for graph in joined))

    @torch.no_grad()
    def _coefficients_and_elements(self, graph: Graph) -> tuple[list[Tensor], Tensor]:
        rows = self.rows(graph)
        assert isinstance(rows, Rows)
        return self.expansion_coefficients(graph, rows), rows.species

    def prior_energies(self, graph: Graph) -> Tensor:
        return super().prior_energies(graph) if self.zbl is None else self.zbl.energies(graph)

    def rows(self, graph: Graph) -> Rows | AllRows:
        """Return the rows to evaluate, sorted by element so that each element's network is one matrix product.

        Args:
            graph: N atoms, ghosts included.
        """
        if isinstance(graph, PaddedGraph):
            return AllRows(graph.one_hot(len(self.elements), graph.vectors.dtype))
        elements = torch.arange(len(self.elements), device=graph.species.device)
        has_neighbours = torch.zeros_like(graph.species, dtype=torch.bool).index_fill_(0, graph.edge_i, True)
        atoms = torch.where(has_neighbours)[0]
        species, order = torch.sort(torch.cat([elements, graph.species[atoms]]), stable=True)
        row_of = torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=order.device))
        row_of_atom = row_of[graph.species].index_copy_(0, atoms, row_of[len(elements) :])
        return Rows(row_of_atom, species, torch.bincount(species).tolist())

    def expansion_coefficients(self, graph: Graph, rows: Rows | AllRows) -> list[Tensor]:
        """Return the expansion coefficients; channels are (neighbour element or pseudo-element, n).

        Args:
            graph: neighbour graph.
            rows: rows to evaluate.

        Returns:
            For each l (R, channels, 2l + 1).
        """
        parts = self._expand(graph, rows)
        count, elements = len(parts[0]), len(self.elements)
        if self.mixing is not None:
            by_element = [part.view(count, elements, -1) for part in parts]
            mixed = torch.split(
                self.mixing.t() @ torch.cat(by_element, dim=2), [part.shape[2] for part in by_element], dim=2
            )
            parts = [new.reshape(count, -1, old.shape[2]) for new, old in zip(mixed, parts, strict=True)]
        return parts

    def _expand(self, graph: Graph, rows: Rows | AllRows) -> list[Tensor]:
        if isinstance(graph, PaddedGraph) and isinstance(rows, AllRows):
            return self.expansion.of_table(graph, rows.one_hot)
        assert isinstance(rows, Rows)
        edge_rows, species = rows.row_of_atom[graph.edge_i], graph.species[graph.edge_j]
        coefficients: list[Tensor] = self.expansion(
            graph.vectors, edge_rows, len(rows.species), species, len(self.elements)
        )
        return coefficients

    def _first_layer(self, spectrum: Tensor, rows: Rows | AllRows) -> Tensor:
        """Return the outputs (R, K) of normalisation and first layer.

        With x = c_Z p, weight g and bias b of the normalisation and W' = W g: W LN(x) = (W' x - mean(x) W' 1) /
        deviation(x) + W b. Applying W' first avoids storing the normalised features (R, D).
        """
        roots = self.power_spectrum.multiplicity.to(spectrum.dtype).sqrt()
        centre = roots.new_ones(1, 1, 1, len(roots)) if self.centre is None else self.centre
        if self.norm_weight is None:
            return rows.linear(spectrum, _mean_over_orders(self.first * (centre * roots)))
        values = rows.linear(spectrum, _mean_over_orders(self.first * (centre * roots * self.norm_weight)))
        norm = self._normalisation(self.norm_weight, centre, roots)
        mean = rows.linear(spectrum, norm.mean)
        variance = rows.linear(spectrum.square(), norm.square) - mean.square()
        scaled = (values - mean * rows.select(norm.sums)) * torch.rsqrt(variance.clamp_min(0.0) + NORM_EPSILON)
        return scaled + rows.select(norm.biases)

    def _normalisation(self, weight: Tensor, centre: Tensor, roots: Tensor) -> Normalisation:
        """Return the terms of the normalisation, summed over both orders of each pair of channels.

        ``sums`` and ``biases`` come from one matrix product, so that the large weight matrix is read once.
        """
        multiplicity = roots.square()
        total = multiplicity.sum()
        both = torch.cat([weight, self.norm_bias], dim=2) * multiplicity
        sums, biases = _mean_over_orders(self.first @ both.transpose(2, 3)).unbind(2)
        return Normalisation(
            mean=_mean_over_orders(centre * roots) / total,
            square=_mean_over_orders(centre.square()) / total,
            sums=sums,
            biases=biases,
        )


def _mean_over_orders(values: Tensor) -> Tensor:
    return values[0] if len(values) == 1 else values.mean(dim=0)
