"""A fit of a linear model to labels of another one: input, data and the fit, for any descriptors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from processes import run_on_ranks
from random_potentials import crystal, random_linear
from small_fit import without_plots
from tantalum_input import DESCRIPTORS

import fitsnap_nn
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.voigt import from_voigt
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.schema import Bispectrum, Reference
from fitsnap_nn.units import BAR
from fitsnap_nn.workflow.run import Fit

INP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(4, 2), rcutfac=4.2, wj=(1.0, 0.9), radelem=(0.5, 0.45))
ZBL = Reference(pair_style="zbl 3.0 4.0", pair_coeff=("1 1 49 49", "1 2 49 15", "2 2 15 15"))
INPUT = """\
[BISPECTRUM]
numTypes = 2
type = In P
twojmax = 4 2
rcutfac = 4.2
wj = 1.0 0.9
radelem = 0.5 0.45
[CALCULATOR]
calculator = LAMMPSSNAP
energy = 1
force = 1
stress = 1
[SOLVER]
solver = SVD
[PATH]
dataPath = JSON
[OUTFILE]
metrics = metrics.md
potential = pot
[REFERENCE]
pair_style = zbl 3.0 4.0
pair_coeff1 = 1 1 49 49
pair_coeff2 = 1 2 49 15
pair_coeff3 = 2 2 15 15
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
group_types = str float float float float float
one = 1.0 0.0 10 1 1e-5
two = 0.5 0.5 1 0.1 1e-6
[EXTRAS]
dump_descriptors = 1
dump_truth = 1
dump_weights = 1
dump_dataframe = 1
"""
TANTALUM = (
    DESCRIPTORS
    + """\
[SOLVER]
solver = SVD
[PATH]
dataPath = {data}
[OUTFILE]
potential = Ta_pot
[REFERENCE]
pair_style = hybrid/overlay zero 10.0 zbl 4.0 4.8
pair_coeff1 = * * zero
pair_coeff2 = * * zbl 73 73
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
{groups}
"""
)


def write_json(path: Path, configuration: Configuration, potential: Potential) -> None:
    """Write a configuration with the labels of a potential in FitSNAP's format."""
    found = potential.predict(configuration)
    frame = {
        "Positions": configuration.positions.tolist(),
        "Lattice": configuration.cell.tolist(),
        "AtomTypes": list(configuration.species),
        "NumAtoms": len(configuration),
        "Energy": found.energy,
        "Forces": found.forces.tolist(),
        "Stress": (-from_voigt(found.stress) / BAR).tolist(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"Dataset": {"Data": [frame]}}))


def write_case(folder: Path, descriptors: Bispectrum | Ace, text: str) -> None:
    """Write an input, and data whose labels are those of a linear model and ZBL."""
    potential = Potential(random_linear(descriptors), ZBL)
    for number in range(8):
        group = "one" if number < 6 else "two"
        configuration = crystal(descriptors.type, number, repeat=1 + number % 2, skew=0.1)
        write_json(folder / "JSON" / group / f"{number}.json", configuration, potential)
    (folder / "linear.in").write_text(text)


def fit(folder: Path, name: str, **keys: object) -> Fit:
    changes = {key.replace("__", "."): value for key, value in keys.items()}
    paths = {"OUTFILE.folder": folder / name, "MEMORY.cache": folder / "cache"}
    with without_plots():
        return fitsnap_nn.fit(folder / "linear.in", {**paths, **changes}, verify=False, quiet=True)


def values_of(found: Fit) -> np.ndarray:
    model: Any = found.model
    assert isinstance(model, LinearModel)
    return model.values


def check_two_ranks(folder: Path, formats: str) -> None:
    """Fit on one rank and on two: the coefficients are the same, and the files are verified in LAMMPS."""
    expected = values_of(fit(folder, "one rank"))
    paths = ["--set", f"OUTFILE.folder={folder / 'ranks'}", "--set", f"MEMORY.cache={folder / 'cache'}"]
    run_on_ranks(2, [[str(folder / "linear.in"), *paths]], folder)
    log = (folder / "ranks" / "run.log").read_text(encoding="utf-8")
    assert f"(model {formats}): 1 and 2 ranks, 1 configuration, " in log
    model: Any = fitsnap_nn.load_potential(folder / "ranks" / "pot.pt").model
    np.testing.assert_allclose(model.values, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
