"""From configurations to a data set: which are trained on, which are held out, and with which weights."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitsnap_nn.data.audit import audit
from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.files import natural_order, no_data, row_of
from fitsnap_nn.data.fitted import user_weights
from fitsnap_nn.data.properties import ENERGY, FORCES, STRESS
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
            subsets, warning = _split(settings, row, members, seed)
            weighted = [one for subset, share in subsets.items() for one in _weighted(settings, row, share, subset)]
            chosen += sorted(weighted, key=lambda configuration: natural_order(configuration.id))
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
    """Return it without the stress of a cell that is not fully periodic, whose volume has no meaning."""
    if all(configuration.pbc) or "stress" not in configuration.labels:
        return configuration
    return replace(
        configuration, labels={name: label for name, label in configuration.labels.items() if name != "stress"}
    )


def _split(
    settings: Settings, row: GroupRow, members: list[Configuration], seed: int
) -> tuple[dict[Subset, list[Configuration]], list[str]]:
    """Return the three sets of one group, and warnings where it is too small for them."""
    name, total = members[0].group, len(members)
    sizes = {
        Subset.TRAINING: row.training_size,
        Subset.VALIDATION: row.testing_size,
        Subset.TEST: 0 if row.test_size is None else row.test_size,
    }
    if settings.pytorch.training_fraction is not None:
        sizes |= {Subset.TRAINING: float(settings.pytorch.training_fraction), Subset.VALIDATION: None}
    counts = {Subset.TRAINING: min(_count(sizes[Subset.TRAINING], total), total)}
    rest = total - counts[Subset.TRAINING]
    wanted = _count(sizes[Subset.TEST], total)
    # Without a size of its own, the validation set is what the other two leave.
    validation = sizes[Subset.VALIDATION]
    wanted_first = max(0, rest - wanted) if validation is None else _count(validation, total)
    counts[Subset.VALIDATION] = min(wanted_first, rest)
    counts[Subset.TEST] = min(wanted, rest - counts[Subset.VALIDATION])
    warnings = []
    if counts[Subset.VALIDATION] < wanted_first or counts[Subset.TEST] < wanted:
        left = f"{counts[Subset.VALIDATION]} for validation"
        left += f" and {counts[Subset.TEST]} for testing" if wanted else ""
        warnings.append(f"group {name}: {counts[Subset.TRAINING]} of {total} are trained on, which leaves {left}.")
    if settings.groups.random_sampling:
        digest = hashlib.sha256(name.encode()).digest()
        order = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")]).permutation(total)
        members = [members[k] for k in order]
    subsets: dict[Subset, list[Configuration]] = {}
    start = 0
    for subset, count in counts.items():
        subsets[subset] = members[start : start + count]
        start += count
    return subsets, warnings


def _count(size: float | int | None, total: int) -> int:
    """FitSNAP's rule: a fraction that is not 0 takes at least one; an integer is a count; ``None`` is all."""
    if size is None:
        return total
    if isinstance(size, int):
        return size
    return max(1, int(size * total + 0.5)) if size > 0.0 else 0


def _weighted(
    settings: Settings, row: GroupRow, members: Sequence[Configuration], subset: Subset
) -> list[Configuration]:
    """Return one set of one group with its weights.

    The weight of the row, or the one of PYTORCH that replaces it for all groups, times the factor that the file gives
    the configuration. smartweights divides the row's weights by the number of configurations in the set, the force
    weight also by 3N, the stress weight by 6. Labels that CALCULATOR does not ask for have weight 0.
    """
    pytorch, calculator = settings.pytorch, settings.calculator
    rules = (
        (ENERGY, row.eweight, pytorch.energy_weight, calculator.energy),
        (FORCES, row.fweight, pytorch.force_weight, calculator.force),
        (STRESS, row.vweight, pytorch.stress_weight, calculator.stress),
        *((one, weight, None, True) for one, weight in user_weights(settings)),
    )
    weighted = []
    for configuration in members:
        weights = {}
        for quantity, of_group, of_all, fitted in rules:
            divisor = len(members) * quantity.count(len(configuration)) if settings.groups.smartweights else 1
            weight = of_group / divisor if of_all is None else of_all
            weights[quantity.name] = configuration.weight(quantity.name) * weight * fitted
        weighted.append(replace(configuration, weights=weights, subset=subset))
    return weighted
