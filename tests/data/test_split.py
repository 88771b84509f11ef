"""The keys by which a model file knows the configurations of its fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.split import KEY_BYTES, Split, structure_key

RANDOM = np.random.default_rng(11)


def structure(atoms: int = 20, subset: Subset = Subset.TRAINING, **changes: object) -> Configuration:
    positions = RANDOM.uniform(0, 12, (atoms, 3))
    cell = np.diag(RANDOM.uniform(10, 14, 3))
    return Configuration("g/f", "g", ("Ta",) * atoms, positions, cell, subset=subset, **changes)


def seen(split: Split, configuration: Configuration) -> Subset:
    return split.assign([configuration])[0].subset


@pytest.mark.parametrize("atoms", [1, 2, 64, 1000])
@pytest.mark.parametrize("decimals", [8, 5])
def test_rounding_in_a_file_does_not_hide_a_structure(atoms: int, decimals: int):
    structures = [structure(atoms) for _ in range(60)]
    split = Split.of(structures, 1)
    rounded = [replace(one, positions=one.positions.round(decimals), cell=one.cell.round(8)) for one in structures]
    assert {seen(split, one) for one in rounded} == {Subset.TRAINING}


def test_one_displaced_atom_makes_another_structure():
    structures = [structure(100) for _ in range(50)]
    split = Split.of(structures, 1)
    moved = [one.positions.copy() for one in structures]
    for number, positions in enumerate(moved):
        positions[number] += (0.02, 0.0, 0.0)
    found = [seen(split, replace(one, positions=p)) for one, p in zip(structures, moved, strict=True)]
    assert set(found) == {Subset.TEST}


def test_what_makes_a_structure():
    one = structure(2)
    others = [
        replace(one, species=("Ta", "W")),
        replace(one, pbc=(True, True, False)),
        replace(one, cell=one.cell * 1.001),
        replace(one, positions=one.positions[::-1]),
        replace(one, spins=np.ones((2, 4))),
        replace(one, charges=np.array([0.5, -0.5])),
    ]
    keys = [structure_key(other) for other in (one, *others)]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {KEY_BYTES}
    same = replace(one, id="x", group="y", labels={"energy": np.array(1.0)}, charges=np.zeros(2))
    assert structure_key(same) == keys[0]


def test_sets_of_a_split():
    sets = (Subset.TRAINING, Subset.VALIDATION, Subset.TEST)
    members = [structure(3, subset) for subset in sets for _ in range(4)]
    split = Split.of(members, 5)
    assert (len(split.training), len(split.validation)) == (4, 4)
    assert split.is_of(members[::-1])
    assert split.is_of(members[:-1])
    assert not split.is_of(members[1:])
    hidden = [replace(one, subset=Subset.UNKNOWN) for one in members]
    assert [one.subset for one in split.assign(hidden)] == [one.subset for one in members]


def test_a_duplicate_in_training_and_test_set_stays_in_both_for_the_data_of_the_fit_only():
    one = structure(3)
    members = [one, replace(one, id="again", subset=Subset.TEST)]
    split = Split.of(members, 1)
    assert split.is_of(members)
    assert [found.subset for found in split.assign(members)] == [Subset.TRAINING] * 2


def test_what_the_fit_before_has_seen_is_not_unseen():
    old, new = structure(3), structure(3)
    split = Split.of([new], 2, Split.of([old], 1).training)
    assert seen(split, old) is seen(split, new) is Subset.TRAINING
    assert split.is_of([new])
