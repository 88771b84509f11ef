"""Evaluation of exported potentials in LAMMPS: energies, forces and stresses."""

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
from fitsnap_nn.lammps.reference import SPIN_FIX, atom_style_commands
from fitsnap_nn.units import LAMMPS_BAR

RESULTS = "results"
ANY_GRID = "* * *"


def evaluate_in_lammps(
    files: LammpsFiles,
    configurations: Sequence[Configuration],
    lammps: Lammps,
    model_format: str,
    *,
    ranks: int = 1,
    timeout: float = 600,
    before: Sequence[str] = (),
) -> list[Evaluation | None]:
    """Evaluate configurations in a single LAMMPS run.

    LAMMPS' own Python ML-IAP crashes on ranks without atoms (seen in 4 Feb 2025). For ``mliappy`` without the plugin,
    a processor grid is therefore chosen that assigns atoms to each rank.

    Args:
        files: exported potential.
        configurations: structures to evaluate.
        lammps: executable.
        model_format: ``nn``, ``mliappy`` or ``unified``.
        ranks: number of MPI ranks.
        timeout: seconds.
        before: commands for each configuration before it is evaluated, such as a minimisation.

    Returns:
        The evaluation of each configuration, in the frame of the configuration; ``None`` if no suitable processor grid
        exists.

    Raises:
        LammpsError: LAMMPS failed.
    """
    cells = [to_lammps(configuration) for configuration in configurations]
    needs_atoms = model_format == "mliappy" and not lammps.plugin
    grids = [_processor_grid(cell, ranks) if needs_atoms else ANY_GRID for cell in cells]
    selected = [number for number, grid in enumerate(grids) if grid]
    results: list[Evaluation | None] = [None] * len(cells)
    if not selected:
        return results
    with tempfile.TemporaryDirectory() as name:
        folder = copy_potential(files, name)
        commands = []
        for number in selected:
            text = data_text(configurations[number], files.elements, files.atom_style)
            (folder / f"{number}.data").write_text(text, encoding="utf-8")
            commands += ["clear", *setup_commands(files, cells[number].boundary, f"{number}.data", grids[number])]
            commands += [*before, *_single_point(number)]
        (folder / "in.run").write_text("\n".join(commands) + "\n", encoding="utf-8")
        lammps.run(arguments(model_format), folder, ranks, timeout)
        rows = {int(row[0]): row[1:] for row in np.loadtxt(folder / RESULTS, ndmin=2)}
        for number in selected:
            forces = np.loadtxt(folder / f"{number}.forces", skiprows=9, ndmin=2)[:, 1:]
            results[number] = _evaluation(cells[number], rows[number], forces)
    return results


def copy_potential(files: LammpsFiles, name: str) -> Path:
    """Copy the exported files, and nothing else, so that a run proves them complete."""
    folder = Path(name)
    for path in files.potential:
        shutil.copyfile(path, folder / path.name)
    return folder


def setup_commands(files: LammpsFiles, boundary: str, data: str, grid: str, *more: str) -> list[str]:
    """Return the commands that read a data file and set up the potential.

    Args:
        files: exported potential.
        boundary, grid: arguments of ``boundary`` and ``processors``.
        data: name of the data file.
        more: commands before the potential.
    """
    return [
        "units metal",
        *atom_style_commands(files.atom_style),
        f"boundary {boundary}",
        f"processors {grid}",
        f"read_data {data}",
        *more,
        f"include {files.mod.name}",
        *([f"fix lattice all {SPIN_FIX}"] if "spin/" in files.mod.read_text(encoding="utf-8") else []),
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


def arguments(model_format: str) -> list[str]:
    """Return the command-line arguments of LAMMPS for the script ``in.run``."""
    return ["-in", "in.run", "-log", "none", "-nocite", "-var", "potential_model", model_format]


def _evaluation(cell: LammpsCell, row: Floats, forces: Floats) -> Evaluation:
    energy, pressures = float(row[0]), row[1:]
    values = {"energy": np.array(energy), "forces": cell.vectors_back(forces)}
    if cell.boundary == "p p p":
        values["stress"] = cell.stress_back(-pressures[list(FROM_LAMMPS)] * LAMMPS_BAR)
    return Evaluation(values)


def _processor_grid(cell: LammpsCell, ranks: int) -> str:
    """Return arguments of ``processors`` that divide the box into slabs with atoms in each; empty if impossible."""
    fractions = (cell.positions - cell.lo) @ np.linalg.inv(cell.box)
    for axis in range(3):
        slabs = fractions[:, axis] * ranks
        # Rounding decides which side of a slab boundary an atom is assigned to, so atoms there are not counted.
        inside = slabs[np.abs(slabs - np.round(slabs)) > 1e-6]
        if len(set(np.floor(inside).astype(int))) == ranks or ranks == 1:
            return " ".join(str(ranks) if number == axis else "1" for number in range(3))
    return ""
