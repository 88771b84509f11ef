"""Committees of models from several fits: model file, files for LAMMPS, errors, uncertainty, verification."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from fitsnap_nn import devices
from fitsnap_nn.data.any_format import unique
from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.properties import STANDARD
from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.export.combine import combine
from fitsnap_nn.export.export import write_export
from fitsnap_nn.export.model_file import ModelFile, load_payload, model_of, payload_with, write_payload
from fitsnap_nn.files import one_line_errors
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.verify import Verification
from fitsnap_nn.models.uncertainty import RAW_COMMITTEE
from fitsnap_nn.reports.errors_table import ALL, STYLES, errors_table, summary
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.reports.uncertainty import calibrate
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.settings.lammps_names import unreadable_name
from fitsnap_nn.terminal import announced
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.workflow import delivery
from fitsnap_nn.workflow.device import use_device
from fitsnap_nn.workflow.evaluation import evaluate_content, read_data, with_sets

UNCALIBRATED = (
    "uncertainty: not calibrated, and not in the files for LAMMPS. Name the data files of the fits (--data) to "
    "calibrate it on the validation set."
)
NO_VALIDATION = (
    "uncertainty: not calibrated. The data files contain no configuration with forces that is in the validation set "
    "of one fit and in the training set of none. Split the data of all members alike (random_seed in [GROUPS])."
)


def combine_models(
    models: Sequence[str | Path],
    folder: str | Path,
    *,
    data: Sequence[str] = (),
    name: str = "",
    overwrite: bool = False,
    quiet: bool = False,
    brief: bool = False,
    trust: bool = False,
) -> Verification:
    """Write the mean of several models as one model file, with its files for LAMMPS, and verify these in LAMMPS.

    Args:
        models: model or restart files, at least two; see `fitsnap_nn.export.combine.combine`.
        folder: output folder; created if necessary.
        data: data files, on which the errors of members and mean are shown and the uncertainty is calibrated.
        name: common part of the file names; by default that of the first model.
        overwrite: replace existing files.
        quiet: print nothing.
        brief: print warnings and results only.
        trust: see `load_potential`.

    Returns:
        The comparison with LAMMPS.

    Raises:
        InputError: there are fewer than two models, or one twice, the name is not possible, or files exist already.
        CheckpointError: a model cannot be read, or they do not go together.
        DataError: a data file cannot be read.
        VerificationError: LAMMPS does not reproduce the model.
    """
    _check(models, name)
    with announced("reading the models", quiet or brief):
        payloads = [load_payload(path, trust=trust) for path in models]
        files = [model_of(payload, path, trust=trust) for payload, path in zip(payloads, models, strict=True)]
    content = _named(combine(files), name)
    _refuse_existing(Path(folder, f"{content.potential}.mod"), overwrite)
    with one_line_errors(), Console(None if quiet else sys.stdout, brief=brief) as console:
        console.line(str(content.provenance["origin"]))
        configurations: Sequence[Configuration] = ()
        if data:
            device = use_device(devices.choose(), Ranks(), console)
            configurations = with_sets(content, read_data(content, unique(data), Ranks(), console), console)
            content = _assessed(content, files, configurations, device, console)
        else:
            console.line(UNCALIBRATED)
        payload = payload_with({**payloads[0], "potential": content.potential}, content)
        written = _write(content, payload, Path(folder), overwrite, console)
        return _verify(content, written, configurations, console)


def _check(models: Sequence[str | Path], name: str) -> None:
    paths = [Path(model).resolve() for model in models]
    if len(paths) < 2:
        hint = "Name two or more model files."
        raise InputError([Problem(COMMAND_LINE, "a committee needs at least two models.", hint)])
    if twice := [path for path in dict.fromkeys(paths) if paths.count(path) > 1]:
        what = f"{', '.join(map(str, twice))} is listed more than once."
        raise InputError([Problem(COMMAND_LINE, what, "The members of a committee must differ.")])
    if problem := name and unreadable_name(name):
        raise InputError([Problem(COMMAND_LINE, f"--name {name}: {problem}.", "Choose another name.")])


def _named(content: ModelFile, name: str) -> ModelFile:
    """Return the committee with its name, the date, and the versions of the libraries."""
    provenance = {**content.provenance, **delivery.date_and_versions()}
    return content._replace(provenance=provenance, potential=name or Path(content.potential).name)


def _refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse to replace an export before anything is evaluated; `deliver` looks at all files."""
    if path.exists() and not overwrite:
        raise InputError([Problem(str(path), "already exists.", "Give --overwrite to replace it.")])


def _assessed(
    content: ModelFile,
    files: Sequence[ModelFile],
    configurations: Sequence[Configuration],
    device: torch.device,
    console: Console,
) -> ModelFile:
    """Return the committee with its calibrated uncertainty; print the errors of the models and of their mean."""

    def results_of(file: ModelFile) -> list[Result]:
        name = f"evaluation of {file.path.parent.name or file.path.name}"
        return evaluate_content(file, configurations, Ranks(), STANDARD, console, device=device, name=name)

    for file in files:
        _show_errors(str(file.path), results_of(file), console)
    results = results_of(content)
    rows = _show_errors("mean", results, console)
    content = content._replace(provenance={**content.provenance, "error_table": rows})
    calibrated = calibrate(RAW_COMMITTEE, [one for one in results if one.configuration.subset is Subset.VALIDATION])
    for line in calibrated.lines() if calibrated else [NO_VALIDATION]:
        console.line(line, final=True)
    return content._replace(uncertainty=calibrated.uncertainty if calibrated else None)


def _show_errors(name: str, results: Sequence[Result], console: Console) -> str:
    """Print the mean absolute errors by set; return the table over all groups."""
    rows = errors_table(results, STANDARD)
    for subset in Subset:
        if text := summary(rows, subset, STANDARD):
            console.line(f"{name} ({subset.name.lower()} set, mean absolute): {text}", final=True)
    return STYLES["MD"]([row for row in rows if row.group == ALL])


def _write(
    content: ModelFile, payload: dict[str, object], folder: Path, overwrite: bool, console: Console
) -> LammpsFiles:
    """Write the model file and the files for LAMMPS."""
    with tempfile.TemporaryDirectory() as temporary, console.task("writing the model and its files for LAMMPS"):
        model_file = Path(temporary, f"{content.potential}.pt")
        write_payload(model_file, payload)
        files = write_export(content, [model_file], folder, overwrite)
    for path in (folder / model_file.name, *files.all):
        console.line(str(path))
    return files


def _verify(
    content: ModelFile, files: LammpsFiles, configurations: Sequence[Configuration], console: Console
) -> Verification:
    """Compare LAMMPS with the model, for the data if there are any, or else for the structure in it."""
    candidates = configurations or ([content.structure] if content.structure else [])
    potential = Potential(content.model, content.located_reference(), content.path.parent)
    return delivery.verify_potential(potential, candidates, files, console)
