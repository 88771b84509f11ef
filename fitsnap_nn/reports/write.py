"""Tables of a fit or evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fitsnap_nn.data.properties import Property
from fitsnap_nn.reports.comparison import write_comparisons, write_peratom, write_perconfig
from fitsnap_nn.reports.errors_table import ErrorRow, write_errors_table
from fitsnap_nn.reports.linear_metrics import linear_metrics, write_linear_metrics
from fitsnap_nn.reports.results import Result
from fitsnap_nn.settings.schema import Settings


def write_reports(
    folder: Path,
    rows: Sequence[ErrorRow],
    results: Sequence[Result],
    properties: Sequence[Property],
    settings: Settings,
) -> dict[str, str]:
    """Write the error table and the comparison files.

    Args:
        folder: output folder.
        rows: error table.
        results: predictions and labels.
        properties: properties of the fit.
        settings: settings of the fit.

    Returns:
        A description of each file by file name.

    Raises:
        OSError: a file cannot be written.
    """
    path, style = folder / settings.outfile.metrics, settings.outfile.metrics_style
    if settings.solver.is_linear:
        write_linear_metrics(path, linear_metrics(results, properties), style)
    else:
        write_errors_table(path, rows, style)
    files = {settings.outfile.metrics: "errors by group and set", **write_comparisons(folder, results, properties)}
    if settings.extras.dump_perconfig:
        write_perconfig(folder / "perconfig.dat", results)
        files["perconfig.dat"] = "per-configuration energies"
    if settings.extras.dump_peratom:
        write_peratom(folder / "peratom.dat", results, settings.elements)
        files["peratom.dat"] = "per-atom forces"
    return files
