"""Parser of OUTCAR.

ASE's parser stops at the columns without vdW correction of IVDW, at more than ten species and at the results of a
machine-learned force field, gives the atoms of a second run in the file the elements of the first, and does not say
which steps converged. This parser is compared with it on files where it is right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from fitsnap_nn.data.configuration import Floats
from fitsnap_nn.data.readers.text import open_lines
from fitsnap_nn.data.readers.vasp_run import Run, Step, symbol_of
from fitsnap_nn.errors import DataError, shorten

NUMBER = re.compile(r"-?\d+\.\d+", re.ASCII)
TOTEN = re.compile(r"TOTEN\s*=\s*(-?\d+\.\d+)\s+eV", re.ASCII)
WITHOUT_ENTROPY = re.compile(r"without entropy=\s*(-?\d+\.\d+)\s+energy\(", re.ASCII)
# The lookbehind starts a match at the first digit only, so that long rows of digits take linear time.
CHANGE = re.compile(r"[-+]?(?<!\d)\d*\.\d+E[-+]\d+", re.ASCII)
MAX_ATOMS = 10**8
BAD_STRESS = "the stress is not six numbers (VASP prints ***** for numbers too large for their column)"
PARAMETER = re.compile(
    r"^\s*(NELM|NSW|IBRION|ISIF|ICHARG|IALGO|EDIFF)\s*=\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][-+]?\d+)?)\s*(;?)",
    re.ASCII,
)
MARKER = re.compile(
    r"^ vasp\.\d|TITEL|VRHFIN|POTCAR:|ions per type|NIONS|Iteration|energy-change|aborting loop|FORCE on cell|in kB"
    r"|direct lattice vectors|TOTAL-FORCE|FREE ENERGIE|  TOTEN|y  without entropy|General timing"
)
XML_REMEDY = "Use the vasprun.xml of the same run"


def read_outcar(path: str) -> list[Run]:
    """Read all runs of an OUTCAR; the files of several runs may be concatenated.

    Args:
        path: the file, plain or compressed.

    Raises:
        DataError: it is not an OUTCAR, or the elements, positions or forces of its atoms are unknown.
    """
    readers: list[_RunReader] = []
    with open_lines(path) as file:
        lines = (line.decode("utf-8", "replace") for line in file)
        for line in lines:
            marker = MARKER.search(line)
            if marker is None:
                if readers and not readers[-1].in_body:
                    readers[-1].read_parameter(line)
                continue
            name = marker.group().strip()
            # A header after ionic steps is that of the next run, also if the first line with the version is missing.
            is_header = name.startswith("vasp.") or name in ("TITEL", "POTCAR:")
            if name.startswith("vasp.") or (is_header and (not readers or readers[-1].in_body)):
                readers.append(_RunReader(path, len(readers)))
            if readers:
                readers[-1].read(name, line, lines)
    if not any(reader.potentials or reader.in_body for reader in readers):
        raise DataError(f"{path}: the file is not an OUTCAR of VASP. Correct the path, or remove the file.")
    return [reader.finish() for reader in readers]


@dataclass
class _Draft:
    """Ionic step that is being read."""

    iterations: int = 0
    changes: tuple[float, ...] = ()
    loop_ended: bool = False
    ended_by_limit: bool = False
    cell: Floats | None = None
    table: Floats | None = None
    pressure: Floats | None = None
    bad_stress: bool = False
    bad_cell: bool = False
    energy: float | None = None


class _RunReader:
    """State of the parser within one run."""

    def __init__(self, path: str, number: int) -> None:
        self.path = path
        self.number = number
        self.run = Run()
        self.in_body = False
        self.potentials: dict[str, list[str]] = {"TITEL": [], "VRHFIN": [], "POTCAR:": []}
        self._counts: list[int] = []
        self._ions = 0
        self._draft = _Draft()
        self._cell: Floats | None = None  # of the header
        self._is_predicted = False  # inside the results of a machine-learned force field
        self._in_energies = False
        self._ended = False
        self._handlers: dict[str, Callable[[str, Iterator[str]], None]] = {
            "Iteration": self._iteration,
            "energy-change": self._energy_change,
            "aborting loop": self._loop_end,
            "FORCE on cell": self._stress_header,
            "in kB": self._pressure,
            "direct lattice vectors": self._lattice,
            "TOTAL-FORCE": self._forces,
            "FREE ENERGIE": self._energies,
            "TOTEN": self._toten,
            "y  without entropy": self._without_entropy,
            "General timing": self._end,
        }

    def read(self, marker: str, line: str, lines: Iterator[str]) -> None:
        """Read a line that contains a marker, and the table that follows it."""
        if marker in self.potentials and not self.in_body:
            self.potentials[marker].append(line)
        elif marker == "NIONS":
            match = re.search(r"NIONS\s*=\s*([0-9]+)", line)
            self._ions = self._ions or (self._count(match[1]) if match else 0)
        elif marker == "ions per type":
            self._counts += map(self._count, re.findall(r"[0-9]+", line.rpartition("=")[2]))
        elif marker in self._handlers:
            self._handlers[marker](line, lines)

    def read_parameter(self, line: str) -> None:
        """Read a line of the header; VASP prints the INCAR first and the resolved parameters later."""
        match = PARAMETER.match(line)
        # Only the line of the resolved NELM continues with NELMIN; a later NELM is that of the response functions.
        if match and not (match[1] == "NELM" and "NELM" in self.run.parameters and match[3] != ";"):
            value = float(match[2].upper().replace("D", "E"))
            if not math.isfinite(value):
                self._refuse(f"{match[1]} is {shorten(match[2])}, which is not a finite number", "Correct the file.")
            self.run.parameters[match[1]] = value

    def finish(self) -> Run:
        """Return the run at the end of its text.

        Raises:
            DataError: the elements of the atoms are unknown.
        """
        if not self._ended and (self._draft.iterations or not self.run.steps):
            self.run.cut_short = f"ionic step {len(self.run.steps) + 1} is not finished"
        if self.run.steps:
            self.run.species = self._species()
        return self.run

    def _iteration(self, line: str, lines: Iterator[str]) -> None:
        self.in_body, self._is_predicted = True, False
        match = re.search(r"\(\s*([0-9]+)\)", line)
        number = self._count(match[1]) if match else self._draft.iterations + 1
        if number == 1:
            self._draft = _Draft()
        self._draft.iterations = number

    def _energy_change(self, line: str, lines: Iterator[str]) -> None:
        self._draft.changes = tuple(map(float, CHANGE.findall(line)))

    def _loop_end(self, line: str, lines: Iterator[str]) -> None:
        self.in_body, self._is_predicted = True, False
        self._draft.loop_ended = True
        self._draft.ended_by_limit = "EDIFF is reached" not in line

    def _stress_header(self, line: str, lines: Iterator[str]) -> None:
        self.in_body = True
        self._is_predicted = "ML FORCE" in line

    def _pressure(self, line: str, lines: Iterator[str]) -> None:
        if not self._is_predicted:
            self.in_body = True
            numbers = _numbers(line.partition("in kB")[2])
            self._draft.bad_stress = numbers is None or len(numbers) != 6
            if numbers is not None and len(numbers) == 6:
                xx, yy, zz, xy, yz, zx = numbers
                self._draft.pressure = np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])

    def _lattice(self, line: str, lines: Iterator[str]) -> None:
        if not self._is_predicted:
            self._draft.cell = _table(lines, 3, 3)
            self._draft.bad_cell = self._draft.cell is None
            if not self.in_body:
                self._cell = self._draft.cell

    def _forces(self, line: str, lines: Iterator[str]) -> None:
        if "(ML)" in line:
            self._is_predicted = True
        elif "POSITION" in line:
            self.in_body, self._is_predicted = True, False
            next(lines, "")  # a line of dashes
            self._draft.table = _table(lines, self._ions or sum(self._counts), 6)
            if not next(lines, "").lstrip().startswith("----"):  # one line more or less than there are atoms
                self._draft.table = None

    def _energies(self, line: str, lines: Iterator[str]) -> None:
        is_predicted = "ML FREE" in line
        self.run.predicted += is_predicted
        self._in_energies = not is_predicted

    def _toten(self, line: str, lines: Iterator[str]) -> None:
        if self._in_energies and "free" in line and (number := TOTEN.search(line)):
            self._draft.energy = float(number[1])

    def _without_entropy(self, line: str, lines: Iterator[str]) -> None:
        """Finish the ionic step: this is the last line of its results."""
        if not self._in_energies or "sigma" not in line:  # the file may end within this line
            return
        self._in_energies = False
        number = WITHOUT_ENTROPY.search(line)
        draft, self._draft = self._draft, _Draft()
        # The cell of the header holds for all steps unless ISIF lets it change.
        is_constant = draft.cell is None and not draft.bad_cell and self.run.parameters.get("ISIF", 0) <= 2
        cell = self._cell if is_constant else draft.cell
        if draft.table is None or cell is None:
            self._refuse(
                f"step {len(self.run.steps) + 1} has an energy but no complete table of positions and forces, or no "
                "lattice vectors (NWRITE = 0 writes none for most steps, and ***** stands for numbers too large for "
                "their column)",
                f"{XML_REMEDY}, or remove the file.",
            )
        if draft.energy is None:
            self._refuse(f"the energy of step {len(self.run.steps) + 1} is not a number", "Remove the file.")
        self.run.steps.append(
            Step(
                positions=draft.table[:, :3],
                cell=cell,
                forces=draft.table[:, 3:6],
                pressure=draft.pressure,
                free_energy=draft.energy,
                energy_without_entropy=float(number[1]) if number else None,
                problem=BAD_STRESS
                if draft.bad_stress
                else self.run.problem(draft.iterations, draft.ended_by_limit, draft.changes),
            )
        )

    def _end(self, line: str, lines: Iterator[str]) -> None:
        self._ended = True

    def _species(self) -> tuple[str, ...]:
        """Return one symbol per atom.

        VASP prints at most ten numbers of atoms. If one is missing, it is the rest of the atoms.
        """
        symbols = self._symbols()
        counts = list(self._counts)
        rest = self._ions - sum(counts)
        if len(symbols) == len(counts) + 1 and rest > 0:
            counts.append(rest)
        if len(symbols) != len(counts) or not all(symbols) or (self._ions and sum(counts) != self._ions):
            names = " ".join(symbol or "?" for symbol in symbols)
            total = sum(counts)
            self._refuse(
                f"the elements of the atoms are unknown: the file has {len(symbols)} potentials ({names}), but 'ions "
                f"per type' lists {len(counts)} numbers for {total} of {self._ions or total} atoms (VASP prints at "
                "most ten species)",
                f"{XML_REMEDY}, which names the element of each atom.",
            )
        return tuple(symbol for symbol, count in zip(symbols, counts, strict=True) for _ in range(count))

    def _symbols(self) -> list[str]:
        """Return one symbol per potential; TITEL and VRHFIN occur once per potential, ``POTCAR:`` twice."""
        titles = [line.partition("=")[2].split() for line in self.potentials["TITEL"]]
        if titles:
            return [symbol_of(words[1] if len(words) > 1 else "".join(words)) for words in titles]
        if shells := self.potentials["VRHFIN"]:
            return [symbol_of(line.partition("=")[2]) for line in shells]
        names = [line.partition(":")[2].split() for line in self.potentials["POTCAR:"]]
        half = names[: len(names) // 2]
        return [symbol_of(words[1] if len(words) > 1 else "") for words in (half if half * 2 == names else names)]

    def _count(self, digits: str) -> int:
        if len(digits) > len(str(MAX_ATOMS)) or int(digits) > MAX_ATOMS:
            self._refuse(f"a count is {shorten(digits)}, above the maximum, {MAX_ATOMS}", "Remove the file.")
        return int(digits)

    def _refuse(self, what: str, remedy: str) -> NoReturn:
        number = f", run {self.number + 1}" if self.number else ""
        raise DataError(f"{self.path}{number}: {what}. {remedy}")


def _table(lines: Iterator[str], rows: int, columns: int) -> Floats | None:
    """Return the first columns of the next lines, or ``None`` if they are not numbers."""
    table = []
    for _ in range(rows):
        numbers = _numbers(next(lines, ""))
        # A number more or less would shift the others; further columns are reciprocal vectors or forces without vdW.
        if numbers is None or len(numbers) < columns or len(numbers) % 3 or len(numbers) < 6:
            return None
        table.append(numbers[:columns])
    return np.array(table)


def _numbers(line: str) -> list[float] | None:
    """Return the numbers of a line, ``None`` if it contains anything else."""
    # Columns of fixed width may touch: 1.23456-12.34567.
    words = line.replace("-", " -").split()
    return list(map(float, words)) if all(map(NUMBER.fullmatch, words)) else None
