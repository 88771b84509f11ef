"""Molecular dynamics on a GPU: forces along a trajectory equal to those on the CPU, at one rank and at two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from processes import run
from stand_in_kokkos import check_kokkos
from toy_model import AtomMessages

from fitsnap_nn.devices import VARIABLE
from fitsnap_nn.export.unified import unified_pickle
from fitsnap_nn.inputs.ace.input import AceInput
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.models import build_model
from fitsnap_nn.models.targets import describe_targets
from fitsnap_nn.plugin import plugin_dir
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.settings.schema import Bispectrum
from fitsnap_nn.testing.graphs import crystal

# One process runs them, since they share their runs.
pytestmark = [pytest.mark.gpu, pytest.mark.xdist_group("md")]

ELEMENTS = ("Ta", "O")
ACE = AceInput(Ace(num_types=2, type=ELEMENTS, ranks=(1, 2), nmax=(3, 2), lmax=(0, 2), nmaxbase=3, rcutfac=(4.0,)))
SNAP = SnapInput(Bispectrum(num_types=2, type=ELEMENTS, twojmax=(4,), rcutfac=4.0, wj=(1.0, 0.8), radelem=(0.5, 0.45)))
ON_DESCRIPTORS = ("ACE", "SNAP", "COMMITTEE")  # whose elements are those of their inputs
MACE = {"r_max": 4.0, "hidden_irreps": "4x0e+4x1o", "max_ell": 2, "radial_MLP": [8], "MLP_irreps": "4x0e"}
MODELS: Mapping[str, Mapping[str, Any]] = {
    "MACE": {**MACE, "correlation": 2, "avg_num_neighbors": 9.0, "pair_repulsion": True},
    "NANOPET": {"cutoff": 4.0, "d_pet": 8, "num_heads": 2, "zbl": True},
    "SOAP_BPNN": {"cutoff_radius": 4.0, "max_angular": 3, "max_radial": 3, "zbl": True},
    "CUSTOM": {"cutoff": 4.0, "layer_sizes": ["num_desc", "8", "1"], "multi_element_option": 3},
    "ACE": {"model_input": ACE.payload(), "hidden": [8]},
    "SNAP": {"model_input": SNAP.payload(), "hidden": [8]},
    "COMMITTEE": {
        "models": [
            {"architecture": "ACE", "model_input": ACE.payload(), "hidden": [8]},
            {"architecture": "NANOPET", "elements": ["Ta", "O"], "cutoff": 3.6, "d_pet": 8, "num_heads": 2},
        ],
        "weights": [0.7, 0.3],
    },
}
LIBRARIES = {"MACE": "mace", "SOAP_BPNN": "spex"}
COLUMNS = "id type x y z fx fy fz c_energy c_stress[*]"
TOLERANCE = 1e-10
SETTINGS = """\
clear
units metal
lattice bcc 3.3
region box prism 0 4 0 4 0 4 0.3 0.2 -0.3
create_box 2 box
create_atoms 1 box
set group all type/fraction 2 0.4 4433
displace_atoms all random 0.1 0.1 0.1 7
mass * 30.0
neighbor 0.4 bin
pair_style mliap unified {model}.unified 0
pair_coeff * * Ta O
compute energy all pe/atom
compute stress all stress/atom NULL virial
"""
# Neighbour lists are built every few steps; the cell shrinks, so that the number of edges grows.
RUN = """\
velocity all create 2000 1
fix move all npt temp 2000 2000 0.1 iso 20000 20000 0.3
timestep 0.002
dump all all custom 10 {model}.{name}.dump {columns}
dump_modify all sort id format float %.17g
run 60
undump all
"""
RERUN = """\
dump all all custom 10 {model}.{name}.cpu {columns}
dump_modify all sort id format float %.17g
rerun {model}.{name}.dump dump x y z box yes format native
undump all
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, device: str) -> Callable[[int], tuple[Path, str]]:
    """Runs all models on the GPU at a number of ranks, then their trajectories on one CPU; finds folder and output."""
    names = [name for name in MODELS if name not in LIBRARIES or has(LIBRARIES[name])]

    @cache
    def results(ranks: int) -> tuple[Path, str]:
        folder, name = tmp_path_factory.mktemp("md"), f"{ranks}"
        for model in names:
            save(folder, model)
        output = lammps(folder, "".join(script(model, RUN, name) for model in names), device, ranks)
        lammps(folder, "".join(script(model, RERUN, name) for model in names), "cpu", 1)
        return folder, output

    return results


def has(library: str) -> bool:
    from importlib.util import find_spec

    return find_spec(library) is not None


def save(folder: Path, name: str, **more: Any) -> None:
    """Write the file that LAMMPS loads."""
    torch.manual_seed(5)
    elements = {} if name in ON_DESCRIPTORS else {"elements": list(ELEMENTS)}
    model = build_model({"architecture": name, **elements, **MODELS[name], **more})
    model.set_precision(torch.float64)
    model.element_energies += torch.tensor([-30.0, 2.5])
    (folder / f"{name}.unified").write_bytes(unified_pickle(model.eval()))  # type: ignore[arg-type]


def script(model: str, part: str, name: str, more: str = "") -> str:
    return (SETTINGS + part).format(model=model, name=name, columns=COLUMNS + more)


def lammps(folder: Path, commands: str, device: str, ranks: int) -> str:
    """Run LAMMPS and return what it prints."""
    (folder / "in.run").write_text(commands, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, device)
        patch.setenv("LAMMPS_PLUGIN_PATH", str(plugin_dir()))
        launcher = ["mpirun", "-np", str(ranks)] if ranks > 1 else []
        done = run([*launcher, "lmp", "-in", "in.run", "-log", "none"], folder, timeout=240)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def frames(path: Path) -> NDArray[np.float64]:
    """(frames, atoms, columns) of a dump."""
    parts = path.read_text(encoding="utf-8").split("ITEM: ATOMS")[1:]
    return np.array([[line.split() for line in part.partition("ITEM:")[0].splitlines()[1:]] for part in parts], float)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_the_same_as_on_the_cpu(runs: Callable[[int], tuple[Path, str]], model: str, ranks: int) -> None:
    folder, _ = runs(ranks)
    if not (folder / f"{model}.unified").exists():
        pytest.skip(f"the optional library {LIBRARIES[model]} is not installed")
    found, expected = (frames(folder / f"{model}.{ranks}.{which}") for which in ("dump", "cpu"))
    assert found.shape == expected.shape == (7, 128, 15)
    forces = slice(5, 8)
    assert np.abs(found[0, :, forces]).max() > 0.01
    scale = max(1.0, np.abs(expected[..., forces]).max())
    assert np.abs(found[..., forces] - expected[..., forces]).max() < TOLERANCE * scale
    assert np.abs(found[..., 8] - expected[..., 8]).max() < TOLERANCE * scale
    assert np.abs(found[..., 9:] - expected[..., 9:]).max() < TOLERANCE * np.abs(expected[..., 9:]).max()


@pytest.mark.parametrize("ranks", [1, 2])
def test_targets_of_atoms(tmp_path: Path, device: str, ranks: int) -> None:
    rows = [PropertyRow("charge", "atom", "scalar", "q"), PropertyRow("dipole", "configuration", "vector", "d")]
    save(tmp_path, "NANOPET", targets=describe_targets(rows))
    fix = "fix targets all pair 5 mliap charge 0 dipole 0\n"
    lammps(tmp_path, script("NANOPET", fix + RUN, "targets", " f_targets[*]"), device, ranks)
    lammps(tmp_path, script("NANOPET", fix + RERUN, "targets", " f_targets[*]"), "cpu", 1)
    found, expected = (frames(tmp_path / f"NANOPET.targets.{which}") for which in ("dump", "cpu"))
    assert found.shape == expected.shape == (7, 128, 19)
    assert np.abs(found[..., 15:]).max() > 0.01
    assert np.abs(found[..., 15:] - expected[..., 15:]).max() < TOLERANCE


@pytest.mark.parametrize("ranks", [1, 2])
def test_lammps_says_where_the_potential_runs(runs: Callable[[int], tuple[Path, str]], device: str, ranks: int) -> None:
    _, output = runs(ranks)
    lines = [line for line in output.splitlines() if line.startswith("The potential runs on")]
    if device == "cpu":
        assert not lines
        return
    assert lines
    shared = ranks > 1 and torch.cuda.device_count() == 1
    assert all("cuda:0 (" in line and "float64" in line for line in lines)
    assert all(line.endswith("2 ranks share it") == shared for line in lines)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_data_of_kokkos_on_the_gpu(device: str, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    model = AtomMessages(ELEMENTS, layers=3)
    model.set_precision(dtype)
    data = check_kokkos(
        model.eval().requires_grad_(False), crystal(ELEMENTS), device, 1e-12 if dtype == torch.float64 else 1e-5
    )
    assert data.forces is not None
    assert data.forces.device.type == device.partition(":")[0]


def test_mace_on_data_of_kokkos(device: str, mace: None) -> None:
    torch.manual_seed(3)
    model = build_model({"architecture": "MACE", "elements": list(ELEMENTS), **MODELS["MACE"]})
    model.set_precision(torch.float64)
    check_kokkos(model.eval().requires_grad_(False), crystal(ELEMENTS), device, 1e-11)  # type: ignore[arg-type]


def test_a_gpu_that_does_not_exist(tmp_path: Path, device: str) -> None:
    if device == "cpu":
        pytest.skip("without a GPU, test_unified_object tests this message")
    save(tmp_path, "NANOPET")
    (tmp_path / "in.run").write_text(script("NANOPET", "", ""), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "cuda:99")
        patch.setenv("LAMMPS_PLUGIN_PATH", str(plugin_dir()))
        done = run(["lmp", "-in", "in.run", "-log", "none"], tmp_path)
    assert done.returncode != 0
    assert "FITSNAP_NN_DEVICE = cuda:99, but torch finds" in done.stdout + done.stderr
