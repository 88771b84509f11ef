"""A committee is the mean of its members, in every form in which it is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from small_models import randomize_baselines
from stand_in_input import StandInInput
from test_bpnn import INP, REFERENCE, crystal, plain_energy

from fitsnap_nn.data.properties import ENERGY, STANDARD
from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.inputs.snap.compute import SnapCompute
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.models import BPNN, build_model
from fitsnap_nn.models.evaluation import evaluate
from fitsnap_nn.models.prediction import predict_for_training

OPTIONS, MEMBERS = (1, 2, 3), 3


def committee(option: int = 1, hidden: Sequence[int] = (6, 5), members: int = MEMBERS, **options: Any) -> BPNN:
    torch.manual_seed(7)
    model_input = options.pop("model_input", SnapInput(INP))
    return randomize_baselines(BPNN(model_input, hidden, "tanh", option, committee=members, **options))


def separate(model: BPNN) -> list[BPNN]:
    """Models of their own with the weights of the members, without help of the committee."""
    per_member = len(model.networks) // model.committee
    found = []
    for number in range(model.committee):
        one = build_model({**model.description(), "committee": 1})
        one.set_precision(torch.float64)
        state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("networks")}
        for name in (name for name in one.state_dict() if name.startswith("networks")):
            _, place, rest = name.split(".", 2)
            state[name] = model.state_dict()[f"networks.{number * per_member + int(place)}.{rest}"]
        one.load_state_dict(state)
        found.append(one)
    return found


@pytest.fixture(scope="module")
def record():
    with SnapCompute(INP, REFERENCE, gradients=True, strain=True) as compute:
        yield compute.compute(crystal())


@pytest.mark.parametrize("hidden", [(6, 5), ()])
@pytest.mark.parametrize("option", OPTIONS)
def test_the_model_is_the_mean_of_its_members(record: Any, option: int, hidden: Sequence[int]):
    model, start = committee(option, hidden), crystal()
    found = evaluate(model, start, record)
    for members in (separate(model), model.members()):
        each = [evaluate(one, start, record) for one in members]
        for one in STANDARD:
            mean = np.mean([other.values[one.name] for other in each], axis=0)
            np.testing.assert_allclose(found.values[one.name], mean, rtol=1e-12, atol=1e-12)
        forces = np.stack([other.forces for other in each])
        deviations = np.sqrt(((forces - forces.mean(0)) ** 2).sum(axis=(0, 2)) / (MEMBERS - 1))
        np.testing.assert_allclose(found.spread["forces"], deviations, rtol=1e-9)
        energies = [other.energy for other in each]
        assert float(found.spread["energy"]) == pytest.approx(np.std(energies, ddof=1), rel=1e-9)
    assert float(found.spread["energy"]) > 1e-3  # the members differ


def test_only_committees_have_a_spread(record: Any):
    model = committee()
    assert set(evaluate(model, crystal(), record, [ENERGY]).spread) == {"energies", "energy"}
    assert not evaluate(model.members()[0], crystal(), record).spread


@pytest.mark.parametrize("hidden", [(6, 5), (4,), ()])
@pytest.mark.parametrize("option", OPTIONS)
def test_one_network_for_lammps(option: int, hidden: Sequence[int]):
    model = committee(option, hidden)
    descriptors = torch.randn(20, 14, dtype=torch.float64)
    species, nothing = torch.randint(0, 2, (20,)), torch.zeros(0)
    batch = DescriptorBatch(species, nothing, nothing, nothing, descriptors, *[nothing] * 4)
    folded = torch.stack([plain_energy(one, descriptors) for one in model.plain_networks()])
    own = folded[species, torch.arange(20)]
    torch.testing.assert_close(own, model.atom_energies(batch), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(own, torch.stack([one.atom_energies(batch) for one in separate(model)]).mean(0))
    assert [len(bias) for _, bias in model.plain_networks()[0].layers] == [*(MEMBERS * size for size in hidden), 1]


@pytest.mark.parametrize("option", OPTIONS)
def test_the_gradient_of_the_mean(record: Any, option: int):
    """By the weights, analytically as in training and by automatic differentiation through `atom_energies`."""
    model = committee(option)
    weights = list(model.parameters())
    batch = model.input.to_batch(crystal(), record)
    slope = torch.ones(1, dtype=torch.float64)
    for parameter in weights:
        parameter.grad = torch.zeros_like(parameter)
    _, backward = predict_for_training(model, batch, [ENERGY], weights)
    backward({"energy": slope})
    expected = torch.autograd.grad(model.atom_energies(batch).sum(), weights)
    for parameter, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_committee_is_rebuilt_from_its_description(record: Any, option: int):
    model = committee(option)
    again = build_model(model.description())
    again.set_precision(torch.float64)
    again.load_state_dict(model.state_dict())
    assert evaluate(again, crystal(), record).energy == evaluate(model, crystal(), record).energy
    assert "committee" not in committee(option, members=1).description()  # as in files of before


@pytest.mark.parametrize("option", [1, 2, 3])
def test_other_elements(option: int):
    """With fewer elements, or in another order, every member is the same for those that are left."""
    two = committee(option, model_input=StandInInput(("In", "P"), 14))
    for elements in (("P",), ("P", "In"), ("Ga", "P")):
        other = committee(option, model_input=StandInInput(elements, 14))
        if "Ga" in elements and option != 2:
            with pytest.raises(ValueError, match="with multi_element_option = 2 new elements get networks"):
                other.state_for_elements(two.state_dict(), two.elements)
            continue
        other.load_state_dict(other.state_for_elements(two.state_dict(), two.elements))
        descriptors, nothing = torch.randn(5, 14, dtype=torch.float64), torch.zeros(0)
        found = []
        for model in (two, other):
            species = torch.full((5,), model.elements.index("P"))
            batch = DescriptorBatch(species, nothing, nothing, nothing, descriptors, *[nothing] * 4)
            found.append(model.energies_of_members(batch))
        torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    two.members()
    assert torch.equal(torch.get_rng_state(), state)
