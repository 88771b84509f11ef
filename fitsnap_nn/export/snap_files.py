"""Coefficient and parameter file of LAMMPS' ``pair_style snap``, for linear models on SNAP descriptors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement

from fitsnap_nn.export.nn_text import UNITS_TAG
from fitsnap_nn.models.bpnn import PlainNetwork
from fitsnap_nn.settings.descriptors import angular_momenta
from fitsnap_nn.settings.schema import Bispectrum


def coefficients_text(networks: Sequence[PlainNetwork], bispectrum: Bispectrum) -> str:
    """Return the file with the coefficients of each element, the constant first.

    Args:
        networks: one network without hidden layers per element, without shift and scale.
        bispectrum: options of the descriptors.
    """
    lines = [
        f"# Coefficients of linear SNAP for pair_style snap. {UNITS_TAG} (eV)",
        f"{len(networks)} {1 + len(networks[0].shift)}",
    ]
    names = ["B[0]", *_component_names(bispectrum)]
    of_elements = zip(networks, bispectrum.type, bispectrum.radelem, bispectrum.wj, strict=True)
    for network, element, radius, weight in of_elements:
        ((coefficients, constant),) = network.layers
        lines.append(f"{element} {radius!r} {weight!r}")
        values = [*constant.tolist(), *coefficients[0].tolist()]
        lines += [f"{value:.17g} # {name}" for value, name in zip(values, names, strict=True)]
    return "\n".join(lines) + "\n"


def parameters_text(bispectrum: Bispectrum) -> str:
    """Return the file with the options of the descriptors; every option is explicit.

    Args:
        bispectrum: options of the descriptors.
    """
    lines = [
        f"# SNAP descriptors for pair_style snap. {UNITS_TAG} (Å)",
        f"rcutfac {bispectrum.rcutfac!r}",
        f"twojmax {max(bispectrum.twojmax)}",
        f"rfac0 {bispectrum.rfac0!r}",
        f"rmin0 {bispectrum.rmin0!r}",
        f"switchflag {int(bispectrum.switchflag)}",
        f"bzeroflag {int(bispectrum.bzeroflag)}",
        f"quadraticflag {int(bispectrum.quadraticflag)}",
        f"chemflag {int(bispectrum.chemflag)}",
        f"bnormflag {int(bispectrum.bnormflag)}",
        f"wselfallflag {int(bispectrum.wselfallflag)}",
        f"switchinnerflag {int(bispectrum.switchinnerflag)}",
    ]
    if bispectrum.switchinnerflag:
        lines += [f"{key} {' '.join(map(repr, getattr(bispectrum, key)))}" for key in ("sinner", "dinner")]
    return "\n".join(lines) + "\n"


def _component_names(bispectrum: Bispectrum) -> Iterator[str]:
    """Yield the name of each descriptor: its number and 2j1, 2j2, 2j; two such names for a product."""
    repeats = len(bispectrum.type) ** 3 if bispectrum.chemflag else 1
    momenta = [*angular_momenta(max(bispectrum.twojmax))] * repeats
    names = [f"B[{number}, {', '.join(map(str, one))}]" for number, one in enumerate(momenta, start=1)]
    yield from names
    if bispectrum.quadraticflag:
        yield from (f"{a} {b}" for a, b in combinations_with_replacement(names, 2))
