"""Sections of the architectures on neighbour graphs; hyperparameters keep the names of the original codes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, ClassVar

from fitsnap_nn.settings.options import option

CUTOFF = "neighbour cutoff radius"
CUTOFF_WIDTH = "width of the smooth cutoff, which switches neighbours off towards the cutoff radius"
LONG_RANGE = "add interactions beyond the cutoff: features from the potentials of learned charges of all atoms"
USE_EWALD = "1: Ewald sum; 0: P3M on a mesh, for thousands of atoms (needs torch-pme); in training and in use alike"
SMEARING = "standard deviation of the Gaussian charges"
KSPACE_RESOLUTION = "shortest wavelength of the Ewald sum; upper limit of twice the mesh spacing of P3M"
INTERPOLATION_NODES = "mesh points per direction to which P3M distributes a charge"
LONG_RANGE_KEYS = ("use_ewald", "smearing", "kspace_resolution", "interpolation_nodes")
# The weight exp(-(2 pi smearing / kspace_resolution)^2 / 2) of the first wave vector that is left out is below 4e-4.
MAX_RESOLUTION = 1.58  # in units of smearing
ZBL = "add the ZBL nuclear repulsion, up to the sum of the covalent radii"


def _texts(**values: str) -> Mapping[str, str]:
    return MappingProxyType(values)


@dataclass(frozen=True)
class Architecture:
    """Base class of the sections of architectures, those of other packages included.

    Attributes:
        training_defaults: values of the keys of [PYTORCH] that an input for this architecture does not set, as text.
            Keys that are not listed have FitSNAP's defaults.
        recommended: keys of the section that the command ``new`` writes, as text.
        cutoff_key: key of the section with the neighbour cutoff; ``new`` derives its value from the data.
        num_neighbours: minimum number of neighbours per atom within the cutoff that ``new`` writes. 22 are more
            than two shells and at most three in bcc, fcc and diamond, whose first four shells contain 8, 14, 26 and
            50, 12, 18, 42 and 54, and 4, 16, 28 and 34 atoms.
        kalman_elements: maximum number of elements for which ``new`` writes the Kalman filter as optimiser; the number
            of weights, and with it the cost of a step, grows with them.
        num_steps: steps of Adam to which ``new`` reduces the number of epochs for large data sets.
        isolated_energies: whether ``new`` takes element energies from isolated atoms; then the model has to learn the
            binding energy, which is large against the differences between configurations.
    """

    training_defaults: ClassVar[Mapping[str, str]] = _texts()
    recommended: ClassVar[Mapping[str, str]] = _texts()
    cutoff_key: ClassVar[str] = ""
    num_neighbours: ClassVar[int] = 22
    kalman_elements: ClassVar[int] = 0
    num_steps: ClassVar[int] = 10_000
    isolated_energies: ClassVar[bool] = True

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield keys whose values are inconsistent with those of other keys, each with the reason."""
        yield from ()

    def hyperparameters(self) -> dict[str, Any]:
        """Return the keyword arguments of the model besides the elements."""
        return asdict(self)

    @property
    def pretrained(self) -> tuple[str, str]:
        """File of a pretrained model to start from, and the head in it; both empty without one."""
        return "", ""


@dataclass(frozen=True)
class SoapBpnn(Architecture):
    """SOAP-BPNN: one neural network per element on the SOAP power spectrum."""

    training_defaults: ClassVar[Mapping[str, str]] = _texts(
        learning_rate="1e-3", num_epochs="200", batch_size="4", scheduler="cosine", warmup_fraction="0.05",
        ema_decay="0.995",
    )  # fmt: skip
    recommended: ClassVar[Mapping[str, str]] = _texts(cutoff_radius="5.0", max_angular="6", max_radial="7")
    cutoff_key: ClassVar[str] = "cutoff_radius"
    kalman_elements: ClassVar[int] = 1
    # Acetylacetone, 400 configurations: RMSE of 50 others 0.25 meV/atom and 24 meV/Å after 20 000 steps of 4.
    num_steps: ClassVar[int] = 20_000
    # Without a bias in its layers it learns a large binding energy slowly. Acetylacetone, 80 epochs: 1.4 meV/atom and
    # 83 meV/Å with energies of isolated atoms, 0.3 and 21 by least squares.
    isolated_energies: ClassVar[bool] = False

    max_angular: int = option(6, "l_max: maximum angular momentum of the expansion", minimum=0, maximum=30)
    max_radial: int = option(
        7, "n_max: n_max + 1 radial functions for l = 0, fewer for larger l", minimum=0, maximum=30
    )
    cutoff_radius: float = option(5.0, CUTOFF, unit="Å", minimum=0.1, maximum=100)
    cutoff_width: float = option(0.5, CUTOFF_WIDTH, unit="Å", minimum=0.01, maximum=100)
    legacy: bool = option(
        True,
        "1: one network and one density channel per element; "
        "0: one network for all elements and four learned density channels",
    )
    num_hidden_layers: int = option(2, "hidden layers (0 = linear model)", minimum=0, maximum=100)
    num_neurons_per_layer: int = option(32, "nodes per hidden layer", minimum=1, maximum=4096)
    layernorm: bool = option(True, "layer normalisation of the features of each atom")
    heads: str = option("linear", "output head: linear layer, or one more hidden layer", choices=("linear", "mlp"))
    zbl: bool = option(False, ZBL)
    long_range: bool = option(False, LONG_RANGE)
    use_ewald: bool = option(True, USE_EWALD)
    smearing: float = option(1.4, SMEARING, unit="Å", minimum=0.1, maximum=100)
    kspace_resolution: float = option(1.33, KSPACE_RESOLUTION, unit="Å", minimum=0.05, maximum=100)
    interpolation_nodes: int = option(5, INTERPOLATION_NODES, minimum=3, maximum=5)

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.cutoff_width > self.cutoff_radius:
            yield "cutoff_width", f"{self.cutoff_width:g} Å exceeds cutoff_radius = {self.cutoff_radius:g} Å"
        if self.long_range:
            yield from _long_range_problems(self)
            if not self.num_hidden_layers:
                yield "long_range", "needs num_hidden_layers above 0: charges are functions of the last hidden layer"


@dataclass(frozen=True)
class Nanopet(Architecture):
    """NanoPET: transformer on the neighbours of each atom; rotational invariance is learned by data augmentation."""

    training_defaults: ClassVar[Mapping[str, str]] = _texts(
        learning_rate="3e-4", num_epochs="300", batch_size="16", scheduler="cosine", warmup_fraction="0.05",
        ema_decay="0.99", gradient_clip="1.0",
    )  # fmt: skip
    recommended: ClassVar[Mapping[str, str]] = _texts(cutoff="4.2", cutoff_width="1.0", d_pet="64", num_gnn_layers="1")
    cutoff_key: ClassVar[str] = "cutoff"
    # Attention among many neighbours learns slowly: about two shells, see docs/nanopet.md.
    num_neighbours: ClassVar[int] = 13

    cutoff: float = option(5.0, CUTOFF, unit="Å", minimum=0.1, maximum=100)
    cutoff_width: float = option(0.5, CUTOFF_WIDTH, unit="Å", minimum=0.01, maximum=100)
    d_pet: int = option(128, "width of the network, a multiple of num_heads", minimum=1, maximum=4096)
    num_heads: int = option(4, "attention heads per attention layer", minimum=1, maximum=4096)
    num_attention_layers: int = option(2, "attention layers per transformer", minimum=1, maximum=100)
    num_gnn_layers: int = option(
        2,
        "transformers; all but the first follow a message-passing step and extend the receptive field by one cutoff "
        "(1 = no message passing, fastest)",
        minimum=1,
        maximum=100,
    )
    heads: str = option("mlp", "output head: two hidden layers, or linear layer", choices=("mlp", "linear"))
    zbl: bool = option(False, ZBL)
    long_range: bool = option(False, LONG_RANGE)
    use_ewald: bool = option(True, USE_EWALD)
    smearing: float = option(1.4, SMEARING, unit="Å", minimum=0.1, maximum=100)
    kspace_resolution: float = option(1.33, KSPACE_RESOLUTION, unit="Å", minimum=0.05, maximum=100)
    interpolation_nodes: int = option(5, INTERPOLATION_NODES, minimum=3, maximum=5)

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.d_pet % self.num_heads:
            yield "d_pet", f"{self.d_pet} is not a multiple of num_heads = {self.num_heads}"
        if self.long_range:
            yield from _long_range_problems(self)


def _long_range_problems(section: SoapBpnn | Nanopet) -> Iterator[tuple[str, str]]:
    """Yield what makes the long-range interactions of a section impossible."""
    if section.kspace_resolution > (limit := MAX_RESOLUTION * section.smearing):
        too_coarse = f"{section.kspace_resolution:g} Å is too coarse for smearing = {section.smearing:g} Å"
        yield "kspace_resolution", f"{too_coarse}: at most {limit:.3g} Å"
    if not section.use_ewald and find_spec("torchpme") is None:
        yield "use_ewald", "P3M needs torch-pme (pip install 'fitsnap_nn[long_range]'); the Ewald sum, 1, does not"


BLOCKS = (
    "RealAgnosticResidualInteractionBlock",
    "RealAgnosticInteractionBlock",
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
    "RealAgnosticAttResidualInteractionBlock",
    "RealAgnosticResidualNonLinearInteractionBlock",
)
IRREPS = re.compile(r"\d+x\d+[eo](\s*\+\s*\d+x\d+[eo])*")
MAX_IRREPS_DIGITS = 3  # 999 channels
IRREPS_FORMAT = "irreps in e3nn notation, such as 32x0e + 32x1o"


@dataclass(frozen=True)
class Mace(Architecture):
    """MACE: equivariant message passing with many-body messages, built from the blocks of mace-torch."""

    training_defaults: ClassVar[Mapping[str, str]] = _texts(
        learning_rate="5e-3", num_epochs="200", batch_size="8", scheduler="cosine", warmup_fraction="0.05",
        ema_decay="0.99", gradient_clip="10.0",
    )  # fmt: skip
    recommended: ClassVar[Mapping[str, str]] = _texts(r_max="5.0", hidden_irreps="32x0e + 32x1o", correlation="3")
    cutoff_key: ClassVar[str] = "r_max"

    mace_model: str = option(
        "",
        "pretrained model file of mace-torch to start from; it determines all keys below. "
        "Loading it runs code stored in the file: use trusted files only",
    )
    mace_head_name: str = option("", "head of mace_model to use if it has several")
    mace_head_target: str = option("energy", "target of the pretrained head", no_effect="energy is the only target")
    r_max: float = option(5.0, CUTOFF, unit="Å", minimum=0.1, maximum=100)
    num_radial_basis: int = option(8, "number of radial basis functions", minimum=1, maximum=1000)
    radial_type: str = option("bessel", "type of the radial basis", choices=("bessel", "gaussian", "chebyshev"))
    num_cutoff_basis: int = option(5, "power p of the polynomial cutoff function", minimum=2, maximum=100)
    max_ell: int = option(3, "l_max: maximum degree of the spherical harmonics of the edges", minimum=1, maximum=11)
    interaction: str = option(BLOCKS[0], "interaction block of all layers but the first", choices=BLOCKS)
    num_interactions: int = option(
        2, "message-passing layers; each extends the receptive field by one cutoff", minimum=1, maximum=100
    )
    hidden_irreps: str = option(
        "128x0e + 128x1o + 128x2e", f"node features: {IRREPS_FORMAT}, with the same multiplicity for all"
    )
    edge_irreps: str = option("", "irreps of the node features used in messages; those of hidden_irreps when empty")
    apply_cutoff: bool = option(
        True, "1: apply the cutoff function to the radial basis; 0: to the output of the radial network"
    )
    avg_num_neighbors: float | None = option(
        None, "normalisation of sums over neighbours; None: mean number of neighbours in the training set", minimum=0
    )
    pair_repulsion: bool = option(False, ZBL)
    distance_transform: str = option(
        "None", "transform of the distances before the radial basis", choices=("None", "Agnesi", "Soft")
    )
    correlation: int = option(3, "correlation order; messages have body order correlation + 1", minimum=1, maximum=6)
    gate: str = option("silu", "activation of the last readout", choices=("silu", "tanh", "abs", "None"))
    interaction_first: str = option(
        BLOCKS[0],
        f"interaction block of the first layer; with {BLOCKS[1]} an isolated atom has exactly its element energy",
        choices=BLOCKS,
    )
    MLP_irreps: str = option("16x0e", "irreps of the hidden layer of the last readout, scalars only")
    radial_MLP: tuple[int, ...] = option(
        (64, 64, 64), "nodes of each hidden layer of the radial networks", minimum=1, maximum=4096
    )
    use_embedding_readout: bool = option(
        False,
        "read energies out of embeddings",
        no_effect="it applies to embedded charges and spins of configurations, which are not supported",
    )
    use_last_readout_only: bool = option(False, "energy from the readout of the last layer only")
    use_agnostic_product: bool = option(False, "share the weights of the product basis among all elements")

    def problems(self) -> Iterator[tuple[str, str]]:
        for key in ("hidden_irreps", "edge_irreps", "MLP_irreps"):
            if (irreps := getattr(self, key)) and not IRREPS.fullmatch(irreps):
                yield key, f"'{irreps}' is not a list of {IRREPS_FORMAT}"
        hidden = [part.strip().split("x") for part in self.hidden_irreps.split("+")]
        if hidden[0][-1] != "0e" or len({channels for channels, *_ in hidden}) > 1:
            yield "hidden_irreps", f"'{self.hidden_irreps}' must start with scalars (0e), all with one multiplicity"
        numbers = re.findall(r"\d+", f"{self.hidden_irreps} {self.edge_irreps} {self.MLP_irreps}")
        if any(len(digits.lstrip("0")) > MAX_IRREPS_DIGITS for digits in numbers):
            yield "hidden_irreps", f"multiplicities and degrees of irreps can have {MAX_IRREPS_DIGITS} digits"
        if any(not part.strip().endswith("x0e") for part in self.MLP_irreps.split("+")):
            yield "MLP_irreps", f"'{self.MLP_irreps}' must be scalars, such as 16x0e"
        if self.radial_type == "chebyshev" and self.distance_transform != "Agnesi":
            yield "radial_type", "chebyshev needs distances scaled to 0 … 1, that is distance_transform = Agnesi"
        if self.use_last_readout_only and self.num_interactions == 1:
            yield "use_last_readout_only", "has no effect with num_interactions = 1, which has one readout"

    @property
    def pretrained(self) -> tuple[str, str]:
        return self.mace_model, self.mace_head_name

    def hyperparameters(self) -> dict[str, Any]:
        """Return the keyword arguments of a model that is not read from ``mace_model``."""
        others = {"mace_model", "mace_head_name", "mace_head_target", "use_embedding_readout"}
        return {key: value for key, value in asdict(self).items() if key not in others}


ENTRY_POINT_GROUP = "fitsnap_nn.architectures"
BUILT_IN: Mapping[str, type[Architecture]] = MappingProxyType({"SOAP_BPNN": SoapBpnn, "NANOPET": Nanopet, "MACE": Mace})


class ArchitectureError(Exception):
    """The section of another package cannot be loaded; the message names entry point, package and cause."""


@cache
def _entry_points() -> Mapping[str, EntryPoint]:
    """Return the architectures that other packages add, by name; none of them is imported."""
    return MappingProxyType(
        {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP) if point.name not in BUILT_IN}
    )


@cache
def architecture_names() -> tuple[str, ...]:
    """Return the names of all sections of architectures, which are also values of [PYTORCH] model.

    Names of other packages come from their metadata: nothing is imported.
    """
    return (*BUILT_IN, *_entry_points())


@cache
def load_architecture(name: str) -> type[Architecture]:
    """Return the section of an architecture; a section of another package is imported now.

    Raises:
        ArchitectureError: the package cannot be imported, or the object is not a subclass of `Architecture`.
        KeyError: no architecture has this name.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    point = _entry_points()[name]
    package = f" of package {point.dist.name} {point.dist.version}" if point.dist else ""
    origin = f"{name} cannot be loaded: entry point {point.value}{package}"
    try:
        section = point.load()
    except Exception as error:  # the import runs code of the other package, which can raise anything
        raise ArchitectureError(f"{origin} raises {type(error).__name__}: {error}") from error
    if not (isinstance(section, type) and issubclass(section, Architecture) and is_dataclass(section)):
        raise ArchitectureError(
            f"{origin} is not a dataclass derived from fitsnap_nn.settings.architectures.Architecture"
        )
    return section
