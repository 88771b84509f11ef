"""All graph models obey the rules of a GPU: no synchronisation, no other device, fixed order of sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from small_models import SMALL_MACE
from torch import Tensor

from fitsnap_nn.inputs.ace.input import AceInput
from fitsnap_nn.inputs.graph.padded import pad
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.committee import GraphCommittee
from fitsnap_nn.models.descriptor_network import DescriptorNetwork
from fitsnap_nn.models.mace import MACE
from fitsnap_nn.models.mixed_committee import MixedCommittee
from fitsnap_nn.models.nanopet import Nanopet
from fitsnap_nn.models.pair_network import PairNetwork
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.schema import Bispectrum
from fitsnap_nn.testing.device_rules import META, DeviceRules, assert_runs_on_a_device
from fitsnap_nn.testing.graphs import crystal, make_graph

Make = Callable[[Sequence[str]], GraphModel]
INNER = {"sinner": (2.4, 2.3, 2.2), "dinner": (0.3, 0.2, 0.25)}


def mace(**hypers: Any) -> Make:
    return lambda elements: MACE(elements, **(SMALL_MACE | hypers))


def soap_bpnn(**hypers: Any) -> Make:
    def make(elements: Sequence[str]) -> GraphModel:
        from fitsnap_nn.models.soap_bpnn import SoapBpnn  # torch-spex is optional

        return SoapBpnn(elements, max_angular=2, max_radial=2, cutoff_radius=4.0, num_neurons_per_layer=4, **hypers)

    return make


def nanopet(**hypers: Any) -> Make:
    return lambda elements: Nanopet(elements, cutoff=4.0, d_pet=8, num_heads=2, num_attention_layers=1, **hypers)


def pair_network(**hypers: Any) -> Make:
    return lambda elements: PairNetwork(elements, cutoff=4.0, layer_sizes=("num_desc", "4", "1"), **hypers)


def ace(**options: Any) -> Make:
    common = {"ranks": (1, 2, 3, 4), "nmax": (3, 2, 1, 1), "lmax": (0, 2, 2, 1), "nmaxbase": 4, "rcutfac": (4.0,)}

    def make(elements: Sequence[str]) -> GraphModel:
        section = Ace(num_types=len(elements), type=tuple(elements), **{**common, **options})
        return DescriptorNetwork(AceInput(section), [4])

    return make


def snap(**options: Any) -> Make:
    def make(elements: Sequence[str]) -> GraphModel:
        count = len(elements)
        sizes = {"radelem": tuple(0.5 - 0.02 * k for k in range(count)), "wj": (1.0,) * count, "twojmax": (4,)}
        section = Bispectrum(num_types=count, type=tuple(elements), rcutfac=4.0, **{**sizes, **options})
        return DescriptorNetwork(SnapInput(section), [4])

    return make


def committee(*makes: Make) -> Make:
    return lambda elements: MixedCommittee([make(elements) for make in makes])


def members(make: Make) -> Make:
    """A committee that is trained as one model."""
    return lambda elements: GraphCommittee(partial(make, elements), 2)


# Each with whether the order of all its sums is fixed; mace's own sums over edges are atomic.
MODELS: dict[str, tuple[Make, bool]] = {
    "SOAP_BPNN": (soap_bpnn(zbl=True), True),
    "SOAP_BPNN, mixtures": (soap_bpnn(legacy=False, heads="mlp"), True),
    "SOAP_BPNN, no normalisation": (soap_bpnn(layernorm=False), True),
    "NANOPET": (nanopet(zbl=True), True),
    "NANOPET, three layers": (nanopet(num_gnn_layers=3, heads="linear"), True),
    "CUSTOM": (pair_network(multi_element_option=1), True),
    "CUSTOM, a network per element": (pair_network(multi_element_option=2), True),
    "CUSTOM, elements as inputs": (pair_network(multi_element_option=3), True),
    "ACE": (ace(), True),
    "SNAP": (snap(), True),
    "SNAP, a density per element": (snap(chemflag=True, twojmax=(2,), wselfallflag=True), True),
    "SNAP, products": (snap(quadraticflag=True, twojmax=(2,), switchinnerflag=True, **INNER), True),
    "committee": (members(soap_bpnn()), True),
    "combined models": (committee(ace(), snap(), pair_network(), nanopet()), True),
    "ACE, six densities": (ace(ranks=(1, 5, 6), nmax=(2, 1, 1), lmax=(0, 2, 1), b_basis="minsub"), True),
    "MACE": (mace(), True),
    "MACE, correlation 3": (mace(correlation=3, use_agnostic_product=True, num_interactions=3), True),
    "MACE, transformed distances": (mace(distance_transform="Agnesi", radial_type="gaussian"), True),
    "MACE, repulsion": (mace(pair_repulsion=True, apply_cutoff=False), False),
    "MACE, density": (mace(interaction="RealAgnosticDensityResidualInteractionBlock"), False),
    "MACE, attention": (mace(interaction="RealAgnosticAttResidualInteractionBlock"), False),
}


@pytest.mark.usefixtures("mace", "spex")
@pytest.mark.parametrize(
    ("name", "elements"),
    [*((name, ["P", "In", "Ga"]) for name in MODELS), *((name, ["Ta"]) for name in MODELS if "," not in name)],
)
def test_training_step_and_prediction(name: str, elements: list[str]):
    make, ordered = MODELS[name]
    model = make(elements)
    for dtype in (torch.float32, torch.float64):
        model.set_precision(dtype)
        graph = pad(make_graph(model, crystal(elements), crystal(elements, 1, count=2), dtype=dtype))
        assert_runs_on_a_device(model, graph, ordered=ordered)


@pytest.mark.usefixtures("spex")
def test_spherical_harmonics_of_a_graph_that_is_not_padded():
    """sphericart's library for GPUs need not be there."""
    from fitsnap_nn.models.soap import SphericalExpansion  # torch-spex is optional

    expansion = SphericalExpansion(3, 2, 4.0, 0.5).to(META)
    vectors = torch.ones(5, 3, device=META)
    with DeviceRules():
        assert expansion._angular(vectors).shape == (5, 16)
        assert expansion._radial(vectors[:, 0]).shape == (5, sum(expansion.sizes))


@pytest.mark.parametrize(
    ("message", "operation"),
    [
        ("makes the host wait", lambda x, index: x.sum().item()),
        ("makes the host wait", lambda x, index: x[x > 0]),
        ("makes the host wait", lambda x, index: torch.bincount(index)),
        ("combines tensors", lambda x, index: x + torch.ones(4)),
        ("combines tensors", lambda x, index: x[torch.tensor([1, 2])]),
        ("copies from", lambda x, index: torch.ones(4).to(META)),
        ("no fixed order", lambda x, index: torch.autograd.grad(x.index_select(0, index).sum(), x)),
        ("sorts its indices", lambda x, index: torch.autograd.grad(x[index].sum(), x)),
    ],
)
def test_the_rules_find_violations(message: str, operation: Callable[[Tensor, Tensor], Any]):
    x, index = torch.ones(4, device=META, requires_grad=True), torch.zeros(3, dtype=torch.int64, device=META)
    with pytest.raises(AssertionError, match=message), DeviceRules():
        operation(x, index)
