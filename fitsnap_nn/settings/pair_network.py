"""Section CUSTOM: FitSNAP's pair network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from fitsnap_nn.settings.architecture import CUTOFF, CUTOFF_WIDTH, Architecture, texts
from fitsnap_nn.settings.layers import ACTIVATIONS, layers_problem, size_problem
from fitsnap_nn.settings.options import option

SWITCH = 3.5  # Å, where FitSNAP's cutoff function starts to fall


@dataclass(frozen=True)
class Custom(Architecture):
    """FitSNAP's pair network: one network for the energy of each pair of neighbours, on Bessel functions and angles.

    FitSNAP's inputs have calculator = LAMMPSCUSTOM, solver = NETWORK and a section [NETWORK], which is read as
    [PYTORCH] with model = CUSTOM. The keys of the network are in [CUSTOM]; [NETWORK] and [PYTORCH] may have them too.
    """

    recommended: ClassVar[Mapping[str, str]] = texts(
        num_radial="8", num_3body="23", cutoff="5.0", cutoff_width="1.5", layer_sizes="num_desc 32 32 1"
    )
    several_elements: ClassVar[Mapping[str, str]] = texts(multi_element_option="3")
    cutoff_key: ClassVar[str] = "cutoff"
    kalman_elements: ClassVar[int] = 118  # one network for all

    num_radial: int = option(4, "number of Bessel functions of the distance", minimum=1, maximum=1000)
    num_3body: int = option(
        11,
        "number of Gaussians of the cosine of the angle to each other neighbour",
        minimum=0,
        maximum=1000,
    )
    cutoff: float = option(5.0, CUTOFF, unit="Å", minimum=0.1, maximum=100)
    cutoff_width: float | None = option(
        None, f"{CUTOFF_WIDTH}; None: it starts at {SWITCH:g} Å, as in FitSNAP", unit="Å", minimum=0.01, maximum=100
    )
    layer_sizes: tuple[str, ...] = option(
        ("num_desc", "512", "512", "1"), "nodes per layer; num_desc is num_radial + num_3body"
    )
    activation: str = option("softplus", "activation of the hidden layers", choices=ACTIVATIONS)
    multi_element_option: int = option(
        1,
        "1: one network for all pairs; 2: one network per element of the central atom; 3: one network with the "
        "elements of both atoms as one-hot inputs",
        minimum=1,
        maximum=3,
    )
    type: tuple[str, ...] = option((), "chemical symbols; another name of [CALCULATOR] elements")
    num_types: int = option(0, "number of elements", key="numTypes", no_effect="it follows from the list of elements")
    num_atoms: int = option(1, "number of atoms", key="numAtoms", no_effect="each configuration states its own")
    num_descriptors: int = option(0, "descriptors per pair", no_effect="it is num_radial + num_3body")

    def problems(self) -> Iterator[tuple[str, str]]:
        count = self.num_radial + self.num_3body
        if problem := layers_problem(self.layer_sizes, "energy per pair"):
            yield "layer_sizes", f"{problem}. Use, for instance, num_desc 32 32 1"
        elif self.layer_sizes[0] not in ("num_desc", str(count)):
            yield "layer_sizes", f"the first number is the number of inputs, which is {count} here; use num_desc"
        elif problem := size_problem([count, *map(int, self.layer_sizes[1:])]):
            yield "layer_sizes", problem
        if self.cutoff_width is None and self.cutoff <= SWITCH:
            what = f"{self.cutoff:g} Å is too short for FitSNAP's cutoff function, which starts to fall at {SWITCH:g} Å"
            yield "cutoff", f"{what}: the energy would jump at the cutoff. Set cutoff_width too, for instance to 1"
        if self.cutoff_width and self.cutoff_width > self.cutoff:
            yield "cutoff_width", f"{self.cutoff_width:g} Å exceeds cutoff = {self.cutoff:g} Å"

    def hyperparameters(self) -> dict[str, Any]:
        others = {"type", "num_types", "num_atoms", "num_descriptors"}
        return {key: value for key, value in asdict(self).items() if key not in others}
