"""[BISPECTRUM] in LAMMPS' words, and what follows from it without LAMMPS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.settings.schema import Bispectrum


def n_descriptors(bispectrum: Bispectrum) -> int:
    """Descriptors of one atom."""
    linear = n_components(bispectrum)
    return linear + (linear * (linear + 1) // 2 if bispectrum.quadraticflag else 0)


def n_components(bispectrum: Bispectrum) -> int:
    """Components of one atom, products not counted.

    B_j1j2j with 0 <= j2 <= j1 <= j <= twojmax/2 and the triangle rule: LAMMPS' manual, ``compute sna/atom``.
    """
    twojmax = max(bispectrum.twojmax)
    triples = sum(
        1
        for j1 in range(twojmax + 1)
        for j2 in range(j1 + 1)
        for j in range(j1 - j2, min(twojmax, j1 + j2) + 1, 2)
        if j >= j1
    )
    densities = len(bispectrum.type) if bispectrum.chemflag else 1
    return triples * densities**3


def largest_cutoff(bispectrum: Bispectrum) -> float:
    """Largest R_ij, Å."""
    return float(pair_cutoffs(bispectrum).max())


def pair_cutoffs(bispectrum: Bispectrum) -> NDArray[np.float64]:
    """(elements, elements) R_ij = rcutfac (radelem_i + radelem_j), Å."""
    radii = bispectrum.rcutfac * np.array(bispectrum.radelem)
    return np.add.outer(radii, radii)


def snap_arguments(bispectrum: Bispectrum) -> str:
    """Arguments that ``compute snap`` and ``compute sna/atom`` share, after the style's name.

    ``quadraticflag`` is not among them: LAMMPS has no gradients of products, see `with_products`.
    """
    elements = range(len(bispectrum.type))
    words: list[object] = [
        bispectrum.rcutfac,
        bispectrum.rfac0,
        max(bispectrum.twojmax),
        *bispectrum.radelem,
        *bispectrum.wj,
        "rmin0",
        bispectrum.rmin0,
        "bzeroflag",
        int(bispectrum.bzeroflag),
        "switchflag",
        int(bispectrum.switchflag),
        "bnormflag",
        int(bispectrum.bnormflag),
        "wselfallflag",
        int(bispectrum.wselfallflag),
    ]
    if bispectrum.chemflag:
        words += ["chem", len(elements), *elements]
    if bispectrum.switchinnerflag:
        words += ["switchinnerflag", 1, "sinner", *bispectrum.sinner, "dinner", *bispectrum.dinner]
    return " ".join(map(str, words))


def with_products(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, n) components -> (N, n + n(n+1)/2): B_k, then B_k²/2 and B_k B_l for l > k, row by row."""
    first, second = np.triu_indices(values.shape[-1])
    products = values[:, first] * values[:, second]
    products[:, first == second] *= 0.5
    return np.concatenate([values, products], axis=1)


def with_product_derivatives(values: NDArray[np.float64], derivatives: NDArray[np.float64]) -> NDArray[np.float64]:
    """Derivatives (M, k, n) of components (M, n) -> those of `with_products`, by the product rule."""
    first, second = np.triu_indices(values.shape[-1])
    products = derivatives[..., first] * values[:, None, second]
    products[..., first != second] += (derivatives[..., second] * values[:, None, first])[..., first != second]
    return np.concatenate([derivatives, products], axis=2)
