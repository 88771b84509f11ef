"""``python -m fitsnap_nn lmp``: LAMMPS driven from Python, with the arguments and the exit status of ``lmp``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from decks import UNIFIED, save_location, write_deck
from places import ROOT
from processes import mpirun, run

LMP = ["-m", "fitsnap_nn", "lmp"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, plugin_environment: None) -> Path:
    write_deck(tmp_path / "in.unified", [*UNIFIED, 'print "ended"'])
    return save_location(tmp_path)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_model_runs(folder, ranks):
    done = mpirun(ranks, [*LMP, "-in", "in.unified", "-log", "none"], folder, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"python {sys.version_info[:2]} {sys.prefix} ") == ranks
    assert done.stdout.count("ended") == 1


def test_arguments_are_those_of_lammps(folder):
    write_deck(folder / "in.args", ['print "value ${v} partition"', "variable p world one two", 'print "world ${p}"'])
    done = mpirun(2, [*LMP, "-v", "v", "3", "-partition", "2x1", "-in", "in.args", "-plog", "none"], folder, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"value 3 partition", "world one"} <= set((folder / "screen.0").read_text().splitlines())
    assert "world two" in (folder / "screen.1").read_text()


def test_help_is_that_of_lammps(folder):
    done = run([sys.executable, *LMP, "-h"], folder, timeout=30)
    assert done.returncode == 0
    assert "Large-scale Atomic/Molecular Massively Parallel Simulator" in done.stdout


def test_commands_come_from_standard_input(folder):
    command = [sys.executable, *LMP, "-log", "none"]
    done = subprocess.run(
        command, cwd=folder, input='print "heard"\n', capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0
    assert "heard" in done.stdout


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    ("commands", "status", "message"),
    [
        (["quit 3"], 3, ""),
        (["nonsense"], 1, "ERROR: Unknown command: nonsense"),
        (["label a", "jump in.absent"], 1, "ERROR on proc 0: Cannot open"),
        (None, 1, "ERROR on proc 0: Cannot open input script"),
    ],
    ids=["quit", "all ranks", "one rank", "no input"],
)
def test_exit_status(folder, ranks, commands, status, message):
    if commands is not None:
        write_deck(folder / "in.bad", commands)
    done = mpirun(ranks, [*LMP, "-in", "in.bad", "-log", "none"], folder, timeout=30)
    assert done.returncode == status, done.stdout + done.stderr
    assert message in done.stdout
    assert "Traceback" not in done.stderr


def test_wrong_argument(folder):
    done = run([sys.executable, *LMP, "-frobnicate"], folder, timeout=30)
    assert done.returncode == 1
    assert "Invalid command-line argument: -frobnicate" in done.stdout


def test_python_without_shared_library(folder):
    """The one that a Linux distribution installs, with the packages of this environment."""
    python = shutil.which(f"python{sys.version_info.major}.{sys.version_info.minor}", path="/usr/bin")
    probe = "print('libpython' in open('/proc/self/maps').read())"
    if python is None or run([python, "-c", probe], folder).stdout.strip() != "False":
        pytest.skip("no /usr/bin/python of this version that is linked statically")
    packages = [str(ROOT), str(Path(__file__).parent), *(path for path in sys.path if path.endswith("site-packages"))]
    command = ["env", f"PYTHONPATH={os.pathsep.join(packages)}", python, *LMP, "-in", "in.unified", "-log", "none"]
    done = run(command, folder, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"python {sys.version_info[:2]} /usr []" in done.stdout
