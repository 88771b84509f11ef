"""A fit, its errors, and calculations with the potential, in Python.

python tour.py [EPOCHS]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.eos import EquationOfState
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

import fitsnap_nn


def main(epochs: int) -> None:
    """Fit, then print what the potential gives for bcc tantalum."""
    inputs = Path(__file__).resolve().parent.parent / "Ta_BPNN" / "Ta.in"
    data = inputs.parent / "JSON"
    keys = {
        "PATH.dataPath": data,
        "PYTORCH.num_epochs": epochs,
        "PYTORCH.committee": 2,
        "OUTFILE.folder": Path.cwd() / "python_fit",
    }
    fit = fitsnap_nn.fit(inputs, keys, overwrite=True, quiet=True, verify=False)
    print(fit)
    for row in fit.errors:
        if row.group == "*ALL" and row.subset == "Validation":
            print(f"{row.property}: MAE {row.mae:.3g} {row.unit}")
    print(f"best epoch: {next(row.epoch for row in reversed(fit.history) if row.best)}")

    potential = fitsnap_nn.load_potential(fit.model_file)
    atoms = bulk("Ta", cubic=True)
    found = potential.predict(atoms, outputs=["energies"])
    print(f"energies of atoms: {found.values['energies'].round(3)} eV")

    volumes, energies = [], []
    for scale in np.linspace(0.97, 1.03, 7):
        strained = bulk("Ta", a=3.305 * scale)
        strained.calc = fitsnap_nn.Calculator(potential)
        volumes.append(strained.get_volume())
        energies.append(strained.get_potential_energy())
    volume, _, modulus = EquationOfState(volumes, energies).fit()
    print(f"lattice constant {(2 * volume) ** (1 / 3):.3f} Å, bulk modulus {modulus / units.GPa:.0f} GPa")

    atoms = bulk("Ta", a=3.305, cubic=True) * (2, 2, 2)
    atoms.calc = fitsnap_nn.Calculator(potential)
    MaxwellBoltzmannDistribution(atoms, temperature_K=600, rng=np.random.default_rng(1))
    before = atoms.get_total_energy()
    VelocityVerlet(atoms, timestep=2 * units.fs).run(20)
    drift = (atoms.get_total_energy() - before) / len(atoms)
    print(f"40 fs at constant energy: {1e3 * drift:+.3f} meV/atom")
    print(f"spread of the committee: forces {atoms.calc.results['forces_std'].max():.3f} eV/Å at most")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
