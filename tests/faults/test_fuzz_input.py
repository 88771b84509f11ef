"""Every input file is answered: by settings whose numbers are those of the text, or by a list of its errors."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from faults.mutations import EXAMPLES, MAX_SECONDS, damaged, fuzz, number_texts, written_number
from hypothesis import given

from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import load_settings
from fitsnap_nn.settings.keys import keys_of, section_classes

pytestmark = pytest.mark.timeout(120 + EXAMPLES)
TEXT = """# comment
[BISPECTRUM]
type = Ta
twojmax = 4
rcutfac = 4.5
[CALCULATOR]
calculator = LAMMPSSNAP
[PYTORCH]
layer_sizes = num_desc 8 1
learning_rate = 1e-3
num_epochs = 3
loss = energy huber
    forces mae
huber_delta = energy 0.5
element_energies = Ta -11.5
[SCRAPER]
property_array = Stress: pressure kB metal
[TARGETS]
charge = per_atom scalar weight=0.5 loss=huber delta=0.25
[ESHIFT]
Ta = 0.5
[REFERENCE]
pair_style = zbl 4.0 4.8
pair_coeff1 = * * 73 73
[PATH]
dataPath = data
groupFile = groups.txt
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
"""
TABLE = "g 0.5 0.5 100 1 1e-8 # rows\ng2* 3 1 1 1 0\n"
LARGEST = 1e18


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input")
    for group in ("g", "g2a"):
        (path / "data" / group).mkdir(parents=True)
    return path


def load(folder: Path, text: bytes, table: bytes = TABLE.encode(), *overrides: tuple[str, str, str]) -> Any:
    """Return the settings of an input, ``None`` if it is refused."""
    path = folder / "a.in"
    path.write_bytes(text)
    (folder / "groups.txt").write_bytes(table)
    start = time.process_time()
    try:
        found = load_settings(path, overrides)
    except InputError as error:
        found, message = None, str(error)
        lines = message.splitlines()
    else:
        lines = []
    assert time.process_time() - start < MAX_SECONDS
    assert len(lines) < 200
    assert all(line.isprintable() and len(line) < 5000 for line in lines)
    if found is not None:
        assert all(math.isfinite(value) and abs(value) <= LARGEST for value in numbers(asdict(found)))
        found.text.encode()
    return found


def numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for one in value.values() for number in numbers(one)]
    if isinstance(value, (list, tuple)):
        return [number for one in value for number in numbers(one)]
    return [float(value)] if isinstance(value, (int, float)) else []


def test_the_text_is_valid(folder: Path) -> None:
    assert load(folder, TEXT.encode()) is not None


@given(damaged(TEXT.encode()))
@fuzz(120)
def test_damaged_input(folder: Path, text: bytes) -> None:
    load(folder, text)


@given(damaged(TABLE.encode()))
@fuzz(60)
def test_damaged_group_table(folder: Path, table: bytes) -> None:
    load(folder, TEXT.encode(), table)


NUMERIC = [
    (section, name)
    for section in section_classes()
    for name, key in keys_of(section).items()
    if key.kind in (int, float, float | None) and section != "MACE"
]


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "1e400", "9" * 400, "9" * 4400, "1_0", "-" + "9" * 20, "\u0663"]
)
def test_no_number_is_taken_for_another(folder: Path, text: str) -> None:
    for section, name in NUMERIC:
        assert load(folder, TEXT.encode(), TABLE.encode(), (section, name, text)) is None, (section, name)


@given(number_texts())
@fuzz(60)
def test_a_number_is_read_as_written_or_refused(folder: Path, text: str) -> None:
    energies = ("PYTORCH", "element_energies", f"Ta {text}")
    for section, key, value in (("PYTORCH", "weight_decay", text), ("ESHIFT", "Ta", text), energies):
        found = load(folder, TEXT.encode(), TABLE.encode(), (section, key, value))
        if found is not None:
            number = written_number(text.strip())
            read = {"weight_decay": found.pytorch.weight_decay, "Ta": found.eshift["Ta"]}
            assert read.get(key, found.pytorch.given_energies.get("Ta")) == number, (section, key)
