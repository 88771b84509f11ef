"""SNAP descriptors by integrals over rotations, against the compiled kernel; matrix elements and integrals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from test_snap import CELLS, OPTIONS, PLAIN, WIDE
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.inputs.batch import atom_fields
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.inputs.snap import Environments, SnapKernel, find_environments
from fitsnap_nn.inputs.snap.bispectrum import with_product_derivatives, with_products
from fitsnap_nn.inputs.snap.descriptors import SnapDescriptors
from fitsnap_nn.inputs.snap.rotations import matrix_elements, norms, quadrature, sizes_of_levels
from fitsnap_nn.settings.schema import Bispectrum

CELL = CELLS["skewed"]
VARIANTS: dict[str, dict[str, Any]] = {
    **{name: options for name, (options, _) in OPTIONS.items()},
    "inner step": {"switchinnerflag": True, "sinner": (2.6, 2.2), "dinner": (0.0, 0.0)},
    "inside rmin0": {"rmin0": 3.0},
    "beyond the pole": {"rfac0": 1.3},
    "no neighbours": {"rcutfac": 0.2},
    **{f"twojmax {number}": {"twojmax": (number,)} for number in (0, 1, 2, 7, 8)},
}


def graph_of(environments: Environments, configuration: Configuration, elements: tuple[str, ...]) -> Graph:
    i, j = (torch.from_numpy(getattr(environments, name).astype(np.int64)) for name in ("i", "j"))
    vectors = torch.from_numpy(np.ascontiguousarray(environments.vectors)).requires_grad_()
    return Graph(**atom_fields(configuration, elements), edge_i=i, edge_j=j, reverse_edge_index=i, vectors=vectors)


def by_kernel(bispectrum: Bispectrum, environments: Environments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Descriptors (N, D) and their derivatives (P, 3, D), with the products of quadratic SNAP."""
    kernel = SnapKernel(bispectrum)
    values, gradients = kernel.components(environments), kernel.gradients(environments)
    if not bispectrum.quadraticflag:
        return values, gradients
    return with_products(values), with_product_derivatives(values[environments.i], gradients)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("configuration", [CELL, WIDE], ids=["small cell", "large cell"])
def test_they_are_those_of_the_kernel(name: str, configuration: Configuration) -> None:
    bispectrum = replace(PLAIN, **VARIANTS[name])
    environments = find_environments([configuration], bispectrum)
    expected, gradients = by_kernel(bispectrum, environments)
    graph = graph_of(environments, configuration, bispectrum.type)
    found = SnapDescriptors(bispectrum)(graph)
    scale = np.abs(expected).max(axis=0) + 1.0
    assert np.abs((found.detach().numpy() - expected) / scale).max() < 1e-12
    beta = np.random.default_rng(1).standard_normal(expected.shape) / scale
    (slopes,) = torch.autograd.grad((found * torch.from_numpy(beta)).sum(), graph.vectors)
    wanted = (gradients * beta[environments.i][:, None]).sum(axis=2)
    assert np.abs(slopes.numpy() - wanted).max(initial=0.0) < 1e-11 * (1.0 + np.abs(wanted).max(initial=0.0))


def test_second_derivatives() -> None:
    bispectrum = replace(PLAIN, twojmax=(3,))
    environments = find_environments([CELL], bispectrum)
    graph = graph_of(environments, CELL, bispectrum.type)
    descriptors = SnapDescriptors(bispectrum)

    def sums(vectors: Tensor) -> Tensor:
        return descriptors(replace(graph, vectors=vectors)).sum(dim=0)[1:]

    vectors = graph.vectors.detach()[:8].requires_grad_()
    rest = graph.vectors.detach()[8:]
    assert torch.autograd.gradgradcheck(lambda first: sums(torch.cat([first, rest])), vectors, atol=1e-5)


def quaternions(count: int) -> Tensor:
    random = torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return random / torch.linalg.vector_norm(random, dim=1, keepdim=True)


def test_weighted_matrix_elements_give_the_character() -> None:
    p, q = quaternions(20), quaternions(40)[20:]
    largest = 9
    products = (matrix_elements(p[:, 0], p.t()[1:], largest).conj() * matrix_elements(q[:, 0], q.t()[1:], largest)).real
    angle = torch.arccos((p * q).sum(dim=1))
    for j, rows in enumerate(torch.split(products, sizes_of_levels(largest))):
        found = (torch.from_numpy(norms(j))[:, None] * rows).sum(dim=0)
        torch.testing.assert_close(found, torch.sin((j + 1) * angle) / torch.sin(angle), rtol=0, atol=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 4, 9, 12, 24])
def test_the_quadrature_is_exact_for_even_polynomials(degree: int) -> None:
    points, weights = quadrature(degree)
    assert weights.min() > 0.0
    assert np.abs(np.linalg.norm(points, axis=1) - 1.0).max() < 1e-14
    for power in range(0, degree + 1, 2):
        for axis in quaternions(3).numpy():
            # The mean of x^n over the 3-sphere, with double factorials: (n - 1)!! / (2 4 ... (n + 2) / 2).
            expected = np.prod([(k - 1.0) / (k + 2.0) for k in range(2, power + 1, 2)])
            assert abs(weights @ (points @ axis) ** power - expected) < 1e-14
