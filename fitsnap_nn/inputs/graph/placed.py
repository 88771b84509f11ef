"""Graphs that also hold positions and cells, for models with interactions beyond the cutoff."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.voigt import COLUMNS, ROWS
from fitsnap_nn.errors import DataError
from fitsnap_nn.inputs.graph.batch import Graph

if TYPE_CHECKING:
    from typing_extensions import Self

WIRE = (
    "long_range = 1 needs three periodic directions, two (a slab) or none (a molecule), not one. Make the other two "
    "directions periodic, with vacuum around the atoms"
)


@dataclass(frozen=True)
class PlacedGraph(Graph):
    """Graph with the positions of all atoms and the cells, on which energies depend besides the edge vectors.

    Edge vectors, positions and cells are differentiated as if they were independent; forces and strain derivatives add
    the three contributions.

    Attributes:
        positions: (N, 3) Å.
        cells: (C, 3, 3) Å, lattice vectors as rows; those of non-periodic directions have no meaning.
        periodic: (C, 3) bool, whether each direction is periodic.
    """

    positions: Tensor
    cells: Tensor
    periodic: Tensor

    differentiated: ClassVar[tuple[str, ...]] = (*Graph.differentiated, "positions", "cells")

    def forces(self, gradients: Tensor) -> Tensor:
        of_edges, of_positions, _ = self._parts(gradients)
        return super().forces(of_edges) - of_positions

    def virials(self, gradients: Tensor) -> Tensor:
        of_edges, of_positions, of_cells = self._parts(gradients)
        products = self.sum_by_configuration(self.positions[:, :, None] * of_positions[:, None, :])
        products = products + self.cells.transpose(1, 2) @ of_cells.view(-1, 3, 3)
        symmetric = 0.5 * (products + products.transpose(1, 2))
        components = [symmetric[:, row, column] for row, column in zip(ROWS, COLUMNS, strict=True)]
        return super().virials(of_edges) + torch.stack(components, dim=1)

    def _parts(self, gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        edges, atoms, rows = torch.split(gradients, [self.n_edges, len(self.species), 3 * len(self.n_atoms)])
        return edges, atoms, rows

    def padded(self) -> Graph:
        raise NotImplementedError("a graph with positions is not padded: the numbers of wave vectors differ")

    def rotated(self, matrices: Tensor) -> Self:
        turned = super().rotated(matrices)
        matrices = matrices.to(self.positions)
        positions = torch.bmm(matrices.index_select(0, self.config), self.positions.unsqueeze(2)).squeeze(2)
        return replace(turned, positions=positions, cells=self.cells @ matrices.transpose(1, 2))


def place_fields(configuration: Configuration) -> dict[str, Tensor]:
    """Return the fields of `PlacedGraph` besides those of `Graph`, for one configuration.

    Raises:
        DataError: one direction only is periodic.
    """
    refuse_wires([configuration])
    positions = near_origin(configuration.positions, configuration.cell, configuration.pbc)
    return {
        "positions": torch.from_numpy(positions),
        "cells": torch.from_numpy(configuration.cell[None].copy()),
        "periodic": torch.tensor([configuration.pbc]),
    }


def refuse_wires(configurations: Iterable[Configuration]) -> None:
    """Refuse configurations of which one direction only is periodic.

    Raises:
        DataError: there is one; the message names the first.
    """
    for one in configurations:
        if sum(one.pbc) == 1:
            raise DataError(f"{one.id}: {WIRE}, or remove the configuration.")


def near_origin(positions: Floats, cell: Floats, periodic: ArrayLike) -> Floats:
    """Return positions shifted and wrapped such that they are small, since float32 has seven digits.

    The mesh of P3M is fixed in space and in the lattice. Therefore shifts are lattice vectors, and across the periodic
    directions a number of Å without fraction: they do not follow the atoms.

    Args:
        positions: (N, 3) Å.
        cell: (3, 3) Å, lattice vectors as rows.
        periodic: (3,) whether each direction is periodic.
    """
    lattice = cell[np.array(periodic)]
    fractions, across = np.zeros((len(positions), 0)), positions
    if len(lattice):  # for a slab, least squares give the part of a position within its plane
        fractions = np.linalg.lstsq(lattice.T, positions.T, rcond=None)[0].T
        across = positions - fractions @ lattice
    wrapped: Floats = positions - np.round(fractions) @ lattice
    mean = across.mean(axis=0) if len(positions) else np.zeros(3)
    length = float(np.linalg.norm(mean))
    if round(length) and not np.all(periodic):
        wrapped = wrapped - mean * (round(length) / length)
    return wrapped
