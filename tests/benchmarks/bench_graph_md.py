"""Molecular dynamics of graph models in LAMMPS: MACE against mace-torch's ASE calculator, and all on one and two ranks.

    python tests/benchmarks/bench_graph_md.py [--rounds 2] [--steps 10]

216 atoms of MgO (rocksalt, 58 neighbours within 5 Å) as a lattice, and rattled by 0.1 Å. The MACEs are made by
mace-torch, saved as its ``.model`` files and converted by ours; energies and forces of both programs must agree before
anything is timed. Programs take turns, one thread each; times are the CPU time of a process in its loop over steps (in
LAMMPS wall time times its "% CPU use"), the least of all rounds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import ase.units
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from graph_programs import random_mace
from measure import lammps_step, run
from numpy.typing import NDArray

from fitsnap_nn.data.atoms import configuration_from_atoms
from fitsnap_nn.export.unified import unified_pickle
from fitsnap_nn.interfaces.mace_files import run_and_convert
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.models import GraphModel, build_model
from fitsnap_nn.plugin import plugin_dir

ELEMENTS = ("Mg", "O")
TEMPERATURE, TIMESTEP, WARM_UP = 300.0, 0.0005, 3  # K, ps, steps
MACES = {"32x0e + 32x1o": 3, "16x0e": 2}  # hidden irreps, and correlation
OTHERS = {"SOAP_BPNN": 1, "NANOPET": 5}  # at their defaults, with so many times fewer steps
AGREEMENT = {"float64": 1e-9, "float32": 1e-5}  # eV of an atom, eV/Å
PRECISIONS = tuple(AGREEMENT)
DISPLACEMENTS = {"lattice": 0.0, "rattled": 0.1}  # Å
DECK = f"""\
units metal
read_data {{data}}
pair_style mliap unified {{model}} 0
pair_coeff * * {" ".join(ELEMENTS)}
velocity all create {TEMPERATURE} 4711
fix move all nve
timestep {TIMESTEP}
thermo_style custom step pe
run 0 post no
print "$(pe:%.17g)" file energy
write_dump all custom forces id fx fy fz modify sort id format float %.17g
run {WARM_UP} post no
run {{steps}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--ase", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        file, irreps, correlation = arguments.make
        make_mace(Path(file), irreps, int(correlation))
    elif arguments.ase:
        run_ase(*arguments.ase, steps=arguments.steps)
    else:
        os.environ["LAMMPS_PLUGIN_PATH"] = str(plugin_dir())
        with tempfile.TemporaryDirectory() as name:
            report(Path(name), arguments.rounds, arguments.steps)


def report(folder: Path, rounds: int, steps: int) -> None:
    for name, displacement in DISPLACEMENTS.items():
        (folder / f"{name}.data").write_text(
            data_text(configuration_from_atoms(structure(displacement)), ELEMENTS, "atomic")
        )
    print(f"{'MACE':14}  {'precision':9}  {'atoms':8}  {'ours':>8}  {'ASE':>8}  ms a step")
    for irreps, correlation in MACES.items():
        file = folder / "mace.model"
        run(Path(sys.executable), [__file__, "--make", str(file), irreps, str(correlation)], folder)
        description, state = run_and_convert(file, ELEMENTS)
        model = build_model(description)
        model.load_state_dict(state)
        for precision in PRECISIONS:
            save(folder, model, precision)
            for name in DISPLACEMENTS:
                ours, theirs = pair(folder, name, precision, rounds, steps)
                numbers = f"{1e3 * ours:8.0f}  {1e3 * theirs:8.0f}  ratio {ours / theirs:.2f}"
                print(f"{irreps:14}  {precision:9}  {name:8}  {numbers}", flush=True)
        report_ranks(folder, model, f"MACE {irreps}", rounds, steps)
    for architecture, fewer in OTHERS.items():
        torch.manual_seed(0)
        model = build_model({"architecture": architecture, "elements": list(ELEMENTS)})
        report_ranks(folder, model, architecture, rounds, max(1, steps // fewer))


def report_ranks(folder: Path, model: GraphModel, name: str, rounds: int, steps: int) -> None:
    """One rank and two; ranks that wait for each other use CPU time."""
    for precision in PRECISIONS:
        save(folder, model, precision)
        times = [[lammps_step(folder, deck("rattled", steps), ranks) for ranks in (1, 2)] for _ in range(rounds)]
        one, two = np.min(times, axis=0)
        atom = 1e6 * one / len(structure(0.0))
        print(f"{name}, {precision}: {1e3 * one:.0f} ms a step, {atom:.0f} µs an atom,", end=" ")
        print(f"{one / two:.2f} times as fast on 2 ranks", flush=True)


def structure(displacement: float) -> Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True) * (3, 3, 3)
    atoms.rattle(displacement, seed=1)
    return atoms


def deck(name: str, steps: int) -> str:
    return DECK.format(data=f"{name}.data", model="model.unified", steps=steps)


def save(folder: Path, model: GraphModel, precision: str) -> None:
    """For LAMMPS, in the precision, in which the model is left."""
    model.set_precision(getattr(torch, precision))
    (folder / "model.unified").write_bytes(unified_pickle(model))


def pair(folder: Path, name: str, precision: str, rounds: int, steps: int) -> tuple[float, float]:
    """CPU seconds of a step in LAMMPS and in ASE, which must agree on energy and forces at the start."""
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(lammps_step(folder, deck(name, steps)))
        run(Path(sys.executable), [__file__, "--steps", str(steps), "--ase", str(folder), name, precision], folder)
        found = np.load(folder / "ase.npz")
        theirs.append(float(found["seconds"]))
        forces = np.loadtxt(folder / "forces", skiprows=9)[:, 1:]
        energy = float(np.loadtxt(folder / "energy"))
        differences = np.abs(forces - found["forces"]).max(), abs(energy - found["energy"]) / len(forces)
        if not max(differences) < AGREEMENT[precision]:
            sys.exit(
                f"{name}, {precision}: forces differ by {differences[0]} eV/Å, energies by {differences[1]} eV/atom"
            )
    return min(ours), min(theirs)


def make_mace(file: Path, irreps: str, correlation: int) -> None:
    """A MACE with random weights, as mace-torch trains and saves them."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(4)
    network = random_mace([8, 12], irreps, r_max=5.0, avg_num_neighbors=58.0, correlation=correlation)
    torch.save(network, file)


def run_ase(folder: str, name: str, precision: str, steps: int) -> None:
    """Molecular dynamics with mace-torch's calculator; writes energy, forces, and the CPU seconds of a step."""
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    from ase.md.verlet import VelocityVerlet
    from mace.calculators import MACECalculator

    atoms = structure(DISPLACEMENTS[name])
    atoms.calc = MACECalculator(model_paths=f"{folder}/mace.model", device="cpu", default_dtype=precision)
    forces: NDArray[np.float64] = atoms.get_forces()
    energy = atoms.get_potential_energy()
    MaxwellBoltzmannDistribution(atoms, temperature_K=TEMPERATURE, rng=np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, 1e3 * TIMESTEP * ase.units.fs)
    dynamics.run(WARM_UP)
    start = time.process_time()
    dynamics.run(steps)
    seconds = (time.process_time() - start) / steps
    np.savez(Path(folder) / "ase.npz", energy=energy, forces=forces, seconds=seconds)


if __name__ == "__main__":
    main()
