"""The descriptor stage of a fit by the SNAP kernel and by LAMMPS' compute snap, and where its time goes.

    python tests/benchmarks/bench_descriptors.py [--ta PATH] [--inp PATH] [--rounds 3] [--profile]

PATH is FitSNAP's folder Ta_Linear_JCP2014/JSON or InP_JPCA2020/JSON. CPU seconds of one process for all records, from
configurations in memory to the cache on disk, the reference potential included; both ways take turns.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import Derivatives
from fitsnap_nn.data.readers import ReadOptions
from fitsnap_nn.data.readers.json_files import read_json
from fitsnap_nn.data.readers.raw import DataFile
from fitsnap_nn.inputs.cache.compute import compute_missing
from fitsnap_nn.inputs.cache.store import InputStore
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.inputs.snap.compute import Route, SnapCompute, choose_route
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.settings.schema import Bispectrum, Reference

TANTALUM = (
    Bispectrum(type=("Ta",), twojmax=(6,), rcutfac=4.67637, bzeroflag=True),
    Reference(pair_style="hybrid/overlay zero 10.0 zbl 4.0 4.8", pair_coeff=("* * zero", "* * zbl 73 73")),
)
PHOSPHIDE = (
    Bispectrum(
        num_types=2, type=("In", "P"), twojmax=(6, 6), rcutfac=1.0, wj=(1.0, 0.929316), radelem=(3.812046, 3.829454),
        bnormflag=True, wselfallflag=True, bzeroflag=True,
    ),
    Reference(
        pair_style="hybrid/overlay zero 10.0 zbl 4.0 4.2",
        pair_coeff=("* * zero", "1 1 zbl 49 49", "1 2 zbl 49 15", "2 2 zbl 15 15"),
    ),
)  # fmt: skip


def read(folder: Path) -> list[Configuration]:
    """All configurations of FitSNAP's folder."""
    paths = sorted(folder.glob("*/*.json"))
    sources = [DataFile(str(path), path.parent.name, f"{path.parent.name}/{path.name}") for path in paths]
    return [configuration for source in sources for configuration in read_json(source, ReadOptions(), [])]


def compute(
    settings: tuple[Bispectrum, Reference], configurations: Sequence[Configuration], strain: bool, route: Route
) -> float:
    """Return the CPU seconds for all cached inputs, with gradients, in single precision."""
    with tempfile.TemporaryDirectory() as folder:
        key = SnapInput(settings[0]).cache_key(Derivatives(positions=True, strain=strain))
        store = InputStore(folder, key, CachedDescriptors, np.float32)
        started = time.process_time()
        with SnapCompute(*settings, gradients=True, strain=strain, route=route) as calculator:
            compute_missing(configurations, calculator, store)
        return time.process_time() - started


def compare(name: str, settings: tuple[Bispectrum, Reference], folder: Path, rounds: int, profile: bool) -> None:
    """Measure both ways on one set of data and print."""
    configurations = read(folder.resolve())
    print(f"{name}: {len(configurations)} configurations, {sum(map(len, configurations))} atoms")
    for strain in (False, True):
        work = partial(compute, settings, configurations, strain)
        costs = [[work(route=route) for route in get_args(Route)] for _ in range(rounds)]
        ours, theirs = map(statistics.median, zip(*costs, strict=True))
        print(f"  {'with' if strain else 'no':4} stress: kernel {ours:.2f} s, compute snap {theirs:.2f} s, "
              f"ratio {ours / theirs:.2f}")  # fmt: skip
        if profile:
            with cProfile.Profile() as profiler:
                work(route="kernel")
            pstats.Stats(profiler).sort_stats("tottime").print_stats(15)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="descriptors by the kernel and by compute snap")
    parser.add_argument("--ta", type=Path, help="tantalum")
    parser.add_argument("--inp", type=Path, help="indium phosphide")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    print(choose_route()[1])
    for name, settings, folder in (("Ta", TANTALUM, options.ta), ("InP", PHOSPHIDE, options.inp)):
        if folder:
            compare(name, settings, folder, options.rounds, options.profile)


if __name__ == "__main__":
    main()
