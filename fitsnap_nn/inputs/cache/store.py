"""Memory-mapped store of cached inputs, reused by later fits with the same settings.

A store is the folder ``<cache>/<digest of the settings>``. Every writer creates its own files there (`record_file`).
Ranks therefore write concurrently without locks, and a killed run loses only its last few seconds.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.files import remove_abandoned, remove_temporaries
from fitsnap_nn.inputs.base import CachedInput
from fitsnap_nn.inputs.cache.record_file import (
    RecordFile,
    RecordLocation,
    RecordWriter,
    file_version,
    translate_write_errors,
    write_text_atomically,
)

FORMAT_VERSION = 2


class InputStore:
    """The cached inputs for one set of settings.

    Args:
        folder: cache folder; it contains one subfolder per set of settings.
        settings: everything besides the configuration on which an input depends, see `ModelInput.cache_key` and
            `reference_key`.
        kind: class of the cached inputs.
        dtype: float32 or float64, for descriptors and their derivatives. Reference results are always float64.

    Attributes:
        folder: subfolder for these settings.
    """

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Any], kind: type[CachedInput], dtype: DTypeLike = np.float64
    ) -> None:
        self._kind = kind
        self._dtypes = kind.dtypes(np.dtype(dtype))
        types = [array_dtype.str for array_dtype in self._dtypes]
        self._settings = json.dumps({**settings, "types": types, "format": FORMAT_VERSION}, indent=1, sort_keys=True)
        self.folder = Path(folder) / hashlib.sha256(self._settings.encode()).hexdigest()[:20]
        self._files: dict[Path, RecordFile] = {}
        self._locations: dict[str, tuple[RecordFile, RecordLocation]] = {}
        self.refresh()

    @property
    def size_bytes(self) -> int:
        """Total size of the cached inputs, bytes."""
        return sum(location.size(self._dtypes) for _, location in self._locations.values())

    def __contains__(self, fingerprint: str) -> bool:
        """Return whether the input of a configuration with this fingerprint is cached, without reading it."""
        return fingerprint in self._locations

    def missing(self, configurations: Sequence[Configuration]) -> list[Configuration]:
        """Return the configurations whose input is not cached or fails its checksum.

        Of configurations with the same atoms and cell only the first is returned. Damaged files are removed.
        """
        wanted: dict[str, Configuration] = {}
        for configuration in configurations:
            wanted.setdefault(configuration.fingerprint(), configuration)
        for fingerprint in wanted:
            file, location = self._locations.get(fingerprint, (None, None))
            if file and location:
                if not file.is_intact(location):
                    self._discard(file.index, "the checksum of a cached input differs")
                # The checksum has touched every page; without this, checking would fill the memory with the cache.
                file.release()
        return [configuration for fingerprint, configuration in wanted.items() if fingerprint not in self._locations]

    def cached(self, configuration: Configuration) -> CachedInput:
        """Return the input of a configuration as views of a mapped file; writing to them does not change the file.

        Raises:
            KeyError: the input is not cached, see `missing`.
        """
        file, location = self._locations[configuration.fingerprint()]
        return self._kind.from_arrays(file.arrays(location))

    def release(self) -> None:
        """Release the memory of all mapped pages; they are read from disk again on the next access."""
        for file in self._files.values():
            file.release()

    def refresh(self) -> None:
        """Open the inputs written by this and other processes since the last call.

        Damaged files are removed with a warning; unreadable ones are skipped with a warning.
        """
        for index in sorted(self.folder.glob("*.index")):
            try:
                if index in self._files and self._files[index].version == file_version(index):
                    continue
                file = RecordFile(index, self._dtypes)
            except (ValueError, FileNotFoundError) as error:
                self._discard(index, str(error))
                continue
            except OSError as error:
                warnings.warn(f"descriptor cache {index}: {error}; this file is skipped.", stacklevel=2)
                continue
            self._files[index] = file
            self._locations.update((fingerprint, (file, location)) for fingerprint, location in file.locations.items())

    def writer(self) -> RecordWriter:
        """Return a context manager that writes new inputs; call `refresh` afterwards to read them.

        Raises:
            DataError: the folder cannot be written.
        """
        with translate_write_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text_atomically(self.folder / "settings.json", self._settings)
            self._remove_abandoned_files()
        return RecordWriter(self.folder, self._dtypes)

    def _remove_abandoned_files(self) -> None:
        """Remove data files without index and temporary files that killed writers left behind."""
        for path in self.folder.glob("*.bin"):
            if not (index := path.with_suffix(".index")).exists():
                remove_abandoned(path, unless=index)
        remove_temporaries(self.folder)

    def _discard(self, index: Path, reason: str) -> None:
        """Close and remove a damaged data file with its index, so that its inputs are computed again."""
        self._files.pop(index, None)
        self._locations = {name: found for name, found in self._locations.items() if found[0].index != index}
        with suppress(OSError):
            index.unlink()
            index.with_suffix(".bin").unlink()
        warnings.warn(f"descriptor cache {index}: {reason}; its inputs are computed again.", stacklevel=3)
