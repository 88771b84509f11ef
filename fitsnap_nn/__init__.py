"""Neural-network interatomic potentials for LAMMPS from FitSNAP-style inputs."""

from __future__ import annotations

__version__ = "0.1.0"
