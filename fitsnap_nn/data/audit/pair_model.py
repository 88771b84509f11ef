"""Factors of forces from a pair potential that is fitted to the energies alone.

For groups without similar configurations, such as MD frames far apart. The forces of the pair potential are rough, but
they have the sign and size of the true ones: on public sets of metals, semiconductors and molecules the correlation is
0.75 to 0.99 and the ratio of the sizes 0.5 to 2, except for nearly relaxed structures, where there is no correlation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.audit.measures import Measures
from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.neighbours import find_neighbours

CUTOFF = 5.0  # Å
FIRST_CENTRE = 0.5  # Å
FUNCTIONS = 8  # radial functions per pair of elements
RIDGE = 1e-4
MIN_PER_PARAMETER, MAX_PER_PARAMETER = 3, 8  # configurations of the fit
MAX_ATOMS = 20_000
MIN_EXPLAINED = 0.3  # share of the variance of the energies of configurations that are not in the fit
MIN_CORRELATION = 0.6
OUTLIER = 10.0  # multiples of the median deviation of a group beyond which an energy is not fitted
MIN_FORCES = 1e-3, 0.05  # eV/Å; rms of the smaller and larger of labels and predictions, 0 in perfect crystals
MIN_SPREAD = 2e-3  # eV/atom, standard deviation of the energies of a group; relaxed structures say nothing
MIN_MEMBERS = 10  # configurations of a group
FACTOR = 4.0  # ratio of the sizes that a pair potential does not cause


class _Structure(NamedTuple):
    """Pairs of one configuration, and its row of the linear fit."""

    first: NDArray[np.int32]  # (P,)
    directions: Floats  # (P, 3) unit vectors
    kinds: NDArray[np.int64]  # (P,) pair of elements
    slopes: Floats  # (P, FUNCTIONS) derivatives of the radial functions
    row: Floats  # (D,) sums of the radial functions by kind, and numbers of atoms by element, per atom


def force_factors(data: Measures, groups: Iterable[str]) -> dict[str, float]:
    """Return the factors (true forces over labels) of the groups whose forces contradict their energies.

    Args:
        data: the data set.
        groups: groups to judge, by one pair potential.
    """
    sample = _sample(data, groups)
    elements = data.settings.elements
    size = len(elements) * (len(elements) + 1) // 2 * FUNCTIONS + len(elements)
    if len(sample) < MIN_PER_PARAMETER * size:
        return {}
    sample = sample[: MAX_PER_PARAMETER * size]
    structures = [_structure(one, elements) for one in _within_budget(sample)]
    sample = sample[: len(structures)]
    rows, energies = _centred([one.group for one in sample], np.array([one.row for one in structures]), sample)
    if len(rows) < MIN_PER_PARAMETER * size or _explained(rows, energies) < MIN_EXPLAINED:
        return {}
    coefficients = _ridge(rows, energies)[: size - len(elements)].reshape(-1, FUNCTIONS)
    predicted: dict[str, list[Floats]] = {}
    labelled: dict[str, list[Floats]] = {}
    for one, structure in zip(sample, structures, strict=True):
        predicted.setdefault(one.group, []).append(_forces(structure, coefficients, len(one)))
        labelled.setdefault(one.group, []).append(one.labels["forces"])
    factors = {
        group: _factor(labels, predicted[group])
        for group, labels in labelled.items()
        if np.std([(one.energy or 0.0) / len(one) for one in sample if one.group == group]) > MIN_SPREAD
    }
    return {group: factor for group, factor in factors.items() if factor is not None}


def _sample(data: Measures, groups: Iterable[str]) -> list[Configuration]:
    """Return the configurations of the groups with energies and forces in random order."""
    chosen = set(groups)
    members = [
        one
        for _, one, _ in data.labelled("forces")
        if one.group in chosen and one.energy is not None and 1 < len(one) <= MAX_ATOMS
    ]
    return [members[k] for k in np.random.default_rng(0).permutation(len(members))]


def _within_budget(sample: Sequence[Configuration]) -> Sequence[Configuration]:
    count = int(np.searchsorted(np.cumsum([len(one) for one in sample]), MAX_ATOMS, side="right"))
    return sample[:count]


def _centred(groups: Sequence[str], rows: Floats, sample: Sequence[Configuration]) -> tuple[Floats, Floats]:
    """Return rows and energies per atom relative to the mean of each group, without outliers.

    Energies of other references in some groups, or of single wrong labels, would otherwise dominate the fit.
    """
    energies = np.array([(one.energy or 0.0) / len(one) for one in sample])
    names = np.array(groups)
    rows, kept = rows.copy(), np.ones(len(energies), dtype=bool)
    for group in set(groups):
        members = names == group
        energies[members] -= np.median(energies[members])
        deviations = np.abs(energies[members])
        kept[members] = deviations <= OUTLIER * np.median(deviations)
        rows[members] -= rows[members & kept].mean(axis=0)
        energies[members] -= energies[members & kept].mean()
    return rows[kept], energies[kept]


def _structure(one: Configuration, elements: Sequence[str]) -> _Structure:
    neighbours = find_neighbours(one, CUTOFF)
    types = one.element_indices(elements)
    distances = np.linalg.norm(neighbours.vectors, axis=1)
    low, high = np.sort([types[neighbours.i], types[neighbours.j]], axis=0)
    kinds = high * (high + 1) // 2 + low
    centres = np.linspace(FIRST_CENTRE, CUTOFF, FUNCTIONS)
    width = CUTOFF / FUNCTIONS
    offsets = (distances[:, None] - centres) / width
    gaussians = np.exp(-0.5 * offsets**2)
    switch = 1.0 - distances[:, None] / CUTOFF
    slopes = -gaussians * switch * (offsets / width * switch + 2.0 / CUTOFF)
    sums = np.zeros((len(elements) * (len(elements) + 1) // 2, FUNCTIONS))
    np.add.at(sums, kinds, 0.5 * gaussians * switch**2)
    row = np.concatenate([sums.ravel(), np.bincount(types, minlength=len(elements))]) / len(one)
    return _Structure(neighbours.i, neighbours.vectors / distances[:, None], kinds, slopes, row)


def _ridge(rows: Floats, energies: Floats) -> Floats:
    """Return the coefficients of a regularised least-squares fit."""
    scale = np.sqrt((rows**2).mean(axis=0)) + np.finfo(np.float64).tiny
    ridge = RIDGE * np.sqrt(len(rows)) * np.eye(rows.shape[1])
    target = np.concatenate([energies, np.zeros(rows.shape[1])])
    coefficients: Floats = np.linalg.lstsq(np.concatenate([rows / scale, ridge]), target, rcond=None)[0] / scale
    return coefficients


def _explained(rows: Floats, energies: Floats) -> float:
    """Return the share of the variance of every second energy that a fit to the others explains."""
    residual = energies[1::2] - rows[1::2] @ _ridge(rows[::2], energies[::2])
    return 1.0 - float((residual**2).sum() / max(((energies[1::2] - energies[1::2].mean()) ** 2).sum(), 1e-12))


def _forces(structure: _Structure, coefficients: Floats, n_atoms: int) -> Floats:
    """Return (N, 3) the forces of the pair potential."""
    slopes = (structure.slopes * coefficients[structure.kinds]).sum(axis=1)
    forces = np.zeros((n_atoms, 3))
    np.add.at(forces, structure.first, slopes[:, None] * structure.directions)
    return forces


def _factor(labels: Sequence[Floats], predicted: Sequence[Floats]) -> float | None:
    """Return the factor of the labels if they are certainly wrong, else ``None``."""
    label, prediction = np.concatenate(labels), np.concatenate(predicted)
    sizes = np.sqrt((label**2).mean()), np.sqrt((prediction**2).mean())
    if len(labels) < MIN_MEMBERS or min(sizes) < MIN_FORCES[0] or max(sizes) < MIN_FORCES[1]:
        return None
    correlation = float((label * prediction).mean() / (sizes[0] * sizes[1]))
    ratio = float(sizes[1] / sizes[0])
    is_off = not 1.0 / FACTOR < ratio < FACTOR
    if abs(correlation) < MIN_CORRELATION or (correlation > 0.0 and not is_off):
        return None
    return float(np.sign(correlation)) * (ratio if is_off else 1.0)
