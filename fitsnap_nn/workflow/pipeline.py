"""A fit from beginning to end, and what can be done with its result. Each step of the flow is one call in ``fit``."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from fitsnap_nn import __version__
from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.export.model_file import load_model, model_payload
from fitsnap_nn.lammps.verify import Verification
from fitsnap_nn.models import GraphModel, Model
from fitsnap_nn.reports.epochs import EpochLog, EpochRow, epoch_header, epoch_line
from fitsnap_nn.reports.errors_table import ErrorRow
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.reports.tree import render_tree
from fitsnap_nn.settings import Settings, as_dict, differences, from_dict
from fitsnap_nn.settings.schema import CalculatorSection
from fitsnap_nn.training.allocator import keep_freed_memory
from fitsnap_nn.training.checkpoint import load_restart, refuse_differences, save_restart
from fitsnap_nn.training.distributed import Ranks, session
from fitsnap_nn.training.evaluation import evaluate_all
from fitsnap_nn.training.trainer import EpochReport, Trainer
from fitsnap_nn.units import BAR, GPA
from fitsnap_nn.workflow import delivery
from fitsnap_nn.workflow.delivery import LOG_FILE
from fitsnap_nn.workflow.initialization import create_model, initialize
from fitsnap_nn.workflow.preparation import Prepared, describe_data, prepare, read_dataset

# What may differ between a fit and its continuation: how long, where it writes, what it runs on.
FREE_TO_CHANGE = (
    "[OUTFILE]", "[EXTRAS]", "[MEMORY]", "[PYTORCH] num_epochs", "[PYTORCH] save_state", "[PYTORCH] output_file",
    "[PYTORCH] device", "[PYTORCH] early_stopping",
)  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """What a fit, or a test, leaves behind; on ranks other than the first the rows are empty.

    Attributes:
        folder: where its files are.
        errors: the table of errors.
        model_file: for `fitsnap_nn.load_potential`.
        verification: how well LAMMPS agrees; ``None`` when it was not asked.
    """

    folder: Path
    errors: list[ErrorRow]
    model_file: Path
    verification: Verification | None = None


def fit(
    settings: Settings,
    *,
    overwrite: bool = False,
    resume: bool = False,
    train: bool = True,
    verify: bool = True,
    verbose: bool = False,
) -> Fit:
    """Fit a potential to data and leave its files in ``settings.output_folder``.

    Args:
        overwrite: replace an earlier fit in that folder.
        resume: go on with it, exactly where it was interrupted.
        train: ``False`` only computes descriptors into the cache.
        verify: run the exported files in LAMMPS and compare.
        verbose: list the notices about the input too.

    Raises:
        FitsnapError: one of its kinds; see `fitsnap_nn.errors`.
    """
    folder = Path(settings.output_folder)
    model_file = folder / settings.pytorch.output_file
    restart_file = folder / settings.pytorch.save_state_output
    with session() as ranks, _console(settings, ranks, overwrite, resume) as console:
        _greet(settings, ranks, console, verbose)
        restart = _load_restart(settings, restart_file if resume else None)
        seed = _seed(settings, ranks, restart)
        model = create_model(settings)
        prepared = prepare(settings, model, ranks, console, restart.get("split_seed"))
        if not train:
            return Fit(folder, [], model_file)
        trainer = _make_trainer(model, settings, prepared, ranks, console, restart, seed)
        _train(trainer, settings, prepared, ranks, console, restart_file, fresh=not resume)
        results = _predict_all(trainer.model, prepared, ranks)
        if not ranks.is_first:
            return Fit(folder, [], model_file)
        errors, files = delivery.report(settings, results, console, folder)
        lammps_files = delivery.deploy(settings, trainer, prepared, model_file, errors)
        verification = delivery.verify(settings, trainer.model, prepared, lammps_files, console) if verify else None
        console.line(render_tree(folder, {**delivery.contents(settings, lammps_files), **files}))
        if lammps_files.deck:
            console.line(f"molecular dynamics: cd {folder} && lmp -in {lammps_files.deck.name}")
        return Fit(folder, errors, model_file, verification)


def evaluate(settings: Settings, model: str | Path, *, overwrite: bool = False) -> Fit:
    """Errors of a saved model on the data of an input; the weights stay as they are.

    The files go to ``<output folder>/test``.

    Raises:
        CheckpointError: the model is not there, or was fitted on other descriptors or another reference.
    """
    content = load_model(model)
    stored = Settings(reference=content.reference, eshift=content.eshift)
    here = Settings(reference=settings.reference, eshift=settings.eshift)
    if isinstance(content.model, GraphModel):
        stored = replace(stored, calculator=CalculatorSection(elements=content.model.elements))
        here = replace(here, calculator=CalculatorSection(elements=settings.elements))
    else:
        stored, here = replace(stored, bispectrum=content.bispectrum), replace(here, bispectrum=settings.bispectrum)
    refuse_differences(Path(model), differences(stored, here))
    folder = Path(settings.output_folder) / "test"
    with session() as ranks, _console(settings, ranks, overwrite, resume=False, folder=folder) as console:
        prepared = prepare(settings, content.model, ranks, console)
        results = _predict_all(content.model, prepared, ranks)
        if not ranks.is_first:
            return Fit(folder, [], Path(model))
        errors, files = delivery.report(settings, results, console, folder)
        console.line(render_tree(folder, {LOG_FILE: "everything printed", **files}))
        return Fit(folder, errors, Path(model))


def check(settings: Settings) -> str:
    """What the data of an input are, without computing anything.

    Raises:
        DataError: they cannot be used.
    """
    dataset = read_dataset(settings, Ranks())
    lines = [describe_data(dataset, settings)]
    groups = dict.fromkeys(configuration.group for configuration in dataset.configurations)
    width = max(map(len, groups), default=0)
    for group in groups:
        members = [configuration for configuration in dataset.configurations if configuration.group == group]
        testing = sum(configuration.testing for configuration in members)
        lines.append(f"  {group:<{width}}  {len(members) - testing:6d} to train {testing:6d} to test")
    return "\n".join(lines)


@contextmanager
def _console(
    settings: Settings, ranks: Ranks, overwrite: bool, resume: bool, folder: Path | None = None
) -> Iterator[Console]:
    """The first rank's console, once it is sure that nothing is lost by writing into the folder."""
    folder = folder or Path(settings.output_folder)
    if not ranks.is_first:
        yield Console()
        return
    if (folder / LOG_FILE).exists() and not (overwrite or resume):
        remedy = "--overwrite replaces it, --resume continues it, [OUTFILE] folder puts the new one elsewhere."
        raise InputError([Problem(str(folder), "holds an earlier run.", remedy)])
    folder.mkdir(parents=True, exist_ok=True)
    with Console(sys.stdout, folder / LOG_FILE, append=resume) as console:
        yield console


def _greet(settings: Settings, ranks: Ranks, console: Console, verbose: bool) -> None:
    launched = f" ({ranks.launcher})" if ranks.launcher else ""
    console.line(
        f"fitsnap_nn {__version__} · {ranks.size} rank{'s' if ranks.size > 1 else ''}{launched} · "
        f"LAMMPS {metadata.version('lammps')} · torch {torch.__version__} {_device(settings, ranks)} "
        f"{settings.pytorch.precision}"
    )
    console.line(f"input: {settings.source}")
    if verbose or len(settings.notices) < 3:
        for notice in settings.notices:
            console.line(f"  note: {notice}")
    else:
        console.line(f"  {len(settings.notices)} notes on it, listed by --check")
    if ranks.is_first:
        (Path(settings.output_folder) / "input.used.in").write_text(settings.text, encoding="utf-8")


def _device(settings: Settings, ranks: Ranks) -> torch.device:
    """The CPU, or one of the GPUs of this machine for each of its ranks in turn."""
    wanted = settings.pytorch.device
    if wanted == "cuda" and not torch.cuda.is_available():
        problem = "[PYTORCH] device = cuda, but torch finds no GPU."
        raise InputError([Problem(settings.source, problem, "With auto or cpu it runs on the CPU.")])
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", ranks.rank % torch.cuda.device_count())


def _load_restart(settings: Settings, resumed: Path | None) -> dict[str, Any]:
    """The restart file to go on from, after a look whether it belongs to this input; empty for a new fit."""
    path = resumed or (Path(settings.pytorch.save_state_input) if settings.pytorch.save_state_input else None)
    if path is None:
        return {}
    restart = load_restart(path)
    found = differences(from_dict(restart["settings"]), settings)
    refuse_differences(path, [line for line in found if not line.startswith(FREE_TO_CHANGE)])
    return {**restart, "path": path}


def _seed(settings: Settings, ranks: Ranks, restart: dict[str, Any]) -> int:
    """Seed torch's generator: as the fit that is continued, as the input says, or as chance will have it."""
    options = settings.pytorch
    drawn = int(torch.seed() % 2**31)
    seed: int = ranks.broadcast(
        restart["trainer"]["seed"] if restart else options.seed if options.manual_seed_flag else drawn
    )
    torch.manual_seed(seed)
    return seed


def _make_trainer(
    model: Model,
    settings: Settings,
    prepared: Prepared,
    ranks: Ranks,
    console: Console,
    restart: dict[str, Any],
    seed: int,
) -> Trainer:
    if isinstance(model, GraphModel):
        keep_freed_memory()
    for note in initialize(model, settings, prepared):
        console.line(f"baseline: {note}")
    options = settings.pytorch
    dtype = getattr(torch, options.precision)
    training, validation = (prepared.samples(testing, settings.elements, dtype) for testing in (False, True))
    device = _device(settings, ranks)
    targets, releaser = prepared.targets, prepared.releaser()
    trainer = Trainer(model.to(device), training, validation, targets, options, seed, ranks, device, releaser)
    size = sum(parameter.numel() for parameter in model.parameters())
    layers = f" {' '.join(options.layer_sizes)}, {options.activation}" if options.model == "BPNN" else ""
    console.line(f"model: {options.model}{layers}, {size} weights · seed {seed}")
    if restart:
        if restart["data"] != prepared.digest():
            refuse_differences(restart["path"], ["the data, their split or their weights have changed"])
        trainer.load_state_dict(restart["trainer"])
        console.line(f"going on from {restart['path']} after epoch {trainer.epoch}")
    return trainer


def _train(
    trainer: Trainer,
    settings: Settings,
    prepared: Prepared,
    ranks: Ranks,
    console: Console,
    restart_file: Path,
    fresh: bool,
) -> None:
    """Train; after each epoch log it and write the restart file."""
    if not ranks.is_first:
        trainer.run(lambda report: None)
        return
    stored, digest = as_dict(settings), prepared.digest()
    with EpochLog(Path(settings.output_folder), None if fresh else trainer.epoch) as log:

        def after_epoch(report: EpochReport) -> None:
            row = _row(report)
            log.write(row)
            console.line(epoch_line(row, prepared.targets.stress))
            with trainer.holding(trainer.best_weights):
                payload = model_payload(trainer.model, settings, {"epoch": trainer.best_epoch})
            save_restart(
                restart_file,
                model=payload,
                trainer=trainer.state_dict(),
                settings=stored,
                data=digest,
                split_seed=prepared.dataset.seed,
            )

        if trainer.epoch < settings.pytorch.num_epochs:
            console.line(epoch_header(prepared.targets.stress))
        trainer.run(after_epoch)
    if trainer.best_epoch:
        console.line(f"best: epoch {trainer.best_epoch}, loss {trainer.best_loss:.6g}; its weights are kept")


def _row(report: EpochReport) -> EpochRow:
    found = report.validation
    energy, force, stress = found.mae if found else (math.nan, math.nan, math.nan)
    return EpochRow(
        epoch=report.epoch,
        train_loss=report.train_loss,
        test_loss=found.loss if found else math.nan,
        energy_mae=energy,
        force_mae=force,
        stress_mae=stress * BAR / GPA,
        learning_rate=report.learning_rate,
        seconds=report.seconds,
        best=report.is_best,
    )


def _predict_all(model: Model, prepared: Prepared, ranks: Ranks) -> list[Result]:
    configurations = prepared.dataset.configurations
    forces, release = prepared.targets.forces, prepared.releaser()
    found = evaluate_all(model, configurations, prepared.store.record, ranks, forces=forces, release=release)
    if not ranks.is_first:
        return []
    return [Result(c, e.energy, e.forces, e.stress) for c, e in zip(configurations, found, strict=True)]
