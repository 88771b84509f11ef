"""NanoPET: attention among the neighbours of each atom, which looks at the vectors to them as they are.

The point-edge transformer of S. N. Pozdnyakov and M. Ceriotti, "Smooth, exact rotational symmetrization for deep
learning on point clouds", NeurIPS 36 (2023), in the small form of metatrain. The network does not know of rotations:
it learns them from configurations turned at random (``training/augmentation.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.pairs import cosine_cutoff, sum_by
from fitsnap_nn.models.zbl import Zbl

EXPANSION = 4  # width of hidden layers, in widths of the features
SQRT_HALF = math.sqrt(0.5)  # a sum of two times this has the variance of one
SHRINK = 1.0 / (1.0 + 1e-6)  # metatrain divides the weights of attention by 1e-6 plus their sum, which is 1
SMALLEST = 1e-15  # of the cutoff factors that have a logarithm: nothing beside 1
EMPTY = -1e9  # logarithm of the factor of a slot without edge
FULLNESS = 0.7  # atoms that share a table have at least this part of the neighbours of the one with most


class Nanopet(GraphModel):
    """e_i = head(sum_j f(r_ij) h_ij), with a feature h_ij for each edge (i, j).

    Features start from r_ij and the two elements. In each layer of messages every edge hears what its reverse has,
    and a transformer lets the edges of each atom look at one another.

    Args:
        elements: chemical symbols, in the order of LAMMPS' atom types.
        cutoff: of the graph, Å.
        cutoff_width: Å over which f falls from 1 to 0 at the cutoff.
        d_pet: width of the features.
        num_heads: of the attention; a divisor of ``d_pet``.
        num_attention_layers: in each transformer.
        num_gnn_layers: transformers; each but the first is preceded by an exchange of messages.
        heads: "mlp", two more layers before the last one, or "linear".
        zbl: add the repulsion of nuclei at short distance.

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
        self.head: nn.Module = nn.Identity()
        if heads == "mlp":
            self.head = nn.Sequential(_linear(d_pet, hidden), nn.SiLU(), _linear(hidden, d_pet), nn.SiLU())
        self.last_layer = _linear(d_pet, 1)
        self.zbl = Zbl(self.elements, cutoff) if zbl else None

    def description(self) -> dict[str, Any]:
        return {"architecture": "NANOPET", "elements": list(self.elements), **self._hyperparameters}

    def forward(self, graph: Graph) -> Tensor:
        outputs: Tensor = self.last_layer(self.head(self.features(graph)))
        return nn.functional.pad(outputs.squeeze(1), (0, len(graph.species) - graph.owned))

    def prior_energies(self, graph: Graph) -> Tensor:
        return super().prior_energies(graph) if self.zbl is None else self.zbl.energies(graph)

    def features(self, graph: Graph) -> Tensor:
        """(own atoms, d_pet) sums over the edges of each atom; zero for an atom without."""
        factors = cosine_cutoff(
            torch.linalg.vector_norm(graph.vectors, dim=1), self.cutoff, self._hyperparameters["cutoff_width"]
        )
        tables = _Tables(graph, factors)
        edges: Tensor = self.transformers[0](self._encode(graph), tables)
        for contraction, transformer in zip(self.contractions, self.transformers[1:], strict=True):
            messages = contraction(torch.cat([edges, graph.gather_reverse_edges(edges)], dim=1))
            edges = SQRT_HALF * (edges + transformer(messages, tables))
        return sum_by(graph.edge_i, edges * factors[:, None], graph.owned)

    def _encode(self, graph: Graph) -> Tensor:
        """(E, d_pet) from vectors and elements; what is said of elements is worked out once for each pair of them."""
        of_vector, of_centre, of_neighbour = self.compressor.weight.chunk(3, dim=1)
        centres, neighbours = (
            self.centre_encoder.weight @ of_centre.t(),
            self.neighbour_encoder.weight @ of_neighbour.t(),
        )
        of_pair = (centres[:, None] + neighbours).flatten(0, 1)
        pairs = graph.species[graph.edge_i] * len(self.elements) + graph.species[graph.edge_j]
        encoded: Tensor = self.vector_encoder(graph.vectors)
        return nn.functional.embedding(pairs, of_pair) + encoded @ of_vector.t()


class _Tables:
    """Tables with a row for each atom and a slot for each of its edges, since attention is by matrices of one shape.

    Atoms with about as many neighbours share a table: among many with 20 neighbours, a few with 100 cost no more
    than they need. All tables are kept one after another as T slots; one that is left over shows some edge again, with
    a factor of zero.
    """

    def __init__(self, graph: Graph, factors: Tensor) -> None:
        counts = torch.bincount(graph.edge_i, minlength=len(graph.species))
        firsts = counts.cumsum(0) - counts
        logarithms = factors.clamp_min(SMALLEST).log()
        self.shapes: list[tuple[int, int]] = []
        self.biases: list[Tensor] = []
        self.places = torch.empty_like(graph.edge_i)  # (E,) the slot of each edge
        slots = [graph.edge_i[:0]]
        for fewest, most in _ranges(torch.unique(counts).tolist()):
            atoms = torch.where((counts >= fewest) & (counts <= most))[0]
            column = torch.arange(most, device=atoms.device)
            filled = column < counts[atoms, None]
            edges = firsts[atoms, None] + torch.minimum(column, counts[atoms, None] - 1)
            start = sum(map(len, slots))
            self.places[edges[filled]] = start + torch.where(filled.flatten())[0]
            slots.append(edges.flatten())
            self.shapes.append((len(atoms), most))
            self.biases.append(torch.where(filled, logarithms[edges], EMPTY)[:, None, None])
        self.slots = torch.cat(slots)  # (T,) the edge of each slot

    def attend(self, edges: Tensor, heads: int) -> Tensor:
        """(E, d) from queries, keys and values (E, 3 d): each edge looks at all edges of its atom."""
        found = [edges[:0, : edges.shape[1] // 3]]
        sizes = [rows * columns for rows, columns in self.shapes]
        blocks = torch.split(edges.index_select(0, self.slots), sizes)
        for block, shape, bias in zip(blocks, self.shapes, self.biases, strict=True):
            query, key, value = block.view(*shape, 3, heads, -1).permute(2, 0, 3, 1, 4)
            logits = query @ key.transpose(2, 3) / math.sqrt(key.shape[3])
            weighted = torch.softmax(logits + bias, dim=3) @ value
            found.append(weighted.transpose(1, 2).flatten(2).flatten(0, 1))
        return torch.cat(found).index_select(0, self.places)


def _ranges(counts: list[int]) -> list[tuple[int, int]]:
    """Ranges, from the fewest to the most edges, of the atoms that share a table; counts are different and rising."""
    ranges: list[tuple[int, int]] = []
    for count in reversed(counts):
        if count and ranges and count >= FULLNESS * ranges[-1][1]:
            ranges[-1] = count, ranges[-1][1]
        elif count:
            ranges.append((count, count))
    return ranges


class _Transformer(nn.ModuleList):
    """Layers one after another."""

    def forward(self, edges: Tensor, tables: _Tables) -> Tensor:
        for layer in self:
            edges = layer(edges, tables)
        return edges


class _TransformerLayer(nn.Module):
    """Attention among the edges of each atom, then a network for each edge by itself.

    The weights of attention are proportional to f exp(q.k / sqrt(d)), so that an edge comes in at the cutoff without
    being noticed.
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

    def forward(self, edges: Tensor, tables: _Tables) -> Tensor:
        found: Tensor = self.out_projection(tables.attend(self.in_projection(edges), self.heads))
        edges = SQRT_HALF * torch.add(edges, found, alpha=SHRINK)
        by_itself: Tensor = self.feed_forward(edges)
        return SQRT_HALF * (edges + by_itself)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)
