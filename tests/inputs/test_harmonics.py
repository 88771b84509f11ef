"""Our spherical harmonics against sphericart's and e3nn's, with their derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fitsnap_nn.inputs.harmonics import SphericalHarmonics
from fitsnap_nn.models.mace_network import libraries

MAX_ANGULAR = 10


@pytest.fixture(scope="module")
def vectors() -> Tensor:
    """Random vectors, those along the axes, in the planes, and close to an axis."""
    axes = torch.eye(3, dtype=torch.float64)
    random = torch.randn(100, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    planes = axes + axes.roll(1, 0)
    return torch.cat([random, 3.0 * axes, -axes, planes, axes + 1e-9 * random[:3], 1e3 * random[:5]])


@pytest.mark.parametrize("max_angular", range(MAX_ANGULAR + 1))
def test_values_and_derivatives_are_those_of_sphericart(vectors: Tensor, max_angular: int):
    sphericart = pytest.importorskip("sphericart.torch")
    expected, expected_slopes = sphericart.SphericalHarmonics(max_angular).compute_with_gradients(vectors)
    leaf = vectors.clone().requires_grad_()
    values = SphericalHarmonics(max_angular)(leaf)
    assert (values - expected).abs().max() < 1e-12
    weights = torch.randn_like(values)
    (found,) = torch.autograd.grad((values * weights).sum(), leaf)
    slopes = (expected_slopes * weights[:, None]).sum(dim=2)
    assert (found - slopes).abs().max() < 1e-12 * max(1.0, float(slopes.abs().max()))


@pytest.mark.usefixtures("mace")
def test_they_are_those_of_e3nn_with_its_polar_axis(vectors: Tensor):
    _, o3 = libraries()
    expected = o3.spherical_harmonics(list(range(MAX_ANGULAR + 1)), vectors, True, "component")
    found = math.sqrt(4.0 * math.pi) * SphericalHarmonics(MAX_ANGULAR)(vectors.roll(1, dims=1))
    assert (found - expected).abs().max() < 1e-11


def test_second_derivatives():
    harmonics = SphericalHarmonics(4)
    vectors = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(harmonics, vectors)
    assert torch.autograd.gradgradcheck(harmonics, vectors)


def test_constants_stay_float64(vectors: Tensor):
    harmonics = SphericalHarmonics(6)
    expected = harmonics(vectors)
    single = harmonics.to(torch.float32)(vectors.float())
    assert single.dtype == torch.float32
    assert (single - expected).abs().max() < 1e-5
    assert torch.equal(harmonics.to(torch.float64)(vectors), expected)
    assert not harmonics.state_dict()
