"""ACE descriptors for linear models."""

from __future__ import annotations

from fitsnap_nn.inputs.ace.input import AceInput
from fitsnap_nn.inputs.base import SectionValues
from fitsnap_nn.inputs.rows import RowsInput


class AceRows(RowsInput, AceInput):  # type: ignore[misc]
    """ACE descriptors, summed by element; with ``bzeroflag`` a model has no constants, as in FitSNAP."""

    @property
    def has_constants(self) -> bool:
        return not self.ace.bzeroflag

    def section_values(self) -> SectionValues:
        values = super().section_values()
        return values._replace(common={**values.common, "bzeroflag": self.ace.bzeroflag})
