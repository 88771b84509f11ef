"""Every fenced block of README, docs/ and the examples: commands and scripts run, inputs pass the program's own check.

The blocks of a page run in their order, in a copy of the examples with few configurations, with two epochs and ten
steps of molecular dynamics; `sandbox.py` runs a command once for all pages that begin alike. A block that cannot run
here has a comment with the reason; options, keys and targets in it must exist all the same.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from fragments import check_input
from page_package import install
from pages import LANGUAGES, Block, blocks, pages
from places import ROOT
from processes import run
from sandbox import PATIENCE, Sandbox, State, in_folder, without_comments
from small_fit import without_plots

from fitsnap_nn.cli import _parsed

PAGES = [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in pages() if blocks(path)]
IDLE = [pytest.param(one, id=f"{one}: {one.reason}") for path in pages() for one in blocks(path) if one.reason]
PACKAGES = {"docs/losses.md": "robust", "docs/own_models.md": "pairnet"}  # that pages show


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return Sandbox(tmp_path_factory.mktemp("pages"))


@pytest.fixture
def package(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Folder of the package that the page shows, as if pip had installed it."""
    page: Path = request.getfixturevalue("page")
    name = PACKAGES.get(page.relative_to(ROOT).as_posix())
    if name is None:
        return None
    (tmp_path / "site").mkdir()
    install(page, name, tmp_path / "site")
    return tmp_path / "site"


@pytest.mark.slow
@pytest.mark.timeout(900)  # the README alone has nine commands
@pytest.mark.usefixtures("matplotlib", "mace", "spex")
@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page(page: Path, sandbox: Sandbox, tmp_path: Path, package: Path | None) -> None:
    state, names = State(), {"__name__": "__main__"}
    with without_plots():
        for block in blocks(page):
            assert block.language in LANGUAGES, f"{block}: the fence names no language of {', '.join(LANGUAGES)}"
            if block.after:
                state = sandbox.bash(State(folder="/".join(block.folder.split("/")[:2])), block.after)
            if block.folder:
                state = State(state.history, block.folder)
            if block.reason:
                continue
            if block.language == "ini":
                _check_input(block, tmp_path / str(block.line), package)
            else:
                state = _run(block, state, sandbox, names)


def _check_input(block: Block, folder: Path, package: Path | None) -> None:
    """Check an input; in a process of its own if it needs a package, as names of models are read when Python starts."""
    folder.mkdir()
    if package is None:
        check_input(block.text, folder)
        return
    (folder / "text").write_text(block.text, encoding="utf-8")
    command = [sys.executable, str(Path(__file__).with_name("fragments.py")), "text", str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(package), str(ROOT / "tests"), str(ROOT)]))
        done = run(command, folder)
    assert done.returncode == 0, done.stdout + done.stderr


def _run(block: Block, state: State, sandbox: Sandbox, names: dict[str, object]) -> State:
    """Run a block; return the files and the folder that it leaves behind."""
    if block.language == "bash":
        return sandbox.bash(state, block.text)
    if block.language == "python" and not block.text.startswith("# "):  # those are files of a package

        def execute(folder: Path) -> None:
            with in_folder(folder):
                exec(compile(block.text, str(block), "exec"), names)

        return sandbox.changed(state, f"{block}", execute)
    if block.language == "lammps":
        return sandbox.changed(state, f"{block}", lambda folder: _run_lammps(block.text, folder))
    return state


def _run_lammps(text: str, folder: Path) -> None:
    """Run lines of a LAMMPS input script; what they leave out is that of the exported example."""
    (data,) = [*folder.glob("md.data"), *folder.glob("*_fit/md.data")][:1]
    head = "" if "read_data" in text else f"units metal\nboundary m m m\nread_data {data.relative_to(folder)}\n"
    (folder / "page.in").write_text(f"{head}{text}run 1\n", encoding="utf-8")
    done = run(["lmp", "-in", "page.in"], folder, PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", IDLE)
def test_a_block_that_does_not_run_is_valid(block: Block) -> None:
    """Options of this package, extras of pip and targets of make exist."""
    if block.language != "bash":
        return
    for command in without_comments(block.text):
        for arguments in re.findall(r"-m fitsnap_nn ([^'|;&]+)", command):
            _parsed([one for one in arguments.split() if not one.startswith("$")])
        for names in re.findall(r"pip install '\.\[([^]]+)\]'", command):
            assert set(names.split(",")) <= extras()
        if command.startswith("make "):
            done = run(["make", "-n", command.split()[1]], ROOT)
            assert done.returncode == 0, done.stderr


def extras() -> set[str]:
    """Return the names of the extras in setup.py."""
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    return set(re.findall(r'^    "([\w-]+)": \[', text, re.MULTILINE))
