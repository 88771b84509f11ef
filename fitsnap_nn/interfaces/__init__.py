"""Other programs: ASE, and model files of mace."""

from __future__ import annotations
