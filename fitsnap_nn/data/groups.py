"""Assembly of a data set: split into training, validation and test set, and weights per configuration."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitsnap_nn.data.audit import audit
from fitsnap_nn.data.blocks import MIN_BLOCKS, block_length, shuffle_blocks
from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.files import natural_order, no_data, row_of
from fitsnap_nn.data.findings import Finding, summarize
from fitsnap_nn.data.fitted import user_weights
from fitsnap_nn.data.neighbours import ALONE, require_sparse
from fitsnap_nn.data.properties import ENERGY, FORCES, STRESS
from fitsnap_nn.errors import DataError
from fitsnap_nn.settings.schema import GroupRow, Settings


@dataclass(frozen=True)
class Dataset:
    """Configurations of a fit.

    Attributes:
        configurations: all sets, sorted by group in the order of the group table, then by id in natural order.
        seed: random seed of the shuffle before the split.
        findings: remarks on the data by readers and checks.
    """

    configurations: tuple[Configuration, ...]
    seed: int
    findings: tuple[Finding, ...]

    @property
    def warnings(self) -> list[str]:
        """Probable mistakes in the data, one line per kind."""
        return summarize(one for one in self.findings if one.warning)

    @property
    def notes(self) -> list[str]:
        """Assumptions, conversions and omissions, one line per kind."""
        return summarize(one for one in self.findings if not one.warning)


def draw_seed() -> int:
    """Return a random seed from 1 to 99999, drawn from system entropy and short enough to be typed."""
    return 1 + secrets.randbelow(99999)


def assemble(
    settings: Settings, configurations: Iterable[Configuration], seed: int, findings: Iterable[Finding] = ()
) -> Dataset:
    """Sort, split and weight the configurations that `fitsnap_nn.data.files.read_files` has read.

    Each group is sorted in natural order, shuffled if ``random_sampling`` is set (in blocks of ``sampling_block``),
    and split into training, validation and test set in this order; remaining configurations are not used. The
    shuffle of a group depends only on ``seed`` and on the name of the group, so that adding a group does not change
    the split of the others.

    Args:
        settings: checked settings.
        configurations: in any order, for example gathered from several ranks.
        seed: random seed; without effect if ``random_sampling`` is not set.
        findings: remarks of the readers.

    Raises:
        DataError: a row has no configurations, an id occurs twice, all sizes are 0, or a configuration has too many
            neighbours within the cutoff of the model.
    """
    configurations = list(configurations)
    _check_unique_ids(configurations)
    groups: dict[str, list[Configuration]] = {}
    for configuration in configurations:
        groups.setdefault(configuration.group, []).append(configuration)
    chosen: list[Configuration] = []
    all_findings = list(findings)
    for row in settings.groups.rows:
        names = sorted((name for name in groups if row_of(settings.groups.rows, name) is row), key=natural_order)
        if not names:
            raise no_data(row, groups, summarize(all_findings))
        for name in names:
            members = sorted(groups[name], key=lambda configuration: natural_order(configuration.id))
            subsets, found = _split(settings, row, members, seed)
            weighted = [one for subset, share in subsets.items() for one in _weighted(settings, row, share, subset)]
            chosen += sorted(weighted, key=lambda configuration: natural_order(configuration.id))
            all_findings += found
    if not chosen:
        raise DataError("[GROUPS] all sizes are 0, so that no configuration is left for any set. Increase a size.")
    for configuration in chosen:
        require_sparse(configuration, max(ALONE, settings.cutoff))
    all_findings += audit(chosen, settings)
    return Dataset(tuple(map(_without_undefined_stress, chosen)), seed, tuple(all_findings))


def _check_unique_ids(configurations: Iterable[Configuration]) -> None:
    duplicates = [name for name, count in Counter(item.id for item in configurations).items() if count > 1]
    if duplicates:
        raise DataError(f"{duplicates[0]} was read more than once. Each file must belong to one group only.")


def _without_undefined_stress(configuration: Configuration) -> Configuration:
    """Remove the stress label if the cell is not fully periodic, because its volume is undefined."""
    if all(configuration.pbc) or "stress" not in configuration.labels:
        return configuration
    return replace(
        configuration, labels={name: label for name, label in configuration.labels.items() if name != "stress"}
    )


def _split(
    settings: Settings, row: GroupRow, members: list[Configuration], seed: int
) -> tuple[dict[Subset, list[Configuration]], list[Finding]]:
    """Return the three sets of one group, and findings if it is too small for the requested sizes or blocks."""
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
    wanted_test = _count(sizes[Subset.TEST], total)
    # Without its own size, the validation set receives all configurations that the other two leave.
    validation = sizes[Subset.VALIDATION]
    wanted_validation = max(0, rest - wanted_test) if validation is None else _count(validation, total)
    counts[Subset.VALIDATION] = min(wanted_validation, rest)
    counts[Subset.TEST] = min(wanted_test, rest - counts[Subset.VALIDATION])
    findings = []
    if counts[Subset.VALIDATION] < wanted_validation or counts[Subset.TEST] < wanted_test:
        left = f"{counts[Subset.VALIDATION]} for validation"
        left += f" and {counts[Subset.TEST]} for the test set" if wanted_test else ""
        share = f"{counts[Subset.TRAINING]} of {total} configurations are in the training set"
        findings.append(Finding(f"{share}, which leaves {left}.", f"group {name}"))
    if settings.groups.random_sampling:
        # sha256 instead of hash(), which differs between Python processes.
        digest = hashlib.sha256(name.encode()).digest()
        generator = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
        length = block_length(settings.groups.sampling_block, counts.values())
        members = shuffle_blocks(members, length, generator)
        if length < settings.groups.sampling_block and max(counts.values()) < total:
            shorter = f"sampling_block = {settings.groups.sampling_block} is reduced to the length in brackets"
            what = f"{shorter}, so that every set has at least {MIN_BLOCKS} blocks."
            findings.append(Finding(what, f"group {name} ({length})", warning=False))
    subsets: dict[Subset, list[Configuration]] = {}
    start = 0
    for subset, count in counts.items():
        subsets[subset] = members[start : start + count]
        start += count
    return subsets, findings


def _count(size: float | int | None, total: int) -> int:
    """Convert a size to a number of configurations by FitSNAP's rule.

    A non-zero fraction yields at least one configuration, an integer is a number, and ``None`` means all.
    """
    if size is None:
        return total
    if isinstance(size, int):
        return size
    return max(1, int(size * total + 0.5)) if size > 0.0 else 0


def _weighted(
    settings: Settings, row: GroupRow, members: Sequence[Configuration], subset: Subset
) -> list[Configuration]:
    """Return one set of one group with loss weights.

    The weight is that of the row, or that of [PYTORCH] if set, times the factor in the data file. With
    ``smartweights`` the weight of the row is divided by the number of label components in the set: the number of
    configurations, times 3N for forces and 6 for the stress. Properties disabled in [CALCULATOR] get weight 0.
    """
    pytorch, calculator = settings.pytorch, settings.calculator
    rules = (
        (ENERGY, row.eweight, pytorch.energy_weight, calculator.energy),
        (FORCES, row.fweight, pytorch.force_weight, calculator.force),
        (STRESS, row.vweight, pytorch.stress_weight, calculator.stress),
        *((one, weight, None, True) for one, weight in user_weights(settings)),
    )
    of_stage_two = _stage_two_weights(settings, row)
    weighted = []
    for configuration in members:
        weights = {}
        for quantity, row_weight, override, fitted in rules:
            divisor = len(members) * quantity.count(len(configuration)) if settings.groups.smartweights else 1
            weight = row_weight / divisor if override is None else override
            weights[quantity.name] = configuration.weight(quantity.name) * weight * fitted
        later = {name: configuration.weight(name) * weight for name, weight in of_stage_two.items()}
        weighted.append(replace(configuration, weights=weights, stage_two_weights=later, subset=subset))
    return weighted


def _stage_two_weights(settings: Settings, row: GroupRow) -> dict[str, float]:
    """Return the loss weights of a group that change in stage two of the training, by property name.

    They are those of [PYTORCH], for all groups. A group whose weight is 0 keeps it, as one of isolated atoms for
    instance, unless no group has a weight.
    """
    pytorch, calculator = settings.pytorch, settings.calculator
    rules = (
        (ENERGY, "eweight", pytorch.energy_weight, pytorch.stage_two_energy_weight, calculator.energy),
        (FORCES, "fweight", pytorch.force_weight, pytorch.stage_two_force_weight, calculator.force),
        (STRESS, "vweight", pytorch.stress_weight, pytorch.stage_two_stress_weight, calculator.stress),
    )
    weights = {}
    for quantity, column, override, weight, fitted in rules:
        if pytorch.stage_two and weight is not None:
            others = any(getattr(one, column) > 0 for one in settings.groups.rows)
            excluded = override is None and others and getattr(row, column) == 0
            weights[quantity.name] = 0.0 if excluded or not fitted else weight
    return weights
