"""A fit from beginning to end. Each step is one call in ``fit``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import torch

from fitsnap_nn import __version__, interrupts
from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.properties import Property
from fitsnap_nn.errors import counted
from fitsnap_nn.folders import LOG_FILE, refuse_foreign_files
from fitsnap_nn.inputs import CachedInput
from fitsnap_nn.models import Model
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.models.uncertainty import Uncertainty
from fitsnap_nn.reports.epochs import LOSS_FILE, METRICS_FILE
from fitsnap_nn.reports.errors_table import ErrorRow, errors_table, summary
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.reports.uncertainty import Calibrated
from fitsnap_nn.reports.verdict import verdict, verdict_of_errors
from fitsnap_nn.settings import Settings
from fitsnap_nn.terminal import announced
from fitsnap_nn.training.distributed import Ranks, session
from fitsnap_nn.training.evaluation import evaluate_all
from fitsnap_nn.training.stopping import Stopping
from fitsnap_nn.training.trainer import Trainer
from fitsnap_nn.usage import StepTimes, Stopwatch
from fitsnap_nn.workflow.conclusion import conclude
from fitsnap_nn.workflow.device import choose_device, report_usage, use_device
from fitsnap_nn.workflow.going_on import after_solution, before_training
from fitsnap_nn.workflow.initialization import create_model, pretrained_file
from fitsnap_nn.workflow.linear import fit_linear
from fitsnap_nn.workflow.linear_fit import refuse_resume, solve_linear, write_system
from fitsnap_nn.workflow.preparation import (
    Prepared,
    describe_data,
    describe_groups,
    prepare,
    read_dataset,
    refuse_missing_sets,
)
from fitsnap_nn.workflow.run import Fit, Outcome, Run
from fitsnap_nn.workflow.run_folder import open_console, planned_names
from fitsnap_nn.workflow.training_run import (
    history_of,
    load_matching_restart,
    make_trainer,
    run_training,
    set_seed,
)
from fitsnap_nn.workflow.uncertainty import (
    find_uncertainty,
    refuse_unknown_last_layer,
    refuse_without_forces,
    with_calibrated_spread,
)
from fitsnap_nn.workflow.warm_start import Start, find_start

MANY = 3  # notices that are listed in the log only
SECTION = re.compile(r"\[\w+\]")
OF_EPOCHS = (LOSS_FILE, METRICS_FILE)  # files that fits of networks add to


def fit(
    settings: Settings,
    *,
    overwrite: bool = False,
    resume: bool = False,
    train: bool = True,
    verify: bool = True,
    verbose: bool = False,
    quiet: bool = False,
    brief: bool = False,
    strict: bool = False,
    watch: Stopwatch | None = None,
) -> Fit:
    """Fit a potential to data and leave its files in ``settings.output_folder``.

    Args:
        overwrite: replace an earlier fit in that folder.
        resume: go on with it, exactly where it was interrupted.
        train: ``False`` only computes descriptors into the cache.
        verify: run the exported files in LAMMPS and compare.
        verbose: list the notices about the input too.
        quiet: print nothing; the log file and the logger ``fitsnap_nn`` still get every line.
        brief: print warnings and results only.
        strict: treat warnings about the data as errors.
        watch: start of the program, from which ``max_time`` counts; by default now.

    Raises:
        FitsnapError: one of its kinds; see `fitsnap_nn.errors`.
        KeyboardInterrupt: it was interrupted; the log says what is saved and how to go on.
    """
    if settings.solver.is_linear and resume:
        refuse_resume(settings)
    watch = watch or Stopwatch.now()
    folder = Path(settings.output_folder)
    model_file = folder / settings.pytorch.output_file
    restart_file = folder / settings.pytorch.save_state_output
    times = StepTimes(watch.started)
    with session() as ranks, ExitStack() as open_folder:
        with announced("reading the files that the fit starts from", quiet or brief):
            settings, start = _agreed_start(settings, restart_file if resume else None, ranks)
        times.lap("start of the program")
        names = planned_names(settings)
        console = open_folder.enter_context(open_console(settings, names, ranks, overwrite, resume, quiet, None, brief))
        _greet(settings, ranks, console, verbose)
        use_device(choose_device(settings, ranks), ranks, console)
        restart = ranks.broadcast(load_matching_restart(settings, restart_file) if resume and ranks.is_first else {})
        interrupts.describe(partial(before_training, settings, ranks, restart))
        seed = set_seed(settings, ranks, restart)
        with console.task("creating the model"):
            model = create_model(settings, start)
        refuse_unknown_last_layer(settings, model)
        for note in start.notes if start else ():
            console.line(f"start: {note}")
        prepared = prepare(settings, model.input, ranks, console, restart.get("split_seed"), strict)
        refuse_without_forces(settings, prepared)
        prepared = replace(prepared, seen=start.seen if start else ())
        times.lap("data and model inputs")
        if not train:
            report_usage(watch, ranks, console)
            return Fit(folder, [], model_file)
        run = Run(settings, prepared, ranks, console, folder, names, watch, times)
        outcome = _solve(run, model) if settings.solver.is_linear else _train(run, model, start, restart, seed, resume)
        times.lap("training")
        results, calibrated = _results(run, outcome.model)
        if not ranks.is_first:
            report_usage(watch, ranks, console)
            return Fit(folder, [], model_file, outcome.model)
        return conclude(run, outcome, results, calibrated, verify)


def _train(
    run: Run, model: Model[Any], start: Start | None, restart: dict[str, Any], seed: int, resume: bool
) -> Outcome:
    """Train a network."""
    settings, prepared, ranks, console, folder, *_ = run
    with console.task("preparing the training"):
        trainer = make_trainer(model, start, settings, prepared, ranks, console, restart, seed)
    run.take_folder(resume=resume)
    linear = _linear_errors(settings, prepared, trainer, ranks, console)
    limit = settings.pytorch.time_limit
    trainer.stopping = Stopping(ranks, None if limit is None else run.watch.started + limit)
    chosen = start or pretrained_file(settings) or settings.starts_from_least_squares
    show_start = not resume and bool(chosen)
    restart_file = folder / settings.pytorch.save_state_output
    run_training(trainer, settings, prepared, ranks, console, restart_file, show_start, fresh=not resume)
    epochs = settings.pytorch.num_epochs, settings.pytorch.early_stopping

    def judge(results: Sequence[Result], errors: Sequence[ErrorRow]) -> list[str]:
        # Losses before stage two have other weights and are not compared.
        judged = [row for row in history_of(folder) if row.epoch > (trainer.stage_two_began or 0)]
        return verdict(judged, results, prepared.properties, *epochs, errors, trainer.summed_terms)

    origin = {"seed": trainer.seed, "epoch": trainer.best.epoch}
    kept = restart_file if trainer.epoch else None
    return Outcome(trainer.model, origin, judge, linear, kept, stage_two_began=trainer.stage_two_began)


def _solve(run: Run, model: Model[Any]) -> Outcome:
    """Solve the linear system of a linear model."""
    settings, prepared, ranks, console, *_ = run
    linear = cast(LinearModel, model)
    solution = solve_linear(linear, settings, prepared, ranks, console)
    run.take_folder()
    interrupts.describe(partial(after_solution, ranks))
    if ranks.is_first:
        for name in OF_EPOCHS:  # of an earlier fit of a network
            (run.folder / name).unlink(missing_ok=True)
    model.to(choose_device(settings, ranks))
    write = partial(write_system, linear, solution, settings, prepared) if solution else dict
    origin = {"solver": settings.solver.solver, "solution": solution.note if solution else ""}
    remarks = [solution.remark] if solution and solution.remark else []
    return Outcome(
        model,
        origin,
        lambda results, _: verdict_of_errors(results, prepared.properties, remarks),
        write_more=write,
    )


def _results(run: Run, model: Model[Any]) -> tuple[list[Result], Calibrated | None]:
    """Return predictions and labels of all configurations, and the uncertainty, on the first rank."""
    settings, prepared, ranks, console, *_ = run
    results = predict_all(model, prepared, ranks, console)
    calibrated = find_uncertainty(settings, model, prepared, results, ranks, console)
    return with_calibrated_spread(results, calibrated.uncertainty if calibrated else None), calibrated


@dataclass(frozen=True)
class DataReport:
    """Description of the data of an input, and the warnings in it."""

    text: str
    warnings: list[str]

    def __str__(self) -> str:
        return self.text


def check(settings: Settings, console: Console | None = None) -> DataReport:
    """Return a description of the data of an input, without computing anything.

    Args:
        console: shows the progress.

    Raises:
        DataError: they cannot be used.
        InputError: the input contradicts the file that the fit starts from, or the output folder contains files of
            others.
    """
    refuse_foreign_files(Path(settings.output_folder), planned_names(settings))
    settings, start = _find_start(settings)
    if start and start.elements != settings.elements:
        create_model(settings, start)  # refuses elements that the architecture does not support
    dataset = read_dataset(settings, Ranks(), console=console)
    refuse_missing_sets(settings, dataset)
    notes = [f"start: {note}" for note in (start.notes if start else ())]
    table = describe_groups(dataset, settings)
    text = "\n".join([*notes, describe_data(dataset, settings), *(f"  {line}" for line in table)])
    return DataReport(text, dataset.warnings)


def _find_start(settings: Settings, resumed: Path | None = None) -> tuple[Settings, Start | None]:
    """Return what `find_start` does, once it is sure that the frozen parameters exist: before the data are read."""
    settings, start = find_start(settings, resumed)
    if settings.pytorch.freeze:
        create_model(settings, start)
    return settings, start


def _agreed_start(settings: Settings, resumed: Path | None, ranks: Ranks) -> tuple[Settings, Start | None]:
    """Return the result of `_find_start` on the first rank, once it is sure that all ranks have the same input.

    Files of a run are read by the first rank: the output folders of others can be folders of other machines.
    """
    ranks.require_same((__version__, settings.text), f"input {settings.source}, or the version of fitsnap_nn")
    found, start = ranks.broadcast(_find_start(settings, resumed) if ranks.is_first else (settings, None))
    return replace(found, source=settings.source, folder=settings.folder), start


def _greet(settings: Settings, ranks: Ranks, console: Console, verbose: bool) -> None:
    launched = f" ({ranks.launcher})" if ranks.launcher else ""
    console.line(
        f"fitsnap_nn {__version__} · {counted(ranks.size, 'rank')}{launched} · "
        f"LAMMPS {metadata.version('lammps')} · torch {torch.__version__} {choose_device(settings, ranks)} "
        f"{settings.pytorch.precision}"
    )
    if ranks.opened:
        console.line(f"  note: ranks on several machines: {ranks.opened} accepts connections without authentication")
    console.line(f"input: {settings.source}")
    many = len(settings.notices) >= MANY and not verbose
    for notice in settings.notices:
        (console.detail if many else console.line)(f"  note: {notice}")
    if many:
        sections = dict.fromkeys(name for notice in settings.notices for name in SECTION.findall(notice))
        about = f" ({', '.join(sections)})" if sections else ""
        console.line(f"  {len(settings.notices)} notes on the input{about}: see {LOG_FILE}, --verbose or --check")


def _linear_errors(
    settings: Settings, prepared: Prepared, trainer: Trainer, ranks: Ranks, console: Console
) -> list[ErrorRow]:
    """Return and print the errors of the linear model on the same descriptors, if the input asks for it."""
    with console.task("linear model on the same descriptors"):
        model, note = fit_linear(settings, prepared, trainer.objective, ranks)
    if note:
        console.line(note)
    rows = errors_table(predict_all(model, prepared, ranks, console), prepared.properties) if model else []
    for subset in (Subset.TRAINING, Subset.VALIDATION):
        if text := summary(rows, subset, prepared.properties):
            console.line(f"  errors ({subset.name.lower()} set, mean absolute): {text}")
    return rows


def predict_all(
    model: Model[Any], prepared: Prepared, ranks: Ranks, console: Console, uncertainty: Uncertainty | None = None
) -> list[Result]:
    """Return predictions and labels of all configurations on the first rank, an empty list on the others."""
    return evaluated(
        model,
        prepared.dataset.configurations,
        prepared.inputs_of,
        ranks,
        prepared.properties,
        console,
        release=prepared.releaser(),
        uncertainty=uncertainty,
    )


def evaluated(
    model: Model[Any],
    configurations: Sequence[Configuration],
    inputs_of: Callable[[Sequence[Configuration]], Sequence[CachedInput]],
    ranks: Ranks,
    properties: Sequence[Property],
    console: Console,
    name: str = "evaluation",
    **options: Any,
) -> list[Result]:
    """Return predictions and labels of configurations on the first rank, an empty list on the others.

    Args:
        model, configurations, inputs_of, ranks, properties, options: of `evaluate_all`.
        console: shows the progress.
        name: of the task.
    """
    with console.task(name) as task:
        found = evaluate_all(
            model, configurations, inputs_of, ranks, properties, say=console.line, progress=task.update, **options
        )
    return [Result(*both) for both in zip(configurations, found, strict=True)] if ranks.is_first else []
