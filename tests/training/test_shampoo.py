"""Adam in the eigenbasis of Shampoo's preconditioner: steps, bases, and the matrices of every model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from test_captured_steps import ELEMENTS, MODELS
from torch import Tensor

from fitsnap_nn.models import build_model
from fitsnap_nn.training.flat import FlatParameters
from fitsnap_nn.training.shampoo import REFRESH, Soap

RATES: dict[str, Any] = {"lr": 1e-2, "betas": (0.9, 0.99), "weight_decay": 0.1}
ROWS, COLUMNS = 4, 3
SIZE = 2 * ROWS * COLUMNS + 5  # of a vector of two matrices with five other weights between them


def leaf(values: Tensor) -> Tensor:
    return values.clone().requires_grad_(True)


def matrices(vector: Tensor) -> list[Tensor]:
    """Return two matrices: the first entries, and the last ones with the columns in memory one after the other."""
    entries = vector.detach()
    return [entries[: ROWS * COLUMNS].view(ROWS, COLUMNS), entries[-ROWS * COLUMNS :].view(COLUMNS, ROWS).mT]


def steps(optimizer: torch.optim.Optimizer, weights: Tensor, gradients: Iterator[Tensor] | Tensor) -> Tensor:
    for gradient in gradients:
        weights.grad = gradient
        optimizer.step()
    return weights.detach()


def random_basis(size: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64)).Q


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_the_first_steps_are_those_of_adamw():
    """The bases are identities until they are refined for the first time."""
    start, gradients = torch.randn(SIZE, dtype=torch.float64), torch.randn(2 * REFRESH, SIZE, dtype=torch.float64)
    found, expected = leaf(start), leaf(start)
    soap, adamw = Soap(found, matrices(found), **RATES), torch.optim.AdamW([expected], **RATES)
    both = [steps(one, weights, gradients[:REFRESH]) for one, weights in ((soap, found), (adamw, expected))]
    torch.testing.assert_close(*both, rtol=1e-12, atol=1e-14)
    both = [steps(one, weights, gradients[REFRESH:]) for one, weights in ((soap, found), (adamw, expected))]
    other = slice(ROWS * COLUMNS, -ROWS * COLUMNS)
    torch.testing.assert_close(both[0][other], both[1][other], rtol=1e-12, atol=1e-14)
    assert not torch.allclose(*both, rtol=1e-3)


def test_steps_in_a_basis_are_those_of_adamw_in_rotated_weights():
    rows, columns = random_basis(ROWS), random_basis(COLUMNS)
    start = torch.randn(ROWS, COLUMNS, dtype=torch.float64)
    gradients = torch.randn(REFRESH - 1, ROWS, COLUMNS, dtype=torch.float64)
    weights, rotated = leaf(start.flatten()), leaf(rows.mT @ start @ columns)
    soap, adamw = Soap(weights, [weights.detach().view_as(start)], **RATES), torch.optim.AdamW([rotated], **RATES)
    steps(soap, weights, torch.zeros(1, len(weights), dtype=torch.float64))  # creates the state
    steps(adamw, rotated, torch.zeros(1, ROWS, COLUMNS, dtype=torch.float64))
    soap.state[weights]["bases"] = [[rows[None], columns[None]]]
    found = steps(soap, weights, gradients[:-1].flatten(1)).view_as(start)
    expected = steps(adamw, rotated, rows.mT @ gradients[:-1] @ columns)
    torch.testing.assert_close(found, rows @ expected @ columns.mT, rtol=1e-12, atol=1e-13)


def test_bases_become_the_eigenvectors_of_the_products_of_gradients():
    weights = leaf(torch.zeros(ROWS * COLUMNS, dtype=torch.float64))
    soap = Soap(weights, [weights.detach().view(ROWS, COLUMNS)], **RATES)
    rows, columns = random_basis(ROWS), random_basis(COLUMNS)
    sizes = torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)[:, None] * torch.tensor([9.0, 3.0, 1.0])
    random = torch.randn(2000, ROWS, COLUMNS, dtype=torch.float64) * sizes
    steps(soap, weights, (rows @ random @ columns.mT).flatten(1))
    ((found_rows, found_columns),) = soap.state[weights]["bases"]
    ((of_rows, of_columns),) = soap.state[weights]["averages"]
    for basis, average in ((found_rows, of_rows), (found_columns, of_columns)):
        in_basis = (basis.mT @ average @ basis)[0]
        assert (in_basis - in_basis.diagonal().diag()).abs().max() < 0.05 * in_basis.diagonal().max()
        assert torch.equal(in_basis.diagonal().argsort(descending=True), torch.arange(len(in_basis)))
    # Those of the distribution, up to the noise of an average over some hundred gradients.
    assert (found_columns[0].mT @ columns).diagonal().abs().min() > 0.95
    assert (found_rows[0].mT @ rows).diagonal().abs().min() > 0.8


@pytest.mark.parametrize("rank", [0, 1, ROWS])
def test_rounding_of_the_gradients_is_not_amplified(rank: int):
    """Of low rank, too: their averages have null spaces, whose eigenvectors rounding would decide."""
    left = torch.randn(60, ROWS, rank, dtype=torch.float64)
    gradients = (left @ torch.randn(rank, 2 * ROWS, dtype=torch.float64)).flatten(1)
    ends = []
    for factor in (1.0, 1.0 + 1e-15 * torch.randn_like(gradients)):
        weights = leaf(torch.ones(2 * ROWS * ROWS, dtype=torch.float64))
        soap = Soap(weights, [weights.detach().view(ROWS, 2 * ROWS)], lr=0.1, betas=(0.9, 0.99), weight_decay=0.0)
        ends.append(steps(soap, weights, gradients * factor))
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-9)
    assert bool((ends[0] != 1.0).any()) == (rank > 0)


@pytest.mark.parametrize("architecture", MODELS)
def test_matrices_of_a_model_are_views_of_its_weights(architecture: str):
    model = build_model({"architecture": architecture, "elements": ELEMENTS, **MODELS[architecture]})
    vector = FlatParameters(model).vector.detach()
    seen = torch.zeros(len(vector))
    for matrix in model.weight_matrices():
        assert matrix.dim() == 2
        assert matrix.untyped_storage().data_ptr() == vector.untyped_storage().data_ptr()
        seen.as_strided(matrix.shape, matrix.stride(), matrix.storage_offset()).add_(1.0)
    assert seen.max() == 1.0
    # What is in no matrix are biases and scales.
    assert seen.mean() > 0.85


def test_matrices_of_mace_are_one_per_path_and_element():
    model = build_model({"architecture": "MACE", "elements": ELEMENTS, **MODELS["MACE"]})
    shapes = [tuple(matrix.shape) for matrix in model.weight_matrices()]
    channels = 4
    assert shapes.count((channels, channels)) > 8  # linear layers and, per element, skip connections
    products = [product.symmetric_contractions for product in model.network.products]
    paths = [tuple(weights.shape[1:]) for product in products for by_degree in product.weights for weights in by_degree]
    assert paths
    assert all(shapes.count(shape) >= len(ELEMENTS) for shape in paths)


def test_frozen_weights_are_in_no_matrix():
    model = build_model({"architecture": "CUSTOM", "elements": ELEMENTS, **MODELS["CUSTOM"]})
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert not list(model.weight_matrices())


def test_states_for_other_matrices_are_refused():
    one, other = leaf(torch.ones(12)), leaf(torch.ones(12))
    first, second = Soap(one, [one.detach().view(4, 3)], **RATES), Soap(other, [other.detach().view(3, 4)], **RATES)
    for optimizer, weights in ((first, one), (second, other)):
        steps(optimizer, weights, torch.ones(1, 12))
    assert first.accepts(first.state[one])
    assert not first.accepts(second.state[other])
