"""Basis functions of the atomic cluster expansion (ACE): which products of atomic densities FitSNAP uses, in its order.

A function of rank r is a product of r densities A_(mu n l m), which is coupled to a scalar. Densities are coupled in
pairs: l_1 and l_2 to L_1, l_3 and l_4 to L_2, l_5 and l_6 to L_3, then L_1 and L_2, and so on; a single l remains for
odd ranks. See R. Drautz, Phys. Rev. B 99, 014104 (2019), and J. M. Goff, C. Sievers, M. A. Wood and A. P. Thompson,
J. Comput. Phys. 510, 113073 (2024), for the coupling and for the choice of independent functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations_with_replacement, product
from math import comb
from types import MappingProxyType
from typing import NamedTuple

Ints = tuple[int, ...]
MAX_RANK = 6  # of FitSNAP's ACE


class AceFunction(NamedTuple):
    """A basis function.

    Attributes:
        centre: element of the central atom.
        elements, n, l: element, radial and angular index of each density.
        inner: L of each internal node of the coupling tree except the last, which is 0.
    """

    centre: int
    elements: Ints
    n: Ints
    l: Ints  # noqa: E741
    inner: Ints = ()

    @property
    def rank(self) -> int:
        """Number of densities."""
        return len(self.l)

    @property
    def label(self) -> str:
        """Label of FitSNAP: mu0_mu1,mu2,…,n1,n2,…,l1,l2,…_L1-L2-…."""
        indices = ",".join(map(str, (*self.elements, *self.n, *self.l)))
        return f"{self.centre}_{indices}_{'-'.join(map(str, self.inner))}"


class RankOptions(NamedTuple):
    """Limits of the indices of the functions of one rank: n = 1 … n_max, l = l_min … l_max."""

    rank: int
    n_max: int
    l_min: int
    l_max: int


def ace_functions(ranks: Iterable[RankOptions], count: int, basis: str) -> tuple[AceFunction, ...]:
    """Return the basis functions of all elements, in FitSNAP's order.

    Args:
        ranks: limits of each rank.
        count: number of elements.
        basis: ``pa_tabulated`` or ``minsub``: how independent functions of ranks above 3 are chosen.

    Raises:
        ValueError: the choice does not support a rank.
    """
    found = [
        AceFunction(centre, elements, n, momenta, inner)
        for options in ranks
        for elements, n, momenta, inner in _indices(options, count, basis)
        for centre in range(count)
    ]
    return in_order(found)


def in_order(functions: Iterable[AceFunction]) -> tuple[AceFunction, ...]:
    """Return functions in FitSNAP's order: by central element, length of the label, l, n and neighbour elements."""
    return tuple(sorted(functions, key=lambda one: (one.centre, len(one.label), one.l, one.n, one.elements)))


def parse_label(label: str) -> AceFunction:
    """Return the function of a label of FitSNAP, see `AceFunction.label`.

    Raises:
        ValueError: the text is no label, or its angular momenta cannot be coupled to a scalar.
    """
    parts = label.strip().split("_")
    try:
        centre, numbers = int(parts[0]), [int(word) for word in parts[1].split(",")]
        inner = tuple(int(word) for word in "_".join(parts[2:]).split("-") if word)
    except (ValueError, IndexError):
        raise ValueError(f"'{label}' is not a label such as 0_0,0,1,2,1,1_ (mu0_mu,mu,n,n,l,l_L)") from None
    rank, rest = divmod(len(numbers), 3)
    if rest or not 1 <= rank <= MAX_RANK or min(centre, *numbers) < 0 or min(numbers[rank : 2 * rank]) < 1:
        raise ValueError(f"'{label}' does not have an element, n and l for each of 1 to {MAX_RANK} densities")
    elements, n, momenta = (tuple(numbers[k * rank : (k + 1) * rank]) for k in range(3))
    function = AceFunction(centre, elements, n, momenta, inner)
    if not inner and rank == 3:
        function = function._replace(inner=function.l[2:])
    if sum(function.l) % 2 or function.inner not in intermediates(function.l):
        raise ValueError(
            f"the angular momenta of '{label}' cannot be coupled to a scalar that is invariant under inversion"
        )
    return function


def intermediates(momenta: Sequence[int]) -> list[Ints]:
    """Return all L of the internal nodes of a coupling tree whose root is a scalar, in FitSNAP's order."""
    pairs = [_triangle(*momenta[k : k + 2]) for k in range(0, len(momenta) - 1, 2)]
    last = momenta[-1]
    if len(momenta) == 1:
        return [()] if last == 0 else []
    if len(momenta) == 2:
        return [()] if momenta[0] == last else []
    if len(momenta) == 3:
        return [(last,)] if last in pairs[0] else []
    if len(momenta) == 4:
        return [(one, other) for one, other in product(*pairs) if one == other]
    if len(momenta) == 5:
        return [(*both, last) for both in product(*pairs) if last in _triangle(*both)]
    return [(*three, three[2]) for three in product(*pairs) if three[2] in _triangle(*three[:2])]


def even_intermediates(momenta: Sequence[int]) -> list[Ints]:
    """Return the `intermediates` of which each pair of l has an even sum with its L: no part changes by inversion."""
    sums = [sum(momenta[k : k + 2]) for k in range(0, len(momenta) - 1, 2)]

    def is_even(inner: Ints) -> bool:
        higher = sum(inner[:3]) if len(momenta) == 5 else inner[0] + inner[1] + inner[-1] if len(momenta) == 6 else 0
        return not any((total + degree) % 2 for total, degree in zip(sums, inner, strict=False)) and not higher % 2

    return [inner for inner in intermediates(momenta) if is_even(inner)]


def coupled_momenta(options: RankOptions) -> list[Ints]:
    """Return the sorted l of all products of a rank that contain a scalar."""
    if options.rank == 1:
        return [(0,)]
    choices = combinations_with_replacement(range(options.l_min, options.l_max + 1), options.rank)
    return [momenta for momenta in choices if sum(momenta) % 2 == 0 and intermediates(momenta)]


def least_number(options: RankOptions, elements: int) -> int:
    """Return a lower bound of the number of functions of a rank on an atom, in no time.

    It counts which densities are multiplied, for any order of the momenta, but neither the orders nor the couplings.
    """
    densities = options.n_max * elements
    return comb(densities + options.rank - 1, options.rank) * len(coupled_momenta(options))


def _triangle(one: int, other: int) -> range:
    return range(abs(one - other), one + other + 1)


def _indices(options: RankOptions, count: int, basis: str) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Yield elements, n, l and L of the functions of a rank, which are the same for all central atoms."""
    if options.rank <= 3:
        yield from _all_products(options, count)
        return
    choices: Mapping[str, Callable[[RankOptions, int], Iterable[tuple[Ints, Ints, Ints, Ints]]]] = _choices()
    yield from choices[basis](options, count)


@cache
def _choices() -> Mapping[str, Callable[[RankOptions, int], Iterable[tuple[Ints, Ints, Ints, Ints]]]]:
    # Imported here, since both modules need the functions above.
    from fitsnap_nn.settings.ace_minimal import minimal_functions
    from fitsnap_nn.settings.ace_tabulated import tabulated_functions

    return MappingProxyType({"minsub": minimal_functions, "pa_tabulated": tabulated_functions})


def _all_products(options: RankOptions, count: int) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Yield the functions of ranks 1 to 3: every product once, its densities sorted by element, l and n."""
    allowed = set(coupled_momenta(options))
    momenta = range(options.l_min, options.l_max + 1) if options.rank > 1 else range(1)
    densities = list(product(range(count), momenta, range(1, options.n_max + 1)))
    for chosen in combinations_with_replacement(densities, options.rank):
        elements, degrees, n = (tuple(column) for column in zip(*chosen, strict=True))
        if tuple(sorted(degrees)) in allowed:
            for inner in intermediates(degrees):
                yield elements, n, degrees, inner
