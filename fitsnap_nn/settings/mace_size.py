"""Estimate of the number of weights of a MACE, to refuse one that exceeds the memory before it is built."""

from __future__ import annotations

from collections.abc import Sequence

from fitsnap_nn.settings.architectures import Mace
from fitsnap_nn.settings.mace_irreps import SCALAR, Irrep, ends_in_scalars, parse_irreps

SCALARS: Sequence[Irrep] = (SCALAR,)


def num_weights(section: Mace, num_elements: int) -> int:
    """Return the number of weights of the largest layers, which grow with the square of the number of channels.

    Args:
        section: valid hyperparameters.
        num_elements: number of elements.
    """
    channels, degrees = parse_irreps(section.hidden_irreps)
    inner, inner_degrees = parse_irreps(section.edge_irreps) if section.edge_irreps else (channels, degrees)
    total = num_elements * channels
    for layer in range(section.num_interactions):
        is_first = layer == 0
        inputs = SCALARS if is_first else degrees
        outputs = SCALARS if ends_in_scalars(section, layer) else degrees
        sources = SCALARS if is_first else inner_degrees
        block = section.interaction_first if is_first else section.interaction
        connected = len(set(inputs) & set(outputs)) if "Residual" in block else section.max_ell + 1
        total += len(sources) * channels * inner  # before the convolution
        total += _paths(sources, section.max_ell) * inner * (section.radial_MLP[-1] + channels)  # radial, and after it
        total += (connected * num_elements + len(outputs)) * channels**2  # skip connection, and after the product
    return total


def _paths(sources: Sequence[Irrep], max_ell: int) -> int:
    """Return the number of products of features and spherical harmonics that have the parity of the latter."""
    return sum(
        parity * (-1) ** edge == (-1) ** result
        for degree, parity in sources
        for edge in range(max_ell + 1)
        for result in range(abs(degree - edge), min(degree + edge, max_ell) + 1)
    )
