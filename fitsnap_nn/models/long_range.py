"""Interactions beyond the cutoff: potentials of learned charges, as features of each atom.

As metatrain's long-range module, but for three additions. Each atom has as many charges as features: a linear function
of the features, plus a charge of its element. Their potentials V_i, in units of charge per cutoff, and the products
q_i V_i are mapped to features. A charge q_j of Gaussian shape with the standard deviation sigma (`smearing`) has the
potential q_j erf(r / (sqrt(2) sigma)) / r; pairs within the cutoff, which the short-range part of the model describes,
are smoothly excluded.

The additions (charges of elements, products, unit) let a fit leave the state in which the energy does not depend on the
potentials. Without them it depends on the product of two quantities that both vanish where the short-range part treats
all elements alike, and potentials in charge per Å differ little between atoms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fitsnap_nn.errors import DataError
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.placed import PlacedGraph
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.elements import PerElement, along
from fitsnap_nn.models.periodic_box import PeriodicBox, periodic_box, slab_correction, wave_numbers
from fitsnap_nn.settings.architectures import LONG_RANGE_KEYS

MAX_PHASES = 100_000_000  # wave vectors times atoms; each takes about 50 bytes in float64, more in training


class LongRange(nn.Module):
    """Features of each atom from the potentials of charges on all atoms, periodic images included.

    Args:
        elements: number of elements.
        width: number of features, charges and potentials of an atom.
        cutoff: radius within which pairs are excluded, Å.
        use_ewald: Ewald sum; otherwise particle-particle particle-mesh Ewald (P3M) of torch-pme.
        smearing: standard deviation sigma of the charges, Å.
        kspace_resolution: shortest wavelength of the Ewald sum, and upper limit of twice the spacing of the mesh, Å.
        interpolation_nodes: points of the mesh per direction to which P3M distributes a charge.

    Raises:
        ImportError: P3M without torch-pme.
    """

    def __init__(
        self,
        elements: int,
        width: int,
        cutoff: float,
        *,
        use_ewald: bool,
        smearing: float,
        kspace_resolution: float,
        interpolation_nodes: int,
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.use_ewald = use_ewald
        self.smearing = smearing
        self.resolution = kspace_resolution
        self.nodes = interpolation_nodes
        self.charges = nn.Linear(width, width, bias=False)
        self.element_charges = nn.Parameter(torch.randn(elements, width))
        self.projection = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        if not use_ewald:
            _require_p3m()

    @property
    def summary(self) -> str:
        """Phrase for the log that names the method."""
        options = f"kspace_resolution {self.resolution:g} Å, smearing {self.smearing:g} Å"
        if self.use_ewald:
            return f"with an Ewald sum ({options})"
        return f"with P3M ({options}, interpolation_nodes {self.nodes})"

    def forward(self, graph: Graph, features: Tensor) -> Tensor:
        """Return the long-range features (N, width) from the features (N, width) of the atoms."""
        elements = graph.one_hot(len(self.element_charges), features.dtype)
        charges = torch.addmm(self.charges(features), elements, self.element_charges)
        potentials = 2.0 * self.cutoff * self.potentials(graph, charges)
        found: Tensor = self.projection(torch.cat([potentials, charges * potentials], dim=1))
        return found

    def potentials(self, graph: Graph, charges: Tensor) -> Tensor:
        """Return half the potentials at the atoms, as torch-pme does: an energy is their product with the charges.

        Args:
            graph: N atoms, a `PlacedGraph`.
            charges: (N, channels), arbitrary units.

        Returns:
            (N, channels) in units of charge per Å.

        Raises:
            TypeError: the graph has no positions.
            DataError: the Ewald sum of a configuration is too large.
        """
        if not isinstance(graph, PlacedGraph):
            raise TypeError(f"long-range interactions need a PlacedGraph, not a {type(graph).__name__}")
        sizes, periodic = graph.n_atoms.tolist(), graph.periodic.cpu().numpy()
        atoms = torch.split(graph.positions, sizes), torch.split(charges, sizes)
        far = [self._of_configuration(*one) for one in zip(*atoms, graph.cells, periodic, strict=True)]
        distances = torch.linalg.vector_norm(graph.vectors, dim=1)
        # 1 at r = 0, and 0 from the cutoff on.
        inside = 0.5 + 0.5 * torch.cos(distances.clamp(max=self.cutoff) * (math.pi / self.cutoff))
        near = (inside * self._smeared(distances))[:, None] * charges.index_select(0, graph.edge_j)
        return 0.5 * (torch.cat(far) - graph.sum_by_centre(near))

    def _smeared(self, distances: Tensor) -> Tensor:
        potentials: Tensor = torch.erf(distances / (math.sqrt(2.0) * self.smearing)) / distances
        return potentials

    def _of_configuration(
        self, positions: Tensor, charges: Tensor, cell: Tensor, periodic: NDArray[np.bool_]
    ) -> Tensor:
        """Return the potentials of all pairs in one configuration."""
        if not len(positions) or not periodic.any():
            return self._direct(positions, charges)
        box = periodic_box(positions, cell, periodic, self.smearing)
        potentials = (self._ewald if self.use_ewald else self._mesh)(positions, charges, box)
        return potentials if box.normal is None else potentials + slab_correction(positions, charges, box)

    def _direct(self, positions: Tensor, charges: Tensor) -> Tensor:
        """Return the potentials without periodic images, the sum over all pairs."""
        squared = (positions[:, None] - positions).square().sum(dim=2)
        itself = torch.eye(len(positions), dtype=torch.bool, device=positions.device)
        kernel = self._smeared(squared.masked_fill(itself, 1.0).sqrt()).masked_fill(itself, 0.0)
        potentials: Tensor = kernel @ charges
        return potentials

    def _ewald(self, positions: Tensor, charges: Tensor, box: PeriodicBox) -> Tensor:
        """Return the potentials as a sum over wave vectors; a neutralising background compensates a total charge.

        P. P. Ewald, Ann. Phys. 369, 253 (1921). Each pair k, -k of wave vectors occurs once, with twice the weight.
        """
        maximum = 2.0 * math.pi / self.resolution
        count = abs(np.linalg.det(box.lattice)) * maximum**3 / (12.0 * math.pi**2)  # of points in half a sphere
        if count * len(positions) > MAX_PHASES:
            raise DataError(
                f"an Ewald sum of {count:.0f} wave vectors and {len(positions)} atoms needs too much memory. Use P3M "
                "(use_ewald = 0), a coarser kspace_resolution, or smaller cells."
            )
        numbers = wave_numbers(box.lattice, maximum)
        volume = torch.linalg.det(box.vectors).abs()
        reciprocal = 2.0 * math.pi * torch.linalg.inv(box.vectors).T
        vectors = torch.from_numpy(numbers).to(positions) @ reciprocal
        squared = vectors.square().sum(dim=1)
        weights = (8.0 * math.pi / volume) * torch.exp(-0.5 * self.smearing**2 * squared) / squared
        phases = vectors @ positions.T
        itself = math.sqrt(2.0 / math.pi) / self.smearing  # potential of a charge at its own place
        found: Tensor = -itself * charges - 2.0 * math.pi * self.smearing**2 / volume * charges.sum(dim=0)
        for wave in (torch.cos(phases), torch.sin(phases)):
            found = found + wave.T @ (weights[:, None] * (wave @ charges))
        return found

    def _mesh(self, positions: Tensor, charges: Tensor, box: PeriodicBox) -> Tensor:
        """Return the potentials by P3M."""
        from fitsnap_nn.models import p3m  # torch-pme is optional

        mesh = p3m.calculator(self.smearing, self.resolution, self.nodes, positions.dtype, positions.device)
        no_pairs = torch.zeros(0, 2, dtype=torch.int64, device=positions.device)
        potentials: Tensor = mesh(charges, box.vectors, positions, no_pairs, positions.new_zeros(0))
        return 2.0 * potentials  # torch-pme returns half of them


class LongRangeModel(GraphModel):
    """Base class of models whose key ``long_range`` adds a `LongRange` part."""

    long_range: LongRange | None

    def _create_long_range(self, hyperparameters: Mapping[str, Any], width: int) -> None:
        """Create the long-range part, or none.

        Args:
            hyperparameters: those of the model: if ``long_range`` is true, also the keyword arguments of `LongRange`.
            width: see `LongRange`.
        """
        self.long_range = None
        if hyperparameters.get("long_range"):
            keys = {name: hyperparameters[name] for name in LONG_RANGE_KEYS}
            self.long_range = LongRange(len(self.elements), width, self.cutoff, **keys)
        self.has_long_range = self.long_range is not None
        self.takes_padding = not self.has_long_range

    @property
    def layout(self) -> str:
        return "" if self.long_range is None else self.long_range.summary

    def _long_range_per_element(self) -> dict[str, PerElement]:
        """Return the part of `per_element` of the long-range part."""
        if self.long_range is None:
            return {}
        return {"long_range.element_charges": along(self.long_range.element_charges)}


def _require_p3m() -> None:
    """Import torch-pme.

    Raises:
        ImportError: torch-pme is not installed.
    """
    try:
        import_module("fitsnap_nn.models.p3m")
    except ImportError as error:
        raise ImportError(
            f"P3M (use_ewald = 0) needs torch-pme: pip install 'fitsnap_nn[long-range]' ({error}). "
            "The Ewald sum (use_ewald = 1) needs no other library."
        ) from error
