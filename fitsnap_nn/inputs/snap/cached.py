"""Cached SNAP descriptors of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.inputs.base import DOUBLE, INTEGER, Arrays, DType
from fitsnap_nn.inputs.reference import pack_reference, unpack_reference


class CachedDescriptors(NamedTuple):
    """Descriptors and reference results of one configuration of N atoms with D descriptors each.

    Without requested forces there are no pairs and the gradients have shape (0, 3, D).

    Attributes:
        descriptors: (N, D) descriptors B_i.
        pair_i, pair_j: (P,) int32, pairs with non-zero dB_i/dR_j, sorted by i then j; i = j included.
        gradients: (P, 3, D) dB_i/dR_j, 1/Å, summed over the periodic images of j.
        strain_gradients: (N, 6, D) dB_i/d(strain), Voigt order xx yy zz yz xz xy; (0, 6, D) if no stress is requested.
            Shear components are derivatives with respect to a symmetric strain with e_yz = e_zy = 1/2, so that their
            contraction with dE/dB is the volume times the stress component.
        reference_energy: eV.
        reference_forces: (N, 3) eV/Å.
        reference_stress: (6,) eV/Å³, Voigt order, ASE sign; zeros for cells that are not fully periodic.
    """

    descriptors: NDArray[np.floating]
    pair_i: NDArray[np.int32]
    pair_j: NDArray[np.int32]
    gradients: NDArray[np.floating]
    strain_gradients: NDArray[np.floating]
    reference_energy: float
    reference_forces: NDArray[np.float64]
    reference_stress: NDArray[np.float64]

    @property
    def has_strain(self) -> bool:
        return len(self.strain_gradients) > 0

    def arrays(self) -> Arrays:
        return [pack_reference(self), self.pair_i, self.pair_j, self.descriptors, self.gradients, self.strain_gradients]

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> CachedDescriptors:
        reference, pair_i, pair_j, descriptors, gradients, strain_gradients = arrays
        return cls(descriptors, pair_i, pair_j, gradients, strain_gradients, *unpack_reference(reference))

    @classmethod
    def dtypes(cls, dtype: DType) -> Sequence[DType]:
        return (DOUBLE, INTEGER, INTEGER, dtype, dtype, dtype)
