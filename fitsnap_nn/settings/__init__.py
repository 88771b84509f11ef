"""Input files: FitSNAP's INI text to typed, checked settings. Imports neither torch, numpy, LAMMPS nor ASE."""

from __future__ import annotations

from fitsnap_nn.settings.architectures import ArchitectureError
from fitsnap_nn.settings.load import load_settings, outline
from fitsnap_nn.settings.losses import LossChoice
from fitsnap_nn.settings.plain import as_dict, differences, from_dict
from fitsnap_nn.settings.rows import GroupRow, PropertyRow
from fitsnap_nn.settings.schema import Settings

__all__ = [
    "ArchitectureError",
    "GroupRow",
    "LossChoice",
    "PropertyRow",
    "Settings",
    "as_dict",
    "differences",
    "from_dict",
    "load_settings",
    "outline",
]
