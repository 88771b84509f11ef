"""Blocks of consecutive configurations, which a random split keeps together.

Frames of one MD run that follow each other are similar. If they are in different sets, the errors of the validation
set are close to those of the training set, however overfitted a model is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

import numpy as np

from fitsnap_nn.data.audit.pairs import find_pairs
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.files import natural_order

MIN_BLOCKS = 3  # of every set: fewer do not represent a group
CONSECUTIVE = 0.5  # fraction of similar neighbours; MD frames up to 20 fs apart have 1, independent ones below 0.2
# Å; displacements below this length times the strain are those of volume scans and deformations in small steps. Whole
# parts of a scan must not be held out, so that it does not count as a run.
STRAIN_LENGTH = 2.5


def block_length(longest: int, counts: Iterable[int]) -> int:
    """Return the length of the blocks of a group: the given one, or less if a set would have fewer than three blocks.

    Args:
        longest: ``[GROUPS] sampling_block``.
        counts: number of configurations of each set; empty sets do not matter.
    """
    return max(1, min(longest, min(filter(None, counts), default=1) // MIN_BLOCKS))


def shuffle_blocks(
    members: Sequence[Configuration], length: int, generator: np.random.Generator
) -> list[Configuration]:
    """Return the configurations of a group in random order, with blocks of consecutive ones kept together.

    Args:
        members: configurations in natural order.
        length: maximum number of configurations per block; 1 shuffles single configurations.
        generator: source of random numbers.
    """
    blocks = _blocks(members, length)
    return [one for k in generator.permutation(len(blocks)) for one in blocks[k]]


def _blocks(members: Sequence[Configuration], length: int) -> list[list[Configuration]]:
    """Cut each run into blocks of equal length or one less, without a short one at the end.

    A run is a file with several configurations, or a sequence of files with one each, such as those of FitSNAP.
    """
    frames = Counter(map(_file, members))
    blocks = []
    for _, group in groupby(members, key=lambda one: _file(one) if frames[_file(one)] > 1 else ""):
        run = list(group)
        count = -(-len(run) // length)
        bounds = [len(run) * k // count for k in range(count + 1)]
        blocks += [run[start:stop] for start, stop in pairwise(bounds)]
    return blocks


def _file(configuration: Configuration) -> str:
    return configuration.id.rpartition("#")[0] or configuration.id


def are_consecutive(members: Sequence[Configuration]) -> bool:
    """Return whether the configurations of a group are frames of runs, such as MD or relaxations, in their order.

    The three most similar configurations of a frame of a run are those before and after it. Of independent
    configurations they are anywhere in the group.
    """
    pairs = find_pairs(sorted(members, key=lambda one: natural_order(one.id)))
    moved = pairs.displacement > STRAIN_LENGTH * pairs.strain
    return bool(np.count_nonzero(moved & (pairs.second - pairs.first == 1)) > CONSECUTIVE * len(members))
