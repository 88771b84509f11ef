"""Atoms of ASE as configurations."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from fitsnap_nn.data.configuration import Configuration


def configuration_from_atoms(atoms: Atoms) -> Configuration:
    """The atoms and the cell, without labels."""
    first, second, third = (bool(periodic) for periodic in atoms.pbc)
    return Configuration(
        id=str(atoms.symbols),
        group="",
        species=tuple(atoms.get_chemical_symbols()),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell, dtype=np.float64),
        pbc=(first, second, third),
        charges=np.array(atoms.get_initial_charges(), dtype=np.float64),
    )
