"""Pictures of a fit, one module each. matplotlib is optional: without it, messages say that they are missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from fitsnap_nn.reports.epochs import EpochRow
from fitsnap_nn.reports.fit_record import FitRecord
from fitsnap_nn.reports.json_files import read_json
from fitsnap_nn.reports.plots.by_group import draw_by_group
from fitsnap_nn.reports.plots.curves import draw_md_checks, draw_uncertainty
from fitsnap_nn.reports.plots.force_errors import draw_force_errors
from fitsnap_nn.reports.plots.learning_curve import draw_learning_curve
from fitsnap_nn.reports.plots.parity import draw_parity
from fitsnap_nn.reports.plots.residuals import draw_residuals
from fitsnap_nn.reports.plots.sheet import Sheet
from fitsnap_nn.settings.outputs import CHECKS_FILE, UNCERTAINTY_FILE

NO_MATPLOTLIB = "no pictures: matplotlib is not installed (pip install matplotlib)"
DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "parity.png": "predictions against labels, with residuals",
        "errors_by_group.png": "errors by group and set",
        "force_errors.png": "errors of forces against their magnitude",
        "residuals.png": "histograms of the residuals",
        "learning_curve.png": "losses, errors and learning rate against the epoch",
        "md_checks.png": "curves of the checks for molecular dynamics",
        "uncertainty.png": "uncertainty against true error",
    }
)


def write_pictures(folder: Path, record: FitRecord, epochs: Sequence[EpochRow]) -> tuple[dict[str, str], list[str]]:
    """Draw all pictures for which there are data; those of an earlier fit are removed.

    A picture that cannot be drawn is never the end of a fit: its reason is returned as a note.

    Args:
        folder: output folder.
        record: the fit.
        epochs: results of the epochs; empty without training.

    Returns:
        A description of each picture by file name; a note for each that could not be drawn.

    Raises:
        OSError: a file cannot be written.
    """
    for name in DESCRIPTIONS:
        (folder / name).unlink(missing_ok=True)
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return {}, [NO_MATPLOTLIB]
    drawings: dict[str, Callable[[], Sheet | None]] = {
        "parity.png": lambda: draw_parity(record),
        "errors_by_group.png": lambda: draw_by_group(record),
        "force_errors.png": lambda: draw_force_errors(record),
        "residuals.png": lambda: draw_residuals(record),
        "learning_curve.png": lambda: draw_learning_curve(record, epochs),
        "md_checks.png": lambda: draw_md_checks(record, read_json(folder / CHECKS_FILE)),
        "uncertainty.png": lambda: draw_uncertainty(record, read_json(folder / UNCERTAINTY_FILE)),
    }
    written, notes = {}, []
    for name, draw in drawings.items():
        try:
            sheet = draw()
            if sheet is not None:
                sheet.save(folder / name)
                written[name] = DESCRIPTIONS[name]
        except OSError:
            raise
        except Exception as error:  # whatever it is: a fit of hours is worth more than a picture
            notes.append(f"no {name}: it could not be drawn ({type(error).__name__}: {error})")
    return written, notes
