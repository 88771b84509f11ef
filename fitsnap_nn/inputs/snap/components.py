"""Bispectrum components of configurations and their derivatives, computed by the kernel or by LAMMPS."""

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

Pairs = NDArray[np.int32]
PART = 256  # atoms whose gradients are held at a time; more do not stay in the cache while they are summed


class Components(NamedTuple):
    """Of one configuration; see `CachedDescriptors` for shapes and meaning.

    Attributes:
        values: (N, n) components, without products.
        pair_i, pair_j, gradients, strain_gradients: derivatives.
    """

    values: Floats
    pair_i: Pairs
    pair_j: Pairs
    gradients: Floats
    strain_gradients: Floats


class ComponentSource(Protocol):
    """Computes components; `KernelSource` does it faster than `fitsnap_nn.inputs.snap.compute_snap.LammpsSource`."""

    def compute(self, batch: Sequence[tuple[Configuration, LammpsCell]]) -> Iterator[Components]:
        """Those of each configuration in turn."""

    def close(self) -> None:
        """Give back what is held; the next configuration starts anew."""


class KernelSource:
    """Components by the compiled kernel, many atoms at a time.

    Raises:
        LammpsError: the kernel has not been built.
    """

    def __init__(self, bispectrum: Bispectrum, *, gradients: bool, strain: bool) -> None:
        self._kernel = SnapKernel(bispectrum)
        self._bispectrum = bispectrum
        self._gradients = gradients
        self._strain = strain

    def compute(self, batch: Sequence[tuple[Configuration, LammpsCell]]) -> Iterator[Components]:
        """Those of each configuration in turn.

        Raises:
            DataError: an element without descriptors; names the configuration.
        """
        configurations = [configuration for configuration, _ in batch]
        together = self._compute_together(configurations)
        bounds = np.cumsum([0, *map(len, configurations)], dtype=np.int32)
        pair_bounds = np.searchsorted(together.pair_i, bounds)
        for number, configuration in enumerate(configurations):
            start, stop = bounds[number : number + 2]
            pairs = slice(*pair_bounds[number : number + 2])
            strain_gradients = together.strain_gradients[start:stop]
            if not all(configuration.pbc):
                strain_gradients[:] = 0.0
            yield Components(
                together.values[start:stop],
                together.pair_i[pairs] - start,
                together.pair_j[pairs] - start,
                together.gradients[pairs],
                strain_gradients,
            )

    def close(self) -> None:
        """Nothing is held but memory."""

    def _compute_together(self, configurations: Sequence[Configuration]) -> Components:
        """Those of all configurations, whose atoms are numbered through."""
        parts = [self._compute_part(part) for part in find_environments(configurations, self._bispectrum).parts(PART)]
        return parts[0] if len(parts) == 1 else Components(*map(np.concatenate, zip(*parts, strict=True)))

    def _compute_part(self, environments: Environments) -> Components:
        kernel, none = self._kernel, np.zeros(0, dtype=np.int32)
        found = Components(
            kernel.components(environments),
            none,
            none,
            np.zeros((0, 3, kernel.n_components)),
            np.zeros((0, 6, kernel.n_components)),
        )
        if self._gradients or self._strain:
            gradients = kernel.gradients(environments)
            if self._gradients:
                pair_i, pair_j, merged = gradients_wrt_positions(environments, gradients)
                found = found._replace(pair_i=pair_i, pair_j=pair_j, gradients=merged)
            if self._strain:
                found = found._replace(strain_gradients=gradients_wrt_strain(environments, gradients))
        return found
