"""Checks for molecular dynamics of a saved model."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fitsnap_nn.data.any_format import unique
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import CheckpointError, InputError, MdCheckError, Problem, counted
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.export.model_file import ModelFile, load_model
from fitsnap_nn.files import one_line_errors
from fitsnap_nn.folders import claim, locked, refuse_foreign_files
from fitsnap_nn.md_checks.suite import TIME, Checks, run_checks
from fitsnap_nn.reports.fit_record import FIT_FILE
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import Settings, load_settings
from fitsnap_nn.settings.files import read_text
from fitsnap_nn.settings.ini import COMMAND_LINE, read_ini
from fitsnap_nn.settings.outputs import CHECKS_FILE
from fitsnap_nn.training.distributed import Ranks, session
from fitsnap_nn.workflow.evaluation import read_data
from fitsnap_nn.workflow.preparation import read_dataset
from fitsnap_nn.workflow.run_folder import INPUT_FILE

NO_DATA = (
    "note: the data of the fit were not found: only the structure in the model file is used. Add data files, as in "
    "checks MODEL FILE ..., for crystals, labels and the highest temperature."
)


def check_model(
    target: str | Path,
    files: Sequence[str] = (),
    *,
    limit: float = TIME,
    overwrite: bool = False,
    quiet: bool = False,
    trust: bool = False,
) -> Checks | None:
    """Check a saved model, and write ``md_checks.json`` beside it.

    Args:
        target: model or restart file, or the output folder of a fit.
        files: data files; without them the data of the fit, or else the structure in the model file.
        limit: seconds for all checks.
        overwrite: replace an existing ``md_checks.json``.
        quiet: print nothing.
        trust: let the reference potential in the model file run code and name other files, see `load_potential`.

    Returns:
        The results; ``None`` on ranks other than the first.

    Raises:
        MdCheckError: a check failed, or the time limit left no time for it.
        InputError: ``md_checks.json`` exists already.
        CheckpointError: the model is not there.
        LammpsError: LAMMPS cannot run the potential.
    """
    with (
        session() as ranks,
        one_line_errors(),
        Console(sys.stdout if ranks.is_first and not quiet else None) as console,
    ):
        settings, model = _fit_of(Path(target), console, wanted=not files)
        content = load_model(model, trust=trust)
        folder = model.parent
        if ranks.is_first:
            _check_output(folder, overwrite)
        configurations = _configurations(content, files, settings, ranks, console)
        checks = _run(content, configurations, limit, ranks, console) if ranks.is_first else None
        if checks:
            with locked(folder):
                refuse_foreign_files(folder, {CHECKS_FILE})
                claim(folder, {CHECKS_FILE})
                checks.write(folder / CHECKS_FILE)
            console.line(f"{checks}\nnumbers and curves: {folder / CHECKS_FILE}")
            if (folder / FIT_FILE).exists():
                console.line(f"to add them to its report: python -m fitsnap_nn report {shlex.quote(str(folder))}")
        problems: list[str] = ranks.broadcast(_problems(checks) if checks else [])
    if problems:
        error = MdCheckError(" ".join(problems))
        error.shared = True
        raise error
    return checks


def _problems(checks: Checks) -> list[str]:
    """Return why the potential does not count as checked."""
    found = []
    if failed := [one.title for one in checks.failed]:
        found.append(f"{counted(len(failed), 'check')} failed: {', '.join(failed)}.")
    if cut := checks.cut_off:
        found.append(
            f"The time limit left no time for {counted(len(cut), 'check')}: {', '.join(cut)}. Increase --time."
        )
    return found


def _run(
    content: ModelFile, configurations: Sequence[Configuration], limit: float, ranks: Ranks, console: Console
) -> Checks:
    """Export the model to a temporary folder and run the checks there."""
    name = Path(content.potential).name
    with tempfile.TemporaryDirectory() as temporary:
        files = write_lammps_files(
            content.model,
            content.located_reference(),
            Path(temporary),
            name,
            structure=content.structure,
            reference_folder=content.path.parent,
        )
        return run_checks(files, configurations, name=name, say=console.line, limit=limit, ranks=ranks.size)


def _fit_of(target: Path, console: Console, wanted: bool) -> tuple[Settings | None, Path]:
    """Return the settings of the fit of a model, if its input and data are found, and the model file.

    Args:
        target: model file, or output folder.
        wanted: whether the data of the fit are needed.

    Raises:
        CheckpointError: the target is a folder without a model.
    """
    folder = target if target.is_dir() else target.parent
    source = folder / INPUT_FILE
    if not source.is_file() or not (wanted or target.is_dir()):
        if target.is_dir():
            raise CheckpointError(f"{target} is not the output folder of a fit: it has no {INPUT_FILE}.")
        return None, target
    try:
        settings = load_settings(source, _located(source), weights_from="model")
    except InputError as error:
        if target.is_dir():
            raise
        console.line(f"note: {source} cannot be used: {error.problems[0]}")
        return None, target
    names = settings.pytorch.output_file, settings.pytorch.save_state_output
    model = folder / names[0] if target.is_dir() else target
    return (settings if model.name in names else None), model


def _located(source: Path) -> list[tuple[str, str, str]]:
    """Return overrides with the paths of the data, which the input names relative to the folder that it was in.

    That is usually the folder that contains the output folder, or the working folder.
    """
    section = read_ini(read_text(str(source)), str(source)).sections.get("PATH", {})
    found = []
    for key, default in (("dataPath", "JSON"), ("groupFile", "")):
        value = section[key].value if key in section else default
        places = [place / value for place in (source.parent, source.parent.resolve().parent, Path())]
        if value and (path := next((place for place in places if place.exists()), None)):
            found.append(("PATH", key, str(path.resolve())))
    return found


def _configurations(
    content: ModelFile, files: Sequence[str], settings: Settings | None, ranks: Ranks, console: Console
) -> Sequence[Configuration]:
    """Return the data of the checks: the files, those of the fit, or the structure in the model file."""
    if files:
        return read_data(content, unique(files), ranks, console)
    if settings is not None:
        found = read_dataset(settings, ranks).configurations
        console.line(f"data: {counted(len(found), 'configuration')} of the fit, in {settings.data_path}")
        return found
    if content.structure is None:
        what = f"{content.path} contains no structure, and no data were found."
        raise InputError([Problem(COMMAND_LINE, what, "Add data files: checks MODEL FILE ...")])
    console.line(NO_DATA)
    return [content.structure]


def _check_output(folder: Path, overwrite: bool) -> None:
    """Refuse to lose results, before anything is computed."""
    refuse_foreign_files(folder, {CHECKS_FILE})
    if (folder / CHECKS_FILE).exists() and not overwrite:
        what = f"{folder / CHECKS_FILE} exists."
        raise InputError([Problem(COMMAND_LINE, what, "--overwrite replaces it.")])
