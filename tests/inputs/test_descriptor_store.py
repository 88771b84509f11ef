"""The cache on disk: the same numbers back, whatever is killed, cut, changed or done twice."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import ELEMENTS, make_configuration

from fitsnap_nn import files
from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import Derivatives, labels_of
from fitsnap_nn.errors import DataError
from fitsnap_nn.files import create_locked
from fitsnap_nn.inputs.cache import record_file as chunk
from fitsnap_nn.inputs.cache.cache_key import reference_key
from fitsnap_nn.inputs.cache.compute import compute_missing
from fitsnap_nn.inputs.cache.store import InputStore
from fitsnap_nn.inputs.snap import compute as snap
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.inputs.snap.compute import SnapCompute
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.settings.schema import Bispectrum, Reference

SETTINGS = {"elements": ["In", "P"], "snap": "some words"}
N_DESCRIPTORS = 5


def made(seed: int):
    """A configuration, and a record of the right shapes with numbers of no meaning."""
    rng = np.random.default_rng(seed)
    n_atoms, n_pairs = int(rng.integers(1, 6)), int(rng.integers(0, 9))
    configuration = make_configuration(np.eye(3) * 5, rng.random((n_atoms, 3)), ("In",) * n_atoms, name=f"g/{seed}")
    pairs = rng.integers(0, n_atoms, (2, n_pairs)).astype(np.int32)
    record = CachedDescriptors(
        rng.normal(size=(n_atoms, N_DESCRIPTORS)),
        pairs[0],
        pairs[1],
        rng.normal(size=(n_pairs, 3, N_DESCRIPTORS)),
        rng.normal(size=(n_atoms if seed % 2 else 0, 6, N_DESCRIPTORS)),
        float(rng.normal()),
        rng.normal(size=(n_atoms, 3)),
        rng.normal(size=6),
    )
    return configuration, record


SAMPLES = [made(seed) for seed in range(12)]
CONFIGURATIONS = [configuration for configuration, _ in SAMPLES]


def filled(folder: Path, samples=SAMPLES, **options) -> InputStore:
    store = InputStore(folder, SETTINGS, CachedDescriptors, **options)
    with store.writer() as writer:
        for configuration, record in samples:
            writer.add(configuration, record)
    store.refresh()
    return store


def assert_equal(found: CachedDescriptors, expected: CachedDescriptors, dtype=np.float64) -> None:
    for name in ("descriptors", "gradients", "strain_gradients"):
        array = getattr(found, name)
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, getattr(expected, name).astype(dtype), strict=True)
    for name in ("pair_i", "pair_j", "reference_forces", "reference_stress"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), strict=True)
    assert found.reference_energy == expected.reference_energy


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.rglob(pattern)
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_stored_comes_back(dtype, tmp_path):
    filled(tmp_path, dtype=dtype)
    store = InputStore(tmp_path, SETTINGS, CachedDescriptors, dtype)
    assert store.missing(CONFIGURATIONS) == []
    for configuration, record in SAMPLES:
        assert_equal(store.cached(configuration), record, dtype)
    assert store.size_bytes == only(tmp_path, "*.bin").stat().st_size - len(chunk.MAGIC)


def test_views_may_be_written_without_harm_and_memory_given_back(tmp_path):
    store = filled(tmp_path)
    configuration, record = SAMPLES[3]
    view = store.cached(configuration).descriptors
    assert view.flags.writeable  # torch.from_numpy warns of arrays that are not
    view += 1.0
    assert_equal(InputStore(tmp_path, SETTINGS, CachedDescriptors).cached(configuration), record)
    store.release()
    np.testing.assert_array_equal(view, record.descriptors)


def test_release_lets_go_of_resident_memory(tmp_path):
    configuration, record = SAMPLES[0]
    large = np.zeros((1000, 3, 5000))
    pairs = np.zeros(1000, dtype=np.int32)
    record = record._replace(
        descriptors=np.zeros((1, 5000)), pair_i=pairs, pair_j=pairs, gradients=large,
        strain_gradients=np.zeros((0, 6, 5000)), reference_forces=np.zeros((1, 3)),
    )  # fmt: skip
    store = filled(tmp_path, [(configuration, record)])

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    before = resident()
    assert not store.cached(configuration).gradients.any()
    read = resident()
    store.release()
    assert read - before > 0.9 * large.nbytes
    assert resident() - before < 0.1 * large.nbytes


def test_files_are_kept_small(tmp_path, monkeypatch):
    monkeypatch.setattr(chunk, "MAX_FILE_SIZE", 5000)
    store = filled(tmp_path)
    assert len(list(store.folder.glob("*.bin"))) > 2
    for configuration, record in SAMPLES:
        assert_equal(store.cached(configuration), record)


def test_equal_configurations_are_computed_once(tmp_path):
    store = InputStore(tmp_path, SETTINGS, CachedDescriptors)
    twin = replace(CONFIGURATIONS[0], id="elsewhere", labels=labels_of(energy=1.0), subset=Subset.VALIDATION)
    assert store.missing([CONFIGURATIONS[0], twin, CONFIGURATIONS[1]]) == CONFIGURATIONS[:2]
    assert filled(tmp_path).missing([twin]) == []


def test_later_configurations_are_added(tmp_path):
    filled(tmp_path, SAMPLES[:5])
    store = InputStore(tmp_path, SETTINGS, CachedDescriptors)
    assert store.missing(CONFIGURATIONS) == CONFIGURATIONS[5:]
    assert filled(tmp_path, SAMPLES[5:]).missing(CONFIGURATIONS) == []
    store.refresh()
    for configuration, record in SAMPLES:
        assert_equal(store.cached(configuration), record)


def test_two_writers_at_once_and_a_reader_in_between(tmp_path, monkeypatch):
    monkeypatch.setattr(chunk, "INDEX_INTERVAL", 0.0)
    store, reader = InputStore(tmp_path, SETTINGS, CachedDescriptors), InputStore(tmp_path, SETTINGS, CachedDescriptors)
    with store.writer() as first, InputStore(tmp_path, SETTINGS, CachedDescriptors).writer() as second:
        for number, (configuration, record) in enumerate(SAMPLES, start=1):
            (first if number % 2 else second).add(configuration, record)
            reader.refresh()
            assert len(reader.missing(CONFIGURATIONS)) == len(SAMPLES) - number
            for known, expected in SAMPLES[:number]:
                assert_equal(reader.cached(known), expected)


def test_a_killed_writer_leaves_what_it_had_indexed(tmp_path):
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_descriptor_store import SAMPLES, SETTINGS, CachedDescriptors, InputStore, chunk
chunk.INDEX_INTERVAL = 0.0
with InputStore({str(tmp_path)!r}, SETTINGS, CachedDescriptors).writer() as writer:
    for number, sample in enumerate(SAMPLES):
        if number == 7:
            chunk.INDEX_INTERVAL = 1e9
        if number == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        writer.add(*sample)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == -9
    store = InputStore(tmp_path, SETTINGS, CachedDescriptors)
    assert store.missing(CONFIGURATIONS) == CONFIGURATIONS[7:]
    assert_equal(store.cached(CONFIGURATIONS[6]), SAMPLES[6][1])


def test_files_of_writers_that_have_ended_are_removed(tmp_path):
    store = filled(tmp_path)
    left = [store.folder / "bb.bin", store.folder / f".cc.index.{'d' * 32}"]
    for path in left:
        path.write_bytes(chunk.MAGIC)
    with create_locked(lambda: store.folder / "aa.bin") as written, store.writer():
        pass  # and a writer of nothing leaves nothing
    assert sorted(path.suffix for path in store.folder.glob("*")) == [".bin", ".bin", ".index", ".json"]
    assert Path(written.name).exists()
    assert not any(path.exists() for path in left)
    assert InputStore(tmp_path, SETTINGS, CachedDescriptors).missing(CONFIGURATIONS) == []


def test_a_writer_that_ends_while_another_begins_loses_nothing(tmp_path, monkeypatch):
    """The other has seen data without an index; the index and the end of the lock come before it has the lock."""
    store, (configuration, record) = InputStore(tmp_path, SETTINGS, CachedDescriptors), SAMPLES[0]
    writer = store.writer()
    writer.add(configuration, record)
    flock = files.fcntl.flock

    def slow(file, operation):
        if Path(file.name).suffix == ".bin":
            monkeypatch.undo()
            writer.__exit__(None, None, None)
        flock(file, operation)

    monkeypatch.setattr(files.fcntl, "flock", slow)
    with InputStore(tmp_path, SETTINGS, CachedDescriptors).writer():
        pass
    assert files.fcntl.flock is flock
    assert_equal(InputStore(tmp_path, SETTINGS, CachedDescriptors).cached(configuration), record)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def spoil_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def spoil_the_head(path: Path) -> None:
    path.write_bytes(b"something else" + path.read_bytes()[14:])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("*.bin", cut),
        ("*.bin", spoil_a_byte),
        ("*.bin", spoil_the_head),
        ("*.bin", empty),
        ("*.bin", Path.unlink),
        ("*.index", cut),
        ("*.index", spoil_a_byte),
        ("*.index", empty),
    ],
)
def test_damaged_files_are_recomputed_with_a_warning(pattern, damage, tmp_path):
    filled(tmp_path)
    damage(only(tmp_path, pattern))
    with pytest.warns(UserWarning, match="descriptor cache .* computed again"):
        missing = InputStore(tmp_path, SETTINGS, CachedDescriptors).missing(CONFIGURATIONS)
    assert missing == CONFIGURATIONS
    store = filled(tmp_path)
    assert store.missing(CONFIGURATIONS) == []
    for configuration, record in SAMPLES:
        assert_equal(store.cached(configuration), record)


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = InputStore(tmp_path / "file", SETTINGS, CachedDescriptors)
    assert store.missing(CONFIGURATIONS) == CONFIGURATIONS
    with pytest.raises(DataError, match=r"file.*\[MEMORY\] cache = FOLDER"):
        store.writer()


def test_a_full_disk_is_an_error_and_earlier_records_survive(tmp_path):
    """A limit on the size of files fails writes in the way a full disk does."""
    script = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_descriptor_store import SAMPLES, SETTINGS, DataError, CachedDescriptors, InputStore, np
configuration, record = SAMPLES[11]
n = len(record.descriptors)
wide = record._replace(
    descriptors=np.ones((n, 100000)), strain_gradients=np.ones((0, 6, 100000)),
    pair_i=record.pair_i[:0], pair_j=record.pair_j[:0], gradients=np.ones((0, 3, 100000)),
)
with InputStore({str(tmp_path)!r}, SETTINGS, CachedDescriptors).writer() as writer:
    for sample in SAMPLES[:4]:
        writer.add(*sample)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
    try:
        writer.add(configuration, wide)
    except DataError as error:
        print(error)
    writer.add(*SAMPLES[4])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "[MEMORY] cache = FOLDER" in done.stdout
    store = InputStore(tmp_path, SETTINGS, CachedDescriptors)
    assert store.missing(CONFIGURATIONS) == CONFIGURATIONS[5:]
    for configuration, record in SAMPLES[:5]:
        assert_equal(store.cached(configuration), record)


SNAP = Bispectrum(num_types=2, type=ELEMENTS, twojmax=(2,), rcutfac=1.0, wj=(1.0, 0.9), radelem=(2.2, 2.0))
REFERENCE = Reference(pair_style="lj/cut 4.0", pair_coeff=("* * 0.1 2.0",))


def key_of(derivatives: Derivatives) -> dict[str, Any]:
    return {**SnapInput(SNAP).cache_key(derivatives), **reference_key(SNAP.type, REFERENCE, Path())}


def test_a_second_fit_computes_nothing(tmp_path):
    counts = []
    settings = key_of(Derivatives())
    with SnapCompute(SNAP, REFERENCE, gradients=True, strain=True) as calculator:
        store = InputStore(tmp_path, settings, CachedDescriptors)
        progress = lambda done, total: counts.append((done, total))  # noqa: E731
        assert compute_missing(CONFIGURATIONS[:3], calculator, store, progress) == 3
        assert (
            compute_missing(CONFIGURATIONS[:3], calculator, InputStore(tmp_path, settings, CachedDescriptors), progress)
            == 0
        )
        for configuration in CONFIGURATIONS[:3]:
            assert_equal(store.cached(configuration), calculator.compute(configuration))
    assert counts == [(1, 3), (2, 3), (3, 3)]


def test_an_error_keeps_the_records_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(snap, "BATCH", 1)
    broken = replace(CONFIGURATIONS[2], species=("Xe",) * len(CONFIGURATIONS[2]))
    settings = key_of(Derivatives(positions=False, strain=False))
    with (
        SnapCompute(SNAP, REFERENCE, gradients=False, strain=False) as calculator,
        pytest.raises(DataError, match="g/2"),
    ):
        compute_missing([*CONFIGURATIONS[:2], broken], calculator, InputStore(tmp_path, settings, CachedDescriptors))
    assert InputStore(tmp_path, settings, CachedDescriptors).missing([*CONFIGURATIONS[:2], broken]) == [broken]
