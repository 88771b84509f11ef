"""Which forces vanish by symmetry: of crystals whose site symmetries are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.spacegroup import crystal as of_spacegroup

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import FORCES, labels_of
from fitsnap_nn.inputs.graph.compute import GraphCompute
from fitsnap_nn.models import GraphModel, build_model
from fitsnap_nn.settings.schema import Reference
from fitsnap_nn.training.batches import SampleSet, make_sample
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.flat import FlatParameters
from fitsnap_nn.training.kalman import scales_of
from fitsnap_nn.training.vanishing import forces_vanish

ELEMENTS = ("Ta", "O")
SHEAR = np.eye(3) + np.array([[0.01, 0.03, 0.0], [0.03, -0.02, 0.02], [0.0, 0.02, 0.01]])
ALONG_Z = np.diag([1.0, 1.0, 1.06])


def model() -> GraphModel:
    torch.manual_seed(3)
    found = build_model(
        {"architecture": "CUSTOM", "elements": ELEMENTS, "cutoff": 4.2, "layer_sizes": ("num_desc", "6", "1")}
    )
    assert isinstance(found, GraphModel)
    found.set_precision(torch.float64)
    return found


def strained(atoms: Atoms, deformation: np.ndarray) -> Atoms:
    atoms.set_cell(atoms.cell @ deformation, scale_atoms=True)
    return atoms


def supercell(atoms: Atoms) -> Atoms:
    return make_supercell(atoms, [[0, 2, 2], [2, 0, 2], [2, 2, 0]])


def without_atom() -> Atoms:
    atoms = supercell(bulk("Ta", "bcc", 3.3))
    del atoms[0]
    return atoms


def rattled(size: float) -> Atoms:
    atoms = bulk("Ta", "bcc", 3.3, cubic=True)
    atoms.rattle(size, seed=1)
    return atoms


def a15() -> Atoms:
    return of_spacegroup(["Ta", "Ta"], [(0, 0, 0), (0.25, 0, 0.5)], spacegroup=223, cellpar=[5.3, 5.3, 5.3, 90, 90, 90])


CASES: dict[str, tuple[Atoms, bool]] = {
    "sheared bcc": (strained(bulk("Ta", "bcc", 3.3), SHEAR), True),
    "sheared supercell": (strained(supercell(bulk("Ta", "bcc", 3.3)), SHEAR), True),
    "A15, sites without a centre of inversion": (a15(), True),
    "diamond along z": (strained(bulk("Ta", "diamond", 5.4), ALONG_Z), True),
    "rocksalt, sheared": (strained(bulk("TaO", "rocksalt", 4.6), SHEAR), True),
    "coordinates rounded": (rattled(5e-5), True),
    "diamond, sheared": (strained(bulk("Ta", "diamond", 5.4), SHEAR), False),
    "vacancy": (without_atom(), False),
    "displaced": (rattled(0.05), False),
    "displaced a little": (rattled(0.005), False),
    "zincblende, sheared": (strained(bulk("TaO", "zincblende", 5.0), SHEAR), False),
}


def sample_set(structures: list[Atoms], of: GraphModel) -> SampleSet:
    samples = []
    with GraphCompute(ELEMENTS, of.cutoff, Reference()) as compute:
        for number, atoms in enumerate(structures):
            labels = labels_of(forces=np.zeros((len(atoms), 3)))
            species = tuple(atoms.get_chemical_symbols())
            one = Configuration(str(number), "g", species, atoms.positions, np.asarray(atoms.cell), labels=labels)
            cached = compute.compute(one)
            samples.append(make_sample(one, cached, of.input.to_batch(one, cached), [FORCES], torch.float64))
    return SampleSet(samples, torch.float64)


def vanishing(structures: list[Atoms], seed: int = 0) -> list[bool]:
    of = model()
    part = FlatParameters(of).part(of)
    before = part.vector.clone()
    found = forces_vanish(of, part, scales_of(part.parameters, 1.0), sample_set(structures, of), Ranks(), seed)
    assert torch.equal(part.vector, before)
    return found.tolist()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_site_symmetry(seed: int):
    structures = [atoms for atoms, _ in CASES.values()]
    assert dict(zip(CASES, vanishing(structures, seed), strict=True)) == {name: one for name, (_, one) in CASES.items()}


def test_one_atom_under_extreme_forces_does_not_change_what_vanishes():
    close = Atoms("Ta2", [(5, 5, 5), (5, 5, 6.0)], cell=[10, 10, 10], pbc=True)
    structures = [close, *(atoms for atoms, _ in CASES.values())]
    assert vanishing(structures) == [False, *(one for _, one in CASES.values())]


def test_nothing_vanishes_where_all_is_symmetric():
    """There is no scale that rounding could be compared to; measuring such forces does no harm."""
    assert vanishing([bulk("Ta", "bcc", 3.3), bulk("Ta", "fcc", 4.2)]) == [False, False]
