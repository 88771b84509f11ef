"""Committees of models that were fitted one by one: different architectures, cutoffs, baselines and precisions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_models import SMALL_MACE

from fitsnap_nn.data.properties import STANDARD
from fitsnap_nn.inputs.ace.input import AceInput
from fitsnap_nn.inputs.graph.placed import PlacedGraph
from fitsnap_nn.models import GraphModel, build_model, predict
from fitsnap_nn.models.descriptor_network import DescriptorNetwork
from fitsnap_nn.models.evaluation import to_float64
from fitsnap_nn.models.mixed_committee import MixedCommittee
from fitsnap_nn.models.uncertainty import deviations
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.testing.graphs import crystal, make_graph
from fitsnap_nn.testing.models import GraphModelTests

ELEMENTS = ("Ta", "O")
KINDS: dict[str, dict[str, Any]] = {
    "CUSTOM": {"cutoff": 3.6, "layer_sizes": ("num_desc", "6", "1")},
    "NANOPET": {"cutoff": 4.4, "d_pet": 8, "num_heads": 2, "num_gnn_layers": 2, "zbl": True},
    "SOAP_BPNN": {"max_angular": 2, "max_radial": 2, "cutoff_radius": 3.9, "num_neurons_per_layer": 6},
    "MACE": SMALL_MACE,
}
LIBRARIES = {"SOAP_BPNN": "spex", "MACE": "mace"}


def ace() -> GraphModel:
    options = {"ranks": (1, 2), "nmax": (3, 2), "lmax": (0, 2), "nmaxbase": 3, "rcutfac": (4.2, 4.0, 3.8, 3.5)}
    return DescriptorNetwork(AceInput(Ace(num_types=2, type=ELEMENTS, **options)), [5])


def member(name: str, shift: float, **options: Any) -> GraphModel:
    """A model with random weights, element energies and scale."""
    torch.manual_seed(3)
    description = {"architecture": name, "elements": ELEMENTS, **KINDS.get(name, {}), **options}
    model = ace() if name == "ACE" else build_model(description)
    assert isinstance(model, GraphModel)
    model.set_precision(torch.float64)
    model.element_energies += torch.tensor([shift, 1.0 - shift])
    model.energy_scale *= 1.0 + shift
    return model


class TestMixedCommittee(GraphModelTests):
    def make_model(self) -> GraphModel:
        return MixedCommittee([member("CUSTOM", 0.3), member("CUSTOM", 0.1, cutoff=4.5), member("ACE", 0.5)])


@pytest.mark.usefixtures("mace")
class TestWithMessages(GraphModelTests):
    def make_model(self) -> GraphModel:
        return MixedCommittee([member("ACE", 0.5), member("MACE", 0.2)])


@pytest.mark.parametrize("other", [*KINDS, "ACE"])
def test_the_prediction_is_the_mean_of_the_members_on_their_own_graphs(
    other: str, request: pytest.FixtureRequest
) -> None:
    if other in LIBRARIES:
        request.getfixturevalue(LIBRARIES[other])
    members = [member("CUSTOM", 0.3), member(other, 0.6)]
    model = MixedCommittee(members)
    assert model.cutoff == max(one.cutoff for one in members)
    configuration = crystal(ELEMENTS, lattice=3.1)
    expected = [predict(one, make_graph(one, configuration), STANDARD) for one in members]
    graph = make_graph(model, configuration)
    again = MixedCommittee(model.description()["models"])
    again.set_precision(torch.float64)
    again.load_state_dict(model.state_dict())
    for one in (to_float64(model), again):
        found = predict(one, graph, STANDARD)
        for key, values in found.values.items():
            mean = torch.stack([prediction.values[key] for prediction in expected]).mean(dim=0)
            torch.testing.assert_close(values, mean, rtol=1e-11, atol=1e-11)
        for alone, prediction in zip(one.members(), expected, strict=True):
            torch.testing.assert_close(
                predict(alone, graph, STANDARD).energy, prediction.energy, rtol=1e-11, atol=1e-11
            )


def test_weights() -> None:
    """Means and deviations with weights in the ratio 1 to 3, as if the second member were there three times."""
    members = [member("CUSTOM", 0.3), member("ACE", 0.6)]
    model = MixedCommittee(members, (0.25, 0.75))
    repeated = MixedCommittee([members[0], *3 * [members[1]]])
    graph = make_graph(model, crystal(ELEMENTS, lattice=3.1))
    found, expected = (predict(one, graph, STANDARD) for one in (model, repeated))
    for key, values in found.values.items():
        torch.testing.assert_close(values, expected.values[key], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.prior_energies(graph), repeated.prior_energies(graph))
    torch.testing.assert_close(model.element_energies, repeated.element_energies)
    forces = [predict(one, graph, STANDARD).forces for one in members]
    assert forces[0] is not None
    assert forces[1] is not None
    # Two values x and y with weights u and v: u v (x - y)^2 / (2 u v).
    spread = deviations([predict(one, graph, STANDARD) for one in members], model.weights)
    torch.testing.assert_close(spread["forces"], (forces[0] - forces[1]).norm(dim=1) / 2**0.5)
    assert build_model(model.description()).description() == model.description()


@pytest.mark.parametrize("weights", [(1.0,), (0.5, 0.6), (1.0, 0.0), (-1.0, 2.0), (float("nan"), 0.5)])
def test_wrong_weights(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="2 members with weights"):
        MixedCommittee([member("CUSTOM", 0.3), member("CUSTOM", 0.1)], weights)


def test_what_it_needs_is_what_any_member_needs() -> None:
    model = MixedCommittee([member("CUSTOM", 0.3), member("NANOPET", 0.1)])
    assert (model.num_message_passing, model.needs_augmentation, model.has_long_range) == (1, True, False)
    assert model.receptive_field == 2
    assert (model.layout, model.takes_padding) == ("mean of 2 models", True)


def test_a_member_with_long_range_interactions() -> None:
    members = [member("CUSTOM", 0.3), member("NANOPET", 0.1, long_range=True, smearing=1.0)]
    model = MixedCommittee(members)
    configuration = crystal(ELEMENTS, lattice=3.1)
    graph = make_graph(model, configuration)
    assert isinstance(graph, PlacedGraph)
    expected = [predict(one, make_graph(one, configuration), STANDARD).values for one in members]
    found = predict(model, graph, STANDARD).values
    for key in ("energy", "forces", "stress"):
        mean = torch.stack([values[key] for values in expected]).mean(dim=0)
        torch.testing.assert_close(found[key], mean, rtol=1e-10, atol=1e-11)
    (local, _) = (predict(one, graph, STANDARD).values for one in model.members())
    torch.testing.assert_close(local["stress"], expected[0]["stress"], rtol=1e-10, atol=1e-12)
