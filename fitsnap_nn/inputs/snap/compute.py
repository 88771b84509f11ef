"""Computation of SNAP descriptors, derivatives and reference results: one `CachedDescriptors` per configuration."""

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
from fitsnap_nn.inputs.snap.components import ComponentCompute, Components, KernelComponents
from fitsnap_nn.inputs.snap.compute_snap import LammpsComponents
from fitsnap_nn.inputs.snap.kernel import SnapKernel
from fitsnap_nn.lammps.cell import LammpsCell, to_lammps
from fitsnap_nn.lammps.reference import ReferencePotential
from fitsnap_nn.settings.schema import Bispectrum, Reference

Route = Literal["kernel", "compute snap"]
BATCH = 128  # minimum number of atoms computed together; fewer leave SIMD lanes of the kernel idle


def choose_route() -> tuple[Route, str]:
    """Select the program that computes bispectrum components: the SNAP kernel if it has been built.

    Returns:
        The choice, and a phrase for the log that includes the reason if it is ``compute snap``.
    """
    try:
        return "kernel", f"the SNAP kernel ({SnapKernel(Bispectrum()).instruction_set})"
    except LammpsError as error:
        return "compute snap", f"LAMMPS' compute snap, because {error}"


class SnapCompute(AbstractContextManager["SnapCompute"]):
    """Computes cached descriptors; its LAMMPS instances are reused for all configurations.

    Args:
        bispectrum: section [BISPECTRUM].
        reference: section [REFERENCE].
        gradients: compute dB_i/dR_j, for forces.
        strain: compute dB_i/d(strain), for stresses.
        folder: base folder of relative potential file names, normally that of the input file.
        route: program that computes the components; ``None`` for the result of `choose_route`. The two agree within
            rounding, except for strain derivatives of small cells, where ``compute snap`` needs finite differences.

    Raises:
        LammpsError: ``route`` is ``kernel``, and the kernel has not been built.
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
        self._quadratic = bispectrum.quadraticflag
        compute_class = KernelComponents if (route or choose_route()[0]) == "kernel" else LammpsComponents
        self._components: ComponentCompute = compute_class(bispectrum, gradients=gradients, strain=strain)
        self._reference = ReferencePotential(reference, bispectrum.type, Path(folder))

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the LAMMPS instances; the next configuration opens new ones."""
        self._components.close()
        self._reference.close()

    def compute(self, configuration: Configuration) -> CachedDescriptors:
        """Return descriptors, derivatives and reference results of one configuration.

        Raises:
            DataError: the settings or LAMMPS do not support the configuration.
            LammpsError: LAMMPS reported an error, or its results are not finite; the message names the configuration.
        """
        return next(self.compute_all([configuration]))

    def compute_all(self, configurations: Iterable[Configuration]) -> Iterator[CachedDescriptors]:
        """Yield the cached descriptors of each configuration, in order.

        Faster than `compute` for each configuration; the results are bitwise identical.

        Raises:
            DataError, LammpsError: see `compute`.
        """
        for batch in _batches(configurations):
            with_cells = [(configuration, to_lammps(configuration)) for configuration in batch]
            for (configuration, cell), components in zip(with_cells, self._components.compute(with_cells), strict=True):
                yield self._cached_descriptors(configuration, cell, components)

    def _cached_descriptors(
        self, configuration: Configuration, cell: LammpsCell, components: Components
    ) -> CachedDescriptors:
        energy, forces, stress = self._reference.compute(configuration, cell)
        values, pair_i, pair_j, gradients, strain_gradients = components
        if not (np.isfinite(values).all() and np.isfinite(forces).all() and np.isfinite(energy)):
            raise LammpsError(
                f"{configuration.id}: descriptors, or energy or forces of the reference potential, are not finite. "
                "Check the structure for atoms that coincide or are too close for the reference potential."
            )
        if self._quadratic:
            gradients = with_product_derivatives(values[pair_i], gradients)
            strain_gradients = with_product_derivatives(values[: len(strain_gradients)], strain_gradients)
            values = with_products(values)
        return CachedDescriptors(values, pair_i, pair_j, gradients, strain_gradients, energy, forces, stress)


def _batches(configurations: Iterable[Configuration]) -> Iterator[list[Configuration]]:
    """Group consecutive configurations into batches of at least ``BATCH`` atoms; only the last may be smaller."""
    batch: list[Configuration] = []
    for configuration in configurations:
        batch.append(configuration)
        if sum(map(len, batch)) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
