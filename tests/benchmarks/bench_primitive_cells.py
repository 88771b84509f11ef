"""CPU time of an epoch with perfect supercells trained as primitive cells, and as they are.

    python tests/benchmarks/bench_primitive_cells.py --data FILE_OR_FOLDER [--model MACE] [--rounds 2]

For the input that ``new`` writes, fits of one and of three epochs alternate between ``primitive_cells`` 1 and 0; an
epoch is half the difference of their CPU times, validation included. Fits share their model inputs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from measure import run

EPOCHS = (1, 3)


def epoch(folder: Path, primitive: int) -> float:
    """Return the CPU seconds of an epoch."""
    costs = []
    for count in EPOCHS:
        settings = {"PYTORCH.num_epochs": count, "PYTORCH.primitive_cells": primitive, "MEMORY.cache": "cache"}
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        command = ["-m", "fitsnap_nn", "fit.in", "--no-verify", "--overwrite", *words]
        costs.append(run(Path(sys.executable), command, folder))
    return (costs[1].cpu - costs[0].cpu) / (EPOCHS[1] - EPOCHS[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="MACE")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ["-m", "fitsnap_nn", "new", "fit.in", "--model", options.model, "--data", str(options.data.resolve())]
        run(Path(sys.executable), words, folder)
        rounds = [(epoch(folder, 1), epoch(folder, 0)) for _ in range(options.rounds)]
    for small, large in rounds:
        print(f"epoch: {small:.1f} CPU s with primitive cells, {large:.1f} without, ratio {small / large:.2f}")
    print(f"median ratio {statistics.median(small / large for small, large in rounds):.2f}")


if __name__ == "__main__":
    main()
