"""Report on the installation: versions, LAMMPS packages, and usable model formats."""

from __future__ import annotations

import platform
import shlex
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from fitsnap_nn import devices
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.lammps.program import NN_ACTIVATIONS, Lammps, find_lammps
from fitsnap_nn.plugin import BOOTSTRAP, plugin_dir, read_stamp
from fitsnap_nn.plugin.build import find_compiler

DISTRIBUTIONS = ("fitsnap_nn", "torch", "numpy", "ase", "lammps", "mpi4py", "mpich", "matplotlib")
PACKAGES = ("ML-IAP", "ML-SNAP", "PYTHON", "PLUGIN")

# EXISTS asks for the model that a script passed to load_unified(). There is none, so the expected error proves that
# the plugin started Python and loaded all its parts.
PROBE = """\
region box block 0 1 0 1 0 1
create_box 1 box
pair_style mliap/py unified EXISTS
"""
LOADED = "No model was passed"
REFUSED = "is not used: "


def report(command: list[str] | None = None) -> str:
    """Return the versions of all dependencies, and the model formats that LAMMPS can run.

    Args:
        command: LAMMPS command line; ``None`` for the result of `find_lammps`.
    """
    lines = [f"python      {platform.python_version()} ({sys.executable})"]
    lines += [f"{name:<11} {_version(name)}" for name in DISTRIBUTIONS]
    lines.append(f"GPU         {devices.report()}")
    lines.append(f"compiler    {shlex.join(find_compiler()) or 'none: the LAMMPS plugin cannot be built'}")
    try:
        lammps = find_lammps(command)
    except LammpsError as error:
        return "\n".join([*lines, f"LAMMPS      {error}"])
    return "\n".join([*lines, *_about(lammps), *_about_plugin(lammps)])


def _about(lammps: Lammps) -> list[str]:
    present = [name if name in lammps.packages else f"no {name}" for name in PACKAGES]
    nn = (
        f"yes, activations {', '.join(NN_ACTIVATIONS)}" if "nn" in lammps.formats else "no: it needs ML-IAP and ML-SNAP"
    )
    mliappy = "yes, every activation" if "mliappy" in lammps.formats else "no: it needs ML-IAP built with Python"
    return [
        f"LAMMPS      {lammps.version} ({' '.join(lammps.command)})",
        f"  packages  {', '.join(present)}",
        f"  mpirun    {' '.join(lammps.launcher) or 'none: one rank only'}",
        f"  nn        {nn}",
        f"  mliappy   {mliappy}",
    ]


def _about_plugin(lammps: Lammps) -> list[str]:
    try:
        folder = plugin_dir()
    except LammpsError as error:
        return [f"plugin      no: {error}"]
    stamp = read_stamp(folder)
    return [
        f"plugin      {folder}",
        f"  built     for {stamp.built_for} by {stamp.compiler}",
        f"  loads     {_loading(lammps, folder)}",
    ]


def _loading(lammps: Lammps, folder: Path) -> str:
    """Return whether LAMMPS loads the plugin, determined by running a probe input."""
    load = f"plugin load {folder / BOOTSTRAP}\n"
    try:
        output = _output(lammps, load)
        refusal = next((line for line in output.splitlines() if REFUSED in line), None)
        return f"no: {refusal.partition(REFUSED)[2]}" if refusal else _output(lammps, load + PROBE)
    except LammpsError as error:
        return "yes: pair_style mliap runs models in Python" if LOADED in str(error) else f"no: {error}"


def _output(lammps: Lammps, commands: str) -> str:
    with tempfile.TemporaryDirectory() as name:
        Path(name, "in.probe").write_text(commands)
        return lammps.run(["-in", "in.probe", "-log", "none", "-nocite"], Path(name), timeout=60)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
