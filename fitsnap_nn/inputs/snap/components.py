"""Bispectrum components of configurations and their derivatives, computed by the SNAP kernel or by LAMMPS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.inputs.snap.environments import (
    Environments,
    find_environments,
    gradients_wrt_positions,
    gradients_wrt_strain,
)
from fitsnap_nn.inputs.snap.kernel import SnapKernel
from fitsnap_nn.lammps.cell import LammpsCell
from fitsnap_nn.settings.schema import Bispectrum

AtomIndices = NDArray[np.int32]
# Atoms per block. Gradients of more atoms do not fit the CPU cache, which slows down their summation over images.
BLOCK_SIZE = 256


class Components(NamedTuple):
    """Bispectrum components of one configuration and their derivatives.

    Attributes:
        values: (N, n) components, without quadratic terms.
        pair_i, pair_j, gradients, strain_gradients: derivatives, see `CachedDescriptors`.
    """

    values: Floats
    pair_i: AtomIndices
    pair_j: AtomIndices
    gradients: Floats
    strain_gradients: Floats


class ComponentCompute(Protocol):
    """Computes bispectrum components.

    `KernelComponents` is faster than `fitsnap_nn.inputs.snap.compute_snap.LammpsComponents`.
    """

    def compute(self, batch: Sequence[tuple[Configuration, LammpsCell]]) -> Iterator[Components]:
        """Yield the components of each configuration, in order.

        Args:
            batch: configurations with their LAMMPS cells.
        """

    def close(self) -> None:
        """Release resources; the next call of `compute` acquires them again."""


class KernelComponents:
    """Components computed by the compiled SNAP kernel for many atoms at a time.

    Args:
        bispectrum: section [BISPECTRUM].
        gradients: compute dB_i/dR_j.
        strain: compute dB_i/d(strain).

    Raises:
        LammpsError: the kernel has not been built.
    """

    def __init__(self, bispectrum: Bispectrum, *, gradients: bool, strain: bool) -> None:
        self._kernel = SnapKernel(bispectrum)
        self._bispectrum = bispectrum
        self._gradients = gradients
        self._strain = strain

    def compute(self, batch: Sequence[tuple[Configuration, LammpsCell]]) -> Iterator[Components]:
        """Yield the components of each configuration, in order.

        Args:
            batch: configurations with their LAMMPS cells; the cells are not used.

        Raises:
            DataError: an element has no descriptors; the message names the configuration.
        """
        configurations = [configuration for configuration, _ in batch]
        joined = self._compute_joined(configurations)
        bounds = np.cumsum([0, *map(len, configurations)], dtype=np.int32)
        pair_bounds = np.searchsorted(joined.pair_i, bounds)
        for number, configuration in enumerate(configurations):
            start, stop = bounds[number : number + 2]
            pairs = slice(*pair_bounds[number : number + 2])
            strain_gradients = joined.strain_gradients[start:stop]
            if not all(configuration.pbc):
                strain_gradients[:] = 0.0
            yield Components(
                joined.values[start:stop],
                joined.pair_i[pairs] - start,
                joined.pair_j[pairs] - start,
                joined.gradients[pairs],
                strain_gradients,
            )

    def close(self) -> None:
        """Do nothing: the kernel holds only memory, which is freed with the object."""

    def _compute_joined(self, configurations: Sequence[Configuration]) -> Components:
        """Return the components of all configurations, with atoms numbered consecutively."""
        environments = find_environments(configurations, self._bispectrum)
        blocks = [self._compute_block(block) for block in environments.blocks(BLOCK_SIZE)]
        return blocks[0] if len(blocks) == 1 else Components(*map(np.concatenate, zip(*blocks, strict=True)))

    def _compute_block(self, environments: Environments) -> Components:
        kernel, no_pairs = self._kernel, np.zeros(0, dtype=np.int32)
        result = Components(
            kernel.components(environments),
            no_pairs,
            no_pairs,
            np.zeros((0, 3, kernel.n_components)),
            np.zeros((0, 6, kernel.n_components)),
        )
        if self._gradients or self._strain:
            gradients = kernel.gradients(environments)
            if self._gradients:
                pair_i, pair_j, summed = gradients_wrt_positions(environments, gradients)
                result = result._replace(pair_i=pair_i, pair_j=pair_j, gradients=summed)
            if self._strain:
                result = result._replace(strain_gradients=gradients_wrt_strain(environments, gradients))
        return result
