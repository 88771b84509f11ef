"""Interface to LAMMPS: library sessions, cells, reference potentials, the executable, and verification."""

from __future__ import annotations
