"""Blocks of consecutive configurations: which set they are in, how long they are, and which groups consist of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
import pytest
from ase.build import bulk

from fitsnap_nn.data.blocks import are_consecutive, block_length
from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.groups import Dataset, assemble
from fitsnap_nn.settings.plain import as_dict, differences, from_dict
from fitsnap_nn.settings.schema import Bispectrum, GroupRow, Groups, PytorchSection, Settings

Size = float | int | None


def settings_of(
    block: int, training: Size = 0.8, testing: Size = 0.1, test: Size = 0.1, shuffled: bool = True
) -> Settings:
    row = GroupRow("A", training, testing, 1.0, 1.0, 1.0, "Cu.in:1", test)
    groups = Groups(rows=(row,), random_sampling=shuffled, random_seed=7, sampling_block=block)
    return Settings(bispectrum=Bispectrum(type=("Cu",)), groups=groups)


def members(count: int, file: str = "run.xyz", step: float = 1e-3) -> list[Configuration]:
    """Return frames of a run in which the atoms move by a random step, Å, per frame."""
    atoms = bulk("Cu", cubic=True)
    steps = np.random.default_rng(1).normal(scale=step, size=(count, len(atoms), 3)).cumsum(axis=0)
    return [_configuration(f"A/{file}#{k}", atoms.positions + moved, atoms.cell.array) for k, moved in enumerate(steps)]


def _configuration(name: str, positions: np.ndarray, cell: np.ndarray) -> Configuration:
    labels = {"energy": np.array(-1.0)}
    return Configuration(name, "A", ("Cu",) * len(positions), positions, cell, labels=labels)


def split(settings: Settings, configurations: Sequence[Configuration]) -> Dataset:
    return assemble(settings, configurations, settings.groups.random_seed)


def sets_of(dataset: Dataset) -> list[Subset]:
    """Return the set of each configuration in natural order."""
    return [one.subset for one in dataset.configurations]


def blocks_of(dataset: Dataset) -> list[int]:
    """Return the lengths of the sequences of configurations in one set."""
    return [len(list(run)) for _, run in groupby(sets_of(dataset))]


def test_single_configurations_are_shuffled_as_before_there_were_blocks() -> None:
    """The split of stored fits is repeated from their seed. The numbers are those of the version without the key."""
    found = sets_of(split(settings_of(1), members(20)))
    assert [k for k, one in enumerate(found) if one is Subset.VALIDATION] == [3, 13]
    assert [k for k, one in enumerate(found) if one is Subset.TEST] == [5, 10]


@pytest.mark.parametrize("block", [2, 7, 10, 1000])
@pytest.mark.parametrize(
    "sizes",
    [(0.8, 0.1, 0.1), (0.7, None, 0.1), (50, 20, 0), (50, 20, 13), (0.01, 0.99, 0), (1.0, 0, 0), (0.9, 0.0, 0.1)],
)
def test_blocks_do_not_change_the_size_of_the_sets(block: int, sizes: tuple[Size, Size, Size]) -> None:
    for count in (1, 5, 101):
        expected, found = (split(settings_of(length, *sizes), members(count)) for length in (1, block))
        assert Counter(sets_of(found)) == Counter(sets_of(expected))
        assert len({one.id for one in found.configurations}) == len(found.configurations)


@pytest.mark.parametrize("seed", range(5))
def test_blocks_stay_in_one_set_except_at_the_border_of_two(seed: int) -> None:
    """101 configurations in 34 blocks of 3 or 2; the borders of training, validation and test set cut two of them."""
    settings = settings_of(3)
    dataset = assemble(settings, members(101), seed)
    bounds = [101 * k // 34 for k in range(35)]
    sets = sets_of(dataset)
    assert sum(len(set(sets[a:b])) > 1 for a, b in pairwise(bounds)) <= 2
    assert split(settings, members(101)[::-1]).configurations[0].id == "A/run.xyz#0"


def test_training_fraction_is_split_in_blocks() -> None:
    settings = replace(settings_of(5, test=0), pytorch=PytorchSection(training_fraction=0.75))
    dataset = split(settings, members(100))
    assert sets_of(dataset).count(Subset.TRAINING) == 75
    assert all(length % 5 == 0 for length in blocks_of(dataset))


def test_blocks_end_with_their_file() -> None:
    """Files with several frames are runs; files of one frame each are one run together."""
    runs = [one for k in range(4) for one in members(10, f"run{k}.xyz")]
    dataset = split(settings_of(15, 0.5, 0.5, 0), runs)
    # Every set has 20 configurations, of which three blocks have 6 each: 5 in a file of 10.
    assert all(length % 5 == 0 for length in blocks_of(dataset))
    single = [replace(one, id=f"A/{k}.json") for k, one in enumerate(members(40))]
    assert all(length % 5 == 0 for length in blocks_of(split(settings_of(5, 0.5, 0.5, 0), single)))


def test_small_groups_have_shorter_blocks_and_a_note_says_so() -> None:
    assert [block_length(10, counts) for counts in ([80, 10, 10], [8, 1, 0], [300, 40, 0], [2, 0, 0], [0, 0, 0])] == [
        3, 1, 10, 1, 1,
    ]  # fmt: skip
    (note,) = split(settings_of(10), members(100)).notes
    assert note.startswith("group A (3): sampling_block = 10 is reduced to the length in brackets")
    assert split(settings_of(3), members(100)).notes == []
    assert split(settings_of(10, 1.0, 0, 0), members(12)).notes == []
    assert split(settings_of(10, shuffled=False), members(100)).notes == []


def test_without_shuffle_blocks_have_no_effect() -> None:
    first, second = (split(settings_of(block, shuffled=False), members(30)) for block in (1, 4))
    assert sets_of(first) == sets_of(second)


def test_stored_settings_without_the_key_mean_single_configurations() -> None:
    stored = as_dict(settings_of(1))
    del stored["groups"]["sampling_block"]
    assert differences(from_dict(stored), settings_of(1)) == []
    assert any("sampling_block" in line for line in differences(from_dict(stored), settings_of(5)))


def test_frames_of_runs_are_consecutive() -> None:
    run = members(60, step=0.01)
    assert are_consecutive(run)
    assert are_consecutive(run[::-1])  # in natural order of their ids
    order = np.random.default_rng(0).permutation(len(run))
    assert not are_consecutive([replace(one, id=f"A/{k}") for one, k in zip(run, order, strict=True)])


def test_independent_frames_and_scans_are_not_consecutive() -> None:
    atoms, generator = bulk("Cu", cubic=True), np.random.default_rng(0)
    displaced = [
        _configuration(f"A/{k}", atoms.positions + generator.normal(scale=0.05, size=(4, 3)), atoms.cell.array)
        for k in range(60)
    ]
    scan = [
        _configuration(f"A/{k}", x * atoms.positions, x * atoms.cell.array)
        for k, x in enumerate(np.linspace(0.9, 1.1, 60))
    ]
    other = [replace(one, species=("Cu",) * 4, positions=one.positions) for one in members(1)]
    for group in (displaced, scan, other, []):
        assert not are_consecutive(group)


@pytest.mark.parametrize(("block", "warned"), [(1, True), (2, True), (10, False)])
def test_ends_of_blocks_are_no_warning(block: int, warned: bool) -> None:
    """Frames within 0.03 Å: with blocks of ten, two of ten frames have a neighbour in the training set."""
    warnings = split(settings_of(block, 0.8, 0.2, 0), members(300, step=0.01)).warnings
    assert len(warnings) == warned
    assert not warned or "a larger sampling_block" in warnings[0]
