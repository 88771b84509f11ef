"""A copy of the examples with little data, in which the commands of the pages run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from places import ROOT
from processes import run, run_on_ranks
from vasp_text import Step, outcar

from fitsnap_nn.cli import main
from fitsnap_nn.units import GPA

MEMBERS = 6  # configurations of a group; `new` makes validation sets of groups of five and more
SHORT = ["--no-verify", "--set", "PYTORCH.num_epochs=2"]
SHORT_MD = ["-var", "steps", "10", "-var", "relax", "5"]
PATIENCE = 600.0  # seconds for a command, on a busy machine
READING = ("check", "show", "doctor")  # commands that change no file


def make_examples(root: Path) -> None:
    """Write the examples with the first configurations of each group, and runs of VASP for the page on them."""
    for example in sorted((ROOT / "examples").iterdir()):
        if (example / "README.md").exists():
            shutil.copytree(
                example, root / "examples" / example.name, ignore=shutil.ignore_patterns("*_fit", "__pycache__")
            )
    for path in root.glob("examples/*/JSON/*/*.json"):
        head, _, content = path.read_text(encoding="utf-8").partition("\n")
        data = json.loads(content)
        data["Dataset"]["Data"] = data["Dataset"]["Data"][:MEMBERS]
        path.write_text(f"{head}\n{json.dumps(data)}", encoding="utf-8")
    for path in root.glob("examples/*/*.xyz"):
        write(path, first_of_each_group(read(path, ":")), format="extxyz")
    for group in ("Bulk", "Displaced"):
        for number in range(2):
            folder = root / "VASP" / "runs" / group / f"run{number}"
            folder.mkdir(parents=True)
            made = [copper(3 * number + frame, 0.05 if group == "Displaced" else 0.0) for frame in range(3)]
            (folder / "OUTCAR").write_text(outcar(made), encoding="utf-8")


def copper(number: int, displacement: float) -> Step:
    """Return an ionic step of a crystal of copper, with the labels of ASE's EMT."""
    atoms = bulk("Cu", a=3.55 + 0.03 * number, cubic=True)
    atoms.rattle(displacement, seed=number)
    atoms.calc = EMT()
    pressure = -atoms.get_stress(voigt=False) / GPA * 10.0  # kB
    return Step(atoms, round(atoms.get_potential_energy(), 8), forces=atoms.get_forces().round(6), pressure=pressure)


def first_of_each_group(frames: list[Atoms]) -> list[Atoms]:
    """Return the first frames of each ``config_type``; twice as many of a file that is one group."""
    groups: dict[str, list[Atoms]] = defaultdict(list)
    for atoms in frames:
        groups[atoms.info.get("config_type", "")].append(atoms)
    count = MEMBERS if len(groups) > 1 else 2 * MEMBERS
    return [atoms for members in groups.values() for atoms in members[:count]]


@dataclass(frozen=True)
class State:
    """Files and folder after some commands.

    Attributes:
        history: the commands that have changed files, each with its folder.
        folder: the folder of the next command, relative to the sandbox.
    """

    history: tuple[tuple[str, str], ...] = ()
    folder: str = "."


class Sandbox:
    """Runs commands, each once for all pages: the files after a list of commands are kept for others that begin so.

    Args:
        root: an empty folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._count = 0
        self._layers: dict[tuple[tuple[str, str], ...], Path] = {(): root / "0"}
        self._done: set[tuple[State, str]] = set()
        make_examples(root / "0")

    def folder(self, state: State) -> Path:
        """Return the folder of the next command."""
        return self._layers[state.history] / state.folder

    def changed(self, state: State, what: str, action: Callable[[Path], None]) -> State:
        """Return the state after an action that changes files.

        Args:
            what: text that identifies it.
            action: is called with the folder of the state.
        """
        history = (*state.history, (state.folder, what))
        if history not in self._layers:
            self._count += 1
            layer = self._root / str(self._count)
            shutil.copytree(self._layers[state.history], layer)
            action(layer / state.folder)
            self._layers[history] = layer
        return State(history, state.folder)

    def bash(self, state: State, text: str) -> State:
        """Run the lines of a block, and return what they leave behind."""
        for line in without_comments(text):
            for command in line.split(" && "):
                state = self._command(state, command)
        return state

    def _command(self, state: State, command: str) -> State:
        words = shlex.split(command)
        if words[0] == "cd":
            target = os.path.normpath(os.path.join(state.folder, words[1]))
            assert (self._layers[state.history] / target).is_dir(), f"{command}: no such folder"
            return State(state.history, target)
        if words[:3] == ["python", "-m", "fitsnap_nn"] and words[3] in READING:
            if (state, command) not in self._done:
                program(words[3:], self.folder(state))
                self._done.add((state, command))
            return state
        return self.changed(state, command, lambda folder: execute(words, folder))


def execute(words: list[str], folder: Path) -> None:
    """Run a command that a page may contain; short: few epochs, few steps, no verification."""
    words = list(with_file_names(words, folder))
    if words[:3] == ["python", "-m", "fitsnap_nn"]:
        program(shortened(words[3:]), folder)
    elif words[:2] == ["mpirun", "-np"] and words[3:6] == ["python", "-m", "fitsnap_nn"]:
        run_on_ranks(int(words[2]), [shortened(words[6:])], folder, PATIENCE)
    elif words[0] == "lmp" or (words[:2] == ["mpirun", "-np"] and words[3] == "lmp"):
        done = run(short_dynamics(words), folder, PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
    elif words[0] == "python" and words[1].endswith(".py"):
        done = run(words, folder, PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        raise AssertionError(f"nothing says how to run {' '.join(words)}")


def shortened(arguments: list[str]) -> list[str]:
    """Return arguments of a short run: of fits without verification, of LAMMPS with few steps."""
    if arguments[0] == "lmp":
        return short_dynamics(arguments)
    return [*arguments, *SHORT] if arguments[0].endswith(".in") else arguments


def short_dynamics(words: list[str]) -> list[str]:
    """Return a command with few steps, unless it writes frames for later commands.

    LAMMPS keeps the first value of a variable.
    """
    place = words.index("lmp") + 1
    return words if "uncertainty_file" in words else [*words[:place], *SHORT_MD, *words[place:]]


def program(arguments: list[str], folder: Path) -> None:
    """Run a command of fitsnap_nn in this process."""
    with in_folder(folder), open(os.devnull, "w", encoding="utf-8") as nothing, contextlib.redirect_stdout(nothing):
        code = main(arguments)
    assert code == 0, f"exit code {code} of {' '.join(arguments)}"


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Change the working folder, as contextlib.chdir of Python 3.11 does."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def with_file_names(words: list[str], folder: Path) -> Iterator[str]:
    """Yield the words of a command with file name patterns replaced, as a shell does."""
    for word in words:
        matches = sorted(glob(word, root_dir=folder)) if "*" in word else []
        yield from matches or [word]


def without_comments(text: str) -> Iterator[str]:
    """Yield the commands of a block, with continued lines joined."""
    for line in text.replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s)#.*$", "", line).strip()
        if command:
            yield command
