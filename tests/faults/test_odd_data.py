"""Odd data and inputs are answered by one clear error, soon, and within the memory that a small file deserves."""

from __future__ import annotations

import gzip
import json
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from vasp_text import outcar, steps, vasprun

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.discovery import discover
from fitsnap_nn.data.files import list_files, natural_order, read_files
from fitsnap_nn.data.groups import assemble
from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.data.readers import FORMATS, DataFile, ReadOptions
from fitsnap_nn.errors import DataError, InputError
from fitsnap_nn.settings import load_settings

FRAME = {
    "Energy": -23.9, "AtomTypes": ["Ta", "Ta"], "Positions": [[0, 0, 0], [1.65, 1.65, 1.5]],
    "Forces": [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]], "Lattice": [[3.3, 0, 0], [0, 3.3, 0], [0, 0, 3.3]],
}  # fmt: skip
INPUT = """[BISPECTRUM]
type = Ta
[PATH]
dataPath = data
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
g = 0.5 0.5 1 1 0
"""
TYPE = "[BISPECTRUM]\ntype = Ta\n"
ATOMS = "Ta 0 0 0\nTa 1.65 1.65 1.5\n"
HEADER = 'Lattice="3.3 0 0 0 3.3 0 0 0 3.3" Properties=species:S:1:pos:R:3'


@contextmanager
def limits(seconds: float = 5.0, memory: int = 200 * 2**20) -> Iterator[None]:
    """Assert that a block takes less processor time and less memory (of Python and numpy) than the limits.

    The memory is not measured if its limit is 0, since that multiplies the time.
    """
    start = time.process_time()
    if memory:
        tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= memory
    assert time.process_time() - start < seconds


def dataset(*frames: dict[str, object]) -> str:
    return json.dumps({"Dataset": {"Data": frames}})


def read(kind: str, path: Path, content: str | bytes) -> list[Configuration]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(FORMATS[kind].read(DataFile(str(path), "g", f"g/{path.name}"), ReadOptions(), []))


def refusal(kind: str, path: Path, content: str | bytes) -> str:
    with limits(), pytest.raises(DataError) as caught:
        read(kind, path, content)
    message = str(caught.value)
    assert len(message) < 1000
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (dataset(FRAME).replace("-23.9", "9" * 400), "Energy is not an array of numbers"),
        (dataset(FRAME).replace("-23.9", "9" * 4400), "a number has thousands of digits"),
        (dataset(FRAME).replace("1.65", "9" * 400), "Positions is not an array of numbers"),
        (dataset(FRAME).replace("-23.9", "[" * 1000 + "0" + "]" * 1000), "nested too deeply"),
        (dataset(FRAME).replace("-23.9", "[" * 70 + "0" + "]" * 70), "Energy"),
        ("[" * 10**6, "no line starts with"),
        ('{"Dataset":' * 10**5, "nested too deeply"),
        ("\n" * 200_000, "no line starts with"),
        (" " * 10**6 + "\n" * 10**5, "no line starts with"),
        (dataset(FRAME).encode("utf-16"), "UTF-16"),
        (gzip.compress(dataset(FRAME).encode()), "no line starts with"),
        (dataset({**FRAME, "Energy": True}), "Energy is not an array of numbers"),
        (dataset({**FRAME, "Energy": "-23.9"}), "Energy is not an array of numbers"),
        (dataset({**FRAME, "Positions": [[0, 0, 0], [1.65, True, 1.5]]}), "Positions is not an array of numbers"),
        (dataset({**FRAME, "Positions": [[0, 0, 0], [1e300, 0, 0]]}), "Positions contains a number of 1e[+]300"),
        (dataset({**FRAME, "Energy": 1e300}), "Energy contains a number of 1e[+]300"),
        (dataset({**FRAME, "AtomTypes": [], "Positions": []}), "has no atoms"),
        (dataset({**FRAME, "Stress": [[1, 0], [0]]}), "Stress is not an array of numbers"),
        (dataset({**FRAME, "energy": -1.0}), "energy.*different"),
        (dataset({**FRAME, "lattice": np.eye(3).tolist()}), "given twice"),
        (dataset(FRAME).replace('"Energy"', '"Energy": 1.0, "Energy"'), "has the key 'Energy' twice"),
        (dataset({**FRAME, "NumAtoms": "9" * 10**6}), "NumAtoms is 999"),
        (dataset({**FRAME, "AtomTypes": ["Ta", "T\x1b[31m"]}), r"T\\x1b\[31m"),
        (dataset(FRAME).replace('{"Data"', f'{{"EnergyStyle": "{"x" * 10**6}", "Data"'), "unknown energy unit"),
    ],
)  # fmt: skip
def test_odd_json(tmp_path: Path, content: str | bytes, what: str) -> None:
    message = refusal("JSON", tmp_path / "a.json", content)
    assert "a.json" in message
    with pytest.raises(DataError, match=what):
        raise DataError(message)


@pytest.mark.parametrize("mark", ["\ufeff", "# from Windows\r\n\ufeff", ""])
def test_json_with_a_byte_order_mark(tmp_path: Path, mark: str) -> None:
    content = f"{mark}{dataset(FRAME)}\r\n".removeprefix("# from Windows\r\n\ufeff")
    (found,) = read("JSON", tmp_path / "a.json", content)
    assert found.energy == -23.9


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (f"4294967296\n{HEADER}\n{ATOMS}", "states 4294967296 atoms, but the file ends after 2"),
        (f"{'9' * 4400}\n{HEADER}\n{ATOMS}", "states 999"),
        (f"2\n{HEADER}\n{ATOMS}\n2\n{HEADER}\n{ATOMS}", "the line is empty"),
        (f"2\n{HEADER}:x:R:4294967296\n{ATOMS}", "number of columns"),
        (f"2\n{HEADER}:x:R:999\n{ATOMS}", "has 4 columns, but Properties declares 1003"),
        (f"2\n{HEADER} energy=-1.0 energy=-2.0\n{ATOMS}", "entry 'energy' more than once"),
        (f"2\n{HEADER} energy=-1 .5\n{ATOMS}", "belongs to no entry"),
        (f"2\n{HEADER} energy=,5\n{ATOMS}", "comma"),
        (f"2\n{HEADER} energy=1_5\n{ATOMS}", "1_5"),
        (f"2\n{HEADER}\n{ATOMS}".replace("1.65 1.65", "1.65\x1c5 1.65"), "columns"),
        (f"2\n{HEADER}\n{ATOMS}".replace("1.65 1.65", "1.65 1_65"), "1_65"),
        (f"0\n{HEADER}\n", "no atoms"),
        (f"\ufeff2\n{HEADER}\n{ATOMS}", "byte order mark"),
        (f"2\n{HEADER}\n{ATOMS}".encode("utf-16"), "byte order mark"),
        ("\n" * 200_000, "contains no configuration"),
        ("2" + " " * 10**6 + f"\n{HEADER} {'stress ' * 10**5}\n", "states 2 atoms"),
        (b"\0" * 2**25, "a line has more than 16 MiB"),
    ],
)
def test_odd_xyz(tmp_path: Path, content: str | bytes, what: str) -> None:
    assert what in refusal("XYZ", tmp_path / "a.xyz", content)


def test_a_bomb_of_compressed_zeros(tmp_path: Path) -> None:
    with limits():
        message = refusal("VASP", tmp_path / "OUTCAR.gz", gzip.compress(bytes(2**26), 9))
    assert "a line has more than 16 MiB" in message


OUTCAR, VASPRUN = outcar(steps(1, "Ta2")), vasprun(steps(1, "Ta2"))
FREE = next(line for line in OUTCAR.splitlines() if "free  energy " in line)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("NIONS =      2", f"NIONS = {'9' * 4400}", "a count is 999"),
        ("NIONS =      2", "NIONS = 4294967296", "a count is 4294967296"),
        ("ions per type =               2", "ions per type = 99999999", "elements of the atoms are unknown"),
        ("NELM   =     60;", "NELM   = 1e400;", "NELM is 1e400"),
        (FREE, FREE.replace(".", "x.", 1), "the energy of step 1 is not a number"),
        (FREE, FREE.replace(" eV", "_0 eV", 1), "the energy of step 1 is not a number"),
        (FREE, "9" * 10**6, "the energy of step 1 is not a number"),
        ("TOTAL-FORCE (eV/Angst)\n", "TOTAL-FORCE (eV/Angst)\n\n", "no complete table"),
    ],
)
def test_odd_outcar(tmp_path: Path, old: str, new: str, what: str) -> None:
    assert old in OUTCAR
    assert what in refusal("VASP", tmp_path / "OUTCAR", OUTCAR.replace(old, new))


def test_an_atom_that_is_listed_twice_in_an_outcar(tmp_path: Path) -> None:
    lines = OUTCAR.splitlines()
    row = next(number for number, line in enumerate(lines) if "TOTAL-FORCE" in line) + 2
    lines.insert(row, lines[row])
    assert "no complete table" in refusal("VASP", tmp_path / "OUTCAR", "\n".join(lines))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('encoding="ISO-8859-1"', 'encoding="no-such"', "not a vasprun.xml"),
        ('name="NELM">60<', 'name="NELM">**<', "parameter NELM"),
        ("<calculation>", "<calculation>" + "<x>" * 10**5, ""),
        ('<varray name="basis">\n<v>', '<varray name="basis">\n<v>1e308 ', "is not a finite number"),
        ('"e_fr_energy">', '"e_fr_energy">1_', "is not a finite number"),
    ],
)
def test_odd_vasprun(tmp_path: Path, old: str, new: str, what: str) -> None:
    assert old in VASPRUN
    path = tmp_path / "vasprun.xml"
    if what:
        assert what in refusal("VASP", path, VASPRUN.replace(old, new))
        return
    with limits():
        assert read("VASP", path, VASPRUN.replace(old, new)) == []


def periodic(edge: float, count: int = 2, pbc: tuple[bool, bool, bool] = (True, True, True)) -> Configuration:
    positions = np.random.default_rng(0).uniform(0, edge, (count, 3))
    return Configuration("g/a.json#3", "g", ("Ta",) * count, positions, np.eye(3) * edge, pbc)


@pytest.mark.parametrize(
    "configuration",
    [
        *(periodic(edge) for edge in (1e-320, 1e-160, 1e-3, 0.1)),
        periodic(1e-4, pbc=(True, True, False)),
        periodic(1e-4, pbc=(False, True, False)),
        periodic(1e-10, 20_000, (False, False, False)),
    ],
)
def test_cells_in_another_unit(configuration: Configuration) -> None:
    with limits(), pytest.raises(DataError, match=r"g/a\.json#3: .* in another unit"):
        find_neighbours(configuration, 5.0)


def test_dense_configurations_are_accepted() -> None:
    assert len(find_neighbours(periodic(0.9), 5.0).i) > 0.9 * 2 * 523.6 * 2 / 0.9**3
    assert len(find_neighbours(periodic(60.0, 11_000, (False, False, False)), 2.0).i) > 0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return the folder of group g, beside an input for it."""
    (tmp_path / "data" / "g").mkdir(parents=True)
    (tmp_path / "data" / "g" / "a.json").write_text(dataset(FRAME, {**FRAME, "Energy": -23.8}))
    (tmp_path / "fit.in").write_text(INPUT)
    return tmp_path / "data" / "g"


def loaded(data: Path, *overrides: tuple[str, str, str]) -> int:
    settings = load_settings(data.parents[1] / "fit.in", overrides)
    found = read_files(settings, list_files(settings), [])
    return len(assemble(settings, found, 1).configurations)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def broken(path: Path) -> None:
    path.symlink_to("nowhere")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (pipe, "is a pipe"),
        (zeros, "is a device"),
        (Path.mkdir, "is a folder"),
        (broken, "is a link to a file that does not exist"),
        (circle, "is a link to a file that does not exist, or to itself"),
    ],
)
def test_what_is_no_file_is_refused(data: Path, make: Callable[[Path], None], what: str) -> None:
    assert loaded(data) == 2
    make(data / "b.json")
    with limits(), pytest.raises(DataError, match=rf"b\.json {what}"):
        loaded(data)


@pytest.mark.parametrize("make", [pipe, zeros, broken])
@pytest.mark.parametrize("name", ["g.json", "groups.txt"])
def test_groups_and_tables_that_are_no_files(data: Path, make: Callable[[Path], None], name: str) -> None:
    (data / "a.json").unlink()
    data.rmdir()
    make(data.parent / name)
    table = [("PATH", "groupFile", "data/groups.txt")] if name == "groups.txt" else []
    with limits(), pytest.raises((DataError, InputError), match=name.replace(".", r"\.")):
        loaded(data, *table)


@pytest.mark.parametrize("make", [pipe, zeros, broken])
def test_a_search_for_data_passes_over_what_is_no_file(data: Path, make: Callable[[Path], None]) -> None:
    make(data / "b.json")
    with limits():
        found = discover(data.parent)
    assert [candidate.groups for candidate in found.candidates] == [["g"]]
    assert [finding.where for finding in found.ignored] == ["g/b.json"]


def test_links_in_circles_are_followed_once(data: Path) -> None:
    for name in "bcd":
        (data / name).symlink_to(data)
        (data / f"up{name}").symlink_to(data.parent)
    (data / "OUTCAR").write_text(OUTCAR)
    settings = load_settings(data.parents[1] / "fit.in", [("SCRAPER", "scraper", "VASP")])
    with limits():
        assert [file.id for file in list_files(settings)] == ["g/OUTCAR"]


@pytest.mark.parametrize("name", ["b\x1b[31m.json", "b\n.json", os.fsdecode(b"b\xff.json")])
def test_names_that_no_terminal_can_show(data: Path, name: str) -> None:
    (data / name).write_text(dataset(FRAME))
    with pytest.raises(DataError, match="has control characters or is not UTF-8") as caught:
        loaded(data)
    assert str(caught.value).isprintable()


def test_numbers_in_names_have_any_length() -> None:
    names = ["run10", "run2", "run" + "9" * 5000, "run002x"]
    assert sorted(names, key=natural_order) == ["run2", "run002x", "run10", "run" + "9" * 5000]


def test_the_cutoff_of_the_model_counts_too(data: Path) -> None:
    with limits(), pytest.raises(DataError, match="neighbours within 60 Å"):
        loaded(data, ("BISPECTRUM", "rcutfac", "60"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[PYTORCH]\nloss = " + "%(" * 5_000_000, "unknown loss"),
        ("[PYTORCH]\nloss" + " " * 10**6 + "x", "does not have the form key = value"),
        ("[PYTORCH]\n" + "x = 1\ny = 2\n" * 10**5, "given twice"),
        ("[PYTORCH]\n" + "".join(f"x{k} = 1\n" for k in range(10**5)), "100 errors"),
        ("[GROUPS]\n" + "".join(f"x{k} = 1\n" for k in range(10**5)), "100 errors"),
        ("[PYTORCH]\nloss = mse\n" + "   mae\n" * 10**5, "loss"),
        ("[PYTORCH]\nloss = " + " ".join(f"a{k} mse" for k in range(10**5)), "is not a property of this fit"),
        ("\n" * 10**6, "the group table is empty"),
        ("[PYTORCH]\nlayer_sizes = num_desc " + "9" * 4400 + " 1", "not a positive integer"),
        (f"{TYPE}[PYTORCH]\nlayer_sizes = num_desc 99999999 1", "parameters"),
        (f"{TYPE}[PYTORCH]\nlayer_sizes = num_desc " + "8 " * 10**4 + "1", "10001 layers"),
        ("[PYTORCH]\nbatch_size = " + "9" * 30, "above the maximum"),
        ("[PYTORCH]\nnum_epochs = 1" + "0" * 400, "above the maximum"),
        ("[BISPECTRUM]\ntype = Ta\ntwojmax = 200", "above the maximum, 50"),
        ("[BISPECTRUM]\ntype = Ta\ntwojmax = 40\nquadraticflag = 1", "descriptors per atom"),
        ("[BISPECTRUM]\ntype = Ta\nrcutfac = 1e10", "largest cutoff"),
        ("[SOAP_BPNN]\ncutoff_radius = 1e6", "above the maximum"),
        (
            "[CALCULATOR]\ncalculator = LAMMPSGRAPH\n[PYTORCH]\nmodel = MACE\n[MACE]\nhidden_irreps = 1000000x0e",
            "digits",
        ),
        ("[PYTORCH]\nloss = m\x1bse", "control character"),
    ],
)
def test_odd_input_files(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "fit.in"
    path.write_text(text)
    with limits(memory=0), pytest.raises(InputError) as caught:
        load_settings(path)
    assert what in str(caught.value)
    assert max(map(len, str(caught.value).splitlines())) < 5000


@pytest.mark.parametrize("value", ["a\x1b[31m", os.fsdecode(b"a\xff")])
def test_overrides_that_no_file_can_take(data: Path, value: str) -> None:
    with pytest.raises(InputError, match="control character or invalid byte"):
        loaded(data, ("OUTFILE", "metrics", value))
