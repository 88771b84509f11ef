"""The middle of a fit: seed, trainer, and the epochs with their log and restart file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import torch

from fitsnap_nn import interrupts
from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import STANDARD
from fitsnap_nn.errors import CheckpointError, InputError, Interrupted, Problem, TimeLimit
from fitsnap_nn.export.reference_files import changed_files
from fitsnap_nn.export.stored import refused
from fitsnap_nn.memory import keep_freed_memory
from fitsnap_nn.models import Model
from fitsnap_nn.reports.epochs import METRICS_FILE, EpochRow, read_epochs
from fitsnap_nn.reports.resumes import CONTINUED
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import Settings, differences, from_dict
from fitsnap_nn.settings.training import LAST, LOSS, PytorchSection
from fitsnap_nn.training.checkpoint import load_restart, refuse_differences
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.losses import make_loss
from fitsnap_nn.training.objective import Objective, Term
from fitsnap_nn.training.stopping import FitStopped
from fitsnap_nn.training.trainer import EpochReport, Trainer
from fitsnap_nn.workflow import warm_start
from fitsnap_nn.workflow.device import choose_device
from fitsnap_nn.workflow.going_on import Saved
from fitsnap_nn.workflow.initialization import initialize
from fitsnap_nn.workflow.linear import set_last_layer
from fitsnap_nn.workflow.preparation import Prepared
from fitsnap_nn.workflow.records import Records, showing_progress
from fitsnap_nn.workflow.warm_start import Start

# Settings that may differ between a fit and its continuation.
FREE_TO_CHANGE = (
    "[OUTFILE]", "[EXTRAS]", "[MEMORY]", "[PYTORCH] num_epochs", "[PYTORCH] save_state", "[PYTORCH] output_file",
    "[PYTORCH] device", "[PYTORCH] early_stopping", "[PYTORCH] log_interval", "[PYTORCH] log_mae",
    "[PYTORCH] checkpoint_interval", "[PYTORCH] max_time",
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
    training, validation = prepared.samples_to_train(dtype), prepared.samples(Subset.VALIDATION, dtype)
    device = choose_device(settings, ranks)
    model.to(device)
    if options.tf32 and (device.type == "cpu" or options.precision == "float64"):
        reason = "on a CPU" if device.type == "cpu" else "with dtype_setting = 2 (float64)"
        console.line(f"note: [PYTORCH] tf32 = 1 has no effect {reason}")
    for note in [] if restart else set_last_layer(model, training, objective, settings, prepared, ranks):
        console.line(f"start: {note}")
    stage_two = prepared.in_stage_two(training, validation)
    release, sets = prepared.releaser(), (training, validation)
    trainer = Trainer(model, *sets, objective, options, seed, ranks, device, release, console.line, stage_two)
    console.line(f"model: {options.model}{_size(model, settings)} · seed {seed}")
    for note in [] if restart else trainer.step.notes():
        console.line(f"{options.optimizer}: {note}")
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
    if restart["data"] != prepared.digest:
        refuse_differences(restart["path"], ["the data, their split or their weights have changed"])
    with refused(restart["path"]):
        trainer.load_state_dict(restart["trainer"])
    steps = f" and step {trainer.part.steps} of the next one" if trainer.part else ""
    console.line(CONTINUED.format(path=restart["path"], epoch=trainer.epoch) + steps)
    before, now = restart["settings"]["pytorch"]["num_epochs"], settings.pytorch.num_epochs
    if before != now:
        _note_on_schedule(trainer, settings.pytorch, f"num_epochs changed from {before} to {now}", console)


def _note_on_schedule(trainer: Trainer, options: PytorchSection, what: str, console: Console) -> None:
    """Print what changes with the number of epochs."""
    schedule = trainer.schedule
    falls = schedule.falls_in_stage_two if trainer.in_stage_two else schedule.kind == "cosine"
    if falls:
        console.line(
            f"  note: {what}: the cosine schedule is stretched over the new number, so the learning rate jumps and "
            "the fit differs from one of that length."
        )
    if options.stage_two and not options.stage_two_start and trainer.in_stage_two:
        console.line(
            f"  note: {what}: stage two has begun after epoch {trainer.stage_two_began}, which does not change"
        )
    elif options.stage_two and not options.stage_two_start:
        console.line(f"  note: {what}: stage two now begins after epoch {schedule.second_stage}")


def run_training(
    trainer: Trainer,
    settings: Settings,
    prepared: Prepared,
    ranks: Ranks,
    console: Console,
    restart_file: Path,
    show_start: bool,
    fresh: bool,
) -> None:
    """Train; after each epoch log it and write the restart file.

    Args:
        restart_file: the restart file.
        show_start: find and print the errors of the initial weights too.
        fresh: whether the fit is new.

    Raises:
        Interrupted: at SIGINT or SIGTERM, once the state after the current step is saved; on the first rank.
        TimeLimit: the same at the time limit.
    """
    if not ranks.is_first:
        with _waiting_for_the_end(ranks):
            if show_start:
                trainer.evaluate_start()
            trainer.run(lambda report: None)
        return
    saved = Saved(trainer, ranks, restart_file, 0 if fresh else trainer.epoch)
    with (
        Records(trainer, settings, prepared, console, restart_file, saved, fresh) as records,
        _saying_what_is_saved(saved, console),
    ):
        interrupts.describe(saved.interrupted)
        try:
            records.start(_errors_of_start(trainer, console) if show_start else None)
            with showing_progress(trainer, console):
                trainer.run(records.after_epoch)
        except FitStopped:
            _stop(trainer, records, saved, settings.pytorch.max_time, console)
    saved.complete = True
    records.finish()
    _say_best(trainer, settings.pytorch.best_model_metric, console)


def _errors_of_start(trainer: Trainer, console: Console) -> EpochReport:
    with console.task("errors of the initial weights"):
        return trainer.evaluate_start()


@contextmanager
def _saying_what_is_saved(saved: Saved, console: Console) -> Iterator[None]:
    """Print what the restart file contains, and how to go on, if a file cannot be written."""
    try:
        yield
    except (CheckpointError, OSError):
        with suppress(OSError):  # the log may be on the same full disk
            console.line(saved.interrupted(), final=True)
        raise


@contextmanager
def _waiting_for_the_end(ranks: Ranks) -> Iterator[None]:
    """Wait for the first rank if the fit stops: it saves the state, and then ends all ranks."""
    try:
        yield
    except FitStopped:
        ranks.barrier()


def _stop(trainer: Trainer, records: Records, saved: Saved, limit: str, console: Console) -> NoReturn:
    """Save the state of a fit that has stopped, and end it."""
    if trainer.part:
        records.save()
    if number := trainer.stopping.signalled():
        raise Interrupted(number)
    text = saved.out_of_time(limit)
    console.detail(text)  # the screen shows the message of the exception
    raise TimeLimit(text)


def _say_best(trainer: Trainer, metric: str, console: Console) -> None:
    """Print which epoch is kept."""
    by = "" if metric == LOSS else f", lowest {metric} of the validation set"
    if metric == LAST and trainer.best.epoch:
        console.line(
            f"last: epoch {trainer.best.epoch}, loss {trainer.best.loss:.6g}; its weights are kept, as asked for"
        )
    elif trainer.best.epoch:
        console.line(f"best: epoch {trainer.best.epoch}, loss {trainer.best.loss:.6g}{by}; its weights are kept")
    elif trainer.epoch:
        loss = f"loss {trainer.best.loss:.6g}{by}"
        console.line(f"best: the initial weights, {loss}: no epoch improved on it, and they are kept unchanged")


def history_of(folder: Path) -> list[EpochRow]:
    return read_epochs(folder) if (folder / METRICS_FILE).exists() else []
