"""Molecular dynamics of a graph model in LAMMPS on the GPU (or with --device cpu): time, memory and energy drift.

    python tests/benchmarks/gpu_md.py [--architecture MACE] [--model FILE] [--atoms 2000 16000]
        [--precision float32 float64] [--steps 100] [--drift PICOSECONDS]

Bcc tantalum, or fcc nickel with a --model of nickel, at 300 K in the microcanonical ensemble, timestep 1 fs, skin 2 Å,
on a single rank. Without --model, weights are random: times and memory do not depend on them. Each line of the output
is a JSON object. ``step`` is the wall time per step, the minimum of three runs; ``memory`` is the peak of the GPU
memory of torch, without what CUDA itself needs (some 0.5 GB). ``drift`` is the slope of the total energy in a linear
fit, and ``noise`` its deviation; it is measured with a fitted model and the first of the numbers of atoms.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fitsnap_nn import devices
from fitsnap_nn.export.unified import UnifiedModel, on_this_rank
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.lammps.session import open_lammps
from fitsnap_nn.models import GraphModel, build_model
from fitsnap_nn.models.descriptor_network import DescriptorNetwork
from fitsnap_nn.plugin import plugin_dir, stubs
from fitsnap_nn.settings.schema import Bispectrum

ELEMENT = "Ta"  # of models with random weights
# Lattice, lattice constant in Å, mass in g/mol, atoms per cell.
STRUCTURES = {"Ta": ("bcc", 3.3, 180.95, 2), "Ni": ("fcc", 3.52, 58.693, 4)}
CUTOFF = 4.65  # Å
HYPERS: dict[str, dict[str, Any]] = {
    "MACE": {"r_max": CUTOFF, "hidden_irreps": "32x0e + 32x1o", "avg_num_neighbors": 20.0, "pair_repulsion": True},
    "SOAP_BPNN": {"cutoff_radius": CUTOFF, "zbl": True},
    "NANOPET": {"cutoff": CUTOFF, "zbl": True},
}
SNAP = Bispectrum(type=(ELEMENT,), twojmax=(8,), rcutfac=CUTOFF)
HIDDEN = (32, 32)  # layers of the network on SNAP descriptors
TEMPERATURE, TIMESTEP, WARM_UP, REPEATS = 300.0, 0.001, 15, 3  # K, ps, steps
SAMPLES = 100  # total energies per drift


@dataclass(frozen=True)
class Speed:
    """Attributes: step: ms per step; per_atom: µs per atom and step; memory: kB per atom on the GPU, 0 on the CPU."""

    device: str
    precision: str
    atoms: int
    step: float
    per_atom: float
    memory: float


@dataclass(frozen=True)
class Drift:
    """Attributes: drift: meV per atom and ns; noise: meV per atom; time: ps; temperature: K, at the end."""

    device: str
    precision: str
    atoms: int
    time: float
    drift: float
    noise: float
    temperature: float


def make_model(architecture: str, file: Path | None, precision: str) -> GraphModel:
    """Return the model of a file, or an untrained one."""
    if file is not None:
        from fitsnap_nn.export.model_file import load_model

        model: Any = load_model(file).model
    else:
        torch.manual_seed(1)
        if architecture == "SNAP":
            model = DescriptorNetwork(SnapInput(SNAP), HIDDEN)
        else:
            model = build_model({"architecture": architecture, "elements": [ELEMENT], **HYPERS[architecture]})
    model.set_precision(getattr(torch, precision))
    return model.eval().requires_grad_(False)


class Simulation:
    """LAMMPS in this process with one model."""

    def __init__(self, model: GraphModel, cells: int) -> None:
        os.environ["LAMMPS_PLUGIN_PATH"] = str(plugin_dir())
        stubs.install()
        self.potential: UnifiedModel = on_this_rank(model)
        self.lammps = open_lammps(["-screen", "none", "-log", "none", "-nocite"])
        import_module("lammps.mliap").load_unified(self.potential)
        element = model.elements[0]
        lattice, constant, mass, _ = STRUCTURES[element]
        self.commands(
            "units metal",
            f"lattice {lattice} {constant}",
            f"region box block 0 {cells} 0 {cells} 0 {cells}",
            "create_box 1 box",
            "create_atoms 1 box",
            f"mass 1 {mass}",
            "pair_style mliap unified EXISTS 0",
            f"pair_coeff * * {element}",
            f"velocity all create {2 * TEMPERATURE} 4711",
            "fix move all nve",
            f"timestep {TIMESTEP}",
            "thermo_modify norm no",
        )

    def commands(self, *lines: str) -> None:
        """Run commands."""
        self.lammps.commands_list(list(lines))

    def seconds(self, steps: int) -> float:
        """Return the wall time of a number of steps."""
        started = time.perf_counter()
        self.commands(f"run {steps} pre no post no")
        return time.perf_counter() - started

    def close(self) -> None:
        """End LAMMPS and release the memory of the GPU."""
        self.lammps.close()
        self.potential._residents.clear()


def measure_speed(model: GraphModel, cells: int, steps: int) -> Speed:
    """Return time and memory of a cube of cells³ unit cells."""
    simulation = Simulation(model, cells)
    device = simulation.potential.device
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    simulation.commands(f"run {WARM_UP} post no")
    step = min(simulation.seconds(steps) for _ in range(REPEATS)) / steps
    memory = torch.cuda.max_memory_allocated(device) if on_gpu else 0
    atoms = int(simulation.lammps.get_natoms())
    simulation.close()
    precision = str(simulation.potential.dtype).removeprefix("torch.")
    return Speed(devices.describe(device), precision, atoms, 1e3 * step, 1e6 * step / atoms, memory / atoms / 1e3)


def measure_drift(model: GraphModel, cells: int, picoseconds: float) -> Drift:
    """Return the drift of the total energy in the microcanonical ensemble."""
    simulation = Simulation(model, cells)
    simulation.commands("thermo 1000000", f"run {WARM_UP} post no")
    atoms, every = int(simulation.lammps.get_natoms()), max(1, round(picoseconds / TIMESTEP / SAMPLES))
    energies = []
    for _ in range(SAMPLES):
        simulation.commands(f"run {every} pre no post no")
        energies.append(float(simulation.lammps.get_thermo("etotal")) / atoms)
    temperature = float(simulation.lammps.get_thermo("temp"))
    simulation.close()
    times = every * TIMESTEP * np.arange(SAMPLES)
    slope, offset = np.polyfit(times, energies, 1)
    noise = float(np.std(np.array(energies) - slope * times - offset))
    potential = simulation.potential
    precision = str(potential.dtype).removeprefix("torch.")
    device = devices.describe(potential.device)
    return Drift(device, precision, atoms, float(times[-1]), 1e6 * float(slope), 1e3 * noise, temperature)


def cells_of(model: GraphModel, atoms: int) -> int:
    """Return the number of cells along each side of a cube of about that many atoms."""
    return max(2, round((atoms / STRUCTURES[model.elements[0]][3]) ** (1 / 3)))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", choices=(*HYPERS, "SNAP"), default="MACE")
    parser.add_argument("--model", type=Path, help="model file of a fit of Ta or Ni")
    parser.add_argument("--atoms", type=int, nargs="+", default=[2000, 16000])
    parser.add_argument("--precision", nargs="+", choices=("float32", "float64"), default=["float32", "float64"])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--drift", type=float, default=0.0, help="ps; 0: not measured")
    parser.add_argument("--device", help=f"value of {devices.VARIABLE}")
    arguments = parser.parse_args(words)
    if arguments.drift and arguments.model is None:
        parser.error("--drift needs --model: random weights give no forces to speak of")
    if arguments.device:
        os.environ[devices.VARIABLE] = arguments.device
    for precision in arguments.precision:
        model = make_model(arguments.architecture, arguments.model, precision)
        if model.elements not in {(element,) for element in STRUCTURES}:
            parser.error(
                f"the elements of the model are {' '.join(model.elements)}, not one of {', '.join(STRUCTURES)}"
            )
        for atoms in arguments.atoms:
            print(json.dumps(asdict(measure_speed(model, cells_of(model, atoms), arguments.steps))), flush=True)
        if arguments.drift:
            print(
                json.dumps(asdict(measure_drift(model, cells_of(model, arguments.atoms[0]), arguments.drift))),
                flush=True,
            )


if __name__ == "__main__":
    main()
