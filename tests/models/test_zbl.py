"""The repulsion of nuclei against formulas, derivatives and LAMMPS' own."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import ENERGY
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.compute import GraphCompute
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.models.zbl import Zbl
from fitsnap_nn.settings.schema import Reference
from fitsnap_nn.testing.graphs import crystal, make_graph, molecule

ELEMENTS = ("Ta", "O", "H")
PAIRS = [("H", "O"), ("Ta", "Ta"), ("O", "Ta")]
# Of the handbook: coefficients and exponents of the universal screening function, its length in Å, and e²/(4 pi eps0).
COEFFICIENTS, EXPONENTS = (0.18175, 0.50986, 0.28022, 0.02817), (3.19980, 0.94229, 0.40290, 0.20162)


class Repulsion(GraphModel):
    """Nothing but the repulsion."""

    def __init__(self, cutoff: float = 5.0) -> None:
        super().__init__(ELEMENTS)
        self.cutoff = cutoff
        self.zbl = Zbl(ELEMENTS, cutoff)

    def description(self):
        return {}

    def forward(self, graph: Graph) -> Tensor:
        return graph.vectors.new_zeros(len(graph.species))

    def prior_energies(self, graph: Graph) -> Tensor:
        return self.zbl.energies(graph)


def screened(first: str, second: str, r: float) -> float:
    one, other = atomic_numbers[first], atomic_numbers[second]
    x = r * (one**0.23 + other**0.23) / 0.46850
    screening = sum(c * math.exp(-d * x) for c, d in zip(COEFFICIENTS, EXPONENTS, strict=True))
    return 14.399645 * one * other / r * screening


def end_of(first: str, second: str) -> float:
    return float(covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]])


def energy(first: str, second: str, distance: float, model: Repulsion | None = None) -> float:
    places = np.array([[0.0, 0.0, 0.0], [0.6 * distance, 0.0, 0.8 * distance]])
    model = model or Repulsion()
    return float(predict(model, make_graph(model, molecule((first, second), places)), [ENERGY]).energy)


def dense() -> Configuration:
    return crystal(ELEMENTS, lattice=1.9)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_nuclei_that_nearly_touch(first: str, second: str):
    """There the screened Coulomb energy is all: the remainder is the same at both distances."""
    found = energy(first, second, 1e-3) - energy(first, second, 2e-3)
    expected = screened(first, second, 1e-3) - screened(first, second, 2e-3)
    assert found == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_energy_and_two_derivatives_vanish_at_the_sum_of_the_radii(first: str, second: str):
    end = end_of(first, second)
    assert energy(first, second, end + 1e-6) == 0.0
    assert energy(first, second, 0.5 * end) > 0.1
    near, far = (energy(first, second, end - gap) for gap in (0.01, 0.02))
    assert far / near == pytest.approx(8.0, rel=0.1), "the energy is of third order in the gap"


def test_a_graph_with_a_shorter_cutoff():
    model = Repulsion(2.0)
    near, far = (energy("Ta", "Ta", 2.0 - gap, model) for gap in (0.01, 0.02))
    assert far / near == pytest.approx(8.0, rel=0.1)
    assert energy("H", "O", 0.5, model) == energy("H", "O", 0.5)


def test_each_atom_has_half_of_its_pairs():
    model = Repulsion()
    places = np.array([[0.0, 0.0, 0.0], [0.9, 0.0, 0.0], [9.0, 0.0, 0.0]])
    found = predict(model, make_graph(model, molecule(("O", "H", "Ta"), places))).atom_energies
    assert found[0] == found[1] == pytest.approx(0.5 * energy("O", "H", 0.9))
    assert found[2] == 0.0


def test_derivatives_by_the_vectors():
    model = Repulsion()
    graph = make_graph(model, dense())
    directions = 1e-2 * torch.sin(torch.arange(graph.vectors.numel(), dtype=torch.float64)).view(-1, 3)

    def along(distance: Tensor) -> Tensor:
        return model.zbl.energies(replace(graph, vectors=graph.vectors + distance * directions))

    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    assert along(zero).max() > 1.0
    assert torch.autograd.gradcheck(along, (zero,))
    assert torch.autograd.gradgradcheck(along, (zero,))


def test_float64_in_a_model_in_float32():
    model = Repulsion()
    single = make_graph(model, dense(), dtype=torch.float32)
    expected = model.zbl.energies(replace(single, vectors=single.vectors.double()))
    model.set_precision(torch.float32)
    found = model.zbl.energies(single)
    assert found.dtype == torch.float64
    assert torch.equal(found, expected)


def test_lammps_has_the_same_repulsion():
    """``pair_style zbl`` switches alike when it starts to at nearly 0; each pair of elements has its own cutoff."""
    configuration, model = dense(), Repulsion()
    pairs = [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3)]
    symbols = [(ELEMENTS[i - 1], ELEMENTS[j - 1]) for i, j in pairs]
    reference = Reference(
        pair_style="hybrid " + " ".join(f"zbl 1e-10 {end_of(*pair):.17g}" for pair in symbols),
        pair_coeff=tuple(
            f"{i} {j} zbl {number} {atomic_numbers[first]} {atomic_numbers[second]}"
            for number, ((i, j), (first, second)) in enumerate(zip(pairs, symbols, strict=True), 1)
        ),
    )
    with GraphCompute(ELEMENTS, model.cutoff, reference) as calculator:
        lammps = calculator.compute(configuration)
    found = predict(model, make_graph(model, configuration))
    assert float(found.energy) == pytest.approx(lammps.reference_energy, rel=1e-7)
    for ours, theirs in ((found.forces, lammps.reference_forces), (found.stress[0], lammps.reference_stress)):
        assert np.abs(ours.numpy() - theirs).max() < 1e-7 * np.abs(theirs).max()
