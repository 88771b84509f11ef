"""Computation of neighbour graphs and reference results: one `CachedGraph` per configuration."""

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
    """Computes cached graphs; the LAMMPS instance of the reference potential is reused for all configurations.

    Args:
        elements: chemical symbols, in the order of the LAMMPS atom types.
        cutoff: of the graph, Å.
        reference: section [REFERENCE].
        folder: base folder of relative potential file names, normally that of the input file.
    """

    def __init__(self, elements: Sequence[str], cutoff: float, reference: Reference, folder: str | Path = ".") -> None:
        self._elements = tuple(elements)
        self._cutoff = cutoff
        self._reference = ReferencePotential(reference, self._elements, Path(folder))

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the LAMMPS instance of the reference potential; the next configuration opens a new one."""
        self._reference.close()

    def compute(self, configuration: Configuration) -> CachedGraph:
        """Return neighbour graph and reference results of one configuration.

        Raises:
            DataError: an element is not in ``elements``, or the cell is invalid; the message names the configuration.
            LammpsError: LAMMPS reported an error, or its results are not finite; the message names the configuration.
        """
        configuration.element_indices(self._elements)
        neighbours = find_neighbours(configuration, self._cutoff)
        energy, forces, stress = self._reference.compute(configuration, to_lammps(configuration))
        if not (np.isfinite(forces).all() and np.isfinite(energy)):
            raise LammpsError(
                f"{configuration.id}: energy or forces of the reference potential are not finite. "
                "Check the structure for atoms that are too close."
            )
        reverse = reverse_edges(neighbours)
        return CachedGraph(neighbours.i, neighbours.j, reverse, neighbours.vectors, energy, forces, stress)

    def compute_all(self, configurations: Iterable[Configuration]) -> Iterator[CachedGraph]:
        """Yield the cached graph of each configuration, in order.

        Raises:
            DataError, LammpsError: see `compute`.
        """
        return map(self.compute, configurations)
