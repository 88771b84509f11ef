"""All reports of one fit or test, in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fitsnap_nn.data.properties import Property
from fitsnap_nn.reports.comparison import write_comparisons, write_peratom, write_perconfig
from fitsnap_nn.reports.epochs import METRICS_FILE, read_epochs
from fitsnap_nn.reports.errors_table import ErrorRow, errors_table, write_errors_table
from fitsnap_nn.reports.plots import plot_learning_curve, plot_parity
from fitsnap_nn.reports.results import Result
from fitsnap_nn.settings.schema import Settings


def write_reports(
    folder: Path, results: Sequence[Result], properties: Sequence[Property], settings: Settings
) -> tuple[list[ErrorRow], dict[str, str], list[str]]:
    """Write the table of errors, the comparison files, and the plots.

    Args:
        properties: of the fit.

    Returns:
        The rows of the table; the files written, each with its content; what could not be drawn, and why.
    """
    rows = errors_table(results, properties)
    write_errors_table(folder / settings.outfile.metrics, rows, settings.outfile.metrics_style)
    files = {settings.outfile.metrics: "errors by group and set", **write_comparisons(folder, results, properties)}
    if settings.extras.dump_perconfig:
        write_perconfig(folder / "perconfig.dat", results)
        files["perconfig.dat"] = "energies of every configuration"
    if settings.extras.dump_peratom:
        write_peratom(folder / "peratom.dat", results, settings.elements)
        files["peratom.dat"] = "forces on every atom"
    notes = [plot_parity(folder / "parity.png", results, properties)]
    files["parity.png"] = "predictions against labels"
    if (folder / METRICS_FILE).exists():
        notes.append(plot_learning_curve(folder / "learning_curve.png", read_epochs(folder), properties))
        files["learning_curve.png"] = "losses and errors against the epoch"
    return rows, files, [note for note in notes if note]
