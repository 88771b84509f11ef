"""FitSNAP's choice ``pa_tabulated`` of ACE functions of rank 4: as many as are independent (permutation-adapted).

How many functions of a block with given n and l are independent depends on how many of the n and l are equal. The
counts and the order follow the ladder relationships of J. M. Goff, C. Sievers, M. A. Wood and A. P. Thompson, J.
Comput. Phys. 510, 113073 (2024), as FitSNAP's table has them. Neighbour elements act as part of n.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from functools import cache
from itertools import combinations_with_replacement, permutations, product
from typing import NamedTuple

from fitsnap_nn.settings.ace_functions import Ints, RankOptions, coupled_momenta, even_intermediates, intermediates

RANK = 4
EXCHANGES = ((1, 0, 2, 3), (0, 1, 3, 2), (1, 0, 3, 2), (2, 3, 0, 1), (1, 3, 0, 2), (2, 0, 3, 1), (3, 2, 1, 0))


class Product(NamedTuple):
    """Radial indices, in the order of l, and L of one function."""

    n: Ints
    l: Ints  # noqa: E741
    inner: Ints


def tabulated_functions(options: RankOptions, count: int) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Yield elements, n, l and L of each function.

    Args:
        options: limits of the indices.
        count: number of elements.

    Raises:
        ValueError: the rank is not 4, the only one of FitSNAP's table.
    """
    if options.rank != RANK:
        raise ValueError(f"b_basis = pa_tabulated has no functions of rank {options.rank}, but minsub has")
    densities = list(product(range(1, options.n_max + 1), range(count)))
    for momenta in coupled_momenta(options):
        for chosen in combinations_with_replacement(densities, RANK):
            yield from _block(chosen, momenta)


def _block(chosen: Sequence[tuple[int, int]], momenta: Ints) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Yield the functions of four (n, element) with distinct elements, n and l each, as LAMMPS requires.

    Where several functions have the same indices and differ in L only, the later ones get those of an equivalent
    order of the densities. FitSNAP drops functions for which all orders are taken.
    """
    counts = Counter(chosen)
    values = sorted(counts, key=lambda one: (-counts[one], one))
    pattern = tuple(k for k, one in enumerate(values) for _ in range(counts[one]))
    taken = set()
    for function in independent_products(pattern, momenta):
        rows = tuple((values[k], degree) for k, degree in zip(function.n, function.l, strict=True))
        orders = [rows, *(tuple(rows[k] for k in order) for order in EXCHANGES)]
        free = next((order for order in orders if order not in taken), None)
        if free is None:
            continue
        taken.add(free)
        elements, n = tuple(one[1] for one, _ in free), tuple(one[0] for one, _ in free)
        yield elements, n, tuple(degree for _, degree in free), function.inner


@cache
def independent_products(n: Ints, momenta: Ints) -> tuple[Product, ...]:
    """Return independent functions of given n and l, in the order of FitSNAP's table.

    Args:
        n: four numbers from 0, the most frequent one first, such as 0 0 1 2.
        momenta: sorted l.
    """
    blocks = [_of_pairing(n, pairing) for pairing in _pairings(momenta)]
    largest = max(blocks, key=len)
    combined = _combined(blocks)
    even, every = len(even_intermediates(momenta)), len(intermediates(momenta))
    fillings = len(_fillings(n, _runs(momenta)))
    same_n = tuple(sorted(Counter(n).values(), reverse=True))
    same_l = tuple(sorted(Counter(momenta).values(), reverse=True))
    if 0 in momenta:
        return tuple(combined[: fillings * every])
    if same_l == (4,) and max(same_n) > 2:
        return tuple(largest[::3])
    if same_l == (3, 1) and same_n != (1, 1, 1, 1) and same_n != (2, 2):
        kept = [one for one in largest if same_n == (2, 1, 1) or one.n in _fillings(n, _runs(one.l))]
        return tuple(kept[: (len(largest) + 1) // 2])
    if same_l in ((4,), (3, 1)) and max(same_n) > 1:
        return tuple(largest[: fillings * even])
    if (same_l, same_n) in (((2, 2), (4,)), ((2, 2), (3, 1)), ((2, 1, 1), (4,))):
        return tuple(largest)
    further = {
        ((2, 2), (2, 2)): even - 1,
        ((2, 2), (2, 1, 1)): 2 * (even - 1),
        ((2, 1, 1), (3, 1)): even - 1,
        ((2, 1, 1), (2, 2)): every - 1,
        ((2, 1, 1), (2, 1, 1)): 2 * (every - 1) + even - 1,
    }
    independent = fillings * even + further[same_l, same_n] if (same_l, same_n) in further else fillings * every
    return tuple(combined[:independent])


def _pairings(momenta: Ints) -> list[Ints]:
    """Return the orders of l that differ in how the tree pairs them, each sorted within and between the pairs."""
    orders = sorted(set(permutations(momenta)))
    return [one for one in orders if one[0] <= one[1] and one[2] <= one[3] and one[:2] <= one[2:]]


def _runs(values: Sequence[Hashable]) -> Ints:
    """Return how often each value occurs, in the order of their first occurrence."""
    return tuple(Counter(values).values())


def _fillings(n: Ints, sizes: Ints) -> set[Ints]:
    """Return the orders of n that are sorted within consecutive parts of the given sizes."""
    ends = [sum(sizes[:k]) for k in range(len(sizes) + 1)]
    parts = [slice(*ends[k : k + 2]) for k in range(len(sizes))]
    return {order for order in permutations(n) if all(list(order[part]) == sorted(order[part]) for part in parts)}


def _of_pairing(n: Ints, momenta: Ints) -> list[Product]:
    """Return the functions of one order of l, each combination of pairs once."""
    found, functions = set(), []
    sizes = [size for k in (0, 2) for size in _runs(momenta[k : k + 2])]
    for inner in even_intermediates(momenta):
        for order in sorted(_fillings(n, tuple(sizes))):
            densities = tuple(zip(momenta, order, strict=True))
            key = (inner, *sorted((tuple(sorted(densities[:2])), tuple(sorted(densities[2:])))))
            if key not in found:
                found.add(key)
                functions.append(Product(order, momenta, inner))
    return functions


def _combined(blocks: Sequence[Sequence[Product]]) -> list[Product]:
    """Return the functions of all orders of l. A later one is left out if an earlier one has its n on the same l and L.

    For the comparison densities are brought into the first order by the permutation with the longest cycle.
    """
    found, functions = set(), []
    for block in blocks:
        order = _longest_cycle(block[0].l, blocks[0][0].l)
        for one in block:
            densities = [tuple(zip(one.l, one.n, strict=True))[k] for k in order]
            pairs = [tuple(sorted(densities[:2])), tuple(sorted(densities[2:]))]
            key = (one.inner, *(sorted(pairs) if block is blocks[0] else pairs))
            if key not in found:
                found.add(key)
                functions.append(one)
    return functions


def _longest_cycle(momenta: Ints, target: Ints) -> Ints:
    """Return the first permutation that turns one order of l into another, of those with the longest cycle."""
    if momenta == target:
        return tuple(range(RANK))
    fitting = [one for one in permutations(range(RANK)) if tuple(momenta[k] for k in one) == target]
    return max(fitting, key=_cycle_length)


def _cycle_length(order: Ints) -> int:
    """Return the length of the longest cycle of a permutation."""
    lengths = []
    for start in range(len(order)):
        length, place = 1, order[start]
        while place != start:
            length, place = length + 1, order[place]
        lengths.append(length)
    return max(lengths)
