"""FitSNAP's files of predictions beside labels. All values belong to the whole potential: FitSNAP subtracts the
reference pair style from both columns, here both include it, so the labels are those of the data."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import Property
from fitsnap_nn.reports.results import Result, by_subset, pairs

PERATOM = "Filename Group AtomID Type Fx_Truth Fy_Truth Fz_Truth Fx_Pred Fy_Pred Fz_Pred Testing_Bool Set"
PERCONFIG = "Filename Group Natoms Energy_Truth Energy_Pred Testing_Bool Set"


# Ending of the file names of each set; those of validation are FitSNAP's.
ENDINGS = MappingProxyType({Subset.TRAINING: "", Subset.VALIDATION: "_val", Subset.TEST: "_test"})


def write_comparisons(folder: Path, results: Sequence[Result], properties: Sequence[Property]) -> dict[str, str]:
    """Write a file of predictions and labels for each property and each set.

    ``energy_comparison.dat``, ``force_comparison.dat``, ``stress_comparison.dat`` and so on are of the training set;
    names with ``_val`` are of the validation set, with ``_test`` of the test set. Each row has two columns, prediction
    and label, in the report unit of the property: one row for each configuration (energies in eV/atom, as in FitSNAP)
    or for each component (forces in eV/Å; stresses in GPa, Voigt order). A set without labels has no file; one that an
    earlier fit left is removed.

    Returns:
        name of each file written -> its content.
    """
    written = {}
    for subset, members in by_subset(results).items():
        for quantity in properties:
            name, unit = quantity.title.lower(), quantity.report_unit.label
            path = folder / f"{name}_comparison{ENDINGS[subset]}.dat"
            model, target, labels = pairs(quantity, members)
            if not labels:
                path.unlink(missing_ok=True)
                continue
            columns = np.column_stack([model, target])
            np.savetxt(path, columns, fmt="%.10g", header=f"model target ({unit})", encoding="utf-8")
            written[path.name] = f"{name}, {subset.name.lower()} set: model, target ({unit})"
    return written


def write_perconfig(path: Path, results: Sequence[Result]) -> None:
    """Write one line for each configuration: energies in eV/atom as FitSNAP, ``nan`` where there is no label."""

    def lines() -> Iterator[Sequence[object]]:
        for configuration, evaluation in results:
            atoms = len(configuration)
            truth = float("nan") if configuration.energy is None else configuration.energy / atoms
            yield (
                configuration.id,
                configuration.group,
                atoms,
                f"{truth:.10g}",
                f"{evaluation.energy / atoms:.10g}",
                configuration.subset is not Subset.TRAINING,
                configuration.subset.value,
            )

    _write(path, PERCONFIG, lines())


def write_peratom(path: Path, results: Sequence[Result], elements: Sequence[str]) -> None:
    """Write one line for each atom that has a predicted force: eV/Å, ``nan`` where there is no label.

    Atoms count from 1 in the order of the data file; types count from 1 in the order of ``elements``.
    """

    def lines() -> Iterator[Sequence[object]]:
        for configuration, evaluation in results:
            forces = evaluation.forces
            if forces is None:
                continue
            truth = np.full_like(forces, np.nan) if configuration.forces is None else configuration.forces
            ends = configuration.subset is not Subset.TRAINING, configuration.subset.value
            for number, element in enumerate(configuration.element_indices(elements)):
                values = [f"{value:.10g}" for value in (*truth[number], *forces[number])]
                yield configuration.id, configuration.group, number + 1, element + 1, *values, *ends

    _write(path, PERATOM, lines())


def _write(path: Path, header: str, lines: Iterator[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=" ", lineterminator="\n")
        writer.writerow(header.split())
        writer.writerows(lines)
