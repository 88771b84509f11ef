"""Model files by an attacker: nothing in them reaches LAMMPS, the file system or the screen unchecked."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import bulk
from random_potentials import crystal

import fitsnap_nn
from fitsnap_nn.cli import main
from fitsnap_nn.errors import CheckpointError, InputError
from fitsnap_nn.export.card import describe_model
from fitsnap_nn.export.export import export
from fitsnap_nn.export.model_file import load_model, model_payload
from fitsnap_nn.export.reference_files import changed_files
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.integrity import serialize
from fitsnap_nn.lammps.reference import lammps_potentials
from fitsnap_nn.models import BPNN
from fitsnap_nn.settings import load_settings
from fitsnap_nn.settings.lammps_words import arguments_problem, code_styles, is_path, name_problem
from fitsnap_nn.settings.schema import Bispectrum, Reference, Settings

ZBL = Reference(pair_style="zbl 4.0 4.8", pair_coeff=("* * 74 74",))
SETTINGS = Settings(bispectrum=Bispectrum(type=("W",), twojmax=(2,)), reference=ZBL)
EAM = Reference(pair_style="eam/alloy", pair_coeff=("* * tables/W.eam W",))
SHELL = "\nshell touch PWNED\n"
Change = Callable[[dict[str, Any]], Any]


def payload(settings: Settings = SETTINGS) -> dict[str, Any]:
    torch.manual_seed(0)
    model = BPNN(SnapInput(settings.bispectrum), (4,), "tanh").eval()
    return model_payload(model, settings, {"seed": 1}, crystal(("W",), 1))


@pytest.fixture(scope="module")
def honest() -> dict[str, Any]:
    return payload()


def saved(path: Path, content: dict[str, Any], change: Change = lambda content: None) -> Path:
    """Write a file with a valid digest: an attacker can compute one."""
    changed = copy.deepcopy(content)
    change(changed)
    path.write_bytes(serialize(changed))
    return path


def reference(**values: Any) -> Change:
    return lambda content: content["reference"].update(values)


def structure(**values: Any) -> Change:
    return lambda content: content["structure"].update(values)


def top(**values: Any) -> Change:
    return lambda content: content.update(values)


def described(**values: Any) -> Change:
    return lambda content: content["description"].update(values)


def committee(*models: Any, **more: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        given = {"model_input": content["description"]["model_input"]}
        described = [{**one, **given} if isinstance(one, dict) and "LINEAR" in one.values() else one for one in models]
        content["description"] = {"architecture": "COMMITTEE", "models": described, **more}

    return change


ROW = {"name": "charge", "per": "atom", "symmetry": "scalar", "column": "q"}


def snap(hidden: int, **options: Any) -> dict[str, Any]:
    """A model on SNAP descriptors that would need much memory, were it built before its weights are looked at."""
    section = Bispectrum(type=("W",), **options)
    return {"architecture": "SNAP", "model_input": SnapInput(section).payload(), "hidden": [hidden]}


PAIR = {"architecture": "CUSTOM", "elements": ["W", "Be"]}
FILE = {"* * x": torch.zeros(1, dtype=torch.uint8)}
HOSTILE: dict[str, Change] = {
    "line break in pair_style": reference(pair_style=f'zbl 4.0 "4.8{SHELL}"'),
    "line break in pair_coeff": reference(pair_coeff=(f"* * 74 74{SHELL}",)),
    "carriage return": reference(pair_coeff=("* * 74 74\rshell touch PWNED",)),
    "line separator": reference(pair_coeff=("* * 74 74\u2028shell touch PWNED",)),
    "variable": reference(pair_style="zbl ${x} 4.8"),
    "immediate variable": reference(pair_style="zbl $(2+2) 4.8"),
    "continuation": reference(pair_coeff=("* * 74 74 &",)),
    "comment": reference(pair_coeff=("* * 74 # 74",)),
    "backquotes": reference(pair_coeff=("* * `touch PWNED` 74",)),
    "quote": reference(pair_coeff=('* * 74 "74',)),
    "quote within a word": reference(pair_coeff=("* * 74 \"7'4\"",)),
    "typographic quote": reference(pair_coeff=("* * 74 \u201c74",)),
    "pipe": reference(pair_style="table linear 10", pair_coeff=('* * "x.gz|touch PWNED" X',)),
    "empty style": reference(pair_style=""),
    "pickle beside the file": reference(
        pair_style="hybrid/overlay zero 10.0 mliap unified ref.bin 0", pair_coeff=("* * zero", "* * mliap W")
    ),
    "suffix": reference(pair_style="mliap/kk unified ref.bin 0", pair_coeff=("* * W",)),
    "python": reference(pair_style="python 5.0", pair_coeff=("* * module.Class W",)),
    "kim": reference(pair_style="kim Model", pair_coeff=("* * W",)),
    "quip": reference(pair_style="quip", pair_coeff=("* * gap.xml x 74",)),
    "absolute path": reference(pair_style="table linear 10", pair_coeff=("* * /etc/passwd X",)),
    "path in pair_style": reference(pair_style="list /etc/passwd 8.0", pair_coeff=("* *",)),
    "home": reference(pair_style="table linear 10", pair_coeff=("* * ~/.netrc X",)),
    "parent": reference(pair_style="table linear 10", pair_coeff=("* * ../secret X",)),
    "folder": reference(pair_style="table linear 10", pair_coeff=("* * private/secret.txt X",)),
    "atom style": reference(atom_style=f"atomic{SHELL}"),
    "other atom style": reference(atom_style="full"),
    "units": reference(units=f"metal{SHELL}"),
    "unknown key": reference(bond_style="x"),
    "no text": reference(pair_style=5),
    "units of the file": top(units={"energy": "kcal/mol", "lammps": "real"}),
    "potential with a command": top(potential=f"pot{SHELL}"),
    "potential with a variable": top(potential="pot$x"),
    "potential is hidden": top(potential=".bashrc"),
    "potential is a folder": top(potential=".."),
    "potential is no text": top(potential=3),
    "element": top(elements=[f"W{SHELL}"]),
    "other elements": top(elements=["Ta"]),
    "elements twice": top(elements=["W", "W"]),
    "eshift": top(eshift={f"W{SHELL}": 1.0}),
    "eshift is no number": top(eshift={"W": float("nan")}),
    "structure id": structure(id=f"g/a.json{SHELL}"),
    "structure element": structure(species=[f"W{SHELL}"] * 8),
    "structure positions": structure(positions=torch.full((8, 3), torch.nan)),
    "structure cell": structure(cell=torch.zeros(2, 2)),
    "structure periodicity": structure(pbc=[True]),
    "file that is not named": top(files=FILE),
    "property": top(properties=[{**ROW, "name": "../../x"}]),
    "property column": top(properties=[{**ROW, "column": "q\nx"}]),
    "property kind": top(properties=[{**ROW, "per": "atom\nx"}]),
    "split": top(split={"seed": 1, "training": "x", "validation": "x", "earlier": "x"}),
    "architecture": described(architecture="os:system"),
    "layers": described(hidden=[60_000, 60_000]),
    "activation": described(activation="__import__"),
    "option": described(multi_element_option=9),
    "descriptors": lambda content: content["description"]["model_input"].update(twojmax=[200]),
    "other descriptors": lambda content: content["description"]["model_input"].update(calculator="os"),
    "element of the descriptors": lambda content: content["description"]["model_input"].update(type=[f"W{SHELL}"]),
    "committee of one": committee({"architecture": "LINEAR"}),
    "committee of committees": committee(*2 * [{"architecture": "COMMITTEE", "models": []}]),
    "committee of models on descriptors": committee(*2 * [{"architecture": "LINEAR"}]),
    "committee with large descriptors": committee(*2 * [snap(4, twojmax=(50,))]),
    "committee with many descriptors": committee(*2 * [snap(1000, quadraticflag=True, twojmax=(16,))]),
    "committee with other elements": committee(*2 * [{"architecture": "CUSTOM", "elements": ["Ta"]}]),
    "committee of anything": committee("os:system", "os:system"),
    "committee with one weight": committee(*2 * [PAIR], weights=[1.0]),
    "committee with a negative weight": committee(*2 * [PAIR], weights=[-1.0, 2.0]),
    "committee with weights that are no numbers": committee(*2 * [PAIR], weights=[0.5, float("nan")]),
    "committee with weights of words": committee(*2 * [PAIR], weights="ab"),
    "weights": lambda content: content["state_dict"].popitem(),
    "version": top(version="1"),
    "provenance": top(provenance=[1]),
}  # fmt: skip


@pytest.mark.parametrize("field", HOSTILE)
def test_a_hostile_value_is_refused(
    honest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "m.pt", honest, HOSTILE[field])
    with pytest.raises(CheckpointError, match=r"m\.pt") as caught:
        fitsnap_nn.load_potential(path)
    assert caught.value.exit_code == 5
    assert str(caught.value).isprintable()
    with pytest.raises(CheckpointError):
        export(path, tmp_path / "out")
    assert [one.name for one in tmp_path.iterdir()] == ["m.pt"]


@pytest.mark.parametrize("field", ["line break in pair_style", "structure id", "pickle beside the file", "property"])
def test_every_command_refuses_it_with_exit_code_5(
    honest: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    path = str(saved(tmp_path / "m.pt", honest, HOSTILE[field]))
    for command in (["show", path], ["export", path, str(tmp_path / "out")], ["test", path, "data.json"]):
        assert main(command) == 5
        assert "m.pt is refused" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="refused"):
        bulk("W").calc = fitsnap_nn.Calculator(path)


def test_an_honest_file_is_used(honest: dict[str, Any], tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", honest)
    assert fitsnap_nn.load_potential(path).predict(bulk("W")).energy != 0
    assert "potential.mod" in " ".join(export(path, tmp_path / "out"))


def test_control_sequences_do_not_reach_the_terminal(honest: dict[str, Any], tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt", honest, lambda content: content["provenance"].update(input="a\x1b[2Jb\nc"))
    assert "input:\na?[2Jb\nc" in describe_model(path)


def test_a_style_that_runs_code_can_be_confirmed(
    honest: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "m.pt", honest, HOSTILE["pickle beside the file"])
    (tmp_path / "ref.bin").write_bytes(pickle.dumps("a model"))
    assert main(["show", str(path), "--trust"]) == 0
    assert main(["export", str(path), str(tmp_path / "out"), "--trust"]) == 0
    assert (tmp_path / "out" / "ref.bin").read_bytes() == (tmp_path / "ref.bin").read_bytes()
    assert load_model(path, trust=True).reference.pair_style.startswith("hybrid/overlay")
    for field in ("line break in pair_style", "potential with a command"):  # control characters remain refused
        with pytest.raises(CheckpointError):
            load_model(saved(path, honest, HOSTILE[field]), trust=True)


@pytest.fixture
def with_table(tmp_path: Path) -> dict[str, Any]:
    """Content of a file whose reference potential needs a file, which no longer exists where it was."""
    (table,) = (folder / "W_zhou.eam.alloy" for folder in lammps_potentials())
    (tmp_path / "fit" / "tables").mkdir(parents=True)
    place = tmp_path / "fit" / "tables" / "W.eam"
    place.write_bytes(table.read_bytes())
    settings = Settings(bispectrum=SETTINGS.bispectrum, reference=EAM, folder=str(tmp_path / "fit"))
    content = payload(settings)
    place.rename(tmp_path / "moved")
    return content


def test_files_come_from_inside_the_model_file(tmp_path: Path, with_table: dict[str, Any]) -> None:
    path = saved(tmp_path / "m.pt", with_table)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "W.eam").write_text("another file of this name")
    assert fitsnap_nn.load_potential(path).predict(bulk("W", cubic=True)).energy < -10
    export(path, tmp_path / "out")
    assert (tmp_path / "out" / "W.eam").read_bytes() == (tmp_path / "moved").read_bytes()
    assert "W.eam" in describe_model(path)


def test_a_fit_continues_with_the_files_it_started_with(tmp_path: Path, with_table: dict[str, Any]) -> None:
    settings = Settings(bispectrum=SETTINGS.bispectrum, reference=EAM, folder=str(tmp_path / "fit"))
    assert changed_files(with_table, settings) == ["[REFERENCE] tables/W.eam: there is no such file"]
    place = tmp_path / "fit" / "tables" / "W.eam"
    place.write_bytes((tmp_path / "moved").read_bytes())
    assert changed_files(with_table, settings) == []
    place.write_text("another table")
    assert "its content differs" in changed_files(with_table, settings)[0]


def test_files_of_one_name_are_not_confused(tmp_path: Path) -> None:
    """Two folders may contain different files of one name; an export needs both."""
    for folder, text in (("a", "one"), ("b", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.table").write_text(text)
    named = Reference(
        pair_style="hybrid/overlay table linear 10 table linear 20",
        pair_coeff=("* * table 1 a/x.table X", "* * table 2 b/x.table X"),
    )
    settings = Settings(bispectrum=SETTINGS.bispectrum, reference=named, folder=str(tmp_path))
    path = saved(tmp_path / "m.pt", payload(settings))
    (tmp_path / "away").mkdir()
    path = path.rename(tmp_path / "away" / "m.pt")
    export(path, tmp_path / "out")
    texts = {one.name: one.read_text() for one in (tmp_path / "out").glob("*x.table")}
    assert sorted(texts.values()) == ["one", "two"]
    mod = next((tmp_path / "out").glob("*.mod")).read_text()
    assert all(f"/{name}" in mod for name in texts)


@pytest.mark.parametrize("word", ["tables/.bashrc", "numpy.py", "x.so", "a;b"])
def test_files_inside_have_harmless_names(tmp_path: Path, with_table: dict[str, Any], word: str) -> None:
    def renamed(content: dict[str, Any]) -> None:
        content["files"] = {word: torch.zeros(3, dtype=torch.uint8)}
        content["reference"]["pair_coeff"] = (f"* * {word} W",)

    with pytest.raises(CheckpointError, match="refused"):
        load_model(saved(tmp_path / "m.pt", with_table, renamed))


def test_a_file_beside_the_model_is_not_copied(
    honest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.txt").write_text("a private key")
    monkeypatch.chdir(tmp_path)
    change = reference(pair_style="table linear 10", pair_coeff=("* * secret.txt X",))
    path = saved(tmp_path / "m.pt", honest, change)
    for use in (fitsnap_nn.load_potential, lambda file: export(file, tmp_path / "out")):
        with pytest.raises(CheckpointError, match=r"secret\.txt, which is not inside"):
            use(path)
    assert not (tmp_path / "out").exists()


def test_a_file_of_an_earlier_version_uses_the_one_beside_it_and_says_so(
    tmp_path: Path, with_table: dict[str, Any]
) -> None:
    def earlier(content: dict[str, Any]) -> None:
        del content["files"]
        content["reference"]["pair_coeff"] = ("* * W.eam W",)

    path = saved(tmp_path / "m.pt", with_table, earlier)
    (tmp_path / "moved").rename(tmp_path / "W.eam")
    with pytest.warns(UserWarning, match=r"W\.eam is used"):
        export(path, tmp_path / "out")
    assert (tmp_path / "out" / "W.eam").exists()


@pytest.mark.parametrize("text", ["zbl $x 4.8", "zbl 4.0 'x", "table\x07 linear 10"])
def test_the_input_has_the_same_grammar(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.in").write_text(f"[REFERENCE]\npair_style = {text}\npair_coeff1 = * *\n")
    with pytest.raises(InputError, match=r"\[REFERENCE\] pair_style"):
        load_settings(tmp_path / "a.in")


def test_words_of_reference_potentials_pass() -> None:
    for text in (
        "hybrid/overlay zero 10.0 lj/cut/coul/long 8.0",
        "* * 'a potential' W",
        "1*2 3 0.5e-3 NULL",
        "d=3 Größe",
    ):
        assert arguments_problem(text) == ""
    assert not any(map(is_path, ("lj/cut", "eam/alloy", "-1.5", "1*2", "W.eam.fs")))
    assert code_styles("hybrid zbl 1 2 mliap model nn a descriptor sna b") == ["mliap"]
    assert code_styles("spin/exchange 4.0") == []
    assert name_problem("W_zhou.eam.alloy") == name_problem("größe+1.table") == ""
