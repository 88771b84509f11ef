"""The files of one writer of records: ``<name>.bin``, records one after the other, and ``<name>.index``, which says
where each lies. The index is replaced atomically, and only after what it speaks of is on disk.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.descriptors.record import Record
from fitsnap_nn.errors import DataError
from fitsnap_nn.files import replacing

DType = np.dtype[Any]

MAGIC = b"fitsnap_nn descriptors".ljust(64, b"\0")
ALIGNMENT = 64  # bytes
INDEX_INTERVAL = 10.0  # s between two indices of a writer at work
LARGEST = 2**30  # bytes after which a writer begins new files: a map larger than memory may be refused


class Place(NamedTuple):
    """Where a record lies, and all that its layout follows from."""

    offset: int
    n_atoms: int
    n_pairs: int
    n_descriptors: int
    n_strained: int
    checksum: int

    def fields(self, dtype: DType) -> list[tuple[tuple[int, ...], DType]]:
        """Shape and type of the arrays of a record, in order: reference, pair_i, pair_j, B, dB/dR, dB/d(strain)."""
        double, integer = np.dtype(np.float64), np.dtype(np.int32)
        return [
            ((7 + 3 * self.n_atoms,), double),
            ((self.n_pairs,), integer),
            ((self.n_pairs,), integer),
            ((self.n_atoms, self.n_descriptors), dtype),
            ((self.n_pairs, 3, self.n_descriptors), dtype),
            ((self.n_strained, 6, self.n_descriptors), dtype),
        ]

    def size(self, dtype: DType) -> int:
        """Bytes, with each array padded to the alignment."""
        return sum(_padded(math.prod(shape) * kind.itemsize) for shape, kind in self.fields(dtype))


class Chunk:
    """A writer's files, mapped into memory as far as the index goes.

    Raises:
        OSError, ValueError: a file is missing, too short, or not what it should be.
    """

    def __init__(self, index: Path, dtype: DType) -> None:
        self._dtype = dtype
        self.index = index
        self.stamp = stamp(index)
        self.places, size = _read_index(index)
        with index.with_suffix(".bin").open("rb") as file:
            self._data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
        if self._data[: len(MAGIC)] != MAGIC:
            raise ValueError("the data file does not begin as one of ours")

    def is_intact(self, place: Place) -> bool:
        """Whether a record is as it was written."""
        end = place.offset + place.size(self._dtype)
        return zlib.crc32(memoryview(self._data)[place.offset : end]) == place.checksum

    def record(self, place: Place) -> Record:
        """A record as views of the mapped memory."""
        views: list[NDArray[Any]] = []
        offset = place.offset
        for shape, kind in place.fields(self._dtype):
            count = math.prod(shape)
            views.append(np.frombuffer(self._data, kind, count, offset).reshape(shape))
            offset += _padded(count * kind.itemsize)
        reference, *arrays = views
        return _assembled(reference, arrays)

    def release(self) -> None:
        """Give the memory of mapped pages back; they are read again when needed."""
        self._data.madvise(mmap.MADV_DONTNEED)


def _assembled(reference: NDArray[Any], arrays: list[NDArray[Any]]) -> Record:
    pair_i, pair_j, descriptors, gradients, strain_gradients = arrays
    energy, stress, forces = float(reference[0]), reference[1:7], reference[7:].reshape(-1, 3)
    return Record(descriptors, pair_i, pair_j, gradients, strain_gradients, energy, forces, stress)


def _disassembled(record: Record) -> list[NDArray[Any]]:
    reference = np.concatenate([[record.reference_energy], record.reference_stress, record.reference_forces.ravel()])
    return [
        reference,
        record.pair_i,
        record.pair_j,
        record.descriptors,
        record.gradients,
        record.strain_gradients,
    ]


class Writer:
    """Appends records to data files of its own and keeps the index of each.

    Raises:
        DataError: the folder cannot be written, now or later (a full disk).
    """

    def __init__(self, folder: Path, dtype: DType) -> None:
        self._folder = folder
        self._dtype = dtype
        with write_errors(folder):
            self._begin()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Keep the complete records, also when the computation of another one has failed."""
        with write_errors(self._folder):
            self._finish()

    def _begin(self) -> None:
        self._path = self._folder / f"{uuid.uuid4().hex}.bin"
        self._file = self._path.open("xb")
        self._file.write(MAGIC)
        self._end = len(MAGIC)
        self._places: dict[str, Place] = {}
        self._indexed = time.monotonic()

    def _finish(self) -> None:
        try:
            if self._places:
                self._write_index()
            else:
                self._path.unlink()
        finally:
            self._file.close()

    def add(self, configuration: Configuration, record: Record) -> None:
        """Append a record."""
        with write_errors(self._folder):
            if self._end > LARGEST:
                self._finish()
                self._begin()
            n_atoms, n_descriptors = record.descriptors.shape
            place = Place(self._end, n_atoms, len(record.pair_i), n_descriptors, len(record.strain_gradients), 0)
            checksum = 0
            self._file.seek(place.offset)
            for array, (shape, kind) in zip(_disassembled(record), place.fields(self._dtype), strict=True):
                stored = np.ascontiguousarray(array, dtype=kind)
                if stored.shape != shape:
                    raise ValueError(f"{configuration.id}: an array of its record is {stored.shape}, not {shape}")
                data = stored.reshape(-1).view(np.uint8).data
                for part in (data, bytes(_padded(data.nbytes) - data.nbytes)):
                    self._file.write(part)
                    checksum = zlib.crc32(part, checksum)
            self._end += place.size(self._dtype)
            self._places[configuration.fingerprint()] = place._replace(checksum=checksum)
            if time.monotonic() - self._indexed > INDEX_INTERVAL:
                self._write_index()

    def _write_index(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        places = json.dumps(self._places)
        index = {"checksum": zlib.crc32(places.encode()), "size": self._end, "places": places}
        replace_file(self._path.with_suffix(".index"), json.dumps(index))
        self._indexed = time.monotonic()


def _read_index(path: Path) -> tuple[dict[str, Place], int]:
    """The places of an index, and the bytes of data it speaks of."""
    try:
        index = json.loads(path.read_text())
        places, size = index["places"], int(index["size"])
        if zlib.crc32(places.encode()) != index["checksum"]:
            raise ValueError("the checksum differs")
        return {name: Place(*numbers) for name, numbers in json.loads(places).items()}, size
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the index is damaged ({error})") from error


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is replaced."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ino


def replace_file(path: Path, text: str) -> None:
    """Write a file so that it is there as a whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Say what can be done about a folder that cannot be written."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write the descriptor cache in {folder}: {error.strerror or error}. "
            "Name another folder in the input file: [MEMORY] cache = FOLDER"
        ) from error


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
