"""From configurations to a data set: which are trained on, which are held out, and with which weights."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitsnap_nn.data.audit import audit
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.files import natural_order, no_data, row_of
from fitsnap_nn.errors import DataError
from fitsnap_nn.settings.schema import GroupRow, Settings


@dataclass(frozen=True)
class Dataset:
    """The configurations of a fit.

    Attributes:
        configurations: those trained on and those held out (``testing``), by group in the order of the table, then
            in natural order of their ids.
        seed: what the shuffle before the split started from.
        warnings: what the user should look at.
    """

    configurations: tuple[Configuration, ...]
    seed: int
    warnings: tuple[str, ...]


def draw_seed() -> int:
    """A seed for the shuffle from the system's entropy, short enough to be typed in again; never 0."""
    return 1 + secrets.randbelow(99999)


def assemble(settings: Settings, configurations: Iterable[Configuration], seed: int) -> Dataset:
    """Sort, split and weight what `fitsnap_nn.data.files.read_files` read, in whatever order and by whatever rank.

    Each group is put in natural order, shuffled when ``random_sampling`` is on, and split: first those to train on,
    then those to hold out; the rest is left out. The shuffle of a group depends on ``seed`` and its name only, so
    another group in the table leaves it as it is. Without ``random_sampling``, ``seed`` has no effect.

    Raises:
        DataError: a row without configurations, an id that occurs twice, sizes that are all 0.
    """
    configurations = list(configurations)
    _refuse_twins(configurations)
    groups: dict[str, list[Configuration]] = {}
    for configuration in configurations:
        groups.setdefault(configuration.group, []).append(configuration)
    chosen: list[Configuration] = []
    warnings: list[str] = []
    for row in settings.groups.rows:
        names = sorted((name for name in groups if row_of(settings.groups.rows, name) is row), key=natural_order)
        if not names:
            raise no_data(row, groups)
        for name in names:
            members = sorted(groups[name], key=lambda configuration: natural_order(configuration.id))
            training, testing, warning = _split(settings, row, members, seed)
            chosen += sorted(
                _weighted(settings, row, training, False) + _weighted(settings, row, testing, True),
                key=lambda configuration: natural_order(configuration.id),
            )
            warnings += warning
    if not chosen:
        raise DataError("[GROUPS] all sizes are 0: no configuration is left to train on or to test. Raise a size.")
    warnings += audit(chosen, settings.elements)
    return Dataset(tuple(map(_fittable, chosen)), seed, tuple(warnings))


def _refuse_twins(configurations: Iterable[Configuration]) -> None:
    twins = [name for name, count in Counter(item.id for item in configurations).items() if count > 1]
    if twins:
        raise DataError(f"{twins[0]} was read more than once. Let each file belong to one group only.")


def _fittable(configuration: Configuration) -> Configuration:
    """Without the stress of a cell that is not periodic in all directions, whose volume means nothing."""
    return configuration if all(configuration.pbc) else replace(configuration, stress=None)


def _split(
    settings: Settings, row: GroupRow, members: list[Configuration], seed: int
) -> tuple[list[Configuration], list[Configuration], list[str]]:
    """Training set and testing set of one group, and a warning when it is too small for both."""
    name, total = members[0].group, len(members)
    training_size, testing_size = row.training_size, row.testing_size
    if settings.pytorch.training_fraction is not None:
        training_size, testing_size = float(settings.pytorch.training_fraction), None
    training = min(_count(training_size, total), total)
    testing = total - training if testing_size is None else _count(testing_size, total)
    warnings = []
    if training + testing > total:
        testing = total - training
        warnings.append(f"group {name}: {training} of {total} are trained on, which leaves {testing} for testing.")
    if settings.groups.random_sampling:
        digest = hashlib.sha256(name.encode()).digest()
        order = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")]).permutation(total)
        members = [members[k] for k in order]
    return members[:training], members[training : training + testing], warnings


def _count(size: float | int | None, total: int) -> int:
    """FitSNAP's rule: a fraction that is not 0 takes at least one; a whole number is a count; ``None`` is all."""
    if size is None:
        return total
    if isinstance(size, int):
        return size
    return max(1, int(size * total + 0.5)) if size > 0.0 else 0


def _weighted(settings: Settings, row: GroupRow, subset: Sequence[Configuration], testing: bool) -> list[Configuration]:
    """One group's training or testing set with its weights.

    The weight of the row, or the one of PYTORCH that stands for all groups, times the factor that the file gave the
    configuration. With smartweights the row's are divided by the number of configurations in the subset, the force
    weight also by 3N, the stress weight by 6. Labels that CALCULATOR does not ask for weigh nothing.
    """
    pytorch, calculator = settings.pytorch, settings.calculator
    fitted = np.array([calculator.energy, calculator.force, calculator.stress])
    weighted = []
    for configuration in subset:
        weights = np.array([row.eweight, row.fweight, row.vweight])
        if settings.groups.smartweights:
            weights /= len(subset) * np.array([1.0, 3.0 * len(configuration), 6.0])
        for k, weight in enumerate((pytorch.energy_weight, pytorch.force_weight, pytorch.stress_weight)):
            weights[k] = weights[k] if weight is None else weight
        weights *= fitted
        weighted.append(
            replace(
                configuration,
                energy_weight=configuration.energy_weight * float(weights[0]),
                force_weight=configuration.force_weight * float(weights[1]),
                stress_weight=configuration.stress_weight * float(weights[2]),
                testing=testing,
            )
        )
    return weighted
