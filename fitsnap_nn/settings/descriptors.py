"""Number and order of SNAP descriptors, from the options alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement

from fitsnap_nn.settings.schema import Bispectrum


def n_descriptors(bispectrum: Bispectrum) -> int:
    """Return the number of descriptors per atom, quadratic terms included."""
    linear = n_components(bispectrum)
    return linear + (linear * (linear + 1) // 2 if bispectrum.quadraticflag else 0)


def n_components(bispectrum: Bispectrum) -> int:
    """Return the number of bispectrum components per atom, without quadratic terms.

    With ``chemflag`` there is one component per triple of elements.
    """
    element_channels = len(bispectrum.type) if bispectrum.chemflag else 1
    return sum(1 for _ in angular_momenta(max(bispectrum.twojmax))) * element_channels**3


def angular_momenta(twojmax: int) -> Iterator[tuple[int, int, int]]:
    """Yield 2j1, 2j2 and 2j of the bispectrum components in LAMMPS' order.

    Components B_j1j2j satisfy 0 <= j2 <= j1 <= j <= twojmax/2 and the triangle condition, see ``compute sna/atom`` in
    the LAMMPS manual.
    """
    for j1 in range(twojmax + 1):
        for j2 in range(j1 + 1):
            for j in range(j1 - j2, min(twojmax, j1 + j2) + 1, 2):
                if j >= j1:
                    yield j1, j2, j


def has_coefficient(bispectrum: Bispectrum) -> list[list[bool]]:
    """Return for each element which of its descriptors a linear model may use, from a ``twojmax`` per element.

    LAMMPS computes the components up to the largest ``twojmax`` for all elements. FitSNAP sets the coefficients of
    those above the ``twojmax`` of an element, and of products with them, to 0.
    """
    found = []
    repeats = len(bispectrum.type) ** 3 if bispectrum.chemflag else 1
    for limit in bispectrum.twojmax if len(bispectrum.twojmax) > 1 else bispectrum.twojmax * len(bispectrum.type):
        allowed = [j <= limit for _, _, j in angular_momenta(max(bispectrum.twojmax))] * repeats  # j is the largest
        if bispectrum.quadraticflag:
            allowed += [a and b for a, b in combinations_with_replacement(allowed, 2)]
        found.append(allowed)
    return found
