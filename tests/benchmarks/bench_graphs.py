"""The models on graphs against the programs they come from, on acetylacetone, side by side.

    python tests/benchmarks/bench_graphs.py --data PATH [--metatrain PYTHON] [--nanopet PYTHON] [--mace PYTHON]
                                            [--rounds 1] [--epochs N] [--precision 32|64|default] [--quick]

PATH is the folder with train_300K.xyz and test_MD_300K.xyz, or their archive. Each PYTHON is an interpreter: one with
metatrain for SOAP-BPNN, one with metatrain for NanoPET (2026.1 is the last release that has it), one with mace-torch
for MACE; what is not given is left out. metatrain trains at its defaults, MACE has 16x0e features and correlation 2.

Of the 500 configurations 450 are trained on and 50 choose the best epoch, the same in both programs; the other file is
the testing set, of which no fit knows anything. A round has another split and other initial weights. The time of an
epoch is the difference of two fits, few epochs and many, in CPU seconds: start-up and evaluation cancel. The programs
take turns. With ``--precision default`` each has the one it takes by itself, which for NanoPET in metatrain and for
mace is float64. ``--quick`` only shows that all runs.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from graph_programs import Errors, Task, fit_mace, fit_metatrain, fit_ours
from measure import Cost, print_ratios

ARCHIVE = Path(__file__).resolve().parents[3] / "shared" / "data" / "AcAc_extxyz.tar.xz"
HELD_OUT = 50
Program = Callable[[Path, Task], tuple[Cost, Errors]]


@dataclass(frozen=True)
class Comparison:
    """A model in our program and in another one, with the numbers of epochs whose difference is measured."""

    model: str
    name: str
    fit: Program
    few: int
    many: int


COMPARISONS = {
    "metatrain": Comparison("SOAP_BPNN", "metatrain", fit_metatrain, 5, 100),
    "nanopet": Comparison("NANOPET", "metatrain", fit_metatrain, 1, 3),
    "mace": Comparison("MACE", "mace_run_train", fit_mace, 2, 20),
}


@dataclass(frozen=True)
class Conditions:
    """Options shared by all fits of a comparison."""

    data: Path
    few: int
    many: int
    precision: int | None
    configurations: int | None


def read_frames(path: Path) -> list[str]:
    """The frames of an XYZ file, as text."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    frames, start = [], 0
    while start < len(lines):
        end = start + 2 + int(lines[start])
        frames.append("".join(lines[start:end]))
        start = end
    return frames


def split_data(source: Path, target: Path, seed: int, limit: int | None) -> None:
    """Write train.xyz, valid.xyz and test.xyz; of each file at most ``limit`` frames are taken."""
    known, unknown = (read_frames(source / f"{name}.xyz")[:limit] for name in ("train_300K", "test_MD_300K"))
    order = np.random.default_rng(seed).permutation(len(known))
    held_out = HELD_OUT * len(known) // 500
    valid, train = ([known[number] for number in part] for part in np.split(order, [held_out]))
    for name, frames in (("train", train), ("valid", valid), ("test", unknown)):
        (target / f"{name}.xyz").write_text("".join(frames), encoding="utf-8")


def measure(comparison: Comparison, python: Path, conditions: Conditions, seed: int) -> list[dict[str, float]]:
    """All numbers of our program and of the other in one round."""
    sides = ((fit_ours, Path(sys.executable)), (comparison.fit, python))
    costs: list[list[Cost]] = [[], []]
    errors: list[Errors] = [{}, {}]
    for epochs in (conditions.few, conditions.many):
        for side, (fit, interpreter) in enumerate(sides):
            with tempfile.TemporaryDirectory() as name:
                folder, data = Path(name) / "run", Path(name) / "data"
                folder.mkdir()
                data.mkdir()
                split_data(conditions.data, data, seed, conditions.configurations)
                task = Task(comparison.model, folder, data, epochs, seed, conditions.precision)
                cost, errors[side] = fit(interpreter, task)
            costs[side].append(cost)
            program = ("fitsnap_nn", comparison.name)[side]
            note = f"{comparison.model}, {program}, {epochs} epochs: {cost.cpu:.1f} CPU s, {cost.peak:.0f} MB"
            print(note, file=sys.stderr, flush=True)
    return [
        {"epoch, CPU s": (long.cpu - short.cpu) / (conditions.many - conditions.few), "peak memory, MB": long.peak} | e
        for (short, long), e in zip(costs, errors, strict=True)
    ]


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description="fitsnap_nn against metatrain and mace, on acetylacetone")
    there = ARCHIVE.exists()
    parser.add_argument("--data", type=Path, default=ARCHIVE if there else None, required=not there)
    for option, comparison in COMPARISONS.items():
        help_text = f"interpreter with {comparison.name}, for {comparison.model}"
        parser.add_argument(f"--{option}", type=Path, metavar="PYTHON", help=help_text)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="of the longer fits, instead of those of each comparison")
    parser.add_argument("--precision", choices=("32", "64", "default"), default="32", help="of both programs")
    parser.add_argument("--quick", action="store_true", help="100 configurations, 1 and 3 epochs")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse()
    with tempfile.TemporaryDirectory() as name:
        data = options.data.resolve()
        if data.is_file():
            with tarfile.open(data) as archive:
                archive.extractall(name, filter="data")
            data = next(Path(name).rglob("train_300K.xyz")).parent
        precision = None if options.precision == "default" else int(options.precision)
        for option, comparison in COMPARISONS.items():
            python = getattr(options, option)
            if python is None:
                continue
            few, many = (1, 3) if options.quick else (comparison.few, options.epochs or comparison.many)
            conditions = Conditions(data, few, many, precision, 100 if options.quick else None)
            rounds = [measure(comparison, python.absolute(), conditions, 1 + n) for n in range(options.rounds)]
            print(f"\n{comparison.model}, precision {options.precision}, {many} epochs:\n")
            print_ratios(("fitsnap_nn", comparison.name), rounds)


if __name__ == "__main__":
    main()
