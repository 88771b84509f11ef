"""NanoPET: a transformer over the neighbours of each atom that acts directly on the Cartesian edge vectors.

The point-edge transformer of S. N. Pozdnyakov and M. Ceriotti, "Smooth, exact rotational symmetrization for deep
learning on point clouds", NeurIPS 36 (2023), in the reduced variant of metatrain. The network is not rotationally
invariant by construction; it learns the invariance from randomly rotated configurations (``training/augmentation.py``).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fitsnap_nn.data.properties import ENERGY
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.padded import PaddedGraph
from fitsnap_nn.models.elements import PerElement, along
from fitsnap_nn.models.long_range import LongRangeModel
from fitsnap_nn.models.pairs import cosine_cutoff
from fitsnap_nn.models.tables import neighbour_tables
from fitsnap_nn.models.targets import Blocks, Targets
from fitsnap_nn.models.zbl import Zbl

EXPANSION = 4  # width of the hidden layers in units of d_pet
SQRT_HALF = math.sqrt(0.5)  # keeps the variance of a sum of two independent terms
ATTENTION_SCALE = 1.0 / (1.0 + 1e-6)  # metatrain divides attention weights by (their sum, 1) + 1e-6
MIN_FACTOR = 1e-15  # negligible next to 1; keeps ln f and its derivative finite at the cutoff, where f = 0
PADDING_BIAS = -1e9  # added to the logits of padding; its exponential is 0 in float32 and float64


class Nanopet(LongRangeModel):
    """e_i = head(sum_j f(r_ij) h_ij), with a feature h_ij for each edge (i, j).

    Initial features encode r_ij and the two elements. Each message-passing layer combines the features of an edge with
    those of its reverse edge, then applies a transformer to the edges of each atom.

    Args:
        elements: chemical symbols, in the order of LAMMPS' atom types.
        cutoff: cutoff radius of the graph, Å.
        cutoff_width: width of the region below the cutoff in which f falls from 1 to 0, Å.
        d_pet: number of features per edge.
        num_heads: attention heads; must divide ``d_pet``.
        num_attention_layers: attention layers per transformer.
        num_gnn_layers: number of transformers; message passing precedes all but the first.
        heads: ``mlp`` for two hidden layers in the readout, or ``linear``.
        zbl: add the ZBL repulsion.
        long_range: add the `LongRange` features to those of the atoms; the keys after it are its arguments.
        targets: descriptions of targets, see `describe_targets`. Their blocks are predicted directly, like the energy.

    Raises:
        ValueError: ``num_heads`` does not divide ``d_pet``.
    """

    needs_augmentation = True

    def __init__(
        self,
        elements: Sequence[str],
        *,
        cutoff: float = 5.0,
        cutoff_width: float = 0.5,
        d_pet: int = 128,
        num_heads: int = 4,
        num_attention_layers: int = 2,
        num_gnn_layers: int = 2,
        heads: str = "mlp",
        zbl: bool = False,
        long_range: bool = False,
        use_ewald: bool = True,
        smearing: float = 1.4,
        kspace_resolution: float = 1.33,
        interpolation_nodes: int = 5,
        targets: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(tuple(elements))
        if d_pet % num_heads:
            raise ValueError(f"num_heads = {num_heads} does not divide d_pet = {d_pet}.")
        self.cutoff = cutoff
        self.num_message_passing = num_gnn_layers - 1
        self._hyperparameters: dict[str, Any] = {
            "cutoff": cutoff,
            "cutoff_width": cutoff_width,
            "d_pet": d_pet,
            "num_heads": num_heads,
            "num_attention_layers": num_attention_layers,
            "num_gnn_layers": num_gnn_layers,
            "heads": heads,
            "zbl": zbl,
        }
        if long_range:  # otherwise the description is that of earlier versions
            self._hyperparameters |= {
                "long_range": True,
                "use_ewald": use_ewald,
                "smearing": smearing,
                "kspace_resolution": kspace_resolution,
                "interpolation_nodes": interpolation_nodes,
            }
        hidden = EXPANSION * d_pet
        self.vector_encoder = nn.Sequential(
            _linear(3, hidden), nn.SiLU(), _linear(hidden, hidden), nn.SiLU(), _linear(hidden, d_pet)
        )
        self.centre_encoder = nn.Embedding(len(self.elements), d_pet)
        self.neighbour_encoder = nn.Embedding(len(self.elements), d_pet)
        self.compressor = _linear(3 * d_pet, d_pet)
        self.transformers = nn.ModuleList(
            _Transformer(_TransformerLayer(d_pet, num_heads) for _ in range(num_attention_layers))
            for _ in range(num_gnn_layers)
        )
        self.contractions = nn.ModuleList(_linear(2 * d_pet, d_pet) for _ in range(num_gnn_layers - 1))
        self.head = _head(d_pet, heads)
        self.last_layer = _linear(d_pet, 1)
        self.zbl = Zbl(self.elements, cutoff) if zbl else None
        self._create_long_range(self._hyperparameters, d_pet)
        if targets:
            self.targets = Targets(targets, len(self.elements))
            self.target_heads = nn.ModuleDict(
                {
                    name: nn.Sequential(_head(d_pet, spec.head or heads), _linear(d_pet, spec.tensor.components))
                    for name, spec in self.targets.specs.items()
                }
            )

    def description(self) -> dict[str, Any]:
        named = {"architecture": "NANOPET", "elements": list(self.elements), **self._hyperparameters}
        return named | self.described_targets()

    def per_element(self) -> Mapping[str, PerElement]:
        state = self.state_dict()
        names = ("element_energies", "centre_encoder.weight", "neighbour_encoder.weight")
        layouts = {name: along(state[name]) for name in names}
        return layouts | self.layouts_of_targets() | self._long_range_per_element()

    def forward(self, graph: Graph) -> Tensor:
        return self.outputs(graph, ())[0]

    def outputs(self, graph: Graph, names: Collection[str]) -> tuple[Tensor, Blocks]:
        features = self._features_with_long_range(graph)
        outputs: Tensor = self.last_layer(self.head(features))
        blocks = {}
        for name in names:
            sizes = [block.size for block in self.specs[name].blocks]
            blocks[name] = torch.split(self.target_heads[name](features), sizes, dim=1)
        return nn.functional.pad(outputs.squeeze(1), (0, len(graph.species) - graph.owned)), blocks

    def atom_features(self, batch: Graph, of: str = "") -> Tensor:
        features = self._features_with_long_range(batch)
        found: Tensor = features
        if of == ENERGY.name:
            found = self.head(features)
        elif of:
            found = next(self.target_heads[of].children())(features)
        return found

    def last_layer_parameters(self) -> Sequence[Tensor]:
        return list(self.last_layer.parameters())

    def _features_with_long_range(self, graph: Graph) -> Tensor:
        features = self.features(graph)
        if self.long_range is not None:
            features = SQRT_HALF * (features + self.long_range(graph, features))
        return features

    def prior_energies(self, graph: Graph) -> Tensor:
        return super().prior_energies(graph) if self.zbl is None else self.zbl.energies(graph)

    def features(self, graph: Graph) -> Tensor:
        """Return the features of each atom, the cutoff-weighted sums over its edges.

        Args:
            graph: N atoms, of which the first ``graph.owned`` have edges.

        Returns:
            (graph.owned, d_pet); 0 for atoms without neighbours.
        """
        factors = cosine_cutoff(
            torch.linalg.vector_norm(graph.vectors, dim=1), self.cutoff, self._hyperparameters["cutoff_width"]
        )
        attention = _Attention(graph, factors)
        edges: Tensor = self.transformers[0](self._encode(graph), attention)
        for contraction, transformer in zip(self.contractions, self.transformers[1:], strict=True):
            # The reverse edge of a neighbour that is a ghost belongs to another rank; the graph then communicates.
            messages = contraction(torch.cat([edges, graph.gather_reverse_edges(edges)], dim=1))
            edges = SQRT_HALF * (edges + transformer(messages, attention))
        return attention.tables.sum_by_centre(edges * factors[:, None])

    def _encode(self, graph: Graph) -> Tensor:
        """Return the initial features (E, d_pet).

        The compressor acts linearly on three concatenated encodings. Its two element terms are evaluated once per pair
        of elements instead of once per edge.
        """
        vector_weight, centre_weight, neighbour_weight = self.compressor.weight.chunk(3, dim=1)
        centres, neighbours = (
            self.centre_encoder.weight @ centre_weight.t(),
            self.neighbour_encoder.weight @ neighbour_weight.t(),
        )
        encoded: Tensor = self.vector_encoder(graph.vectors)
        vectors = encoded @ vector_weight.t()
        if isinstance(graph, PaddedGraph):
            # Products with masks: the derivative of an embedding would sum over all edges in no fixed order.
            one_hot = graph.one_hot(len(self.elements), vectors.dtype)
            masks = torch.cat([one_hot.index_select(0, atoms) for atoms in (graph.edge_i, graph.edge_j)], dim=1)
            return torch.addmm(vectors, masks, torch.cat([centres, neighbours]))
        pair_table = (centres[:, None] + neighbours).flatten(0, 1)
        pairs = graph.species[graph.edge_i] * len(self.elements) + graph.species[graph.edge_j]
        return nn.functional.embedding(pairs, pair_table) + vectors


class _Attention:
    """Attention among the edges of each atom of a graph.

    Args:
        graph: its edges are sorted by centre.
        factors: (E,) cutoff function f of each edge.
    """

    def __init__(self, graph: Graph, factors: Tensor) -> None:
        self.tables = neighbour_tables(graph)
        # ln f of each edge, added to the attention logits: (atoms, 1, 1, neighbours) for each table.
        logarithms = self.tables.split(factors.clamp_min(MIN_FACTOR).log())
        self._biases = [
            torch.where(mask, logarithm, PADDING_BIAS)[:, None, None]
            for mask, logarithm in zip(self.tables.masks, logarithms, strict=True)
        ]

    def attend(self, edges: Tensor, heads: int) -> Tensor:
        """Return multi-head attention among the edges of each atom.

        Args:
            edges: (E, 3 d) queries, keys and values.
            heads: number of heads.

        Returns:
            (E, d).
        """
        blocks = zip(self.tables.split(edges), self._biases, strict=True)
        return self.tables.join([_attend(block, bias, heads) for block, bias in blocks])


def _attend(table: Tensor, bias: Tensor, heads: int) -> Tensor:
    """Return multi-head attention among the entries of each row.

    Args:
        table: (atoms, neighbours, 3 d) queries, keys and values.
        bias: (atoms, 1, 1, neighbours) added to the logits.
        heads: number of heads.

    Returns:
        (atoms, neighbours, d).
    """
    width = table.shape[2] // (3 * heads)
    query, key, value = table.view(*table.shape[:2], 3, heads, width).permute(2, 0, 3, 1, 4)
    logits = query @ key.transpose(2, 3) / math.sqrt(width)
    # softmax(q.k / sqrt(d) + ln f) is proportional to f exp(q.k / sqrt(d)): continuous at the cutoff.
    weighted: Tensor = torch.softmax(logits + bias, dim=3) @ value
    return weighted.transpose(1, 2).flatten(2)


class _Transformer(nn.ModuleList):
    """Attention layers, applied in sequence."""

    def forward(self, edges: Tensor, attention: _Attention) -> Tensor:
        for layer in self:
            edges = layer(edges, attention)
        return edges


class _TransformerLayer(nn.Module):
    """Attention among the edges of each atom, followed by a feed-forward network for each edge.

    Attention weights are proportional to f exp(q.k / sqrt(d)) with the cutoff function f, so that the energy is
    continuous when a neighbour crosses the cutoff.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_projection = nn.Sequential(nn.LayerNorm(width), _linear(width, 3 * width))
        self.out_projection = _linear(width, width)
        hidden = EXPANSION * width
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), _linear(width, hidden), nn.GELU(), _linear(hidden, width)
        )

    def forward(self, edges: Tensor, attention: _Attention) -> Tensor:
        attended: Tensor = self.out_projection(attention.attend(self.in_projection(edges), self.heads))
        edges = SQRT_HALF * torch.add(edges, attended, alpha=ATTENTION_SCALE)
        transformed: Tensor = self.feed_forward(edges)
        return SQRT_HALF * (edges + transformed)


def _head(width: int, kind: str) -> nn.Module:
    """Return what precedes the last layer of the energy or a target: two hidden layers for ``mlp``, or nothing."""
    if kind != "mlp":
        return nn.Identity()
    hidden = EXPANSION * width
    return nn.Sequential(_linear(width, hidden), nn.SiLU(), _linear(hidden, width), nn.SiLU())


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)
