"""Every reader answers every file: with finite, consistent configurations, or with an error of this package.

A number that is changed in a valid file is read as it is written, or the file or step is refused.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from faults.mutations import EXAMPLES, MAX_SECONDS, damaged, fuzz, number_texts, written_number
from hypothesis import given
from hypothesis import strategies as st
from vasp_text import Step, outcar, steps, vasprun

from fitsnap_nn.data.any_format import read_any
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.readers import FORMATS, DataFile, ReadOptions
from fitsnap_nn.errors import DataError
from fitsnap_nn.settings.elements import SYMBOLS
from fitsnap_nn.units import ELEMENTARY_CHARGE

pytestmark = pytest.mark.timeout(120 + EXAMPLES)
FORCES = [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]]
TENSOR = [[1.0, 0.5, 0.0], [0.5, 1.25, 0.0], [0.0, 0.0, 1.5]]


def frame(energy: float) -> dict[str, object]:
    return {
        "Energy": energy, "NumAtoms": 2, "AtomTypes": ["Ta", "Ta"], "Positions": [[0, 0, 0], [1.65, 1.65, 1.5]],
        "Forces": FORCES, "Stress": TENSOR, "Lattice": [[3.3, 0, 0], [0, 3.3, 0], [0, 0, 3.3]],
        "energy_weight": 1.5,
    }  # fmt: skip


def ase_file(folder: Path, name: str) -> bytes:
    atoms = Atoms("TaW", positions=[[0, 0, 0], [1.65, 1.65, 1.5]], cell=np.diag([3.3, 3.4, 3.5]), pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-23.9, forces=np.array(FORCES))
    write(folder / name, atoms)
    return (folder / name).read_bytes()


XYZ = "".join(
    f'2\nLattice="3.3 0 0 0 3.3 0 0 0 3.3" Properties=species:S:1:pos:R:3:forces:R:3 energy={energy} '
    'stress="1 0 0 0 1 0 0 0 1" config_type=bulk pbc="T T T"\nTa 0 0 0 0.1 0.2 0.3\nTa 1.65 1.65 1.5 -0.1 -0.2 -0.3\n'
    for energy in (-23.9, -23.8)
).encode()
JSON = (
    "# comment\n" + json.dumps({"Dataset": {"EnergyStyle": "metal", "Data": [frame(-23.9), frame(-23.8)]}}, indent=1)
).encode()
ASE_NAMES = ("a.traj", "a.cif", "a.xsf", "a.lammps-data", "POSCAR", "a.gen", "a.db.json", "a.cfg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def check(configurations: Iterator[Configuration]) -> list[Configuration]:
    """Return configurations, which must be consistent; a refused file has none."""
    start, message = time.process_time(), ""
    try:
        found = list(configurations)
    except DataError as error:
        found, message = [], str(error)
    assert len(message) < 2000
    assert "\x1b" not in message
    assert time.process_time() - start < MAX_SECONDS
    for one in found:
        count = len(one.species)
        assert count > 0
        assert set(one.species) <= set(SYMBOLS)
        assert one.positions.shape == (count, 3)
        assert one.cell.shape == (3, 3)
        shapes = {"energy": (), "forces": (count, 3), "stress": (3, 3)}
        assert all(label.shape == shapes[name] for name, label in one.labels.items())
        assert all(np.isfinite(array).all() for array in (one.positions, one.cell, *one.labels.values()))
        assert all(np.isfinite(weight) and weight >= 0.0 for weight in one.weights.values())
        assert one.group.isprintable()
    return found


def read(kind: str, path: Path, content: bytes) -> list[Configuration]:
    path.write_bytes(content)
    return check(FORMATS[kind].read(DataFile(str(path), "g", f"g/{path.name}"), ReadOptions(), []))


@given(damaged(JSON))
@fuzz(120)
def test_json(folder: Path, content: bytes) -> None:
    read("JSON", folder / "a.json", content)


@given(damaged(XYZ))
@fuzz(80)
def test_xyz(folder: Path, content: bytes) -> None:
    read("XYZ", folder / "a.xyz", content)


@given(damaged(outcar(steps(2)).encode()))
@fuzz(80)
def test_outcar(folder: Path, content: bytes) -> None:
    read("VASP", folder / "OUTCAR", content)


@given(damaged(vasprun(steps(2)).encode()))
@fuzz(80)
def test_vasprun(folder: Path, content: bytes) -> None:
    read("VASP", folder / "vasprun.xml", content)


@pytest.fixture(scope="module")
def ase_files(folder: Path) -> dict[str, bytes]:
    return {name: ase_file(folder, name) for name in ASE_NAMES} | {"a.xyz": XYZ}


@given(st.data())
@fuzz(60)
def test_formats_of_ase(folder: Path, ase_files: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(ase_files)))
    read("ASE", folder / name, data.draw(damaged(ase_files[name])))


@given(st.sampled_from([(JSON, "a.json"), (XYZ, "a.xyz"), (XYZ, "noname")]), st.data())
@fuzz(40)
def test_files_of_unknown_format(folder: Path, file: tuple[bytes, str], data: st.DataObject) -> None:
    content, name = file
    path = folder / name
    path.write_bytes(data.draw(damaged(content)))
    check(one for one in _read_any(path))


def _read_any(path: Path) -> Iterator[Configuration]:
    yield from read_any(str(path), ReadOptions(), [])


STEP = Step(
    Atoms("Ta2", positions=[[0.0, 0.0, 0.0], [1.75, 1.6, 1.5]], cell=np.diag([3.25, 3.5, 3.75]), pbc=True),
    energy=-23.875,
    forces=np.array([[0.1, 0.2, 0.3], [-0.1, -0.3125, -0.3]]),
    pressure=np.diag([1.0, 2.0, 34.5]),
)
TEMPLATES = {
    "JSON": '{"Dataset": {"Data": [{"Energy": -23.875, "AtomTypes": ["Ta", "Ta"], "Positions": [[0, 0, 0], '
    '[1.75, 1.6, 1.5]], "Forces": [[0.1, 0.2, 0.3], [-0.1, -0.3125, -0.3]], "Stress": [[1.0, 0, 0], [0, 2.0, 0], '
    '[0, 0, 34.5]], "StressStyle": "kB", "Lattice": [[3.25, 0, 0], [0, 3.5, 0], [0, 0, 3.75]]}], "StressStyle": "kB"}}',
    "XYZ": '2\nLattice="3.25 0 0 0 3.5 0 0 0 3.75" Properties=species:S:1:pos:R:3:forces:R:3 energy=-23.875 '
    'stress="1.0 0 0 0 2.0 0 0 0 34.5" stress-unit=kB pbc="T T T"\nTa 0 0 0 0.1 0.2 0.3\n'
    "Ta 1.75 1.6 1.5 -0.1 -0.3125 -0.3\n",
    "OUTCAR": outcar([STEP]),
    "vasprun.xml": vasprun([STEP]),
}
KILOBAR = 1e8 / ELEMENTARY_CHARGE / 1e30  # eV/Å³


class Slot(NamedTuple):
    """Number in the files of TEMPLATES: its text, where it is in a configuration, and how far the two agree."""

    text: str
    read: Callable[[Configuration], float]
    tolerance: float = 1e-14


SLOTS = {
    "energy": Slot("-23.875", lambda one: float(one.labels["energy"]), 1e-12),
    "position": Slot("1.75", lambda one: float(one.positions[1, 0])),
    "force": Slot("-0.3125", lambda one: float(one.labels["forces"][1, 1])),
    "stress": Slot("34.5", lambda one: abs(float(one.labels["stress"][2, 2])) / KILOBAR, 1e-7),
    "cell": Slot("3.25", lambda one: float(one.cell[0, 0])),
}
MISSING = {("vasprun.xml", "position")}  # its positions are fractions of the cell


@pytest.mark.parametrize(("kind", "slot"), [pair for pair in product(TEMPLATES, SLOTS) if pair not in MISSING])
@given(text=number_texts())
@fuzz(25)
def test_a_changed_number_is_read_as_written_or_refused(folder: Path, kind: str, slot: str, text: str) -> None:
    # The last occurrence of the cell in vasprun.xml is in the final structure, which is not read.
    whole = TEMPLATES[kind].partition('<structure name="finalpos">')[0]
    number = re.compile(re.escape(SLOTS[slot].text) + "0*")
    place = next(place for place in reversed(list(number.finditer(whole))) if not _is_repeated(whole, place.start()))
    content = whole[: place.start()] + text + whole[place.end() :]
    reader = "VASP" if kind in ("OUTCAR", "vasprun.xml") else kind
    value = written_number(text.strip())
    for one in read(reader, folder / f"b.{kind}", content.encode()):
        if slot in one.labels or slot in ("position", "cell"):
            assert value is not None
            expected = abs(value) if slot == "stress" else value
            assert SLOTS[slot].read(one) == pytest.approx(expected, rel=SLOTS[slot].tolerance, abs=1e-300)


def _is_repeated(whole: str, start: int) -> bool:
    """Return whether a number of VASP's files is an energy besides that which is read."""
    return whole[:start].rstrip(" =").endswith(("entropy", 'e_wo_entrp">', 'e_0_energy">', "(sigma->0)"))
