"""Check of stresses for a pressure that the energies do not have.

Calculations with plane waves have one, the Pulay stress, if the cutoff of the waves is low: stresses are those at a
fixed set of waves, energies of different cells those at a fixed cutoff. G. P. Francis and M. C. Payne, J. Phys.
Condens. Matter 2, 4395 (1990). A model cannot have both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fitsnap_nn.data.audit.consistency import groups_in_wrong_units
from fitsnap_nn.data.audit.factors import HARMONIC, MIN_PAIRS_FOR_SMALL, works_of
from fitsnap_nn.data.audit.measures import Measures
from fitsnap_nn.data.audit.pairs import Pairs
from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.units import GPA

MAX_STRAIN = 0.03  # up to which the work along a straight path is accurate
MIN_CHANGE = 5e-3  # relative change of the volume
# eV/Å³; in sets with converged stresses, of elements and compounds, the largest offset of a group is 0.12 GPa.
MIN_OFFSET = 0.5 * GPA
MAX_DEVIATION = 0.5  # median absolute deviation of the offsets of pairs over their median
REMEDY = " Set its vweight to 0, or calculate its stresses with a higher cutoff."


def stress_offsets(pairs: Pairs, members: Sequence[Configuration]) -> Mapping[str, float]:
    """Return the pressure by which the stresses of a group exceed those that its energies have, by name of the group.

    Args:
        pairs: pairs of similar configurations.
        members: all configurations.

    Returns:
        eV/Å³, the median over the pairs; positive if the stresses are too tensile, 0 if small or different from pair to
        pair. Groups without strained cells that are similar enough have none.
    """
    names = np.array([one.group for one in members])
    volumes = np.array([one.volume for one in members])
    works, known = works_of(pairs)
    strained = (np.abs(pairs.volume) > MIN_CHANGE * volumes[pairs.first]) & (pairs.strain < MAX_STRAIN)
    inside = names[pairs.first] == names[pairs.second]
    used = np.flatnonzero(known & strained & inside & (pairs.displacement < HARMONIC))
    offsets = (works[used].sum(axis=1) - pairs.energy[used]) / pairs.volume[used]
    groups = names[pairs.first[used]]
    return {
        str(name): _common(offsets[groups == name])
        for name in dict.fromkeys(groups)
        if (groups == name).sum() >= MIN_PAIRS_FOR_SMALL
    }


def _common(offsets: Floats) -> float:
    """Return the offset that pairs have in common; 0 if it is small or they have none."""
    median = float(np.median(offsets))
    deviation = float(np.median(np.abs(offsets - median)))
    return median if abs(median) > MIN_OFFSET and deviation < MAX_DEVIATION * abs(median) else 0.0


def offset_stresses(data: Measures) -> list[Finding]:
    """Find groups whose stresses have an offset; wrong units, which cause offsets, are reported instead."""
    if groups_in_wrong_units(data):
        return []
    findings = []
    for group, offset in stress_offsets(data.pairs, data.configurations).items():
        if offset:
            fitted = data.is_fitted("stress", group)
            findings.append(Finding(_describe(offset) + (REMEDY if fitted else ""), f"group {group}", fitted))
    return findings


def _describe(offset: float) -> str:
    """Return what an offset of the stresses of a group, eV/Å³, means."""
    sign = "tensile" if offset > 0.0 else "compressive"
    return (
        f"the stresses are about {abs(offset) / GPA:.1f} GPa too {sign} for the energy differences between strained "
        "cells, as with too low a plane-wave cutoff (Pulay stress). A model cannot fit both, and its energies suffer."
    )
