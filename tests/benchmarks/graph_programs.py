"""The programs that bench_graphs.py compares, and the same task for each: how they are called, where errors are read.

Every function of this kind gets the program's interpreter and a `Task`, and returns what the fit cost and the errors
on the testing set, with the weights of the epoch that was best on the validation set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measure import Cost, run

Errors = dict[str, float]

INPUT = """\
[BISPECTRUM]
numTypes = 3
type = C H O
[CALCULATOR]
calculator = LAMMPSGRAPH
stress = 0
[PYTORCH]
model = {model}
num_epochs = {epochs}
manual_seed_flag = 1
seed = {seed}
{precision}{options}
[SCRAPER]
scraper = XYZ
[PATH]
dataPath = {data}
[OUTFILE]
folder = fit
metrics = errors.json
metrics_style = JSON
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
{groups}"""

# What the other program does at its defaults, or, for MACE, what it is told below.
OPTIONS = {
    "SOAP_BPNN": "learning_rate = 1e-3\nbatch_size = 8\nscheduler = cosine\nwarmup_fraction = 0.01",
    "NANOPET": "optimizer = Adam\nlearning_rate = 3e-4\nbatch_size = 16\ngradient_clip = 1.0\n"
    "scheduler = plateau\nplateau_factor = 0.8\nplateau_patience = 100",
    "MACE": "optimizer = Adam\nlearning_rate = 0.01\nbatch_size = 10\ngradient_clip = 10.0\n"
    "[MACE]\nhidden_irreps = 16x0e\ncorrelation = 2\ninteraction_first = RealAgnosticInteractionBlock",
}
FORCE_WEIGHTS = {"SOAP_BPNN": 1, "NANOPET": 1, "MACE": 100}
ARCHITECTURES = {"SOAP_BPNN": "soap_bpnn", "NANOPET": "deprecated.nanopet"}  # in metatrain
METATRAIN_ERRORS = r"energy RMSE \(per atom\): ([\d.]+) (m?eV) .* energy_positions_gradients RMSE: ([\d.]+) (m?eV)/A"
MACE_ERRORS = r"\|\s+\S+\s+\|\s+([\d.]+)\s+\|\s+([\d.]+)\s+\|\s+[\d.]+\s+\|"


@dataclass(frozen=True)
class Task:
    """One fit.

    Attributes:
        folder: empty, for the files of the fit.
        data: folder with train.xyz, valid.xyz and test.xyz.
        precision: 32 or 64; ``None`` for what each program takes if it is not told.
    """

    model: str
    folder: Path
    data: Path
    epochs: int
    seed: int
    precision: int | None


def fit_ours(python: Path, task: Task) -> tuple[Cost, Errors]:
    """fitsnap_nn; the testing set goes through the command ``test``.

    There is no comparison with LAMMPS: its ranks wait for one another, and that would be counted as CPU time.
    """
    weights = f"1 {FORCE_WEIGHTS[task.model]} 0"
    splits = {
        "fit": f"train = 1.0 0.0 {weights}\nvalid = 0.0 1.0 {weights}\n",
        "test": f"test = 0.0 1.0 {weights}\n",
    }
    flags = {"fit": ["--no-verify"], "test": []}
    costs = {}
    for command, groups in splits.items():
        text = INPUT.format(
            model=task.model,
            epochs=task.epochs,
            precision=f"dtype_setting = {task.precision // 32}\n" if task.precision else "",
            seed=task.seed,
            options=OPTIONS[task.model],
            data=task.data,
            groups=groups,
        )
        (task.folder / f"{command}.in").write_text(text, encoding="utf-8")
        costs[command] = run(python, ["-m", "fitsnap_nn", command, f"{command}.in", *flags[command]], task.folder)
    cost = Cost(costs["fit"].cpu, costs["fit"].wall, max(cost.peak for cost in costs.values()))
    rows = json.loads((task.folder / "fit" / "test" / "errors.json").read_text(encoding="utf-8"))
    found = {row["property"]: 1e3 * row["rmse"] for row in rows if row["group"] == "*ALL"}
    return cost, _errors(found["Energy"], found["Force"])


def fit_metatrain(python: Path, task: Task) -> tuple[Cost, Errors]:
    """metatrain with the defaults of its architecture; it evaluates the testing set itself, in the same process.

    Configurations that do not fill a batch are left out of its epochs: 2 of 450.
    """
    options: dict[str, Any] = {
        "seed": task.seed,
        "architecture": {"name": ARCHITECTURES[task.model], "training": {"num_epochs": task.epochs}},
    }
    if task.precision:
        options["base_precision"] = task.precision
    for name, subset in (("train", "training"), ("valid", "validation"), ("test", "test")):
        options[f"{subset}_set"] = {
            "systems": {"read_from": str(task.data / f"{name}.xyz"), "length_unit": "angstrom"},
            "targets": {"energy": {"key": "energy", "unit": "eV", "forces": {"key": "forces"}}},
        }
    # JSON is YAML.
    (task.folder / "options.yaml").write_text(json.dumps(options), encoding="utf-8")
    cost = run(python, ["-m", "metatrain", "train", "options.yaml"], task.folder)
    energy, energy_unit, force, force_unit = _last(METATRAIN_ERRORS, task.folder)
    factors = {"eV": 1e3, "meV": 1.0}
    return cost, _errors(float(energy) * factors[energy_unit], float(force) * factors[force_unit])


def fit_mace(python: Path, task: Task) -> tuple[Cost, Errors]:
    """mace_run_train with the model and the loss of our input; it evaluates the testing set itself.

    Its loss is ours with weights 1 and 100, and so are optimiser, batches, clipping, baselines and scale. What cannot
    be made equal: its Adam always has AMSGrad.
    """
    cost = run(python, mace_arguments(task), task.folder)
    energy, force = _last(MACE_ERRORS, task.folder)
    return cost, _errors(float(energy), float(force))


def mace_arguments(task: Task, **changes: Any) -> list[str]:
    """The arguments of Python for mace_run_train.

    Args:
        changes: values of options of mace_run_train that differ from those in `fit_mace`.
    """
    options = {
        "name": "fit",
        "seed": task.seed,
        **{f"{subset}_file": task.data / f"{subset}.xyz" for subset in ("train", "valid", "test")},
        "energy_key": "energy",
        "forces_key": "forces",
        "E0s": "average",
        "model": "MACE",
        "r_max": 5.0,
        "num_radial_basis": 8,
        "num_cutoff_basis": 5,
        "max_ell": 3,
        "num_interactions": 2,
        "hidden_irreps": "16x0e",
        "correlation": 2,
        "MLP_irreps": "16x0e",
        "radial_MLP": "[64, 64, 64]",
        "energy_weight": 1,
        "forces_weight": FORCE_WEIGHTS[task.model],
        "batch_size": 10,
        "valid_batch_size": 10,
        "lr": 0.01,
        "weight_decay": 0,
        "clip_grad": 10,
        "scheduler_patience": task.epochs,
        "max_num_epochs": task.epochs,
        **({"default_dtype": f"float{task.precision}"} if task.precision else {}),
        "device": "cpu",
        "error_table": "PerAtomRMSE",
        "plot": False,
        **changes,
    }
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    return ["-W", "ignore", "-m", "mace.cli.run_train", *words]


def _last(pattern: str, folder: Path) -> tuple[str, ...]:
    """Return the groups of the last match in the output: both programs print the errors of the test set last."""
    found: tuple[str, ...] = re.findall(pattern, (folder / "output.txt").read_text(encoding="utf-8"))[-1]
    return found


def _errors(energy: float, force: float) -> Errors:
    return {"test energy RMSE, meV/atom": energy, "test force RMSE, meV/Å": force}


def random_mace(numbers: Sequence[int], irreps: str, **options: Any) -> Any:
    """Return mace-torch's network with random weights and two layers.

    Args:
        numbers: atomic numbers.
        irreps: of the node features.
        options: further arguments of ``ScaleShiftMACE``; r_max, avg_num_neighbors and correlation are required.
    """
    import mace  # noqa: F401  lets torch load what e3nn needs, before e3nn does
    from e3nn.o3 import Irreps
    from mace.modules import ScaleShiftMACE, gate_dict, interaction_classes

    block = interaction_classes["RealAgnosticResidualInteractionBlock"]
    return ScaleShiftMACE(
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=Irreps(irreps),
        MLP_irreps=Irreps("16x0e"),
        gate=gate_dict["silu"],
        atomic_energies=-np.arange(1.0, len(numbers) + 1),
        atomic_numbers=list(numbers),
        radial_MLP=[64, 64, 64],
        use_reduced_cg=False,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
        **options,
    )
