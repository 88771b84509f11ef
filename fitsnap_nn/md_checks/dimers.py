"""Dimer curves: every pair of elements repels at short distances."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.md_checks.check import Check, Curve, Number, judged
from fitsnap_nn.md_checks.references import References, radius
from fitsnap_nn.md_checks.runner import Runner

NAME, TITLE = "dimers", "Dimer curves"
POINTS = 40  # distances per pair
SHORTEST = 0.35  # of the sum of covalent radii, the end of the curve
BOND = 0.65  # of the sum; a pair that is closer is in no bond, with few exceptions (Cr2, Mo2, V2)
UNKNOWN = 0.8  # of the sum, for the shortest distance of a pair that the data do not have
NOISE = 0.05  # eV by which the energy may fall where no bond can be
STRONGEST = 12.0  # eV; a bond is not deeper (CO: 11.1)
WALL = 10.0  # eV, height of the repulsion that no collision in molecular dynamics crosses


def check_dimers(runner: Runner, references: References) -> Check:
    """Return whether the energy of each dimer rises to ``WALL`` below the distances of bonds and of the data."""
    pairs = list(combinations_with_replacement(references.elements, 2))
    distances = [_distances(pair, references) for pair in pairs]
    found = runner.evaluate(
        [dimer(pair, r) for pair, each in zip(pairs, distances, strict=True) for r in each.tolist()]
    )
    energies = np.array([one.energy for one in found]).reshape(len(pairs), POINTS)
    faults: list[str] = []
    numbers: list[Number] = []
    for pair, r, energy in zip(pairs, distances, energies, strict=True):
        curve = "-".join(pair), r, energy, shortest_distance(pair, references), BOND * _sum(pair)
        faults += _faults(*curve)
        numbers += _numbers(*curve)
    curves = [
        Curve("-".join(pair), r[::-1], (e - e[0])[::-1]) for pair, r, e in zip(pairs, distances, energies, strict=True)
    ]
    lowest = min(float(r[-1]) for r in distances)
    good = f"all {len(pairs)} pairs repel each other by at least {WALL:g} eV, without a hole down to {lowest:.2f} Å"
    if len(pairs) == 1:
        good = f"{'-'.join(pairs[0])} repels by at least {WALL:g} eV, without a hole down to {lowest:.2f} Å"
    verdict, summary = judged(faults, good)
    return Check(
        NAME, TITLE, verdict, summary, tuple(numbers), tuple(curves), "distance (Å)", "energy from the first point (eV)"
    ).noting(_absent(pairs, references))


def dimer(pair: tuple[str, str], distance: float) -> Configuration:
    """Return two atoms at a distance (Å), without periodicity."""
    positions = np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]])
    name = f"{'-'.join(pair)} {distance:.3f} Å"
    return Configuration(name, "dimers", pair, positions, np.zeros((3, 3)), (False, False, False))


def _sum(pair: tuple[str, str]) -> float:
    return radius(pair[0]) + radius(pair[1])


def shortest_distance(pair: tuple[str, str], references: References) -> float:
    """Return the shortest distance of a pair of elements in the data, Å; estimated if they have no such pair."""
    return references.shortest.get(pair, UNKNOWN * _sum(pair))


def _distances(pair: tuple[str, str], references: References) -> Floats:
    """Return distances from long to short, Å."""
    return np.geomspace(max(_sum(pair), shortest_distance(pair, references)), SHORTEST * _sum(pair), POINTS)


def _faults(name: str, r: Floats, energy: Floats, start: float, bond: float) -> Iterator[str]:
    """Yield what is wrong with a curve.

    Args:
        name: of the pair.
        r: distances from long to short, Å.
        energy: eV.
        start: shortest distance in the data, Å; below it only a bond may lower the energy.
        bond: distance below which there is none, Å.
    """
    fall, wall, hole = _shape(r, energy, min(start, bond), NOISE)
    if hole and wall < WALL:
        yield (
            f"{name} has a hole at short distance: at distances below {hole:.2f} Å, behind a barrier of {wall:.2g} eV, "
            f"the energy falls by {fall:.3g} eV"
        )
        return
    if wall < WALL:
        yield f"{name} repels by {wall:.2g} eV only down to {r[-1]:.2f} Å, less than {WALL:g} eV"
    fall, wall, hole = _shape(r, energy, start, STRONGEST)
    if hole and wall < WALL:
        yield f"{name} has a hole of {fall:.3g} eV below {hole:.2f} Å, deeper than any bond"


def _shape(r: Floats, energy: Floats, start: float, allowed: float) -> tuple[float, float, float]:
    """Return how far the energy falls, how high it rises before, and where it begins to fall.

    Args:
        r: distances from long to short, Å.
        energy: eV.
        start: longest distance that counts, Å.
        allowed: how far it may fall, eV.

    Returns:
        Largest fall (eV), rise from ``start`` to the first fall that is not allowed (eV), and the distance where that
        begins (Å), 0 if there is none.
    """
    inside = r <= start * (1 + 1e-9)
    r, rise = r[inside], energy[inside] - energy[inside][0]
    highest = np.maximum.accumulate(rise)
    fall = highest - rise
    too_deep = np.flatnonzero(fall > allowed)
    if not len(too_deep):
        return float(fall.max()), float(highest[-1]), 0.0
    top = int(rise[: too_deep[0] + 1].argmax())
    return float(fall.max()), float(rise[top]), float(r[top])


def _numbers(name: str, r: Floats, energy: Floats, start: float, bond: float) -> Iterator[Number]:
    fall, wall, _ = _shape(r, energy, min(start, bond), NOISE)
    yield Number(f"{name}: shortest distance in the data", start, "Å")
    yield Number(f"{name}: rise from {min(start, bond):.2f} Å", wall, "eV", WALL)
    yield Number(f"{name}: largest fall from there", fall, "eV", NOISE)


def _absent(pairs: list[tuple[str, str]], references: References) -> str:
    absent = ["-".join(pair) for pair in pairs if pair not in references.shortest]
    if not absent:
        return ""
    return f"The data have no close pair {', '.join(absent)}: only distances too short for bonds are judged."
