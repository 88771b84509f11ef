"""Which node features of MACE vanish for every structure, against those of random weights and a random structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fitsnap_nn.models.mace import MACE
from fitsnap_nn.settings.architectures import Mace
from fitsnap_nn.settings.mace_irreps import features_of_layers, name_of
from fitsnap_nn.testing.graphs import make_graph, molecule

pytestmark = pytest.mark.usefixtures("mace")

NO_SKIP, NONLINEAR = "RealAgnosticInteractionBlock", "RealAgnosticResidualNonLinearInteractionBlock"
CASES: dict[str, dict[str, Any]] = {
    "all, first order": {"hidden_irreps": "1x0e+1x0o+1x1o+1x1e+1x2o", "max_ell": 1, "correlation": 1},
    "second order": {"hidden_irreps": "1x0e+1x1o+1x1e+1x2e+1x2o", "max_ell": 2, "correlation": 2},
    "third order": {"hidden_irreps": "1x0e+1x1o+1x1e+1x2e+1x2o", "max_ell": 2, "correlation": 3, "num_interactions": 2},
    "fourth order": {"hidden_irreps": "1x0e+1x1e+1x2o", "max_ell": 1, "correlation": 4, "num_interactions": 2},
    "no vectors": {"hidden_irreps": "1x0e+1x0o", "max_ell": 2, "correlation": 2},
    "no skip connection": {
        "hidden_irreps": "1x0e+1x0o+1x2e", "max_ell": 1, "correlation": 2, "interaction": NO_SKIP,
        "keep_last_layer_irreps": False,
    },
    "nonlinear": {"hidden_irreps": "1x0e+1x1o+1x1e", "max_ell": 1, "correlation": 2, "interaction": NONLINEAR},
    "few are sent": {"hidden_irreps": "1x0e+1x0o+1x1o", "edge_irreps": "1x0e", "max_ell": 2, "correlation": 2},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_features_that_vanish(case: str) -> None:
    hypers = {"num_interactions": 3, "keep_last_layer_irreps": True, **CASES[case]}
    torch.manual_seed(1)
    model = MACE(["H", "C"], r_max=5.0, radial_MLP=(8,), avg_num_neighbors=3.0, **hypers)
    model.set_precision(torch.float64)
    graph = make_graph(model, molecule(model.elements, np.random.default_rng(0).standard_normal((9, 3))))
    found = []
    with torch.no_grad():
        layers = model.features(graph)
    for features, block in zip(layers, model.network.products, strict=True):
        irreps = block.linear.irreps_out
        parts = zip(irreps, irreps.slices(), strict=True)
        sizes = {str(ir): float(features[:, part].abs().max()) for (_, ir), part in parts}
        assert all(size > 1e-11 or size < 1e-15 for size in sizes.values()), sizes
        found.append({name for name, size in sizes.items() if size > 1e-13})
    assert found == [{name_of(irrep) for irrep in layer} for layer in features_of_layers(Mace(**hypers))]
