"""Input files: FitSNAP's INI text to typed, checked settings. Imports neither torch nor LAMMPS nor ASE."""

from __future__ import annotations

from fitsnap_nn.settings.load import load_settings, outline
from fitsnap_nn.settings.plain import as_dict, differences, from_dict
from fitsnap_nn.settings.schema import GroupRow, Settings

__all__ = ["GroupRow", "Settings", "as_dict", "differences", "from_dict", "load_settings", "outline"]
