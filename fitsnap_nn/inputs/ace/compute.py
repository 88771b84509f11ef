"""Computation of ACE descriptors, derivatives and reference results: one `CachedDescriptors` per configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import Derivatives
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.inputs.batch import atom_fields
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.inputs.snap.environments import environments_within, gradients_wrt_positions, gradients_wrt_strain
from fitsnap_nn.lammps.cell import to_lammps
from fitsnap_nn.lammps.reference import ReferencePotential
from fitsnap_nn.settings.schema import Reference

if TYPE_CHECKING:
    from fitsnap_nn.inputs.ace.input import AceInput


class AceCompute(AbstractContextManager["AceCompute"]):
    """Computes cached descriptors; the LAMMPS instance of the reference potential is reused for all configurations.

    Args:
        model_input: the descriptors.
        reference: section [REFERENCE].
        derivatives: derivatives of the energy that are needed.
        folder: base folder of relative potential file names, normally that of the input file.
    """

    def __init__(
        self, model_input: AceInput, reference: Reference, derivatives: Derivatives, folder: str | Path = "."
    ) -> None:
        self._input = model_input
        self._derivatives = derivatives
        self._descriptors = model_input.descriptors(separate=True)
        count = len(model_input.elements)
        self._cutoffs = np.array(model_input.ace.of_bonds("rcutfac")).reshape(count, count)
        self._reference = ReferencePotential(reference, model_input.elements, Path(folder))

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the LAMMPS instance of the reference potential; the next configuration opens a new one."""
        self._reference.close()

    def compute(self, configuration: Configuration) -> CachedDescriptors:
        """Return descriptors, derivatives and reference results of one configuration.

        Raises:
            DataError: an element is not in the list, or the cell is invalid; the message names the configuration.
            LammpsError: LAMMPS reported an error, or its results are not finite; the message names the configuration.
        """
        environments = environments_within([configuration], self._input.elements, self._cutoffs)
        fields = atom_fields(configuration, self._input.elements)
        edges = {name: torch.from_numpy(getattr(environments, name).astype(np.int64)) for name in ("i", "j")}
        vectors = torch.from_numpy(np.ascontiguousarray(environments.vectors))
        graph = Graph(**fields, edge_i=edges["i"], edge_j=edges["j"], reverse_edge_index=edges["i"], vectors=vectors)
        derivatives = self._derivatives
        if derivatives.positions or derivatives.strain:
            values, slopes = (one.numpy() for one in self._descriptors.with_derivatives(graph))
        else:
            with torch.no_grad():
                values = self._descriptors(graph).numpy()
            slopes = np.zeros((len(vectors), 3, values.shape[1]))
        energy, forces, stress = self._reference.compute(configuration, to_lammps(configuration))
        if not (np.isfinite(values).all() and np.isfinite(forces).all() and np.isfinite(energy)):
            raise LammpsError(
                f"{configuration.id}: descriptors, or energy or forces of the reference potential, are not finite. "
                "Check the structure for atoms that coincide or are too close for the reference potential."
            )
        pair_i = pair_j = np.zeros(0, dtype=np.int32)
        gradients, strain = np.zeros((0, 3, values.shape[1])), np.zeros((0, 6, values.shape[1]))
        if derivatives.positions:
            pair_i, pair_j, gradients = gradients_wrt_positions(environments, slopes)
        if derivatives.strain:
            strain = gradients_wrt_strain(environments, slopes)
            if not all(configuration.pbc):  # it has no stress, but its atoms have their rows in batches
                strain = np.zeros_like(strain)
        return CachedDescriptors(
            np.ascontiguousarray(values), pair_i, pair_j, gradients, strain, energy, forces, stress
        )

    def compute_all(self, configurations: Iterable[Configuration]) -> Iterator[CachedDescriptors]:
        """Yield the cached descriptors of each configuration, in order.

        Raises:
            DataError, LammpsError: see `compute`.
        """
        return map(self.compute, configurations)
