"""MACE: messages of higher body order, equivariant under rotations and inversion.

I. Batatia, D. P. Kovács, G. N. C. Simm, C. Ortner, G. Csányi, Advances in Neural Information Processing Systems 35,
11423 (2022). The blocks and their weights are those of mace-torch; how they are put together is here, so that edge
vectors and ghosts come from our graph, and forces from our contract.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.serialization import safe_globals

from fitsnap_nn.environment import kept_environment
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.mace_kernels import Chebyshev, Convolution, Edges, SymmetricProduct, pack
from fitsnap_nn.settings.elements import atomic_number

RESIDUAL = "RealAgnosticResidualInteractionBlock"
# Their radial weights are functions of the distance alone, so that both edges of a pair have the same.
SYMMETRIC = frozenset({RESIDUAL, "RealAgnosticInteractionBlock"})


@dataclass(frozen=True)
class Hypers:
    """Hyperparameters, named as in the section MACE of an input; the last three occur only in pretrained files.

    ``avg_num_neighbors`` is ``None`` until it is known; see `MACE.fit_to_data`.
    """

    r_max: float = 5.0
    num_radial_basis: int = 8
    radial_type: str = "bessel"
    num_cutoff_basis: int = 5
    max_ell: int = 3
    interaction: str = RESIDUAL
    num_interactions: int = 2
    hidden_irreps: str = "128x0e + 128x1o + 128x2e"
    edge_irreps: str = ""
    apply_cutoff: bool = True
    avg_num_neighbors: float | None = None
    pair_repulsion: bool = False
    distance_transform: str = "None"
    correlation: int = 3
    gate: str = "silu"
    interaction_first: str = RESIDUAL
    MLP_irreps: str = "16x0e"
    radial_MLP: Sequence[int] = (64, 64, 64)
    use_last_readout_only: bool = False
    use_agnostic_product: bool = False
    use_so3: bool = False
    use_edge_irreps_first: bool = False
    readout: str = "NonLinearReadoutBlock"


class MACE(GraphModel):
    """e_i = E0(Z_i) + s (sum over layers of readouts of the layer's features).

    Args:
        elements: chemical symbols, in the order of LAMMPS' atom types.
        hypers: fields of `Hypers`.

    Attributes:
        repulsion_scale: factor on the ZBL energies of ``pair_repulsion``, which pretrained files may have.
    """

    def __init__(self, elements: Sequence[str], **hypers: Any) -> None:
        super().__init__(tuple(elements))
        self.hypers = Hypers(**hypers)
        self.cutoff = self.hypers.r_max
        self.num_message_passing = self.hypers.num_interactions - 1
        self._per_pair = {self.hypers.interaction, self.hypers.interaction_first} <= SYMMETRIC
        self.network = _network(self.elements, self.hypers)
        self.repulsion_scale: Tensor
        self.register_buffer("repulsion_scale", torch.ones((), dtype=torch.float64))

    def description(self) -> dict[str, Any]:
        hypers = asdict(self.hypers) | {"radial_MLP": list(self.hypers.radial_MLP)}
        return {"architecture": "MACE", "elements": list(self.elements), **hypers}

    def fit_to_data(self, graphs: Iterable[Graph]) -> None:
        """Take ``avg_num_neighbors``, where it was not given, from graphs: of all atoms that have neighbours."""
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
        network, own, ghosts = self.network, graph.owned, len(graph.species) - graph.owned
        one_hot = self._one_hot(graph)
        harmonics = network.spherical_harmonics(-graph.vectors)  # mace's vectors are from the neighbour to the atom
        edges, chosen = self._pack(graph)
        lengths, ends = _lengths(graph.vectors.index_select(0, chosen)), _ends(graph).index_select(1, chosen)
        radial, cutoff = network.radial_embedding(lengths, one_hot, ends, network.atomic_numbers)
        features = network.node_embedding(one_hot)
        layers = []
        for number, (interaction, product) in enumerate(zip(network.interactions, network.products, strict=True)):
            messages, skipped = interaction(
                node_attrs=one_hot if number == 0 else one_hot[:own],
                node_feats=features,
                edge_attrs=harmonics,
                edge_feats=radial,
                edge_index=edges,
                cutoff=cutoff,
                first_layer=number == 0,
                lammps_class=graph,
                lammps_natoms=(own, ghosts),
            )
            features = product(node_feats=messages, sc=skipped, node_attrs=one_hot[:own])
            layers.append(features)
        readouts = zip(layers[-len(network.readouts) :], network.readouts, strict=True)
        outputs = torch.cat([readout(features) for features, readout in readouts], dim=1).sum(dim=1)
        return functional.pad(outputs, (0, ghosts))

    def prior_energies(self, graph: Graph) -> Tensor:
        if not self.hypers.pair_repulsion:
            return super().prior_energies(graph)
        one_hot, lengths = self._one_hot(graph), _lengths(graph.vectors)
        energies: Tensor = self.network.pair_repulsion_fn(lengths, one_hot, _ends(graph), self.network.atomic_numbers)
        return self.repulsion_scale * energies.double()

    def _one_hot(self, graph: Graph) -> Tensor:
        return functional.one_hot(graph.species, len(self.elements)).to(graph.vectors.dtype)

    def _pack(self, graph: Graph) -> tuple[Edges, Tensor]:
        """The edges, and those of which radial weights are computed: one of a pair, where both have the same."""
        number = torch.arange(graph.n_edges, device=graph.edge_i.device)
        if not self._per_pair or len(graph.reverse_edge_index) < graph.n_edges:
            return pack(graph.edge_j, graph.edge_i, number, len(graph.species)), number
        first = number <= graph.reverse_edge_index
        pair = (torch.cumsum(first, 0) - 1)[torch.minimum(number, graph.reverse_edge_index)]
        return pack(graph.edge_j, graph.edge_i, pair, len(graph.species)), number[first]


def _ends(graph: Graph) -> Tensor:
    return torch.stack([graph.edge_j, graph.edge_i])


def _lengths(vectors: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return lengths


def _exchange(node_feats: Tensor, lammps_class: Graph, lammps_natoms: tuple[int, int], first_layer: bool) -> Tensor:
    """Called by mace's blocks where they need the features of neighbours; in the first layer they have them."""
    if first_layer:
        return node_feats
    padded = functional.pad(node_feats, (0, 0, 0, lammps_natoms[1]))
    return lammps_class.with_ghosts(padded)


def _network(elements: Sequence[str], hypers: Hypers) -> Any:
    """mace's own module, with our sums over neighbours in its blocks."""
    modules, o3 = libraries()
    with exact_and_unscripted():
        network = modules.MACE(**arguments(elements, hypers))
    del network.atomic_energies_fn  # ours are in the contract's buffers
    if hypers.radial_type == "chebyshev":
        network.radial_embedding.bessel_fn = Chebyshev(hypers.num_radial_basis)
    for interaction in network.interactions:
        interaction.conv_tp = Convolution(interaction.conv_tp, o3.wigner_3j)
        interaction.conv_fusion = True  # the block then leaves the sum over neighbours to it
        interaction.handle_lammps = _exchange
    for module in network.modules():
        if hasattr(module, "__codegen__"):
            module.__codegen__ = []  # of what e3nn copies and pickles as TorchScript
    for product in network.products:
        product.symmetric_contractions = SymmetricProduct(product.symmetric_contractions)
    return network


def arguments(elements: Sequence[str], hypers: Hypers) -> dict[str, Any]:
    """What mace's ``MACE`` is made from."""
    modules, o3 = libraries()
    return {
        "r_max": hypers.r_max,
        "num_bessel": hypers.num_radial_basis,
        "num_polynomial_cutoff": hypers.num_cutoff_basis,
        "max_ell": hypers.max_ell,
        "interaction_cls": modules.interaction_classes[hypers.interaction],
        "interaction_cls_first": modules.interaction_classes[hypers.interaction_first],
        "num_interactions": hypers.num_interactions,
        "num_elements": len(elements),
        "hidden_irreps": o3.Irreps(hypers.hidden_irreps),
        "MLP_irreps": o3.Irreps(hypers.MLP_irreps),
        "atomic_energies": [0.0] * len(elements),
        "avg_num_neighbors": hypers.avg_num_neighbors or 1.0,
        "atomic_numbers": [atomic_number(element) for element in elements],
        "correlation": hypers.correlation,
        "gate": modules.gate_dict[hypers.gate],
        "pair_repulsion": hypers.pair_repulsion,
        "apply_cutoff": hypers.apply_cutoff,
        "use_reduced_cg": False,  # or the shapes of weights would depend on whether cuequivariance is installed
        "use_so3": hypers.use_so3,
        "use_agnostic_product": hypers.use_agnostic_product,
        "use_last_readout_only": hypers.use_last_readout_only,
        "distance_transform": hypers.distance_transform,
        "edge_irreps": o3.Irreps(hypers.edge_irreps) if hypers.edge_irreps else None,
        "use_edge_irreps_first": hypers.use_edge_irreps_first,
        "radial_MLP": list(hypers.radial_MLP),
        "radial_type": hypers.radial_type,
        "readout_cls": modules.readout_classes[hypers.readout],
    }


def libraries() -> tuple[ModuleType, ModuleType]:
    """``mace.modules`` and ``e3nn.o3``, with the process left as it was.

    mace sets an environment variable that turns torch's safe loading off for all files; e3nn 0.4.4 loads a table
    that holds a slice, which safe loading refuses unless told; both write to the terminal.

    Raises:
        ImportError: mace-torch is not installed.
    """
    try:
        with kept_environment(), safe_globals([slice]), redirect_stdout(None), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from e3nn import o3
            from mace import modules
    except ImportError as error:
        raise ImportError(f"MACE needs mace-torch: pip install 'fitsnap_nn[mace]' ({error}).") from error
    return modules, o3


@contextmanager
def exact_and_unscripted() -> Iterator[None]:
    """Make modules with constants in float64, and without TorchScript, which is no faster here and has no future."""
    import e3nn

    dtype, options = torch.get_default_dtype(), e3nn.get_optimization_defaults()
    torch.set_default_dtype(torch.float64)
    e3nn.set_optimization_defaults(jit_script_fx=False)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        e3nn.set_optimization_defaults(**options)
