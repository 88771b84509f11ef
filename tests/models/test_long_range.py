"""Long-range interactions: lattice energies, both methods, slabs and molecules, and models with them."""

from __future__ import annotations

import pytest

from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.nanopet import Nanopet
from fitsnap_nn.testing.models import GraphModelTests

CHARGED = {"long_range": True, "smearing": 1.0, "kspace_resolution": 1.0}


class TestNanopet(GraphModelTests):
    rotates = False
    inverts = False

    def make_model(self) -> GraphModel:
        return Nanopet(["In", "P"], cutoff=3.6, cutoff_width=1.2, d_pet=8, num_heads=2, **CHARGED)


@pytest.mark.usefixtures("spex")
class TestSoapBpnn(GraphModelTests):
    def make_model(self) -> GraphModel:
        from fitsnap_nn.models.soap_bpnn import SoapBpnn  # torch-spex is optional

        return SoapBpnn(["In", "P"], max_angular=2, max_radial=2, cutoff_radius=4.0, heads="mlp", **CHARGED)


@pytest.mark.usefixtures("spex")
class TestSoapBpnnMixtures(GraphModelTests):
    def make_model(self) -> GraphModel:
        from fitsnap_nn.models.soap_bpnn import SoapBpnn  # torch-spex is optional

        options = {"max_angular": 2, "max_radial": 2, "cutoff_radius": 4.0, "num_hidden_layers": 1}
        return SoapBpnn(["Ta", "O", "C"], legacy=False, **options, **CHARGED)
