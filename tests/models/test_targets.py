"""Targets besides the energy: their symmetry, and what is shared by the architectures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fitsnap_nn.inputs.graph.padded import pad
from fitsnap_nn.models import build_model
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.mace import MACE
from fitsnap_nn.models.nanopet import Nanopet
from fitsnap_nn.models.soap_bpnn import SoapBpnn
from fitsnap_nn.models.soap_tensors import TensorBasis
from fitsnap_nn.models.targets import describe_targets
from fitsnap_nn.settings.architectures import Mace
from fitsnap_nn.testing.device_rules import assert_runs_on_a_device
from fitsnap_nn.testing.graphs import crystal, make_graph
from fitsnap_nn.testing.targets import (
    assert_targets_are_equivariant,
    assert_targets_ignore_other_configurations,
    rows_of_every_kind,
    with_baselines,
)

TARGETS = describe_targets(rows_of_every_kind())
EVERY_PARITY = "2x0e + 2x0o + 2x1o + 2x1e + 2x2e + 2x2o"


def soap(**options) -> GraphModel:
    sizes = {"max_angular": 4, "max_radial": 3, "num_neurons_per_layer": 8, "num_hidden_layers": 1}
    return SoapBpnn(["In", "P"], cutoff_radius=4.0, **{**sizes, "targets": TARGETS, **options})


def nanopet(**options) -> GraphModel:
    return Nanopet(["In", "P"], cutoff=4.0, d_pet=8, num_heads=2, num_gnn_layers=1, targets=TARGETS, **options)


def mace(irreps: str, max_ell: int, **options) -> GraphModel:
    """A model with the targets that its features contain."""
    sizes = {"hidden_irreps": irreps, "max_ell": max_ell, "num_radial_basis": 4, "radial_MLP": [4], **options}
    section = Mace(**sizes)
    rows = [row for row in rows_of_every_kind(max(2, max_ell)) if section.target_problem(row) is None]
    return MACE(["In", "P"], r_max=4.0, targets=describe_targets(rows), **sizes)


MODELS: dict[str, Callable[..., GraphModel]] = {
    "SOAP_BPNN": soap,
    "SOAP_BPNN, one network": lambda: soap(legacy=False),
    "SOAP_BPNN, mlp": lambda: soap(heads="mlp", add_lambda_basis=False),
    "NANOPET": nanopet,
    "MACE": lambda: mace("2x0e + 2x1o + 2x2e + 2x3o + 2x4e", 4, correlation=1, num_interactions=3),
    "MACE, pseudo-tensors": lambda: mace(EVERY_PARITY, 1, correlation=2, keep_last_layer_irreps=True),
    "MACE, readouts of a charge": lambda: mace("2x0e + 2x1o", 2, correlation=2, mace_head_target="scalar0"),
}
EQUIVARIANT = [name for name in MODELS if name != "NANOPET"]


@pytest.fixture
def model(request: pytest.FixtureRequest) -> GraphModel:
    torch.manual_seed(3)
    made = MODELS[request.param]()
    made.fit_to_data(make_graph(made, crystal(made.elements, seed)) for seed in range(3))
    return with_baselines(made)


def test_vectors_of_products_alone_are_normalised() -> None:
    """Others keep the initial weights of metatrain, with which a tensor of few data is learned better."""
    model = soap()
    before = {name: value.clone() for name, value in model.named_parameters()}
    graphs = [make_graph(model, crystal(model.elements, seed)) for seed in range(3)]
    model.fit_to_data(iter(graphs))
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    bases = {name: module for name, module in model.named_modules() if isinstance(module, TensorBasis)}
    assert changed == {f"{name}.vectors" for name, basis in bases.items() if basis.block.pseudo}
    assert 0 < len(changed) < len(bases)


@pytest.mark.parametrize("model", EQUIVARIANT, indirect=True)
def test_rotation_and_inversion(model: GraphModel, request: pytest.FixtureRequest) -> None:
    if "pseudo" in request.node.name:
        assert list(model.specs) == [row.name for row in rows_of_every_kind(2)]
    assert_targets_are_equivariant(model)


@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_batches_padding_and_forces(model: GraphModel) -> None:
    assert_targets_ignore_other_configurations(model)


@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_the_description_makes_the_same_model(model: GraphModel) -> None:
    again = with_baselines(build_model(model.description()))
    again.load_state_dict(model.state_dict())
    assert again.description() == model.description()


@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_without_waiting_for_the_device(model: GraphModel) -> None:
    assert_runs_on_a_device(model, pad(make_graph(model, crystal(model.elements))))
