"""Which ACE functions there are, and in which order: FitSNAP's, of which the number and a hash are known."""

from __future__ import annotations

import hashlib

import pytest

from fitsnap_nn.settings.ace import Ace, functions_of
from fitsnap_nn.settings.ace_functions import RankOptions, ace_functions, intermediates, least_number, parse_label
from fitsnap_nn.settings.ace_tabulated import independent_products

# Basis, number of elements, ranks with n_max, l_min and l_max; number of the labels of FitSNAP (commit 1a9b0507), and
# the start of the SHA-256 of the labels, one per line. The first two minsub and pa_tabulated ones are its examples.
EXAMPLE = [(1, 22, 1, 1), (2, 2, 1, 2), (3, 2, 1, 2), (4, 2, 1, 2), (5, 1, 1, 1), (6, 1, 1, 1)]
OF_FITSNAP = [
    ("minsub", 1, EXAMPLE, 68, "26e7a472c971e637"),
    ("pa_tabulated", 2, [(1, 22, 0, 0), (2, 3, 0, 2), (3, 2, 0, 2), (4, 1, 1, 1)], 546, "6f15c849987b881b"),
    ("pa_tabulated", 1, [(1, 22, 0, 0), (2, 3, 0, 2), (3, 2, 0, 2), (4, 2, 0, 2)], 141, "52ea7e0e91640d03"),
    ("pa_tabulated", 1, [(4, 3, 0, 4)], 2460, "01091614461bd5a9"),  # without 6 that LAMMPS could not tell apart
    ("pa_tabulated", 2, [(3, 2, 0, 3), (4, 2, 0, 3)], 6088, "99462bcf3bc69b2c"),
    ("pa_tabulated", 3, [(3, 1, 0, 3), (4, 1, 0, 3)], 3228, "51cbc05c3eb8bf26"),
    ("pa_tabulated", 1, [(4, 4, 1, 3)], 1749, "a0571585be6a1f00"),
    ("minsub", 2, [(4, 2, 0, 2), (5, 1, 0, 2)], 3954, "2fd128c0eed79a93"),
    ("minsub", 1, [(4, 3, 0, 4)], 3153, "93456d95a0522828"),
    ("minsub", 1, [(5, 2, 0, 3)], 2232, "cbc5ccc53f7c3233"),
    ("minsub", 1, [(6, 2, 0, 2)], 870, "05fa5fa1592ab71d"),
    ("minsub", 2, [(6, 1, 0, 1)], 220, "a3fb4ef6334fb9ec"),
    ("minsub", 1, [(6, 1, 1, 3)], 31, "45a2a159a933f055"),
    ("minsub", 1, [(5, 1, 1, 4)], 98, "b9d50916f0459c14"),
]  # fmt: skip


@pytest.mark.parametrize(("basis", "count", "ranks", "number", "digest"), OF_FITSNAP)
def test_the_functions_of_fitsnap_in_its_order(
    basis: str, count: int, ranks: list[tuple[int, int, int, int]], number: int, digest: str
) -> None:
    labels = [one.label for one in ace_functions([RankOptions(*one) for one in ranks], count, basis)]
    assert len(labels) == len(set(labels)) == number
    assert hashlib.sha256("\n".join(labels).encode()).hexdigest()[:16] == digest
    assert all(parse_label(label).label == label for label in labels)


@pytest.mark.parametrize("basis", ["pa_tabulated", "minsub"])
@pytest.mark.parametrize("elements", [1, 2])
@pytest.mark.parametrize("l_min", [0, 1])
@pytest.mark.parametrize(("rank", "n_max", "l_max"), [(2, 4, 5), (3, 4, 4), (4, 2, 2), (4, 3, 3)])
def test_least_number(basis: str, elements: int, l_min: int, rank: int, n_max: int, l_max: int) -> None:
    options = RankOptions(rank, n_max, l_min, l_max)
    found = sum(one.centre == 0 for one in ace_functions([options], elements, basis))
    assert found / 20 < least_number(options, elements) <= found


def test_labels() -> None:
    functions = functions_of(Ace(type=("Ta",), ranks=(1, 2, 3), nmax=(1, 1, 1), lmax=(0, 1, 1)))
    assert [one.label for one in functions] == [
        "0_0,1,0_", "0_0,0,1,1,0,0_", "0_0,0,1,1,1,1_", "0_0,0,0,1,1,1,0,0,0_0", "0_0,0,0,1,1,1,0,1,1_1",
    ]  # fmt: skip


def test_all_couplings_of_distinct_densities_are_independent() -> None:
    """With four different n no two functions are related: there is one for each L, of either parity."""
    for momenta in ((1, 2, 2, 3), (1, 1, 2, 2), (2, 2, 2, 2), (1, 2, 3, 4)):
        orders = {one.l for one in independent_products((0, 1, 2, 3), momenta)}
        assert all(sorted(order) == list(momenta) for order in orders)
    # Six orders of n on pairs of different l, times L = 0, 1, 2.
    assert len(independent_products((0, 1, 2, 3), (1, 1, 2, 2))) == 6 * len(intermediates((1, 1, 2, 2))) == 18


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("0_0,1_", "does not have an element, n and l"),
        ("0_0,0,0_", "does not have an element, n and l"),  # n = 0
        ("x", "is not a label such as"),
        ("0_0,1,1_", "cannot be coupled to a scalar"),
        ("0_0,0,1,1,1,2_", "cannot be coupled to a scalar"),
        ("0_0,0,0,1,1,1,1,1,1_1", "cannot be coupled to a scalar"),  # changes sign under inversion
        ("0_0,0,0,0,1,1,1,1,1,1,1,1_0-2", "cannot be coupled to a scalar"),
    ],
)
def test_wrong_labels(label: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_label(label)


def test_labels_of_one_element_only_are_refused() -> None:
    with pytest.raises(ValueError, match="are not the same for all central elements"):
        functions_of(Ace(type=("In", "P")), ["0_0,1,0_"])
    with pytest.raises(ValueError, match="refers to an element beyond the 1 of type"):
        functions_of(Ace(type=("In",)), ["0_1,1,0_"])
    assert len(functions_of(Ace(type=("In", "P")), ["0_0,1,0_", "1_0,1,0_"])) == 1
