"""Everything that drives LAMMPS: sessions, cells, reference potentials, programs and verification."""

from __future__ import annotations
