"""Node features of a MACE that can differ from zero: irreducible representations that its products form."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

Irrep = tuple[int, int]  # degree, and parity 1 (e) or -1 (o)
SCALAR: Irrep = (0, 1)
PSEUDOSCALAR: Irrep = (0, -1)
# mace excludes other intermediate results from products of four factors (mace.tools.cg.U_matrix_real).
INTERMEDIATE = frozenset((degree, (-1) ** degree) for degree in range(12))


class Hyperparameters(Protocol):
    """The hyperparameters that determine which features vanish; those of a section MACE or of a pretrained file."""

    @property
    def hidden_irreps(self) -> str: ...
    @property
    def edge_irreps(self) -> str: ...
    @property
    def max_ell(self) -> int: ...
    @property
    def correlation(self) -> int: ...
    @property
    def num_interactions(self) -> int: ...
    @property
    def interaction(self) -> str: ...
    @property
    def keep_last_layer_irreps(self) -> bool: ...


def parse_irreps(irreps: str) -> tuple[int, list[Irrep]]:
    """Return the number of channels, and the representations: 8 and (0, 1), (1, -1) for 8x0e + 8x1o."""
    found = re.findall(r"(\d+)x(\d+)([eo])", irreps)
    return int(found[0][0]), [(int(degree), 1 if parity == "e" else -1) for _, degree, parity in found]


def irrep_of(degree: int, pseudo: bool) -> Irrep:
    """Return the representation of a tensor: its parity is (-1)^degree, that of a pseudo-tensor the opposite."""
    return degree, (-1) ** degree * (-1 if pseudo else 1)


def name_of(irrep: Irrep) -> str:
    """Return the name of a representation in e3nn, such as 1o."""
    degree, parity = irrep
    return f"{degree}{'e' if parity == 1 else 'o'}"


def ends_in_scalars(section: Hyperparameters, layer: int) -> bool:
    """Return whether the features of a layer are scalars only: those of the last one, unless it keeps the others.

    Args:
        section: valid hyperparameters.
        layer: number of the layer, from 0.
    """
    return layer == section.num_interactions - 1 and (layer == 0 or not section.keep_last_layer_irreps)


def features_of_layers(section: Hyperparameters) -> list[set[Irrep]]:
    """Return the representations in the features of each layer that do not vanish for every structure.

    A layer multiplies the features of neighbours by spherical harmonics, sums over neighbours, and multiplies up to
    ``correlation`` sums of the same channel.

    Args:
        section: valid hyperparameters.
    """
    hidden = set(parse_irreps(section.hidden_irreps)[1])
    sent = set(parse_irreps(section.edge_irreps)[1]) if section.edge_irreps else hidden
    harmonics = [irrep_of(degree, pseudo=False) for degree in range(section.max_ell + 1)]
    both = [irrep_of(degree, pseudo) for degree in range(section.max_ell + 1) for pseudo in (False, True)]
    kept_sums = set(both if PSEUDOSCALAR in hidden else harmonics)  # mace's interaction_irreps
    features, found = {SCALAR}, []
    for layer in range(section.num_interactions):
        is_first = layer == 0
        sums = _products(features if is_first else features & sent, harmonics)
        sums &= set(harmonics) if is_first else kept_sums
        results = _symmetric_powers(sums, section.correlation)
        if "Residual" in section.interaction and not is_first:
            results |= features  # skip connection
        features = results & ({SCALAR} if ends_in_scalars(section, layer) else hidden)
        found.append(features)
    return found


def _products(first: Iterable[Irrep], second: Collection[Irrep]) -> set[Irrep]:
    """Return the representations in the tensor products of two sets."""
    return {
        (degree, parity * other_parity)
        for one, parity in first
        for other, other_parity in second
        for degree in range(abs(one - other), one + other + 1)
    }


def _symmetric_powers(factors: Collection[Irrep], most: int) -> set[Irrep]:
    """Return the representations in products of 1 to ``most`` factors, all of which are one vector.

    That vector has a component for each m of each representation. A monomial of components has the sum of their m, and
    the product of their parities. There are as many (l, p) among the products as there are more monomials with m = l
    than with m = l + 1.
    """
    counts: Sequence[Counter[Irrep]] = [Counter({SCALAR: 1}), *(Counter[Irrep]() for _ in range(most))]
    for degree, parity in factors:
        for m in range(-degree, degree + 1):
            for order in range(1, most + 1):  # ascending, so that a component may occur several times
                for (total, sign), number in list(counts[order - 1].items()):
                    counts[order][total + m, sign * parity] += number
    found: set[Irrep] = set()
    for order in range(1, most + 1):
        count = counts[order]
        results = {(m, sign) for m, sign in count if m >= 0 and count[m, sign] > count[m + 1, sign]}
        found |= results & _products(INTERMEDIATE, factors) if order == 4 else results
    return found
