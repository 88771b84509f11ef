"""The first half of a fit, which a test of a saved model shares: from files to cached inputs and samples."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from fitsnap_nn.data.audit.table import group_table
from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.files import list_files, read_files, unlisted_groups
from fitsnap_nn.data.findings import Finding, refuse
from fitsnap_nn.data.fitted import fitted_properties
from fitsnap_nn.data.groups import Dataset, assemble, draw_seed
from fitsnap_nn.data.label_checks import check_labels
from fitsnap_nn.data.primitive import Primitive, primitive_of
from fitsnap_nn.data.properties import Property, derivatives_of
from fitsnap_nn.data.readers import DataFile
from fitsnap_nn.data.split import Split
from fitsnap_nn.errors import DataError, counted
from fitsnap_nn.inputs import CachedInput, ModelInput
from fitsnap_nn.inputs.cache.cache_key import reference_key
from fitsnap_nn.inputs.cache.store import InputStore
from fitsnap_nn.inputs.graph.placed import refuse_wires
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings.schema import Settings
from fitsnap_nn.settings.training import KALMAN, LAST, LOSS
from fitsnap_nn.training.batches import Sample, SampleSet, make_sample
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.workflow.model_inputs import compute_model_inputs

RELEASE_ABOVE = 256 * 2**20  # bytes of cached inputs above which their memory pages are released after use


@dataclass(frozen=True)
class Prepared:
    """Data and cached inputs of a fit.

    Attributes:
        dataset: configurations, split and weighted.
        model_input: what the model is given.
        store: the cached inputs.
        properties: what is predicted and reported.
        trained: what the training set is trained as, in its order.
        seen: keys of configurations that earlier fits have seen, if this one starts from their weights; see `Split`.
    """

    dataset: Dataset
    model_input: ModelInput
    store: InputStore
    properties: tuple[Property, ...]
    trained: tuple[Primitive, ...]
    seen: tuple[bytes, ...] = ()

    def subset(self, subset: Subset) -> list[Configuration]:
        """Return the configurations of one set."""
        return [one for one in self.dataset.configurations if one.subset is subset]

    def samples(self, subset: Subset, dtype: torch.dtype) -> SampleSet:
        """Return the samples of one set, inputs and labels in ``dtype``."""
        return SampleSet([self._sample(one, dtype) for one in self.subset(subset)], dtype)

    def samples_to_train(self, dtype: torch.dtype) -> SampleSet:
        """Return the samples of the training set in the form in which it is trained."""
        samples = []
        for configuration, copies in self.trained:
            sample = self._sample(configuration, dtype)
            counts = {
                one.name: sample.counts[one.name] * (copies if one.per == "atom" else 1) for one in self.properties
            }
            samples.append(sample._replace(counts=counts))
        return SampleSet(samples, dtype)

    def _sample(self, configuration: Configuration, dtype: torch.dtype) -> Sample:
        cached = self.store.cached(configuration)
        batch = self.model_input.to_batch(configuration, cached)
        return make_sample(configuration, cached, batch, self.properties, dtype)

    def in_stage_two(self, training: SampleSet, validation: SampleSet) -> tuple[SampleSet, SampleSet]:
        """Return both sets with the weights of stage two of the training."""
        trained = [one.configuration for one in self.trained]
        return _in_stage_two(training, trained), _in_stage_two(validation, self.subset(Subset.VALIDATION))

    def inputs_of(self, configurations: Sequence[Configuration]) -> list[CachedInput]:
        """Return the cached inputs of configurations, in order."""
        return [self.store.cached(one) for one in configurations]

    @property
    def split(self) -> Split:
        """Training and validation set, for model files."""
        return Split.of(self.dataset.configurations, self.dataset.seed, self.seen)

    def releaser(self) -> Callable[[], None]:
        """Return what to call after each batch: it releases the memory pages of large stores."""
        return self.store.release if self.store.size_bytes > RELEASE_ABOVE else lambda: None

    @cached_property
    def digest(self) -> str:
        """Digest of everything in the data that a fit depends on."""
        return digest_of(self.dataset.configurations, self.properties)


def digest_of(configurations: Iterable[Configuration], properties: Iterable[Property]) -> str:
    """Return a digest of configurations with their sets, weights and labels.

    Args:
        configurations: the configurations.
        properties: whose weights and labels count.
    """
    digest, names = hashlib.sha256(), [one.name for one in properties]
    for configuration in configurations:
        weights = [configuration.weight(name) for name in names]
        digest.update(repr((configuration.id, configuration.subset.value, names, weights)).encode())
        if configuration.stage_two_weights:
            digest.update(repr(sorted(configuration.stage_two_weights.items())).encode())
        digest.update(configuration.fingerprint().encode())
        for name in names:
            label = configuration.labels.get(name)
            digest.update(b"-" if label is None else np.ascontiguousarray(label).tobytes())
    return digest.hexdigest()


def prepare(
    settings: Settings,
    model_input: ModelInput,
    ranks: Ranks,
    console: Console,
    split_seed: int | None = None,
    strict: bool = False,
    relabel: Callable[[Dataset], Dataset] | None = None,
) -> Prepared:
    """Read the data and compute the model inputs that the cache lacks; all ranks share the work.

    Args:
        split_seed: of the fit that is continued; drawn or taken from GROUPS random_seed when ``None``.
        strict: whether warnings about the data are errors.
        relabel: for a test of a model, changes the sets of the configurations after the split.

    Raises:
        DataError, LammpsError: see `fitsnap_nn.data` and `fitsnap_nn.inputs`.
    """
    dataset = read_dataset(settings, ranks, split_seed, console)
    if relabel:
        dataset = relabel(dataset)
    else:
        refuse_missing_sets(settings, dataset)
    console.line(describe_data(dataset, settings))
    if strict:
        refuse(dataset.warnings)
    properties = fitted_properties(settings, dataset.configurations)
    derivatives = derivatives_of(properties)
    folder = settings.memory.cache or Path(settings.output_folder) / "cache"
    reference = reference_key(model_input.elements, settings.reference, Path(settings.folder))
    key = {**model_input.cache_key(derivatives), **reference}
    store = InputStore(folder, key, model_input.cached, settings.pytorch.precision)
    trained = () if relabel else _trained(settings, dataset, model_input, ranks, console)
    wanted = [*dataset.configurations, *(one.configuration for one in trained if one.copies > 1)]
    compute_model_inputs(store, model_input, wanted, settings, derivatives, ranks, console)
    return Prepared(dataset, model_input, store, properties, trained)


def _trained(
    settings: Settings, dataset: Dataset, model_input: ModelInput, ranks: Ranks, console: Console
) -> tuple[Primitive, ...]:
    """Return what the training set is trained as; ranks share the search for primitive cells."""
    members = [one for one in dataset.configurations if one.subset is Subset.TRAINING]
    options = settings.pytorch
    if not (options.primitive_cells and options.optimizer != KALMAN and model_input.allows_primitive_cells):
        return tuple(Primitive(one, 1) for one in members)
    mine = ranks.mine([float(len(one)) for one in members])
    found: dict[int, Primitive] = {}
    with console.task("looking for primitive cells", len(mine)) as task:
        for number in mine:
            found[number] = primitive_of(members[number])
            task.update(len(found))
        for share in ranks.share({number: one for number, one in found.items() if one.copies > 1}):
            found |= share
    trained = tuple(found.get(number, Primitive(one, 1)) for number, one in enumerate(members))
    if divided := sum(one.copies > 1 for one in trained):
        atoms = sum(len(one.configuration) for one in trained)
        are = "is" if divided == 1 else "are"
        console.line(
            f"  note: {counted(divided, 'perfect supercell')} of the training set {are} trained as primitive cells: "
            f"{atoms} instead of {counted(sum(map(len, members)), 'atom')} per epoch"
        )
    return trained


def _in_stage_two(samples: SampleSet, members: Sequence[Configuration]) -> SampleSet:
    changed = any(one.stage_two_weights for one in members)
    return samples.with_weights([one.stage_two_weights for one in members]) if changed else samples


def read_dataset(
    settings: Settings, ranks: Ranks, split_seed: int | None = None, console: Console | None = None
) -> Dataset:
    """Configurations, split and weighted, the same on every rank.

    Args:
        split_seed: seed of the split; ``None``: that of the input, or a new one.
        console: shows the progress.

    Raises:
        DataError: a file cannot be used, or no label has a weight; see `fitsnap_nn.data`.
    """
    console = console or Console()
    with console.task("looking for data files"):
        sources = list_files(settings)
    ranks.require_same([(source.path, os.path.getsize(source.path)) for source in sources], "list of data files")
    mine = ranks.mine([float(os.path.getsize(source.path)) for source in sources])
    unlisted = unlisted_groups(settings) if ranks.is_first else []
    with console.task("reading data", len(mine) if len(mine) > 1 else 0) as task:
        shares = ranks.share(_read(settings, [sources[number] for number in mine], unlisted, task.update))
    # Each rank reads some of the files, and the error has to name all that are unusable.
    if problems := [problem for _, _, problem in shares if problem]:
        raise DataError("\n".join(problems))
    seed = ranks.broadcast(split_seed or settings.groups.random_seed or draw_seed())
    configurations = [configuration for read, _, _ in shares for configuration in read]
    with console.task("checking data"):
        dataset = assemble(settings, configurations, seed, [finding for _, found, _ in shares for finding in found])
        if getattr(settings.architecture, "long_range", False):
            refuse_wires(dataset.configurations)
        missing = check_labels(settings, dataset.configurations, dataset.findings)
    return replace(dataset, findings=(*dataset.findings, *missing))


def refuse_missing_sets(settings: Settings, dataset: Dataset) -> None:
    """Refuse a fit without training data, or without the validation data that it needs.

    Raises:
        DataError: no configuration is in the training set, or in the validation set although its errors choose the
            best epoch.
    """
    found = {one.subset for one in dataset.configurations}
    metric = settings.pytorch.best_model_metric
    if Subset.TRAINING in found and (Subset.VALIDATION in found or metric in (LOSS, LAST)):
        return
    if Subset.TRAINING in found:
        raise DataError(
            f"{settings.source}: [PYTORCH] best_model_metric = {metric} needs a validation set, which is empty: "
            f"{describe_split(dataset.configurations)}. Give some groups a testing_size, or remove the key."
        )
    column = "training_size" if "training_size" in settings.groups.group_sections else "size"
    key = "[PYTORCH] training_fraction" if settings.pytorch.training_fraction is not None else f"[GROUPS] {column}"
    raise DataError(
        f"{settings.source}: no configuration is in the training set: {describe_split(dataset.configurations)}. "
        f"Increase {key}."
    )


def _read(
    settings: Settings, sources: Sequence[DataFile], found: list[Finding], progress: Callable[[int], None]
) -> tuple[list[Configuration], list[Finding], str]:
    """Return the configurations of files, the given remarks and those on the files, and the message of an error."""
    try:
        return read_files(settings, sources, found, progress), found, ""
    except DataError as error:
        return [], found, str(error)


def describe_groups(dataset: Dataset, settings: Settings) -> list[str]:
    """Return the lines of the table of the groups and their labels.

    Args:
        dataset: the data.
        settings: settings of the fit.
    """
    return group_table(dataset.configurations, [row.name for row in settings.targets])


def describe_data(dataset: Dataset, settings: Settings) -> str:
    """Return the data in a few lines, warnings included."""
    members = dataset.configurations
    groups = settings.groups
    blocks = f" in blocks of up to {groups.sampling_block}" if groups.sampling_block > 1 else ""
    shuffled = f" · split{blocks} with random_seed = {dataset.seed}" if groups.random_sampling else ""
    lines = [
        f"data: {counted(len(members), 'configuration')}, {counted(sum(map(len, members)), 'atom')}, "
        f"{counted(len({one.group for one in members}), 'group')} · {describe_split(members)}{shuffled}"
    ]
    lines += [f"  warning: {warning}" for warning in dataset.warnings]
    return "\n".join([*lines, *(f"  note: {note}" for note in dataset.notes)])


def describe_split(members: Sequence[Configuration], width: int = 0) -> str:
    """Return the numbers of configurations of each set; training and validation set are always named."""
    counts = {subset: sum(one.subset is subset for one in members) for subset in Subset}
    shown = [subset for subset in Subset if subset in (Subset.TRAINING, Subset.VALIDATION) or counts[subset]]
    return ", ".join(f"{counts[subset]:{width}d} {subset.name.lower()}" for subset in shown)
