"""Exported files in LAMMPS: energies, forces and stresses of configurations, and molecular dynamics."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.voigt import FROM_LAMMPS
from fitsnap_nn.lammps.cell import LammpsCell, to_lammps
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.program import Lammps

LAMMPS_BAR = 1.0 / 1.6021765e6  # eV/Å³ in a bar, as LAMMPS rounds it in units metal
RESULTS = "results"
ENERGIES = "energies"
ANY_GRID = "* * *"


def evaluate_in_lammps(
    files: LammpsFiles,
    configurations: Sequence[Configuration],
    lammps: Lammps,
    model_format: str,
    *,
    ranks: int = 1,
    timeout: float = 600,
) -> list[Evaluation | None]:
    """What one run of LAMMPS finds for each configuration, in its own frame.

    A rank without atoms crashes LAMMPS' own Python ML-IAP (4 Feb 2025), so for ``mliappy`` without the plugin the box
    is cut where each of several ranks has some; a configuration for which that is impossible gets ``None``.

    Raises:
        LammpsError: LAMMPS failed.
    """
    cells = [to_lammps(configuration) for configuration in configurations]
    needs_atoms = model_format == "mliappy" and not lammps.plugin
    grids = [_processors(cell, ranks) if needs_atoms else ANY_GRID for cell in cells]
    chosen = [number for number, grid in enumerate(grids) if grid]
    results: list[Evaluation | None] = [None] * len(cells)
    if not chosen:
        return results
    with tempfile.TemporaryDirectory() as name:
        folder = _prepared(files, name)
        commands = []
        for number in chosen:
            text = data_text(configurations[number], files.elements, files.atom_style)
            (folder / f"{number}.data").write_text(text)
            commands += ["clear", *_set_up(files, cells[number], f"{number}.data", grids[number])]
            commands += _single_point(number)
        (folder / "in.run").write_text("\n".join(commands) + "\n")
        lammps.run(_arguments(model_format), folder, ranks, timeout)
        rows = {int(row[0]): row[1:] for row in np.loadtxt(folder / RESULTS, ndmin=2)}
        for number in chosen:
            forces = np.loadtxt(folder / f"{number}.forces", skiprows=9, ndmin=2)[:, 1:]
            results[number] = _evaluation(cells[number], rows[number], forces)
    return results


def nve_drift(
    files: LammpsFiles,
    structure: Configuration,
    lammps: Lammps,
    model_format: str,
    *,
    repeat: tuple[int, int, int] = (1, 1, 1),
    temperature: float = 300.0,
    timestep: float = 0.0005,
    steps: int = 1000,
    ranks: int = 1,
    timeout: float = 600,
) -> float:
    """Drift of the total energy in molecular dynamics at constant energy, meV/atom/ps, by a straight line through it.

    Args:
        repeat: how often the cell is repeated along its vectors.
        temperature: of the first velocities, K.
        timestep: ps.

    Raises:
        LammpsError: LAMMPS failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = _prepared(files, name)
        (folder / "md.data").write_text(data_text(structure, files.elements, files.atom_style))
        commands = [
            *_set_up(files, to_lammps(structure), "md.data", ANY_GRID, f"replicate {' '.join(map(str, repeat))}"),
            f"velocity all create {temperature!r} 4928459 mom yes rot no dist gaussian",
            f"timestep {timestep!r}",
            "fix integrate all nve",
            "thermo_style custom step etotal",
            "thermo 10",
            "variable energy equal etotal",
            "variable energy_digits format energy %.17g",
            f'fix record all print 10 "${{energy_digits}}" file {ENERGIES} screen no title "# eV"',
            f"run {steps}",
        ]
        (folder / "in.run").write_text("\n".join(commands) + "\n")
        lammps.run(_arguments(model_format), folder, ranks, timeout)
        energies = np.loadtxt(folder / ENERGIES)
    times = 10.0 * timestep * np.arange(len(energies))
    slope = np.polyfit(times, energies - energies[0], 1)[0]
    return 1e3 * float(slope) / (len(structure) * int(np.prod(repeat)))


def _prepared(files: LammpsFiles, name: str) -> Path:
    """A folder with what a run needs and nothing else, so that it is the exported files that are run."""
    folder = Path(name)
    for path in files.potential:
        shutil.copyfile(path, folder / path.name)
    return folder


def _set_up(files: LammpsFiles, cell: LammpsCell, data: str, grid: str, *more: str) -> list[str]:
    return [
        "units metal",
        f"atom_style {files.atom_style}",
        f"boundary {cell.boundary}",
        f"processors {grid}",
        f"read_data {data}",
        *more,
        f"include {files.mod.name}",
    ]


def _single_point(number: int) -> list[str]:
    keywords = ("pe", "pxx", "pyy", "pzz", "pxy", "pxz", "pyz")
    values = " ".join(f"$({keyword}:%.17g)" for keyword in keywords)
    return [
        f"thermo_style custom step {' '.join(keywords)}",
        "run 0 post no",
        f'print "{number} {values}" append {RESULTS} screen no',
        f"write_dump all custom {number}.forces id fx fy fz modify sort id format float %.17g",
    ]


def _arguments(model_format: str) -> list[str]:
    return ["-in", "in.run", "-log", "none", "-nocite", "-var", "potential_model", model_format]


def _evaluation(cell: LammpsCell, row: Floats, forces: Floats) -> Evaluation:
    energy, pressures = float(row[0]), row[1:]
    values = {"energy": np.array(energy), "forces": cell.vectors_back(forces)}
    if cell.boundary == "p p p":
        values["stress"] = cell.stress_back(-pressures[list(FROM_LAMMPS)] * LAMMPS_BAR)
    return Evaluation(values)


def _processors(cell: LammpsCell, ranks: int) -> str:
    """A grid of processors that cuts the box into slabs which all have atoms; empty if there is none."""
    fractions = (cell.positions - cell.lo) @ np.linalg.inv(cell.box)
    for axis in range(3):
        slabs = fractions[:, axis] * ranks
        inside = slabs[np.abs(slabs - np.round(slabs)) > 1e-6]
        if len(set(np.floor(inside).astype(int))) == ranks or ranks == 1:
            return " ".join(str(ranks) if number == axis else "1" for number in range(3))
    return ""
