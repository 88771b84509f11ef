"""SOAP-BPNN against metatrain's on one tensor target of molecules, side by side.

    python tests/benchmarks/bench_metatrain_targets.py --metatrain PYTHON [--target polarizability|dipole]
                                                       [--rounds 3] [--few 5] [--epochs 100]

PYTHON is an interpreter with metatrain and its extra soap-bpnn. The labels are those of examples/Targets: the dipole,
or the part of degree 2 of the polarisability. Both programs have the same 168 training, 24 validation and 48 test
molecules, hyperparameters, batch size, learning rate and loss (mean square, per configuration), float32, and keep the
weights of the epoch with the best validation error; neither averages weights. A round has another split and other
initial weights. Errors are calculated here from the predictions that both write. The time of an epoch is the
difference of two fits, few epochs and many, in CPU seconds: start-up and evaluation cancel. The programs take turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from measure import Cost, print_ratios, run

from fitsnap_nn.data.configuration import Floats

MOLECULES = Path(__file__).resolve().parents[2] / "examples" / "Targets" / "molecules.xyz"
SIZES = {"train": 168, "valid": 24, "test": 48}  # metatrain leaves out what does not fill a batch
BATCH, RATE, WARMUP = 8, 3e-3, 0.05
CUTOFF, WIDTH, MAX_ANGULAR, MAX_RADIAL, LAYERS, NEURONS = 6.0, 0.5, 4, 5, 2, 32
INPUT = """\
[CALCULATOR]
calculator = LAMMPSGRAPH
elements = H C O
energy = 0
force = 0
stress = 0
[PYTORCH]
model = SOAP_BPNN
num_epochs = {epochs}
batch_size = {batch}
learning_rate = {rate}
scheduler = cosine
warmup_fraction = {warmup}
ema_decay = 0
manual_seed_flag = 1
seed = {seed}
[SOAP_BPNN]
cutoff_radius = {cutoff}
cutoff_width = {width}
max_angular = {max_angular}
max_radial = {max_radial}
num_hidden_layers = {layers}
num_neurons_per_layer = {neurons}
add_lambda_basis = 1
[TARGETS]
label = per_configuration {words} per_structure=1
[SCRAPER]
scraper = XYZ
[PATH]
dataPath = {data}
[OUTFILE]
folder = fit
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
train = 1.0 0.0 1 0 0
valid = 0.0 1.0 1 0 0
"""


def second_degree(voigt: Floats) -> Floats:
    """Return the part of degree 2 of a symmetric tensor in Voigt order, m = -2 ... 2; its norm is that of the part."""
    xx, yy, zz, yz, xz, xy = voigt
    root = np.sqrt(2.0)
    return np.array([root * xy, root * yz, (2.0 * zz - xx - yy) / np.sqrt(6.0), root * xz, (xx - yy) / root])


@dataclass(frozen=True)
class Target:
    """A label, and what the two programs are told of it."""

    label: Callable[[Atoms], Floats]
    words: str
    kind: dict[str, Any]


TARGETS = {
    "polarizability": Target(
        lambda atoms: second_degree(atoms.info["polarizability"]),
        "spherical lambda=2",
        {"spherical": {"irreps": [{"o3_lambda": 2, "o3_sigma": 1}]}},
    ),
    "dipole": Target(lambda atoms: atoms.get_dipole_moment(), "vector", {"cartesian": {"rank": 1}}),
}


@dataclass(frozen=True)
class Task:
    """One fit: of a target, in an empty folder, with the data of another."""

    target: Target
    folder: Path
    data: Path
    epochs: int
    seed: int


def write_data(target: Target, folder: Path, seed: int) -> None:
    """Write train.xyz, valid.xyz and test.xyz with the entry ``label``."""
    frames = ase.io.read(MOLECULES, ":")
    order = np.random.default_rng(seed).permutation(len(frames))
    parts = np.split(order, np.cumsum(list(SIZES.values()))[:-1])
    for name, part in zip(SIZES, parts, strict=True):
        labelled = []
        for number in part:
            atoms = Atoms(frames[number].symbols, frames[number].positions)
            atoms.info["label"] = target.label(frames[number])
            labelled.append(atoms)
        ase.io.write(folder / f"{name}.xyz", labelled, format="extxyz")


def relative_error(task: Task, predicted: Path, names: tuple[str, ...]) -> float:
    """Return the RMSE of the test set, as a fraction of the root mean square of the labels."""
    labels = np.array([atoms.info["label"] for atoms in ase.io.read(task.data / "test.xyz", ":")])
    frames = ase.io.read(predicted, ":")
    found = np.array([next(atoms.info[name] for name in names if name in atoms.info) for atoms in frames])
    return float(np.sqrt(np.square(found.reshape(labels.shape) - labels).mean() / np.square(labels).mean()))


def fit_ours(python: Path, task: Task) -> tuple[Cost, float]:
    """fitsnap_nn; without the comparison with LAMMPS, which has nothing to compare."""
    text = INPUT.format(
        epochs=task.epochs,
        batch=BATCH,
        rate=RATE,
        warmup=WARMUP,
        seed=task.seed,
        cutoff=CUTOFF,
        width=WIDTH,
        max_angular=MAX_ANGULAR,
        max_radial=MAX_RADIAL,
        layers=LAYERS,
        neurons=NEURONS,
        words=task.target.words,
        data=task.data,
    )
    (task.folder / "fit.in").write_text(text, encoding="utf-8")
    cost = run(python, ["-m", "fitsnap_nn", "fit.in", "--no-verify"], task.folder)
    model = str(task.folder / "fit" / "FitTorch_Pytorch.pt")
    run(python, ["-m", "fitsnap_nn", "test", model, str(task.data / "test.xyz"), "-o", "predicted.xyz"], task.folder)
    return cost, relative_error(task, task.folder / "predicted.xyz", ("predicted_label",))


def fit_metatrain(python: Path, task: Task) -> tuple[Cost, float]:
    """metatrain, whose other hyperparameters are at their defaults, which are also ours."""
    soap = {
        "max_angular": MAX_ANGULAR,
        "max_radial": MAX_RADIAL,
        "cutoff": {"radius": CUTOFF, "width": WIDTH},
    }
    target = {"key": "label", "type": task.target.kind, "sample_kind": "system", "num_subtargets": 1}
    sets = {
        name: {
            "systems": {"read_from": str(task.data / f"{file}.xyz"), "length_unit": "angstrom"},
            "targets": {"mtt::label": target},
        }
        for name, file in (("training_set", "train"), ("validation_set", "valid"), ("test_set", "test"))
    }
    options = {
        "seed": task.seed,
        "base_precision": 32,
        "architecture": {
            "name": "soap_bpnn",
            "model": {
                "soap": soap,
                "bpnn": {"num_hidden_layers": LAYERS, "num_neurons_per_layer": NEURONS},
                "legacy": True,
                "add_lambda_basis": True,
            },
            "training": {
                "num_epochs": task.epochs,
                "batch_size": BATCH,
                "learning_rate": RATE,
                "warmup_fraction": WARMUP,
                "per_structure_targets": ["mtt::label"],
            },
        },
        **sets,
    }
    (task.folder / "options.yaml").write_text(json.dumps(options), encoding="utf-8")  # JSON is YAML
    cost = run(python, ["-m", "metatrain", "train", "options.yaml"], task.folder)
    (task.folder / "eval.yaml").write_text(json.dumps(sets["test_set"]), encoding="utf-8")
    words = ["-m", "metatrain", "eval", "model.pt", "eval.yaml", "-e", "extensions", "-o", "predicted.xyz"]
    run(python, words, task.folder)
    return cost, relative_error(task, task.folder / "predicted.xyz", ("mtt::label", "label"))


def measure(target: Target, python: Path, few: int, many: int, seed: int) -> list[dict[str, float]]:
    """Return all numbers of our program and of metatrain in one round."""
    costs: list[list[Cost]] = [[], []]
    errors = [0.0, 0.0]
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        data.mkdir()
        write_data(target, data, seed)
        for epochs in (few, many):
            for side, (fit, interpreter) in enumerate(((fit_ours, Path(sys.executable)), (fit_metatrain, python))):
                folder = Path(name) / f"{epochs}_{side}"
                folder.mkdir()
                cost, errors[side] = fit(interpreter, Task(target, folder, data, epochs, seed))
                costs[side].append(cost)
                program = ("fitsnap_nn", "metatrain")[side]
                note = f"round {seed}, {program}, {epochs} epochs: {cost.cpu:.1f} CPU s, error {errors[side]:.4f}"
                print(note, file=sys.stderr, flush=True)
    return [
        {"epoch, CPU s": (long.cpu - short.cpu) / (many - few), "test RMSE / RMS of labels": error}
        for (short, long), error in zip(costs, errors, strict=True)
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="SOAP-BPNN of fitsnap_nn and of metatrain on one tensor target")
    parser.add_argument("--metatrain", type=Path, metavar="PYTHON", required=True)
    parser.add_argument("--target", choices=list(TARGETS), default="polarizability")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args()
    python = options.metatrain.absolute()
    target = TARGETS[options.target]
    rounds = [measure(target, python, options.few, options.epochs, 1 + n) for n in range(options.rounds)]
    print(f"\nSOAP_BPNN, {options.target}, {options.epochs} epochs:\n")
    print_ratios(("fitsnap_nn", "metatrain"), rounds)


if __name__ == "__main__":
    main()
