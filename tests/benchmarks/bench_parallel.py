"""How much faster two ranks train than one.

    python tests/benchmarks/bench_parallel.py INPUT --data PATH [--set SECTION.KEY=VALUE ...] [--rounds 3] [--epochs 4]

INPUT is any input file, such as InP.in or AcAc.in beside this one, with PATH as its dataPath. An epoch is a longer run
less one of a single epoch; descriptors or graphs come from a cache that is filled first. One and two ranks take turns.
Wall seconds need two idle cores. CPU seconds, of the rank that has most, do not: of them two ranks have half as many
where they share the work evenly and nothing is done twice. Waiting for the other rank does not show.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from measure import run

HERE = Path(__file__).resolve().parent


class Epoch(NamedTuple):
    """Wall seconds of an epoch, and CPU seconds of the rank that had most."""

    wall: float
    cpu: float


def fit(folder: Path, arguments: list[str], ranks: int, epochs: int) -> Epoch:
    """Return the cost of a whole fit."""
    for left in folder.glob("cpu_*"):
        left.unlink()
    python = Path(sys.executable)
    launcher = [str(python.parent / "mpirun"), "-np", str(ranks)]
    settings = ["--overwrite", "--no-verify", *arguments, "--set", f"PYTORCH.num_epochs={epochs}"]
    cost = run(python, [str(HERE / "rank.py"), str(folder), *settings], folder, launcher)
    seconds = [float(file.read_text(encoding="utf-8")) for file in folder.glob("cpu_*")]
    assert len(seconds) == ranks, "not every rank has left its CPU seconds"
    return Epoch(cost.wall, max(seconds))


def epoch(folder: Path, arguments: list[str], ranks: int, epochs: int) -> Epoch:
    """Return the cost of an epoch, from two fits."""
    short, long = (fit(folder, arguments, ranks, count) for count in (1, 1 + epochs))
    return Epoch(*((b - a) / epochs for a, b in zip(short, long, strict=True)))


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="an epoch on one rank and on two")
    parser.add_argument("input", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    found: dict[int, list[Epoch]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = [f"PATH.dataPath={options.data.resolve()}", f"MEMORY.cache={folder / 'cache'}"]
        settings += [f"OUTFILE.folder={folder / 'fit'}", *options.set]
        arguments = [str(options.input.resolve()), *(word for text in settings for word in ("--set", text))]
        fit(folder, arguments, 2, 1)
        for _ in range(options.rounds):
            for ranks, epochs in found.items():
                epochs.append(epoch(folder, arguments, ranks, options.epochs))
    for ranks, epochs in found.items():
        wall, cpu = (statistics.median(values) for values in zip(*epochs, strict=True))
        print(f"{ranks} rank(s): an epoch takes {wall:.2f} s, {cpu:.2f} CPU s of one rank")
    pairs = list(zip(found[1], found[2], strict=True))
    print(f"2 ranks are {spread([one.wall / two.wall for one, two in pairs])} times as fast as 1")
    print(f"a rank of 2 has {spread([one.cpu / two.cpu for one, two in pairs])} times less to compute")


if __name__ == "__main__":
    main()
