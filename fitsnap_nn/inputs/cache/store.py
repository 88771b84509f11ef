"""Records on disk, memory-mapped: what one fit has computed, the next one opens.

A store is a folder ``<cache>/<digest of the settings>``. Every writer has its own files there (`chunk`), so ranks
write at the same time without locks, and a run that is killed loses its last seconds and no more.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.inputs.base import CachedInput
from fitsnap_nn.inputs.cache.record_file import Chunk, Place, Writer, replace_file, stamp, write_errors

FORMAT = 2
R = TypeVar("R", bound=CachedInput)

ABANDONED = 86400.0  # s after which a file that no index speaks of belongs to no running writer


class InputStore(Generic[R]):
    """The records of one set of settings.

    Args:
        folder: the cache; stores of many settings live in it.
        settings: everything a record depends on besides its configuration, see `key`.
        kind: the class of the records.
        dtype: float32 or float64, of descriptors and their derivatives. The reference is float64 always.
    """

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Any], kind: type[R], dtype: DTypeLike = np.float64
    ) -> None:
        self._kind = kind
        self._kinds = kind.kinds(np.dtype(dtype))
        types = [part.str for part in self._kinds]
        self._settings = json.dumps({**settings, "types": types, "format": FORMAT}, indent=1, sort_keys=True)
        self.folder = Path(folder) / hashlib.sha256(self._settings.encode()).hexdigest()[:20]
        self._chunks: dict[Path, Chunk] = {}
        self._places: dict[str, tuple[Chunk, Place]] = {}
        self.refresh()

    @property
    def size_bytes(self) -> int:
        """Bytes of all records."""
        return sum(place.size(self._kinds) for _, place in self._places.values())

    def missing(self, configurations: Sequence[Configuration]) -> list[Configuration]:
        """Those without a record, or with one that its checksum proves damaged; of equal ones the first."""
        wanted: dict[str, Configuration] = {}
        for configuration in configurations:
            wanted.setdefault(configuration.fingerprint(), configuration)
        for fingerprint in wanted:
            chunk, place = self._places.get(fingerprint, (None, None))
            if chunk and place:
                if not chunk.is_intact(place):
                    self._discard(chunk.index, "a record is damaged")
                chunk.release()
        return [configuration for fingerprint, configuration in wanted.items() if fingerprint not in self._places]

    def cached(self, configuration: Configuration) -> R:
        """The record of a configuration, as views of mapped memory. What is written to them stays in memory.

        Raises:
            KeyError: there is none, see `missing`.
        """
        chunk, place = self._places[configuration.fingerprint()]
        return self._kind.from_arrays(chunk.arrays(place))

    def release(self) -> None:
        """Give the memory of mapped pages back; they are read again when needed."""
        for chunk in self._chunks.values():
            chunk.release()

    def refresh(self) -> None:
        """Take up what this and other processes have written since."""
        for index in sorted(self.folder.glob("*.index")):
            try:
                if index in self._chunks and self._chunks[index].stamp == stamp(index):
                    continue
                chunk = Chunk(index, self._kinds)
            except (ValueError, FileNotFoundError) as error:
                self._discard(index, str(error))
                continue
            except OSError as error:
                warnings.warn(f"descriptor cache {index}: {error}; it is not used.", stacklevel=2)
                continue
            self._chunks[index] = chunk
            self._places.update((fingerprint, (chunk, place)) for fingerprint, place in chunk.places.items())

    def writer(self) -> Writer:
        """A writer of new records, for a ``with`` statement; `refresh` afterwards makes them readable.

        Raises:
            DataError: the folder cannot be written.
        """
        with write_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(self.folder / "settings.json", self._settings)
            self._sweep()
        return Writer(self.folder, self._kinds)

    def _sweep(self) -> None:
        """Remove what killed writers left behind."""
        for path in (*self.folder.glob("*.bin"), *self.folder.glob(".*")):
            with suppress(OSError):
                if not path.with_suffix(".index").exists() and time.time() - path.stat().st_mtime > ABANDONED:
                    path.unlink()

    def _discard(self, index: Path, reason: str) -> None:
        """Forget the files of one writer, and remove them, so that their records are computed again."""
        self._chunks.pop(index, None)
        self._places = {name: found for name, found in self._places.items() if found[0].index != index}
        with suppress(OSError):
            index.unlink()
            index.with_suffix(".bin").unlink()
        warnings.warn(f"descriptor cache {index}: {reason}; its records are computed again.", stacklevel=3)
