"""The middle of a fit of a linear model: reduction of the linear system, its solution, and files of the system."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.properties import Property
from fitsnap_nn.errors import CheckpointError, counted
from fitsnap_nn.files import atomic_write, write_text
from fitsnap_nn.inputs.rows import CachedRows
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.reports.linear_metrics import SETS
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import Settings
from fitsnap_nn.settings.outputs import COVARIANCE, DATA_FRAME, DESCRIPTORS, MEAN, TRUTH, WEIGHTS, system_names
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.linear_solvers import Solution, needs_all_rows, solve
from fitsnap_nn.training.linear_system import LinearSystem, Rows, gather_system, reduce_system, rows_of
from fitsnap_nn.workflow.preparation import Prepared

CONTENTS: Mapping[str, str] = MappingProxyType(
    {
        DESCRIPTORS: "matrix of the linear system",
        TRUTH: "its right-hand side",
        WEIGHTS: "weights of its rows",
        DATA_FRAME: "its rows, with predictions",
        COVARIANCE: "covariance of the coefficients",
        MEAN: "the coefficients, in the same order",
    }
)
FRAME_COLUMNS = ("Groups", "Configs", "Testing", "Row_Type", "Atom_I", "truths", "preds", "weights")


def refuse_resume(settings: Settings) -> None:
    """Refuse to continue a linear fit.

    Raises:
        CheckpointError: always.
    """
    raise CheckpointError(
        f"solver = {settings.solver.solver} solves one linear system: there is nothing to continue. Repeat the fit "
        "with --overwrite; the model inputs are in its cache."
    )


def solve_linear(
    model: LinearModel, settings: Settings, prepared: Prepared, ranks: Ranks, console: Console
) -> Solution | None:
    """Set the coefficients of the model to the solution of the linear system of the training set.

    Args:
        model: the model, the same on all ranks afterwards.
        settings: settings of the fit.
        prepared: the data.
        ranks: share the reduction of the system; the first one solves it.
        console: of this rank.

    Returns:
        The solution on the first rank, ``None`` on the others.

    Raises:
        TrainingError: there is no finite solution.
    """
    build = gather_system if needs_all_rows(settings.solver.solver) else reduce_system
    with console.task("reducing the linear system"):
        system = build(model, _training(prepared, ranks), prepared.properties, ranks)
    with console.task(f"solving the linear system with {settings.solver.solver}"):
        solution = solve(system, settings) if system else None
    values = ranks.broadcast(solution.values if solution else None)
    assert values is not None, "the first rank has a solution, or has ended all ranks"
    coefficients = np.zeros(model.fitted.shape)
    coefficients[model.fitted] = values
    model.assign(coefficients)
    if system and solution:
        console.line(_describe(system, solution, settings, prepared.properties))
    return solution


def write_system(model: LinearModel, solution: Solution, settings: Settings, prepared: Prepared) -> dict[str, str]:
    """Write the files of the linear system that the input asks for, with the rows of all sets, on the first rank.

    Returns:
        The content of each file that was written.

    Raises:
        OSError: a file cannot be written.
    """
    folder, written = Path(settings.output_folder), system_names(settings)
    parts: dict[str, list[Any]] = {name: [] for name in written if name not in (COVARIANCE, MEAN)}
    for configuration in prepared.dataset.configurations if parts else ():
        cached = cast(CachedRows, prepared.store.cached(configuration))
        for one, rows in rows_of(model, configuration, cached, prepared.properties):
            arrays = {DESCRIPTORS: rows.design, TRUTH: rows.labels, WEIGHTS: np.full(len(rows.labels), rows.weight)}
            for name, part in parts.items():
                part.append(arrays[name] if name in arrays else _frame(configuration, one, rows, model))
        prepared.store.release()
    lines = [line for part in parts.pop(DATA_FRAME, []) for line in part]
    arrays = {name: np.concatenate(found) for name, found in parts.items()}
    if solution.covariance is not None:
        arrays |= {COVARIANCE: solution.covariance, MEAN: solution.values}
    for name, array in arrays.items():
        with atomic_write(folder / name) as file:
            np.save(file, array, allow_pickle=False)
    if DATA_FRAME in written:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([FRAME_COLUMNS, *lines])
        write_text(folder / DATA_FRAME, text.getvalue())
    return {name: CONTENTS[name] for name in written}


def _training(prepared: Prepared, ranks: Ranks) -> Iterator[tuple[Configuration, CachedRows]]:
    """Yield the configurations of the training set that are assigned to this rank, with their cached inputs."""
    members, release = prepared.subset(Subset.TRAINING), prepared.releaser()
    for number in ranks.mine([float(len(one)) for one in members]):
        yield members[number], cast(CachedRows, prepared.store.cached(members[number]))
        release()


def _describe(system: LinearSystem, solution: Solution, settings: Settings, properties: Sequence[Property]) -> str:
    rows = ", ".join(f"{system.rows[one.name]} {one.title.lower()}" for one in properties if system.rows[one.name])
    columns = counted(len(solution.values), "coefficient")
    return f"solver {settings.solver.solver}: {columns}; rows: {rows}; {solution.note}"


def _frame(
    configuration: Configuration, quantity: Property, rows: Rows, model: LinearModel
) -> list[tuple[object, ...]]:
    """Return the lines of the data frame for the rows of one property."""
    name = configuration.id.rpartition("/")[2]
    common = (configuration.group, name, SETS[configuration.subset], quantity.title)
    numbers = enumerate(zip(rows.labels.tolist(), (rows.design @ model.values).tolist(), strict=True))
    return [(*common, number // 3 if quantity.per == "atom" else 0, *both, rows.weight) for number, both in numbers]
