"""Properties that every graph model must have, as tests that the test class of an architecture inherits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitsnap_nn import models
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import ENERGY
from fitsnap_nn.data.voigt import from_voigt, voigt
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.graph.placed import PlacedGraph
from fitsnap_nn.lammps.verify import TOLERANCES
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.pairs import sum_by
from fitsnap_nn.models.prediction import Prediction, predict
from fitsnap_nn.testing.graphs import crystal, ghost_graph, make_graph, molecule, shuffled
from fitsnap_nn.testing.padded import assert_padding_changes_nothing

Floats = NDArray[np.float64]

# Fourth-order central difference: places, and weights.
STENCIL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))


class GraphModelTests:
    """Tests of a `GraphModel`; a subclass named ``Test...`` constructs the model.

    Attributes:
        rotates: whether forces rotate with the atoms; False for an architecture that learns this from the data.
        inverts: whether forces change sign under inversion.
        single: allowed difference between float32 and float64, relative to the largest energy and force.
    """

    rotates = True
    inverts = True
    single = 1e-4

    def make_model(self) -> GraphModel:
        """Return a small model of one to three elements with random weights in all layers; cutoff 3 to 6 Å."""
        raise NotImplementedError

    @pytest.fixture
    def model(self) -> GraphModel:
        """The model in float64, with element energies and a scale."""
        torch.manual_seed(7)
        model = self.make_model()
        model.set_precision(torch.float64)
        model.element_energies += torch.linspace(-3.0, 2.0, len(model.elements), dtype=torch.float64)
        model.energy_scale *= 1.7
        return model.eval()

    def test_forces_are_minus_the_derivatives_of_the_energy(self, model: GraphModel) -> None:
        configuration = crystal(model.elements)
        forces = forces_of(of_one(model, configuration))
        assert forces.abs().max() > 1e-4, "forces too small to test anything"
        for direction in np.random.default_rng(1).standard_normal((3, *forces.shape)):

            def along(distance: float, direction: Floats = direction) -> float:
                return energy_of(
                    model, replace(configuration, positions=configuration.positions + distance * direction)
                )

            expected = -float((forces * torch.from_numpy(direction)).sum())
            assert abs(slope(along, 1e-3) - expected) < 1e-6 * float(forces.abs().sum())

    def test_stress_is_the_derivative_of_the_energy_by_strain(self, model: GraphModel) -> None:
        configuration = crystal(model.elements)
        stress = stress_of(of_one(model, configuration))[0].numpy()
        found = []
        for direction in np.eye(6) * [1.0, 1.0, 1.0, 0.5, 0.5, 0.5]:

            def along(strain: float, direction: Floats = direction) -> float:
                return energy_of(model, deformed(configuration, np.eye(3) + strain * from_voigt(direction)))

            found.append(slope(along, 3e-4) / configuration.volume)
        assert np.abs(found - stress).max() < 1e-6 * np.abs(stress).max()

    def test_rotation(self, model: GraphModel) -> None:
        if not self.rotates:
            pytest.skip("the architecture learns rotations from the data")
        turn, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))
        assert_equivariant(model, turn * np.linalg.det(turn))

    def test_inversion(self, model: GraphModel) -> None:
        if not self.inverts:
            pytest.skip("the architecture learns inversion from the data")
        assert_equivariant(model, -np.eye(3))

    def test_permutation_of_atoms(self, model: GraphModel) -> None:
        configuration = crystal(model.elements)
        order = np.random.default_rng(3).permutation(len(configuration))
        species = tuple(configuration.species[number] for number in order)
        permuted = replace(configuration, species=species, positions=configuration.positions[order])
        expected = of_one(model, configuration)
        forces = forces_of(expected)[order]
        expected = Prediction(expected.atom_energies[order], {**expected.values, "forces": forces})
        assert_same(of_one(model, permuted), expected)

    def test_order_of_edges(self, model: GraphModel) -> None:
        graph = make_graph(model, crystal(model.elements))
        assert_same(predict(model, shuffled(graph)), predict(model, graph))

    def test_translation_and_atoms_outside_the_cell(self, model: GraphModel) -> None:
        configuration = crystal(model.elements)
        shifts = np.random.default_rng(4).integers(-2, 3, (len(configuration), 3)) @ configuration.cell
        moved = replace(configuration, positions=configuration.positions + shifts + [0.3, -5.1, 11.7])
        assert_same(of_one(model, moved), of_one(model, configuration))

    def test_a_doubled_cell(self, model: GraphModel) -> None:
        configuration = crystal(model.elements)
        positions = np.concatenate([configuration.positions, configuration.positions + configuration.cell[1]])
        cell = configuration.cell * np.array([[1.0], [2.0], [1.0]])
        doubled = replace(configuration, species=configuration.species * 2, positions=positions, cell=cell)
        once = of_one(model, configuration)
        atom_energies, forces = once.atom_energies.repeat(2), forces_of(once).repeat(2, 1)
        values = {"energy": 2.0 * once.energy, "forces": forces, "stress": stress_of(once)}
        assert_same(of_one(model, doubled), Prediction(atom_energies, values))

    @pytest.mark.parametrize("others", [(), ((0.4, 0.35, 0.0), (0.7, -0.2, 0.3))], ids=["two atoms", "four atoms"])
    def test_energy_and_forces_are_continuous_at_the_cutoff(
        self, model: GraphModel, others: tuple[tuple[float, ...], ...]
    ) -> None:
        """One neighbour crosses the cutoff while others stay inside; positions in units of the cutoff."""

        def at(distance: float) -> Prediction:
            places = np.array([(0.0, 0.0, 0.0), (distance, 0.0, 0.0), *others])
            return of_one(model, molecule(model.elements, places * model.cutoff))

        def jump(gap: float, quantity: Callable[[Prediction], Tensor]) -> float:
            return float((quantity(at(1.0 + gap)) - quantity(at(1.0 - gap))).abs().max())

        assert forces_of(at(0.8)).abs().max() > 1e-6
        for quantity in (energies_of, forces_of):
            assert jump(1e-6, quantity) < 0.05 * jump(1e-3, quantity) + 1e-9

    def test_vectors_beyond_the_cutoff_change_nothing(self, model: GraphModel) -> None:
        """Committees of models with different cutoffs share one graph."""
        configuration = crystal(model.elements)
        graph = make_graph(model, configuration, cutoff=1.6 * model.cutoff)
        assert graph.n_edges > 2 * make_graph(model, configuration).n_edges
        assert_same(predict(model, graph), of_one(model, configuration))

    def test_an_isolated_atom(self, model: GraphModel) -> None:
        skip_long_range(model, "distant atoms interact")
        pair = np.array([[0.0, 0.0, 0.0], [2.0, 0.5, 0.0]])
        three = molecule(model.elements, np.concatenate([pair, [[30.0 * model.cutoff, 0.0, 0.0]]]))
        alone = replace(three, species=three.species[2:], positions=three.positions[2:])
        two, one, both = of_one(model, molecule(model.elements, pair)), of_one(model, alone), of_one(model, three)
        assert_close(both.atom_energies, torch.cat([two.atom_energies, one.atom_energies]))
        assert_close(forces_of(both)[:2], forces_of(two))
        assert one.energy.isfinite().all()
        assert not forces_of(one).any()
        assert not forces_of(both)[2].any()

    def test_no_atoms(self, model: GraphModel) -> None:
        alone = make_graph(model, molecule(model.elements, np.zeros((1, 3))))
        none = torch.zeros(0, dtype=torch.int64)
        graph = replace(alone, species=none, config=none, n_atoms=torch.zeros(1, dtype=torch.int64))
        if isinstance(graph, PlacedGraph):
            graph = replace(graph, positions=graph.positions[:0])
        found = predict(model, graph)
        assert found.energy.tolist() == [0.0]
        assert (found.atom_energies.shape, forces_of(found).shape) == ((0,), (0, 3))

    def test_configurations_of_a_batch_do_not_see_each_other(self, model: GraphModel) -> None:
        isolated = molecule(model.elements, np.zeros((1, 3)))
        each = [crystal(model.elements), isolated, crystal(model.elements, 1, count=2), crystal(model.elements, 2)]
        alone = [of_one(model, configuration) for configuration in each]
        atom_energies = torch.cat([one.atom_energies for one in alone])
        values = {name: torch.cat([one.values[name] for one in alone]) for name in alone[0].values}
        expected = Prediction(atom_energies, values)
        assert_same(predict(model, make_graph(model, *each)), expected)

    def test_padding(self, model: GraphModel) -> None:
        if not model.takes_padding:
            pytest.skip("the model takes no padded graphs")
        lone, pair = np.zeros((1, 3)), np.array([[0.0, 0.0, 0.0], [2.0, 0.5, 0.0]])
        others = [molecule(model.elements, lone), crystal(model.elements, 1, count=2), molecule(model.elements, pair)]
        assert_padding_changes_nothing(model, make_graph(model, crystal(model.elements), *others))

    def test_float32_is_close_to_float64(self, model: GraphModel) -> None:
        configuration = crystal(model.elements)
        double = of_one(model, configuration)
        model.set_precision(torch.float32)
        graph = make_graph(model, configuration, dtype=torch.float32)
        found = predict(model, graph)
        assert model(graph).dtype == forces_of(found).dtype == torch.float32
        assert found.energy.dtype == found.atom_energies.dtype == torch.float64
        for values, expected in ((found.atom_energies, double.atom_energies), (forces_of(found), forces_of(double))):
            assert (values - expected).abs().max() < self.single * expected.abs().max()

    def test_float32_energy_errors_are_within_the_tolerance_of_the_verification(self, model: GraphModel) -> None:
        """Also in a compressed cell, whose energy is a small difference of large terms."""
        for lattice in (3.2, 2.0):
            configuration = crystal(model.elements, lattice=lattice)
            model.set_precision(torch.float64)
            terms = model.energy_terms(make_graph(model, configuration))
            expected = of_one(model, configuration).energy
            model.set_precision(torch.float32)
            model_error = predict(model, make_graph(model, configuration, dtype=torch.float32)).energy - expected
            assert model_error.abs().max() < TOLERANCES["float32"].terms * terms

    def test_element_energies_cost_no_digits_in_float32(self, model: GraphModel) -> None:
        model.set_precision(torch.float32)
        graph = make_graph(model, crystal(model.elements), dtype=torch.float32)
        before = predict(model, graph).energy
        model.element_energies -= 9000.0
        assert (predict(model, graph).energy + 9000.0 * graph.n_atoms - before).abs().max() < 1e-9

    def test_the_description_makes_the_same_model(self, model: GraphModel, monkeypatch: pytest.MonkeyPatch) -> None:
        description = model.description()
        assert json.loads(json.dumps(description)) == description
        place = f"{type(model).__module__}:{type(model).__qualname__}"
        monkeypatch.setattr(models, "ARCHITECTURES", {description["architecture"]: place, **models.ARCHITECTURES})
        again = models.build_model(description)
        assert isinstance(again, type(model))
        again.set_precision(torch.float64)
        again.load_state_dict(model.state_dict())
        assert (again.cutoff, again.num_message_passing) == (model.cutoff, model.num_message_passing)
        configuration = crystal(model.elements)
        assert torch.equal(of_one(again.eval(), configuration).energy, of_one(model, configuration).energy)

    def test_derivatives_by_the_weights(self, model: GraphModel) -> None:
        """Derivatives of energies, forces and stresses along a random direction in weight space."""
        graph = make_graph(model, crystal(model.elements))
        weights = {name: p for name, p in model.named_parameters() if p.requires_grad and p.numel()}
        start = {name: p.detach().clone() for name, p in weights.items()}
        directions = {name: torch.randn_like(p) * p.abs().mean() for name, p in start.items()}

        def objective(create_graph: bool) -> Tensor:
            found = predict(model, graph, create_graph=create_graph)
            values = torch.cat([part.flatten() for part in (found.energy, forces_of(found), stress_of(found))])
            return values @ torch.sin(torch.arange(1.0, len(values) + 1.0, dtype=values.dtype))

        @torch.no_grad()
        def along(distance: float) -> float:
            for name, p in weights.items():
                p.copy_(start[name] + distance * directions[name])
            return float(objective(create_graph=False))

        slopes = torch.autograd.grad(objective(create_graph=True), list(weights.values()), allow_unused=True)
        found = dict(zip(weights, slopes, strict=True))
        assert [name for name, gradient in found.items() if gradient is None] == []
        terms = torch.stack([(gradient * directions[name]).sum() for name, gradient in found.items()])
        assert abs(slope(along, 1e-3) - float(terms.sum())) < 1e-6 * float(terms.abs().sum())

    def test_images_as_ghosts(self, model: GraphModel) -> None:
        """With ghosts in place of periodic images, energies of owned atoms and summed forces are the same."""
        skip_long_range(model, "a rank does not know all positions")
        configuration = crystal(model.elements)
        count = len(configuration)
        ghosts = ghost_graph(model, configuration)
        assert len(ghosts.species) > 2 * count
        expected = of_one(model, configuration)
        energies, edge_gradients = own_energies(model, ghosts, count)
        forces = sum_by(ghosts.edge_i, edge_gradients, count) - sum_by(
            ghosts.owner[ghosts.edge_j], edge_gradients, count
        )
        assert_close(energies, expected.atom_energies)
        assert_close(forces, forces_of(expected))

    def test_how_far_atoms_matter(self, model: GraphModel) -> None:
        """Along a chain of nearest neighbours, ``receptive_field`` atoms influence the energy, and no more."""
        skip_long_range(model, "all atoms matter")
        numbers = np.arange(model.receptive_field + 3.0)
        places = np.column_stack([0.6 * model.cutoff * numbers, 0.1 * numbers**2, 0.0 * numbers])
        graph = make_graph(model, molecule(model.elements, places))
        _, edge_gradients = own_energies(model, graph, 1)
        farthest = torch.maximum(graph.edge_i, graph.edge_j)[edge_gradients.any(dim=1)].max()
        assert int(farthest) == model.receptive_field


def skip_long_range(model: GraphModel, reason: str) -> None:
    """Skip a test that does not apply to models with long-range interactions."""
    if model.has_long_range:
        pytest.skip(f"long-range interactions: {reason}")


def of_one(model: GraphModel, configuration: Configuration) -> Prediction:
    return predict(model, make_graph(model, configuration))


def energy_of(model: GraphModel, configuration: Configuration) -> float:
    return float(predict(model, make_graph(model, configuration), [ENERGY]).energy)


def energies_of(found: Prediction) -> Tensor:
    return found.atom_energies


def forces_of(found: Prediction) -> Tensor:
    assert found.forces is not None
    return found.forces


def stress_of(found: Prediction) -> Tensor:
    assert found.stress is not None
    return found.stress


def own_energies(model: GraphModel, graph: Graph, count: int) -> tuple[Tensor, Tensor]:
    """Return energies of the owned atoms, and the gradients (E, 3) of their sum with respect to the edges."""
    graph = replace(graph, vectors=graph.vectors.detach().requires_grad_(True))
    energies = model.atom_energies(graph)[:count]
    (edge_gradients,) = torch.autograd.grad(energies.sum(), graph.vectors)
    return energies.detach(), edge_gradients


def slope(function: Callable[[float], float], step: float) -> float:
    """Return the derivative at 0."""
    return sum(weight * function(place * step) for place, weight in STENCIL) / step


def deformed(configuration: Configuration, matrix: Floats) -> Configuration:
    """Return the configuration with positions and cell, as rows, multiplied by a matrix."""
    return replace(configuration, positions=configuration.positions @ matrix, cell=configuration.cell @ matrix)


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Assert equality up to float64 rounding, relative to the largest value."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-10 * max(1.0, float(expected.abs().max()))


def assert_same(found: Prediction, expected: Prediction) -> None:
    assert_close(found.atom_energies, expected.atom_energies)
    assert found.values.keys() == expected.values.keys()
    for name, value in found.values.items():
        assert_close(value, expected.values[name])


def assert_equivariant(model: GraphModel, turn: Floats) -> None:
    """Assert that energies are invariant, and that forces and stress rotate with the atoms."""
    configuration = crystal(model.elements)
    before, found = of_one(model, configuration), of_one(model, deformed(configuration, turn))
    forces = forces_of(before) @ torch.from_numpy(turn)
    stress = torch.from_numpy(voigt(turn.T @ from_voigt(stress_of(before)) @ turn))
    values = {"energy": before.energy, "forces": forces, "stress": stress}
    assert_same(found, Prediction(before.atom_energies, values))
