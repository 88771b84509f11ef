"""SNAP descriptors of configurations, their derivatives, and the reference potential: one `CachedDescriptors` each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.inputs.snap.bispectrum import n_descriptors, with_product_derivatives, with_products
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.inputs.snap.components import Components, ComponentSource, KernelSource
from fitsnap_nn.inputs.snap.compute_snap import LammpsSource
from fitsnap_nn.inputs.snap.kernel import SnapKernel
from fitsnap_nn.lammps.cell import LammpsCell, to_lammps
from fitsnap_nn.lammps.reference import ReferencePotential
from fitsnap_nn.settings.schema import Bispectrum, Reference

Route = Literal["kernel", "compute snap"]
BATCH = 128  # atoms whose records are computed together, at least


def choose_route() -> tuple[Route, str]:
    """What computes components here, the kernel if it has been built; and how to say so, with the reason if not."""
    try:
        return "kernel", f"the SNAP kernel ({SnapKernel(Bispectrum()).instruction_set})"
    except LammpsError as error:
        return "compute snap", f"LAMMPS' compute snap, for {error}"


class SnapCompute(AbstractContextManager["SnapCompute"]):
    """Turns configurations into records; keeps its LAMMPS instances from one to the next.

    Args:
        gradients: compute dB_i/dR_j, for forces.
        strain: compute dB_i/d(strain), for stresses.
        folder: where relative names of potential files start, the input file's.
        route: what computes components; by default see `choose_route`. They differ by rounding, and by the steps of
            the differences from which ``compute snap`` gets strain derivatives of small cells.
    """

    def __init__(
        self,
        bispectrum: Bispectrum,
        reference: Reference,
        *,
        gradients: bool,
        strain: bool,
        folder: str | Path = ".",
        route: Route | None = None,
    ) -> None:
        self.n_descriptors = n_descriptors(bispectrum)
        self._products = bispectrum.quadraticflag
        source = KernelSource if (route or choose_route()[0]) == "kernel" else LammpsSource
        self._source: ComponentSource = source(bispectrum, gradients=gradients, strain=strain)
        self._reference = ReferencePotential(reference, bispectrum.type, Path(folder))

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the LAMMPS instances; the next configuration would start new ones."""
        self._source.close()
        self._reference.close()

    def compute(self, configuration: Configuration) -> CachedDescriptors:
        """Descriptors, derivatives and reference of one configuration.

        Raises:
            DataError: the configuration does not suit LAMMPS or the settings.
            LammpsError: LAMMPS refused, or numbers are not finite; names the configuration.
        """
        return next(self.compute_all([configuration]))

    def compute_all(self, configurations: Iterable[Configuration]) -> Iterator[CachedDescriptors]:
        """The records of configurations, in their order; faster than one by one, and the same numbers.

        Raises:
            DataError, LammpsError: as `compute` does.
        """
        for batch in _batches(configurations):
            pairs = [(configuration, to_lammps(configuration)) for configuration in batch]
            for (configuration, cell), components in zip(pairs, self._source.compute(pairs), strict=True):
                yield self._record(configuration, cell, components)

    def _record(self, configuration: Configuration, cell: LammpsCell, components: Components) -> CachedDescriptors:
        energy, forces, stress = self._reference.compute(configuration, cell)
        values, pair_i, pair_j, gradients, strain_gradients = components
        if not (np.isfinite(values).all() and np.isfinite(forces).all() and np.isfinite(energy)):
            raise LammpsError(
                f"{configuration.id}: its descriptors or reference energies are not finite. "
                "Are two atoms at the same place, or far closer than the reference potential allows?"
            )
        if self._products:
            gradients = with_product_derivatives(values[pair_i], gradients)
            strain_gradients = with_product_derivatives(values[: len(strain_gradients)], strain_gradients)
            values = with_products(values)
        return CachedDescriptors(values, pair_i, pair_j, gradients, strain_gradients, energy, forces, stress)


def _batches(configurations: Iterable[Configuration]) -> Iterator[list[Configuration]]:
    """The same, with enough atoms in each batch to keep the kernel's vectors full."""
    batch: list[Configuration] = []
    for configuration in configurations:
        batch.append(configuration)
        if sum(map(len, batch)) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
