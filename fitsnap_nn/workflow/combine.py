"""Committees of models from several fits: model file, files for LAMMPS, errors, uncertainty, verification."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fitsnap_nn import devices, interrupts
from fitsnap_nn.data.any_format import unique
from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.properties import STANDARD
from fitsnap_nn.errors import CheckpointError, InputError, Problem, VerificationError
from fitsnap_nn.export.combine import combine
from fitsnap_nn.export.export import write_export
from fitsnap_nn.export.model_file import ModelFile, load_model, load_payload, model_of, payload_with, write_payload
from fitsnap_nn.files import one_line_errors
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.verify import Verification
from fitsnap_nn.launch import repeated_command
from fitsnap_nn.models.uncertainty import RAW_COMMITTEE
from fitsnap_nn.reports.errors_table import ALL, STYLES, errors_table, summary
from fitsnap_nn.reports.member_weights import MIN_CONFIGURATIONS, choose_weights
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.reports.uncertainty import Calibrated, calibrate
from fitsnap_nn.reports.verdict import verdict_of_errors
from fitsnap_nn.settings import Settings
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.settings.lammps_names import unreadable_name
from fitsnap_nn.terminal import announced
from fitsnap_nn.training.distributed import Ranks, session
from fitsnap_nn.workflow import delivery
from fitsnap_nn.workflow.device import use_device
from fitsnap_nn.workflow.evaluation import evaluate_content, read_data, with_sets
from fitsnap_nn.workflow.members import find_members, fit_missing
from fitsnap_nn.workflow.model_report import describe_test, refuse_report, remove_report, write_test_report
from fitsnap_nn.workflow.preparation import describe_data, read_dataset

UNCALIBRATED = (
    "weights: equal; uncertainty: not calibrated, and not in the files for LAMMPS. Name the data files of the fits "
    "(--data) to choose the weights by errors of the validation set, and to calibrate the uncertainty on it."
)
NO_VALIDATION = (
    "uncertainty: not calibrated. The data files contain no configuration with forces that is in the validation set "
    "of one fit and in the training set of none. Split the data of all members alike (random_seed in [GROUPS])."
)


class _Assessed(NamedTuple):
    """The mean with its weights; and, on the first rank, its predictions and its calibrated uncertainty, if any."""

    content: ModelFile
    results: list[Result]
    calibrated: Calibrated | None


def combine_models(
    sources: Sequence[str | Path],
    folder: str | Path,
    *,
    data: Sequence[str] = (),
    name: str = "",
    equal: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
    brief: bool = False,
    trust: bool = False,
) -> Verification | None:
    """Write the mean of several models as one model file, with its files for LAMMPS, and verify these in LAMMPS.

    With data, the weights of the models are those with the smallest errors of forces on the validation set.

    Args:
        sources: model or restart files, or inputs, whose fits run first where they have not yet; at least two. See
            `fitsnap_nn.export.combine.combine`.
        folder: output folder; created if necessary.
        data: data files, on which the errors of members and mean are shown and the uncertainty is calibrated; by
            default the data of the first input.
        name: common part of the file names; by default that of the first model.
        equal: give all members the same weight.
        overwrite: replace existing files.
        resume: go on with interrupted fits of inputs.
        quiet: print nothing.
        brief: print warnings and results only.
        trust: see `load_potential`.

    Returns:
        The comparison with LAMMPS, on the first rank.

    Raises:
        InputError: there are fewer than two models, or one twice, the name is not possible, files exist already, or
            something is wrong with an input.
        CheckpointError: a model cannot be read, they do not go together, or their mean is not better than one of them.
        DataError: a data file cannot be read.
        VerificationError: LAMMPS does not reproduce the model.
    """
    if problem := name and unreadable_name(name):
        raise InputError([Problem(COMMAND_LINE, f"--name {name}: {problem}.", "Choose another name.")])
    members = find_members(sources)
    inputs = [one.settings for one in members if one.settings]
    first = members[0].settings
    _refuse_existing(folder, name or (first.outfile.potential if first else ""), overwrite)
    fit_missing(members, overwrite=overwrite, resume=resume, quiet=quiet, brief=brief, trust=trust)
    with session() as ranks, one_line_errors():
        again = repeated_command(ranks.size, "--resume")
        interrupts.describe(lambda: f"interrupted while the models were combined; no fit is lost. To repeat: {again}")
        stream = sys.stdout if ranks.is_first and not quiet else None
        with announced("reading the models", stream is None or brief):
            first_payload = load_payload(members[0].path, trust=trust)
            others = [load_model(one.path, trust=trust) for one in members[1:]]
            files = [model_of(first_payload, members[0].path, trust=trust), *others]
        content = _named(combine(files), name)
        _refuse_existing(folder, content.potential, overwrite)
        with Console(stream, brief=brief) as console:
            console.line(str(content.provenance["origin"]))
            configurations, assessed = _read(content, data, inputs, ranks, console), None
            if configurations:
                assessed = _assessed(content, files, configurations, equal, ranks, console)
                content = assessed.content
            if not ranks.is_first:
                return None
            written = _write(content, first_payload, Path(folder), overwrite, console)
            return _verify_and_report(content, written, assessed, configurations, " ".join(data), console)


def _read(
    content: ModelFile, data: Sequence[str], inputs: Sequence[Settings], ranks: Ranks, console: Console
) -> Sequence[Configuration]:
    """Return the configurations, in their sets, of data files or, if there are none, of the first input, if any."""
    if data:
        return with_sets(content, read_data(content, unique(data), ranks, console), console)
    if not inputs:
        console.line(UNCALIBRATED)
        return ()
    dataset = read_dataset(inputs[0], ranks, console=console)
    console.line(describe_data(dataset, inputs[0]))
    return with_sets(content, dataset.configurations, console)


def _named(content: ModelFile, name: str) -> ModelFile:
    """Return the committee with its name, the date, and the versions of the libraries."""
    provenance = {**content.provenance, **delivery.date_and_versions()}
    return content._replace(provenance=provenance, potential=name or Path(content.potential).name)


def _refuse_existing(folder: str | Path, name: str, overwrite: bool) -> None:
    """Refuse to replace an export before anything is computed; `write_export` looks at all files."""
    path = Path(folder, f"{Path(name).name}.mod")
    if name and path.exists() and not overwrite:
        raise InputError([Problem(str(path), "already exists.", "Give --overwrite to replace it.")])
    refuse_report(folder, overwrite=overwrite)


def _assessed(
    content: ModelFile,
    files: Sequence[ModelFile],
    configurations: Sequence[Configuration],
    equal: bool,
    ranks: Ranks,
    console: Console,
) -> _Assessed:
    """Return the mean with its weights and calibrated uncertainty; print the errors of the models and of the mean."""
    device = use_device(devices.choose(local_rank=ranks.local_rank), ranks, console)

    def results_of(file: ModelFile, name: str) -> list[Result]:
        return evaluate_content(file, configurations, ranks, STANDARD, console, device=device, name=name)

    validation = []
    for file in files:
        results = results_of(file, f"evaluation of {file.path.parent.name or file.path.name}")
        validation.append(_of_validation(results))
        if ranks.is_first:
            _show_errors(str(file.path), results, console)
    content = _weighted(content, files, [] if equal else validation, ranks, console)
    results = results_of(content, "evaluation of the mean")
    if not ranks.is_first:
        return _Assessed(content, results, None)
    rows = _show_errors("mean", results, console)
    calibrated = calibrate(RAW_COMMITTEE, _of_validation(results))
    for line in calibrated.lines() if calibrated else [NO_VALIDATION]:
        console.line(line, final=True)
    content = content._replace(
        provenance={**content.provenance, "error_table": rows},
        uncertainty=calibrated.uncertainty if calibrated else None,
    )
    return _Assessed(content, results, calibrated)


def _of_validation(results: Sequence[Result]) -> list[Result]:
    return [one for one in results if one.configuration.subset is Subset.VALIDATION]


def _weighted(
    content: ModelFile,
    files: Sequence[ModelFile],
    validation: Sequence[Sequence[Result]],
    ranks: Ranks,
    console: Console,
) -> ModelFile:
    """Return the mean with the weights that are best for the validation set; models without weight are left out.

    Args:
        content: the mean with equal weights.
        files: the models.
        validation: results of each for the validation set; empty to keep equal weights.

    Raises:
        CheckpointError: one model has all the weight.
    """
    weights = ranks.broadcast(choose_weights(validation) if validation and ranks.is_first else [])
    if not weights:
        why = (
            f": fewer than {MIN_CONFIGURATIONS} configurations with forces in the validation set" if validation else ""
        )
        console.line(f"weights: equal{why}")
        return content
    used = [(file, weight) for file, weight in zip(files, weights, strict=True) if weight]
    if len(used) == 1:
        raise CheckpointError(
            f"no mean of these models has smaller errors of forces on the validation set than {used[0][0].path} alone. "
            "Use that model, or give --equal for a mean with equal weights."
        )
    shown = ", ".join(f"{file.path} {weight:.2f}" for file, weight in zip(files, weights, strict=True))
    console.line(f"weights (smallest errors of forces on the validation set): {shown}", final=True)
    for file, weight in zip(files, weights, strict=True):
        if not weight:
            console.line(f"  note: {file.path} is not part of the mean, which is better without it", final=True)
    found = combine([file for file, _ in used], [weight for _, weight in used])
    return found._replace(provenance={**content.provenance, **found.provenance}, potential=content.potential)


def _show_errors(name: str, results: Sequence[Result], console: Console) -> str:
    """Print the mean absolute errors by set; return the table over all groups."""
    rows = errors_table(results, STANDARD)
    for subset in Subset:
        if text := summary(rows, subset, STANDARD):
            console.line(f"{name} ({subset.name.lower()} set, mean absolute): {text}", final=True)
    return STYLES["MD"]([row for row in rows if row.group == ALL])


def _write(
    content: ModelFile, first: dict[str, object], folder: Path, overwrite: bool, console: Console
) -> LammpsFiles:
    """Write the model file, with what it has in common with the file of the first member, and the files for LAMMPS."""
    with tempfile.TemporaryDirectory() as temporary, console.task("writing the model and its files for LAMMPS"):
        model_file = Path(temporary, f"{content.potential}.pt")
        write_payload(model_file, payload_with({**first, "potential": content.potential}, content))
        files = write_export(content, [model_file], folder, overwrite)
    for path in (folder / model_file.name, *files.all):
        console.line(str(path))
    return files


def _verify_and_report(
    content: ModelFile,
    files: LammpsFiles,
    assessed: _Assessed | None,
    configurations: Sequence[Configuration],
    data: str,
    console: Console,
) -> Verification:
    """Compare LAMMPS with the model, for the data if there are any, or else for the structure in it; write the report.

    Raises:
        VerificationError: LAMMPS does not reproduce the model. The report is written nevertheless.
    """
    remove_report(files.folder)
    candidates = configurations or ([content.structure] if content.structure else [])
    potential = Potential(content.model, content.located_reference(), content.path.parent)
    outcome: Verification | VerificationError
    try:
        outcome = delivery.verify_potential(potential, candidates, files, console)
    except VerificationError as error:
        outcome = error
    if assessed:
        record = describe_test(
            content._replace(path=files.folder / f"{content.potential}.pt"),
            assessed.results,
            STANDARD,
            errors_table(assessed.results, STANDARD),
            name=content.potential,
            kind="combination",
            verdict=verdict_of_errors(assessed.results, STANDARD),
            data=data,
            verification=delivery.entry_of_verification(outcome),
        )
        write_test_report(files.folder, record, console, assessed.calibrated)
    if isinstance(outcome, VerificationError):
        raise outcome
    return outcome
