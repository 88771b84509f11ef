"""Content of the installed package, and reproducibility of the shipped data."""

from __future__ import annotations

import email
import email.message
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from places import EXAMPLE, ROOT

import fitsnap_nn
from fitsnap_nn.plugin import BOOTSTRAP, CORE, STAMP

FOLDERS = (".ci", ".github", "docs", "examples", "fitsnap_nn", "input_templates", "lammps_plugin", "tests")
FILES = (
    ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE",
    "MANIFEST.in", "Makefile", "README.md", "pyproject.toml", "setup.py",
)  # fmt: skip
SHIPPED = (*FOLDERS, *FILES)
MADE = {"__pycache__", ".so", ".pyc", "plugin.json", "Ta_fit", "_build"}  # by building and running
SOURCES = sorted((ROOT / "lammps_plugin").rglob("*"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that pip builds from a copy of the sources: what setuptools leaves behind stays out of the tree."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SHIPPED:
        (source / name).symlink_to(ROOT / name)
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(source)]
    environment = {**os.environ, "CXXFLAGS": "-O0 -Werror"}
    done = subprocess.run(
        [sys.executable, "-m", *build], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = target.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "fitsnap_nn").rglob("*.py")}
    sources = {path.relative_to(ROOT / "lammps_plugin").as_posix() for path in SOURCES if path.is_file()}
    built = {BOOTSTRAP, CORE, "_snap.so", STAMP}
    assert files == {
        *modules,
        "fitsnap_nn/py.typed",
        *(path.relative_to(ROOT).as_posix() for path in (ROOT / "fitsnap_nn/reports/templates").iterdir()),
        *(f"fitsnap_nn/plugin/{name}" for name in built),
        *(f"fitsnap_nn/plugin/source/{name}" for name in sources),
    }


def test_nothing_compiled_names_a_folder_of_this_machine(wheel: zipfile.ZipFile) -> None:
    """pip keeps the wheel, and installs it into other environments."""
    for name in (BOOTSTRAP, CORE, "_snap.so", STAMP):
        content = wheel.read(f"fitsnap_nn/plugin/{name}")
        assert not [folder for folder in (sys.prefix, sys.base_prefix, str(ROOT)) if folder.encode() in content], name


def test_an_sdist_is_a_whole_checkout(tmp_path: Path) -> None:
    """The plugin can be built and the tests run from it."""
    script = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    for name in SHIPPED:
        (tmp_path / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    kept = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file() and not is_made(path)}
    assert {*FILES, *(path.relative_to(ROOT).as_posix() for path in kept)} <= names
    assert [name for name in names if is_made(Path(name))] == []


def is_made(path: Path) -> bool:
    return bool(MADE & {*path.parts, path.suffix})


def test_wheel_carries_the_licence(wheel: zipfile.ZipFile, metadata: email.message.Message) -> None:
    assert metadata["License-Expression"] == "GPL-2.0-only"
    (licence,) = (name for name in wheel.namelist() if name.endswith("/LICENSE"))
    assert b"GNU GENERAL PUBLIC LICENSE" in wheel.read(licence)


def test_version_has_one_source(metadata: email.message.Message) -> None:
    assert metadata["Version"] == fitsnap_nn.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{fitsnap_nn.__version__}]" in changelog
    assert f"\nversion: {fitsnap_nn.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_requirements_are_declared(metadata: email.message.Message) -> None:
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    names = {re.split(r"[\[<>=!]", line)[0] for line in required}
    assert names == {"ase", "jinja2", "lammps", "mpi4py", "numpy", "rich", "scipy", "torch", "vesin"}
    assert "lammps[mpi]==2025.7.22.4.0" in required
    extras = {"all", "dev", "docs", "linear", "long-range", "mace", "plots", "schedulefree", "soap", "tensorboard"}
    assert set(metadata.get_all("Provides-Extra", [])) == extras
    assert metadata["Requires-Python"] == ">=3.10"


def test_who_made_it_and_for_whom_is_declared(metadata: email.message.Message) -> None:
    assert metadata["Author"] == metadata["Maintainer"] == "fitsnap_nn developers"
    classifiers = set(metadata.get_all("Classifier", []))
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)} <= classifiers


def test_command_is_declared(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    declared = wheel.read(name).decode()
    assert "fitsnap_nn = fitsnap_nn.__main__:main" in declared
    assert "[lammps.plugins]\nfitsnap_nn = fitsnap_nn.plugin.entry:plugin_path" in declared


@pytest.fixture(scope="module")
def generate_data() -> ModuleType:
    spec = spec_from_file_location("generate_data", EXAMPLE / "generate_data.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("group", ["Volume_A15", "Strain_BCC", "Vacancy", "Surface", "Liquid"])
def test_shipped_data_are_what_the_script_makes(group: str, generate_data: ModuleType, tmp_path: Path) -> None:
    generate_data.write_group(group, tmp_path)
    made = (tmp_path / group / f"{group}.json").read_bytes()
    assert made == (EXAMPLE / "JSON" / group / f"{group}.json").read_bytes()


def test_every_group_is_shipped_and_small(generate_data: ModuleType) -> None:
    files = sorted((EXAMPLE / "JSON").rglob("*.json"))
    assert [path.stem for path in files] == sorted(generate_data.GROUPS)
    assert sum(path.stat().st_size for path in files) < 1_500_000
