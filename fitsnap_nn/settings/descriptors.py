"""Number of SNAP descriptors, from the options alone."""

from __future__ import annotations

from fitsnap_nn.settings.schema import Bispectrum


def n_descriptors(bispectrum: Bispectrum) -> int:
    """Return the number of descriptors per atom, quadratic terms included."""
    linear = n_components(bispectrum)
    return linear + (linear * (linear + 1) // 2 if bispectrum.quadraticflag else 0)


def n_components(bispectrum: Bispectrum) -> int:
    """Return the number of bispectrum components per atom, without quadratic terms.

    Components B_j1j2j satisfy 0 <= j2 <= j1 <= j <= twojmax/2 and the triangle condition, see ``compute sna/atom`` in
    the LAMMPS manual. The loops run over 2j1, 2j2 and 2j. With ``chemflag`` there is one component per triple of
    elements.
    """
    twojmax = max(bispectrum.twojmax)
    triples = sum(
        1
        for j1 in range(twojmax + 1)
        for j2 in range(j1 + 1)
        for j in range(j1 - j2, min(twojmax, j1 + j2) + 1, 2)
        if j >= j1
    )
    element_channels = len(bispectrum.type) if bispectrum.chemflag else 1
    return triples * element_channels**3
