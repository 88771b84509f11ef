"""Sizes and loss weights of the groups of a new input, from the labels of the data."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fitsnap_nn.data.audit.pairs import find_pairs
from fitsnap_nn.data.audit.stress_offset import stress_offsets
from fitsnap_nn.data.configuration import Configuration, Floats, Subset, composition_fractions
from fitsnap_nn.data.statistics import root_mean_square
from fitsnap_nn.units import BAR

# Å. The spread of the energies is at least that of the forces times this displacement: where energies per atom differ
# by less, as those of one molecule, the forces determine them, and larger energy weights only add noise.
DISPLACEMENT = 0.25
# Factor by which the forces of a group may exceed those of the data before they count as outliers: those of a liquid
# are larger than those of a crystal, and as important.
LARGE_FORCES = 3.0
MIN_SPREAD, MIN_STRESS = 1e-3, 100.0  # eV/atom and eV/Å; bar. Smaller typical spreads are taken as this
# Residual from which a Huber loss is linear, over the spread of the labels: errors of a good fit are below it.
ROBUST = 0.1
HELD_OUT = 0.1  # fraction of a group for validation, and for the test set
# Smaller groups are for training only, as FitSNAP's fractions 0.9 and 0.1 are rounded; configurations.
MIN_FOR_VALIDATION, MIN_FOR_TEST = 5, 20


class Spread(NamedTuple):
    """Spread of the labels of a set of configurations; ``None`` without labels.

    Attributes:
        energy: deviation of the energy per atom from the typical energy of the composition, eV/atom.
        force: force component, eV/Å.
        stress: stress component, bar.
    """

    energy: float | None
    force: float | None
    stress: float | None


class Sizes(NamedTuple):
    """Fractions of a group for training, validation and test."""

    training: float
    validation: float
    test: float


ALL_TRAINING = Sizes(1.0, 0.0, 0.0)


def typical_energies(configurations: Sequence[Configuration], elements: Sequence[str]) -> Floats:
    """Return element energies (E,), eV, that minimise the sum of absolute deviations of the energies per atom.

    Absolute deviations are used instead of squares, so that a few outliers have no influence. Method: iteratively
    reweighted least squares, P. W. Holland and R. E. Welsch, Commun. Stat. Theory Methods 6, 813 (1977).

    Args:
        configurations: those with an energy.
        elements: chemical symbols.
    """
    fractions = composition_fractions(configurations, elements)
    energies = _per_atom(configurations)
    weights = np.ones(len(energies))
    found: Floats = np.zeros(len(elements))
    for _ in range(50):
        root = np.sqrt(weights)
        found = np.linalg.lstsq(fractions * root[:, None], energies * root, rcond=None)[0].astype(np.float64)
        weights = 1.0 / np.maximum(np.abs(energies - fractions @ found), MIN_SPREAD)
    return found


def _per_atom(configurations: Sequence[Configuration]) -> Floats:
    return np.array([(one.energy or 0.0) / len(one) for one in configurations])


def measure_spread(members: Sequence[Configuration], elements: Sequence[str], typical: Floats) -> Spread:
    """Return the RMS spread of the labels of a group.

    Args:
        members: the configurations.
        elements: chemical symbols.
        typical: (E,) result of `typical_energies` for the whole data set, eV.
    """
    return Spread(_rms(_energies(members, elements, typical)), _rms(_forces(members)), _rms(_stresses(members)))


def typical_spread(configurations: Sequence[Configuration], elements: Sequence[str], typical: Floats) -> Spread:
    """Return the typical spread of a data set: medians of energy and stress over the configurations, and the RMS force.

    A few outliers have no influence on a median. That of the forces would be 0 if most cells are perfect crystals.
    Energies count as at least `DISPLACEMENT` times the forces.

    Args:
        configurations: all but isolated atoms.
        elements: chemical symbols.
        typical: (E,) result of `typical_energies`, eV.
    """
    energies, stresses = _energies(configurations, elements, typical), _stresses(configurations)
    force = _rms(_forces(configurations))
    return Spread(
        max(float(np.median(energies)), MIN_SPREAD, DISPLACEMENT * (force or 0.0)) if len(energies) else None,
        None if force is None else max(force, MIN_SPREAD),
        max(float(np.median(stresses)), MIN_STRESS) if len(stresses) else None,
    )


def _energies(members: Sequence[Configuration], elements: Sequence[str], typical: Floats) -> Floats:
    """Return the deviation of each energy per atom from that of the typical energies, eV/atom."""
    labelled = [one for one in members if one.energy is not None]
    energies: Floats = np.abs(_per_atom(labelled) - composition_fractions(labelled, elements) @ typical)
    return energies


def _forces(members: Sequence[Configuration]) -> Floats:
    return np.concatenate([np.zeros(0), *(one.forces.ravel() for one in members if one.forces is not None)])


def _stresses(members: Sequence[Configuration]) -> Floats:
    """Return the RMS stress component of each cell that is periodic in all directions, bar."""
    return np.array([root_mean_square(one.stress / BAR) for one in members if one.stress is not None and all(one.pbc)])


def _rms(values: Floats) -> float | None:
    return root_mean_square(values) if values.size else None


def groups_with_wrong_stress(members: Sequence[Configuration]) -> Mapping[str, float]:
    """Return the groups whose stresses contradict their energies, with the offset, eV/Å³; see `stress_offsets`.

    If all groups that can be judged have an offset, which comes from the settings of the calculations, then the others
    have it too: their offset is NaN.
    """
    offsets = stress_offsets(find_pairs(members), members)
    wrong = {group: offset for group, offset in offsets.items() if offset}
    if not wrong or len(wrong) < len(offsets):
        return wrong
    return {group: offsets.get(group, math.nan) for group in dict.fromkeys(one.group for one in members)}


def choose_weights(group: Spread, typical: Spread) -> tuple[float, ...]:
    """Return eweight, fweight and vweight of a group: 1 over the square of the spread of the labels.

    The spread is that of the whole data set, so that energies, forces and stresses have comparable influence, or that
    of the group if it is larger, so that outliers do not dominate the loss. A label that a group lacks has weight 0.

    Args:
        group: spread of the group.
        typical: spread of the data set.
    """
    tolerances = (1.0, LARGE_FORCES, 1.0)
    return tuple(
        0.0 if own is None or whole is None else 1.0 / max(own / tolerance, whole) ** 2
        for own, whole, tolerance in zip(group, typical, tolerances, strict=True)
    )


def choose_huber_deltas(weights: Collection[Sequence[float]]) -> str:
    """Return the value of ``[PYTORCH] huber_delta``: `ROBUST` times the spread of the labels.

    Args:
        weights: eweight, fweight and vweight of each group. Those above 0 are 1/spread²; the smallest spread counts.
    """
    named = zip(("energy", "forces", "stress"), zip(*weights, strict=True), strict=True)
    deltas = {name: ROBUST / max(values) ** 0.5 for name, values in named if max(values) > 0.0}
    return " ".join(f"{name} {float(f'{delta:.2g}'):g}" for name, delta in deltas.items())


def choose_sizes(count: int, subset: Subset, has_validation: bool, has_test: bool) -> Sizes:
    """Return the sizes of a group.

    Args:
        count: configurations of the group.
        subset: set that the name of the group suggests; TRAINING if it suggests none.
        has_validation: whether another group is the validation set.
        has_test: whether another group is the test set.
    """
    if subset is not Subset.TRAINING:
        return Sizes(0.0, float(subset is Subset.VALIDATION), float(subset is Subset.TEST))
    held_out = max(1, round(HELD_OUT * count))
    validation = 0 if has_validation or count < MIN_FOR_VALIDATION else held_out
    test = 0 if has_test or count < MIN_FOR_TEST else held_out
    return Sizes(*(part / count for part in (count - validation - test, validation, test)))
