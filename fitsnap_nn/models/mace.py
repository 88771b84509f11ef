"""MACE: equivariant message passing with messages of higher body order.

I. Batatia, D. P. Kovács, G. N. C. Simm, C. Ortner, G. Csányi, Advances in Neural Information Processing Systems 35,
11423 (2022). Blocks and weights are those of mace-torch. The forward pass is implemented here, so that edge vectors and
ghosts come from `Graph` and forces from `GraphModel`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fitsnap_nn.data.properties import ENERGY
from fitsnap_nn.inputs.batch import join_batches
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.padded import PaddedGraph
from fitsnap_nn.inputs.harmonics import SphericalHarmonics
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.elements import PerElement, along
from fitsnap_nn.models.mace_edges import arrange_edges
from fitsnap_nn.models.mace_kernels import SymmetricProduct, Unsorted
from fitsnap_nn.models.mace_network import RESIDUAL, Hypers, create_network, libraries
from fitsnap_nn.models.mace_targets import TargetHead, hidden_of_readout, last_layer_of_readout, normalize
from fitsnap_nn.models.targets import Blocks, Targets, TargetSpec

# Blocks whose radial weights depend on the distance only, so that an edge and its reverse have equal weights.
SYMMETRIC = frozenset({RESIDUAL, "RealAgnosticInteractionBlock"})
NORM_CONFIGURATIONS = 200  # maximum number that the norms of heads are taken from, roughly
EMBEDDINGS = ("node_embedding.linear", "source_embedding", "target_embedding")  # layers whose inputs are the elements


class MACE(GraphModel):
    """e_i = E0(Z_i) + s sum over layers t of readout_t(h_i^t), with the features h_i^t of layer t.

    Args:
        elements: chemical symbols, in the order of LAMMPS' atom types.
        targets: descriptions of targets, see `describe_targets`. They have heads on the features of all layers.
        mace_head_target: target that the readouts predict instead of the energy, which then has a head.
        hypers: fields of `Hypers`.

    Raises:
        TargetError: the features lack a representation that a target needs.

    Attributes:
        repulsion_scale: () factor of the ZBL energies with ``pair_repulsion``; 1 except in pretrained models.
    """

    def __init__(
        self,
        elements: Sequence[str],
        *,
        targets: Sequence[Mapping[str, Any]] = (),
        mace_head_target: str = ENERGY.name,
        **hypers: Any,
    ) -> None:
        super().__init__(tuple(elements))
        self.hypers = Hypers(**hypers)
        self.cutoff = self.hypers.r_max
        self.num_message_passing = self.hypers.num_interactions - 1
        self._pairwise_weights = {self.hypers.interaction, self.hypers.interaction_first} <= SYMMETRIC
        self.network = create_network(self.elements, self.hypers)
        self.harmonics = SphericalHarmonics(self.hypers.max_ell)
        self.repulsion_scale: Tensor
        self.register_buffer("repulsion_scale", torch.ones((), dtype=torch.float64))
        self.mace_head_target = mace_head_target
        self.target_heads = nn.ModuleDict()
        if targets:
            self._create_heads(targets)

    def _create_heads(self, targets: Sequence[Mapping[str, Any]]) -> None:
        """Create the heads of all targets, the energy included, but that of the readouts."""
        self.targets = Targets(targets, len(self.elements))
        _, o3 = libraries()
        layers = [product.linear.irreps_out for product in self.network.products]
        width = o3.Irreps(self.hypers.MLP_irreps).count("0e")
        specs = {**self.specs, ENERGY.name: TargetSpec(ENERGY.name, "atom", "scalar")}
        del specs[self.mace_head_target]
        self.target_heads = nn.ModuleDict({name: TargetHead(spec, layers, width) for name, spec in specs.items()})

    def description(self) -> dict[str, Any]:
        hypers = asdict(self.hypers) | {"radial_MLP": list(self.hypers.radial_MLP)}
        own = {} if self.mace_head_target == ENERGY.name else {"mace_head_target": self.mace_head_target}
        return {"architecture": "MACE", "elements": list(self.elements), **hypers, **own, **self.described_targets()}

    def per_element(self) -> Mapping[str, PerElement]:
        """Return the layouts of embeddings, skip connections and products; elements are inputs of e3nn's layers."""
        layouts = {"element_energies": along(self.element_energies)} | self.layouts_of_targets()
        count = len(self.elements)
        for name, module in self.network.named_modules(prefix="network"):
            if name.endswith(EMBEDDINGS):
                layouts[f"{name}.weight"] = PerElement(((1, module.weight.numel() // count),), divided=True)
            elif type(module).__name__ == "FullyConnectedTensorProduct":
                shapes = [view.shape for view in module.weight_views()]
                layouts[f"{name}.weight"] = PerElement(tuple((one, out) for one, _, out in shapes), divided=True)
            elif isinstance(module, SymmetricProduct) and not self.hypers.use_agnostic_product:
                layouts |= {f"{name}.weights.{key}": along(weight) for key, weight in module.weights.named_parameters()}
        return layouts

    def state_for_elements(self, state: Mapping[str, Tensor], elements: Sequence[str]) -> dict[str, Tensor]:
        numbers = {"network.atomic_numbers": self.network.atomic_numbers}
        return super().state_for_elements(state, elements) | numbers

    def fit_to_data(self, graphs: Iterable[Graph]) -> None:
        """Set ``avg_num_neighbors``, unless given, to the average over all atoms with neighbours, and normalise heads.

        Args:
            graphs: one per training configuration.
        """
        if self.target_heads:
            graphs = list(graphs)
            self._set_avg_num_neighbors(graphs)
            step = max(1, len(graphs) // NORM_CONFIGURATIONS)
            dtype = self.network.node_embedding.linear.weight.dtype
            joined = (join_batches([graph], dtype) for graph in graphs[::step])
            heads = {name: head for name, head in self.target_heads.items() if isinstance(head, TargetHead)}
            faint = normalize(list(heads.values()), (self._features_without_gradient(graph) for graph in joined))
            assert self.targets is not None
            self.targets.faint = dict(zip(heads, faint, strict=True))
        else:
            self._set_avg_num_neighbors(graphs)

    @torch.no_grad()
    def _features_without_gradient(self, graph: Graph) -> list[Tensor]:
        return self.features(graph)

    def _set_avg_num_neighbors(self, graphs: Iterable[Graph]) -> None:
        if not self.hypers.avg_num_neighbors:
            counts = [(graph.n_edges, len(torch.unique_consecutive(graph.edge_i))) for graph in graphs]
            edges, atoms = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
            self.hypers = replace(self.hypers, avg_num_neighbors=edges / atoms if atoms else 1.0)
            for interaction in self.network.interactions:
                interaction.avg_num_neighbors = self.hypers.avg_num_neighbors

    def set_precision(self, dtype: torch.dtype) -> None:
        scale = self.repulsion_scale
        super().set_precision(dtype)
        self.repulsion_scale = scale.to(torch.float64)

    def forward(self, graph: Graph) -> Tensor:
        return self.outputs(graph, ())[0]

    def outputs(self, graph: Graph, names: Collection[str]) -> tuple[Tensor, Blocks]:
        features = self.features(graph)
        network, ghosts = self.network, len(graph.species) - graph.owned
        readouts = zip(features[-len(network.readouts) :], network.readouts, strict=True)
        outputs = torch.cat([readout(one) for one, readout in readouts], dim=1).sum(dim=1)
        own = self.mace_head_target
        blocks = {name: [outputs[:, None]] if name == own else self.target_heads[name](features) for name in names}
        if own != ENERGY.name:
            outputs = self.target_heads[ENERGY.name](features)[0].squeeze(1)
        return functional.pad(outputs, (0, ghosts)), blocks

    def features(self, graph: Graph) -> list[Tensor]:
        """Return the node features of each layer.

        Args:
            graph: N atoms, of which the first ``graph.owned`` have edges.

        Returns:
            For each layer (graph.owned, K), in the layout and with the axes of e3nn.
        """
        network, owned, ghosts = self.network, graph.owned, len(graph.species) - graph.owned
        one_hot = self._one_hot(graph)
        harmonics = self._harmonics(graph)
        edges, pairs = arrange_edges(graph, pairwise=self._pairwise_weights)
        lengths = _lengths(pairs.select(graph.vectors))
        edge_index = _edge_index(graph).index_select(1, pairs.first)
        radial, cutoff = network.radial_embedding(lengths, one_hot, edge_index, network.atomic_numbers)
        elements = Unsorted(one_hot) if isinstance(graph, PaddedGraph) else one_hot[:owned]
        features = network.node_embedding(one_hot)
        layer_features = []
        for number, (interaction, product) in enumerate(zip(network.interactions, network.products, strict=True)):
            messages, skip = interaction(
                node_attrs=one_hot if number == 0 else one_hot[:owned],
                node_feats=features,
                edge_attrs=harmonics,
                edge_feats=radial,
                edge_index=edges,
                cutoff=cutoff,
                # mace's hook for ghosts in LAMMPS; `_update_ghosts` below takes the place of its implementation.
                first_layer=number == 0,
                lammps_class=graph,
                lammps_natoms=(owned, ghosts),
            )
            features = product(node_feats=messages, sc=skip, node_attrs=elements)
            layer_features.append(features)
        return layer_features

    def atom_features(self, batch: Graph, of: str = "") -> Tensor:
        """Return the features of all layers, or those before the last layer of an output, in the axes of e3nn."""
        features = self.features(batch)
        if of in self.target_heads:
            head = self.target_heads[of]
            assert isinstance(head, TargetHead)
            return torch.cat([part.flatten(1) for part in head.last_inputs(features)], dim=1)
        if of:
            readouts = zip(features[-len(self.network.readouts) :], self.network.readouts, strict=True)
            features = [hidden_of_readout(readout, one) for one, readout in readouts]
        return torch.cat(features, dim=1)

    def last_layer_parameters(self) -> Sequence[Tensor]:
        if self.mace_head_target != ENERGY.name:
            head = self.target_heads[ENERGY.name]
            assert isinstance(head, TargetHead)
            return list(head.last.parameters())
        return [tensor for readout in self.network.readouts for tensor in last_layer_of_readout(readout).parameters()]

    def prior_energies(self, graph: Graph) -> Tensor:
        if not self.hypers.pair_repulsion:
            return super().prior_energies(graph)
        one_hot, lengths, edge_index = self._one_hot(graph), _lengths(graph.vectors), _edge_index(graph)
        numbers, energies_of = self.network.atomic_numbers, self.network.pair_repulsion_fn
        if isinstance(graph, PaddedGraph):
            # mace adds over the edges of an atom atomically. With one atom per edge, appended to the others, it has
            # nothing to add, and the order of the sum is that of the table.
            edge_index[1] = torch.arange(graph.n_edges, device=edge_index.device)
            edge_index[0] += graph.n_edges
            centres = one_hot.index_select(0, graph.edge_i)
            of_edges = energies_of(lengths, torch.cat([centres, one_hot]), edge_index, numbers)[: graph.n_edges]
            energies = graph.sum_by_centre(of_edges)
        else:
            energies = energies_of(lengths, one_hot, edge_index, numbers)
        return self.repulsion_scale * energies.double()

    def _one_hot(self, graph: Graph) -> Tensor:
        return graph.one_hot(len(self.elements), graph.vectors.dtype)

    def _harmonics(self, graph: Graph) -> Tensor:
        vectors = -graph.vectors  # mace's vectors point from the neighbour to the centre
        harmonics: Tensor
        if isinstance(graph, PaddedGraph):
            # e3nn's code is TorchScript, which is recompiled in its first calls. Its polar axis is y instead of z.
            harmonics = math.sqrt(4.0 * math.pi) * self.harmonics(vectors.roll(1, dims=1))
        else:
            harmonics = self.network.spherical_harmonics(vectors)
        return harmonics


def _edge_index(graph: Graph) -> Tensor:
    return torch.stack([graph.edge_j, graph.edge_i])


def _lengths(vectors: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return lengths
