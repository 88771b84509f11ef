"""Checks of single labels: outliers, net forces, and zeros that stand for a label that was not computed."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from fitsnap_nn.data.audit.consistency import (
    agreeing_configurations,
    contradicting_energies,
    groups_in_wrong_units,
)
from fitsnap_nn.data.audit.measures import Measures
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding

MIN_GROUP = 5  # configurations from which the usual values of a group are taken
WIDTHS = 3.0  # multiples of the 10-90 % range of a group beyond which an energy is an outlier
MIN_DEVIATION = 0.25  # eV/atom; about the heat of fusion
MAX_COHESION = 10.0  # eV/atom; above every cohesive energy
FORCE_CONSTANT = 1.0  # eV/Å²; a soft bond
MODULUS = 0.1  # eV/Å³; 16 GPa, a soft solid
MAX_FORCE = 50.0  # eV/Å, of atoms without short distances
MANY_TIMES = 10.0  # multiples of the largest force in the rest of the group
MIN_OUTLIER_FORCE = 10.0  # eV/Å
MANY = 0.2  # share of a group at which the group is reported instead of its members
NET_FORCE = 0.01  # eV/Å per square root of the number of atoms
RELATIVE_NET_FORCE = 0.01  # of the rms force, per square root of the number of atoms

ENERGY = (
    "the energy is far from those of the group, and neither forces, stress nor distances explain it. Check units, "
    "convergence and whether it is the energy of the whole cell; correct or remove it."
)
SHIFTED = (
    "all energies of the group are far from those of the other groups. Check the unit, whether they are those of the "
    "whole cell, and whether all groups have the same method and energy reference."
)
FORCE = (
    "forces are far above those of the group, but no atoms are close together. Check units and convergence; correct or "
    "remove it."
)
LARGE_FORCES = (
    "many forces are above 50 eV/Å or ten times those of other configurations, but no atoms are close together. "
    "Check the unit of the forces."
)
NET = (
    "the forces do not sum to zero, unlike those of a potential. Usual causes: atoms held fixed, an external "
    "field, a forgotten atom, a poorly converged calculation. Correct or remove it, or omit its forces."
)
ZERO_STRESS = (
    "every component of the stress is exactly 0: it was probably not computed. Remove the label, give the frame "
    "stress_weight = 0, or set vweight 0."
)


def wrong_energies(data: Measures) -> list[Finding]:
    """Find energies that are far from their group without a physical reason, or contradict similar configurations.

    Energies per atom are compared after subtraction of element energies. A deviation is an outlier if it exceeds three
    times the range of the middle 80 % of the group, and what the labels of the configuration explain: F²/2k with the
    rms force F and a soft force constant k, and V σ²/2B with a soft bulk modulus B, both beyond those usual in the
    group. Energies above the group are also explained by short distances, and all energies by a similar configuration
    whose labels agree. So a cell of a volume scan at +28 eV/atom is not an outlier.
    """
    outliers = {}
    agreeing = agreeing_configurations(data)
    for indices in data.groups.values():
        judged = indices[np.isfinite(data.corrected_energies[indices]) & (data.n_atoms[indices] > 1)]
        if len(judged) < MIN_GROUP:
            continue
        values = data.corrected_energies[judged]
        low, middle, high = np.percentile(values, (10, 50, 90))
        limit = WIDTHS * (high - low) + MIN_DEVIATION
        # Forces, stress and short distances explain energies above the group only.
        usual = np.median([_elastic_energy(data.configurations[index]) for index in judged])
        for index in judged[(np.abs(values - middle) > limit) & ~agreeing[judged]]:
            one, deviation = data.configurations[index], data.corrected_energies[index] - middle
            short = data.contacts[index].short.any()
            explained = np.inf if short else max(0.0, _elastic_energy(one) - float(usual))
            if abs(deviation) > limit + (explained if deviation > 0.0 else 0.0):
                outliers[one.id] = Finding(ENERGY, f"{one.id} ({deviation:+.3g} eV/atom)")
    if shifted := _shifted_groups(data, outliers.keys()):
        return [*outliers.values(), *shifted]
    return [*outliers.values(), *(found for found in contradicting_energies(data) if found.where not in outliers)]


def _shifted_groups(data: Measures, outliers: Container[str]) -> list[Finding]:
    """Find groups whose lowest energy is further from that of the other groups than any bond or lattice energy.

    Outliers and configurations with short distances are left out.
    """
    lowest = {}
    for group, indices in data.groups.items():
        judged = [
            int(k)
            for k in indices[np.isfinite(data.corrected_energies[indices]) & (data.n_atoms[indices] > 1)]
            if data.configurations[k].id not in outliers and not data.contacts[k].short.any()
        ]
        if judged:
            lowest[group] = judged[int(data.corrected_energies[judged].argmin())]
    middle = np.median(data.corrected_energies[list(lowest.values())]) if lowest else 0.0
    wrong = groups_in_wrong_units(data)
    findings = []
    for group, index in lowest.items():
        deviation = float(data.corrected_energies[index] - middle)
        limit = MAX_COHESION + _elastic_energy(data.configurations[index])
        if group not in wrong and abs(deviation) > limit:
            findings.append(Finding(SHIFTED, f"group {group} ({deviation:+.3g} eV/atom)"))
    return findings


def _elastic_energy(one: Configuration) -> float:
    """Return a generous estimate of the energy above the minimum, eV/atom, from forces and stress."""
    energy = 0.0
    if one.forces is not None:
        energy += float((one.forces**2).sum(axis=1).mean()) / (2.0 * FORCE_CONSTANT)
    if one.stress is not None and all(one.pbc):
        energy += float((one.stress**2).sum()) * one.volume / len(one) / (2.0 * MODULUS)
    return energy


def force_outliers(data: Measures) -> list[Finding]:
    """Find large forces on atoms that have no short distance.

    Without a neighbour below 0.7 of the sum of covalent radii, forces do not exceed some 15 eV/Å even in stretched
    triple bonds; 50 eV/Å or ten times the largest force in the rest of the group is an outlier.
    """
    found = data.once(_large_forces)
    findings = []
    for group, indices in data.groups.items():
        members = [k for k in indices if k in found]
        if len(members) > max(1.0, MANY * len(indices)):
            findings.append(Finding(LARGE_FORCES, f"group {group}"))
        else:
            findings += [Finding(FORCE, f"{data.configurations[k].id} ({found[k]:.3g} eV/Å)") for k in members]
    return findings


def _large_forces(data: Measures) -> dict[int, float]:
    """Return the largest force of each configuration with an outlier, eV/Å; nothing if forces are in wrong units."""
    if groups_in_wrong_units(data):
        return {}
    largest = np.full(len(data.configurations), np.nan)
    for index, _, forces in data.labelled("forces"):
        magnitudes = np.linalg.norm(forces, axis=1)[~data.contacts[index].short]
        largest[index] = magnitudes.max(initial=0.0)
    found = {}
    for indices in data.groups.values():
        judged = indices[np.isfinite(largest[indices])]
        for index in judged[largest[judged] > MIN_OUTLIER_FORCE]:
            others = largest[judged[judged != index]]
            alone = len(others) >= MIN_GROUP and largest[index] > MANY_TIMES * np.percentile(others, 90)
            if alone or largest[index] > MAX_FORCE:
                found[int(index)] = float(largest[index])
    return found


def net_forces(data: Measures) -> list[Finding]:
    """Find forces that do not add up to zero.

    The sum of N independent errors grows as the square root of N. Errors per atom of up to 0.01 eV/Å or 1 % of the rms
    force are tolerated; they exceed the numerical noise of DFT codes (1e-5 eV/Å in most public data sets).
    Configurations with an outlier among their forces are reported by `force_outliers`.
    """
    findings = []
    outliers = data.once(_large_forces)
    for index, one, forces in data.labelled("forces"):
        net = float(np.abs(forces.sum(axis=0)).max())
        rms = float(np.sqrt((forces**2).mean()))
        tolerance = max(NET_FORCE, RELATIVE_NET_FORCE * rms) * np.sqrt(len(one))
        if len(one) > 1 and net > tolerance and index not in outliers:
            findings.append(Finding(NET, f"{one.id} ({net:.3g} eV/Å)"))
    return findings


def zero_stresses(data: Measures) -> list[Finding]:
    """Find stresses of which every component is exactly zero.

    Even a relaxed cell has a remainder; an exact zero of all components is what conversion programs write for
    calculations without a stress. Isolated atoms and labels without weight are not reported.
    """
    return [
        Finding(ZERO_STRESS, one.id)
        for _, one, stress in data.labelled("stress")
        if not stress.any() and len(one) > 1 and all(one.pbc) and one.weight("stress") > 0.0
    ]
