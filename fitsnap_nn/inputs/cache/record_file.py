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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import DataError
from fitsnap_nn.files import atomic_write
from fitsnap_nn.inputs.base import Arrays, CachedInput, DType

Kinds = Sequence[DType]

MAGIC = b"fitsnap_nn descriptors".ljust(64, b"\0")
ALIGNMENT = 64  # bytes
INDEX_INTERVAL = 10.0  # s between two indices of a writer at work
LARGEST = 2**30  # bytes after which a writer begins new files: a map larger than memory may be refused


class Place(NamedTuple):
    """Where a record lies, and the shapes of its arrays."""

    offset: int
    shapes: Sequence[Sequence[int]]
    checksum: int

    def size(self, kinds: Kinds) -> int:
        """Bytes, with each array padded to the alignment."""
        pairs = zip(self.shapes, kinds, strict=True)
        return sum(_padded(math.prod(shape) * kind.itemsize) for shape, kind in pairs)


class Chunk:
    """A writer's files, mapped into memory as far as the index goes.

    Raises:
        OSError, ValueError: a file is missing, too short, or not what it should be.
    """

    def __init__(self, index: Path, kinds: Kinds) -> None:
        self._kinds = kinds
        self.index = index
        self.stamp = stamp(index)
        self.places, size = _read_index(index)
        with index.with_suffix(".bin").open("rb") as file:
            self._data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
        if self._data[: len(MAGIC)] != MAGIC:
            raise ValueError("the data file does not begin as one of ours")

    def is_intact(self, place: Place) -> bool:
        """Whether a record is as it was written."""
        end = place.offset + place.size(self._kinds)
        return zlib.crc32(memoryview(self._data)[place.offset : end]) == place.checksum

    def arrays(self, place: Place) -> Arrays:
        """The arrays of a record as views of the mapped memory."""
        views: list[NDArray[Any]] = []
        offset = place.offset
        for shape, kind in zip(place.shapes, self._kinds, strict=True):
            count = math.prod(shape)
            views.append(np.frombuffer(self._data, kind, count, offset).reshape(shape))
            offset += _padded(count * kind.itemsize)
        return views

    def release(self) -> None:
        """Give the memory of mapped pages back; they are read again when needed."""
        self._data.madvise(mmap.MADV_DONTNEED)


class Writer:
    """Appends records to data files of its own and keeps the index of each.

    Raises:
        DataError: the folder cannot be written, now or later (a full disk).
    """

    def __init__(self, folder: Path, kinds: Kinds) -> None:
        self._folder = folder
        self._kinds = kinds
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

    def add(self, configuration: Configuration, record: CachedInput) -> None:
        """Append a record."""
        with write_errors(self._folder):
            if self._end > LARGEST:
                self._finish()
                self._begin()
            arrays = record.arrays()
            place = Place(self._end, [array.shape for array in arrays], 0)
            checksum = 0
            self._file.seek(place.offset)
            for array, kind in zip(arrays, self._kinds, strict=True):
                stored = np.ascontiguousarray(array, dtype=kind)
                data = stored.reshape(-1).view(np.uint8).data
                for part in (data, bytes(_padded(data.nbytes) - data.nbytes)):
                    self._file.write(part)
                    checksum = zlib.crc32(part, checksum)
            self._end += place.size(self._kinds)
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
    with atomic_write(path) as file:
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
