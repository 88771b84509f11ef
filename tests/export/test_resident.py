"""A step of molecular dynamics needs nothing on the host, for all models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fitsnap_nn.export.pair_lists import PairLists, Sizes
from fitsnap_nn.export.resident import ResidentModel
from fitsnap_nn.models import build_model
from fitsnap_nn.testing.device_rules import META, DeviceRules

SIZES = Sizes(atoms=24, positions=64, pairs=256, edges=128, columns=8)
SMALL = {
    "MACE": {"hidden_irreps": "4x0e+4x1o", "max_ell": 2, "correlation": 2, "radial_MLP": [8]},
    "NANOPET": {"d_pet": 8, "num_heads": 2, "zbl": True},
    "SOAP_BPNN": {"max_angular": 3, "max_radial": 3, "zbl": True},
}
LIBRARIES = {"MACE": "mace", "SOAP_BPNN": "spex"}


def on_device(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=META)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("architecture", SMALL)
def test_a_step_stays_on_the_device(request: pytest.FixtureRequest, architecture: str, dtype: torch.dtype) -> None:
    if architecture in LIBRARIES:
        request.getfixturevalue(LIBRARIES[architecture])
    model: Any = build_model({"architecture": architecture, "elements": ["Ta", "O"], **SMALL[architecture]})
    model.set_precision(dtype)
    resident = ResidentModel(model.to(META).eval().requires_grad_(False), dtype, META)
    resident._resize(SIZES)
    sizes = resident._sizes
    atoms, pairs = sizes.atoms, sizes.pairs
    lists = PairLists(
        *(on_device(pairs) for _ in range(5)),
        *(on_device(atoms + 1), on_device(atoms), on_device(atoms), on_device(2)),
        on_device(2, dtype=torch.float64),
    )
    positions = on_device(sizes.positions, 3, dtype=torch.float64)
    with DeviceRules() as rules:
        result, *_ = resident._step(positions, *lists)
    assert rules.count > 100
    assert result.shape == (4 * atoms + 12,)
    assert (result.dtype, result.device) == (torch.float64, META)
