"""Interactions beyond the cutoff: potentials of learned charges, as features of each atom.

As in metatrain's long-range module. Each atom has one charge per feature, a linear function of its features, and the
potentials of all charges are mapped to features. A charge q_j of Gaussian shape with the standard deviation sigma
(`smearing`) has the potential q_j erf(r / (sqrt(2) sigma)) / r; pairs within the cutoff, which the short-range part of
the model describes, are smoothly excluded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fitsnap_nn.data.configuration import Floats
from fitsnap_nn.errors import DataError
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.placed import PlacedGraph

MAX_PHASES = 100_000_000  # wave vectors times atoms; each takes about 50 bytes in float64, more in training
# Accuracy of a slab: the potentials of its periodic images decay as exp(-k d) with the smallest wave number k in its
# plane and the width d of the vacuum. A third of it is the vacuum at which Gaussians no longer overlap, in sigma.
SLAB_DECAY = 18.0
STEPS_PER_DOUBLING = 4  # the height of the cell of a slab grows in steps, so that it does not follow the atoms


class Box(NamedTuple):
    """Periodic cell that represents a configuration.

    Attributes:
        vectors: (3, 3) lattice vectors as rows, Å, differentiable with respect to the cell.
        normal: (3,) unit vector normal to a slab; ``None`` with three periodic directions.
        height: length of the cell along the normal, Å.
    """

    vectors: Tensor
    normal: Tensor | None
    height: float


class LongRange(nn.Module):
    """Features of each atom from the potentials of charges on all atoms, periodic images included.

    Args:
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
        self.charges = nn.Linear(width, width)
        self.projection = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        if not use_ewald:
            _require_p3m()

    def forward(self, graph: Graph, features: Tensor) -> Tensor:
        """Return the long-range features (N, width) from the features (N, width) of the atoms."""
        found: Tensor = self.projection(self.potentials(graph, self.charges(features)))
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
        sizes = graph.n_atoms.tolist()
        cells, periodic = graph.cells.detach().double().cpu().numpy(), graph.periodic.cpu().numpy()
        far = [
            self._of_configuration(*atoms, graph.cells[number], cells[number], periodic[number])
            for number, atoms in enumerate(
                zip(torch.split(graph.positions, sizes), torch.split(charges, sizes), strict=True)
            )
        ]
        distances = torch.linalg.vector_norm(graph.vectors, dim=1)
        inside = 0.5 + 0.5 * torch.cos(distances * (math.pi / self.cutoff))  # 1 at r = 0, and 0 at the cutoff
        near = (inside * self._smeared(distances))[:, None] * charges.index_select(0, graph.edge_j)
        return 0.5 * (torch.cat(far) - graph.sum_by_centre(near))

    def _smeared(self, distances: Tensor) -> Tensor:
        potentials: Tensor = torch.erf(distances / (math.sqrt(2.0) * self.smearing)) / distances
        return potentials

    def _of_configuration(
        self, positions: Tensor, charges: Tensor, cell: Tensor, lattice: Floats, periodic: NDArray[np.bool_]
    ) -> Tensor:
        """Return the potentials of all pairs in one configuration, whose cell is also given as array."""
        if not len(positions) or not periodic.any():
            return self._direct(positions, charges)
        box, lattice = self._box(positions, cell, lattice, periodic)
        if self.use_ewald:
            potentials = self._ewald(positions, charges, box, lattice)
        else:
            potentials = self._mesh(positions, charges, box)
        return potentials if box.normal is None else potentials + _slab_correction(positions, charges, box)

    def _direct(self, positions: Tensor, charges: Tensor) -> Tensor:
        """Return the potentials without periodic images, the sum over all pairs."""
        squared = (positions[:, None] - positions).square().sum(dim=2)
        itself = torch.eye(len(positions), dtype=torch.bool, device=positions.device)
        kernel = self._smeared(squared.masked_fill(itself, 1.0).sqrt()).masked_fill(itself, 0.0)
        potentials: Tensor = kernel @ charges
        return potentials

    def _ewald(self, positions: Tensor, charges: Tensor, box: Box, lattice: Floats) -> Tensor:
        """Return the potentials as a sum over wave vectors; a neutralising background compensates a total charge.

        P. P. Ewald, Ann. Phys. 369, 253 (1921). Each pair k, -k of wave vectors occurs once, with twice the weight.
        """
        maximum = 2.0 * math.pi / self.resolution
        count = abs(np.linalg.det(lattice)) * maximum**3 / (12.0 * math.pi**2)  # of points in half a sphere
        if count * len(positions) > MAX_PHASES:
            raise DataError(
                f"an Ewald sum of {count:.0f} wave vectors and {len(positions)} atoms needs too much memory. Use P3M "
                "(use_ewald = 0), a coarser kspace_resolution, or smaller cells."
            )
        numbers = wave_numbers(lattice, maximum)
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

    def _mesh(self, positions: Tensor, charges: Tensor, box: Box) -> Tensor:
        """Return the potentials by P3M."""
        from fitsnap_nn.models import p3m  # torch-pme is optional

        mesh = p3m.calculator(self.smearing, self.resolution, self.nodes, positions.dtype, positions.device)
        no_pairs = torch.zeros(0, 2, dtype=torch.int64, device=positions.device)
        potentials: Tensor = mesh(charges, box.vectors, positions, no_pairs, positions.new_zeros(0))
        return 2.0 * potentials  # torch-pme returns half of them

    def _box(self, positions: Tensor, cell: Tensor, lattice: Floats, periodic: NDArray[np.bool_]) -> tuple[Box, Floats]:
        """Return the periodic cell of a configuration, differentiable and as array; that of a slab has vacuum."""
        if periodic.all():
            return Box(cell, None, 0.0), lattice
        (axis,) = np.flatnonzero(~periodic)
        first, second = lattice[periodic]
        normal = np.cross(first, second)
        normal /= np.linalg.norm(normal)
        along = positions.detach().double().cpu().numpy() @ normal
        vacuum = max(SLAB_DECAY / _smallest_wave_number(first, second), SLAB_DECAY / 3.0 * self.smearing)
        height = float(np.ptp(along)) + vacuum
        height = 2.0 ** (math.ceil(STEPS_PER_DOUBLING * math.log2(height)) / STEPS_PER_DOUBLING)
        lattice = lattice.copy()
        lattice[axis] = height * normal
        rows = list(cell.unbind(0))
        rows[axis] = torch.from_numpy(lattice[axis]).to(cell)
        return Box(torch.stack(rows), torch.from_numpy(normal).to(cell), height), lattice


def long_range_of(hyperparameters: Mapping[str, Any], width: int, cutoff: float) -> LongRange | None:
    """Return the long-range part of a model, or ``None`` without one.

    Args:
        hyperparameters: those of the model: if ``long_range`` is true, also the keyword arguments of `LongRange`.
        width, cutoff: see `LongRange`.
    """
    if not hyperparameters.get("long_range"):
        return None
    names = ("use_ewald", "smearing", "kspace_resolution", "interpolation_nodes")
    return LongRange(width, cutoff, **{name: hyperparameters[name] for name in names})


def wave_numbers(lattice: Floats, maximum: float) -> Floats:
    """Return integer coefficients (K, 3) of the wave vectors up to a length, one of each pair k, -k, without 0.

    Args:
        lattice: (3, 3) lattice vectors as rows, Å.
        maximum: 1/Å.
    """
    # k . a = 2 pi n, so that |n| is at most |k| |a| / (2 pi).
    limits = np.floor(maximum * np.linalg.norm(lattice, axis=1) / (2.0 * np.pi)).astype(int)
    first, second, third = (np.arange(-limit, limit + 1.0) for limit in limits)
    numbers = np.stack(np.meshgrid(first, second, third, indexing="ij"), axis=-1).reshape(-1, 3)
    numbers = numbers[len(numbers) // 2 + 1 :]  # in this order, the first half are the negatives of the second
    vectors = 2.0 * np.pi * numbers @ np.linalg.inv(lattice).T
    selected: Floats = numbers[np.einsum("kx,kx->k", vectors, vectors) <= maximum**2]
    return selected


def _smallest_wave_number(first: Floats, second: Floats) -> float:
    """Return the length of the shortest wave vector of a plane lattice, 1/Å."""
    # By reduction of the lattice: the shortest wave vector is 2 pi over the distance of its rows.
    if first @ first > second @ second:
        first, second = second, first
    while (steps := np.round(first @ second / (first @ first))) != 0.0:
        second = second - steps * first
        if first @ first > second @ second:
            first, second = second, first
    area = math.sqrt((first @ first) * (second @ second) - (first @ second) ** 2)
    return float(2.0 * math.pi * math.sqrt(first @ first) / area)


def _slab_correction(positions: Tensor, charges: Tensor, box: Box) -> Tensor:
    """Return the potentials that turn those of a stack of slabs into those of one slab.

    I.-C. Yeh and M. L. Berkowitz, J. Chem. Phys. 111, 3155 (1999); with a total charge, V. Ballenegger, A. Arnold and
    J. J. Cerdà, J. Chem. Phys. 131, 094107 (2009).
    """
    assert box.normal is not None
    height = (positions @ box.normal)[:, None]
    total, dipole = charges.sum(dim=0), (charges * height).sum(dim=0)
    second = (charges * height.square()).sum(dim=0)
    volume = torch.linalg.det(box.vectors).abs()
    terms = height * dipole - 0.5 * (second + total * height.square()) - total * (box.height**2 / 12.0)
    found: Tensor = 4.0 * math.pi / volume * terms
    return found


def _require_p3m() -> None:
    """Import torch-pme.

    Raises:
        ImportError: torch-pme is not installed.
    """
    try:
        import_module("fitsnap_nn.models.p3m")
    except ImportError as error:
        raise ImportError(
            f"P3M (use_ewald = 0) needs torch-pme: pip install 'fitsnap_nn[long_range]' ({error}). "
            "The Ewald sum (use_ewald = 1) needs no other library."
        ) from error
