"""Long-range interactions on a GPU: predictions, and gradients by the weights, are those of the CPU."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.nanopet import Nanopet
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.testing.graphs import crystal, make_graph, molecule
from fitsnap_nn.testing.models import assert_close
from fitsnap_nn.training.differentiation import collation_device, is_captured

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("torchpme")]


def step(model: GraphModel, graph: Graph) -> list[Tensor]:
    """Return predictions, and gradients of a loss of them by the weights."""
    found = predict(model, graph, create_graph=True)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    loss = torch.stack([one.double().square().sum() for one in found.values.values()]).sum()
    return [one.detach().cpu() for one in (*found.values.values(), *torch.autograd.grad(loss, weights))]


@pytest.mark.parametrize("use_ewald", [True, False], ids=["Ewald", "P3M"])
def test_a_step(device: str, use_ewald: bool) -> None:
    torch.manual_seed(4)
    options = {"smearing": 1.0, "kspace_resolution": 1.0, "use_ewald": use_ewald}
    model = Nanopet(["Ta", "O"], cutoff=4.0, d_pet=16, num_heads=2, long_range=True, **options)
    model.set_precision(torch.float64)
    free = molecule(model.elements, np.array([[0.0, 0.0, 0.0], [2.0, 0.5, 0.0], [9.0, 3.0, 0.0]]))
    graph = make_graph(model, crystal(model.elements), free, crystal(model.elements, 1))
    there = torch.device(device)
    assert not is_captured(model, there)
    assert collation_device(model, there) == there
    found = step(copy.deepcopy(model).to(there), graph.to(there))
    for one, other in zip(found, step(model, graph), strict=True):
        assert_close(one, other)
