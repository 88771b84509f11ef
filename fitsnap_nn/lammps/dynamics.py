"""Molecular dynamics and relaxation with exported potentials in LAMMPS."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.errors import LammpsError, LammpsTimeoutError
from fitsnap_nn.lammps.cell import LammpsCell, to_lammps
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.lammps.evaluate import ANY_GRID, arguments, copy_potential, setup_commands
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.program import Lammps

RECORD, RELAXED, BOX = "record", "relaxed", "box"
SEED = 4928459
LOOP_TIME = re.compile(r"^Loop time of (\S+) on \d+ procs for (\d+) steps with (\d+) atoms", re.MULTILINE)
MEMORY = re.compile(r"^Maximum resident set size: (\S+) Mbyte", re.MULTILINE)
CUBIC = 1e-3  # relative difference of lengths in a cell that is relaxed as a cubic one
# Energy tolerance, force tolerance (eV/Å), iterations and evaluations of a minimisation.
MINIMIZE = "minimize 1e-11 1e-5 300 1000"
RELAX_ROUNDS = 4  # LAMMPS' box/relax measures strains from the box at the start of each minimisation


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Record of a run; arrays have one value per record.

    Attributes:
        time: ps.
        total, potential: eV/atom.
        kelvin: temperature, K.
        shortest: shortest distance of two atoms, Å; infinite if no atoms are within the cutoff of each other.
        atoms: number of atoms.
        error: message of LAMMPS if the run did not reach its end.
        timed_out: whether the error is that the run took too long.
        microseconds: µs per atom and step; NaN if the run did not reach its end.
        memory: maximum memory of the first process, MB; NaN if unknown.
    """

    time: Floats
    total: Floats
    potential: Floats
    kelvin: Floats
    shortest: Floats
    atoms: int
    error: str = ""
    timed_out: bool = False
    microseconds: float = math.nan
    memory: float = math.nan

    @property
    def drift(self) -> float:
        """Drift of the total energy, meV/atom/ps, from a linear fit."""
        return 1e3 * float(np.polyfit(self.time, self.total - self.total[0], 1)[0])


def run_dynamics(
    files: LammpsFiles,
    structure: Configuration,
    lammps: Lammps,
    model_format: str,
    *,
    repeat: tuple[int, int, int] = (1, 1, 1),
    temperature: float = 300.0,
    bath: float | None = None,
    timestep: float = 0.0005,
    steps: int = 1000,
    every: int = 10,
    ranks: int = 1,
    timeout: float = 600,
) -> Trajectory:
    """Run molecular dynamics at constant volume; boxes of non-periodic directions grow with the atoms.

    Args:
        files: exported potential.
        structure: initial structure.
        lammps: executable.
        model_format: ``nn``, ``mliappy``, ``unified`` or ``snap``.
        repeat: number of replicas along each cell vector.
        temperature: of the initial velocities, K.
        bath: temperature of a Langevin thermostat, K; ``None``: constant energy.
        timestep: ps.
        steps: number of time steps.
        every: steps between records.
        ranks: number of MPI ranks.
        timeout: seconds.

    Returns:
        The records, those before an error if LAMMPS stopped with one.

    Raises:
        LammpsError: LAMMPS stopped before the first record.
    """
    commands = _dynamics_commands(files, structure, repeat, temperature, bath, timestep, steps, every)
    with tempfile.TemporaryDirectory() as name:
        folder = _prepared(files, structure, name, commands)
        output = error = ""
        timed_out = False
        try:
            output = lammps.run(arguments(model_format), folder, ranks, timeout)
        except LammpsError as stopped:
            error, timed_out = str(stopped), isinstance(stopped, LammpsTimeoutError)
        rows = _rows(folder / RECORD)
    if error and len(rows) < 2:
        raise (LammpsTimeoutError if timed_out else LammpsError)(error)
    atoms = len(structure) * int(np.prod(repeat))
    total, potential, kelvin, shortest = rows.T
    time = every * timestep * np.arange(len(rows), dtype=np.float64)
    shortest = np.where(shortest > 1e10, np.inf, shortest)
    return Trajectory(
        time,
        total / atoms,
        potential / atoms,
        kelvin,
        shortest,
        atoms,
        error,
        timed_out,
        _microseconds(output),
        _memory(output),
    )


def _dynamics_commands(
    files: LammpsFiles,
    structure: Configuration,
    repeat: tuple[int, int, int],
    temperature: float,
    bath: float | None,
    timestep: float,
    steps: int,
    every: int,
) -> list[str]:
    """Return the script of `run_dynamics`, with its arguments."""
    thermostat = f"fix bath all langevin {bath!r} {bath!r} 0.1 {SEED} zero yes"
    names = ("total", "potential", "kelvin", "shortest")
    cell = to_lammps(structure)
    return [
        *setup_commands(
            files, cell.boundary.replace("f", "m"), "md.data", ANY_GRID, f"replicate {' '.join(map(str, repeat))}"
        ),
        f"velocity all create {temperature!r} {SEED} mom yes rot {_yes(not any(structure.pbc))} dist gaussian",
        f"timestep {timestep!r}",
        "neigh_modify every 1 delay 0 check yes",
        "fix integrate all nve",
        *([thermostat] if bath is not None else []),
        "compute distances all pair/local dist",
        "compute shortest all reduce min c_distances inputs local",
        "thermo_style custom step temp pe etotal c_shortest",
        "thermo_modify lost error",
        f"thermo {every}",
        *(
            f"variable {name} equal {keyword}"
            for name, keyword in zip(names, ("etotal", "pe", "temp", "c_shortest"), strict=True)
        ),
        *(f"variable {name}_digits format {name} %.17g" for name in names),
        f'fix record all print {every} "{" ".join(f"${{{name}_digits}}" for name in names)}" file {RECORD} '
        'screen no title "# eV eV K A"',
        f"run {steps}",
        "info memory",
    ]


class Relaxed(NamedTuple):
    """A structure with minimum energy, without labels, and its energy (eV)."""

    structure: Configuration
    energy: float


def relax(
    files: LammpsFiles,
    structures: Sequence[Configuration],
    lammps: Lammps,
    model_format: str,
    *,
    cell: bool,
    timeout: float = 600,
) -> list[Relaxed]:
    """Relax structures in a single LAMMPS run; cubic cells stay cubic.

    Args:
        files: exported potential.
        structures: initial structures.
        lammps: executable.
        model_format: see `run_dynamics`.
        cell: relax the cells to zero pressure too; for fully periodic structures.
        timeout: seconds.

    Raises:
        LammpsError: LAMMPS failed.
    """
    cells = [to_lammps(structure) for structure in structures]
    with tempfile.TemporaryDirectory() as name:
        folder = copy_potential(files, name)
        commands = []
        for number, before in enumerate(cells):
            data = f"{number}.data"
            text = data_text(structures[number], files.elements, files.atom_style)
            (folder / data).write_text(text, encoding="utf-8")
            commands += ["clear", *setup_commands(files, before.boundary, data, ANY_GRID)]
            commands += _relax_commands(number, _couple(before) if cell else "")
        (folder / "in.run").write_text("\n".join(commands) + "\n", encoding="utf-8")
        lammps.run(arguments(model_format), folder, 1, timeout)
        return [
            _relaxed(structure, before, folder, number)
            for number, (structure, before) in enumerate(zip(structures, cells, strict=True))
        ]


def _relax_commands(number: int, couple: str) -> list[str]:
    """Return the commands that relax the current atoms, and with ``couple`` the box, and write the result."""
    commands = ["min_modify dmax 0.05"]
    for _ in range(RELAX_ROUNDS if couple else 1):
        box = [f"fix relaxed all box/relax {couple} 0.0 vmax 0.005"] if couple else []
        commands += [*box, MINIMIZE, *(["unfix relaxed"] if couple else [])]
    keywords = ("pe", "xlo", "xhi", "ylo", "yhi", "zlo", "zhi", "xy", "xz", "yz")
    return [
        *commands,
        f'print "{" ".join(f"$({keyword}:%.17g)" for keyword in keywords)}" file {number}.{BOX} screen no',
        f"write_dump all custom {number}.{RELAXED} id xu yu zu modify sort id format float %.17g",
    ]


def _relaxed(structure: Configuration, before: LammpsCell, folder: Path, number: int) -> Relaxed:
    """Read the result of `_relax_commands` in the frame of the structure."""
    energy, xlo, xhi, ylo, yhi, zlo, zhi, xy, xz, yz = np.loadtxt(folder / f"{number}.{BOX}").tolist()
    positions = np.loadtxt(folder / f"{number}.{RELAXED}", skiprows=9, ndmin=2)[:, 1:]
    moved = before.vectors_back(positions - np.array([xlo, ylo, zlo]))
    if before.boundary != "p p p":
        return Relaxed(replace(structure, positions=moved, labels={}), energy)
    box = np.array([[xhi - xlo, 0.0, 0.0], [xy, yhi - ylo, 0.0], [xz, yz, zhi - zlo]])
    # The same linear map takes the lattice vectors of the configuration to their relaxed ones, in either frame.
    deformation = before.rotation.T @ np.linalg.solve(before.box, box) @ before.rotation
    return Relaxed(replace(structure, cell=structure.cell @ deformation, positions=moved, labels={}), energy)


def _prepared(files: LammpsFiles, structure: Configuration, name: str, commands: Sequence[str]) -> Path:
    """Write potential, atoms and script to a folder."""
    folder = copy_potential(files, name)
    (folder / "md.data").write_text(data_text(structure, files.elements, files.atom_style), encoding="utf-8")
    (folder / "in.run").write_text("\n".join(commands) + "\n", encoding="utf-8")
    return folder


def _couple(cell: LammpsCell) -> str:
    """Return which deformations of a cell ``fix box/relax`` relaxes."""
    if cell.triclinic:
        return "tri"
    lengths = cell.hi - cell.lo
    return "iso" if np.ptp(lengths) < CUBIC * lengths.mean() else "aniso"


def _rows(path: Path) -> Floats:
    """Return (records, 4); those of a run that was stopped, without an incomplete last line."""
    if not path.is_file():
        return np.empty((0, 4))
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return np.array([list(map(float, words)) for words in lines if len(words) == 4]).reshape(-1, 4)


def _yes(condition: bool) -> str:
    return "yes" if condition else "no"


def _microseconds(output: str) -> float:
    found = LOOP_TIME.search(output)
    return 1e6 * float(found[1]) / (int(found[2]) * int(found[3])) if found else math.nan


def _memory(output: str) -> float:
    found = MEMORY.search(output)
    return float(found[1]) if found else math.nan
