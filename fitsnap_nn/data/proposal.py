"""Contents of a new input, derived from the data: elements, cutoff, repulsion, sizes and weights of the groups."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from fitsnap_nn.data.blocks import are_consecutive, block_length
from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.discovery import TEST, VALIDATION
from fitsnap_nn.data.exploration import Group, Reading
from fitsnap_nn.data.findings import some, summarize
from fitsnap_nn.data.neighbours import is_isolated
from fitsnap_nn.data.properties import STANDARD
from fitsnap_nn.data.proposed_training import choose_loss, choose_steps
from fitsnap_nn.data.survey import (
    Distances,
    choose_cutoff,
    elements_of,
    isolated_energies,
    measure_distances,
    neighbours_within,
    repulsion_radii,
)
from fitsnap_nn.data.weighting import (
    ALL_TRAINING,
    Sizes,
    choose_sizes,
    choose_weights,
    groups_with_wrong_stress,
    measure_spread,
    typical_energies,
    typical_spread,
)
from fitsnap_nn.errors import InputError, Problem, counted
from fitsnap_nn.settings.architectures import load_architecture
from fitsnap_nn.settings.elements import atomic_number
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.settings.keys import keys_of
from fitsnap_nn.settings.template import (
    BPNN_NEIGHBOURS,
    LINEAR_MODELS,
    ON_DESCRIPTORS,
    Content,
    section_of,
)
from fitsnap_nn.settings.training import LOSS
from fitsnap_nn.units import GPA

SAMPLING_BLOCK = 10  # configurations; longer blocks leave too few of them for a validation set of 10 %
WEIGHTS = (
    "Weights are 1/spread² of the labels, so that energies, forces and stresses have comparable influence. The spread "
    "is that of all data, or that of the group if it is larger: outliers have less weight. See docs/weights.md."
)


WEIGHTS_OF_ROWS = (
    "Weights are 1/spread of the labels, those of forces and stresses also divided by the square root of their number "
    "per energy, so that energies, forces and stresses have comparable influence on the sum of squares. See "
    "docs/weights.md."
)


class Proposal(NamedTuple):
    """A new input.

    Attributes:
        elements: chemical symbols in the order of the LAMMPS atom types.
        content: what the input takes from the data.
        lines: what was read, ignored and derived, for the user.
    """

    elements: tuple[str, ...]
    content: Content
    lines: tuple[str, ...]


class Survey(NamedTuple):
    """Properties of the data that do not depend on the architecture.

    Attributes:
        reading: the data.
        elements: chemical symbols in the order of the LAMMPS atom types.
        distances: between the atoms.
        offsets: result of `groups_with_wrong_stress`, eV/Å³.
        weights: eweight, fweight and vweight of networks, by group.
    """

    reading: Reading
    elements: tuple[str, ...]
    distances: Distances
    offsets: Mapping[str, float]
    weights: dict[str, tuple[float, ...]]


class Derived(NamedTuple):
    """Values of one kind, and the comment on them."""

    values: dict[str, str]
    comment: str


def examine(reading: Reading, elements: Sequence[str]) -> Survey:
    """Return the properties of the data that inputs for any architecture are derived from.

    Args:
        reading: the data.
        elements: chemical symbols; those of the data, in alphabetical order, if empty.

    Raises:
        DataError: a cell is invalid.
        InputError: the data contain other elements than the given ones.
    """
    symbols = _elements(reading, elements)
    offsets = groups_with_wrong_stress(reading.configurations)
    distances = measure_distances(reading.configurations, symbols)
    return Survey(reading, symbols, distances, offsets, _weights(reading.groups, symbols, offsets))


def propose(survey: Survey, model: str, folder: str) -> Proposal:
    """Derive the content of an input from data.

    Args:
        survey: the data.
        model: architecture.
        folder: folder of the input file.
    """
    reading, symbols, distances, offsets, weights = survey
    cutoff, repulsion = _cutoff(model, distances), _repulsion(symbols, distances)
    baseline = _baseline(model, reading.groups, symbols)
    sizes = _sizes(reading.groups)
    blocks = _blocks(reading.groups, sizes)
    stresses = _stresses_comment(offsets, len(reading.groups))
    num_training = sum(round(sizes[group.name].training * len(group.members)) for group in reading.groups)
    weights_comment = WEIGHTS
    if model in LINEAR_MODELS:
        weights, weights_comment = _of_rows(weights, reading.groups), WEIGHTS_OF_ROWS
    section = section_of(model)
    head = _what_was_read(reading)
    content = Content(
        scraper=reading.scraper,
        data_path=os.path.relpath(reading.data_path, folder),
        rows={
            _row_name(group.name): _row(sizes[group.name], weights[group.name], len(group.members))
            for group in reading.groups
        },
        values={
            section: cutoff.values,
            "REFERENCE": repulsion.values,
            "CALCULATOR": _targets(reading, weights),
            "GROUPS": blocks.values,
            "PYTORCH": {
                **baseline.values,
                **choose_steps(model, len(symbols), num_training, fmean(map(len, reading.configurations))),
                **choose_loss(model, weights),
                **({} if any(one.validation for one in sizes.values()) else {"best_model_metric": LOSS}),
            },
        },
        comments={
            "": (head,),
            section: (cutoff.comment,),
            "REFERENCE": (repulsion.comment,),
            "PYTORCH": (baseline.comment,),
            "GROUPS": (_sizes_comment(sizes), blocks.comment, weights_comment, stresses),
        },
    )
    lines = [head, *summarize(reading.findings), f"Elements: {' '.join(symbols)}."]
    lines += [cutoff.comment, repulsion.comment, baseline.comment, _sizes_comment(sizes), blocks.comment, stresses]
    return Proposal(symbols, content, tuple(line for line in lines if line))


def _elements(reading: Reading, given: Sequence[str]) -> tuple[str, ...]:
    """Return the elements of the input; see `examine`."""
    present = elements_of(reading.configurations)
    if given and (missing := sorted(set(present) - set(given))):
        what = f"--elements {' '.join(given)} does not include {', '.join(missing)}, which the data contain."
        raise InputError([Problem(COMMAND_LINE, what, "Omit --elements to take those of the data.")])
    return tuple(given) or present


def _what_was_read(reading: Reading) -> str:
    """Return the size of the data in one sentence, and whether it is a sample."""
    members, sampled = reading.configurations, reading.num_files < reading.all_files
    sample = f" (a sample of {reading.all_files} files, which are large)" if sampled else ""
    counts = (len(members), "configuration"), (sum(map(len, members)), "atom"), (len(reading.groups), "group")
    configurations, atoms, groups, files = (counted(*count) for count in (*counts, (reading.num_files, "file")))
    return f"Data: {configurations}, {atoms}, {groups} in {files} of format {reading.scraper}{sample}."


def _cutoff(model: str, distances: Distances) -> Derived:
    """Return the keys that set the neighbour cutoff."""
    if model in ON_DESCRIPTORS:
        wanted, key = BPNN_NEIGHBOURS, "rcutfac"
    else:
        architecture = load_architecture(model)
        wanted, key = architecture.num_neighbours, architecture.cutoff_key
    if not key:
        return Derived({}, f"The cutoff of {model} is its default: the architecture declares no key for it.")
    cutoff = choose_cutoff(distances.neighbours, wanted)
    within = [count for count in neighbours_within(distances.neighbours, cutoff) if count > 0.0]
    counts = " to ".join(dict.fromkeys(f"{count:.0f}" for count in (min(within, default=0), max(within, default=0))))
    return Derived(
        {key: f"{cutoff:g}"},
        f"Cutoff {cutoff:g} Å: {counts} neighbour{'s' * (counts != '1')} per atom in typical configurations.",
    )


def _repulsion(elements: Sequence[str], distances: Distances) -> Derived:
    """Return the section REFERENCE: ZBL, with one style for each pair of radii."""
    radii = repulsion_radii(elements, distances.shortest)
    styles = list(dict.fromkeys(radii.values()))
    values = {"pair_style": " ".join(["hybrid/overlay zero 10.0", *(f"zbl {a:g} {b:g}" for a, b in styles)])}
    values["pair_coeff1"] = "* * zero"
    for number, (pair, both) in enumerate(radii.items(), start=2):
        i, j = (elements.index(symbol) + 1 for symbol in pair)
        # Styles that occur several times are numbered.
        style = f"zbl {styles.index(both) + 1}" if len(styles) > 1 else "zbl"
        values[f"pair_coeff{number}"] = f"{i} {j} {style} {' '.join(str(atomic_number(symbol)) for symbol in pair)}"
    known = ", ".join(
        f"{a}-{b} {distances.shortest[a, b]:.2f} Å" if (a, b) in distances.shortest else f"{a}-{b} not in the data"
        for a, b in radii
    )
    return Derived(values, f"ZBL acts only below the shortest distances in the data: {known}.")


def _targets(reading: Reading, weights: Mapping[str, tuple[float, ...]]) -> dict[str, str]:
    """Return which labels are fitted: those that the data have, stresses only of periodic cells and with a weight."""
    members = reading.configurations
    periodic = [one for one in members if all(one.pbc)]
    return {
        "energy": str(int(any(one.energy is not None for one in members))),
        "force": str(int(any(one.forces is not None for one in members))),
        "stress": str(int(any(one.stress is not None and weights[one.group][2] > 0.0 for one in periodic))),
    }


def _weights(
    groups: Sequence[Group], elements: Sequence[str], offsets: Mapping[str, float]
) -> dict[str, tuple[float, ...]]:
    """Return eweight, fweight and vweight of every group.

    Isolated atoms only determine the element energies. Groups whose stresses contradict their energies have vweight 0.
    """
    members = [one for group in groups for one in group.members if not is_isolated(one)]
    typical = typical_energies([one for one in members if one.energy is not None], elements)
    whole = typical_spread(members, elements, typical)
    chosen: dict[str, tuple[float, ...]] = {}
    for group in groups:
        if _is_isolated(group):
            chosen[group.name] = (0.0, 0.0, 0.0)
            continue
        energy, force, stress = choose_weights(measure_spread(group.members, elements, typical), whole)
        chosen[group.name] = (energy, force, 0.0 if group.name in offsets else stress)
    return chosen


def _stresses_comment(offsets: Mapping[str, float], num_groups: int) -> str:
    """Return which stresses are not fitted because they contradict the energies."""
    known = {group: offset for group, offset in offsets.items() if not math.isnan(offset)}
    if not known:
        return ""
    values = some([f"{group} {offset / GPA:+.1f} GPa" for group, offset in known.items()])
    which = "all groups, which probably have it too" if len(offsets) == num_groups else "these groups"
    return (
        f"Stresses differ by a constant pressure from those that the energies of strained cells imply: {values} (Pulay "
        f"stress from too low a plane-wave cutoff?). A model cannot fit both: vweight is 0 for {which}."
    )


def _of_rows(weights: Mapping[str, Sequence[float]], groups: Sequence[Group]) -> dict[str, tuple[float, ...]]:
    """Return the weights for a linear model, which multiply residuals whose squares are added instead of averaged.

    Args:
        weights: eweight, fweight and vweight by group, for a mean of weighted squares.
        groups: the groups.
    """
    members = [one for group in groups for one in group.members]
    counts = [sum(one.count(len(c)) for c in members if one.name in c.labels) for one in STANDARD]
    shares = [max(1, counts[0]) / max(1, count) for count in counts]
    return {
        name: tuple((weight * share) ** 0.5 for weight, share in zip(row, shares, strict=True))
        for name, row in weights.items()
    }


def _baseline(model: str, groups: Sequence[Group], elements: Sequence[str]) -> Derived:
    """Return the element energies: those of isolated atoms if every element has one.

    Isolated atoms in a group with others may be in the validation set; then their energies are written.
    """
    members = [one for group in groups for one in group.members]
    energies = isolated_energies(members)
    if not energies:
        return Derived({}, "")
    if model in LINEAR_MODELS:
        return Derived(
            {}, "Isolated atoms have weight 0: a linear model fits the constant of each element to the other data."
        )
    missing = [symbol for symbol in elements if symbol not in energies]
    if missing:
        found = f"Isolated atoms of {' '.join(energies)}, but not of {' '.join(missing)}"
        return Derived({}, f"{found}: element energies are fitted by least squares.")
    if model not in ON_DESCRIPTORS and not load_architecture(model).isolated_energies:
        return Derived(
            {},
            f"There are isolated atoms of every element, but {model} learns binding energies slowly: element energies "
            "are fitted by least squares. element_energies = isolated gives the right energy of single atoms.",
        )
    alone = isolated_energies([one for group in groups if _is_isolated(group) for one in group.members])
    value = "isolated"
    if set(alone) != set(energies):
        value = " ".join(f"{symbol} {energies[symbol]!r}" for symbol in elements)
    return Derived({"element_energies": value}, "Element energies are those of the isolated atoms in the data.")


def _is_isolated(group: Group) -> bool:
    return all(map(is_isolated, group.members))


def _subset(name: str) -> Subset:
    """Return the set that the name of a group suggests; TRAINING if it suggests none."""
    return Subset.TEST if TEST.search(name) else Subset.VALIDATION if VALIDATION.search(name) else Subset.TRAINING


def _sizes(groups: Sequence[Group]) -> dict[str, Sizes]:
    """Return the sizes of every group; names are ignored if all of them suggest a test or validation set."""
    subsets = {group.name: _subset(group.name) for group in groups}
    if Subset.TRAINING not in subsets.values():
        subsets = dict.fromkeys(subsets, Subset.TRAINING)
    named = set(subsets.values())
    return {
        group.name: ALL_TRAINING
        if _is_isolated(group)
        else choose_sizes(len(group.members), subsets[group.name], Subset.VALIDATION in named, Subset.TEST in named)
        for group in groups
    }


def _sizes_comment(sizes: Mapping[str, Sizes]) -> str:
    """Return which part of the data is held out, and which groups are held out because of their names."""
    parts = []
    for kind, part in (("validation", 1), ("test", 2)):
        named = [name for name, size in sizes.items() if size[part] == 1.0]
        partly = any(0.0 < size[part] < 1.0 for size in sizes.values())
        what = f"{', '.join(named)} (by name)" if named else "10 % of each group" if partly else "none"
        parts.append(f"{kind} set: {what}")
    whole = [name for name, size in sizes.items() if size.training == 1.0]
    if whole:
        by_name = any(1.0 in size[1:] for size in sizes.values())
        why = "" if by_name else " (small groups, isolated atoms)"
        parts.append(f"for training only{why}: {', '.join(whole)}")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _blocks(groups: Sequence[Group], sizes: Mapping[str, Sizes]) -> Derived:
    """Return the key that splits runs into blocks, if most configurations that it affects are frames of runs."""
    affected = [group for group in groups if _block_length(group, sizes[group.name]) > 1]
    runs = [group for group in affected if are_consecutive(group.members)]
    if not runs or 2 * sum(len(group.members) for group in runs) < sum(len(group.members) for group in affected):
        return Derived({}, "")
    comment = (
        f"sampling_block: consecutive configurations of {some([group.name for group in runs])} are similar, as frames "
        "of MD or relaxations are. Blocks of them stay in one set, so that the validation set shows overfitting."
    )
    return Derived({"sampling_block": str(SAMPLING_BLOCK)}, comment)


def _block_length(group: Group, sizes: Sizes) -> int:
    """Return the length of the blocks into which a group would be split; 0 if it is not split."""
    counts = [round(size * len(group.members)) for size in sizes]
    return block_length(SAMPLING_BLOCK, counts) if sum(map(bool, counts)) > 1 else 0


def _row(sizes: Sizes, weights: Sequence[float], count: int) -> str:
    """Return the values of a row; fractions have enough digits to recover the number of configurations."""
    digits = len(str(count)) + 1
    validation, test = round(sizes.validation, digits), round(sizes.test, digits)
    # The training set takes the rounding error: the sum of the fractions must not exceed 1.
    training = 1.0 - validation - test if sizes.training else 0.0
    fractions = (f"{size:.{digits}f}".rstrip("0").rstrip(".") for size in (training, validation, test))
    return " ".join([*fractions, *(f"{weight:.2g}" for weight in weights)])


def _row_name(group: str) -> str:
    """Return the name of a row for a group; characters with a meaning in an input file are replaced by ``?``."""
    name = re.sub(r"[=:]|(?<=\s)#|^[#;\[]", "?", group)
    return f"?{name[1:]}" if name in keys_of("GROUPS") else name
