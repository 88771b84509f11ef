"""Interfaces to other programs: ASE calculator, and model files of mace."""

from __future__ import annotations
