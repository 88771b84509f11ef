"""The examples: short fits have the errors that their READMEs state, and shipped data are what the scripts write.

A row of the table of errors in a README with *test* in its last column is fitted here; the others take minutes. Errors
may be 1.5 times those stated: the last digits depend on the processor, and training amplifies them.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from ase.io import read
from places import ROOT
from processes import run
from sandbox import PATIENCE, in_folder
from small_fit import without_plots

import fitsnap_nn

EXAMPLES = ROOT / "examples"
FACTOR = 1.5
UNITS = {"E (meV/atom)": ("Energy", 1e3), "F (meV/Å)": ("Force", 1e3), "P (GPa)": ("Stress", 1.0)}
LIBRARIES = {"SOAP_BPNN": "spex", "MACE": "mace"}


class Row(NamedTuple):
    """Row of a table of errors: folder, command line, epochs, set, and errors by the title of their column."""

    example: str
    arguments: tuple[str, ...]
    epochs: int
    subset: str
    errors: dict[str, float]


def rows() -> Iterator[Row]:
    """Yield the rows that are fitted here."""
    for path in sorted(EXAMPLES.glob("*/README.md")):
        titles: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if cells[0] == "Command":
                titles = cells
            elif titles and len(cells) == len(titles) and cells[-1].endswith("test"):
                errors = {name: float(cell) for name, cell in zip(titles[3:-1], cells[3:-1], strict=True) if cell}
                arguments = tuple(shlex.split(cells[0].strip("`")))
                yield Row(path.parent.name, arguments, int(cells[1] or 0), cells[2].capitalize(), errors)
            elif not line.startswith("|"):
                titles = []


def fitted_errors(row: Row, folder: Path) -> dict[str, float]:
    """Return the errors of a short fit by property."""
    overrides: dict[str, object] = dict(pair.split("=", 1) for pair in row.arguments[1:] if "=" in pair)
    overrides |= {"OUTFILE.folder": folder / "fit", "MEMORY.cache": folder / "cache"}
    if row.epochs:
        overrides["PYTORCH.num_epochs"] = row.epochs
    with in_folder(EXAMPLES / row.example), without_plots():
        fit = fitsnap_nn.fit(row.arguments[0], overrides, verify=False, quiet=True)
    found = {
        (one.property, one.subset): one.mae for one in fit.errors if one.group == "*ALL" and one.property is not None
    }
    scale = dict(UNITS.values())
    return {name: value * scale.get(name, 1.0) for (name, subset), value in found.items() if subset == row.subset}


SHORT = [pytest.param(one, id=f"{one.example}-{'-'.join(one.arguments[1:]) or 'default'}") for one in rows()]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("row", SHORT)
def test_errors_are_those_of_the_readme(row: Row, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    text = (EXAMPLES / row.example / row.arguments[0]).read_text(encoding="utf-8") + " ".join(row.arguments)
    for model, library in LIBRARIES.items():
        if re.search(rf"model ?= ?{model}\b", text):
            request.getfixturevalue(library)
    if row.example == "Fine_tuning":
        row = row._replace(arguments=(*row.arguments, f"MACE.mace_model={pretrained(tmp_path)}"))
    found = fitted_errors(row, tmp_path)
    for title, stated in row.errors.items():
        name = UNITS.get(title, (title,))[0]
        assert found[name] < stated * FACTOR, found


def pretrained(folder: Path) -> Path:
    """Return a file of mace-torch that was trained for three epochs."""
    done = run(
        [sys.executable, "-c", PRETRAIN, str(EXAMPLES / "Fine_tuning"), str(folder / "p.model")], folder, PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return folder / "p.model"


PRETRAIN = "import sys; sys.path.insert(0, sys.argv[1]); import pretrain; from pathlib import Path; \
pretrain.main(Path(sys.argv[2]), epochs=3)"


def test_each_example_has_a_short_fit_or_a_test_of_its_own() -> None:
    own = {"Python", "notebook"}  # below, and in tests/test_notebook.py
    assert {one.example for one in rows()} | own == {path.parent.name for path in EXAMPLES.glob("*/README.md")}


def script(example: str, name: str = "generate_data") -> ModuleType:
    spec = spec_from_file_location(f"{example}_{name}", EXAMPLES / example / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:Use thermalize_momenta:DeprecationWarning")  # earlier versions of ASE lack it
def test_the_tour_in_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a program it runs on its page, in test_page_blocks.py."""
    with in_folder(tmp_path), without_plots():
        script("Python", "tour").main(30)
    printed = capsys.readouterr().out
    value, modulus = map(float, re.findall(r"lattice constant ([\d.]+) Å, bulk modulus ([\d.]+) GPa", printed)[0])
    assert value == pytest.approx(3.305, abs=0.03)  # of the potential that labelled the data
    assert modulus == pytest.approx(192.0, rel=0.2)
    assert abs(float(re.findall(r"constant energy: ([-+.\d]+) meV/atom", printed)[0])) < 1.0


@pytest.mark.parametrize(("example", "name"), [("Molecules", "molecules"), ("Long_range", "ions")])
def test_shipped_data_are_what_the_script_writes(example: str, name: str, tmp_path: Path) -> None:
    """The first configurations, labels included."""
    script(example).main(tmp_path, 3)
    for made, shipped in zip(
        read(tmp_path / f"{name}.xyz", ":3"), read(EXAMPLES / example / f"{name}.xyz", ":3"), strict=True
    ):
        np.testing.assert_allclose(made.positions, shipped.positions, atol=1e-5)
        np.testing.assert_allclose(made.get_forces(), shipped.get_forces(), atol=2e-4)
        assert made.get_potential_energy() == pytest.approx(shipped.get_potential_energy(), abs=1e-4)


def test_data_are_small() -> None:
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*") if path.suffix in (".xyz", ".json")) < 1_800_000
