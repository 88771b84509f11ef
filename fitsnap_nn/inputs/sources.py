"""Where records come from: for each kind of model what computes them, and what keeps different settings apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from fitsnap_nn.inputs.cache.cache_key import descriptor_key, graph_key
from fitsnap_nn.inputs.cache.compute import Calculator
from fitsnap_nn.inputs.cached import CachedDescriptors, CachedGraph, CachedInput
from fitsnap_nn.inputs.graph.compute import GraphCompute
from fitsnap_nn.inputs.snap.bispectrum import largest_cutoff, n_descriptors
from fitsnap_nn.inputs.snap.compute import SnapCompute, choose_route
from fitsnap_nn.settings.schema import Bispectrum, Reference

R = TypeVar("R", bound=CachedInput)


@dataclass(frozen=True)
class Source(Generic[R]):
    """A kind of records.

    Attributes:
        kind: their class.
        key: what they depend on besides their configurations.
        cutoff: how far neighbours are, Å.
        summary: of what is in them and what computes them, for people.
        open: a calculator, for a ``with`` statement.
    """

    kind: type[R]
    key: Mapping[str, Any]
    cutoff: float
    summary: str
    open: Callable[[], AbstractContextManager[Calculator[R]]]


def descriptor_source(
    bispectrum: Bispectrum, reference: Reference, *, gradients: bool, strain: bool, folder: str | Path = "."
) -> Source[CachedDescriptors]:
    """SNAP descriptors.

    Args:
        gradients, strain: what is computed besides, see `SnapCompute`.
        folder: where relative names of potential files start.
    """
    return Source(
        CachedDescriptors,
        descriptor_key(bispectrum, reference, gradients=gradients, strain=strain, folder=folder),
        largest_cutoff(bispectrum),
        f"descriptors: {n_descriptors(bispectrum)} an atom by {choose_route()[1]}",
        lambda: SnapCompute(bispectrum, reference, gradients=gradients, strain=strain, folder=folder),
    )


def graph_source(
    elements: tuple[str, ...], cutoff: float, reference: Reference, folder: str | Path = "."
) -> Source[CachedGraph]:
    """Neighbour graphs.

    Args:
        cutoff: Å.
        folder: where relative names of potential files start.
    """
    return Source(
        CachedGraph,
        graph_key(elements, cutoff, reference, folder),
        cutoff,
        f"graphs: neighbours within {cutoff:g} Å",
        lambda: GraphCompute(elements, cutoff, reference, folder),
    )
