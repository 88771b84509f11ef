"""The middle of a fit: seed, trainer, and the epochs with their log and restart file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from fitsnap_nn import interrupts
from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import STANDARD, Property
from fitsnap_nn.errors import CheckpointError, InputError, Problem
from fitsnap_nn.export.model_file import model_payload
from fitsnap_nn.export.reference_files import changed_files
from fitsnap_nn.export.stored import refused
from fitsnap_nn.folders import own_files
from fitsnap_nn.launch import repeated_command
from fitsnap_nn.models import Model
from fitsnap_nn.reports.epochs import METRICS_FILE, EpochLog, EpochRow, epoch_header, epoch_line, read_epochs
from fitsnap_nn.reports.resumes import CONTINUED
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import Settings, as_dict, differences, from_dict
from fitsnap_nn.settings.outputs import snapshot_name
from fitsnap_nn.settings.training import LOSS, PytorchSection
from fitsnap_nn.training.allocator import keep_freed_memory
from fitsnap_nn.training.checkpoint import load_restart, refuse_differences, save_restart
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.losses import make_loss
from fitsnap_nn.training.objective import Objective, Term
from fitsnap_nn.training.trainer import EpochReport, Trainer
from fitsnap_nn.workflow import warm_start
from fitsnap_nn.workflow.device import choose_device
from fitsnap_nn.workflow.initialization import initialize
from fitsnap_nn.workflow.linear import set_last_layer
from fitsnap_nn.workflow.preparation import Prepared
from fitsnap_nn.workflow.warm_start import Start

# Settings that may differ between a fit and its continuation.
FREE_TO_CHANGE = (
    "[OUTFILE]", "[EXTRAS]", "[MEMORY]", "[PYTORCH] num_epochs", "[PYTORCH] save_state", "[PYTORCH] output_file",
    "[PYTORCH] device", "[PYTORCH] early_stopping", "[PYTORCH] log_interval", "[PYTORCH] log_mae",
    "[PYTORCH] checkpoint_interval",
)  # fmt: skip


def load_matching_restart(settings: Settings, path: Path) -> dict[str, Any]:
    """Return the restart file of a fit that is continued, once it is sure that it belongs to this input."""
    restart = load_restart(path)
    with refused(path):
        found = differences(from_dict(restart["settings"]), settings) + changed_files(restart["model"], settings)
    refuse_differences(path, [line for line in found if not line.startswith(FREE_TO_CHANGE)])
    return {**restart, "path": path}


def set_seed(settings: Settings, ranks: Ranks, restart: dict[str, Any]) -> int:
    """Seed torch's generator: as the fit that is continued, as the input says, or at random; return the seed."""
    options = settings.pytorch
    drawn = int(torch.seed() % 2**31)
    seed: int = ranks.broadcast(
        restart["trainer"]["seed"] if restart else options.seed if options.manual_seed_flag else drawn
    )
    torch.manual_seed(seed)
    return seed


def make_trainer(
    model: Model[Any],
    start: Start | None,
    settings: Settings,
    prepared: Prepared,
    ranks: Ranks,
    console: Console,
    restart: dict[str, Any],
    seed: int,
) -> Trainer:
    """Return the trainer of a fit, its model initialised, or in the state of the restart file."""
    keep_freed_memory()
    objective = _objective(model, settings, prepared)
    for note in initialize(model, settings, prepared, start, ranks):
        console.line(f"baseline: {note}")
    if restart:
        with refused(restart["path"]):
            model.load_state_dict(restart["model"]["state_dict"])  # its baselines, to the bit
    if ranks.size > 1:
        # Inputs in different caches, of machines with different processors, differ by rounding, and so do baselines.
        model.load_state_dict(ranks.broadcast(model.state_dict()))
    options = settings.pytorch
    dtype = getattr(torch, options.precision)
    training, validation = (prepared.samples(subset, dtype) for subset in (Subset.TRAINING, Subset.VALIDATION))
    device = choose_device(settings, ranks)
    model.to(device)
    if options.tf32 and (device.type == "cpu" or options.precision == "float64"):
        reason = "on a CPU" if device.type == "cpu" else "with dtype_setting = 2 (float64)"
        console.line(f"note: [PYTORCH] tf32 = 1 has no effect {reason}")
    for note in [] if restart else set_last_layer(model, training, objective, settings, prepared, ranks):
        console.line(f"start: {note}")
    stage_two = prepared.in_stage_two(Subset.TRAINING, training), prepared.in_stage_two(Subset.VALIDATION, validation)
    release, sets = prepared.releaser(), (training, validation)
    trainer = Trainer(model, *sets, objective, options, seed, ranks, device, release, console.line, stage_two)
    console.line(f"model: {options.model}{_size(model, settings)} · seed {seed}")
    if restart:
        _go_on(trainer, settings, prepared, console, restart)
    elif start and options.save_state_input:
        console.line(f"start: {warm_start.load_optimizer(trainer, start, settings)}")
    if restart or start:
        weights = trainer.flat.vector.detach().cpu().numpy().tobytes()
        ranks.require_same(hashlib.sha256(weights).hexdigest(), "weights that the fit starts from")
    return trainer


def _objective(model: Model[Any], settings: Settings, prepared: Prepared) -> Objective:
    missing = [one.name for one in prepared.properties if not (one in STANDARD or model.predicts(one.name))]
    if missing:
        what = f"[TARGETS] {', '.join(missing)}: a {settings.pytorch.model} model does not predict this."
        raise InputError([Problem(settings.source, what, "Remove it, or choose an architecture that does.")])
    losses = settings.losses
    terms = [Term(one, make_loss(losses[one.name].kind, losses[one.name].delta)) for one in prepared.properties]
    return Objective(terms, settings.pytorch.loss_reduction, balanced=settings.pytorch.balance)


def _size(model: Model[Any], settings: Settings) -> str:
    """Return the layers and the number of weights: `` 55-64-64-1, 7937 weights``."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    size, frozen = sum(size for size, _ in sizes), sum(size for size, trained in sizes if not trained)
    layers = f" {model.layout}" if model.layout else ""
    kept = f", {frozen} of them frozen ({' '.join(settings.pytorch.freeze)})" if frozen else ""
    return f"{layers}, {size} weights{kept}"


def _go_on(trainer: Trainer, settings: Settings, prepared: Prepared, console: Console, restart: dict[str, Any]) -> None:
    """Give the trainer the state in the restart file, once it is sure that the data are the same."""
    if restart["data"] != prepared.digest():
        refuse_differences(restart["path"], ["the data, their split or their weights have changed"])
    with refused(restart["path"]):
        trainer.load_state_dict(restart["trainer"])
    console.line(CONTINUED.format(path=restart["path"], epoch=trainer.epoch))
    before, now = restart["settings"]["pytorch"]["num_epochs"], settings.pytorch.num_epochs
    if before != now:
        _note_on_schedule(trainer, settings.pytorch, f"num_epochs changed from {before} to {now}", console)


def _note_on_schedule(trainer: Trainer, options: PytorchSection, what: str, console: Console) -> None:
    """Print what changes with the number of epochs."""
    if trainer.schedule.kind == "cosine" and not trainer.in_stage_two:
        console.line(
            f"  note: {what}: the cosine schedule is stretched over the new number, so the learning rate jumps and "
            "the fit differs from one of that length."
        )
    if options.stage_two and not options.stage_two_start and trainer.in_stage_two:
        console.line(
            f"  note: {what}: stage two has begun after epoch {trainer.stage_two_began}, which does not change"
        )
    elif options.stage_two and not options.stage_two_start:
        console.line(f"  note: {what}: stage two now begins after epoch {trainer.schedule.second_stage}")


def run_training(
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
    stored, digest, properties, options = as_dict(settings), prepared.digest(), prepared.properties, settings.pytorch
    saved, split = 0 if fresh else trainer.epoch, prepared.split
    for path in stale_snapshots(restart_file, saved):
        path.unlink()
        console.line(f"removed {path}, of an earlier fit")
    with EpochLog(Path(settings.output_folder), properties, None if fresh else trainer.epoch) as log:
        hidden = ""  # line of the last epoch, if it is not shown

        def after_epoch(report: EpochReport) -> None:
            nonlocal saved, hidden
            row = _row(report, properties)
            log.write(row)
            line = epoch_line(row, properties, rmse=options.log_mae)
            hidden = "" if shown(row.epoch) else line
            if not hidden:
                console.line(line)
            with trainer.holding(trainer.best.weights):
                payload = model_payload(trainer.model, settings, {"epoch": trainer.best.epoch}, split=split)
            state, seed = trainer.state_dict(), prepared.dataset.seed
            for path in restart_files(restart_file, row.epoch, options):
                save_restart(path, model=payload, trainer=state, settings=stored, data=digest, split_seed=seed)
            saved = report.epoch

        def shown(epoch: int) -> bool:
            return epoch in (1, options.num_epochs) or not epoch % options.log_interval

        if first or trainer.epoch < options.num_epochs:
            console.line(epoch_header(properties, rmse=options.log_mae))
        if first:
            line = epoch_line(_row(first, properties), properties, rmse=options.log_mae)
            console.line(f"{line}, the initial weights")
        interrupts.describe(lambda: _interrupted(trainer, ranks, restart_file, saved))
        try:
            trainer.run(after_epoch)
        except (CheckpointError, OSError):
            with suppress(OSError):  # the log may be on the same full disk
                console.line(_interrupted(trainer, ranks, restart_file, saved))
            raise
    if trainer.epoch:
        trained = f"interrupted after epoch {trainer.epoch}, the last one; {_saved(ranks, restart_file, trainer.epoch)}"
        interrupts.describe(lambda: trained)
    if hidden:
        console.line(hidden)
    _say_best(trainer, options.best_model_metric, console)


def _say_best(trainer: Trainer, metric: str, console: Console) -> None:
    """Print which epoch is kept."""
    by = "" if metric == LOSS else f", lowest {metric} of the validation set"
    if trainer.best.epoch:
        console.line(f"best: epoch {trainer.best.epoch}, loss {trainer.best.loss:.6g}{by}; its weights are kept")
    elif trainer.epoch:
        loss = f"loss {trainer.best.loss:.6g}{by}"
        console.line(f"best: the initial weights, {loss}: no epoch improved on it, and they are kept unchanged")


def before_training(settings: Settings, ranks: Ranks, restart: dict[str, Any]) -> str:
    """Return what is saved of a fit that is interrupted before its first epoch, and how to go on: one line."""
    epoch = restart["trainer"]["epoch"] if restart else 0
    text = f"interrupted before epoch {epoch + 1} of {settings.pytorch.num_epochs}"
    if settings.solver.is_linear:
        text = "interrupted before the linear system is solved"
    if restart:
        return f"{text}; {_saved(ranks, restart['path'], epoch)}"
    return f"{text}; nothing is saved but model inputs. To start again: {_command(ranks, '--overwrite')}"


def _interrupted(trainer: Trainer, ranks: Ranks, restart_file: Path, saved: int) -> str:
    """Return where a fit was interrupted, what is saved, and how to go on: one line."""
    text = f"interrupted in epoch {saved + 1} of {trainer.options.num_epochs}"
    if not saved:
        return f"{text}; no epoch was finished, nothing is saved. To start again: {_command(ranks, '--overwrite')}"
    return f"{text}; {_saved(ranks, restart_file, saved)}"


def _saved(ranks: Ranks, restart_file: Path, epoch: int) -> str:
    """Return what a restart file contains, and the command that continues the fit."""
    go_on = _command(ranks, "--resume")
    return f"{restart_file} contains the state after epoch {epoch}. To go on: {go_on}"


@contextmanager
def finishing(restart_file: Path | None, ranks: Ranks, console: Console) -> Iterator[list[Path]]:
    """State what is saved, and how to finish, if results cannot be written.

    Args:
        restart_file: restart file of the fit, if there is one.

    Yields:
        Files that contain the model, to be extended.
    """
    saved = [restart_file] if restart_file else []
    try:
        yield saved
    except Exception:  # of any kind, and raised again: whatever failed, the user is told that the fit is not lost
        go_on = _command(ranks, "--resume" if restart_file else "--overwrite")
        kept = f"the fit is complete, and the model is saved in {saved[-1]}" if saved else "nothing is saved"
        with suppress(OSError):  # the log may be on the same full disk
            console.line(f"not all results are written; {kept}.\nTo write them: {go_on}")
        raise


def _command(ranks: Ranks, option: str) -> str:
    """Return the command line of this run with an option."""
    return repeated_command(ranks.size, "--overwrite" if option == "--resume" else "--resume", option)


def restart_files(path: Path, epoch: int, options: PytorchSection) -> list[Path]:
    """Return the restart files to write after an epoch: the latest one, and a copy every ``checkpoint_interval``."""
    kept = bool(options.checkpoint_interval) and epoch % options.checkpoint_interval == 0
    return [path, *([path.with_name(snapshot_name(path.name, epoch))] if kept else [])]


def stale_snapshots(path: Path, epoch: int) -> list[Path]:
    """Return the copies of the restart file of an earlier fit in the same folder, or of epochs that are repeated.

    Args:
        path: the restart file.
        epoch: epoch from which the fit goes on; 0 for a new one.
    """
    own, prefix = own_files(path.parent, ()), path.name.removesuffix(".pt") + "_"
    numbers = {name: name[len(prefix) : -3] for name in own if name.startswith(prefix) and name.endswith(".pt")}
    stale = (name for name, number in numbers.items() if number.isdigit() and int(number) > epoch)
    return [path.with_name(name) for name in sorted(stale) if path.with_name(name).is_file()]


def _row(report: EpochReport, properties: Sequence[Property]) -> EpochRow:
    found = report.validation

    def errors(by_name: Mapping[str, float]) -> tuple[float, ...]:
        return tuple(by_name.get(one.name, math.nan) * one.loss_unit.size / one.report_unit.size for one in properties)

    return EpochRow(
        epoch=report.epoch,
        train_loss=report.train_loss,
        validation_loss=found.loss if found else math.nan,
        mae=errors(found.mae if found else {}),
        rmse=errors(found.rmse if found else {}),
        learning_rate=report.learning_rate,
        seconds=report.seconds,
        best=report.is_best,
    )


def history_of(folder: Path) -> list[EpochRow]:
    return read_epochs(folder) if (folder / METRICS_FILE).exists() else []
