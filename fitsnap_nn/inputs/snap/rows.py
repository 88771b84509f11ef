"""SNAP descriptors for linear models."""

from __future__ import annotations

import numpy as np

from fitsnap_nn.inputs.rows import Mask, RowsInput
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.settings.descriptors import has_coefficient


class SnapRows(RowsInput, SnapInput):  # type: ignore[misc]
    """SNAP descriptors, summed by element; with ``bzeroflag`` a model has no constants, as in FitSNAP."""

    @property
    def has_constants(self) -> bool:
        return not self.bispectrum.bzeroflag

    @property
    def has_coefficient(self) -> Mask:
        return np.array(has_coefficient(self.bispectrum), dtype=bool)
