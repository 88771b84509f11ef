"""Neighbour graphs of configurations, and the reference potential: one `CachedGraph` each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.neighbours import find_neighbours, reverse_edges
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.inputs.graph.cached import CachedGraph
from fitsnap_nn.lammps.cell import to_lammps
from fitsnap_nn.lammps.reference import ReferencePotential
from fitsnap_nn.settings.schema import Reference


class GraphCompute(AbstractContextManager["GraphCompute"]):
    """Turns configurations into records; keeps its LAMMPS, for the reference potential, from one to the next.

    Args:
        elements: chemical symbols, in the order of LAMMPS' atom types.
        cutoff: of the graph, Å.
        folder: where relative names of potential files start, the input file's.
    """

    def __init__(self, elements: Sequence[str], cutoff: float, reference: Reference, folder: str | Path = ".") -> None:
        self._elements = tuple(elements)
        self._cutoff = cutoff
        self._reference = ReferencePotential(reference, self._elements, Path(folder))

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the LAMMPS of the reference potential; the next configuration would start a new one."""
        self._reference.close()

    def compute(self, configuration: Configuration) -> CachedGraph:
        """Neighbours and reference of one configuration.

        Raises:
            DataError: an element that is not among ours, or a cell that cannot be.
            LammpsError: LAMMPS refused, or its numbers are not finite; names the configuration.
        """
        configuration.element_indices(self._elements)
        neighbours = find_neighbours(configuration, self._cutoff)
        energy, forces, stress = self._reference.compute(configuration, to_lammps(configuration))
        if not (np.isfinite(forces).all() and np.isfinite(energy)):
            raise LammpsError(f"{configuration.id}: the reference energies are not finite. Are two atoms too close?")
        reverse = reverse_edges(neighbours)
        return CachedGraph(neighbours.i, neighbours.j, reverse, neighbours.vectors, energy, forces, stress)

    def compute_all(self, configurations: Iterable[Configuration]) -> Iterator[CachedGraph]:
        """The records of configurations, in their order.

        Raises:
            DataError, LammpsError: as `compute` does.
        """
        return map(self.compute, configurations)
