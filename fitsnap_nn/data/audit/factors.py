"""Factors of forces and stresses that explain the energy differences of similar configurations, and their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.audit.pairs import Pairs
from fitsnap_nn.data.configuration import Floats
from fitsnap_nn.units import BAR, BOHR, GPA, HARTREE, KCAL_PER_MOL, KJ_PER_MOL, RYDBERG

LABELS = ("forces", "stress")  # order of the factors
MIN_PAIRS = 4  # for factors of 4 or more, or negative ones
MIN_PAIRS_FOR_SMALL = 8  # for factors closer to 1
LARGE = 4.0
MIN_DISPLACEMENT = 1e-3  # Å; below, rounding of positions and labels dominates
MIN_STRAIN = 1e-4
NOISE = 2e-4  # eV/atom; rounding of energies
GOOD_FIT = 0.2  # median relative residual with the fitted factors
BAD_FIT = 0.3  # the same with a factor of 1
SHARE = 0.2  # of the energy differences that a label must explain
FACTOR = 1.6  # deviation from 1 that other settings or anharmonic paths do not cause
HARMONIC = 0.3  # Å; displacement up to which the work is accurate, also of stiff bonds
SMALL_STRAIN = 0.05
UNRELATED = 0.5  # residual over the sum of energy difference and work
MIN_UNRELATED = 15  # pairs
MIN_DIFFERENCE = 1e-3  # eV/atom
ROUNDS = 50  # of the iteration for least absolute residuals
UNIT_TOLERANCE = 0.25  # relative deviation at which a factor is taken for that of a unit
BEST_TOLERANCE = 0.05  # further units are named if they are as close as the closest

ENERGY_UNITS: Mapping[str, float] = MappingProxyType(
    {"Hartree": HARTREE, "Rydberg": RYDBERG, "kcal/mol": KCAL_PER_MOL, "kJ/mol": KJ_PER_MOL, "meV": 1e-3}
)
FORCE_UNITS: Mapping[str, float] = MappingProxyType(
    {
        "Hartree/bohr": HARTREE / BOHR,
        "Rydberg/bohr": RYDBERG / BOHR,
        "eV/bohr": 1.0 / BOHR,
        "kcal/mol/Å": KCAL_PER_MOL,
        "kJ/mol/Å": KJ_PER_MOL,
        "meV/Å": 1e-3,
    }
)
STRESS_UNITS: Mapping[str, float] = MappingProxyType(
    {"bar": BAR, "kbar": 1e3 * BAR, "GPa": GPA, "eV/Å³": 1.0, "Pa": 1e-9 * GPA, "Hartree/bohr³": HARTREE / BOHR**3}
)


def fit_factors(pairs: Pairs, n_atoms: Floats) -> Floats:
    """Return the factors that the work of forces and of stresses needs to give the energy differences.

    The factors minimise the sum of absolute relative residuals. They are accepted if the residuals are small and the
    label explains a good part of the differences; a factor that is far from 1 must also give a much better fit than 1.

    Args:
        pairs: P pairs.
        n_atoms: (P,) number of atoms.

    Returns:
        (2,) factors in the order of LABELS; NaN where the pairs do not determine one.
    """
    works, known = works_of(pairs)
    known &= pairs.displacement < HARMONIC
    works, energy = works[known], pairs.energy[known]
    if len(energy) < MIN_PAIRS:
        return np.full(2, np.nan)
    scale = np.abs(energy) + NOISE * n_atoms[known]
    works, energy = works / scale[:, None], energy / scale
    factors = _least_absolute(works, energy)
    determined = (np.median(np.abs(works * factors), axis=0) > SHARE) & ((works != 0.0).sum(axis=0) >= MIN_PAIRS)
    if np.median(np.abs(energy - works @ factors)) > GOOD_FIT:
        determined[:] = False
    for k in np.flatnonzero(determined):
        if len(energy) < MIN_PAIRS_FOR_SMALL and 1.0 / LARGE < factors[k] < LARGE:
            determined[k] = False
        with_one = np.where(np.arange(2) == k, 1.0, factors)
        if is_wrong(factors[k]) and np.median(np.abs(energy - works @ with_one)) < BAD_FIT:
            determined[k] = False
    return np.where(determined, factors, np.nan)


def are_unrelated(pairs: Pairs, n_atoms: Floats) -> bool:
    """Return whether the energy differences are unrelated to the work, for small displacements.

    The median residual is above half of the median sum of both absolute values; in correct data it is below a quarter.

    Args:
        pairs: P pairs.
        n_atoms: (P,) number of atoms.
    """
    works, known = works_of(pairs)
    used = known & (pairs.displacement < HARMONIC) & (pairs.strain < SMALL_STRAIN)
    work, energy = works[used].sum(axis=1), pairs.energy[used]
    if len(energy) < MIN_UNRELATED or np.median(np.abs(energy) / n_atoms[used]) < MIN_DIFFERENCE:
        return False
    return bool(np.median(np.abs(energy - work)) > UNRELATED * np.median(np.abs(energy) + np.abs(work)))


def works_of(pairs: Pairs) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the work of forces and stresses, without those whose paths are too short to tell.

    Returns:
        (P, 2) eV, 0 where the path does not need the label; (P,) whether the pair has a path and all labels.
    """
    moved, strained = pairs.displacement > MIN_DISPLACEMENT, pairs.strain > MIN_STRAIN
    works = np.stack([np.where(moved, pairs.force_work, 0.0), np.where(strained, pairs.stress_work, 0.0)], axis=1)
    return works, (moved | strained) & np.isfinite(works).all(axis=1) & np.isfinite(pairs.energy)


def is_wrong(factor: float) -> bool:
    """Return whether a factor is so far from 1 that the label has a wrong unit or sign; NaN is not."""
    return bool(factor < 0.0 or abs(np.log(np.abs(factor))) > np.log(FACTOR))


def _least_absolute(columns: Floats, target: Floats) -> Floats:
    """Return the coefficients with the least sum of absolute residuals, by iteratively reweighted least squares."""
    norms = np.linalg.norm(columns, axis=0) + np.finfo(np.float64).tiny
    scaled = columns / norms
    weights: Floats = np.ones(len(target))
    found: Floats = np.zeros(columns.shape[1])
    for _ in range(ROUNDS):
        found = np.linalg.lstsq(scaled * weights[:, None], target * weights, rcond=None)[0]
        weights = 1.0 / np.sqrt(np.maximum(np.abs(target - scaled @ found), 1e-6))
    coefficients: Floats = found / norms
    return coefficients


def describe(label: str, factor: float, n_atoms: int, *, rough: bool = False) -> str:
    """Return what is wrong with a label that needs a factor, and which unit or sign explains it.

    Args:
        label: one of LABELS, or ``energy``.
        factor: true value over label.
        n_atoms: number of atoms if energies per atom could have been taken for those of the cell, else 0.
        rough: whether the factor is too inaccurate to name units.
    """
    name = {"forces": "forces", "stress": "stresses", "energy": "energies"}[label]
    wrong = ["have the wrong sign"] if factor < 0.0 else []
    size = 1.0 / abs(factor)
    if is_wrong(size):
        wrong.append(
            f"are about {_rounded(size)} times too large"
            if size > 1.0
            else f"are about {_rounded(1 / size)} times too small"
        )
    guesses = _guesses(label, size, n_atoms) if is_wrong(size) and not rough else []
    guess = f", as if {' or '.join(guesses)}" if guesses else ""
    return f"the {name} {' and '.join(wrong)} for the energy differences between configurations{guess}."


def _rounded(number: float) -> str:
    return f"{float(f'{number:.2g}'):.6g}"


def _guesses(label: str, size: float, n_atoms: int) -> list[str]:
    """Return up to two units that were probably taken for others, for a label that is ``size`` times too large."""
    candidates = sorted((abs(np.log(size / expected)), what) for what, expected in _candidates(label, n_atoms))
    best = candidates[0][0]
    if best > UNIT_TOLERANCE:
        return []
    return [what for deviation, what in candidates if deviation < best + BEST_TOLERANCE][:2]


def _candidates(label: str, n_atoms: int) -> Iterator[tuple[str, float]]:
    """Yield descriptions of mistakes with the factor by which the label is too large."""
    if n_atoms:
        yield "energies per atom were read as energies of the cell", n_atoms
    if label == "stress":
        sizes = STRESS_UNITS.items()
        yield from ((f"{one} were read as {other}", b / a) for one, a in sizes for other, b in sizes if one != other)
        return
    unit, units = ("eV/Å", FORCE_UNITS) if label == "forces" else ("eV", ENERGY_UNITS)
    yield from ((f"{one} were read as {unit}", 1.0 / size) for one, size in units.items())
    yield from ((f"{unit} were read as {one}", size) for one, size in units.items())
    if label == "forces":
        yield from ((f"energies in {one} were read as eV", size) for one, size in ENERGY_UNITS.items())
