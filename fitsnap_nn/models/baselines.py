"""What is fitted before the network is: element energies, target scale, standardisation of descriptors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Composition(NamedTuple):
    """Element energies (E,) in eV, and whether the data determine each of them."""

    energies: Floats
    determined: bool


def fit_composition(fractions: Floats, energies_per_atom: Floats, weights: Floats) -> Composition:
    """Element energies E0 that minimise sum_c w_c (E_c/N_c - sum_Z x_cZ E0_Z)^2.

    Args:
        fractions: (C, E) fraction of each element in each configuration.
        energies_per_atom: (C,) eV/atom.
        weights: (C,).

    Returns:
        The solution of least norm where the data leave a choice, ``determined`` then being false.
    """
    root = np.sqrt(weights)
    energies, _, rank, _ = np.linalg.lstsq(fractions * root[:, None], energies_per_atom * root, rcond=None)
    return Composition(energies.astype(np.float64), bool(rank == fractions.shape[1]))


class Standardization(NamedTuple):
    """Mean and deviation (E, D) of each descriptor of each element, and its deviation (D,) over all atoms."""

    shift: Floats
    scale: Floats
    overall: Floats


def standardize(
    blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.floating]]], shape: tuple[int, int]
) -> Standardization:
    """Mean and standard deviation of descriptors by element, in one pass over (species (N,), descriptors (N, D)).

    A descriptor that does not vary for an element takes the deviation over all atoms, or 1 where it never varies: the
    data say nothing of it, and nothing may become NaN.
    """
    count = np.zeros(shape[0])
    mean = np.zeros(shape)
    squares = np.zeros(shape)
    for species, descriptors in blocks:
        for element in np.unique(species):
            values = descriptors[species == element].astype(np.float64)
            added = len(values)
            block_mean = values.mean(axis=0)
            delta = block_mean - mean[element]
            total = count[element] + added
            squares[element] += ((values - block_mean) ** 2).sum(axis=0) + delta**2 * count[element] * added / total
            mean[element] += delta * added / total
            count[element] = total
    noise = 1e-9 * np.abs(mean) + 1e-12 * np.abs(mean).max(axis=1, keepdims=True, initial=0.0)
    deviation = np.sqrt(squares / np.maximum(count, 1)[:, None])
    overall = np.sqrt(squares.sum(axis=0) / max(count.sum(), 1))
    constant = deviation <= noise
    always_constant = constant.all(axis=0)
    deviation = np.where(constant, np.where(always_constant, 1.0, overall), deviation)
    return Standardization(mean, deviation, np.where(always_constant, 1.0, overall))
