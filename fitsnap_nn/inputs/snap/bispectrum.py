"""Section [BISPECTRUM] as LAMMPS arguments, and quantities derived from it without LAMMPS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.settings.descriptors import n_components as n_components
from fitsnap_nn.settings.descriptors import n_descriptors as n_descriptors
from fitsnap_nn.settings.schema import Bispectrum


def largest_cutoff(bispectrum: Bispectrum) -> float:
    """Return the largest pair cutoff R_ij, Å."""
    return float(pair_cutoffs(bispectrum).max())


def pair_cutoffs(bispectrum: Bispectrum) -> NDArray[np.float64]:
    """Return the (elements, elements) pair cutoffs R_ij = rcutfac (radelem_i + radelem_j), Å."""
    radii = bispectrum.rcutfac * np.array(bispectrum.radelem)
    return np.add.outer(radii, radii)


def snap_arguments(bispectrum: Bispectrum) -> str:
    """Return the arguments common to ``compute snap`` and ``compute sna/atom``, without the style name.

    ``quadraticflag`` is omitted, because ``compute snap`` with ``dgradflag`` does not support it. The quadratic terms
    are added by `with_products` and `with_product_derivatives`.
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
    """Append the quadratic terms to bispectrum components, in the order of LAMMPS' ``quadraticflag``.

    Args:
        values: (N, n) components B_k.

    Returns:
        (N, n + n(n+1)/2) components: B_k, then for each k the terms B_k²/2 and B_k B_l with l > k.
    """
    first, second = np.triu_indices(values.shape[-1])
    products = values[:, first] * values[:, second]
    products[:, first == second] *= 0.5
    return np.concatenate([values, products], axis=1)


def with_product_derivatives(values: NDArray[np.float64], derivatives: NDArray[np.float64]) -> NDArray[np.float64]:
    """Append the derivatives of the quadratic terms, by the product rule.

    Args:
        values: (M, n) components.
        derivatives: (M, k, n) their derivatives with respect to k variables.

    Returns:
        (M, k, n + n(n+1)/2) derivatives of the result of `with_products`.
    """
    first, second = np.triu_indices(values.shape[-1])
    # d(B_k²/2) = B_k dB_k has one term, d(B_k B_l) has two.
    products = derivatives[..., first] * values[:, None, second]
    products[..., first != second] += (derivatives[..., second] * values[:, None, first])[..., first != second]
    return np.concatenate([derivatives, products], axis=2)
