"""FitSNAP's choice ``minsub`` of ACE functions of ranks 4 to 6: one for each way to distribute the densities on pairs.

Two products differ if their densities (element, n, l) are paired differently by the coupling tree. Each pairing gets
the largest L only. The representatives, and with them the order of the functions, are those of FitSNAP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations_with_replacement, permutations, product

from fitsnap_nn.settings.ace_functions import Ints, RankOptions, coupled_momenta, even_intermediates


def minimal_functions(options: RankOptions, count: int) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Yield elements, n, l and L of each function.

    Args:
        options: limits of the indices.
        count: number of elements.
    """
    rank = options.rank
    for momenta in coupled_momenta(options):
        trees = _trees(momenta)
        for n in combinations_with_replacement(range(1, options.n_max + 1), rank):
            for elements in combinations_with_replacement(range(count), rank):
                yield from _distributed(trees, sorted(set(permutations(n))), sorted(set(permutations(elements))))


def _distributed(
    trees: Sequence[tuple[Ints, Ints]], radial: Sequence[Ints], elements: Sequence[Ints]
) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Yield the first function of each pairing."""
    found = set()
    for momenta, inner in trees:
        for n, species in product(radial, elements):
            pairing = _pairing(momenta, n, species)
            if pairing not in found:
                found.add(pairing)
                yield species, n, momenta, inner


def _pairing(momenta: Ints, n: Ints, species: Ints) -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """Return the densities of each pair, sorted; all together if they have the same l."""
    if len(set(momenta)) == 1:
        return (tuple(sorted(zip(species, n, momenta, strict=True))),)
    pairs = []
    for start in range(0, len(momenta), 2):
        part = slice(start, start + 2)
        # As in FitSNAP the l of a pair are sorted first. With the order of `_trees` this only renames the pairs.
        pairs.append(tuple(sorted(zip(species[part], n[part], sorted(momenta[part]), strict=True))))
    return tuple(sorted(pairs))


def _trees(momenta: Ints) -> list[tuple[Ints, Ints]]:
    """Return the orders of l that are paired differently, each with its largest L."""
    counts = Counter(momenta)
    by_frequency = sorted(counts, key=lambda one: (-counts[one], one))
    numbers = {degree: number for number, degree in enumerate(by_frequency)}
    mapped = [numbers[degree] for degree in sorted(momenta, key=lambda one: -counts[one])]
    if len(counts) != len(momenta) // 2:
        mapped = _equal_pairs_first(mapped)
    chosen, leaves, orbits = [], set(), set()
    for order in sorted(tuple(by_frequency[k] for k in fill) for fill in _distinct_pairings(tuple(mapped))):
        inner = even_intermediates(order)[-1]
        pairs = [tuple(sorted(order[k : k + 2])) for k in range(0, len(order), 2)]
        leaf = tuple(sorted(zip(pairs, inner, strict=False)))
        orbit = (tuple(sorted(order[:4])), tuple(sorted(order[4:])))
        if leaf not in leaves or orbit not in orbits:
            chosen.append((order, inner))
            leaves.add(leaf)
            orbits.add(orbit)
    return chosen


def _equal_pairs_first(numbers: Sequence[int]) -> list[int]:
    """Return the numbers with pairs of equal ones first, then the rest, both sorted."""
    counts = Counter(numbers)
    pairs = [number for number in sorted(counts) for _ in range(counts[number] // 2 * 2)]
    return pairs + [number for number in sorted(counts) if counts[number] % 2]


@cache
def _distinct_pairings(numbers: Ints) -> tuple[Ints, ...]:
    """Return the orders, sorted within pairs, that no symmetry of the coupling tree maps to each other.

    Permutations that act on ``numbers`` as a symmetry of the tree does count as symmetries, as in FitSNAP.
    """
    symmetries = _tree_symmetries(len(numbers))
    images = {_permuted(numbers, one) for one in symmetries}
    acting = [one for one in permutations(range(len(numbers))) if _permuted(numbers, one) in images]
    orders = sorted({order for order in permutations(numbers) if _is_sorted_in_pairs(order)})
    kept, dropped = [], set()
    for order in orders:
        if order not in dropped:
            kept.append(order)
            dropped |= {_permuted(order, one) for one in {*symmetries, *acting}}
    return tuple(kept)


def _permuted(values: Sequence[int], indices: Sequence[int]) -> Ints:
    return tuple(values[k] for k in indices)


def _is_sorted_in_pairs(order: Ints) -> bool:
    return all(order[k] <= order[k + 1] for k in range(0, len(order) - 1, 2))


@cache
def _tree_symmetries(rank: int) -> tuple[Ints, ...]:
    """Return the permutations of leaves that exchange leaves of pairs, or pairs.

    FitSNAP's list for rank 6 lacks the rotations of three pairs of order 3.
    """
    pairs, single = rank // 2, tuple(range(rank // 2 * 2, rank))
    found = []
    for order, flips in product(permutations(range(pairs)), product((0, 1), repeat=pairs)):
        leaves = tuple(2 * pair + (k ^ flip) for pair, flip in zip(order, flips, strict=True) for k in (0, 1))
        thrice = _permuted(_permuted(leaves, leaves), leaves)
        if pairs < 3 or leaves == tuple(range(2 * pairs)) or thrice != tuple(range(2 * pairs)):
            found.append(leaves + single)
    return tuple(found)
