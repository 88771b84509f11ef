"""A fit from beginning to end. Each step is one call in ``fit``."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from fitsnap_nn import __version__
from fitsnap_nn.data.audit.table import group_table
from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import STANDARD, Property
from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.export.model_file import model_payload
from fitsnap_nn.lammps.verify import Verification
from fitsnap_nn.launch import repeated_command
from fitsnap_nn.models import Model
from fitsnap_nn.reports.epochs import METRICS_FILE, EpochLog, EpochRow, epoch_header, epoch_line, read_epochs
from fitsnap_nn.reports.errors_table import ErrorRow
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.reports.tree import render_tree
from fitsnap_nn.reports.verdict import verdict
from fitsnap_nn.settings import Settings, as_dict, differences, from_dict
from fitsnap_nn.training.allocator import keep_freed_memory
from fitsnap_nn.training.checkpoint import load_restart, refuse_differences, save_restart
from fitsnap_nn.training.distributed import MPIRUN, Ranks, session
from fitsnap_nn.training.evaluation import evaluate_all
from fitsnap_nn.training.losses import make_loss
from fitsnap_nn.training.objective import Objective, Term
from fitsnap_nn.training.trainer import EpochReport, Trainer
from fitsnap_nn.workflow import delivery, warm_start
from fitsnap_nn.workflow.delivery import LOG_FILE
from fitsnap_nn.workflow.initialization import create_model, initialize, pretrained_file
from fitsnap_nn.workflow.preparation import Prepared, describe_data, prepare, read_dataset
from fitsnap_nn.workflow.warm_start import Start

# Settings that may differ between a fit and its continuation.
FREE_TO_CHANGE = (
    "[OUTFILE]", "[EXTRAS]", "[MEMORY]", "[PYTORCH] num_epochs", "[PYTORCH] save_state", "[PYTORCH] output_file",
    "[PYTORCH] device", "[PYTORCH] early_stopping",
)  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """The result of a fit, or of a test; on ranks other than the first it has neither errors nor history.

    Attributes:
        folder: where its files are.
        errors: the table of errors.
        model_file: for `fitsnap_nn.load_potential`.
        model: with the weights of the best epoch, as they were trained; ``None`` where none was trained.
        history: the epochs, those before a restart included; empty for a test.
        verification: how well LAMMPS agrees; ``None`` when it was not asked for.
        verdict: lines that judge training and errors, see `fitsnap_nn.reports.verdict`.
    """

    folder: Path
    errors: list[ErrorRow]
    model_file: Path
    model: Model[Any] | None = None
    history: list[EpochRow] = field(default_factory=list)
    verification: Verification | None = None
    verdict: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        best = next((row.epoch for row in reversed(self.history) if row.best), None)
        epochs = f", {len(self.history)} epochs, best {best}" if self.history else ""
        return f"Fit({str(self.folder)!r}{epochs}, {len(self.errors)} rows of errors)"


def fit(
    settings: Settings,
    *,
    overwrite: bool = False,
    resume: bool = False,
    train: bool = True,
    verify: bool = True,
    verbose: bool = False,
    quiet: bool = False,
    strict: bool = False,
) -> Fit:
    """Fit a potential to data and leave its files in ``settings.output_folder``.

    Args:
        overwrite: replace an earlier fit in that folder.
        resume: go on with it, exactly where it was interrupted.
        train: ``False`` only computes descriptors into the cache.
        verify: run the exported files in LAMMPS and compare.
        verbose: list the notices about the input too.
        quiet: print nothing; the log file and the logger ``fitsnap_nn`` still get every line.
        strict: treat warnings about the data as errors.

    Raises:
        FitsnapError: one of its kinds; see `fitsnap_nn.errors`.
        KeyboardInterrupt: it was interrupted; the log says what is saved and how to go on.
    """
    folder = Path(settings.output_folder)
    model_file = folder / settings.pytorch.output_file
    restart_file = folder / settings.pytorch.save_state_output
    settings, start = warm_start.find_start(settings, restart_file if resume else None)
    with session() as ranks, open_console(settings, ranks, overwrite, resume, quiet) as console:
        _greet(settings, ranks, console, verbose)
        restart = _load_restart(settings, restart_file) if resume else {}
        seed = _seed(settings, ranks, restart)
        model = create_model(settings, start)
        for note in start.notes if start else ():
            console.line(f"start: {note}")
        prepared = prepare(settings, model.input, ranks, console, restart.get("split_seed"), strict)
        prepared = replace(prepared, seen=start.seen if start else ())
        if not train:
            return Fit(folder, [], model_file)
        trainer = _make_trainer(model, start, settings, prepared, ranks, console, restart, seed)
        first = trainer.evaluate_start() if not resume and (start or pretrained_file(settings)) else None
        _train(trainer, settings, prepared, ranks, console, restart_file, first, fresh=not resume)
        results = predict_all(trainer.model, prepared, ranks)
        if not ranks.is_first:
            return Fit(folder, [], model_file, trainer.model)
        errors, files = delivery.report(settings, results, prepared.properties, console, folder)
        lammps_files = delivery.deploy(settings, trainer, prepared, model_file, errors, results)
        verification = delivery.verify(settings, trainer.model, prepared, lammps_files, console) if verify else None
        console.line(render_tree(folder, {**delivery.contents(settings, lammps_files), **files}))
        if lammps_files.deck:
            console.line(f"molecular dynamics: cd {folder} && lmp -in {lammps_files.deck.name}")
        history, training = _history(folder), settings.pytorch
        lines = verdict(history, results, prepared.properties, training.num_epochs, training.early_stopping)
        console.line("\n".join(lines))
        return Fit(folder, errors, model_file, trainer.model, history, verification, lines)


@dataclass(frozen=True)
class DataReport:
    """Description of the data of an input, and the warnings in it."""

    text: str
    warnings: list[str]

    def __str__(self) -> str:
        return self.text


def check(settings: Settings) -> DataReport:
    """Return a description of the data of an input, without computing anything.

    Raises:
        DataError: they cannot be used.
        InputError: the input contradicts the file that the fit starts from.
    """
    settings, start = warm_start.find_start(settings)
    if start and start.elements != settings.elements:
        create_model(settings, start)  # refuses elements that the architecture does not support
    dataset = read_dataset(settings, Ranks())
    notes = [f"start: {note}" for note in (start.notes if start else ())]
    table = group_table(dataset.configurations, [row.name for row in settings.properties])
    text = "\n".join([*notes, describe_data(dataset, settings), *(f"  {line}" for line in table)])
    return DataReport(text, dataset.warnings)


@contextmanager
def open_console(
    settings: Settings, ranks: Ranks, overwrite: bool, resume: bool, quiet: bool, folder: Path | None = None
) -> Iterator[Console]:
    """Open the first rank's console, once it is sure that nothing is lost by writing into the folder.

    Args:
        folder: output folder, if it is not that of the settings.

    Raises:
        InputError: the folder contains an earlier run.
    """
    folder = folder or Path(settings.output_folder)
    if not ranks.is_first:
        yield Console()
        return
    if (folder / LOG_FILE).exists() and not (overwrite or resume):
        continuing = "--resume continues it, " if folder == Path(settings.output_folder) else ""
        remedy = f"--overwrite replaces it, {continuing}[OUTFILE] folder chooses another folder."
        raise InputError([Problem(str(folder), "holds an earlier run.", remedy)])
    folder.mkdir(parents=True, exist_ok=True)
    with Console(None if quiet else sys.stdout, folder / LOG_FILE, append=resume) as console:
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
    """Return the CPU, or the GPU of this rank: the ranks of a machine take its GPUs in turn."""
    wanted = settings.pytorch.device
    if wanted == "cuda" and not torch.cuda.is_available():
        problem = "[PYTORCH] device = cuda, but torch finds no GPU."
        raise InputError([Problem(settings.source, problem, "With auto or cpu it runs on the CPU.")])
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", ranks.local_rank % torch.cuda.device_count())


def _load_restart(settings: Settings, path: Path) -> dict[str, Any]:
    """Return the restart file of a fit that is continued, once it is sure that it belongs to this input."""
    restart = load_restart(path)
    found = differences(from_dict(restart["settings"]), settings)
    refuse_differences(path, [line for line in found if not line.startswith(FREE_TO_CHANGE)])
    return {**restart, "path": path}


def _seed(settings: Settings, ranks: Ranks, restart: dict[str, Any]) -> int:
    """Seed torch's generator: as the fit that is continued, as the input says, or at random; return the seed."""
    options = settings.pytorch
    drawn = int(torch.seed() % 2**31)
    seed: int = ranks.broadcast(
        restart["trainer"]["seed"] if restart else options.seed if options.manual_seed_flag else drawn
    )
    torch.manual_seed(seed)
    return seed


def _make_trainer(
    model: Model[Any],
    start: Start | None,
    settings: Settings,
    prepared: Prepared,
    ranks: Ranks,
    console: Console,
    restart: dict[str, Any],
    seed: int,
) -> Trainer:
    keep_freed_memory()
    missing = [one.name for one in prepared.properties if not _predicted(model, one)]
    if missing:
        what = f"[PROPERTIES] {', '.join(missing)}: a {settings.pytorch.model} model does not predict this."
        raise InputError([Problem(settings.source, what, "Remove it, or choose an architecture that does.")])
    for note in initialize(model, settings, prepared, start, ranks):
        console.line(f"baseline: {note}")
    if restart:
        model.load_state_dict(restart["model"]["state_dict"])  # its baselines, to the bit
    options = settings.pytorch
    dtype = getattr(torch, options.precision)
    training, validation = (prepared.samples(subset, dtype) for subset in (Subset.TRAINING, Subset.VALIDATION))
    device = _device(settings, ranks)
    losses = settings.losses
    terms = [Term(one, make_loss(losses[one.name].kind, losses[one.name].delta)) for one in prepared.properties]
    objective = Objective(terms, options.loss_reduction)
    trainer = Trainer(
        model.to(device), training, validation, objective, options, seed, ranks, device, prepared.releaser()
    )
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    size, frozen = sum(size for size, _ in sizes), sum(size for size, trained in sizes if not trained)
    layers = f" {model.layout}" if model.layout else ""
    kept = f", {frozen} of them frozen ({' '.join(options.freeze)})" if frozen else ""
    console.line(f"model: {options.model}{layers}, {size} weights{kept} · seed {seed}")
    if start and settings.pytorch.save_state_input and not restart:
        console.line(f"start: {warm_start.load_optimizer(trainer, start, settings)}")
    if restart:
        if restart["data"] != prepared.digest():
            refuse_differences(restart["path"], ["the data, their split or their weights have changed"])
        trainer.load_state_dict(restart["trainer"])
        console.line(f"continuing from {restart['path']} after epoch {trainer.epoch}")
        before = restart["settings"]["pytorch"]["num_epochs"]
        if options.scheduler == "cosine" and before != options.num_epochs:
            console.line(
                f"  note: num_epochs changed from {before} to {options.num_epochs}: the cosine schedule is stretched "
                "over the new number, so the learning rate jumps and the fit differs from one of that length."
            )
    return trainer


def _predicted(model: Model[Any], quantity: Property) -> bool:
    return quantity in STANDARD or model.predicts(quantity.name)


def _train(
    trainer: Trainer,
    settings: Settings,
    prepared: Prepared,
    ranks: Ranks,
    console: Console,
    restart_file: Path,
    first: EpochReport | None,
    fresh: bool,
) -> None:
    """Train; after each epoch log it and write the restart file. ``first`` are the errors of the initial weights."""
    if not ranks.is_first:
        trainer.run(lambda report: None)
        return
    stored, digest, properties = as_dict(settings), prepared.digest(), prepared.properties
    saved, split = 0 if fresh else trainer.epoch, prepared.split
    with EpochLog(Path(settings.output_folder), properties, None if fresh else trainer.epoch) as log:

        def after_epoch(report: EpochReport) -> None:
            nonlocal saved
            row = _row(report, properties)
            log.write(row)
            console.line(epoch_line(row, properties))
            with trainer.holding(trainer.best_weights):
                payload = model_payload(trainer.model, settings, {"epoch": trainer.best_epoch}, split=split)
            save_restart(
                restart_file,
                model=payload,
                trainer=trainer.state_dict(),
                settings=stored,
                data=digest,
                split_seed=prepared.dataset.seed,
            )
            saved = report.epoch

        if first or trainer.epoch < settings.pytorch.num_epochs:
            console.line(epoch_header(properties))
        if first:
            console.line(f"{epoch_line(_row(first, properties), properties)}, the initial weights")
        try:
            trainer.run(after_epoch)
        except KeyboardInterrupt:
            console.line(_interrupted(trainer, ranks, restart_file, saved))
            raise
    if trainer.best_epoch:
        console.line(f"best: epoch {trainer.best_epoch}, loss {trainer.best_loss:.6g}; its weights are kept")
    elif trainer.epoch:
        loss = f"loss {trainer.best_loss:.6g}"
        console.line(f"best: the initial weights, {loss}: no epoch improved on it, and they are kept unchanged")


def _interrupted(trainer: Trainer, ranks: Ranks, restart_file: Path, saved: int) -> str:
    """Return what is saved of an interrupted fit, and how to go on."""
    text = f"interrupted in epoch {trainer.epoch + 1} of {trainer.options.num_epochs}"
    launcher = f"mpirun -np {ranks.size} " if ranks.launcher == MPIRUN else ""
    option = "--resume" if saved else "--overwrite"
    command = repeated_command("--overwrite", option)
    go_on = f"{launcher}{command}" if command else f"the same command with {option}"
    if not saved:
        return f"{text}: no epoch was finished, nothing is saved.\nTo start again: {go_on}"
    best = f"that of epoch {trainer.best_epoch}" if trainer.best_epoch else "the initial weights"
    return (
        f"{text}. {restart_file} contains the state after epoch {saved} and the best model so far, {best}.\n"
        f"To go on: {go_on}\n"
        f"To use the best model now: python -m fitsnap_nn export {restart_file}"
    )


def _row(report: EpochReport, properties: Sequence[Property]) -> EpochRow:
    found = report.validation
    mae = tuple(
        found.mae[one.name] * one.loss_unit.size / one.report_unit.size if found else math.nan for one in properties
    )
    return EpochRow(
        epoch=report.epoch,
        train_loss=report.train_loss,
        validation_loss=found.loss if found else math.nan,
        mae=mae,
        learning_rate=report.learning_rate,
        seconds=report.seconds,
        best=report.is_best,
    )


def _history(folder: Path) -> list[EpochRow]:
    return read_epochs(folder) if (folder / METRICS_FILE).exists() else []


def predict_all(model: Model[Any], prepared: Prepared, ranks: Ranks) -> list[Result]:
    """Return predictions and labels of all configurations on the first rank, an empty list on the others."""
    configurations, properties = prepared.dataset.configurations, prepared.properties
    release = prepared.releaser()
    found = evaluate_all(model, configurations, prepared.inputs_of, ranks, properties, release=release)
    return [Result(*both) for both in zip(configurations, found, strict=True)] if ranks.is_first else []
