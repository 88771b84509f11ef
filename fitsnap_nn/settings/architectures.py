"""Sections of the architectures on neighbour graphs; hyperparameters keep the names of the original codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from types import MappingProxyType
from typing import ClassVar

from fitsnap_nn.settings.architecture import CUTOFF, CUTOFF_WIDTH, ZBL, texts
from fitsnap_nn.settings.architecture import Architecture as Architecture
from fitsnap_nn.settings.mace import Mace as Mace
from fitsnap_nn.settings.options import option
from fitsnap_nn.settings.pair_network import Custom as Custom
from fitsnap_nn.settings.rows import PropertyRow

LONG_RANGE = "add interactions beyond the cutoff: features from the potentials of learned charges of all atoms"
USE_EWALD = "1: Ewald sum; 0: P3M on a mesh, for thousands of atoms (needs torch-pme); in training, evaluation and MD"
SMEARING = "standard deviation of the Gaussian charges"
KSPACE_RESOLUTION = "shortest wavelength of the Ewald sum; upper limit of twice the mesh spacing of P3M"
INTERPOLATION_NODES = "mesh points per direction to which P3M distributes a charge"
LONG_RANGE_KEYS = ("use_ewald", "smearing", "kspace_resolution", "interpolation_nodes")
# The weight exp(-(2 pi smearing / kspace_resolution)^2 / 2) of the first wave vector that is left out is below 4e-4.
MAX_RESOLUTION = 1.58  # in units of smearing


@dataclass(frozen=True)
class SoapBpnn(Architecture):
    """SOAP-BPNN: one neural network per element on the SOAP power spectrum."""

    training_defaults: ClassVar[Mapping[str, str]] = texts(
        learning_rate="1e-3", num_epochs="200", batch_size="4", scheduler="cosine", warmup_fraction="0.05",
        ema_decay="0.995",
    )  # fmt: skip
    recommended: ClassVar[Mapping[str, str]] = texts(cutoff_radius="5.0", max_angular="6", max_radial="7")
    cutoff_key: ClassVar[str] = "cutoff_radius"
    kalman_elements: ClassVar[int] = 1
    # Acetylacetone, 400 configurations: RMSE of 50 others 0.25 meV/atom and 24 meV/Å after 20 000 steps of 4.
    num_steps: ClassVar[int] = 20_000
    # Without a bias in its layers it learns a large binding energy slowly. Acetylacetone, 80 epochs: 1.4 meV/atom and
    # 83 meV/Å with energies of isolated atoms, 0.3 and 21 by least squares.
    isolated_energies: ClassVar[bool] = False

    takes_targets: ClassVar[bool] = True

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
    add_lambda_basis: bool = option(
        True,
        "tensors of [TARGETS] with λ > 1: add the expansion coefficients of degree λ to the basis tensors, which are "
        "otherwise products of vectors",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.cutoff_width > self.cutoff_radius:
            yield "cutoff_width", f"{self.cutoff_width:g} Å exceeds cutoff_radius = {self.cutoff_radius:g} Å"
        if self.long_range:
            yield from _long_range_problems(self)
            if not self.num_hidden_layers:
                yield "long_range", "needs num_hidden_layers above 0: charges are functions of the last hidden layer"

    def target_problem(self, row: PropertyRow) -> tuple[str, str] | None:
        if self.num_hidden_layers == 0:
            return "needs the hidden layers of the network", "Set [SOAP_BPNN] num_hidden_layers to 1 or more."
        if not row.is_invariant and self.max_angular == 0:
            what = "its basis tensors are made of expansion coefficients of degree 1, but max_angular is 0"
            return what, "Set [SOAP_BPNN] max_angular to 1 or more."
        degree = max(degree for degree, _ in row.blocks)
        if self.add_lambda_basis and degree > max(1, self.max_angular):
            what = f"its basis has expansion coefficients of degree {degree}, but max_angular is {self.max_angular}"
            return what, f"Set [SOAP_BPNN] max_angular to {degree} or more, or add_lambda_basis = 0."
        return None


@dataclass(frozen=True)
class Nanopet(Architecture):
    """NanoPET: transformer on the neighbours of each atom; rotational invariance is learned by data augmentation."""

    training_defaults: ClassVar[Mapping[str, str]] = texts(
        optimizer="SOAP", learning_rate="3e-3", num_epochs="300", batch_size="4", scheduler="cosine",
        warmup_fraction="0.05", ema_decay="0.99", gradient_clip="1.0",
    )  # fmt: skip
    other_learning_rate: ClassVar[str] = "3e-4"
    num_steps: ClassVar[int] = 20_000
    recommended: ClassVar[Mapping[str, str]] = texts(cutoff="4.2", cutoff_width="1.0", d_pet="64", num_gnn_layers="1")
    cutoff_key: ClassVar[str] = "cutoff"
    # Attention among many neighbours learns slowly: about two shells, see docs/nanopet.md.
    num_neighbours: ClassVar[int] = 13

    takes_targets: ClassVar[bool] = True

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
        yield "use_ewald", "P3M needs torch-pme (pip install 'fitsnap_nn[long-range]'); the Ewald sum, 1, does not"


ENTRY_POINT_GROUP = "fitsnap_nn.architectures"
BUILT_IN: Mapping[str, type[Architecture]] = MappingProxyType(
    {"SOAP_BPNN": SoapBpnn, "NANOPET": Nanopet, "MACE": Mace, "CUSTOM": Custom}
)


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
