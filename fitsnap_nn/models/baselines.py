"""Baselines fitted before training: element energies, target scale, standardisation of descriptors."""

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


class FitStatistics(NamedTuple):
    """Statistics of the weighted labels of the training set, from which a target scale follows.

    Attributes:
        energies: (C,) eV/atom, less the reference and the element energies.
        forces: (M, 3) eV/Å of each configuration, less the reference.
        virials: largest virial component per atom of each configuration with a stress, eV.
    """

    energies: Floats
    forces: list[Floats]
    virials: list[float]


def half_spread_scale(statistics: FitStatistics) -> float:
    """Return half the spread of the energies per atom, or the largest force component times 1 Å if larger; eV.

    Where only stresses are fitted, the largest virial per atom.
    """
    energies = statistics.energies
    forces = [float(np.abs(array).max()) for array in statistics.forces]
    spread = 0.5 * float(np.ptp(energies)) if len(energies) else 0.0
    return max(spread, *forces, 0.0) or max(statistics.virials, default=0.0) or 1.0


def rms_scale(statistics: FitStatistics) -> float:
    """Return the root mean square of the force components times 1 Å, or of the energies without forces; eV."""
    forces = [array.ravel() for array in statistics.forces]
    values = np.concatenate(forces) if forces else statistics.energies
    return float(np.sqrt(np.mean(values**2))) if len(values) and np.any(values) else 1.0
