"""Conversion of ``ase.Atoms`` to configurations."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from fitsnap_nn.data.configuration import Configuration


def configuration_from_atoms(atoms: Atoms) -> Configuration:
    """Return a configuration with the atoms, cell and initial charges, without labels.

    Args:
        atoms: positions and cell in Å.
    """
    along_a, along_b, along_c = (bool(periodic) for periodic in atoms.pbc)
    return Configuration(
        id=str(atoms.symbols),
        group="",
        species=tuple(atoms.get_chemical_symbols()),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell, dtype=np.float64),
        pbc=(along_a, along_b, along_c),
        charges=np.array(atoms.get_initial_charges(), dtype=np.float64),
    )
