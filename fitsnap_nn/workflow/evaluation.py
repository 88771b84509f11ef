"""Test of a saved model: on the data of an input, or on data files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from fitsnap_nn import devices
from fitsnap_nn.data.any_format import read_any, unique
from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.files import list_files, shifted
from fitsnap_nn.data.findings import Finding, summarize
from fitsnap_nn.data.fitted import user_columns
from fitsnap_nn.data.groups import Dataset
from fitsnap_nn.data.properties import STANDARD, Property, derivatives_of
from fitsnap_nn.data.readers import Column, ReadOptions
from fitsnap_nn.errors import CheckpointError, InputError, Problem, counted
from fitsnap_nn.export.model_file import ModelFile, load_model, load_payload, model_of
from fitsnap_nn.files import one_line_errors, unwritable
from fitsnap_nn.folders import LOG_FILE
from fitsnap_nn.lammps.reference import read_files, with_files
from fitsnap_nn.models.uncertainty import Uncertainty
from fitsnap_nn.reports.errors_table import STYLES, ErrorRow, errors_table
from fitsnap_nn.reports.predictions import are_predictions, write_predictions
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.reports.tree import render_tree
from fitsnap_nn.reports.verdict import verdict_of_errors
from fitsnap_nn.settings import Settings, load_settings
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.settings.outputs import report_names
from fitsnap_nn.settings.schema import Reference
from fitsnap_nn.terminal import announced
from fitsnap_nn.training.distributed import Ranks, session
from fitsnap_nn.workflow import delivery
from fitsnap_nn.workflow.device import choose_device, use_device
from fitsnap_nn.workflow.model_report import describe_test, names_of, refuse_report, write_test_report
from fitsnap_nn.workflow.pipeline import evaluated, predict_all
from fitsnap_nn.workflow.preparation import prepare
from fitsnap_nn.workflow.run import Fit
from fitsnap_nn.workflow.run_folder import open_console, start_log
from fitsnap_nn.workflow.stored_settings import adopt
from fitsnap_nn.workflow.summary import describe_fit, draw_pictures

UNKNOWN_SPLIT = (
    "the split of the fit is unknown, because the model file does not contain it. The data may have been used in "
    "training: do not take these errors for those of unseen data. Files written by this version contain the split."
)


def evaluate_input(
    path: str | os.PathLike[str],
    overrides: Sequence[tuple[str, str, str]] = (),
    model: str | Path | None = None,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    brief: bool = False,
    trust: bool = False,
) -> Fit:
    """Return the errors of a saved model on the data of an input file; see `evaluate`.

    Args:
        path: the input file; what it omits of the architecture is that of the model.
        overrides: (section, key, value), which take precedence over the file.
        model: model or restart file; ``None`` for the model of the input's own fit.
        output, overwrite, quiet, brief, trust: see `evaluate`.

    Raises:
        InputError, CheckpointError: something is wrong with the input; see also `evaluate`.
    """
    settings = load_settings(path, overrides, weights_from="model")
    if model is None:
        model = Path(settings.output_folder, settings.pytorch.output_file)
        if not model.exists():
            raise CheckpointError(f"there is no model {model} of this input. Fit it first, or give --model FILE.")
    return evaluate(settings, model, output=output, overwrite=overwrite, quiet=quiet, brief=brief, trust=trust)


def evaluate(
    settings: Settings,
    model: str | Path,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    brief: bool = False,
    trust: bool = False,
) -> Fit:
    """Return the errors of a saved model on the data of an input; the weights stay as they are.

    The files go to ``<output folder>/test``. The sets are those of the fit, which the model file contains.

    Args:
        settings: checked settings; the architecture is that of the model.
        model: model or restart file.
        output: extended XYZ file for the predictions, if any.
        overwrite: replace existing files.
        quiet: print nothing.
        brief: print warnings and results only.
        trust: let the reference potential in the model file run code and name other files, see `load_potential`.

    Raises:
        InputError: a file exists already, or the input contradicts the model.
        CheckpointError: the model is not there.
    """
    with announced(f"reading the model {model}", quiet or brief):
        payload = load_payload(model, trust=trust)
        content = model_of(payload, model, trust=trust)
    try:
        settings, notes = adopt(settings, payload, str(model), train=False)
    except CheckpointError as error:
        raise CheckpointError(f"{model} cannot be tested on the data of an input: {error}") from error
    # No element energies are fitted here: remarks of the audit on them would mislead.
    training = replace(settings.pytorch, composition_baseline=False)
    settings = replace(settings, reference=_with_files(settings, content), pytorch=training)
    folder = Path(settings.output_folder) / "test"
    names = report_names(settings)
    opened = folder, brief
    with session() as ranks, open_console(settings, names, ranks, overwrite, False, quiet, *opened) as console:
        if ranks.is_first:
            _check_output(output, [settings.source, model, *(file.path for file in list_files(settings))], overwrite)
        for notice in settings.notices:
            console.line(f"note: {notice}")
        for note in notes:
            console.line(f"model: {note}")
        seed = content.split.seed if content.split else None

        def relabel(dataset: Dataset) -> Dataset:
            return replace(dataset, configurations=with_sets(content, dataset.configurations, console))

        prepared = prepare(settings, content.model.input, ranks, console, seed, relabel=relabel)
        content.model.to(use_device(choose_device(settings, ranks), ranks, console))
        results = predict_all(content.model, prepared, ranks, console, _uncertainty(content, output))
        if not ranks.is_first:
            return Fit(folder, [], Path(model), content.model)
        start_log(folder, names, console)
        errors = delivery.errors_of(results, prepared, settings)
        files = delivery.report(settings, errors, results, prepared.properties, console, folder)
        record = describe_fit(settings, content.model, prepared, results, errors, ranks, {})
        fitted = str(content.provenance.get("date", record.date))
        record = replace(record, name=f"{record.name}, test of {Path(model).name}", date=fitted)
        files |= draw_pictures(folder, record, console)
        verdict = verdict_of_errors(results, prepared.properties)
        _close(console, output, results, prepared.properties, verdict, settings)
        console.line(render_tree(folder, {LOG_FILE: "everything printed", **files}))
        return Fit(folder, errors, Path(model), content.model, verdict=verdict)


def evaluate_files(
    model: str | Path,
    files: Sequence[str],
    *,
    output: str | Path | None = None,
    report: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    brief: bool = False,
    trust: bool = False,
) -> Fit:
    """Return the errors of a saved model on data files, without an input file.

    The format of each file is detected. Configurations that the fit has not seen are the test set. ESHIFT of the fit
    is added to the labels. Labels may be missing.

    Args:
        model: model or restart file.
        files: data files.
        output: extended XYZ file for the predictions, if any.
        report: folder for a report with pictures, if any; `compare_fits` compares such folders.
        overwrite: replace an existing ``output`` or report.
        quiet: print nothing.
        brief: print warnings and results only.
        trust: let the reference potential in the model file run code and name other files, see `load_potential`.

    Raises:
        InputError: ``output`` or the report exists already.
        CheckpointError: the model is not there.
        DataError: a file cannot be read, or contains an element that the model does not know.
    """
    with announced(f"reading the model {model}", quiet or brief):
        content = load_model(model, trust=trust)
    folder = Path(model).parent
    properties = _predicted(content)
    with (
        session() as ranks,
        one_line_errors(),
        Console(sys.stdout if ranks.is_first and not quiet else None, brief=brief) as console,
    ):
        if ranks.is_first:
            _check_output(output, [model, *files], overwrite)
            if report is not None:
                refuse_report(report, overwrite=overwrite)
        configurations = with_sets(content, read_data(content, unique(files), ranks, console), console)
        content.model.to(use_device(devices.choose(local_rank=ranks.local_rank), ranks, console))
        uncertainty = _uncertainty(content, output)
        results = evaluate_content(content, configurations, ranks, properties, console, uncertainty)
        if not ranks.is_first:
            return Fit(folder, [], Path(model), content.model)
        errors = errors_table(results, properties)
        if errors:
            console.line(STYLES["MD"](errors).rstrip(), final=True)
        _report_missing(errors, results, properties, console)
        verdict = verdict_of_errors(results, properties)
        _close(console, output, results, properties, verdict, Settings(targets=content.properties))
        if report is not None:
            name = f"{folder.name or Path(model).name} on {names_of(files)}"
            record = describe_test(
                content, results, properties, errors, name=name, kind="test", verdict=verdict, data=" ".join(files)
            )
            write_test_report(Path(report), record, console)
        return Fit(folder, errors, Path(model), content.model, verdict=verdict)


def evaluate_content(
    content: ModelFile,
    configurations: Sequence[Configuration],
    ranks: Ranks,
    properties: Sequence[Property],
    console: Console,
    uncertainty: Uncertainty | None = None,
    *,
    device: torch.device | None = None,
    name: str = "evaluation",
) -> list[Result]:
    """Return predictions and labels of all configurations on the first rank, an empty list on the others.

    Args:
        content: the model.
        configurations: the configurations, the same on every rank.
        ranks: share the work.
        properties: requested properties.
        console: shows the progress.
        uncertainty: how the spread is found.
        device: where to evaluate; ``None`` for the device of the model.
        name: of the task.
    """
    inputs = content.model.input.open(content.located_reference(), content.path.parent, derivatives_of(properties))
    with inputs as compute:
        return evaluated(
            content.model,
            configurations,
            lambda them: list(compute.compute_all(them)),
            ranks,
            properties,
            console,
            name,
            device=device,
            uncertainty=uncertainty,
        )


def _uncertainty(content: ModelFile, output: str | Path | None) -> Uncertainty | None:
    """Return how uncertainties are found; those of last layers, which cost several predictions, for ``output`` only."""
    committee = len(content.model.members()) > 1
    return content.uncertainty if committee or output is not None else None


def _with_files(settings: Settings, content: ModelFile) -> Reference:
    """Return the reference of the input if its files are those of the fit, otherwise that of the model file."""
    if content.files is None:
        _, found = with_files(settings.reference, content.model.elements, Path(settings.folder))
        beside_model = content.located_reference()
        return settings.reference if found or beside_model == content.reference else beside_model
    found_here = read_files(settings.reference, content.model.elements, Path(settings.folder))
    return settings.reference if found_here == content.files else content.located_reference()


def _check_output(output: str | Path | None, read: Iterable[str | Path], overwrite: bool) -> None:
    """Refuse to lose a file, before anything is computed.

    Args:
        output: file for the predictions, if any.
        read: files that the test reads; they are never replaced.
        overwrite: replace other existing files.

    Raises:
        InputError: the file cannot be written, or must not be replaced.
    """
    if output is None:
        return
    path = Path(output)
    what = unwritable(path)
    if not what and path.exists():
        if any(path.samefile(file) for file in read if os.path.exists(file)):
            what = "is a file that the test reads: the input, the model or data"
        elif not are_predictions(path):
            what = "exists, and does not contain predictions of fitsnap_nn"
        elif not overwrite:
            raise InputError([Problem(COMMAND_LINE, f"-o {output} exists.", "--overwrite replaces it.")])
    if what:
        raise InputError([Problem(COMMAND_LINE, f"-o {output} {what}.", "Choose another name.")])


def with_sets(
    content: ModelFile, configurations: Sequence[Configuration], console: Console
) -> tuple[Configuration, ...]:
    """Return the configurations with the sets in which the fit has seen them, and print how they were found."""
    if content.split is None:
        console.line(f"warning: {UNKNOWN_SPLIT}")
        return tuple(replace(one, subset=Subset.UNKNOWN) for one in configurations)
    if content.split.is_of(configurations):
        console.line("sets: as in the fit of the model")
        return tuple(configurations)
    assigned = content.split.assign(configurations)
    count = {subset: sum(one.subset is subset for one in assigned) for subset in Subset}
    console.line(
        f"sets: of {counted(len(assigned), 'configuration')}, {count[Subset.TRAINING]} were seen in training and "
        f"{count[Subset.VALIDATION]} in validation; {count[Subset.TEST]} are unseen (Test)"
    )
    seen = [one for one in assigned if one.subset in (Subset.TRAINING, Subset.VALIDATION)]
    notes = summarize(Finding(f"seen in {one.subset.name.lower()} by this model.", one.id) for one in seen)
    for note in notes:
        console.line(f"  note: {note}")
    return assigned


def _predicted(content: ModelFile) -> tuple[Property, ...]:
    """Return everything that the model predicts."""
    columns = user_columns(Settings(targets=content.properties))
    return (*STANDARD, *(one for one, _ in columns if content.model.predicts(one.name)))


def read_data(content: ModelFile, files: Sequence[str], ranks: Ranks, console: Console) -> list[Configuration]:
    """Read data files for a model, each on one rank, in the order given, with ESHIFT added to the energies.

    Raises:
        DataError: a file cannot be read, or contains an element that the model does not know.
    """
    settings = Settings(targets=content.properties)
    options = ReadOptions(columns=[Column(*both) for both in user_columns(settings)])
    mine = ranks.mine([float(os.path.getsize(path)) if os.path.exists(path) else 0.0 for path in files])
    findings: list[Finding] = []
    read: dict[int, list[Configuration]] = {}
    with console.task("reading data", len(mine) if len(mine) > 1 else 0) as task:
        for number in mine:
            read[number] = read_any(files[number], options, findings)
            task.update(len(read))
    shares = ranks.share((read, findings))
    by_file = {number: members for share, _ in shares for number, members in share.items()}
    configurations = [one for number in sorted(by_file) for one in by_file[number]]
    for one in configurations:
        one.element_indices(content.model.elements)
    console.line(
        f"data: {counted(len(configurations), 'configuration')}, {counted(sum(map(len, configurations)), 'atom')} in "
        f"{counted(len(files), 'file')}"
    )
    found = [finding for _, share in shares for finding in share]
    for kind, warning in (("warning", True), ("note", False)):
        for line in summarize(one for one in found if one.warning is warning):
            console.line(f"  {kind}: {line}")
    return _shifted(configurations, content.eshift, console)


def _shifted(configurations: list[Configuration], eshift: dict[str, float], console: Console) -> list[Configuration]:
    """Return the configurations with ESHIFT added to their energies."""
    if not any(eshift.values()):
        return configurations
    shifts = ", ".join(f"{element} {shift:g}" for element, shift in eshift.items())
    console.line(f"  note: [ESHIFT] of the fit is added to the energies of the files: {shifts} eV")
    return [shifted(one, eshift) for one in configurations]


def _report_missing(
    errors: Sequence[ErrorRow], results: Sequence[Result], properties: Sequence[Property], console: Console
) -> None:
    """Print which labels are missing."""
    for quantity in properties:
        labelled = sum(quantity.name in one.configuration.labels for one in results)
        if labelled < len(results) and errors:
            name = quantity.title.lower()
            console.line(f"  note: {len(results) - labelled} of {len(results)} configurations have no {name} label")
    if not errors:
        console.line("the files contain no labels: there are predictions only, and no errors")


def _close(
    console: Console,
    output: str | Path | None,
    results: Sequence[Result],
    properties: Sequence[Property],
    verdict: Sequence[str],
    settings: Settings,
) -> None:
    for line in verdict:
        console.line(line, final=True)
    if output is not None:
        write_predictions(
            Path(output), results, properties, {one.name: column for one, column in user_columns(settings)}
        )
        console.line(f"predictions of {counted(len(results), 'configuration')}: {output}", final=True)
