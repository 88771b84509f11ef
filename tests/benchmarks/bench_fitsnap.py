"""FitSNAP and fitsnap_nn on the same tantalum data with the same input, side by side.

    python tests/benchmarks/bench_fitsnap.py --fitsnap-python PATH --data PATH [--rounds 3] [--tuned INPUT]

PATH is an interpreter in which fitsnap3 can be imported; data is FitSNAP's folder Ta_Linear_JCP2014/JSON. Every number
of a round is a difference of two runs of the command lines, which removes start-up, and both programs take turns:

* descriptors: six copies of the data (shifted, so that no cache helps) against one, without a fit; reading included;
* epoch: 100 epochs against 5, training and validation;
* memory: the largest resident set of the run with 100 epochs;
* test errors: after those 100 epochs, from each program's own table. Both split at random with the same seed, but not
  into the same sets, and both draw their initial weights: the medians matter.

``--tuned`` adds an input of our own for the same data: its errors, and the CPU time of its training, in each round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from measure import Cost, run

COPIES, FEW, MANY = 6, 5, 100

INPUT = """\
[BISPECTRUM]
numTypes = 1
type = Ta
twojmax = 6
rcutfac = 4.67637
rfac0 = 0.99363
rmin0 = 0.0
wj = 1.0
radelem = 0.5
bzeroflag = 1
bikflag = 1
dgradflag = 1
[CALCULATOR]
calculator = LAMMPSSNAP
energy = 1
per_atom_energy = 1
force = 1
stress = 0
nonlinear = 1
[ESHIFT]
Ta = 0.0
[PYTORCH]
layer_sizes = num_desc 64 64 1
learning_rate = 5e-5
num_epochs = {epochs}
batch_size = 4
energy_weight = 1e-2
force_weight = 1.0
[SOLVER]
solver = PYTORCH
[SCRAPER]
scraper = JSON
[PATH]
dataPath = {data}
[OUTFILE]
metrics = errors.txt
metrics_style = DF
potential = Ta_pot
[REFERENCE]
units = metal
atom_style = atomic
pair_style = hybrid/overlay zero 10.0 zbl 4.0 4.8
pair_coeff1 = * * zero
pair_coeff2 = * * zbl 73 73
[EXTRAS]
dump_peratom = 0
[MEMORY]
override = 0
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
group_types = str float float float float float
random_sampling = 1
random_seed = {seed}
"""


@dataclass(frozen=True)
class Program:
    """A program that reads FitSNAP's input: how it is called."""

    name: str
    python: Path
    module: str
    flags: tuple[str, ...] = ()

    def fit(self, data: Path, seed: int, epochs: int | None) -> tuple[Cost, dict[str, float]]:
        """Fit, or compute descriptors only, in a fresh folder; cost, and test MAE by property."""
        groups = "".join(f"{folder.name} = 0.7 0.3 1 1 1\n" for folder in sorted(data.iterdir()))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "Ta.in").write_text(INPUT.format(data=data, epochs=epochs or 1, seed=seed) + groups)
            flags = self.flags if epochs else ("--nofit",)
            cost = run(self.python, ["-m", self.module, "Ta.in", "--overwrite", *flags], folder)
            return cost, errors_held_out(folder) if epochs else {}


def errors_held_out(folder: Path) -> dict[str, float]:
    """Return the MAE of the configurations that were held out, by property, from the table in a folder.

    FitSNAP calls them Test, this package Validation.
    """
    (table,) = folder.rglob("errors.txt")
    lines = [line.split() for line in table.read_text(encoding="utf-8").splitlines()]
    return {line[2]: float(line[4]) for line in lines if line[:2] in (["*ALL", "Test"], ["*ALL", "Validation"])}


def write_copies(data: Path, folder: Path, count: int) -> Path:
    """Copies of the data with other group names, each shifted as a whole: the same work, other positions."""
    for source in sorted(data.glob("*/*.json")):
        text = source.read_text(encoding="utf-8")
        content = json.loads(text[text.index("{") :])
        atoms = content["Dataset"]["Data"][0]
        for number in range(count):
            atoms["Positions"] = [[x + 0.01 for x in position] for position in atoms["Positions"]]
            target = folder / f"{source.parent.name}_{number}" / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(content), encoding="utf-8")
    return folder


def measure(program: Program, data: Path, copies: Path, seed: int) -> dict[str, float]:
    """All numbers of one program in one round."""
    one, _ = program.fit(data, seed, None)
    many, _ = program.fit(copies, seed, None)
    short, _ = program.fit(data, seed, FEW)
    long, errors = program.fit(data, seed, MANY)
    return {
        "descriptors, CPU s": (many.cpu - one.cpu) / (COPIES - 1),
        "epoch, CPU s": (long.cpu - short.cpu) / (MANY - FEW),
        "peak memory, MB": long.peak,
        "test energy MAE, meV/atom": 1e3 * errors["Energy"],
        "test force MAE, meV/Å": 1e3 * errors["Force"],
    }


def print_table(names: Iterable[str], rounds: dict[str, list[dict[str, float]]]) -> None:
    """Medians and ranges of both programs, and the median of the ratios round by round."""
    print(f"{'':26} " + " ".join(f"{name:>27}" for name in names) + f" {'ratio':>7}")
    ours, theirs = (rounds[name] for name in names)
    for quantity in ours[0]:
        cells = []
        for side in (ours, theirs):
            values = [found[quantity] for found in side]
            cells.append(f"{statistics.median(values):9.3f} ({min(values):.3f}..{max(values):.3f})")
        ratio = statistics.median(a[quantity] / b[quantity] for a, b in zip(ours, theirs, strict=True))
        print(f"{quantity:26} " + " ".join(f"{cell:>27}" for cell in cells) + f" {ratio:7.3f}")


def measure_tuned(program: Program, source: Path, data: Path, seed: int) -> dict[str, float]:
    """Our own input for the same data, with a seed for split and weights: CPU seconds of training alone, and errors."""
    costs = []
    for flags in (("--nofit",), program.flags):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            overrides = [*("-k", "PATH", "dataPath", str(data)), *("-k", "OUTFILE", "metrics", "errors.txt")]
            overrides += ["-k", "OUTFILE", "metrics_style", "DF"]
            overrides += ["-k", "GROUPS", "random_seed", str(seed), "-k", "PYTORCH", "seed", str(seed)]
            costs.append(run(program.python, ["-m", program.module, str(source), *overrides, *flags], folder).cpu)
            errors = errors_held_out(folder) if flags == program.flags else {}
    return {
        "CPU s of training": costs[1] - costs[0],
        "meV/atom": 1e3 * errors["Energy"],
        "meV/Å": 1e3 * errors["Force"],
    }


def print_tuned(name: str, tuned: list[dict[str, float]], theirs: list[dict[str, float]]) -> None:
    """Print median and all rounds of our own input, and what FitSNAP's epochs took in the same rounds."""
    for quantity in tuned[0]:
        values = [found[quantity] for found in tuned]
        print(f"{name}: {statistics.median(values):.1f} {quantity} ({', '.join(f'{value:.1f}' for value in values)})")
    epochs = [MANY * found["epoch, CPU s"] for found in theirs]
    print(f"FitSNAP's {MANY} epochs: {', '.join(f'{value:.1f}' for value in epochs)} CPU s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="fitsnap_nn against FitSNAP, on tantalum")
    parser.add_argument("--fitsnap-python", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tuned", type=Path)
    options = parser.parse_args()
    data = options.data.resolve()
    ours = Program("fitsnap_nn", Path(sys.executable), "fitsnap_nn", ("--no-verify",))
    theirs = Program("FitSNAP", options.fitsnap_python.absolute(), "fitsnap3")
    rounds: dict[str, list[dict[str, float]]] = {ours.name: [], theirs.name: []}
    tuned: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name:
        copies = write_copies(data, Path(name), COPIES)
        theirs.fit(data, 1, None)  # its first run ever writes tables of coefficients, for over a minute
        for number in range(options.rounds):
            for program in (ours, theirs):
                rounds[program.name].append(measure(program, data, copies, 1234 + number))
            if options.tuned:
                tuned.append(measure_tuned(ours, options.tuned.resolve(), data, 1234 + number))
    print_table((ours.name, theirs.name), rounds)
    if tuned:
        print_tuned(options.tuned.name, tuned, rounds[theirs.name])


if __name__ == "__main__":
    main()
