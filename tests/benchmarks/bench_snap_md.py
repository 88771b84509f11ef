"""A step of molecular dynamics with SNAP descriptors: our pair style, LAMMPS' networks and LAMMPS' linear potential.

    python tests/benchmarks/bench_snap_md.py [--rounds 3] [--steps 20] [--repeats 10] [--twojmax 6 8]

2 repeats³ atoms of tantalum, one rank, one thread; the same network of 32x32 nodes in ``model mliappy`` and ``model
nn``. A number is LAMMPS' loop time times its CPU use, per step; ``--instructions`` adds our kernels for lesser
processors. All take turns, and the ratios are medians over the rounds, ours to each of the others.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
from measure import lammps_step

from fitsnap_nn.export.formats import descriptor_text
from fitsnap_nn.export.mliappy import MliapModel, to_pickle
from fitsnap_nn.export.nn_text import nn_text
from fitsnap_nn.inputs.snap.bispectrum import n_components
from fitsnap_nn.models.bpnn import PlainNetwork
from fitsnap_nn.plugin import plugin_dir
from fitsnap_nn.settings.schema import Bispectrum

OURS = "mliappy"
PAIR_STYLES = {
    OURS: ("pair_style mliap model mliappy m.pkl descriptor sna d.txt", "pair_coeff * * Ta"),
    "model nn": ("pair_style mliap model nn m.nn descriptor sna d.txt", "pair_coeff * * Ta"),
    "pair snap": ("pair_style snap", "pair_coeff * * c.snapcoeff c.snapparam Ta"),
}
INSTRUCTIONS = "FITSNAP_NN_SNAP_ISA"
DECK = """\
units metal
lattice bcc 3.316
region box block 0 {repeats} 0 {repeats} 0 {repeats}
create_box 1 box
create_atoms 1 box
mass 1 180.95
displace_atoms all random 0.08 0.08 0.08 1234
neighbor 1.0 bin
{style}
timestep 0.0005
fix 1 all nve
thermo {steps}
run {steps}
"""


def write_potentials(folder: Path, twojmax: int) -> None:
    """The files that ``PAIR_STYLES`` name."""
    bispectrum = Bispectrum(type=("Ta",), twojmax=(twojmax,))
    components = n_components(bispectrum)
    torch.manual_seed(0)
    layers = [
        (torch.randn(b, a, dtype=torch.float64) / a**0.5, torch.randn(b, dtype=torch.float64))
        for a, b in pairwise((components, 32, 32, 1))
    ]
    ones = torch.ones(components, dtype=torch.float64)
    network = PlainNetwork(0.0 * ones, 100.0 * ones, tuple(layers), "tanh")
    (folder / "m.pkl").write_bytes(to_pickle(MliapModel([network])))
    (folder / "m.nn").write_text(nn_text([network]))
    (folder / "d.txt").write_text(descriptor_text(bispectrum))
    coefficients = (1e-3 * torch.randn(components + 1)).tolist()
    (folder / "c.snapcoeff").write_text("\n".join(map(str, [f"1 {len(coefficients)}", "Ta 0.5 1.0", *coefficients])))
    (folder / "c.snapparam").write_text(f"rcutfac {bispectrum.rcutfac}\ntwojmax {twojmax}\nbzeroflag 0\n")


def milliseconds(folder: Path, name: str, options: argparse.Namespace) -> float:
    """CPU time of a step."""
    style, _, instructions = name.partition(" with ")
    deck = DECK.format(style="\n".join(PAIR_STYLES[style]), repeats=options.repeats, steps=options.steps)
    os.environ[INSTRUCTIONS] = instructions
    return 1e3 * lammps_step(folder, deck)


def names(options: argparse.Namespace) -> Iterator[str]:
    yield from PAIR_STYLES
    for instructions in options.instructions:
        yield f"{OURS} with {instructions}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Our SNAP kernel against LAMMPS' own, in molecular dynamics")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--twojmax", type=int, nargs="+", default=[6, 8])
    parser.add_argument("--instructions", nargs="*", default=[], help="sse2, avx2, avx512")
    options = parser.parse_args()
    os.environ["LAMMPS_PLUGIN_PATH"] = str(plugin_dir())
    print(f"{2 * options.repeats**3} atoms; ms a step, median (least..most), and median of ours / theirs")
    for twojmax in options.twojmax:
        print(f"twojmax {twojmax}")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_potentials(folder, twojmax)
            rounds = [
                {name: milliseconds(folder, name, options) for name in names(options)} for _ in range(options.rounds)
            ]
        for name in names(options):
            values = [found[name] for found in rounds]
            ratio = statistics.median(found[OURS] / found[name] for found in rounds)
            print(f"  {name:22} {statistics.median(values):8.1f} ({min(values):.1f}..{max(values):.1f}) {ratio:7.3f}")


if __name__ == "__main__":
    main()
