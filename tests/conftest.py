"""Fixtures that several test folders share: real data sets where they are at hand, MPI, a native LAMMPS."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from places import EXAMPLE, SHARED


def _unpacked(name: str, factory: pytest.TempPathFactory) -> Path:
    archive = SHARED / "data" / f"{name}.tar.xz"
    if not archive.exists():
        pytest.skip(f"the real data set {archive.name} is not beside this checkout")
    folder = factory.mktemp(name)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def ta_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FitSNAP's tantalum data: a folder JSON with one folder for each of 12 groups."""
    return _unpacked("Ta_JSON", tmp_path_factory) / "JSON"


@pytest.fixture(scope="session")
def inp_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FitSNAP's indium phosphide data."""
    return _unpacked("InP_JSON", tmp_path_factory) / "JSON"


@pytest.fixture(scope="session")
def native_lammps() -> list[str]:
    """Prefix of a command line that finds a LAMMPS with Python ML-IAP."""
    script = SHARED / "oracle" / "native.sh"
    if not script.exists():
        pytest.skip("no native LAMMPS with Python ML-IAP beside this checkout")
    return ["bash", str(script)]


SMALL_INPUT = """\
[BISPECTRUM]
numTypes = 1
type = Ta
twojmax = 4
rcutfac = 4.67637
bzeroflag = 1

[PYTORCH]
layer_sizes = num_desc 8 8 1
activation = tanh
learning_rate = 2e-3
num_epochs = 3
batch_size = 4
dtype_setting = 2
manual_seed_flag = 1
seed = 3
save_state_output = restart.pt

[PATH]
dataPath = {data}

[OUTFILE]
metrics = errors.md
potential = pot

[REFERENCE]
pair_style = hybrid/overlay zero 6.0 zbl 4.0 4.8
pair_coeff1 = * * zero
pair_coeff2 = * * zbl 73 73

[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
group_types = str float float float float float
random_sampling = 1
random_seed = 5
Volume_BCC    = 6 2 10 1 1e-8
Displaced_BCC = 5 2 100 1 1e-8
"""


@pytest.fixture
def small_input(tmp_path: Path) -> Path:
    """An input for a fit of seconds, on a few configurations of the shipped example, in a folder of its own."""
    path = tmp_path / "small.in"
    path.write_text(SMALL_INPUT.format(data=EXAMPLE / "JSON"), encoding="utf-8")
    return path
