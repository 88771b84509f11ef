"""Accuracy, training time and MD speed of what `new` and `fit` make of data, beside published potentials.

    python tests/benchmarks/bench_accuracy.py [--sets Ni Si ...] [--models BPNN MACE ...] [--seeds 1 2 3]
        [--folder accuracy] [--validation-only] [--epochs N] [--time-limit SECONDS] [--set SECTION.KEY=VALUE ...]

For each data set and architecture this runs what a user would run: ``new --data TRAINING``, ``fit`` for each seed (that
of the split and of the initial weights), and ``test MODEL`` on the test files. Sets are names of accuracy_sets.py, by
default all that are in --data, or NAME=TRAINING[,TEST...]. ``new`` and ``fit`` see the training data only. Differences
from the input that ``new`` writes:

* Where there are test files, no second test set is held out: the configurations that ``new`` sets aside for one are
  used for training. Without test files the test errors are those of the test set that ``new`` holds out.
* Ta has the split and weights of FitSNAP's example: 70 % for training, 30 % for validation (FitSNAP's testing set,
  here the set that chooses the epoch), energies and forces weighted 0.01 and 1, no stresses, and no test set.
* ``--epochs`` and ``--set``, for dry runs and for the choice of settings.

MEAN among the models, as the last one, is what ``combine`` makes of the fits of the models before it with the same
seed, except BPNN, with weights chosen on their validation set; its training time is the sum of all.

Never choose settings by test errors: ``--validation-only`` neither opens the test files nor shows the errors of a test
set. Training CPU seconds are user and system time of a complete fit, descriptors included, without the verification in
LAMMPS, whose ranks wait for each other. MD speed is the lowest of three runs of the exported model of the first seed on
one core, with the structure of its MD example, replicated, at 300 K.

Finished fits in --folder are kept: a run that was killed goes on where it was, with the restart file of the fit. A fit
from another input or with other options is an error. A fit over --time-limit (wall seconds) stops; it is continued by
the next run with a higher limit. CPU times that lack a part, after a kill, are marked ≥. The figures are also written
to accuracy.json in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from accuracy_fit import Fit, Mean, run_program
from accuracy_sets import COLUMNS, PUBLISHED, ZUO, DataSet, find_sets, unpack
from measure import Failed

from fitsnap_nn.files import write_text
from fitsnap_nn.plugin import plugin_dir
from fitsnap_nn.settings.ini import Document, Entry, read_ini

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
MEAN = "MEAN"
MODELS = ("BPNN", "ACE", "SOAP_BPNN", "MACE", "NANOPET")
NO_MEMBERS = ("BPNN",)  # on SNAP descriptors
HEADER = ("set", "model", "fits", "val E", "val F", "E", "E RMSE", "F", "F RMSE", "training, CPU s", "MD, µs")
Result = TypeVar("Result")


def write_input(one: DataSet, model: str, training: Path, folder: Path) -> None:
    """Write fit.in: what ``new`` writes for the training data, with the changes named at the top of this file."""
    new = folder / "new.in"
    new.unlink(missing_ok=True)
    run_program(["new", new.name, "--model", model, "--data", os.path.relpath(training, folder)], folder)
    document = read_ini(new.read_text(encoding="utf-8"), str(new))
    change_rows(document, one)
    write_text(folder / "fit.in", document.text)


def change_rows(document: Document, one: DataSet) -> None:
    """Put the rows of a data set into an input, or give the configurations of test sets to training.

    Raises:
        SystemExit: the columns are not those of ``new``.
    """
    groups = document.sections["GROUPS"]
    if groups["group_sections"].value.split() != COLUMNS:
        sys.exit(f"{document.source}: the columns of [GROUPS] are not {' '.join(COLUMNS)}")
    rows = {name: entry.value.split() for name, entry in groups.items() if len(entry.value.split()) == len(COLUMNS) - 1}
    if one.rows:
        for name in rows:
            del groups[name]
        groups.update({name: Entry(row, "") for name, row in one.rows.items()})
    elif one.tests:
        for name, (training, validation, test, *weights) in rows.items():
            sizes = [f"{float(training) + float(test):.10g}", validation, "0"]
            groups[name] = Entry(" ".join([*sizes, *weights]), "")


def attempt(failures: list[str], name: str, action: Callable[[], Result]) -> Result | None:
    """Return the result of an action; if a program fails, print why and go on with the others."""
    try:
        result = action()
    except Failed as failure:
        failures.append(name)
        print(f"{name}: {failure}", file=sys.stderr, flush=True)
        return None
    print(f"{name}: finished", file=sys.stderr, flush=True)
    return result


def create_fits(
    label: str, folder: Path, one: DataSet, start: Path, options: argparse.Namespace, failures: list[str]
) -> list[Fit]:
    """Write the input of an architecture, and return a fit for each seed; none if that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    attempt(failures, f"{label} new", partial(write_input, one, folder.name, start / one.training, folder))
    if failures and failures[-1] == f"{label} new":
        return []
    return [Fit(folder, seed, tuple(options.settings)) for seed in options.seeds]


def create_means(folder: Path, training: Path, done: Sequence[Fit]) -> list[Fit]:
    """Return the mean of the fits of several architectures for each seed that has at least two."""
    folder.mkdir(parents=True, exist_ok=True)
    members = [fit for fit in done if fit.folder.name not in NO_MEMBERS]
    by_seed = {
        seed: [fit for fit in members if fit.seed == seed] for seed in dict.fromkeys(fit.seed for fit in members)
    }
    return [Mean(folder, seed, (), tuple(fits), training) for seed, fits in by_seed.items() if len(fits) > 1]


def measure(
    name: str, one: DataSet, model: str, options: argparse.Namespace, failures: list[str], done: list[Fit]
) -> Iterator[dict[str, Any]]:
    """Fit one architecture to one data set; yield a row for each test file, or one, with lists over the fits.

    Args:
        done: fits of other architectures to the set; those of this one are added.
    """
    folder, label = options.folder / name / model, f"{name} {model}"
    start = unpack(one, options.data, options.folder / "data")
    if model == MEAN:
        wanted = create_means(folder, start / one.training, done)
    else:
        wanted = create_fits(label, folder, one, start, options, failures)
    fits, parts = [], []
    for fit in wanted:
        cpu = attempt(failures, f"{label} fit, seed {fit.seed}", partial(fit.train, options.time_limit))
        if cpu is not None:
            fits.append(fit)
            parts.append(cpu)
    done += fits
    if not fits:
        return
    row = {
        "set": name,
        "model": model,
        "seeds": [fit.seed for fit in fits],
        "validation": [fit.own_errors("Validation") for fit in fits],
        "test": [],
        "cpu": [sum(part or 0.0 for part in cpu) for cpu in parts],
        "cpu_is_complete": all(None not in cpu for cpu in parts),
        "md": attempt(failures, f"{label} MD", fits[0].md_speed),
    }
    if options.validation_only:
        yield row
    elif not one.tests:
        yield {**row, "test": [fit.own_errors("Test") for fit in fits]}
    for title, file in {} if options.validation_only else one.tests.items():
        evaluations = (partial(fit.test_errors, title, start / file) for fit in fits)
        errors = [attempt(failures, f"{label} test, {title}", evaluation) or {} for evaluation in evaluations]
        yield {**row, "set": name if len(one.tests) == 1 else f"{name} {title}", "test": errors}


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return median (minimum..maximum) of the seeds."""
    if not values:
        return "–"
    text = f"{statistics.median(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def cells(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the cells of a row of the table."""
    yield from (row["set"], row["model"], str(len(row["seeds"])))
    for part, keys in (("validation", ("e_mae", "f_mae")), ("test", ("e_mae", "e_rmse", "f_mae", "f_rmse"))):
        for key in keys:
            yield spread([errors[key] for errors in row[part] if errors], 2 if key.startswith("e") else 1)
    yield ("" if row["cpu_is_complete"] else "≥ ") + spread(row["cpu"], 0)
    yield "–" if row["md"] is None else f"{row['md']:.1f}"


def print_line(words: Sequence[str]) -> None:
    print(f"| {' | '.join(words)} |", flush=True)


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print medians and ranges over the seeds, and published errors where there are test errors to compare with."""
    print("Mean absolute errors, or RMSE, in meV/atom and meV/Å: median (minimum..maximum) of the fits")
    print_line(HEADER)
    print_line([":--", ":--", *["--:"] * (len(HEADER) - 2)])
    for row in rows:
        print_line(list(cells(row)))
    for name in dict.fromkeys(row["set"] for row in rows if any(row["test"])):
        for potential, errors in PUBLISHED.get(name, {}).items():
            figures = [f"{value:.{digits}f}" for value, digits in zip(errors, (2, 2, 1, 1), strict=True)]
            print_line([name, f"{potential}, published", *"–––", *figures, *"––"])
    if any(row["set"] in PUBLISHED and any(row["test"]) for row in rows):
        print(f"published: potential files of {ZUO}, evaluated on the same test sets")


def parse() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--sets", nargs="+", default=[], metavar="NAME[=TRAINING[,TEST...]]")
    add("--models", nargs="+", default=list(MODELS), choices=[*MODELS, MEAN])
    add("--seeds", nargs="+", type=int, default=[1, 2, 3])
    add("--data", type=Path, default=DATA, help="folder of the archives")
    add("--folder", type=Path, default=Path("accuracy"), help="of all fits")
    add("--validation-only", action="store_true", help="no test errors: to choose settings")
    add("--epochs", type=int, help="instead of those of the input: for dry runs")
    add("--time-limit", type=float, metavar="SECONDS", help="wall time of one fit")
    add("--set", action="append", default=[], dest="settings", metavar="SECTION.KEY=VALUE", help="for all fits")
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    if options.epochs is not None:
        options.settings.append(f"PYTORCH.num_epochs={options.epochs}")
    return options


def main() -> None:
    """Measure and print."""
    options = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the running fit, too
    os.environ["LAMMPS_PLUGIN_PATH"] = str(plugin_dir())
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    for name, one in find_sets(options.sets, options.data).items():
        done: list[Fit] = []
        for model in options.models:
            rows += measure(name, one, model, options, failures, done)
            write_text(options.folder / "accuracy.json", json.dumps(rows, indent=1))
    print_table(rows)
    if failures:
        sys.exit("\n".join(["failed, see above:", *failures]))


if __name__ == "__main__":
    main()
