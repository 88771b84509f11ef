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
from graph_programs import random_mace
from mace.calculators import MACECalculator

ELEMENT, NUMBER, LATTICE = "Ta", 73, 3.3  # Å
TEMPERATURE, TIMESTEP, STEPS = 300.0, 1.0, 8  # K, fs


def network() -> Any:
    """The MACE of gpu_md.py with random weights."""
    torch.manual_seed(1)
    options = {"r_max": 4.65, "avg_num_neighbors": 20.0, "correlation": 3, "pair_repulsion": True}
    return random_mace([NUMBER], "32x0e + 32x1o", **options)


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
