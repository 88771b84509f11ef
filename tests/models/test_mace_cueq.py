"""cuequivariance's steps against our own, on the CPU, where the library has plain PyTorch in place of its kernels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_models import SMALL_MACE
from torch import Tensor

from fitsnap_nn.models import mace_cueq
from fitsnap_nn.models.mace import MACE
from fitsnap_nn.models.prediction import Prediction, predict
from fitsnap_nn.testing.graphs import crystal, make_graph
from fitsnap_nn.testing.models import assert_close

pytestmark = pytest.mark.usefixtures("cuequivariance")

VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "correlation three, one for all elements": {
        "correlation": 3,
        "use_agnostic_product": True,
        "hidden_irreps": "4x0e",
    },
    "pseudo-tensors": {"hidden_irreps": "2x0e + 2x0o + 2x1o + 2x1e", "max_ell": 1, "keep_last_layer_irreps": True},
    "edge features": {"edge_irreps": "3x0e + 3x1o", "correlation": 1},
}


def with_slopes(model: MACE) -> tuple[Prediction, list[Tensor | None]]:
    """A prediction, and the derivatives of a sum over it by the weights, as a training step has them."""
    found = predict(model, make_graph(model, crystal(model.elements)), create_graph=True)
    assert found.forces is not None
    total = found.energy.sum() + found.forces.square().sum()
    return found, list(torch.autograd.grad(total, list(model.parameters()), allow_unused=True))


@pytest.mark.parametrize("variant", VARIANTS)
def test_predictions_and_derivatives_are_ours(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    model = MACE(["P", "In", "Ga"], **(SMALL_MACE | VARIANTS[variant]))
    state = list(model.state_dict())
    expected, expected_slopes = with_slopes(model)
    calls: list[str] = []
    for name in ("convolve", "contract"):
        step = getattr(mace_cueq, name)
        monkeypatch.setattr(mace_cueq, name, lambda *values, n=name, s=step: (calls.append(n), s(*values))[1])
    monkeypatch.setattr(mace_cueq, "computes_on", lambda device: True)
    found, slopes = with_slopes(model)
    assert calls[:2] == ["convolve", "contract"]
    for name in ("energy", "forces", "stress"):
        one, other = getattr(found, name), getattr(expected, name)
        assert_close(one.detach(), other.detach())
    for one, other in zip(slopes, expected_slopes, strict=True):
        assert (one is None) == (other is None) or not (one if other is None else other).any()  # paths of zeros
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert list(model.state_dict()) == state


def test_not_on_a_cpu() -> None:
    assert not mace_cueq.computes_on(torch.device("cpu"))
