"""Committees of models on neighbour graphs: the mean of members that are trained by themselves."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_models import SMALL_MACE

from fitsnap_nn.data.properties import STANDARD
from fitsnap_nn.inputs.graph.placed import PlacedGraph
from fitsnap_nn.models import GraphModel, build_model, predict
from fitsnap_nn.models.committee import GraphCommittee
from fitsnap_nn.models.evaluation import to_float64
from fitsnap_nn.testing.graphs import crystal, make_graph
from fitsnap_nn.testing.models import GraphModelTests

ELEMENTS = ("Ta", "O")
MODELS: dict[str, dict[str, Any]] = {
    "CUSTOM": {"cutoff": 4.0, "layer_sizes": ("num_desc", "6", "1"), "multi_element_option": 2},
    "NANOPET": {"cutoff": 4.0, "d_pet": 8, "num_heads": 2, "zbl": True},
    "SOAP_BPNN": {"max_angular": 2, "max_radial": 2, "cutoff_radius": 4.0, "num_neurons_per_layer": 6, "legacy": False},
    "MACE": SMALL_MACE,
}
LIBRARIES = {"SOAP_BPNN": "spex", "MACE": "mace"}


def committee(name: str, members: int = 3, **options: Any) -> GraphModel:
    torch.manual_seed(2)
    description = {"architecture": name, "elements": ELEMENTS, **MODELS[name], "committee": members, **options}
    model = build_model(description)
    assert isinstance(model, GraphModel)
    return model


class TestCommittee(GraphModelTests):
    def make_model(self) -> GraphModel:
        return committee("CUSTOM")


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    if request.param in LIBRARIES:
        request.getfixturevalue(LIBRARIES[request.param])
    return request.param


def test_the_prediction_is_the_mean_of_models_of_their_own(name: str) -> None:
    """With element energies and scale that were set before and after changes of the type, as fits and files do."""
    model = committee(name)
    model.element_energies.copy_(torch.tensor([-2.0, 3.0]))
    model.set_precision(torch.float64)
    model.energy_scale.fill_(1.7)
    double = to_float64(model)
    graph = make_graph(double, crystal(ELEMENTS, lattice=3.1))
    expected = []
    for member in model.networks:
        alone = build_model({"architecture": name, "elements": ELEMENTS, **MODELS[name]})
        alone.set_precision(torch.float64)
        alone.load_state_dict(member.state_dict())
        alone.element_energies.copy_(torch.tensor([-2.0, 3.0]))
        alone.energy_scale.fill_(1.7)
        expected.append(predict(alone, graph, STANDARD))
    assert len(expected) == len(double.members()) == 3
    for found in (predict(double, graph, STANDARD), predict(copy.deepcopy(double), graph, STANDARD)):
        for key, values in found.values.items():
            mean = torch.stack([one.values[key] for one in expected]).mean(dim=0)
            torch.testing.assert_close(values, mean, rtol=1e-11, atol=1e-11)
    for one, alone in zip(double.members(), expected, strict=True):
        torch.testing.assert_close(predict(one, graph, STANDARD).energy, alone.energy, rtol=1e-12, atol=1e-12)
    assert float(torch.stack([one.energy for one in expected]).std()) > 1e-3


def test_it_is_rebuilt_from_its_description(name: str) -> None:
    model = committee(name)
    model.set_precision(torch.float64)
    model.energy_scale.fill_(1.3)
    again = build_model(model.description())
    again.set_precision(torch.float64)
    again.load_state_dict(model.state_dict())
    graph = make_graph(model, crystal(ELEMENTS, lattice=3.1))
    assert torch.equal(model.atom_energies(graph), again.atom_energies(graph))
    assert model.description()["committee"] == 3
    assert model.layout.endswith("committee of 3")
    assert "committee" not in committee(name, members=1).description()


def test_what_the_members_need_is_known_of_the_committee(name: str) -> None:
    model, one = committee(name), committee(name, members=1)
    for attribute in ("cutoff", "num_message_passing", "has_long_range", "needs_augmentation", "takes_padding"):
        assert getattr(model, attribute) == getattr(one, attribute)
    assert not isinstance(one, GraphCommittee)
    with pytest.raises(NotImplementedError, match="last layer"):
        model.last_layer_parameters()


def test_every_member_is_fitted_to_the_data() -> None:
    model = committee("CUSTOM")
    configurations = [crystal(ELEMENTS, lattice=lattice) for lattice in (3.1, 3.3)]
    model.fit_to_data(make_graph(model, one) for one in configurations)
    shifts = [member.shift for member in model.networks]  # type: ignore[union-attr]
    assert float(shifts[0].abs().max()) > 0.0
    assert all(torch.equal(shifts[0], shift) for shift in shifts[1:])


def test_elements_are_added_to_every_member(name: str) -> None:
    """Energies of the elements that stay do not change; see `test_other_elements` for single models."""
    description = {"architecture": name, **MODELS[name], "committee": 2}
    torch.manual_seed(1)
    old, new = (build_model({**description, "elements": elements}) for elements in (("O",), ELEMENTS))
    for model in (old, new):
        model.set_precision(torch.float64)
    old.energy_scale.fill_(0.7)
    new.load_state_dict(new.state_for_elements(old.state_dict(), ("O",)))
    configuration = crystal(("O",), lattice=3.1)
    for one, other in zip([old, *old.members()], [new, *new.members()], strict=True):
        found = predict(other, make_graph(new, configuration), STANDARD)
        expected = predict(one, make_graph(old, configuration), STANDARD)
        torch.testing.assert_close(found.values["forces"], expected.values["forces"], rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("torchpme")
def test_long_range_interactions_of_members() -> None:
    model = committee("NANOPET", long_range=True, smearing=1.0)
    model.set_precision(torch.float64)
    graph = make_graph(model, crystal(ELEMENTS, lattice=3.1))
    assert isinstance(graph, PlacedGraph)
    found = [predict(one, graph, STANDARD).values["forces"] for one in (model, *model.members())]
    torch.testing.assert_close(found[0], torch.stack(found[1:]).mean(dim=0), rtol=1e-10, atol=1e-12)
