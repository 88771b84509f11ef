"""The samples in place of large data sets: made again byte for byte, and the same from either format."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from places import SAMPLES

from fitsnap_nn.data.readers import FORMATS, DataFile, ReadOptions

GROUPS = ("Bulk", "EOS", "Shear", "Strain")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        spec = spec_from_file_location("generate", SAMPLES / "generate.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def test_samples_are_what_the_script_makes(generate: ModuleType, tmp_path: Path) -> None:
    generate.write_tantalum(tmp_path)
    generate.write_indium_phosphide(tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    shipped = {path.relative_to(SAMPLES): path.read_bytes() for path in SAMPLES.rglob("*.[jx]*") if path.is_file()}
    assert made == shipped
    assert sum(map(len, shipped.values())) < 200_000


def test_both_formats_hold_the_same_indium_phosphide() -> None:
    """Signs and units of the stress differ: kB of compression in JSON, eV/Å³ of tension in XYZ."""
    paths = [path for group in GROUPS for path in sorted((SAMPLES / "InP_JSON" / group).iterdir(), key=number_of)]
    from_json = [
        c
        for path in paths
        for c in FORMATS["JSON"].read(DataFile(str(path), path.parent.name, path.name), ReadOptions(), [])
    ]
    from_xyz = list(FORMATS["XYZ"].read(DataFile(str(SAMPLES / "InP.xyz"), "group", "InP.xyz"), ReadOptions(), []))
    assert len(from_json) == len(from_xyz) == 23
    for one, other in zip(from_json, from_xyz, strict=True):
        assert one.species == other.species
        assert one.energy == other.energy
        np.testing.assert_allclose(one.positions, other.positions, rtol=0, atol=1e-8)
        np.testing.assert_allclose(one.forces, other.forces, rtol=0, atol=1e-10)
        np.testing.assert_allclose(one.stress, other.stress, rtol=0, atol=1e-7)


def number_of(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])
