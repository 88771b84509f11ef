"""How much faster two ranks train than one, on indium phosphide.

    python tests/benchmarks/bench_parallel.py --data PATH [--rounds 3] [--epochs 4]

PATH is FitSNAP's folder InP_JPCA2020/JSON. An epoch is the difference, in wall seconds, of a longer run and one of a
single epoch; descriptors come from a cache that is filled first. One and two ranks take turns. Needs two idle cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import astuple
from pathlib import Path

from measure import Cost, run

INPUT = """\
[BISPECTRUM]
numTypes = 2
type = In P
twojmax = 6 6
rcutfac = 1.0
rfac0 = 0.99363
rmin0 = 0.0
wj = 1.0 0.929316
radelem = 3.812046 3.829454
chemflag = 0
bnormflag = 1
wselfallflag = 1
bzeroflag = 1
[CALCULATOR]
stress = 0
[PYTORCH]
layer_sizes = num_desc 64 64 1
learning_rate = 1e-3
batch_size = 16
energy_weight = 1e-2
force_weight = 1.0
multi_element_option = 2
manual_seed_flag = 1
[SOLVER]
solver = PYTORCH
[PATH]
dataPath = {data}
[MEMORY]
cache = {cache}
[REFERENCE]
pair_style = hybrid/overlay zero 10.0 zbl 4.0 4.2
pair_coeff1 = * * zero
pair_coeff2 = 1 1 zbl 49 49
pair_coeff3 = 1 2 zbl 49 15
pair_coeff4 = 2 2 zbl 15 15
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
group_types = str float float float float float
random_sampling = 1
random_seed = 1234
{groups}"""


def fit(folder: Path, ranks: int, epochs: int) -> Cost:
    """What a fit costs; the peak memory is that of the largest rank."""
    python = Path(sys.executable)
    launcher = [str(python.parent / "mpirun"), "-np", str(ranks)]
    flags = ["--overwrite", "--no-verify", "-k", "PYTORCH", "num_epochs", str(epochs)]
    return run(python, ["-m", "fitsnap_nn", "InP.in", *flags], folder, launcher)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="an epoch on one rank and on two, indium phosphide")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    data = options.data.resolve()
    groups = "".join(f"{folder.name} = 0.7 0.3 1 1 1\n" for folder in sorted(data.iterdir()))
    costs: dict[int, list[Cost]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "InP.in").write_text(INPUT.format(data=data, cache=folder / "cache", groups=groups))
        fit(folder, 2, 1)
        for _ in range(options.rounds):
            for ranks, found in costs.items():
                short, long = fit(folder, ranks, 1), fit(folder, ranks, 1 + options.epochs)
                cpu, wall = ((b - a) / options.epochs for a, b in ((short.cpu, long.cpu), (short.wall, long.wall)))
                found.append(Cost(cpu, wall, long.peak))
    for ranks, found in costs.items():
        cpu, wall, peak = (statistics.median(values) for values in zip(*map(astuple, found), strict=True))
        print(f"{ranks} rank(s): an epoch takes {wall:.2f} s, {cpu:.2f} CPU s of all ranks; {peak:.0f} MB a rank")
    ratios = [one.wall / two.wall for one, two in zip(costs[1], costs[2], strict=True)]
    print(f"2 ranks are {statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f}) times as fast as 1")


if __name__ == "__main__":
    main()
