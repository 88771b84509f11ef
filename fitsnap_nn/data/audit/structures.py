"""Checks of the structures: distances, duplicates, and similar structures on both sides of the split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fitsnap_nn.data.audit.measures import Measures
from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.findings import Finding

SAME_POSITIONS = 1e-4  # Å; programs write positions with this precision or better
SAME_CELL = 1e-5  # strain
SAME_ENERGY = 1e-5  # eV/atom
OTHER_ENERGY = 2e-3  # eV/atom; different k-points or cutoffs alone cause about 1e-3
SIMILAR = 0.03  # Å, rms; steps of relaxations, and of MD frames up to some 10 fs apart
RUN_LENGTH = 4  # similar configurations that are taken for frames of one run
MANY_SIMILAR = 5  # configurations outside the training set similar to one in it
MANY_SIMILAR_SHARE = 0.1
BLOCK_ENDS = 0.5  # fraction of the frames of a group that may be at the ends of its blocks

STRESS_IGNORED = "the stress label is ignored, because the cell is not periodic in all directions."
TOO_CLOSE = "atoms too close: below 0.4 of the sum of their covalent radii, or below 0.5 Å. Correct or remove it."
SEEN = "in the validation or test set, but the same structure is in the training set. Remove one of the two."
TWICE = "the same structure and energy twice in one set, so that it counts twice. Remove one of the two."
TWO_ENERGIES = (
    "the same structure with two energies, so that no model can fit both. Keep the one with the settings of the others."
)
RUN = (
    "in the validation or test set, but nearly the same structure (within 0.03 Å) is in the training set, as for "
    "frames of one relaxation or MD run: the errors will look too small. Keep each run in one set, for example "
    "as a group of its own with training_size or testing_size 1.0, or keep consecutive frames in one set with "
    "[GROUPS] random_sampling = 1 and a larger sampling_block."
)


def atoms_too_close(data: Measures) -> list[Finding]:
    """Find atoms below 0.4 of the sum of their covalent radii, or below 0.5 Å.

    Strongly compressed crystals reach 0.5 and have energies of tens of eV per atom there; shorter distances are wrong
    units of length, a missing lattice vector or an atom that is listed twice.
    """
    pairs = zip(data.configurations, data.contacts, strict=True)
    return [Finding(TOO_CLOSE, f"{one.id} ({contact.closest})") for one, contact in pairs if contact.closest]


def stress_without_volume(data: Measures) -> list[Finding]:
    """Find stress labels of cells whose volume is undefined."""
    found = [one for _, one, _ in data.labelled("stress") if not all(one.pbc)]
    return [Finding(STRESS_IGNORED, one.id, one.weight("stress") > 0.0) for one in found]


def duplicates(data: Measures) -> list[Finding]:
    """Find structures that occur twice, with one energy or with two.

    Across the sets the errors of validation and test are too small; within the training set the configuration has
    twice its weight; with two energies one of the labels is wrong, or the two come from different settings.
    """
    findings = []
    for first, second, difference in _same(data):
        one, other = sorted((first, second), key=lambda c: c.subset is Subset.TRAINING, reverse=True)
        if abs(difference) > OTHER_ENERGY * len(one):
            findings.append(Finding(TWO_ENERGIES, f"{one.id} and {other.id} ({difference / len(one):+.3g} eV/atom)"))
        elif not abs(difference) > SAME_ENERGY * len(one):
            if (one.subset is Subset.TRAINING) != (other.subset is Subset.TRAINING):
                findings.append(Finding(SEEN, f"{other.id} (as {one.id})"))
            elif one.subset is other.subset:
                findings.append(Finding(TWICE, f"{one.id} and {other.id}"))
    return findings


def _same(data: Measures) -> Iterator[tuple[Configuration, Configuration, float]]:
    """Yield the pairs of equal structures, with the difference of their energies in eV."""
    pairs = data.pairs
    for k in np.flatnonzero((pairs.displacement < SAME_POSITIONS) & (pairs.strain < SAME_CELL)):
        yield data.configurations[pairs.first[k]], data.configurations[pairs.second[k]], float(pairs.energy[k])


def one_run_on_both_sides(data: Measures) -> list[Finding]:
    """Find frames of one relaxation or MD run in and outside the training set.

    A frame is reported if it is within 0.03 Å of a training configuration of the same cell and belongs to a chain of
    at least four such configurations, or if such frames are many. A single pair, such as a structure before and after
    a short relaxation, is not reported, nor are strained cells, which are often sampled in small steps. With
    ``sampling_block`` frames at both ends of a block have a neighbour in the training set; they are reported in groups
    where most frames outside the training set are of this kind.
    """
    pairs = data.pairs
    near = pairs.where((pairs.displacement < SIMILAR) & (pairs.strain < SAME_CELL))
    count = len(data.configurations)
    links = coo_array((np.ones(len(near)), (near.first, near.second)), shape=(count, count))
    _, chain = connected_components(links, directed=False)
    training = np.array([one.subset is Subset.TRAINING for one in data.configurations], dtype=bool)
    across = near.where((training[near.first] != training[near.second]) & (near.displacement >= SAME_POSITIONS))
    seen: NDArray[np.int64] = np.unique(np.where(training[across.first], across.second, across.first))
    many = len(seen) > max(MANY_SIMILAR, MANY_SIMILAR_SHARE * np.count_nonzero(~training))
    long = np.bincount(chain, minlength=count)[chain[seen]] >= RUN_LENGTH
    groups = data.settings.groups
    if groups.random_sampling and groups.sampling_block > 1:
        reported = seen[long & _beyond_block_ends(data, seen)]
    else:
        reported = seen if many else seen[long]
    return [Finding(RUN, data.configurations[k].id) for k in reported]


def _beyond_block_ends(data: Measures, seen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each frame in ``seen`` whether too many of its group are there for ends of blocks."""
    names = [data.configurations[k].group for k in seen]
    similar, held_out = Counter(names), Counter(c.group for c in data.configurations if c.subset is not Subset.TRAINING)
    return np.array([similar[name] > BLOCK_ENDS * held_out[name] for name in names], dtype=bool)
