"""Irreducible blocks of Cartesian tensors."""

from __future__ import annotations

import numpy as np
import pytest

from fitsnap_nn.data.fitted import property_of
from fitsnap_nn.data.symmetries import Block, Cartesian, Scalar, Spherical, Symmetry, from_blocks, to_blocks
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.settings.rows import SYMMETRIES, PropertyRow

RANDOM = np.random.default_rng(0)


def test_blocks_of_a_vector_are_y_z_x() -> None:
    np.testing.assert_array_equal(to_blocks(Cartesian(1)) @ [1.0, 2.0, 3.0], [2.0, 3.0, 1.0])


def test_blocks_of_a_matrix() -> None:
    """Trace, antisymmetric part and symmetric traceless part, with the norm of the matrix."""
    matrix = RANDOM.standard_normal((3, 3))
    blocks = to_blocks(Cartesian(2, symmetric=False)) @ matrix.ravel()
    assert blocks[0] == pytest.approx(np.trace(matrix) / np.sqrt(3.0))
    axial = np.array([matrix[2, 0] - matrix[0, 2], matrix[0, 1] - matrix[1, 0], matrix[1, 2] - matrix[2, 1]])
    np.testing.assert_allclose(blocks[1:4], axial / np.sqrt(2.0))
    assert blocks[6] == pytest.approx((3.0 * matrix[2, 2] - np.trace(matrix)) / np.sqrt(6.0))
    assert blocks[8] == pytest.approx((matrix[0, 0] - matrix[1, 1]) / np.sqrt(2.0))
    assert np.linalg.norm(blocks) == pytest.approx(np.linalg.norm(matrix))
    symmetric = to_blocks(Cartesian(2)) @ voigt(matrix)
    np.testing.assert_allclose(symmetric, [blocks[0], *blocks[4:]], atol=1e-14)


@pytest.mark.parametrize(
    "symmetry", [Scalar(), Cartesian(1), Cartesian(2), Cartesian(2, symmetric=False), Spherical(4, pseudo=True)]
)
def test_there_and_back(symmetry: Symmetry) -> None:
    values = RANDOM.standard_normal(symmetry.components)
    np.testing.assert_allclose(from_blocks(symmetry) @ (to_blocks(symmetry) @ values), values, atol=1e-14)
    assert sum(block.size for block in symmetry.blocks) == symmetry.components


@pytest.mark.parametrize("pseudo", [False, True])
@pytest.mark.parametrize("word", SYMMETRIES)
def test_rows_of_the_input_have_the_same_blocks(word: str, pseudo: bool) -> None:
    row = PropertyRow("q", "atom", word, "q", degree=3 if word == "spherical" else 0, pseudo=pseudo)
    assert property_of(row).symmetry.blocks == tuple(Block(*block) for block in row.blocks)
