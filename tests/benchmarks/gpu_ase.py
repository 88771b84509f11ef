"""Molecular dynamics with mace-torch's ASE calculator on the GPU, of the model and the crystals of gpu_md.py.

    python tests/benchmarks/gpu_ase.py [--atoms 2000 16000] [--precision float32] [--device cuda]

Each line of the output is a JSON object; ``step`` is the wall time per step, ms. Weights are random.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import ase.units
import mace  # noqa: F401  lets torch load what e3nn needs, before e3nn does
import numpy as np
import torch
from ase.build import bulk
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from e3nn.o3 import Irreps
from mace.calculators import MACECalculator
from mace.modules import ScaleShiftMACE, gate_dict, interaction_classes

ELEMENT, NUMBER, LATTICE = "Ta", 73, 3.3  # Å
TEMPERATURE, TIMESTEP, STEPS = 300.0, 1.0, 8  # K, fs


def network() -> Any:
    """The MACE of gpu_md.py with random weights."""
    torch.manual_seed(1)
    block = interaction_classes["RealAgnosticResidualInteractionBlock"]
    return ScaleShiftMACE(
        r_max=4.65,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=1,
        hidden_irreps=Irreps("32x0e + 32x1o"),
        MLP_irreps=Irreps("16x0e"),
        gate=gate_dict["silu"],
        atomic_energies=np.array([-1.0]),
        avg_num_neighbors=20.0,
        atomic_numbers=[NUMBER],
        correlation=3,
        radial_MLP=[64, 64, 64],
        pair_repulsion=True,
        use_reduced_cg=False,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="mace-torch's ASE calculator on the GPU")
    parser.add_argument("--atoms", type=int, nargs="+", default=[2000, 16000])
    parser.add_argument("--precision", default="float32", choices=("float32", "float64"))
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    torch.set_default_dtype(getattr(torch, options.precision))
    model = network().to(options.device)
    for size in options.atoms:
        cells = max(2, round((size / 2) ** (1 / 3)))
        atoms = bulk(ELEMENT, "bcc", a=LATTICE, cubic=True) * (cells, cells, cells)
        atoms.calc = MACECalculator(models=[model], device=options.device, default_dtype=options.precision)
        MaxwellBoltzmannDistribution(atoms, temperature_K=2 * TEMPERATURE, rng=np.random.default_rng(0))
        dynamics = VelocityVerlet(atoms, TIMESTEP * ase.units.fs)
        dynamics.run(2)
        started = time.perf_counter()
        dynamics.run(STEPS)
        step = (time.perf_counter() - started) / STEPS
        found = {"device": options.device, "precision": options.precision, "atoms": len(atoms)}
        print(json.dumps({**found, "step": 1e3 * step, "per_atom": 1e6 * step / len(atoms)}), flush=True)


if __name__ == "__main__":
    main()
