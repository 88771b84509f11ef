"""Graph models on padded graphs on a GPU: no synchronisation, the same bits each time, and the values of the CPU."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from fitsnap_nn.inputs.ace.input import AceInput
from fitsnap_nn.inputs.graph.padded import PaddedGraph, pad
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.descriptor_network import DescriptorNetwork
from fitsnap_nn.models.mace import MACE
from fitsnap_nn.models.mixed_committee import MixedCommittee
from fitsnap_nn.models.nanopet import Nanopet
from fitsnap_nn.models.pair_network import PairNetwork
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.schema import Bispectrum
from fitsnap_nn.testing.graphs import crystal, make_graph
from fitsnap_nn.testing.models import assert_close

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu", "mace", "spex")]

CUDA = torch.device("cuda")


def make_model(name: str, elements: Sequence[str]) -> GraphModel:
    from fitsnap_nn.models.soap_bpnn import SoapBpnn  # torch-spex is optional

    torch.manual_seed(4)
    if name == "MACE":
        return MACE(elements, r_max=4.0, hidden_irreps="8x0e + 8x1o", avg_num_neighbors=20.0)
    if name == "NANOPET":
        return Nanopet(elements, cutoff=4.0, d_pet=16, num_heads=2, zbl=True)
    if name == "CUSTOM":
        return PairNetwork(elements, cutoff=4.0, layer_sizes=("num_desc", "16", "1"), multi_element_option=2)
    if name in ("ACE", "SNAP"):
        return on_descriptors(name, elements)
    if name == "COMMITTEE":
        return MixedCommittee([on_descriptors("ACE", elements), make_model("NANOPET", elements)], [0.7, 0.3])
    return SoapBpnn(elements, cutoff_radius=4.0, zbl=True)


def on_descriptors(name: str, elements: Sequence[str]) -> DescriptorNetwork:
    common: dict[str, Any] = {"num_types": len(elements), "type": tuple(elements)}
    if name == "ACE":
        options = {"ranks": (1, 2, 3), "nmax": (3, 2, 1), "lmax": (0, 2, 2), "nmaxbase": 3, "rcutfac": (4.0,)}
        return DescriptorNetwork(AceInput(Ace(**common, **options)), [8])
    sizes = {"wj": (1.0, 0.9, 0.8)[: len(elements)], "radelem": (0.5, 0.48, 0.46)[: len(elements)]}
    return DescriptorNetwork(SnapInput(Bispectrum(**common, **sizes, twojmax=(6,), rcutfac=4.0)), [8])


@contextmanager
def no_synchronisation() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def step(model: GraphModel, graph: PaddedGraph, true_rows: dict[str, int]) -> list[Tensor]:
    """Return the true rows of predictions, and gradients of a loss of them by the weights."""
    found = predict(model, graph, create_graph=True)
    values = [found.values[name][:rows] for name, rows in true_rows.items()]
    weights = [weight for weight in model.parameters() if weight.requires_grad and weight.numel()]
    loss = torch.stack([one.double().square().sum() for one in values]).sum()
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    return [one.detach() for one in (*values, *gradients) if one is not None]


@pytest.mark.parametrize("elements", [["Ta"], ["P", "In", "Ga"]], ids=len)
@pytest.mark.parametrize("name", ["MACE", "SOAP_BPNN", "NANOPET", "CUSTOM", "ACE", "SNAP", "COMMITTEE"])
def test_a_step(name: str, elements: list[str]):
    model = make_model(name, elements)
    model.set_precision(torch.float64)
    graph = make_graph(model, *[crystal(elements, seed, count=4) for seed in range(3)])
    padded = pad(graph)
    rows = {"energy": len(graph.n_atoms), "forces": len(graph.species), "stress": len(graph.n_atoms)}
    expected = step(model, padded, rows)
    there, batch = copy.deepcopy(model).to(CUDA), padded.to(CUDA)
    step(there, batch, rows)  # the first call loads libraries, which waits
    with no_synchronisation():
        found, again = step(there, batch, rows), step(there, batch, rows)
    for one, other, wanted in zip(found, again, expected, strict=True):
        assert torch.equal(one, other)
        assert_close(one.cpu(), wanted)
