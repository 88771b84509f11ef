"""FitSNAP's files of predictions beside labels. All values belong to the whole potential: FitSNAP subtracts the
reference pair style from both columns, here both include it, so the labels are those of the data."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fitsnap_nn.reports.results import PROPERTIES, Result, split

PERATOM = "Filename Group AtomID Type Fx_Truth Fy_Truth Fz_Truth Fx_Pred Fy_Pred Fz_Pred Testing_Bool"
PERCONFIG = "Filename Group Natoms Energy_Truth Energy_Pred Testing_Bool"


def write_comparisons(folder: Path, results: Sequence[Result]) -> dict[str, str]:
    """Write ``energy_comparison.dat``, ``force_comparison.dat``, ``stress_comparison.dat`` of the training set, and
    the same with ``_val`` of the testing set.

    Each row has two columns, model and target: energies in eV/atom as FitSNAP, a row for each configuration; force
    components in eV/Å and stress components in GPa, Voigt order, a row for each component. What has no labels has no
    file; one that an earlier fit left is removed.

    Returns:
        name of each file written -> what it holds.
    """
    written = {}
    for results_of_set, ending, of in zip(split(results), ("", "_val"), ("training", "testing"), strict=True):
        for quantity in PROPERTIES:
            path = folder / f"{quantity.name.lower()}_comparison{ending}.dat"
            model, target, labels = quantity.pairs(results_of_set)
            if not labels:
                path.unlink(missing_ok=True)
                continue
            np.savetxt(
                path,
                np.column_stack([model, target]),
                fmt="%.10g",
                header=f"model target ({quantity.unit})",
                encoding="utf-8",
            )
            written[path.name] = f"{quantity.name.lower()} of the {of} set: model, target ({quantity.unit})"
    return written


def write_perconfig(path: Path, results: Sequence[Result]) -> None:
    """Write one line for each configuration: energies in eV/atom as FitSNAP, ``nan`` where there is no label."""

    def lines() -> Iterator[Sequence[object]]:
        for result in results:
            configuration = result.configuration
            atoms = len(configuration)
            truth = float("nan") if configuration.energy is None else configuration.energy / atoms
            yield (
                configuration.id,
                configuration.group,
                atoms,
                f"{truth:.10g}",
                f"{result.energy / atoms:.10g}",
                configuration.testing,
            )

    _write(path, PERCONFIG, lines())


def write_peratom(path: Path, results: Sequence[Result], elements: Sequence[str]) -> None:
    """Write one line for each atom that has a predicted force: eV/Å, ``nan`` where there is no label.

    Atoms count from 1 in the order of the data file; types count from 1 in the order of ``elements``.
    """

    def lines() -> Iterator[Sequence[object]]:
        for result in results:
            configuration = result.configuration
            if result.forces is None:
                continue
            truth = np.full_like(result.forces, np.nan) if configuration.forces is None else configuration.forces
            for number, element in enumerate(configuration.element_indices(elements)):
                values = [f"{value:.10g}" for value in (*truth[number], *result.forces[number])]
                yield configuration.id, configuration.group, number + 1, element + 1, *values, configuration.testing

    _write(path, PERATOM, lines())


def _write(path: Path, header: str, lines: Iterator[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=" ", lineterminator="\n")
        writer.writerow(header.split())
        writer.writerows(lines)
