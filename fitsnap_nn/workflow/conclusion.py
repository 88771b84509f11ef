"""The end of a fit: files, verification in LAMMPS, report and verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fitsnap_nn.errors import VerificationError
from fitsnap_nn.export.deck import starting_structure
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.verify import Verification
from fitsnap_nn.reports.fit_record import FitRecord
from fitsnap_nn.reports.linear import with_linear
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.resumes import resumed_epochs
from fitsnap_nn.reports.tree import render_tree
from fitsnap_nn.reports.uncertainty import Calibrated, write_uncertainty
from fitsnap_nn.workflow import delivery
from fitsnap_nn.workflow.device import report_usage
from fitsnap_nn.workflow.going_on import finishing
from fitsnap_nn.workflow.run import Fit, Outcome, Run
from fitsnap_nn.workflow.summary import describe_fit, write_summary
from fitsnap_nn.workflow.training_run import history_of

UNFITTED = "energy, force and stress of [CALCULATOR] are 0, so that the energy of this model is not fitted to anything"


def conclude(run: Run, outcome: Outcome, results: list[Result], calibrated: Calibrated | None, verify: bool) -> Fit:
    """Write, verify and judge the results; on the first rank.

    Args:
        run: the fit.
        outcome: its model.
        results: predictions and labels.
        calibrated: uncertainty of the model, if there is one.
        verify: run the exported files in LAMMPS and compare.

    Raises:
        VerificationError: the exported files do not reproduce the fit. The report is written nevertheless.
        OSError: a file cannot be written.
    """
    settings, prepared, ranks, console, folder, *_ = run
    model_file = folder / settings.pytorch.output_file
    errors = with_linear(delivery.errors_of(results, prepared, settings), outcome.linear)
    structure = starting_structure(results)
    uncertainty = calibrated.uncertainty if calibrated else None
    with finishing(outcome.restart_file, ranks, console) as saved:
        with console.task("writing the model and its files for LAMMPS"):
            delivery.save(settings, outcome.model, outcome.origin, prepared, model_file, errors, structure, uncertainty)
            saved.append(model_file)
            lammps_files = delivery.deploy(settings, outcome.model, structure, uncertainty)
        files = delivery.report(settings, errors, results, prepared.properties, console, folder)
        files |= outcome.write_more() | write_uncertainty(folder, calibrated)
        lines = outcome.judge(results, errors)
        record = describe_fit(settings, outcome.model, prepared, results, errors, ranks, outcome.origin)
    run.times.lap("predictions and files")
    verification, more = verify_and_report(run, outcome, lammps_files, replace(record, verdict=tuple(lines)), verify)
    console.line(render_tree(folder, {**delivery.contents(settings, lammps_files), **more, **files}))
    _say_dynamics(run, lammps_files)
    report_usage(run.watch, ranks, console)
    console.line("\n".join(lines), final=True)
    return Fit(folder, errors, model_file, outcome.model, history_of(folder), verification, lines)


def verify_and_report(
    run: Run, outcome: Outcome, lammps_files: LammpsFiles, record: FitRecord, verify: bool
) -> tuple[Verification | None, dict[str, str]]:
    """Verify the exported files in LAMMPS, and write the report, also if the verification fails.

    Args:
        run: the fit.
        outcome: its model.
        lammps_files: the exported files.
        record: the fit, without verification, epochs and times.
        verify: run the files in LAMMPS.

    Returns:
        The verification, if there was one; a description of each file that was written.

    Raises:
        VerificationError: the exported files do not reproduce the fit.
        OSError: a file cannot be written.
    """
    settings, prepared, ranks, console, folder, *_ = run
    verification, failure = None, None
    found: dict[str, Any] = {"passed": None, "text": "not asked for (--no-verify)"}
    try:
        if verify:
            verification = delivery.verify(settings, outcome.model, prepared, lammps_files, console)
            found = delivery.entry_of_verification(verification)
    except VerificationError as error:
        failure, found = error, delivery.entry_of_verification(error)
        console.detail(f"verification in LAMMPS failed: {error}")  # the screen shows the message of the exception
    if verify:
        run.times.lap("verification in LAMMPS")
    files = {} if failure else delivery.md_checks(settings, prepared, lammps_files, ranks, console)
    if failure and settings.extras.md_checks:
        console.line("MD checks: not run, because the verification in LAMMPS failed", final=True)
    elif settings.extras.md_checks:
        run.times.lap("checks for molecular dynamics")
    epochs = {"stage_two": outcome.stage_two_began, "resumed": resumed_epochs(folder)}
    record = replace(record, verification=found, epochs=epochs, seconds=run.times.seconds)
    with finishing(outcome.restart_file, ranks, console) as saved, console.task("drawing plots, writing the report"):
        saved.append(folder / settings.pytorch.output_file)
        files |= write_summary(folder, settings, record, console)
    if failure:
        raise failure
    return verification, files


def _say_dynamics(run: Run, files: LammpsFiles) -> None:
    """Print how to run molecular dynamics, or why there is none."""
    if not run.settings.calculator.fits_energy:
        run.console.line(f"no molecular dynamics: {UNFITTED}")
    elif files.deck:
        run.console.line(f"molecular dynamics: cd {run.folder} && lmp -in {files.deck.name}", final=True)
