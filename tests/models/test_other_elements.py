"""Weights of a model for other elements: those that it was fitted to keep their energies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from small_models import SMALL_MACE
from toy_model import AtomMessages

from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.models import BPNN, GraphModel, build_model
from fitsnap_nn.models.elements import PerElement, rearranged
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.settings.schema import Bispectrum
from fitsnap_nn.testing.graphs import crystal
from fitsnap_nn.testing.models import assert_same, of_one

AGNOSTIC = "RealAgnosticInteractionBlock"
DENSITY = "RealAgnosticDensityResidualInteractionBlock"
NONLINEAR = "RealAgnosticResidualNonLinearInteractionBlock"
SOAP = {"max_angular": 2, "max_radial": 2, "num_neurons_per_layer": 4, "cutoff_radius": 4.0, "zbl": True}
PAIRS = {"cutoff": 4.0, "layer_sizes": ["num_desc", "4", "1"]}
GRAPH_MODELS: dict[str, dict[str, Any]] = {
    "NANOPET": {"architecture": "NANOPET", "cutoff": 4.0, "d_pet": 4, "num_heads": 2, "zbl": True},
    "SOAP_BPNN, shared": {"architecture": "SOAP_BPNN", "legacy": False, **SOAP},
    "SOAP_BPNN, without normalisation": {"architecture": "SOAP_BPNN", "layernorm": False, **SOAP},
    "CUSTOM, a network per element": {"architecture": "CUSTOM", "multi_element_option": 2, **PAIRS},
    "CUSTOM, elements as inputs": {"architecture": "CUSTOM", "multi_element_option": 3, **PAIRS},
    "MACE": {"architecture": "MACE", **SMALL_MACE, "pair_repulsion": True},
    "MACE, nonlinear": {"architecture": "MACE", **SMALL_MACE, "interaction": NONLINEAR, "interaction_first": NONLINEAR},
    "MACE, density": {"architecture": "MACE", **SMALL_MACE, "interaction": DENSITY, "interaction_first": AGNOSTIC},
    "MACE, agnostic": {
        "architecture": "MACE",
        **SMALL_MACE,
        "use_agnostic_product": True,
        "distance_transform": "Agnesi",
    },
}
LIBRARIES = {"MACE": "mace", "SOAP_BPNN": "spex"}


def graph_model(hypers: dict[str, Any], elements: Sequence[str], seed: int = 0) -> GraphModel:
    torch.manual_seed(seed)
    model = build_model({**hypers, "elements": list(elements)})
    assert isinstance(model, GraphModel)
    model.set_precision(torch.float64)
    model.element_energies.copy_(torch.randn(len(elements)))
    model.energy_scale.fill_(1.7)
    return model


@pytest.fixture(params=GRAPH_MODELS)
def hypers(request: pytest.FixtureRequest) -> dict[str, Any]:
    found = GRAPH_MODELS[request.param]
    if library := LIBRARIES.get(found["architecture"]):
        request.getfixturevalue(library)
    return found


@pytest.mark.parametrize("elements", [("In", "Ta", "P"), ("P",), ("In", "P")], ids=" ".join)
def test_known_elements_keep_their_energies(hypers: dict[str, Any], elements: tuple[str, ...]) -> None:
    old, new = graph_model(hypers, ["P", "In"]), graph_model(hypers, elements, seed=1)
    configuration = crystal([element for element in elements if element != "Ta"])
    before = of_one(new, configuration)
    new.load_state_dict(new.state_for_elements(old.state_dict(), old.elements))
    assert not torch.allclose(of_one(new, configuration).energy, before.energy)
    assert_same(of_one(new, configuration), of_one(old, configuration))


def test_new_elements_keep_what_they_have(hypers: dict[str, Any]) -> None:
    old, new = graph_model(hypers, ["P", "In"]), graph_model(hypers, ["Ta", "In"], seed=1)
    state = new.state_for_elements(old.state_dict(), old.elements)
    assert float(state["element_energies"][0]) == float(new.element_energies[0])
    assert float(state["element_energies"][1]) == float(old.element_energies[1])


@pytest.mark.usefixtures("spex")
def test_normalised_features_of_all_elements_allow_another_order_only() -> None:
    hypers = {"architecture": "SOAP_BPNN", **SOAP}
    old, new = graph_model(hypers, ["P", "In", "Ta"]), graph_model(hypers, ["Ta", "P", "In"], seed=1)
    with torch.no_grad():
        for model in (old, new):
            model.norm_weight.copy_(torch.rand_like(model.norm_weight))
    new.load_state_dict(new.state_for_elements(old.state_dict(), old.elements))
    assert_same(of_one(new, crystal(old.elements)), of_one(old, crystal(old.elements)))
    with pytest.raises(ValueError, match="legacy = 1 the layer normalisation averages over the features of all"):
        graph_model(hypers, ["P", "In"]).state_for_elements(old.state_dict(), old.elements)


def test_an_architecture_that_does_not_state_its_elements_is_refused() -> None:
    old, new = AtomMessages(["P", "In"]), AtomMessages(["In", "P"])
    assert old.state_for_elements(old.state_dict(), old.elements).keys() == old.state_dict().keys()
    with pytest.raises(ValueError, match="AtomMessages does not state which of its parameters belong to elements"):
        new.state_for_elements(old.state_dict(), old.elements)


def bpnn(elements: Sequence[str], option: int, seed: int = 0) -> BPNN:
    torch.manual_seed(seed)
    count = len(elements)
    options = Bispectrum(
        num_types=count, type=tuple(elements), twojmax=(2,) * count, wj=(1.0,) * count, radelem=(0.5,) * count
    )
    model = BPNN(SnapInput(options), [3], "tanh", option)
    model.set_precision(torch.float64)
    for buffer in (model.shift, model.scale, model.element_energies):
        buffer.copy_(torch.rand_like(buffer) + 0.5)
    return model


def atoms(model: BPNN, symbols: Sequence[str]) -> DescriptorBatch:
    """Isolated rows of random descriptors, the same for every model."""
    count, size = len(symbols), model.input.size
    random = torch.Generator().manual_seed(7)
    pairs = torch.zeros(0, dtype=torch.int64)
    return DescriptorBatch(
        species=torch.tensor([model.elements.index(symbol) for symbol in symbols]),
        config=torch.zeros(count, dtype=torch.int64),
        n_atoms=torch.tensor([count]),
        volume=torch.ones(1, dtype=torch.float64),
        descriptors=torch.rand(count, size, generator=random, dtype=torch.float64),
        pair_i=pairs,
        pair_j=pairs,
        gradients=torch.zeros(0, 3, size, dtype=torch.float64),
        strain_gradients=torch.zeros(count, 6, size, dtype=torch.float64),
    )


@pytest.mark.parametrize(
    ("option", "elements"), [(1, ["In", "P"]), (1, ["In"]), (2, ["In", "Ta", "P"]), (2, ["In"]), (3, ["In", "P"])]
)
def test_networks_follow_their_elements(option: int, elements: list[str]) -> None:
    old, new = bpnn(["P", "In"], option), bpnn(elements, option, seed=1)
    own = new.state_dict()
    state = new.state_for_elements(old.state_dict(), old.elements)
    new.load_state_dict(state)
    symbols = [element for element in ("P", "In", "In") if element in elements]
    found, expected = (predict(model, atoms(model, symbols), []) for model in (new, old))
    torch.testing.assert_close(found.atom_energies, expected.atom_energies, rtol=1e-12, atol=1e-12)
    if "Ta" in elements:
        assert torch.equal(state["networks.1.0.weight"], own["networks.1.0.weight"])
        assert torch.equal(state["shift"][1], own["shift"][1])


@pytest.mark.parametrize("option", [1, 3])
def test_one_network_takes_no_new_element(option: int) -> None:
    old, new = bpnn(["P", "In"], option), bpnn(["P", "In", "Ta"], option)
    with pytest.raises(ValueError, match=f"multi_element_option = {option} one network, .* multi_element_option = 2"):
        new.state_for_elements(old.state_dict(), old.elements)


def test_blocks_of_a_flat_tensor() -> None:
    """Two blocks, of 1 x 2 elements x 1 and 2 x 2 elements x 1, as weights of several paths are stored."""
    source, target = torch.tensor([1.0, 2.0, 10.0, 20.0, 30.0, 40.0]), torch.full((9,), -1.0)
    layout = PerElement(((1, 1), (2, 1)), divided=True)
    found = rearranged(target, source, layout, [1, None, 0])
    root = 1.5**0.5
    expected = [2.0 * root, -1.0, root, 20.0 * root, -1.0, 10.0 * root, 40.0 * root, -1.0, 30.0 * root]
    assert found.tolist() == pytest.approx(expected)
