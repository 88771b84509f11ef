"""Baselines fitted before training: element energies, target scale, standardisation of descriptors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.statistics import root_mean_square

Floats = NDArray[np.float64]

# RMS force component times 1 Å over RMS energy per atom: below it forces are those of configurations where they vanish
# by symmetry. FitSNAP's tantalum data, with volume scans of 28 eV/atom, have 0.2.
NOISE_OF_FORCES = 0.01


class Composition(NamedTuple):
    """Element energies (E,) in eV, and whether the data determine each of them."""

    energies: Floats
    determined: bool


def fit_composition(fractions: Floats, energies_per_atom: Floats, weights: Floats) -> Composition:
    """Return the element energies E0 that minimise sum_c w_c (E_c/N_c - sum_Z x_cZ E0_Z)^2.

    Args:
        fractions: (C, E) fraction of each element in each configuration.
        energies_per_atom: (C,) eV/atom.
        weights: (C,) weights of the configurations.

    Returns:
        The minimum-norm solution. ``determined`` is false if the data do not determine every element energy.
    """
    root = np.sqrt(weights)
    energies, _, rank, _ = np.linalg.lstsq(fractions * root[:, None], energies_per_atom * root, rcond=None)
    return Composition(energies.astype(np.float64), bool(rank == fractions.shape[1]))


class Standardization(NamedTuple):
    """Standardisation of descriptors.

    Attributes:
        shift: (E, D) mean per element.
        scale: (E, D) standard deviation per element.
        overall: (D,) standard deviation over all atoms.
    """

    shift: Floats
    scale: Floats
    overall: Floats


def standardize(
    blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.floating]]], shape: tuple[int, int]
) -> Standardization:
    """Return mean and standard deviation of descriptors per element, in one pass over the data.

    A descriptor that is constant for an element gets the deviation over all atoms; one that is constant for all
    elements gets 1, to avoid a division by zero.

    Args:
        blocks: (species (N,), descriptors (N, D)) of each block of atoms.
        shape: number of elements E, number of descriptors D.

    Returns:
        Mean and deviations.
    """
    count = np.zeros(shape[0])
    mean = np.zeros(shape)
    squares = np.zeros(shape)
    for species, descriptors in blocks:
        for element in np.unique(species):
            values = descriptors[species == element].astype(np.float64)
            added = len(values)
            block_mean = values.mean(axis=0)
            # Parallel update of mean and sum of squares: T. F. Chan, G. H. Golub and R. J. LeVeque, Am. Stat. 37, 242
            # (1983). The difference of mean square and squared mean would lose most digits.
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
    """Labels of the training set with non-zero weight, from which the target scale follows.

    Attributes:
        energies: (C,) eV/atom, reference energy and element energies subtracted.
        forces: per configuration (M, 3) eV/Å, reference forces subtracted.
        virials: per configuration with a stress, the largest virial component per atom, eV.
    """

    energies: Floats
    forces: list[Floats]
    virials: list[float]


def half_spread_scale(statistics: FitStatistics) -> float:
    """Return the target scale of descriptor models.

    Half the range of the energies per atom, or the maximum force component times 1 Å, whichever is larger. If only
    stresses are fitted, the maximum virial component per atom.

    Args:
        statistics: labels of the training set.

    Returns:
        Scale in eV; 1 if all labels vanish.
    """
    energies = statistics.energies
    forces = [float(np.abs(array).max()) for array in statistics.forces]
    spread = 0.5 * float(np.ptp(energies)) if len(energies) else 0.0
    return max(spread, *forces, 0.0) or max(statistics.virials, default=0.0) or 1.0


def rms_scale(statistics: FitStatistics) -> float:
    """Return the target scale of graph models: RMS force component times 1 Å, or RMS energy per atom.

    The energies determine it without forces, and if the forces vanish by symmetry but for the noise of the labels, as
    in volume scans of perfect crystals. If only stresses are fitted, it is the RMS of the largest virial components.

    Args:
        statistics: labels of the training set.

    Returns:
        Scale in eV; 1 if all labels vanish.
    """
    forces = root_mean_square(np.concatenate([np.zeros(0), *(array.ravel() for array in statistics.forces)]))
    energies = root_mean_square(statistics.energies)
    labels = forces if forces > NOISE_OF_FORCES * energies else energies
    return labels or root_mean_square(np.array(statistics.virials)) or 1.0
