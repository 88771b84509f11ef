"""Fixtures of several test folders: what is outside the repository, and a small fit."""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from outside import Outside
from places import SAMPLES, DataSet
from small_fit import write_small_input

# A rank that waits in MPI sleeps between two looks: with more ranks than cores it would keep others from working.
os.environ.setdefault("MPIR_CVAR_CH4_PROGRESS_THROTTLE", "1")
os.environ.setdefault("MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT", "100")


@pytest.fixture(scope="session")
def outside() -> Outside:
    """The one way to what is not in the repository: it skips, with the reason, where that is out of reach."""
    return Outside()


@pytest.fixture(scope="session")
def shared_file(outside: Outside) -> Callable[[str], Path]:
    """A function that finds a file of the folder of outside data. Its tests have the marker ``shared``."""
    return outside.file


@pytest.fixture(scope="session")
def native_lammps(shared_file: Callable[[str], Path], outside: Outside) -> list[str]:
    """Prefix of a command line that finds a LAMMPS with Python ML-IAP."""
    return outside.native_lammps()


SETS = [pytest.param("sample", marks=pytest.mark.sample), pytest.param("FitSNAP", marks=pytest.mark.shared)]


@pytest.fixture(scope="session", params=SETS)
def tantalum(request: pytest.FixtureRequest) -> DataSet:
    """Twelve groups of tantalum: our sample, and FitSNAP's set."""
    if request.param == "sample":
        return DataSet(SAMPLES / "Ta_JSON", 48, 288, training=36)
    return DataSet(request.getfixturevalue("fitsnap_tantalum"), 363, 4224, training=253)


@pytest.fixture(scope="session", params=SETS)
def indium_phosphide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Indium phosphide: our sample, and FitSNAP's set."""
    if request.param == "sample":
        return DataSet(SAMPLES / "InP_JSON", 23, 184, rotated=11)
    archive = request.getfixturevalue("shared_file")("data/InP_JSON.tar.xz")
    return DataSet(_unpacked(archive, tmp_path_factory), 1894, 118214, rotated=346)


@pytest.fixture(scope="session")
def fitsnap_tantalum(shared_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FitSNAP's folder of tantalum data."""
    return _unpacked(shared_file("data/Ta_JSON.tar.xz"), tmp_path_factory)


def _unpacked(archive: Path, factory: pytest.TempPathFactory) -> Path:
    folder = factory.mktemp("data")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "JSON"


@pytest.fixture(autouse=True)
def safe_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """``torch.load`` as it is by default: an import of mace by one test would change it for all that follow."""
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", raising=False)


@pytest.fixture(scope="session")
def mace(outside: Outside) -> None:
    """mace-torch."""
    outside.library("mace")


@pytest.fixture(scope="session")
def cuequivariance(mace: None, outside: Outside) -> None:
    """cuequivariance for torch."""
    outside.library("cuequivariance_torch")


@pytest.fixture(scope="session")
def spex(outside: Outside) -> None:
    """torch-spex, with the spherical harmonics that it brings."""
    outside.library("spex")
    outside.library("sphericart.torch")


@pytest.fixture(scope="session")
def schedulefree(outside: Outside) -> None:
    """The schedule-free optimiser."""
    outside.library("schedulefree")


@pytest.fixture(scope="session")
def torchpme(outside: Outside) -> None:
    """torch-pme."""
    outside.library("torchpme")


@pytest.fixture(scope="session")
def pyace(outside: Outside) -> None:
    """python-ace, whose evaluator is that of ``pair_style pace``."""
    outside.library("pyace")


@pytest.fixture(scope="session")
def matplotlib(outside: Outside) -> None:
    """matplotlib."""
    outside.library("matplotlib")


@pytest.fixture(scope="session")
def gpu(outside: Outside) -> None:
    """A GPU."""
    outside.gpu()


# Fixtures whose tests have a marker, which is the other name.
MARKED = {
    "shared_file": "shared",
    "native_lammps": "native",
    "gpu": "gpu",
    **dict.fromkeys(("wheel", "python_lammps", "plugin_environment", "small_input"), "lammps"),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures that they use, so that no list of them has to be kept; sort files if several run."""
    for item in items:
        for fixture, marker in MARKED.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)
    if hasattr(config, "workerinput"):  # of pytest-xdist, which hands out the files in this order
        slow = Counter(item.path for item in items if any(item.iter_markers("slow")))
        started = Counter(item.path for item in items if any(item.iter_markers("lammps")))
        items.sort(key=lambda item: (-slow[item.path], -started[item.path]))


@pytest.fixture
def small_input(tmp_path: Path) -> Path:
    """The input of a fit of seconds, in a folder of its own."""
    return write_small_input(tmp_path)
