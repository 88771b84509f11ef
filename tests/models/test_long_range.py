"""Long-range interactions: lattice energies, both methods, slabs and molecules, and models with them."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import DataError
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.placed import PlacedGraph
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.long_range import LongRange
from fitsnap_nn.models.nanopet import Nanopet
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.testing.graphs import crystal, make_graph, molecule
from fitsnap_nn.testing.models import GraphModelTests, assert_same, deformed, forces_of, slope, stress_of
from fitsnap_nn.training.augmentation import random_rotations

FINE = {"smearing": 1.0, "kspace_resolution": 1.0}
CUTOFF = 4.0


class Ions(GraphModel):
    """The energy of ions whose charges depend on their neighbours, with two charges per ion."""

    has_long_range = True
    takes_padding = False

    def __init__(self, *, use_ewald: bool = True, cutoff: float = CUTOFF, nodes: int = 5, **options: float) -> None:
        super().__init__(("Na", "Cl"))
        self.cutoff = cutoff
        keys = {**FINE, **options}
        self.long_range = LongRange(2, 2, cutoff, use_ewald=use_ewald, interpolation_nodes=nodes, **keys).double()
        self.charges = torch.tensor([[1.0, 0.3], [-1.1, 0.7]], dtype=torch.float64)

    def description(self) -> dict[str, object]:
        return {}

    def forward(self, graph: Graph) -> Tensor:
        distances = torch.linalg.vector_norm(graph.vectors, dim=1)
        crowd = graph.sum_by_centre((1.0 + torch.cos(distances * (math.pi / self.cutoff))) ** 2)
        charges = self.charges.to(graph.vectors)[graph.species] * (1.0 + 0.05 * crowd)[:, None]
        return (charges * self.long_range.potentials(graph, charges)).sum(dim=1)


@pytest.fixture(params=[True, False], ids=["Ewald", "P3M"])
def use_ewald(request: pytest.FixtureRequest) -> bool:
    if not request.param:
        request.getfixturevalue("torchpme")
    return bool(request.param)


def ions(species: str, fractions: Sequence[Sequence[float]], cell: object, pbc: Sequence[bool] = (True,) * 3):
    vectors = np.array(cell, dtype=float)
    names = tuple({"+": "Na", "-": "Cl"}[sign] for sign in species)
    return Configuration("ions", "g", names, np.array(fractions) @ vectors, vectors, tuple(pbc))


def triclinic(pbc: Sequence[bool] = (True,) * 3, seed: int = 0) -> Configuration:
    random = np.random.default_rng(seed)
    cell = 6.5 * (np.eye(3) + 0.15 * random.standard_normal((3, 3)))
    corners = np.array([(x, y, z) for x in (0, 0.5) for y in (0, 0.5) for z in (0, 0.5)])
    return ions("+-+--+-+", corners + 0.04 * random.standard_normal((8, 3)), cell, pbc)


FCC = 0.5 * (np.ones((3, 3)) - np.eye(3))
# Lattice constant 1; the distance of nearest ions, the square of the charge, and Madelung's constant of this distance.
LATTICES = {
    "NaCl": (FCC, (0.5, 0.5, 0.5), 0.5, 1.747564594633182),
    "CsCl": (np.eye(3), (0.5, 0.5, 0.5), math.sqrt(0.75), 1.762674773070992),
    "ZnS": (FCC, (0.25, 0.25, 0.25), math.sqrt(3.0) / 4.0, 1.638055053388789),
}


def lattice_energy(model: Ions, configuration: Configuration) -> float:
    """The energy of point charges +-1, whose potentials within the cutoff are added to what the model has."""
    graph = make_graph(model, configuration)
    charges = torch.where(graph.species == 0, 1.0, -1.0).double()[:, None]
    energy = (charges * model.long_range.potentials(graph, charges)).sum()
    distances = torch.linalg.vector_norm(graph.vectors, dim=1)
    kept = 0.5 - 0.5 * torch.cos(distances * (math.pi / model.cutoff))
    smeared = torch.erf(distances / (math.sqrt(2.0) * model.long_range.smearing))
    missing = (1.0 - kept * smeared) / distances
    return float(energy + 0.5 * (charges[graph.edge_i, 0] * charges[graph.edge_j, 0] * missing).sum())


@pytest.mark.parametrize("lattice", LATTICES)
def test_energy_of_a_lattice(lattice: str, use_ewald: bool) -> None:
    cell, place, distance, madelung = LATTICES[lattice]
    model = Ions(use_ewald=use_ewald, cutoff=9.0, smearing=1.4, kspace_resolution=1.33)
    place_in_cell = np.array(place) @ np.linalg.inv(cell)
    found = lattice_energy(model, ions("+-", [(0, 0, 0), place_in_cell], 5.0 * cell)) * 5.0 * distance
    assert found == pytest.approx(-madelung, abs=2e-8 if use_ewald else 5e-5)


@pytest.mark.usefixtures("torchpme")
@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True)])
def test_both_methods_agree(pbc: tuple[bool, ...]) -> None:
    ewald, mesh = (predict(model, make_graph(model, triclinic(pbc))) for model in (Ions(), Ions(use_ewald=False)))
    for name, tolerance in (("energy", 2e-4), ("forces", 1e-3), ("stress", 1e-5)):
        assert (ewald.values[name] - mesh.values[name]).abs().max() < tolerance


@pytest.mark.usefixtures("torchpme")
def test_ewald_sum_of_torch_pme() -> None:
    from torchpme import CoulombPotential, EwaldCalculator

    configuration = replace(triclinic(), species=("Na",) * 8)  # with a total charge
    model = Ions()
    graph = make_graph(model, configuration)
    charges = torch.linspace(-0.4, 1.0, 16, dtype=torch.float64).view(8, 2)
    potential = CoulombPotential(smearing=1.0, exclusion_radius=CUTOFF)
    # torch-pme keeps wavelengths above twice its parameter only.
    theirs = EwaldCalculator(potential, lr_wavelength=0.4, full_neighbor_list=True).double()
    pairs = torch.stack([graph.edge_i, graph.edge_j], dim=1)
    distances = torch.linalg.vector_norm(graph.vectors, dim=1)
    expected = theirs(charges, graph.cells[0], graph.positions, pairs, distances)
    assert (model.long_range.potentials(graph, charges) - expected).abs().max() < 1e-7


PERIODIC = {
    "crystal": (True,) * 3,
    "slab": (True, True, False),
    "slab along y": (True, False, True),
    "free": (False,) * 3,
}


@pytest.mark.parametrize("pbc", PERIODIC.values(), ids=PERIODIC)
def test_forces_and_stress_are_derivatives(pbc: tuple[bool, ...], use_ewald: bool) -> None:
    configuration, model = triclinic(pbc), Ions(use_ewald=use_ewald)
    found = predict(model, make_graph(model, configuration))
    direction = np.random.default_rng(1).standard_normal((8, 3))

    def moved(distance: float) -> float:
        return energy(model, replace(configuration, positions=configuration.positions + distance * direction))

    expected = -float((forces_of(found) * torch.from_numpy(direction)).sum())
    assert slope(moved, 1e-3) == pytest.approx(expected, abs=1e-8)
    if not all(pbc):
        return
    strain = np.random.default_rng(2).standard_normal((3, 3))
    strain = 0.5 * (strain + strain.T)

    def strained(size: float) -> float:
        return energy(model, deformed(configuration, np.eye(3) + size * strain))

    weights = torch.tensor(
        [strain[a, b] * (1 if a == b else 2) for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
    )
    expected = float(stress_of(found)[0] @ weights) * configuration.volume
    assert slope(strained, 1e-4) == pytest.approx(expected, abs=2e-6)


def energy(model: GraphModel, configuration: Configuration) -> float:
    return float(predict(model, make_graph(model, configuration)).energy)


def test_a_molecule_is_the_limit_of_a_large_cell() -> None:
    free = triclinic((False,) * 3)
    model = Ions()
    graph = make_graph(model, free)
    charges = torch.tensor([1.0, -1.0, 2.0, -0.5, -0.5, -1.5, 1.5, -1.0], dtype=torch.float64)[:, None]
    expected = model.long_range.potentials(graph, charges)
    # The energy of images of a dipole p in a cubic cell is -2 pi p² / (3 V).
    dipole = (charges * torch.from_numpy(free.positions)).sum(dim=0)
    for size, accuracy in ((20.0, 0.1), (40.0, 0.03)):
        boxed = replace(free, cell=size * np.eye(3), pbc=(True,) * 3)
        found = model.long_range.potentials(make_graph(model, boxed), charges)
        difference = float((charges * (found - expected)).sum())
        assert difference == pytest.approx(-2.0 * math.pi / 3.0 * float(dipole @ dipole) / size**3, rel=accuracy)


def test_a_slab_is_a_sum_over_its_images() -> None:
    square = [(0.0, 0.0), (0.5, 0.03), (0.53, 0.53), (0.03, 0.5)]  # without a dipole, so that the sum converges fast
    places = [(x, y, z) for z in (0.0, 0.3) for x, y in square]
    plane = ions("+-+-+-+-", places, np.diag([5.6, 5.2, 9.0]), PERIODIC["slab"])
    model = Ions()
    charges = torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0, 1.0, -1.0, 1.0], dtype=torch.float64)[:, None]
    found = model.long_range.potentials(make_graph(model, plane), charges)
    errors = []
    for count in (8, 16):
        numbers = np.arange(-count, count + 1.0)
        shifts = np.array([(a, b, 0.0) for a in numbers for b in numbers]) @ plane.cell
        images = torch.from_numpy((plane.positions + shifts[:, None]).reshape(-1, 3))
        distances = torch.cdist(torch.from_numpy(plane.positions), images)
        kernel = torch.erf(distances / math.sqrt(2.0)) / distances
        kernel *= torch.where(distances < CUTOFF, 0.5 - 0.5 * torch.cos(distances * (math.pi / CUTOFF)), 1.0)
        expected = 0.5 * torch.where(distances > 1e-6, kernel, 0.0) @ charges.repeat(len(shifts), 1)
        errors.append(float((found - expected).abs().max()))
    assert errors[1] < 1e-5
    assert errors[1] < 0.2 * errors[0]  # it converges to ours


def test_a_slab_does_not_depend_on_its_axis_orientation_and_vacuum(monkeypatch: pytest.MonkeyPatch) -> None:
    slab, model = triclinic(PERIODIC["slab"]), Ions()
    expected = predict(model, make_graph(model, slab))
    turn, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))
    other = replace(deformed(slab, turn), pbc=(False, True, True))
    other = replace(other, cell=other.cell[[2, 0, 1]] * [[7.0], [1.0], [1.0]], positions=other.positions + 21.3)
    found = predict(model, make_graph(model, other))
    assert (found.energy - expected.energy).abs().max() < 1e-9
    assert (forces_of(found) - forces_of(expected) @ torch.from_numpy(turn)).abs().max() < 1e-9
    monkeypatch.setattr("fitsnap_nn.models.periodic_box.SLAB_DECAY", 27.0)  # charges are not neutral
    assert energy(model, slab) == pytest.approx(float(expected.energy), abs=1e-6)


def test_mixed_batches_and_augmentation() -> None:
    model = Ions()
    each = [
        triclinic(),
        triclinic(PERIODIC["free"], 1),
        triclinic(PERIODIC["slab"], 2),
        molecule(("Cl",), np.zeros((1, 3))),
    ]
    together = make_graph(model, *each)
    found = predict(model, together)
    for number, one in enumerate(each):
        assert float(found.energy[number]) == pytest.approx(energy(model, one), abs=1e-10)
    rotations = random_rotations(len(each), 1, 0)
    rotated = predict(model, together.rotated(rotations))
    matrices = rotations.index_select(0, together.config)
    assert (rotated.energy - found.energy).abs().max() < 1e-9
    assert (forces_of(rotated) - torch.bmm(matrices, forces_of(found)[:, :, None])[:, :, 0]).abs().max() < 1e-9


def test_representation_of_the_cell_does_not_matter(use_ewald: bool) -> None:
    """Not even for a mesh, which would be another."""
    one = triclinic()
    steps = np.array([[1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [-1.0, 3.0, -1.0]])
    other = replace(one, cell=steps @ one.cell, positions=one.positions + 2.0 * one.cell[1])
    model = Ions(use_ewald=use_ewald)
    assert_same(predict(model, make_graph(model, other)), predict(model, make_graph(model, one)))


def test_wires_and_huge_sums_are_refused() -> None:
    model = Ions(kspace_resolution=0.03)
    with pytest.raises(DataError, match=r"ions: long_range = 1 needs three periodic directions, two .a slab. or"):
        make_graph(model, triclinic((True, False, False)))
    with pytest.raises(DataError, match=r"an Ewald sum of \d+ wave vectors and 8 atoms needs too much memory. Use P3M"):
        predict(model, make_graph(model, triclinic()))


def test_a_graph_without_positions_is_refused() -> None:
    model = Ions()
    graph = make_graph(model, triclinic())
    assert isinstance(graph, PlacedGraph)
    plain = Graph(
        **{name: value for name, value in vars(graph).items() if name not in ("positions", "cells", "periodic")}
    )
    with pytest.raises(TypeError, match="need a PlacedGraph"):
        predict(model, plain)
    with pytest.raises(NotImplementedError, match="is not padded"):
        graph.padded()


@pytest.mark.usefixtures("torchpme")
def test_derivatives_of_forces_and_stress_by_the_weights_on_a_mesh() -> None:
    """Second derivatives of torch-pme's own functions are not finite at the wave vector 0."""
    torch.manual_seed(1)
    model = Nanopet(["In", "P"], cutoff=3.6, d_pet=4, num_heads=1, long_range=True, use_ewald=False, **FINE)
    model.set_precision(torch.float64)
    GraphModelTests().test_derivatives_by_the_weights(model)


class TestNanopet(GraphModelTests):
    rotates = False
    inverts = False

    def make_model(self) -> GraphModel:
        return Nanopet(["In", "P"], cutoff=3.6, cutoff_width=1.2, d_pet=8, num_heads=2, long_range=True, **FINE)


@pytest.mark.usefixtures("spex")
class TestSoapBpnn(GraphModelTests):
    def make_model(self) -> GraphModel:
        from fitsnap_nn.models.soap_bpnn import SoapBpnn  # torch-spex is optional

        options = {"max_angular": 2, "max_radial": 2, "cutoff_radius": 4.0, "num_neurons_per_layer": 8}
        return SoapBpnn(["In", "P"], heads="mlp", **options, long_range=True, **FINE)


@pytest.mark.usefixtures("spex")
class TestSoapBpnnMixtures(GraphModelTests):
    def make_model(self) -> GraphModel:
        from fitsnap_nn.models.soap_bpnn import SoapBpnn  # torch-spex is optional

        options = {"max_angular": 2, "max_radial": 2, "cutoff_radius": 4.0, "num_hidden_layers": 1}
        return SoapBpnn(["Ta", "O", "C"], legacy=False, **options, long_range=True, **FINE)


def soap_model(**options: object) -> GraphModel:
    from fitsnap_nn.models.soap_bpnn import SoapBpnn  # torch-spex is optional

    torch.manual_seed(4)
    model = SoapBpnn(("In", "P"), max_angular=2, max_radial=2, num_neurons_per_layer=6, **options)
    model.set_precision(torch.float64)
    return model


@pytest.mark.usefixtures("spex")
@pytest.mark.parametrize("options", [{}, {"legacy": False, "heads": "mlp"}, {"num_hidden_layers": 1}])
def test_long_range_features_of_zero_leave_soap_bpnn_as_it_is(options: dict[str, object]) -> None:
    """All atoms are rows of their own then, and the last layers are applied to atoms."""
    plain, model = soap_model(**options), soap_model(**options, long_range=True)
    assert model.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    with torch.no_grad():
        model.long_range.projection[2].weight.zero_()
        model.long_range.projection[2].bias.zero_()
    configurations = [crystal(plain.elements), molecule(plain.elements, np.array([[0.0, 0, 0], [30.0, 0, 0]]))]
    assert_same(predict(model, make_graph(model, *configurations)), predict(plain, make_graph(plain, *configurations)))


@pytest.mark.usefixtures("spex")
def test_soap_bpnn_needs_a_hidden_layer() -> None:
    with pytest.raises(ValueError, match="num_hidden_layers above 0"):
        soap_model(num_hidden_layers=0, long_range=True)


def test_isolated_ions_interact_by_their_elements() -> None:
    """They have no features, but charges."""
    torch.manual_seed(1)
    model = Nanopet(["Na", "Cl"], cutoff=4.0, d_pet=8, num_heads=2, long_range=True)
    model.set_precision(torch.float64)

    def interaction(*species: str) -> float:
        near, far = (molecule(species, np.array([[0.0, 0, 0], [x, 0, 0]])) for x in (6.0, 1e6))
        return energy(model, near) - energy(model, far)

    found = [interaction(*pair) for pair in (("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl"))]
    assert min(map(abs, found)) > 1e-4
    assert min(abs(found[0] - found[1]), abs(found[1] - found[2])) > 1e-4


def test_files_of_models_without_long_range_are_those_of_before() -> None:
    assert "long_range" not in Nanopet(["Ta"], d_pet=8).description()
    assert Nanopet(["Ta"], d_pet=8).layout == ""
    model = Nanopet(["Ta"], d_pet=8, long_range=True)
    assert model.layout == "with an Ewald sum (kspace_resolution 1.33 Å, smearing 1.4 Å)"
    description = model.description()
    assert [description[key] for key in ("long_range", "use_ewald", "smearing")] == [True, True, 1.4]


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchpme", None)
    monkeypatch.delitem(sys.modules, "fitsnap_nn.models.p3m", raising=False)
    with pytest.raises(ImportError, match=r"needs torch-pme: pip install 'fitsnap_nn\[long-range\]'"):
        Ions(use_ewald=False)


def two_molecules(random: np.random.Generator) -> tuple[Configuration, float]:
    """Return two molecules of charge +1 or -1, farther apart than the cutoff, and their Coulomb energy in eV."""
    axis, *halves = (one / np.linalg.norm(one) for one in random.standard_normal((3, 3)))
    centres = np.zeros(3), random.uniform(6.5, 11.0) * axis
    positions = np.array([c + s * 1.2 * half for c, half in zip(centres, halves, strict=True) for s in (-1, 1)])
    kinds = random.integers(0, 2, 2)
    species = tuple(("Na", "Cl")[kind] for kind in kinds for _ in range(2))
    distances = np.linalg.norm(positions[:2, None] - positions[2:], axis=2)
    charges = 0.5 - kinds
    configuration = Configuration("two", "g", species, positions, np.zeros((3, 3)), (False,) * 3)
    return configuration, float(14.4 * charges[0] * charges[1] * (1.0 / distances).sum())


@pytest.mark.slow
def test_a_fit_of_what_is_beyond_the_cutoff() -> None:
    random = np.random.default_rng(0)
    configurations, energies = zip(*(two_molecules(random) for _ in range(120)), strict=True)
    labels, errors = torch.tensor(energies), []
    for long_range in (False, True):
        torch.manual_seed(0)
        options = {"d_pet": 16, "num_heads": 2, "num_attention_layers": 1, "num_gnn_layers": 1}
        model = Nanopet(["Na", "Cl"], cutoff=4.0, **options, long_range=long_range)
        training, test = (
            make_graph(model, *part, dtype=torch.float32) for part in (configurations[:100], configurations[100:])
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(250):
            optimizer.zero_grad()
            residuals = training.sum_by_configuration(model.atom_energies(training)) - labels[:100]
            residuals.square().mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        with torch.no_grad():
            residuals = test.sum_by_configuration(model.atom_energies(test)) - labels[100:]
        errors.append(float(residuals.square().mean().sqrt()))
    assert errors[0] > 0.5  # eV
    assert errors[1] < 0.1 * errors[0]
