"""Parser of vasprun.xml.

ASE's parser gives the same structures and labels, but neither the number of electronic iterations nor the energy
without entropy, stops silently at a second run in the file, and cannot read steps of a machine-learned force field.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

import numpy as np

from fitsnap_nn.data.configuration import Floats
from fitsnap_nn.data.readers.raw import LARGEST
from fitsnap_nn.data.readers.text import open_lines
from fitsnap_nn.data.readers.vasp_run import DAMAGED, Run, Step, symbol_of
from fitsnap_nn.errors import DataError, shorten

PARAMETERS = ("NELM", "NSW", "IBRION", "ISIF", "ICHARG", "IALGO", "PSTRESS")
KILOBAR = 1e-22 / 1.60217733e-19  # eV/Å³, with the elementary charge that VASP uses
BOUNDARY = re.compile(rb"(?=<\?xml)|(?<=</modeling>)")  # between two concatenated files
LARGE = frozenset({"dos", "eigenvalues", "projected", "dynmat"})  # not needed; removed to save memory


def read_vasprun(path: str) -> list[Run]:
    """Read all runs of a vasprun.xml; the files of several runs may be concatenated.

    Args:
        path: the file, plain or compressed.

    Raises:
        DataError: it is not a vasprun.xml, or a finished step has no numbers.
    """
    runs = []
    with open_lines(path) as file:
        for number, document in enumerate(_documents(file), start=1):
            reader = _RunReader(path if number == 1 else f"{path}, run {number}")
            runs.append(reader.read(document))
    if not any(run.species or run.parameters for run in runs):
        reason = next((f" ({run.cut_short})" for run in runs), "")
        raise DataError(f"{path}: the file is not a vasprun.xml of VASP{reason}. Correct the path, or remove the file.")
    return runs


def _documents(file: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """Split a file into XML documents; each must be read before the next is asked for."""
    pieces = (piece for line in file for piece in BOUNDARY.split(line) if piece)
    following = [piece for piece in [next((one for one in pieces if one.strip()), b"")] if piece]

    def document() -> Iterator[bytes]:
        last = following.pop()
        yield last
        for piece in pieces:
            if piece.startswith(b"<?xml") or (last.endswith(b"</modeling>") and piece.strip()):
                following.append(piece)
                return
            yield piece
            last = piece if piece.strip() else last

    while following:
        yield document()


class _RunReader:
    """State of the parser within one document."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.run = Run()
        self._parser: Any = XMLPullParser(("start", "end"))  # typeshed does not know which events it returns
        self._in_step = False
        self._ended = False

    def read(self, lines: Iterator[bytes]) -> Run:
        """Read the document up to its end, or to the first syntax error.

        Raises:
            DataError: a finished step has no numbers.
        """
        broken = ""
        for line in lines:
            if broken:
                continue
            try:
                self._parser.feed(line)
                for event, element in self._parser.read_events():
                    self._handle(event, element)
            except (ParseError, ValueError, LookupError) as error:  # the last two: an encoding that Python lacks
                broken = f"{DAMAGED}: {error}"
        if broken or not self._ended:
            unfinished = f"ionic step {len(self.run.steps) + 1} is not finished" if self._in_step else ""
            self.run.cut_short = broken or unfinished or "the end of the file is missing"
        return self.run

    def _handle(self, event: str, element: Element) -> None:
        if event == "start":
            self._in_step |= element.tag == "calculation"
        elif element.tag == "calculation":
            self._in_step = False
            self._step(element)
            element.clear()
        elif element.tag == "parameters":
            self._parameters(element)
        elif element.tag == "atominfo":
            self.run.species = self._species(element)
        elif element.tag == "structure" and not self._in_step and not element.get("name"):
            self.run.predicted += 1  # steps of a machine-learned force field are outside of <calculation>
        elif element.tag in LARGE:
            element.clear()
        elif element.tag == "modeling":
            self._ended = True

    def _parameters(self, element: Element) -> None:
        for name in PARAMETERS:
            # Only the first one is used: a second NELM is that of the response functions.
            item = element.find(f".//i[@name='{name}']")
            if item is None or not item.text:
                continue
            try:
                self.run.parameters[name] = _float(item.text)
            except ValueError as error:
                raise DataError(f"{self.where}: parameter {name}: {error}. Remove the file.") from None

    def _species(self, element: Element) -> tuple[str, ...]:
        names = [row.findtext("c") or "" for row in element.iterfind("array[@name='atoms']/set/rc")]
        symbols = tuple(map(symbol_of, names))
        if not all(symbols):
            unknown = sorted({name for name, symbol in zip(names, symbols, strict=True) if not symbol})
            listed = shorten(", ".join(unknown))
            raise DataError(f"{self.where}: {listed} is not a chemical symbol. Correct <atominfo>.")
        return symbols

    def _step(self, element: Element) -> None:
        # Iterations after the structure belong to the linear response (LEPSILON, IBRION = 7 and 8).
        children = takewhile(lambda child: child.tag != "structure", element)
        iterations = [child for child in children if child.tag == "scstep"]
        if not iterations:
            self.run.predicted += 1
            return
        try:
            cell = _rows(element, "structure/crystal/varray[@name='basis']/v")
            scaled = _rows(element, "structure/varray[@name='positions']/v")
            # With PSTRESS this is the enthalpy, unlike TOTEN in OUTCAR.
            enthalpy = _number(element.find("energy"), "e_fr_energy")
            if cell is None or scaled is None or enthalpy is None:
                raise ValueError("structure or energy is missing")
            pv = self.run.parameters.get("PSTRESS", 0.0) * KILOBAR * abs(np.linalg.det(cell))
            free_energy = enthalpy - pv
            # Of the final energies only e_fr_energy is right in VASP 5. Those of the last iteration lack the van der
            # Waals energy, which cancels in their difference.
            free, without = (_number(iterations[-1].find("energy"), name) for name in ("e_fr_energy", "e_wo_entrp"))
            self.run.steps.append(
                Step(
                    positions=scaled @ cell,
                    cell=cell,
                    forces=_rows(element, "varray[@name='forces']/v"),
                    pressure=_rows(element, "varray[@name='stress']/v"),
                    free_energy=free_energy,
                    energy_without_entropy=None if free is None or without is None else free_energy + without - free,
                    problem=self.run.problem(len(iterations), ended_by_limit=False),
                )
            )
        except ValueError as error:
            number = len(self.run.steps) + 1
            raise DataError(f"{self.where}: ionic step {number} cannot be read: {error}. Remove the file.") from None


def _rows(element: Element, path: str) -> Floats | None:
    """Return the vectors of a table, or ``None`` if there is none."""
    rows = [list(map(_float, (vector.text or "").split())) for vector in element.iterfind(path)]
    return np.array(rows) if rows else None


def _number(element: Element | None, name: str) -> float | None:
    item = None if element is None else element.find(f"i[@name='{name}']")
    return None if item is None else _float(item.text or "")


def _float(text: str) -> float:
    """Return a finite number; unlike ``float``, refuse underscores among digits, and digits of other scripts.

    Raises:
        ValueError: the text is no finite number; VASP prints stars where a number does not fit its column.
    """
    number = math.nan if "_" in text or not text.isascii() else float(text)
    if not abs(number) <= LARGEST:  # also NaN; the products of larger numbers would overflow
        raise ValueError(f"'{shorten(text)}' is not a finite number")
    return number
