"""Behaviour of quantities under rotations and inversion, and their decomposition into irreducible blocks.

A block of degree l has 2l + 1 components, ordered by m from -l to l, that transform like the real spherical harmonics
Y_lm of sphericart and e3nn: for l = 1 these are y, z, x. Under inversion a proper block is multiplied by (-1)^l, a
pseudo block by -(-1)^l.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.voigt import COLUMNS, ROWS

Floats = NDArray[np.float64]

Y_Z_X = (1, 2, 0)  # Cartesian axis of each component of a block with l = 1


class Block(NamedTuple):
    """Irreducible block: degree l, and whether it is a pseudo-tensor."""

    degree: int
    pseudo: bool = False

    @property
    def size(self) -> int:
        """Number of components, 2l + 1."""
        return 2 * self.degree + 1

    @property
    def is_invariant(self) -> bool:
        """Whether rotations and inversion leave it unchanged."""
        return self.degree == 0 and not self.pseudo

    @property
    def label(self) -> str:
        """Name in tables: ``λ=1``, ``λ=1 pseudo``."""
        return f"λ={self.degree}{' pseudo' if self.pseudo else ''}"


@dataclass(frozen=True)
class Scalar:
    """Number that rotations leave unchanged; inversion changes the sign of a pseudoscalar."""

    pseudo: bool = False
    components: ClassVar[int] = 1

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Irreducible blocks."""
        return (Block(0, self.pseudo),)


@dataclass(frozen=True)
class Cartesian:
    """Cartesian tensor: a vector (rank 1, components x y z) or a 3 x 3 matrix (rank 2).

    A symmetric matrix is stored as six numbers in Voigt order xx yy zz yz xz xy, another one as nine, row by row.
    """

    rank: Literal[1, 2]
    pseudo: bool = False
    symmetric: bool = True

    @property
    def components(self) -> int:
        """Number of stored components."""
        if self.rank == 1:
            return 3
        return 6 if self.symmetric else 9

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Irreducible blocks; of a matrix: trace, antisymmetric part, symmetric traceless part."""
        if self.rank == 1:
            return (Block(1, self.pseudo),)
        trace, rest = Block(0, self.pseudo), Block(2, self.pseudo)
        return (trace, rest) if self.symmetric else (trace, Block(1, not self.pseudo), rest)


@dataclass(frozen=True)
class Spherical:
    """Spherical tensor of degree l: the components m = -l ... l of one irreducible block."""

    degree: int
    pseudo: bool = False

    @property
    def components(self) -> int:
        """Number of components, 2l + 1."""
        return 2 * self.degree + 1

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The one irreducible block."""
        return (Block(self.degree, self.pseudo),)


Symmetry = Scalar | Cartesian | Spherical


@cache
def from_blocks(symmetry: Symmetry) -> Floats:
    """Return the matrix (components, sum of block sizes) that maps the concatenated blocks to the components.

    Blocks of a matrix are normalised: the sum of their squares is that of the nine components of the matrix.
    """
    if not isinstance(symmetry, Cartesian):
        return np.eye(symmetry.components)
    if symmetry.rank == 1:
        return np.asarray(np.eye(3)[list(np.argsort(Y_Z_X))])
    trace, antisymmetric, traceless = _matrices()
    parts = (trace, traceless) if symmetry.symmetric else (trace, antisymmetric, traceless)
    matrices = np.concatenate(parts)
    if symmetry.symmetric:
        return np.asarray(matrices[:, ROWS, COLUMNS].T)
    return np.asarray(matrices.reshape(-1, 9).T)


@cache
def to_blocks(symmetry: Symmetry) -> Floats:
    """Return the inverse of `from_blocks`, (sum of block sizes, components)."""
    return np.linalg.inv(from_blocks(symmetry)).astype(np.float64)


def _matrices() -> tuple[Floats, Floats, Floats]:
    """Return the matrices (2l + 1, 3, 3) of the components of the blocks l = 0, 1 and 2, of norm 1."""
    x, y, z = np.eye(3)

    def product(a: Floats, b: Floats) -> Floats:
        return (np.outer(a, b) + np.outer(b, a)) / math.sqrt(2.0)

    along = (np.outer(z, z) * 3.0 - np.eye(3)) / math.sqrt(6.0)
    across = (np.outer(x, x) - np.outer(y, y)) / math.sqrt(2.0)
    traceless = np.stack([product(x, y), product(y, z), along, product(x, z), across])
    # A_ij = epsilon_ijk a_k / sqrt(2)
    levi_civita = np.stack([np.outer(a, b) - np.outer(b, a) for a, b in ((y, z), (z, x), (x, y))])
    return np.eye(3)[None] / math.sqrt(3.0), levi_civita[list(Y_Z_X)] / math.sqrt(2.0), traceless


def symmetry_of(word: str, degree: int, pseudo: bool) -> Symmetry:
    """Return the symmetry that a word and two options of a row of section [TARGETS] describe."""
    found: dict[str, Symmetry] = {
        "scalar": Scalar(pseudo),
        "vector": Cartesian(1, pseudo),
        "symmetric_tensor": Cartesian(2, pseudo),
        "tensor": Cartesian(2, pseudo, symmetric=False),
        "spherical": Spherical(degree, pseudo),
    }
    return found[word]
