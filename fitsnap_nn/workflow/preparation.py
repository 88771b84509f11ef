"""The first half of a fit, which a test of a saved model shares: files to configurations to records to samples."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.files import list_files, read_files
from fitsnap_nn.data.groups import Dataset, assemble, draw_seed
from fitsnap_nn.inputs.cache.compute import compute_missing, estimated_cost
from fitsnap_nn.inputs.cache.store import InputStore
from fitsnap_nn.inputs.sources import Source, descriptor_source, graph_source
from fitsnap_nn.models import GraphModel, Model
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings.schema import Settings
from fitsnap_nn.training.batches import SampleSet, make_sample
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.trainer import Targets

RELEASE_ABOVE = 256 * 2**20  # bytes of records above which their pages are given back after use


@dataclass(frozen=True)
class Prepared:
    """Data and records.

    Attributes:
        dataset: configurations, split and weighted.
        store: their records, of the kind that the model needs.
        targets: which labels the loss has; ``forces`` also says whether records have gradients.
    """

    dataset: Dataset
    store: InputStore[Any]
    targets: Targets

    def subset(self, testing: bool) -> list[Configuration]:
        """Those held out, or those trained on."""
        return [c for c in self.dataset.configurations if c.testing == testing]

    def samples(self, testing: bool, elements: Sequence[str], dtype: torch.dtype) -> SampleSet:
        """Tensors of a subset."""
        return SampleSet([make_sample(c, self.store.record(c), elements, dtype) for c in self.subset(testing)])

    def releaser(self) -> Callable[[], None]:
        """What to call after each batch: gives the pages of large stores back to the system."""
        return self.store.release if self.store.size_bytes > RELEASE_ABOVE else lambda: None

    def digest(self) -> str:
        """Digest of everything in the data that a fit depends on."""
        digest = hashlib.sha256()
        for c in self.dataset.configurations:
            digest.update(repr((c.id, c.testing, c.energy_weight, c.force_weight, c.stress_weight, c.energy)).encode())
            digest.update(c.fingerprint().encode())
            for label in (c.forces, c.stress):
                digest.update(b"-" if label is None else np.ascontiguousarray(label).tobytes())
        return digest.hexdigest()


def prepare(
    settings: Settings, model: Model, ranks: Ranks, console: Console, split_seed: int | None = None
) -> Prepared:
    """Read the data and see to it that every configuration has a record; all ranks share the work.

    Args:
        model: what the records are for.
        split_seed: of the fit that is continued; drawn or taken from GROUPS random_seed when ``None``.

    Raises:
        DataError, LammpsError: see `fitsnap_nn.data` and `fitsnap_nn.inputs.snap`.
    """
    dataset = read_dataset(settings, ranks, split_seed)
    console.line(describe_data(dataset, settings))
    targets = choose_targets(settings, dataset.configurations)
    source = choose_source(settings, model, targets)
    folder = settings.memory.cache or Path(settings.output_folder) / "cache"
    store = InputStore(folder, source.key, source.kind, settings.pytorch.precision)
    _compute_records(dataset.configurations, source, store, ranks, console)
    return Prepared(dataset, store, targets)


def read_dataset(settings: Settings, ranks: Ranks, split_seed: int | None = None) -> Dataset:
    """Configurations, split and weighted, the same on every rank.

    Raises:
        DataError: a file cannot be used; see `fitsnap_nn.data`.
    """
    sources = list_files(settings)
    mine = ranks.mine([float(os.path.getsize(source.path)) for source in sources])
    shares = ranks.share(read_files(settings, [sources[number] for number in mine]))
    seed = ranks.broadcast(split_seed or settings.groups.random_seed or draw_seed())
    return assemble(settings, [configuration for share in shares for configuration in share], seed)


def describe_data(dataset: Dataset, settings: Settings) -> str:
    """The data in a few lines, warnings included."""
    members = dataset.configurations
    testing = sum(configuration.testing for configuration in members)
    shuffled = f" · split with random_seed = {dataset.seed}" if settings.groups.random_sampling else ""
    lines = [
        f"data: {len(members)} configurations, {sum(map(len, members))} atoms, "
        f"{len({c.group for c in members})} groups · {len(members) - testing} to train, {testing} to test{shuffled}"
    ]
    return "\n".join([*lines, *(f"  warning: {warning}" for warning in dataset.warnings)])


def choose_targets(settings: Settings, configurations: Sequence[Configuration]) -> Targets:
    """Forces where they are asked for; stresses where they are asked for, labelled, and weighted."""
    stress = settings.calculator.stress and any(
        configuration.stress is not None and configuration.stress_weight > 0 for configuration in configurations
    )
    return Targets(forces=settings.calculator.force, stress=stress)


def choose_source(settings: Settings, model: Model, targets: Targets) -> Source[Any]:
    """What the records of a model are, and what computes them."""
    if isinstance(model, GraphModel):
        return graph_source(model.elements, model.cutoff, settings.reference, settings.folder)
    gradients, strain = targets.forces, targets.stress
    return descriptor_source(
        settings.bispectrum, settings.reference, gradients=gradients, strain=strain, folder=settings.folder
    )


def _compute_records(
    configurations: Sequence[Configuration],
    source: Source[Any],
    store: InputStore[Any],
    ranks: Ranks,
    console: Console,
) -> None:
    # One rank looks for damaged records, so that ranks neither repair the same file nor read it all at once.
    absent = ranks.broadcast([c.fingerprint() for c in store.missing(configurations)] if ranks.is_first else [])
    wanted = set(absent)
    first_of = {c.fingerprint(): c for c in reversed(configurations)}
    missing = [c for fingerprint, c in first_of.items() if fingerprint in wanted]
    store.refresh()
    mine = ranks.mine([estimated_cost(c, source.cutoff) for c in missing])
    if mine:
        with source.open() as calculator:
            compute_missing([missing[number] for number in mine], calculator, store, console.progress("records"))
    ranks.barrier()
    store.refresh()
    found = f"{len(missing)} computed, {len(first_of) - len(missing)} from the cache"
    console.line(f"{source.summary} · {found} · {store.size_bytes / 2**20:.1f} MiB in {store.folder}")
