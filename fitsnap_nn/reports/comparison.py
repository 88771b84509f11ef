"""FitSNAP's comparison files: predictions next to labels.

FitSNAP subtracts the reference potential from both columns. Here both include it, so that labels are those of the data.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import Property
from fitsnap_nn.files import write_text
from fitsnap_nn.reports.results import Result, by_subset, pairs

PERATOM_HEADER = "Filename Group AtomID Type Fx_Truth Fy_Truth Fz_Truth Fx_Pred Fy_Pred Fz_Pred Testing_Bool Set"
PERCONFIG_HEADER = "Filename Group Natoms Energy_Truth Energy_Pred Testing_Bool Set"


# Suffix of the file names of each set; `_val` is FitSNAP's.
SUFFIXES = MappingProxyType(
    {Subset.TRAINING: "", Subset.VALIDATION: "_val", Subset.TEST: "_test", Subset.UNKNOWN: "_unknown"}
)


def write_comparisons(folder: Path, results: Sequence[Result], properties: Sequence[Property]) -> dict[str, str]:
    """Write one comparison file per property and set.

    ``energy_comparison.dat``, ``force_comparison.dat``, ``stress_comparison.dat`` and so on contain the training set;
    ``_val`` marks the validation set and ``_test`` the test set. The columns are prediction and label in the report
    unit of the property. There is one row per configuration (energies in eV/atom, as in FitSNAP) or per component
    (forces in eV/Å; stresses in GPa, Voigt order). No file is written for a set without labels; the file of an
    earlier fit is removed.

    Args:
        folder: output folder.
        results: predictions and labels.
        properties: properties of the fit.

    Returns:
        A description of each file by file name.

    Raises:
        OSError: a file cannot be written.
    """
    written = {}
    for subset, members in by_subset(results).items():
        for quantity in properties:
            name, unit = quantity.title.lower(), quantity.report_unit.label
            path = folder / f"{name}_comparison{SUFFIXES[subset]}.dat"
            model, target, labels = pairs(quantity, members)
            if not labels:
                path.unlink(missing_ok=True)
                continue
            columns = np.column_stack([model, target])
            text = io.StringIO()
            np.savetxt(text, columns, fmt="%.10g", header=f"model target ({unit})")
            write_text(path, text.getvalue())
            written[path.name] = f"{name}, {subset.name.lower()} set: model, target ({unit})"
    return written


def write_perconfig(path: Path, results: Sequence[Result]) -> None:
    """Write FitSNAP's file of energies: one line per configuration, in eV/atom.

    Args:
        path: the file.
        results: predictions and labels; a missing label is written as ``nan``.
    """

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

    _write(path, PERCONFIG_HEADER, lines())


def write_peratom(path: Path, results: Sequence[Result], elements: Sequence[str]) -> None:
    """Write FitSNAP's file of forces: one line per atom with a predicted force, in eV/Å.

    Args:
        path: the file.
        results: predictions and labels; a missing label is written as ``nan``. Atoms are numbered from 1 in the order
            of the data file.
        elements: chemical symbols in the order of atom types, which are numbered from 1.
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

    _write(path, PERATOM_HEADER, lines())


def _write(path: Path, header: str, lines: Iterator[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=" ", lineterminator="\n")
    writer.writerow(header.split())
    writer.writerows(lines)
    write_text(path, text.getvalue())
