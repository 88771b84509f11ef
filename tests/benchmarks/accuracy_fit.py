"""A fit of bench_accuracy.py: training that can be continued, errors, and the speed of MD with the result."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from measure import Failed, lammps_step, run

from fitsnap_nn.files import write_text

RESTART = "restart.pt"
PYTHON = Path(sys.executable)
MD_ATOMS, MD_STEPS, MD_RUNS = 1000, 10, 3
QUANTITIES = {"e_mae": ("Energy", "mae"), "e_rmse": ("Energy", "rmse"), "f_mae": ("Force", "mae")}
QUANTITIES["f_rmse"] = ("Force", "rmse")
DECK = """\
units metal
atom_style atomic
boundary p p p
read_data "{fit}/md.data"
replicate {repeats} {repeats} {repeats}
include "{fit}/{potential}"
neighbor 1.0 bin
neigh_modify every 1 delay 0 check yes
timestep 0.0005
velocity all create 300 4711
fix 1 all nve
run 2 post no
run {steps}
"""

Errors = dict[str, float]


@dataclass(frozen=True)
class Fit:
    """One fit: an input in a folder, and a seed.

    Attributes:
        folder: of the input fit.in, in which the programs run.
        seed: of the split and of the initial weights; its subfolder has all results.
        settings: SECTION.KEY=VALUE, further changes of the input.
    """

    folder: Path
    seed: int
    settings: tuple[str, ...]

    @property
    def results(self) -> Path:
        """Folder of all results of this seed."""
        return self.folder / f"seed_{self.seed}"

    @property
    def output(self) -> Path:
        """Folder that the fit writes."""
        return self.results / "fit"

    @property
    def model(self) -> Path:
        """Model file."""
        (path,) = self.output.glob("*_Pytorch.pt")
        return path

    def arguments(self) -> list[str]:
        """Return the command line."""
        own = (
            f"PYTORCH.seed={self.seed}",
            f"GROUPS.random_seed={self.seed}",
            f"OUTFILE.folder={self.output.relative_to(self.folder)}",
            f"PYTORCH.save_state_output={RESTART}",
            "OUTFILE.metrics=errors.json",
            "OUTFILE.metrics_style=JSON",
        )
        return ["fit", "fit.in", "--no-verify", *(word for text in (*own, *self.settings) for word in ("--set", text))]

    def train(self, limit: float | None) -> list[float | None]:
        """Fit, or go on with a fit, unless that is finished; return the CPU seconds of its parts, None if unknown.

        Raises:
            Failed: it failed, or took too long.
            SystemExit: the folder has a fit from another input.
        """
        self.results.mkdir(exist_ok=True)
        path = self.results / "record.json"
        request = [(self.folder / "fit.in").read_text(encoding="utf-8"), *self.arguments()]
        record: dict[str, Any] = {"request": request, "cpu": [], "finished": False}
        if path.exists():
            record = json.loads(path.read_text(encoding="utf-8"))
        if record["request"] != request:
            sys.exit(f"{self.results} is from another input or from other options: remove it, or change --folder")
        parts: list[float | None] = record["cpu"]
        if record["finished"]:
            return parts
        resume = parts and (self.output / RESTART).exists()
        parts = parts if resume else []

        def store(cpu: float | None, finished: bool) -> None:
            write_text(path, json.dumps({**record, "cpu": [*parts, cpu], "finished": finished}))

        store(None, False)  # remains if this program is killed
        try:
            cpu = run_program([*self.arguments(), "--resume" if resume else "--overwrite"], self.folder, limit)
        except Failed as failure:
            store(failure.cost.cpu, False)
            raise
        store(cpu, True)
        return [*parts, cpu]

    def own_errors(self, subset: str) -> Errors:
        """Return the errors of a set of the fit in meV/atom and meV/Å; empty if there is no such set."""
        rows = json.loads((self.output / "errors.json").read_text(encoding="utf-8"))
        found = {row["property"]: row for row in rows if row["group"] == "*ALL" and row["subset"] == subset}
        return {key: 1e3 * found[name][kind] for key, (name, kind) in QUANTITIES.items()} if found else {}

    def test_errors(self, label: str, file: Path) -> Errors:
        """Return the errors of a test file in meV/atom and meV/Å, from the predictions that ``test`` writes."""
        predictions = self.results / f"{label.replace(' ', '_')}.xyz"
        if not predictions.exists():
            partial = predictions.with_suffix(".partial.xyz")
            run_program(["test", str(self.model), *files_of(file), "-o", str(partial), "--overwrite"], self.folder)
            partial.rename(predictions)
        return errors_of_predictions(predictions)

    def md_speed(self) -> float:
        """Return CPU microseconds per atom and MD step of the exported model."""
        path = self.results / "md.json"
        if not path.exists():
            (potential,) = (path for path in self.output.glob("*.mod") if not path.stem.endswith(".uncertainty"))
            atoms = len(ase.io.read(self.output / "md.data", format="lammps-data"))
            repeats = math.ceil((MD_ATOMS / atoms) ** (1 / 3))
            deck = DECK.format(fit=self.output, potential=potential.name, repeats=repeats, steps=MD_STEPS)
            seconds = min(lammps_step(self.folder, deck) for _ in range(MD_RUNS))
            write_text(path, json.dumps(1e6 * seconds / (atoms * repeats**3)))
        speed: float = json.loads(path.read_text(encoding="utf-8"))
        return speed


@dataclass(frozen=True)
class Mean(Fit):
    """The mean of fits of several architectures to the same split.

    Attributes:
        members: the fits, which are finished.
        training: their data, a file or a folder.
    """

    members: tuple[Fit, ...] = ()
    training: Path = Path()

    @property
    def model(self) -> Path:
        return self.output / "mean.pt"

    def train(self, limit: float | None) -> list[float | None]:
        """Combine the members; return the CPU seconds of all their parts and of this step."""
        self.results.mkdir(exist_ok=True, parents=True)
        path = self.results / "combine.json"
        if not path.exists():
            models = [str(one.model) for one in self.members]
            words = ["combine", *models, "-o", str(self.output), "--name", "mean", "--overwrite"]
            cpu = run_program([*words, "--data", *files_of(self.training)], self.folder)
            write_text(path, json.dumps(cpu))
        parts = [part for one in self.members for part in one.train(limit)]
        return [*parts, json.loads(path.read_text(encoding="utf-8"))]

    def own_errors(self, subset: str) -> Errors:
        """Return the errors of a set of the members, in which no member has seen other sets of another."""
        self.test_errors("own data", self.training)
        return errors_of_predictions(self.results / "own_data.xyz", subset)


def files_of(path: Path) -> list[str]:
    """Return the data files of a folder, or the file itself."""
    return sorted(str(one) for one in path.rglob("*") if one.is_file()) if path.is_dir() else [str(path)]


def run_program(words: list[str], folder: Path, limit: float | None = None) -> float:
    """Run fitsnap_nn in a folder; return its CPU seconds."""
    return run(PYTHON, ["-m", "fitsnap_nn", *words], folder, limit=limit).cpu


def errors_of_predictions(file: Path, subset: str = "") -> Errors:
    """Return the errors in an extended XYZ file of ``test -o``, or those of a set, in meV/atom and meV/Å."""
    frames = [one for one in ase.io.read(file, index=":") if not subset or one.info["set"] == subset]
    if subset and not frames:
        return {}
    if not subset and (seen := sum(one.info["set"] in ("Train", "Validation") for one in frames)):
        print(f"WARNING: {file}: the fit has seen {seen} of {len(frames)} configurations", file=sys.stderr, flush=True)
    labels = [one.calc.results if one.calc else {} for one in frames]  # some frames may lack some
    pairs = list(zip(frames, labels, strict=True))
    energies = [(f.info["predicted_energy"] - label["energy"]) / len(f) for f, label in pairs if "energy" in label]
    forces = [(f.arrays["predicted_forces"] - label["forces"]).ravel() for f, label in pairs if "forces" in label]
    errors = {}
    for key, values in (("e", np.array(energies)), ("f", np.concatenate([np.empty(0), *forces]))):
        if not len(values):
            sys.exit(f"{file}: no configuration has {'energies' if key == 'e' else 'forces'} to compare with")
        errors[f"{key}_mae"] = 1e3 * float(np.abs(values).mean())
        errors[f"{key}_rmse"] = 1e3 * float(np.sqrt((values**2).mean()))
    return errors
