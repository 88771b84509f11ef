"""Potentials with random networks on bispectrum components, and the files that LAMMPS needs of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from fitsnap_nn.export.chemical import symmetrized
from fitsnap_nn.export.formats import descriptor_text
from fitsnap_nn.export.mliappy import MliapModel, to_pickle
from fitsnap_nn.export.nn_text import nn_text
from fitsnap_nn.inputs.snap.bispectrum import n_components
from fitsnap_nn.models.bpnn import PlainNetwork
from fitsnap_nn.settings.schema import Bispectrum

TA = Bispectrum(type=("Ta",), twojmax=(6,), bzeroflag=True)
INP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(4,), wj=(1.0, 0.8), radelem=(0.5, 0.42))
CHEM = replace(INP, chemflag=True, twojmax=(3,))
THREE = Bispectrum(
    num_types=3, type=("In", "P", "Al"), twojmax=(4,), wj=(1.0, 0.8, -0.6), radelem=(0.5, 0.42, 0.46), bzeroflag=True
)
TA_COMMANDS = ("pair_style mliap model mliappy m.pkl descriptor sna d.txt", "pair_coeff * * Ta")


@dataclass(frozen=True)
class Files:
    """One potential as LAMMPS reads it: its pair style's words in both forms."""

    mliappy: str
    nn: str


def random_networks(bispectrum: Bispectrum, activation: str = "tanh", seed: int = 0) -> list[PlainNetwork]:
    """A network with random weights for each element, which treats equal components alike."""
    return symmetrized(asymmetric_networks(bispectrum, activation, seed), bispectrum)


def asymmetric_networks(bispectrum: Bispectrum, activation: str = "tanh", seed: int = 0) -> list[PlainNetwork]:
    """The same, also where ``chemflag`` has several names for one component. Their energies are some eV."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [n_components(bispectrum), 8, 8, 1]

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return [
        PlainNetwork(
            10.0 * random(sizes[0]),
            100.0 + 20.0 * random(sizes[0]).abs(),
            tuple((2.0 * random(b, a) / a**0.5, random(b)) for a, b in pairwise(sizes)),
            activation,
        )
        for _ in bispectrum.type
    ]


def write_potential(folder: Path, name: str, bispectrum: Bispectrum, networks: list[PlainNetwork]) -> Files:
    """Write descriptor and models; the text form only if LAMMPS knows the activation."""
    (folder / f"{name}.descriptor").write_text(descriptor_text(bispectrum), encoding="utf-8")
    (folder / f"{name}.mliappy").write_bytes(to_pickle(MliapModel(networks)))
    if networks[0].activation == "tanh":
        (folder / f"{name}.nn").write_text(nn_text(networks), encoding="utf-8")
    return Files(*(f"model {form} {name}.{form} descriptor sna {name}.descriptor" for form in ("mliappy", "nn")))


def displaced(structure: str, a: float, repeats: tuple[int, int, int], elements: tuple[str, ...], seed: int) -> Atoms:
    """A crystal of random elements whose atoms are displaced at random."""
    random = np.random.default_rng(seed)
    atoms = bulk("X", structure, a=a, cubic=True).repeat(repeats)
    atoms.symbols[:] = random.choice(elements, len(atoms))
    atoms.positions += random.uniform(-0.25, 0.25, (len(atoms), 3))
    return atoms


def tantalum(repeats: int = 3, seed: int = 1) -> Atoms:
    return displaced("bcc", 3.3, (repeats, repeats, repeats), ("Ta",), seed)


def sheared(atoms: Atoms) -> Atoms:
    """The same atoms in a cell that is no longer orthogonal."""
    tilted = atoms.copy()
    cell = np.array(atoms.cell)
    cell[1, 0], cell[2, 0], cell[2, 1] = 0.3 * cell[0, 0], -0.2 * cell[0, 0], 0.1 * cell[1, 1]
    tilted.set_cell(cell, scale_atoms=True)
    return tilted
