"""The first half of a fit, which a test of a saved model shares: files to configurations to records to samples."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.files import list_files, read_files
from fitsnap_nn.data.groups import Dataset, assemble, draw_seed
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.descriptors.bispectrum import largest_cutoff, n_descriptors
from fitsnap_nn.descriptors.key import record_settings
from fitsnap_nn.descriptors.record import Record
from fitsnap_nn.descriptors.snap import SnapCalculator, choose_route
from fitsnap_nn.descriptors.store import DescriptorStore
from fitsnap_nn.descriptors.work import compute_missing, estimated_cost
from fitsnap_nn.models import BPNN
from fitsnap_nn.models.baselines import fit_composition, standardize
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings.schema import Settings
from fitsnap_nn.training.batches import SampleSet, make_sample
from fitsnap_nn.training.parallel import Ranks
from fitsnap_nn.training.trainer import Targets

RELEASE_ABOVE = 256 * 2**20  # bytes of records above which their pages are given back after use


@dataclass(frozen=True)
class Prepared:
    """Data and descriptors.

    Attributes:
        dataset: configurations, split and weighted.
        store: their records.
        targets: which labels the loss has; ``forces`` also says whether records have gradients.
    """

    dataset: Dataset
    store: DescriptorStore
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


def prepare(settings: Settings, ranks: Ranks, console: Console, split_seed: int | None = None) -> Prepared:
    """Read the data and see to it that every configuration has a record; all ranks share the work.

    Args:
        split_seed: of the fit that is continued; drawn or taken from GROUPS random_seed when ``None``.

    Raises:
        DataError, LammpsError: see `fitsnap_nn.data` and `fitsnap_nn.descriptors`.
    """
    dataset = read_dataset(settings, ranks, split_seed)
    console.line(describe_data(dataset, settings))
    targets = choose_targets(settings, dataset.configurations)
    store = _open_store(settings, targets)
    _compute_records(settings, dataset.configurations, store, targets, ranks, console)
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


def _open_store(settings: Settings, targets: Targets) -> DescriptorStore:
    folder = settings.memory.cache or Path(settings.output_folder) / "cache"
    key = record_settings(
        settings.bispectrum, settings.reference, gradients=targets.forces, strain=targets.stress, folder=settings.folder
    )
    return DescriptorStore(folder, key, settings.pytorch.precision)


def _compute_records(
    settings: Settings,
    configurations: Sequence[Configuration],
    store: DescriptorStore,
    targets: Targets,
    ranks: Ranks,
    console: Console,
) -> None:
    # One rank looks for damaged records, so that ranks neither repair the same file nor read it all at once.
    absent = ranks.broadcast([c.fingerprint() for c in store.missing(configurations)] if ranks.is_first else [])
    wanted = set(absent)
    first_of = {c.fingerprint(): c for c in reversed(configurations)}
    missing = [c for fingerprint, c in first_of.items() if fingerprint in wanted]
    store.refresh()
    mine = ranks.mine([estimated_cost(c, largest_cutoff(settings.bispectrum)) for c in missing])
    if mine:
        options = settings.bispectrum, settings.reference
        with SnapCalculator(
            *options, gradients=targets.forces, strain=targets.stress, folder=settings.folder
        ) as calculator:
            compute_missing([missing[number] for number in mine], calculator, store, console.progress("descriptors"))
    ranks.barrier()
    store.refresh()
    found = f"{len(missing)} computed, {len(first_of) - len(missing)} from the cache"
    console.line(
        f"descriptors: {n_descriptors(settings.bispectrum)} an atom by {choose_route()[1]} · {found} · "
        f"{store.size_bytes / 2**20:.1f} MiB in {store.folder}"
    )


def make_model(settings: Settings, prepared: Prepared) -> tuple[BPNN, list[str]]:
    """The network with random weights from torch's generator, its baselines and standardisation fitted.

    Returns:
        The model, and what to tell the user about its baselines.
    """
    options = settings.pytorch
    size = n_descriptors(settings.bispectrum)
    hidden = [int(word) for word in options.layer_sizes[1:-1]]
    model = BPNN(settings.elements, size, hidden, options.activation, options.multi_element_option)
    training = prepared.subset(testing=False)
    if options.standardize:
        blocks = ((_species(c, settings.elements), prepared.store.record(c).descriptors) for c in training)
        found = standardize(blocks, (len(settings.elements), size))
        model.standardize(*(torch.from_numpy(array) for array in found))
    notes = _set_baselines(model, settings, prepared, training)
    prepared.store.release()
    model.set_precision(getattr(torch, options.precision))
    return model, notes


def _species(configuration: Configuration, elements: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([elements.index(symbol) for symbol in configuration.species], dtype=np.int64)


def _set_baselines(model: BPNN, settings: Settings, prepared: Prepared, training: Sequence[Configuration]) -> list[str]:
    """Element energies, by least squares on what the reference leaves; and the scale of the targets."""
    notes = []
    records = [prepared.store.record(c) for c in training]
    labelled = [(c, r) for c, r in zip(training, records, strict=True) if c.energy is not None and c.energy_weight > 0]
    counts = [np.bincount(_species(c, model.elements), minlength=len(model.elements)) / len(c) for c, _ in labelled]
    fractions = np.array(counts).reshape(-1, len(model.elements))
    residuals = np.array([((c.energy or 0.0) - r.reference_energy) / len(c) for c, r in labelled])
    if settings.pytorch.composition_baseline and labelled:
        found = fit_composition(fractions, residuals, np.array([c.energy_weight for c, _ in labelled]))
        model.element_energies.copy_(torch.from_numpy(found.energies))
        residuals = residuals - fractions @ found.energies
        pairs = zip(model.elements, found.energies, strict=True)
        notes.append(
            "element energies by least squares: " + ", ".join(f"{e} {energy:.4f}" for e, energy in pairs) + " eV"
        )
        if not found.determined:
            notes.append("the compositions of the data leave these energies open: the smallest were taken")
    if settings.pytorch.scale_targets:
        model.energy_scale.fill_(_target_scale(residuals, training, records))
        notes.append(f"targets are scaled by {float(model.energy_scale):.4g} eV")
    return notes


def _target_scale(residuals: np.ndarray, training: Sequence[Configuration], records: Sequence[Record]) -> float:
    """Half the spread of energies per atom, or the largest force times 1 Å if that is more; eV.

    Where only stresses are fitted, the largest virial of an atom.
    """
    pairs = list(zip(training, records, strict=True))
    forces = [
        float(np.abs(c.forces - r.reference_forces).max())
        for c, r in pairs
        if c.forces is not None and c.force_weight > 0
    ]
    virials = [
        float(np.abs(voigt(c.stress) - r.reference_stress).max()) * c.volume / len(c)
        for c, r in pairs
        if c.stress is not None and c.stress_weight > 0
    ]
    spread = 0.5 * float(np.ptp(residuals)) if len(residuals) else 0.0
    return max(spread, *forces, 0.0) or max(virials, default=0.0) or 1.0
