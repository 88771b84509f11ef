"""The sections of the architectures on neighbour graphs: their hyperparameters, with the names of the originals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from fitsnap_nn.settings.options import option


@dataclass(frozen=True)
class Architecture:
    """Base of the sections; those of other packages derive from it too."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Keys whose values do not go together with those of others, and what is wrong with them."""
        yield from ()

    def hyperparameters(self) -> dict[str, Any]:
        """What the model is made from, besides the elements."""
        return asdict(self)


@dataclass(frozen=True)
class SoapBpnn(Architecture):
    """SOAP-BPNN: networks on the SOAP power spectrum of each atom's neighbours."""

    max_angular: int = option(6, "largest angular momentum of the expansion", minimum=0, maximum=30)
    max_radial: int = option(
        7, "radial functions for l = 0, less one; for larger l those that oscillate no faster", minimum=0, maximum=30
    )
    cutoff_radius: float = option(5.0, "distance up to which atoms are neighbours", unit="Å", minimum=0.1)
    cutoff_width: float = option(0.5, "distance over which neighbours fade out at the cutoff", unit="Å", minimum=0.01)
    legacy: bool = option(
        True, "a network and channels for each element; 0: one network, and learned mixtures of elements for channels"
    )
    num_hidden_layers: int = option(2, "hidden layers; 0: linear in the features", minimum=0)
    num_neurons_per_layer: int = option(32, "neurons of each hidden layer", minimum=1)
    layernorm: bool = option(True, "normalise the features of each atom")
    heads: str = option("linear", "last part of the network: one more hidden layer, or none", choices=("linear", "mlp"))
    zbl: bool = option(False, "add the ZBL repulsion of nuclei at short distance")

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.cutoff_width > self.cutoff_radius:
            yield "cutoff_width", f"{self.cutoff_width:g} is larger than cutoff_radius = {self.cutoff_radius:g}"


@dataclass(frozen=True)
class Nanopet(Architecture):
    """NanoPET: attention among the neighbours of each atom; symmetry under rotation is learned, not built in."""

    cutoff: float = option(5.0, "distance up to which atoms are neighbours", unit="Å", minimum=0.1)
    cutoff_width: float = option(0.5, "distance over which neighbours fade out at the cutoff", unit="Å", minimum=0.01)
    d_pet: int = option(128, "width of the network, a multiple of num_heads", minimum=1)
    num_heads: int = option(4, "heads of each attention layer", minimum=1)
    num_attention_layers: int = option(2, "attention layers in each layer of messages", minimum=1)
    num_gnn_layers: int = option(
        2, "layers of messages; atoms matter to an energy over as many cutoffs, and 1 is fastest", minimum=1
    )
    heads: str = option("mlp", "last part of the network: two more layers, or none", choices=("mlp", "linear"))
    zbl: bool = option(False, "add the ZBL repulsion of nuclei at short distance")

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.d_pet % self.num_heads:
            yield "d_pet", f"{self.d_pet} is not a multiple of num_heads = {self.num_heads}"


BLOCKS = (
    "RealAgnosticResidualInteractionBlock",
    "RealAgnosticInteractionBlock",
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
    "RealAgnosticAttResidualInteractionBlock",
    "RealAgnosticResidualNonLinearInteractionBlock",
)
IRREPS = re.compile(r"\d+x\d+[eo](\s*\+\s*\d+x\d+[eo])*")
FEATURES = "irreducible representations as multiplicity x degree and parity, 32x0e + 32x1o say"


@dataclass(frozen=True)
class Mace(Architecture):
    """MACE: equivariant messages of higher body order, with the blocks of the package mace-torch."""

    mace_model: str = option(
        "", "pretrained model file of mace to start from, which decides all keys below; code in the file is run"
    )
    mace_head_name: str = option("", "which head of mace_model, where it has several")
    mace_head_target: str = option("energy", "target of the pretrained head", no_effect="the energy is the only one")
    r_max: float = option(5.0, "distance up to which atoms are neighbours", unit="Å", minimum=0.1)
    num_radial_basis: int = option(8, "radial basis functions", minimum=1)
    radial_type: str = option("bessel", "radial basis functions", choices=("bessel", "gaussian", "chebyshev"))
    num_cutoff_basis: int = option(5, "power p of the polynomial that ends in zero at the cutoff", minimum=2)
    max_ell: int = option(3, "largest degree of the spherical harmonics of edges", minimum=1, maximum=11)
    interaction: str = option(BLOCKS[0], "block that passes messages, after the first layer", choices=BLOCKS)
    num_interactions: int = option(2, "layers; atoms matter to an energy over as many cutoffs", minimum=1)
    hidden_irreps: str = option("128x0e + 128x1o + 128x2e", f"features of atoms: {FEATURES}; equal multiplicities")
    edge_irreps: str = option("", "features that take part in messages; those of hidden_irreps when empty")
    apply_cutoff: bool = option(True, "the cutoff acts on the radial basis; 0: on what the network makes of it")
    avg_num_neighbors: float | None = option(
        None, "by which sums over neighbours are divided; None: their mean number in the training data", minimum=0
    )
    pair_repulsion: bool = option(False, "add the ZBL repulsion of nuclei, up to the sum of their covalent radii")
    distance_transform: str = option(
        "None", "change of distances before the radial basis", choices=("None", "Agnesi", "Soft")
    )
    correlation: int = option(3, "factors in the products of features; correlation + 1 is the body order", minimum=1)
    gate: str = option("silu", "activation of the last readout", choices=("silu", "tanh", "abs", "None"))
    interaction_first: str = option(
        BLOCKS[0],
        f"block that passes messages in the first layer; with {BLOCKS[1]} a lone atom has its element's energy exactly",
        choices=BLOCKS,
    )
    MLP_irreps: str = option("16x0e", "hidden nodes of the last readout, as scalars")
    radial_MLP: tuple[int, ...] = option(
        (64, 64, 64), "hidden nodes of the radial networks, a number a layer", minimum=1
    )
    use_embedding_readout: bool = option(
        False, "read energies out of embeddings", no_effect="only charges and spins of configurations are embedded so"
    )
    use_last_readout_only: bool = option(False, "energies from the last layer only")
    use_agnostic_product: bool = option(False, "the same weights of products for all elements")

    def problems(self) -> Iterator[tuple[str, str]]:
        for key in ("hidden_irreps", "edge_irreps", "MLP_irreps"):
            if (irreps := getattr(self, key)) and not IRREPS.fullmatch(irreps):
                yield key, f"'{irreps}' are no {FEATURES}"
        hidden = [part.strip().split("x") for part in self.hidden_irreps.split("+")]
        if hidden[0][-1] != "0e" or len({channels for channels, *_ in hidden}) > 1:
            yield "hidden_irreps", f"'{self.hidden_irreps}' must begin with scalars, 0e, all with one multiplicity"
        if any(not part.strip().endswith("x0e") for part in self.MLP_irreps.split("+")):
            yield "MLP_irreps", f"'{self.MLP_irreps}' must be scalars, as 16x0e"
        if self.radial_type == "chebyshev" and self.distance_transform != "Agnesi":
            yield "radial_type", "chebyshev takes numbers from 0 to 1, which distance_transform = Agnesi makes"
        if self.use_last_readout_only and self.num_interactions == 1:
            yield "use_last_readout_only", "leaves nothing to read out with num_interactions = 1"

    def hyperparameters(self) -> dict[str, Any]:
        """What the model is made from, where there is no ``mace_model``."""
        others = {"mace_model", "mace_head_name", "mace_head_target", "use_embedding_readout"}
        return {key: value for key, value in asdict(self).items() if key not in others}


GROUP = "fitsnap_nn.architectures"  # of entry points, by which other packages add theirs


@cache
def architectures() -> Mapping[str, type[Architecture]]:
    """The sections by their names, which are also the values of [PYTORCH] model; those of other packages included."""
    own: dict[str, type[Architecture]] = {"SOAP_BPNN": SoapBpnn, "NANOPET": Nanopet, "MACE": Mace}
    return MappingProxyType({**own, **{point.name: point.load() for point in entry_points(group=GROUP)}})
