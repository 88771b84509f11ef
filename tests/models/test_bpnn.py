"""The network against finite differences of its own energies, through LAMMPS' descriptors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_models import randomize_baselines
from stand_in_input import StandInInput

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.inputs import join_batches
from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.inputs.snap.compute import SnapCompute
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.models import BPNN, build_model
from fitsnap_nn.models.bpnn import PlainNetwork
from fitsnap_nn.models.evaluation import evaluate, to_float64
from fitsnap_nn.settings.schema import Bispectrum, Reference

INP = Bispectrum(
    num_types=2, type=("In", "P"), twojmax=(4, 4), rcutfac=4.2, radelem=(0.5, 0.45), wj=(1.0, 0.8), bzeroflag=True
)
REFERENCE = Reference(pair_style="zbl 3.0 4.0", pair_coeff=("1 1 49 49", "1 2 49 15", "2 2 15 15"))
OPTIONS = (1, 2, 3)
MODULES = {
    "softplus": torch.nn.Softplus(), "tanh": torch.nn.Tanh(), "sigmoid": torch.nn.Sigmoid(), "silu": torch.nn.SiLU(),
    "gelu": torch.nn.GELU(), "relu": torch.nn.ReLU(), "linear": torch.nn.Identity(),
}  # fmt: skip


def crystal() -> Configuration:
    """A rattled, sheared zinc blende cell of eight atoms."""
    random = np.random.default_rng(5)
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    cell = 5.6 * np.eye(3) + np.array([[0, 0, 0], [0.4, 0, 0], [-0.3, 0.2, 0]])
    positions = np.concatenate([fcc, fcc + 0.25]) @ cell + random.normal(0, 0.1, (8, 3))
    return Configuration("zinc blende", "test", ("In",) * 4 + ("P",) * 4, positions, cell)


def network(option: int, activation: str = "softplus") -> BPNN:
    """Random weights and baselines, in float64."""
    torch.manual_seed(7)
    return randomize_baselines(BPNN(SnapInput(INP), (12, 9), activation, option))


@pytest.fixture(scope="module")
def calculator():
    with SnapCompute(INP, REFERENCE, gradients=True, strain=True) as calculator:
        yield calculator


@pytest.mark.parametrize("option", OPTIONS)
def test_forces_are_minus_the_gradient_of_the_energy(calculator: SnapCompute, option: int):
    model, start = network(option), crystal()
    forces = evaluate(model, start, calculator.compute(start)).forces
    step = 1e-4
    for atom, axis in [(0, 0), (3, 2), (5, 1), (7, 0)]:
        energies = []
        for sign in (1, -1):
            positions = start.positions.copy()
            positions[atom, axis] += sign * step
            moved = replace(start, positions=positions)
            energies.append(evaluate(model, moved, calculator.compute(moved)).energy)
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("option", OPTIONS)
def test_stress_is_the_gradient_by_strain(calculator: SnapCompute, option: int):
    model, start = network(option), crystal()
    stress = evaluate(model, start, calculator.compute(start)).stress
    step = 1e-5
    for component, (row, column) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[row, column] += 0.5 * sign * step
            strain[column, row] += 0.5 * sign * step
            strained = replace(start, positions=start.positions @ strain, cell=start.cell @ strain)
            energies.append(evaluate(model, strained, calculator.compute(strained)).energy)
        slope = (energies[0] - energies[1]) / (2 * step) / start.volume
        assert stress[component] == pytest.approx(slope, rel=1e-5, abs=1e-8)


def plain_energy(network: PlainNetwork, descriptors: torch.Tensor) -> torch.Tensor:
    values = (descriptors - network.shift) / network.scale
    for weight, bias in network.layers[:-1]:
        values = MODULES[network.activation](values @ weight.T + bias)
    weight, bias = network.layers[-1]
    return (values @ weight.T + bias).squeeze(-1)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("activation", MODULES)
def test_folded_networks_give_the_same_energies(option: int, activation: str):
    model = network(option, activation)
    descriptors = torch.randn(20, 14, dtype=torch.float64)
    species = torch.randint(0, 2, (20,))
    nothing = torch.zeros(0)
    batch = DescriptorBatch(species, nothing, nothing, nothing, descriptors, nothing, nothing, nothing, nothing)
    folded = torch.stack([plain_energy(one, descriptors) for one in model.plain_networks()])
    torch.testing.assert_close(folded[species, torch.arange(20)], model.atom_energies(batch), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_model_is_rebuilt_from_its_description(option: int):
    model = network(option)
    again = build_model(model.description())
    again.load_state_dict(model.state_dict(), assign=True)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)
    assert again.description() == model.description()


def test_the_network_starts_with_standardised_inputs():
    """A network that is told mean and deviation says of B what one that is told nothing says of standardised B."""
    random = np.random.default_rng(0)
    descriptors = torch.from_numpy(random.normal([[5.0, -40.0, 0.3]], [[2.0, 11.0, 0.01]], (400, 3)))
    mean, deviation = descriptors.mean(0, keepdim=True), descriptors.std(0, keepdim=True)
    outputs = []
    for told in (True, False):
        torch.manual_seed(2)
        model = BPNN(StandInInput(("Ta",), 3), (4,))
        if told:
            model.standardize(mean, deviation, deviation[0])
        model.set_precision(torch.float64)
        nothing = torch.zeros(0)
        values = descriptors if told else (descriptors - mean) / deviation
        batch = DescriptorBatch(torch.zeros(400, dtype=torch.int64), nothing, nothing, nothing, values, *[nothing] * 4)
        outputs.append(model.atom_energies(batch))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)


def test_energy_does_not_depend_on_the_order_of_atoms(calculator: SnapCompute):
    model, start = network(2), crystal()
    order = np.random.default_rng(1).permutation(8)
    shuffled = replace(start, species=tuple(start.species[i] for i in order), positions=start.positions[order])
    one, other = (evaluate(model, c, calculator.compute(c)) for c in (start, shuffled))
    assert other.energy == pytest.approx(one.energy, abs=1e-10)
    np.testing.assert_allclose(other.forces, one.forces[order], atol=1e-10)
    np.testing.assert_allclose(other.stress, one.stress, atol=1e-9)


def test_rotation_turns_forces_and_stress(calculator: SnapCompute):
    model, start = network(3), crystal()
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    turned = replace(start, positions=start.positions @ rotation.T, cell=start.cell @ rotation.T)
    one, other = (evaluate(model, c, calculator.compute(c)) for c in (start, turned))
    assert other.energy == pytest.approx(one.energy, abs=1e-9)
    np.testing.assert_allclose(other.forces, one.forces @ rotation.T, atol=1e-8)


def test_a_lone_atom_has_energy_and_no_force():
    vacuum = Configuration("lone", "test", ("P",), np.zeros((1, 3)), 30.0 * np.eye(3), pbc=(False,) * 3)
    with SnapCompute(INP, REFERENCE, gradients=True, strain=True) as calculator:
        found = evaluate(network(2), vacuum, calculator.compute(vacuum))
    assert np.isfinite(found.energy)
    np.testing.assert_allclose(found.forces, np.zeros((1, 3)), atol=1e-12)
    assert found.stress is None


def test_float32_agrees_with_float64(calculator: SnapCompute):
    model, start = network(1), crystal()
    record = calculator.compute(start)
    single = network(1)
    single.set_precision(torch.float32)
    energies = single.atom_energies(join_batches([single.input.to_batch(start, record)], torch.float32))
    assert energies.dtype == torch.float64
    assert float(energies.detach().sum()) + record.reference_energy == pytest.approx(
        evaluate(to_float64(model), start, record).energy, abs=1e-4
    )
