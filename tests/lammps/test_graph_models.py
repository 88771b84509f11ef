"""Graph models in LAMMPS with the plugin at any number of ranks, and in one with Python ML-IAP, against `predict`."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drift import nve_drift
from random_potentials import crystal
from single_points import ELEMENTS, SECONDS, SKEWED, STRUCTURES, Case, Runs, check, run_cases, runs_of
from toy_model import AtomMessages, EdgeMessages, ToyModel

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.export.pointer import POINTER_COMMANDS
from fitsnap_nn.export.unified import unified_pickle
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.lammps.program import Lammps
from fitsnap_nn.models import GraphModel
from fitsnap_nn.settings.schema import Reference

TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The toy models as if another package had them, in every process that is started."""
    package = tmp_path_factory.mktemp("site") / "toy_model-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: toy_model\nVersion: 1\n")
    names = (kind.__name__ for kind in (AtomMessages, EdgeMessages))
    points = "\n".join(f"{name} = toy_model:{name}" for name in names)
    (package / "entry_points.txt").write_text(f"[fitsnap_nn.models]\n{points}\n")
    with pytest.MonkeyPatch.context() as patch:
        others = os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), str(TESTS), others]))
        yield


def prepared(kind: type[ToyModel], dtype: torch.dtype = torch.float64, **choices: int) -> GraphModel:
    torch.manual_seed(11)
    model = kind(ELEMENTS, **choices)
    model.set_precision(dtype)
    model.element_energies += torch.tensor([-9000.0, 2.5])
    return model


MODELS = {
    "atoms": prepared(AtomMessages),
    "edges": prepared(EdgeMessages, layers=3),
    "plain": prepared(AtomMessages, layers=1),
}
OVERLAY = (
    "pair_style hybrid/overlay zero 5.0 mliap unified FILE 0",
    "pair_coeff * * zero",
    "pair_coeff * * mliap O Ta",
)
CASES = {
    **{f"{m}, {s}": Case(model, structure) for m, model in MODELS.items() for s, structure in STRUCTURES.items()},
    "overlay": Case(MODELS["atoms"], SKEWED, pair=OVERLAY),
    "newton off": Case(MODELS["atoms"], SKEWED, before=("newton off",)),
    "one element": Case(
        MODELS["edges"], crystal(["O"], 3), ("O",), ("pair_style mliap unified FILE", "pair_coeff * * O")
    ),
    "an element that is not the model's": Case(
        MODELS["atoms"],
        replace(SKEWED, species=("Si", *SKEWED.species[1:7], "Si", *SKEWED.species[8:])),
        ("O", "Si", "Ta"),
        (*OVERLAY[:2], "pair_coeff * * mliap O NULL Ta"),
    ),
    "float32": Case(prepared(AtomMessages, torch.float32), SKEWED, tolerance=2e-5),
    "wide": Case(prepared(AtomMessages, width=90), SKEWED),
}


NATIVE = [name for name in CASES if name != "newton off"]  # which LAMMPS' own Python ML-IAP does not know
FEW = [
    name for name in CASES if name.endswith(("skewed", "corner", "scattered"))
]  # for four ranks, which take their time
RUNS = {1: tuple(CASES), 2: tuple(CASES), 4: tuple(FEW)}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return runs_of(tmp_path_factory, CASES, lambda lammps, ranks: RUNS[ranks] if lammps.plugin else NATIVE)


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize(("ranks", "name"), [(ranks, name) for ranks, names in RUNS.items() for name in names])
def test_same_as_the_whole_configuration_at_once(results: Runs, wheel: Lammps, name: str, ranks: int) -> None:
    check(results(wheel, ranks), CASES, name)


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize("name", NATIVE)
def test_in_a_native_lammps(results: Runs, native: Lammps, name: str) -> None:
    check(results(native, 1), CASES, name)


@pytest.mark.parametrize("kind", [AtomMessages, EdgeMessages])
def test_energy_is_conserved(tmp_path: Path, wheel: Lammps, kind: type[ToyModel]) -> None:
    """While atoms move from rank to rank."""
    zbl = Reference(pair_style="zbl 2.0 2.5", pair_coeff=("1 1 73 73", "1 2 73 8", "2 2 8 8"))
    files = write_lammps_files(prepared(kind), zbl, tmp_path, "toy")
    choices = {"temperature": 1500.0, "steps": 300, "ranks": 2, "timeout": SECONDS}
    assert abs(nve_drift(files, crystal(ELEMENTS, 5), wheel, "unified", **choices)) < 0.1


def ended(
    folder: Path, lammps: Lammps, model: GraphModel, *lines: str, ranks: int = 1, atoms: Configuration = SKEWED
) -> str:
    """Message of a LAMMPS run that ends with an error."""
    (folder / "model").write_bytes(unified_pickle(model))
    (folder / "md.data").write_text(data_text(atoms, ELEMENTS, "atomic"))
    (folder / "in.run").write_text("\n".join(["units metal", *lines]) + "\n")
    with pytest.raises(LammpsError) as error:
        lammps.run(["-in", "in.run", "-log", "none"], folder, ranks, timeout=SECONDS)
    return str(error.value)


PAIR = ("read_data md.data", "pair_style mliap unified model 0", "pair_coeff * * Ta O", "run 0")


def test_messages_on_several_ranks_need_the_plugin(tmp_path: Path, native: Lammps) -> None:
    message = ended(tmp_path, native, MODELS["atoms"], *POINTER_COMMANDS, *PAIR, ranks=2)
    assert "cannot pass a model's messages between ranks. Run it on one rank, or with the plugin" in message


def test_a_model_without_messages_runs_on_several(tmp_path: Path, native: Lammps) -> None:
    names = ["plain, skewed", "plain, own images"]
    run_cases(tmp_path, CASES, names, native, 2)
    for name in names:
        check(tmp_path, CASES, name)


def test_the_mod_file_is_missed(tmp_path: Path, native: Lammps) -> None:
    assert "Include the .mod file that was exported" in ended(tmp_path, native, MODELS["atoms"], *PAIR)


def test_atoms_without_ids(tmp_path: Path, python_lammps: Lammps) -> None:
    (tmp_path / "model").write_bytes(unified_pickle(MODELS["atoms"]))
    lines = ["units metal", "atom_modify id no", "lattice bcc 3.3", "region all block 0 3 0 3 0 3"]
    lines += ["create_box 2 all", "create_atoms 1 box", "mass * 1.0"]
    lines += [*([] if python_lammps.plugin else POINTER_COMMANDS), *PAIR[1:]]
    (tmp_path / "in.run").write_text("\n".join(lines) + "\n")
    with pytest.raises(LammpsError, match="needs atom IDs"):
        python_lammps.run(["-in", "in.run", "-log", "none"], tmp_path, timeout=SECONDS)


def test_neighbours_of_ghosts_are_refused(tmp_path: Path, python_lammps: Lammps) -> None:
    pair = [line.replace("model 0", "model 1") for line in PAIR]
    assert "end `pair_style mliap unified` with 0" in ended(tmp_path, python_lammps, MODELS["plain"], *pair)


@pytest.mark.parametrize("ranks", [1, 2])
def test_an_error_on_one_rank_ends_all_at_once(tmp_path: Path, python_lammps: Lammps, ranks: int) -> None:
    model = prepared(AtomMessages, layers=1)
    model.element_energies[1] = torch.nan
    left = (SKEWED.positions @ np.linalg.inv(SKEWED.cell))[:, 0] % 1.0 < 0.5
    atoms = replace(SKEWED, species=tuple(np.where(left, "Ta", "O").tolist()))  # the first rank has no O
    start = time.monotonic()
    message = ended(tmp_path, python_lammps, model, "processors * 1 1", *PAIR, ranks=ranks, atoms=atoms)
    assert "not a finite number: atoms have come too close" in message
    assert time.monotonic() - start < 20
