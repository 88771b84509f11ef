"""Times on a GPU: epochs beside mace_run_train and a CPU core, final evaluation, molecular dynamics beside mace-torch.

    python tests/benchmarks/bench_gpu.py [--only acac,nickel,core,md,drift] [--acac FILE] [--nickel FILE]
                                         [--device cuda] [--epochs 6] [--quick]

Each part takes one to two minutes and prints a figure as soon as it has it; a program that takes longer than its limit
is ended, and that is said. All programs run on the same GPU, one after the other; only CPU cores work beside it.

- ``acac``: MACE 32x0e + 32x1o, 450 configurations of acetylacetone, batches of 10, and mace_run_train.
- ``nickel``: the same for the nickel of Zuo et al., batches of 8; then the final evaluation of our fit, which is the
  time from its last epoch to its table of errors, everything included.
- ``core``: SOAP_BPNN and NANOPET on acetylacetone, on the GPU and on one CPU core.
- ``md``: MACE, SOAP_BPNN, and BPNN on SNAP descriptors (twojmax 8, always float64) in LAMMPS (gpu_md.py), and
  mace-torch's ASE calculator (gpu_ase.py).
- ``drift``: the energy in the microcanonical ensemble, 10 ps; left out unless it is asked for.

The time of an epoch is the median of the wall times between the lines that a program prints after each, validation and
files included; the first two are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench_graphs import read_frames
from graph_programs import Task, mace_arguments
from measure import THREADS

HERE = Path(__file__).resolve().parent
BUNDLE, SHARED = HERE.parents[1] / "build" / "gpu" / "data", HERE.parents[2] / "shared" / "data"
EPOCH_LINE = re.compile(r"^ *\d+ .*\d\.\de[-+]\d\d +\d+\.\d\d( \*best)?$|Epoch \d+: ")
ERRORS_LINE = re.compile(r"^errors \(")
INPUT = """\
[CALCULATOR]
calculator = LAMMPSGRAPH
elements = {elements}
stress = 0
[PYTORCH]
model = {model}
num_epochs = {epochs}
manual_seed_flag = 1
seed = 1
device = {device}
{options}
[SCRAPER]
scraper = XYZ
[PATH]
dataPath = {data}
[OUTFILE]
folder = {folder}
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
train = 1.0 0.0 1 100 0
valid = 0.0 1.0 1 100 0
"""
MACE = """\
optimizer = Adam
learning_rate = 0.01
batch_size = {batch}
gradient_clip = 10.0
[MACE]
r_max = 5.0
hidden_irreps = 32x0e + 32x1o
correlation = 3
max_ell = 3
interaction_first = RealAgnosticInteractionBlock"""
THEIRS = {"hidden_irreps": "32x0e + 32x1o", "correlation": 3}
MODELS = {
    "SOAP_BPNN": "learning_rate = 1e-3\nbatch_size = 8",
    "NANOPET": "optimizer = Adam\nlearning_rate = 3e-4\nbatch_size = 16\ngradient_clip = 1.0\n[NANOPET]\nd_pet = 64",
}


@dataclass(frozen=True)
class Bench:
    """Conditions of all parts.

    Attributes:
        folder: empty, for the files of the fits.
        acac, nickel: archives of the data.
        device: of our fits and mace's.
        epochs: of each fit.
        configurations: at most this many are used for training; ``None`` for all.
        quick: small systems, to show that all runs.
    """

    folder: Path
    acac: Path
    nickel: Path
    device: str
    epochs: int
    configurations: int | None
    quick: bool

    def data(self, name: str, archive: Path, member: str, validation: int) -> Path:
        """Return a folder with train.xyz and valid.xyz of an archive; every n-th configuration is for validation."""
        target = self.folder / name
        if target.exists():
            return target
        target.mkdir()
        with tarfile.open(archive) as tar, tempfile.TemporaryDirectory() as folder:
            tar.extractall(folder, filter="data")
            frames = read_frames(next(Path(folder).rglob(member)))[: self.configurations]
        valid = frames[:: max(1, len(frames) // min(validation, len(frames) // 2))][:validation]
        chosen = set(map(id, valid))
        train = [frame for frame in frames if id(frame) not in chosen]
        for part, members in (("train", train), ("valid", valid), ("test", valid[:2])):
            (target / f"{part}.xyz").write_text("".join(members), encoding="utf-8")
        return target


@dataclass(frozen=True)
class Times:
    """When lines appeared: the epochs of a program, and its first line of errors after them, s."""

    epochs: Sequence[float]
    errors: float | None

    @property
    def epoch(self) -> float:
        """Seconds of an epoch."""
        steps = [b - a for a, b in zip(self.epochs, self.epochs[1:], strict=False)]
        return statistics.median(steps[1:] or steps)


def say(text: str) -> None:
    print(text, flush=True)


def lines_of(command: Sequence[str], folder: Path, limit: float) -> Iterator[tuple[float, str]]:
    """Yield each line that a program prints with its time; a program that exceeds the limit in seconds is ended."""
    python_path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **THREADS, "PYTHONUNBUFFERED": "1", "PYTHONPATH": python_path}
    with subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        timer = threading.Timer(limit, child.kill)
        timer.start()
        last: list[str] = []
        assert child.stdout is not None
        for line in child.stdout:
            last = [*last[-15:], line]
            yield time.perf_counter(), line.rstrip("\n")
        timer.cancel()
    if child.returncode:
        say(f"  stopped (exit status {child.returncode}; limit {limit:.0f} s): {' '.join(command[:6])}")
        say("    " + "    ".join(last))


def watch(arguments: Sequence[str], folder: Path, limit: float) -> Times:
    """Run Python with arguments, and return when it printed the lines of epochs and errors."""
    epochs: list[float] = []
    errors = None
    for now, line in lines_of([sys.executable, *arguments], folder, limit):
        if EPOCH_LINE.search(line):
            epochs.append(now)
        elif errors is None and ERRORS_LINE.search(line):
            errors = now
    return Times(epochs, errors)


def ours(bench: Bench, name: str, data: Path, model: str, options: str, device: str, limit: float) -> Times:
    """Fit one of our models."""
    folder = bench.folder / name
    folder.mkdir()
    elements = {"acac": "C H O", "nickel": "Ni"}[data.name]
    values = {"elements": elements, "model": model, "options": options, "data": data, "epochs": bench.epochs}
    (folder / "fit.in").write_text(INPUT.format(**values, device=device, folder="fit"), encoding="utf-8")
    return watch(["-m", "fitsnap_nn", "fit.in", "--no-verify"], folder, limit)


def theirs(bench: Bench, name: str, data: Path, batch: int, limit: float) -> Times:
    """Fit the same MACE with mace_run_train; its epochs are numbered from 0, after one line for the initial model."""
    folder = bench.folder / name
    folder.mkdir()
    task = Task("MACE", folder, data, bench.epochs, 1, 32)
    sizes = {"batch_size": batch, "valid_batch_size": batch, "device": bench.device, **THEIRS}
    return watch(mace_arguments(task, **sizes), folder, limit)


def against_mace(bench: Bench, data: Path, batch: int) -> Times:
    """Print the time of an epoch of MACE, ours and mace's."""
    found = ours(bench, f"{data.name}_ours", data, "MACE", MACE.format(batch=batch), bench.device, 60)
    text = f"{data.name}: MACE 32x0e + 32x1o, batch {batch}, s per epoch:"
    if len(found.epochs) < 2:
        say(f"{text} no figure")
        return found
    say(f"{text} fitsnap_nn {found.epoch:.3f}")
    other = theirs(bench, f"{data.name}_mace", data, batch, 120)
    if len(other.epochs) > 1:
        say(f"{text} mace_run_train {other.epoch:.3f}, ratio {found.epoch / other.epoch:.3f}")
    return found


def acac(bench: Bench) -> None:
    against_mace(bench, acac_data(bench), 10)


def acac_data(bench: Bench) -> Path:
    return bench.data("acac", bench.acac, "train_300K.xyz", 50)


def nickel_data(bench: Bench) -> Path:
    return bench.data("nickel", bench.nickel, "zuo2020_Ni_train.xyz", 26)


def nickel(bench: Bench) -> None:
    found = against_mace(bench, nickel_data(bench), 8)
    if found.errors is not None:
        say(f"nickel: final evaluation, until the table of errors: {found.errors - found.epochs[-1]:.2f} s")


def core(bench: Bench) -> None:
    """SOAP_BPNN and NANOPET on the GPU and on one CPU core each; the cores work meanwhile."""
    data = acac_data(bench)
    with ThreadPoolExecutor() as pool:
        on_cpu = {
            model: pool.submit(ours, bench, f"{model}_cpu", data, model, options, "cpu", 110)
            for model, options in MODELS.items()
        }
        on_gpu = {
            model: ours(bench, f"{model}_gpu", data, model, options, bench.device, 60)
            for model, options in MODELS.items()
        }
        for model, found in on_gpu.items():
            other = on_cpu[model].result()
            if len(found.epochs) > 1:
                say(f"acac: {model}, s per epoch: GPU {found.epoch:.3f}")
            if len(found.epochs) > 1 and len(other.epochs) > 1:
                say(f"acac: {model}, s per epoch: CPU core {other.epoch:.3f}, ratio {found.epoch / other.epoch:.3f}")


def md(bench: Bench) -> None:
    """MACE, SOAP_BPNN and SNAP in LAMMPS, and MACE in mace-torch's ASE calculator."""
    sizes = ["--atoms", *(("250",) if bench.quick else ("2000", "16000"))]
    steps = ["--steps", "3" if bench.quick else "40"]
    common = [*sizes, "--precision", "float32", "--device", bench.device]
    runs = (("gpu_md.py", "MACE"), ("gpu_ase.py", ""), ("gpu_md.py", "SOAP_BPNN"), ("gpu_md.py", "SNAP"))
    for program, architecture in runs:
        chosen = ["--architecture", architecture, *steps] if architecture else []
        show(f"md: {architecture or 'mace-torch in ASE, MACE'}", [program, *common, *chosen], bench.folder, 45)


def drift(bench: Bench) -> None:
    """Energy drift of a MACE fitted to nickel, in both precisions at the same time on the GPU."""
    ours(bench, "drift_fit", nickel_data(bench), "MACE", MACE.format(batch=8), bench.device, 90)
    model = bench.folder / "drift_fit" / "fit" / "FitTorch_Pytorch.pt"
    if not model.exists():
        say("drift: no figure without a fit")
        return
    length = ["--drift", "0.1" if bench.quick else "10", "--steps", "3", "--atoms", "250", "--device", bench.device]
    length += ["--model", str(model)]
    with ThreadPoolExecutor() as pool:
        for precision in ("float32", "float64"):
            arguments = ["gpu_md.py", *length, "--precision", precision]
            pool.submit(show, f"drift: MACE, {precision}", arguments, bench.folder, 280)


def show(title: str, arguments: Sequence[str], folder: Path, limit: float) -> None:
    """Run a program of this folder and print the JSON lines that it prints."""
    program, *others = arguments
    for _, line in lines_of([sys.executable, str(HERE / program), *others], folder, limit):
        if line.startswith("{"):
            values = json.loads(line)
            say(
                f"{title}: "
                + ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
            )


PARTS = {"acac": acac, "nickel": nickel, "core": core, "md": md, "drift": drift}
DEFAULT = "acac,nickel,core,md"


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description="times on a GPU")
    parser.add_argument("--only", default=DEFAULT, help=f"parts, separated by commas, of {', '.join(PARTS)}")
    for option, name in (("acac", "AcAc_extxyz.tar.xz"), ("nickel", "zuo2020_Ni_Si.tar.xz")):
        places = (BUNDLE / name, SHARED / name, SHARED / "zuo" / name)
        parser.add_argument(f"--{option}", type=Path, default=next(filter(Path.exists, places), places[0]))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--quick", action="store_true", help="few configurations and small systems")
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - PARTS.keys():
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    return options


def main() -> None:
    """Measure and print."""
    options = parse()
    if options.device == "cuda":
        import torch

        say(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        archives = options.acac.resolve(), options.nickel.resolve()
        size = 40 if options.quick else None
        bench = Bench(Path(name), *archives, options.device, options.epochs, size, options.quick)
        for part in options.only.split(","):
            PARTS[part](bench)
            say(f"  ({part} finished after {time.perf_counter() - started:.0f} s)")


if __name__ == "__main__":
    main()
