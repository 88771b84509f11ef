"""Table of the groups: numbers of configurations and atoms, ranges of the labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fitsnap_nn.data.configuration import SETS, Configuration, Subset
from fitsnap_nn.data.properties import ENERGY, FORCES, STRESS
from fitsnap_nn.units import GPA

HEADINGS = ("group", "training", "validation", "test", "atoms", "energy, eV/atom", "max force, eV/Å", "stress, GPa")


def group_table(configurations: Sequence[Configuration], labels: Iterable[str] = ()) -> list[str]:
    """Return one line per group, after a line of headings.

    Ranges are those of the labels in internal units; the stress is positive in tension, and its range is that of all
    components. The number of labels follows where some configurations have none.

    Args:
        configurations: all sets of a fit.
        labels: names of the user-defined properties, whose labels are counted.
    """
    groups: dict[str, list[Configuration]] = {}
    for one in configurations:
        groups.setdefault(one.group, []).append(one)
    rows = [HEADINGS + tuple(labels)]
    for group, members in groups.items():
        sets = (str(sum(one.subset is subset for one in members)) for subset in SETS)
        counts = (_count(members, name) for name in labels)
        rows.append((group, *sets, str(sum(map(len, members))), *_ranges(members), *counts))
    if not any(one.subset is Subset.TEST for one in configurations):
        rows = [row[:3] + row[4:] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


def _ranges(members: Sequence[Configuration]) -> tuple[str, str, str]:
    energies = [one.energy / len(one) for one in members if one.energy is not None]
    forces = [float(np.linalg.norm(one.forces, axis=1).max()) for one in members if one.forces is not None]
    stresses = [one.stress / GPA for one in members if one.stress is not None]
    return (
        _with_count(f"{min(energies):.3f} to {max(energies):.3f}" if energies else "", members, ENERGY.name),
        _with_count(f"{max(forces):.2f}" if forces else "", members, FORCES.name),
        _with_count(_range(np.min(stresses), np.max(stresses)) if stresses else "", members, STRESS.name),
    )


def _range(lowest: float, highest: float) -> str:
    return " to ".join(f"{round(value, 1) + 0.0:.1f}" for value in (lowest, highest))  # -0.0 + 0.0 is 0.0


def _with_count(text: str, members: Sequence[Configuration], name: str) -> str:
    count = sum(name in one.labels for one in members)
    return "none" if not count else text if count == len(members) else f"{text} ({count} of {len(members)})"


def _count(members: Sequence[Configuration], name: str) -> str:
    return _with_count("all", members, name)
