"""Check of energies, forces and stresses against each other, by pairs of similar configurations.

Along the path between two similar configurations the energy difference is the work of forces and stress. The check
needs no model: small displacements (MD, relaxations, phonons) test the forces, strained cells (volume scans, elastic
constants) test the stress.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.audit.factors import LABELS, are_unrelated, describe, fit_factors, is_wrong, works_of
from fitsnap_nn.data.audit.measures import Measures
from fitsnap_nn.data.audit.pair_model import force_factors
from fitsnap_nn.data.audit.pairs import Pairs
from fitsnap_nn.data.configuration import Floats
from fitsnap_nn.data.findings import Finding

SAME_FACTOR = 2.0  # ratio of the factors of two groups that are taken for one mistake
OTHER_SETTINGS = 1e-2  # eV/atom; differences between calculations of different settings
MIN_CONTRADICTIONS = 3  # pairs of a configuration
MANY = 0.2  # share of a group whose labels contradict each other at which the group is reported

REMEDY = " Correct the unit or sign in the files or in [SCRAPER] property_array."
PER_ATOM = (
    "the energies are per atom, not of the whole cell: energy differences between similar configurations agree with "
    "forces and stresses if multiplied by the number of atoms. Give the energies of the whole cells."
)
CONTRADICTION = (
    "the energy contradicts the forces and stresses of several similar configurations. Check convergence and settings; "
    "correct or remove it."
)
DISAGREE = (
    "energies disagree with forces and stresses: the work of the latter does not explain the energy differences "
    "between similar configurations. Check that all labels of a configuration come from the same calculation, and that "
    "the forces are in the order of the atoms."
)


def wrong_units(data: Measures) -> list[Finding]:
    """Find groups whose energies, forces or stresses have a wrong factor or sign.

    The energy differences of the pairs of a group are fitted by factors times the work of forces and stresses. Groups
    with about the same factor are one finding. If forces and stresses are off by the same factor, or by the number of
    atoms, they are right and the energies are wrong.
    """
    found = data.once(_factors)
    wrong = groups_in_wrong_units(data)
    if all(found[group].per_atom for group in wrong) and len({found[group].n_atoms for group in wrong}) > 1:
        return [Finding(PER_ATOM, f"group {group}", data.is_fitted("energy")) for group in sorted(wrong)]
    by_label = {
        label: {group: float(one.factors[k]) for group, one in found.items() if is_wrong(one.factors[k])}
        for k, label in enumerate(LABELS)
    }
    both = {**by_label["stress"], **by_label["forces"]}
    if all(by_label.values()) and len(_clusters(both)) == 1:
        by_label = {"energy": {group: 1.0 / factor for group, factor in both.items()}}
    unrelated = [group for group, one in found.items() if one.unrelated]
    if len(unrelated) < len(both) or by_label.get("stress"):
        unrelated = []  # wrong units of one label spoil pairs that need both
    elif unrelated:
        unrelated, by_label = sorted(wrong), {}  # a factor of a few groups is by chance
    findings = [Finding(DISAGREE, f"group {group}") for group in unrelated]
    for label, groups in by_label.items():
        for members in _clusters(groups):
            factor = float(np.median([groups[group] for group in members]))
            sizes = {found[group].n_atoms if found[group].per_atom else 0 for group in members}
            rough = all(found[group].rough for group in members)
            what = describe(label, factor, sizes.pop() if len(sizes) == 1 else 0, rough=rough) + REMEDY
            findings += [Finding(what, f"group {group}", data.is_fitted(label)) for group in members]
    return findings


def groups_in_wrong_units(data: Measures) -> set[str]:
    """Return the groups that `wrong_units` reports."""
    return {group for group, one in data.once(_factors).items() if one.is_wrong}


class _Factors(NamedTuple):
    """Evidence on the labels of a group from its pairs.

    Attributes:
        factors: of forces and stresses.
        per_atom: whether its energies could be those per atom.
        n_atoms: number of atoms of its first pair.
        unrelated: whether energies have nothing to do with forces and stresses, whatever their factors.
        rough: whether the factor of the forces is that of a pair potential.
    """

    factors: Floats
    per_atom: bool
    n_atoms: int
    unrelated: bool
    rough: bool = False

    @property
    def is_wrong(self) -> bool:
        return self.unrelated or any(map(is_wrong, self.factors))


def _factors(data: Measures) -> dict[str, _Factors]:
    """Return the factors of each group, from pairs or, for forces that these leave open, a pair potential."""
    number = data.group_numbers
    names = list(data.groups)
    inside = number[data.pairs.first] == number[data.pairs.second]
    found = {}
    for k in np.unique(number[data.pairs.first[inside]]):
        pairs = data.pairs.where(inside & (number[data.pairs.first] == k))
        n_atoms = data.n_atoms[pairs.first]
        factors = fit_factors(pairs, n_atoms)
        whole = fit_factors(replace(pairs, energy=pairs.energy * n_atoms), n_atoms)
        per_atom = bool(np.isfinite(whole).any()) and not any(map(is_wrong, whole))
        unrelated = not any(map(is_wrong, factors)) and are_unrelated(pairs, n_atoms)
        found[names[k]] = _Factors(factors, per_atom, int(n_atoms[0]), unrelated)
    known = {group for group, one in found.items() if one.is_wrong or np.isfinite(one.factors[0])}
    unknown = [group for group in names if group not in known]
    for group, factor in force_factors(data, unknown).items():
        stress = found[group].factors[1] if group in found else np.nan
        found[group] = _Factors(np.array([factor, stress]), False, 0, False, rough=True)
    return found


def _clusters(factors: dict[str, float]) -> list[list[str]]:
    """Return lists of groups with about the same factor."""
    clusters: list[list[str]] = []
    for group, factor in factors.items():
        for members in clusters:
            ratio = factor / float(np.median([factors[one] for one in members]))
            if 1.0 / SAME_FACTOR < ratio < SAME_FACTOR:
                members.append(group)
                break
        else:
            clusters.append([group])
    return clusters


def contradicting_energies(data: Measures) -> list[Finding]:
    """Find single energies that contradict the labels of similar configurations.

    A pair is contradictory if the energies differ from the work by more than the sum of its absolute parts plus 10 meV
    per atom; the largest difference in clean data is half of that. A configuration is reported if it has several pairs,
    all of them contradictory. Nothing is reported while there are groups in wrong units, as these cause contradictions.
    """
    if groups_in_wrong_units(data):
        return []
    pairs, bad = _contradictory(data)
    count = len(data.configurations)
    ends = np.concatenate([pairs.first, pairs.second])
    n_bad = np.bincount(ends, np.tile(bad, 2), count)
    n_all = np.bincount(ends, minlength=count)
    suspects = (n_bad >= MIN_CONTRADICTIONS) & (n_bad == n_all)
    findings = []
    for group, indices in data.groups.items():
        found = indices[suspects[indices]]
        if len(found) > max(1.0, MANY * np.count_nonzero(n_all[indices])):
            findings.append(Finding(DISAGREE, f"group {group}"))
        else:
            findings += [Finding(CONTRADICTION, data.configurations[k].id) for k in found]
    return findings


def agreeing_configurations(data: Measures) -> NDArray[np.bool_]:
    """Return (C,) whether the energy of a configuration agrees with that of a similar one, within the work of both."""
    pairs, bad = _contradictory(data)
    agreeing = np.zeros(len(data.configurations), dtype=bool)
    agreeing[pairs.first[~bad]] = agreeing[pairs.second[~bad]] = True
    return agreeing


def _contradictory(data: Measures) -> tuple[Pairs, NDArray[np.bool_]]:
    """Return the pairs with all labels, and whether the energy difference contradicts the work."""
    works, known = works_of(data.pairs)
    pairs = data.pairs.where(known)
    limit = pairs.path + OTHER_SETTINGS * data.n_atoms[pairs.first]
    return pairs, np.abs(pairs.energy - works[known].sum(axis=1)) > limit
