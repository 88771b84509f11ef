"""The results of a fit: reports, the model file, the files for LAMMPS, and their verification in LAMMPS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from fitsnap_nn import __version__
from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.irreducible_blocks import with_blocks
from fitsnap_nn.data.properties import Property
from fitsnap_nn.errors import LammpsError, VerificationError
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.export.model_file import save_model
from fitsnap_nn.folders import LOG_FILE, MARKER
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.cell import in_lammps_frame
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.verify import Verification
from fitsnap_nn.lammps.verify import verify as compare
from fitsnap_nn.md_checks.suite import run_checks
from fitsnap_nn.models import Model
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.models.uncertainty import Uncertainty
from fitsnap_nn.reports.epochs import LOSS_FILE, METRICS_FILE
from fitsnap_nn.reports.errors_table import ALL, STYLES, ErrorRow, errors_table, summary
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.reports.write import write_reports
from fitsnap_nn.settings import Settings
from fitsnap_nn.settings.outputs import CHECKS_FILE, TENSORBOARD, snapshot_names
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.workflow.preparation import Prepared, describe_groups

VERIFIED_CONFIGURATIONS = 5
# Files of linear models, by format or suffix.
OF_LINEAR = {"snap": "coefficients for pair_style snap", "pace": "the model for pair_style pace"}
OF_TEXTS = {".snapparam": "parameters for pair_style snap", ".acecoeff": "table of the coefficients"}


def errors_of(results: Sequence[Result], prepared: Prepared, settings: Settings) -> list[ErrorRow]:
    """Return the error table, with rows for irreducible blocks if the input asks for them."""
    properties = prepared.properties
    return errors_table(results, with_blocks(properties) if settings.pytorch.log_separate_blocks else properties)


def report(
    settings: Settings,
    errors: Sequence[ErrorRow],
    results: list[Result],
    properties: Sequence[Property],
    console: Console,
    folder: Path,
) -> dict[str, str]:
    """Write the tables of predictions and print their summary.

    Returns:
        The content of each file that was written.
    """
    with console.task("writing tables"):
        files = write_reports(folder, errors, results, properties, settings)
    for subset in Subset:
        if text := summary(errors, subset, properties):
            console.line(f"errors ({subset.name.lower()} set, mean absolute): {text}", final=True)
        if text := summary(errors, subset, properties, linear=True):
            console.line(f"  linear model on the same descriptors: {text}")
    return files


def save(
    settings: Settings,
    model: Model[Any],
    origin: Mapping[str, object],
    prepared: Prepared,
    model_file: Path,
    errors: Sequence[ErrorRow],
    structure: Configuration,
    uncertainty: Uncertainty | None = None,
) -> None:
    """Write the model file, with the weights that the errors were computed with.

    Args:
        origin: what determined the weights, such as seed and epoch.
    """
    provenance = {
        "input": settings.text,
        **date_and_versions(),
        **origin,
        "errors": {one.value: text for one in Subset if (text := summary(errors, one, prepared.properties))},
        "error_table": STYLES["MD"]([row for row in errors if row.group == ALL]),
        "data": "\n".join(describe_groups(prepared.dataset, settings)),
        "data_hash": prepared.digest,
    }
    save_model(model_file, model, settings, provenance, structure, prepared.split, uncertainty)


def date_and_versions() -> dict[str, object]:
    """Return when and with which versions a model file is written, for its provenance."""
    versions = {name: metadata.version(name) for name in ("torch", "lammps", "numpy")}
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"date": date, "versions": {"fitsnap_nn": __version__, **versions}}


def deploy(
    settings: Settings, model: Model[Any], structure: Configuration, uncertainty: Uncertainty | None = None
) -> LammpsFiles:
    """Write the LAMMPS files."""
    return write_lammps_files(
        model,
        settings.reference,
        Path(settings.output_folder),
        settings.outfile.potential,
        structure=structure,
        reference_folder=Path(settings.folder),
        uncertainty=uncertainty,
    )


def verify(
    settings: Settings, model: Model[Any], prepared: Prepared, files: LammpsFiles, console: Console
) -> Verification:
    """Compare the exported files, run by LAMMPS, with the model, for configurations held out from different groups."""
    potential = Potential(model, settings.reference, Path(settings.folder))
    return verify_potential(potential, prepared.dataset.configurations, files, console)


def verify_potential(
    potential: Potential, configurations: Sequence[Configuration], files: LammpsFiles, console: Console
) -> Verification:
    """Compare exported files, run by LAMMPS, with a potential, for configurations held out from different groups."""
    model = potential.model
    order = (Subset.VALIDATION, Subset.TEST, Subset.TRAINING, Subset.UNKNOWN)
    sets = ([one for one in configurations if one.subset is subset] for subset in order)
    candidates: list[Configuration] = next((members for members in sets if members), [])
    one_each = {configuration.group: configuration for configuration in reversed(candidates)}
    chosen = [in_lammps_frame(configuration) for configuration in list(one_each.values())[:VERIFIED_CONFIGURATIONS]]
    with console.task("verification in LAMMPS") as task:

        def progress(what: str, done: int, total: int) -> None:
            task.name = f"verification in LAMMPS, {what}"
            task.update(done, total)

        expected = [potential.predict(configuration) for configuration in chosen]
        rounds = files.precision == "float32" or isinstance(model, LinearModel)
        verification = compare(
            files,
            chosen,
            expected,
            shear=not model.needs_augmentation,
            stress_tolerance=model.input.strain_error,
            terms=[potential.energy_terms(one) for one in chosen] if rounds else (),
            progress=progress,
        )
    console.line(str(verification), final=True)
    return verification


def entry_of_verification(outcome: Verification | VerificationError) -> dict[str, Any]:
    """Return the entry in a `FitRecord` of a verification, or of its failure."""
    if isinstance(outcome, VerificationError):
        return {"passed": False, "text": str(outcome)}
    return {"passed": None if outcome.difference is None else True, "text": str(outcome)}


def md_checks(
    settings: Settings, prepared: Prepared, files: LammpsFiles, ranks: Ranks, console: Console
) -> dict[str, str]:
    """Run the checks at the end of a fit, if the input asks for them; a failed one does not fail the fit.

    Returns:
        The content of each file that was written.
    """
    if not settings.extras.md_checks:
        return {}
    if not settings.calculator.fits_energy:
        console.line("MD checks: not run, because the energy of this model is not fitted")
        return {}
    try:
        checks = run_checks(
            files,
            prepared.dataset.configurations,
            name=settings.outfile.potential,
            say=console.line,
            ranks=ranks.size,
        )
    except LammpsError as error:
        console.line(f"MD checks: not run: {error}")
        return {}
    path = files.folder / CHECKS_FILE
    checks.write(path)
    console.line(f"MD checks: {checks}", final=True)
    return {path.name: "MD checks: verdicts, numbers and curves"}


def contents(settings: Settings, files: LammpsFiles) -> dict[str, str]:
    """Return the content of each file of a fit, in the order of the tree."""
    phrases = {
        settings.pytorch.output_file: "the model, for fitsnap_nn.load_potential and export",
        settings.pytorch.save_state_output: "restart file, for --resume",
        **dict.fromkeys(snapshot_names(settings), "restart file of an earlier epoch"),
    }
    phrases |= {path.name: f"the model for pair_style mliap, format {name}" for name, path in files.models.items()}
    phrases |= {path.name: "file of the reference potential" for path in files.extra}
    phrases |= {files.models[name].name: text for name, text in OF_LINEAR.items() if name in files.models}
    phrases |= {path.name: OF_TEXTS[path.suffix] for path in files.texts}
    if files.descriptor:
        phrases[files.descriptor.name] = "descriptor options for LAMMPS"
    phrases[files.mod.name] = "pair style, to be included"
    if files.uncertainty:
        phrases[files.uncertainty.name] = "watches the uncertainty in molecular dynamics, to be included"
    if files.deck and files.data:
        phrases |= {files.deck.name: "molecular dynamics, ready to run", files.data.name: "its atoms"}
    return phrases | {
        LOSS_FILE: "losses of each epoch",
        METRICS_FILE: "losses and errors of each epoch",
        TENSORBOARD: "the same for TensorBoard",
        LOG_FILE: "everything printed",
        "input.used.in": "the input",
        MARKER: "list of the files of fitsnap_nn here",
        "cache": "model inputs, for the next fit",
    }
