"""Cost of a unified model in LAMMPS apart from the model: step, call into Python, memory, exchange of pairs.

    python tests/benchmarks/bench_plugin.py [--native 'bash PATH/native.sh'] [--rounds 3]

Programs take turns; times are the CPU time of LAMMPS' loop (wall time times its "% CPU use"), the least of all rounds.
Memory is that of resident pages, from which that of pair lj/cut and that of Python are subtracted.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from measure import run

from fitsnap_nn.plugin import plugin_dir

MODELS = Path(__file__).resolve().parent.parent / "lammps_plugin"
LOOP = re.compile(r"Loop time of (\S+) on .* for (\d+) steps.*?(\S+)% CPU use", re.DOTALL)
DECK = """\
units lj
lattice fcc 0.8442
region box block 0 {cells} 0 {cells} 0 {cells}
create_box 1 box
create_atoms 1 box
mass 1 1.0
displace_atoms all random 0.1 0.1 0.1 4711
pair_style {pair}
pair_coeff * * {coeff}
neighbor 0.3 bin
neigh_modify every 10 delay 0 check no
fix move all nve
timestep 1e-6
run {steps}
"""
EMPTY, LJ_CUT = ("mliap unified empty.pkl 0", "Ar"), ("lj/cut 2.5", "1.0 1.0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--native", type=shlex.split, default=[], help="prefix that finds a LAMMPS with Python ML-IAP")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["LAMMPS_PLUGIN_PATH"] = str(plugin_dir())
    os.environ["PYTHONPATH"] = os.pathsep.join([str(MODELS), os.environ.get("PYTHONPATH", "")])
    sys.path.insert(0, str(MODELS))
    from plain_models import Empty

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty.pkl").write_bytes(pickle.dumps(Empty()))
        report_steps(folder, arguments.native, arguments.rounds)
        report_memory(folder)
        report_pairs(folder)


def report_steps(folder: Path, native: Sequence[str], rounds: int) -> None:
    programs = {"ours": [], **({"native": native} if native else {})}
    steps: dict[str, list[float]] = {name: [] for name in programs}
    crossings = []
    for _ in range(rounds):
        for name, launcher in programs.items():
            steps[name].append(step_time(folder, EMPTY, 10, 100, launcher))
        crossings.append(step_time(folder, EMPTY, 3, 10000) - step_time(folder, LJ_CUT, 3, 10000))
    ours = min(steps["ours"])
    print(f"empty model, 4000 atoms    {1e3 * ours:.2f} ms a step", end="")
    print(f", native {1e3 * min(steps['native']):.2f} ms, ratio {ours / min(steps['native']):.2f}" if native else "")
    print(f"empty model, 108 atoms     {1e6 * min(crossings):.1f} µs a step more than pair lj/cut")


def report_memory(folder: Path) -> None:
    peaks = [peak(folder, pair, cells) for cells in (16, 2) for pair in (EMPTY, LJ_CUT)]
    print(f"empty model, 16384 atoms   {peaks[0] - peaks[1] - (peaks[2] - peaks[3]):.0f} MB")


def report_pairs(folder: Path) -> None:
    # A process starts with the peak memory of the one that starts it, so torch comes last.
    from toy_models import EdgeMessages

    for form in ("exchange", "ghosts"):
        (folder / f"{form}.pkl").write_bytes(pickle.dumps(EdgeMessages(["Ar"], 2.5, ghosts=form == "ghosts")))
    times = {form: step_time(folder, (f"mliap unified {form}.pkl", "Ar"), 4, 5) for form in ("exchange", "ghosts")}
    print(f"messages of pairs          {1e3 * times['exchange']:.0f} ms a step by exchange,", end=" ")
    print(f"{1e3 * times['ghosts']:.0f} ms from ghosts, ratio {times['exchange'] / times['ghosts']:.3f}")


def step_time(folder: Path, pair: tuple[str, str], cells: int, steps: int, launcher: Sequence[str] = ()) -> float:
    """CPU seconds of a step."""
    peak(folder, pair, cells, steps, launcher)
    found = LOOP.search((folder / "output.txt").read_text(encoding="utf-8"))
    if found is None:
        sys.exit(f"LAMMPS printed no loop time in {folder}")
    seconds, done, percent = map(float, found.groups())
    return seconds * percent / 100 / done


def peak(folder: Path, pair: tuple[str, str], cells: int, steps: int = 10, launcher: Sequence[str] = ()) -> float:
    """Run LAMMPS; its largest resident set in MB."""
    deck = DECK.format(cells=cells, pair=pair[0], coeff=pair[1], steps=steps)
    (folder / "deck").write_text(deck, encoding="utf-8")
    program = Path(sys.executable).parent / "lmp"
    if launcher:
        return run(Path("lmp"), ["-in", "deck", "-log", "none"], folder, launcher).peak
    return run(Path(sys.executable), [str(program), "-in", "deck", "-log", "none"], folder).peak


if __name__ == "__main__":
    main()
