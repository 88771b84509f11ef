"""Writes an untrained MACE as mace-torch does for LAMMPS, and what its ASE calculator says of a structure."""

from __future__ import annotations

import sys
from pathlib import Path

import mace  # noqa: F401  lets torch load what e3nn needs, before e3nn does
import numpy as np
import torch
from decks import crystal
from e3nn.o3 import Irreps
from mace.calculators import MACECalculator
from mace.modules import ScaleShiftMACE, interaction_classes

from fitsnap_nn.plugin import stubs

stubs.install()

from mace.calculators.lammps_mliap_mace import LAMMPS_MLIAP_MACE  # noqa: E402


def main(folder: Path) -> None:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(4)
    block = interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = ScaleShiftMACE(
        r_max=4.0,
        num_bessel=4,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=2,
        hidden_irreps=Irreps("8x0e+8x1o"),
        MLP_irreps=Irreps("8x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.array([-1.0, -2.0]),
        avg_num_neighbors=12.0,
        atomic_numbers=[18, 36],
        correlation=2,
        radial_MLP=[8, 8],
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    torch.save(LAMMPS_MLIAP_MACE(model), folder / "mace.pt")
    atoms = crystal(3)
    atoms.calc = MACECalculator(models=[model], device="cpu", default_dtype="float64")
    forces, stress = atoms.get_forces(), atoms.get_stress()
    np.savez(folder / "ase.npz", energies=atoms.get_potential_energies(), forces=forces, stress=stress)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
