"""Coupling of the densities of ACE functions to scalars, as a sequence of products with tables of indices.

In the real basis of spherical harmonics, a node of a coupling tree is F_M = sum_(m1, m2) K_M,m1,m2 G_m1 H_m2 of two
densities or nodes G and H. Nodes that several functions share are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.inputs.harmonics import real_from_complex
from fitsnap_nn.settings.ace_functions import AceFunction

NEGLIGIBLE = 1e-14  # of coefficients of order 1, which are 0 but for rounding

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Part = TypeVar("Part")


class Density(NamedTuple):
    """Neighbour density of an element, with indices n and l."""

    element: int
    n: int
    degree: int


class Terms(NamedTuple):
    """Terms of one level of all trees: row ``result`` is the sum of weight times row ``first`` times row ``second``.

    Attributes:
        result: (T,) row within the level, sorted.
        first, second: (T,) rows of densities and lower levels.
        weights: (T,).
        size: number of rows of the level.
    """

    result: Integers
    first: Integers
    second: Integers
    weights: Floats
    size: int


class Coupling(NamedTuple):
    """Computation of D functions. The components of the densities are the first rows; those of each level follow.

    Attributes:
        densities: densities in the order of their rows, 2l + 1 for each.
        levels: terms of each level.
        functions: (D,) row of each function.
        factors: (D,) number that the row is multiplied by.
    """

    densities: tuple[Density, ...]
    levels: tuple[Terms, ...]
    functions: Integers
    factors: Floats


class Node(NamedTuple):
    """Node of a coupling tree, or a density.

    Attributes:
        number: number within the level; of a density, its place in ``densities``.
        level: 0 for densities.
        degree: L; there are 2L + 1 components.
        phase: power of i that the components have been divided by to be real.
    """

    number: int
    level: int
    degree: int
    phase: int


class Factor(NamedTuple):
    """Node times a number."""

    node: Node
    factor: float


def couple(functions: Iterable[AceFunction], *, wigner: bool, shared: bool) -> Coupling:
    """Return the computation of functions.

    Args:
        functions: of one central atom.
        wigner: couple by Wigner 3j symbols, as FitSNAP does by default; else by Clebsch-Gordan coefficients.
        shared: compute nodes and densities that several functions share once; else each function has its own, so that
            derivatives of the sum of all functions are those of each.
    """
    trees = _Trees(wigner, shared)
    roots = [trees.add(function) for function in functions]
    return trees.coupling(roots)


def fold(function: AceFunction, leaves: Sequence[Part], pair: Callable[[Part, Part, int], Part]) -> Part:
    """Return the root of the coupling tree of a function.

    Args:
        function: the function.
        leaves: its densities.
        pair: couples two densities or nodes to the given L.
    """
    inner, rank = function.inner, function.rank
    degrees = (*inner[: rank // 2], *[0] * rank)
    pairs = [pair(leaves[k], leaves[k + 1], degrees[k // 2]) for k in range(0, rank - 1, 2)]
    single = leaves[len(pairs) * 2 :]
    if len(pairs) > 1:
        upper = inner[2] if rank == 5 else inner[3] if rank == 6 else 0
        pairs = [pair(pairs[0], pairs[1], upper), *pairs[2:]]
    rest = [*pairs, *single]
    return pair(rest[0], rest[1], 0) if len(rest) > 1 else rest[0]


class _Complex(NamedTuple):
    """Node of a coupling tree in the basis of complex spherical harmonics.

    Attributes:
        degree: L.
        terms: coefficient of each product of densities by their m.
    """

    degree: int
    terms: Mapping[tuple[int, ...], float]


def complex_coefficients(function: AceFunction, *, wigner: bool) -> dict[tuple[int, ...], float]:
    """Return the coefficient of each product of densities with complex spherical harmonics, by their m.

    Args:
        function: the function.
        wigner: see `couple`.
    """

    def pair(one: _Complex, other: _Complex, degree: int) -> _Complex:
        factor = _to_wigner(one.degree, other.degree, degree) if wigner else 1.0
        terms = {}
        for first, a in one.terms.items():
            for second, b in other.terms.items():
                m, k = sum(first), sum(second)
                if abs(m + k) <= degree and (c := clebsch_gordan(one.degree, m, other.degree, k, degree)):
                    terms[first + second] = a * b * c * factor
        return _Complex(degree, terms)

    leaves = [_Complex(degree, {(m,): 1.0 for m in range(-degree, degree + 1)}) for degree in function.l]
    return dict(fold(function, leaves, pair).terms)


class _Trees:
    """Coupling trees of several functions."""

    def __init__(self, wigner: bool, shared: bool) -> None:
        self._wigner = wigner
        self._shared = shared
        self._densities: list[Density] = []
        self._known: dict[object, Node] = {}
        self._levels: list[list[tuple[Node, Node, Node]]] = []

    def add(self, function: AceFunction) -> Factor:
        """Return the root of the tree of a function."""
        if not self._shared:
            self._known = {}
        labels = zip(function.elements, function.n, function.l, strict=True)
        leaves = [Factor(self._density(Density(*label)), 1.0) for label in labels]
        root, factor = fold(function, leaves, self._pair)
        return Factor(root, factor * (-1.0) ** (root.phase // 2))  # i to an even power: odd ones have odd parity

    def _density(self, density: Density) -> Node:
        if density not in self._known:
            self._known[density] = Node(len(self._densities), 0, density.degree, 0)
            self._densities.append(density)
        return self._known[density]

    def _pair(self, one: Factor, other: Factor, degree: int) -> Factor:
        """Return the node of degree L of two others."""
        factor = one.factor * other.factor
        if other.node < one.node:  # the coefficients change by this sign if their arguments are exchanged
            one, other = other, one
            factor *= (-1.0) ** (one.node.degree + other.node.degree + degree)
        key = (one.node, other.node, degree)
        if key not in self._known:
            level = 1 + max(one.node.level, other.node.level)
            while len(self._levels) < level:
                self._levels.append([])
            nodes = self._levels[level - 1]
            odd = (one.node.degree + other.node.degree + degree) % 2
            node = Node(len(nodes), level, degree, one.node.phase + other.node.phase + odd)
            nodes.append((node, one.node, other.node))
            self._known[key] = node
        return Factor(self._known[key], factor)

    def coupling(self, roots: Sequence[Factor]) -> Coupling:
        """Return the computation of all trees."""
        sizes = [[2 * density.degree + 1 for density in self._densities]]
        sizes += [[2 * node.degree + 1 for node, _, _ in level] for level in self._levels]
        starts, total = [], 0
        for level_sizes in sizes:
            starts.append(total + np.cumsum([0, *level_sizes]))
            total = int(starts[-1][-1])
        levels = []
        for nodes, start in zip(self._levels, starts[1:], strict=True):
            levels.append(_terms([(*node, *self._rows(node, starts)) for node in nodes], start, self._wigner))
        rows = np.array([starts[root.node.level][root.node.number] for root in roots], dtype=np.int64)
        return Coupling(tuple(self._densities), tuple(levels), rows, np.array([root.factor for root in roots]))

    @staticmethod
    def _rows(node: tuple[Node, Node, Node], starts: Sequence[Integers]) -> tuple[int, int]:
        _, one, other = node
        return int(starts[one.level][one.number]), int(starts[other.level][other.number])


def _terms(nodes: Sequence[tuple[Node, Node, Node, int, int]], start: Integers, wigner: bool) -> Terms:
    """Return the terms of a level. Nodes: the node, its two parts, and the first row of each part."""
    collected: dict[tuple[int, int, int], float] = {}
    for node, one, other, row_one, row_other in nodes:
        row = int(start[node.number] - start[0])
        coefficients = real_coupling(one.degree, other.degree, node.degree, wigner)
        for component, first, second in np.argwhere(np.abs(coefficients) > NEGLIGIBLE):
            # Both orders of two components of the same node are one term.
            pair = sorted((row_one + int(first), row_other + int(second)))
            key = (row + int(component), pair[0], pair[1])
            collected[key] = collected.get(key, 0.0) + float(coefficients[component, first, second])
    kept = sorted(key for key, weight in collected.items() if abs(weight) > NEGLIGIBLE)
    indices = np.array(kept, dtype=np.int64).reshape(-1, 3)
    weights = np.array([collected[key] for key in kept])
    return Terms(indices[:, 0], indices[:, 1], indices[:, 2], weights, int(start[-1] - start[0]))


@cache
def real_coupling(one: int, other: int, degree: int, wigner: bool) -> Floats:
    """Return the coefficients K (2L + 1, 2 l_1 + 1, 2 l_2 + 1) for real spherical harmonics.

    Args:
        one, other: l_1 and l_2.
        degree: L.
        wigner: K is (-1)^(L - M) times the Wigner 3j symbol with -M; else the Clebsch-Gordan coefficient.

    Returns:
        K, divided by i if l_1 + l_2 + L is odd.
    """
    coefficients = np.zeros((2 * degree + 1, 2 * one + 1, 2 * other + 1))
    for m in range(-one, one + 1):
        for k in range(-other, other + 1):
            if abs(m + k) <= degree:
                coefficients[degree + m + k, one + m, other + k] = clebsch_gordan(one, m, other, k, degree)
                if wigner:
                    coefficients[degree + m + k, one + m, other + k] *= _to_wigner(one, other, degree)
    upper, first, second = (real_from_complex(number) for number in (degree, one, other))
    turned: NDArray[np.complex128] = np.einsum("ab,bcd,ec,fd->aef", upper, coefficients, first.conj(), second.conj())
    real: Floats = turned.imag if (one + other + degree) % 2 else turned.real
    return real


def _to_wigner(one: int, other: int, degree: int) -> float:
    """Return (-1)^(L - M) 3j(l_1 m_1, l_2 m_2, L -M), divided by the Clebsch-Gordan coefficient; M cancels."""
    return (-1.0) ** (one - other + degree) / math.sqrt(2 * degree + 1)


def clebsch_gordan(one: int, m: int, other: int, k: int, degree: int) -> float:
    """Return the Clebsch-Gordan coefficient <l_1 m l_2 k | L m + k>, by Racah's formula.

    Args:
        one, m, other, k: l_1, m_1, l_2 and m_2.
        degree: L.
    """
    total = m + k
    if not abs(one - other) <= degree <= one + other or abs(total) > degree:
        return 0.0
    factorial = math.factorial
    prefactor = (2 * degree + 1) * factorial(degree + one - other) * factorial(degree - one + other)
    prefactor *= factorial(one + other - degree) * factorial(degree + total) * factorial(degree - total)
    prefactor *= factorial(one - m) * factorial(one + m) * factorial(other - k) * factorial(other + k)
    # The sum is one of fractions; with a common denominator it is exact.
    common = factorial(one + other + degree) ** 6
    terms = 0
    for s in range(one + other - degree + 1):
        arguments = (
            s,
            one + other - degree - s,
            one - m - s,
            other + k - s,
            degree - other + m + s,
            degree - one - k + s,
        )
        if min(arguments) >= 0:
            terms += (-1) ** s * (common // math.prod(map(factorial, arguments)))
    return terms / common * math.sqrt(prefactor / factorial(one + other + degree + 1))
