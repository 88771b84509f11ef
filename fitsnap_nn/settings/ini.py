"""Parser of INI text that keeps the line number of every section and key.

The dialect is FitSNAP's: names are case-sensitive; ``key = value`` or ``key : value``; ``#`` at the start of a line or
after a blank starts a comment, ``;`` at the start of a line does too; a line without ``=`` that is indented deeper than
its key continues the value; ``%`` is an ordinary character. `configparser` stops at the first error and has no line
numbers; this parser reports all errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal
from unicodedata import category

from fitsnap_nn.errors import InputError, Problem, for_terminal, shorten

COMMAND_LINE = "command line"
WeightsFrom = Literal["input", "restart file", "model"]
COMMENT = re.compile(r"(?:^|\s)#.*$|^\s*;.*$")
SEPARATOR = re.compile("[=:]")
INTERPOLATION = re.compile(r"%\([^()%]*\)s")  # without %, so that a row of %( takes linear time
LONGEST_MESSAGE = 2000  # characters
MAX_PROBLEMS = 100  # after which reading ends: a binary file would have one in every line


@dataclass(frozen=True)
class Entry:
    """Text of a value and its origin: ``file:line`` or ``command line``."""

    value: str
    where: str


@dataclass
class Document:
    """Sections of an input file, and the problems and notices found so far.

    Attributes:
        source: name of the file.
        sections: entries by key by section.
        headers: where each section starts.
        notices: remarks that are no problems.
        weights_from: origin of the initial weights, see `load_settings`.
        architecture_stored: whether a model file determines what the input omits of the architecture.
    """

    source: str
    sections: dict[str, dict[str, Entry]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    weights_from: WeightsFrom = "input"
    architecture_stored: bool = False
    _problems: list[Problem] = field(default_factory=list)
    _failed: set[tuple[str, str]] = field(default_factory=set)

    def entry(self, section: str, key: str) -> Entry | None:
        """Return the entry of a key, or ``None`` if the input does not set it."""
        return self.sections.get(section, {}).get(key)

    @property
    def lacks_architecture(self) -> bool:
        """Whether the input leaves model or calculator to the model file."""
        given = self.entry("PYTORCH", "model") and self.entry("CALCULATOR", "calculator")
        return self.architecture_stored and not given

    def where(self, section: str, key: str = "") -> str:
        """Return the location of a key; if it is not set, that of its section, or the name of the file."""
        entry = self.entry(section, key)
        return entry.where if entry else self.headers.get(section, self.source)

    def report(self, section: str, key: str, what: str, hint: str = "", where: str = "") -> None:
        """Record a problem; its location is that of the key unless ``where`` is given.

        Raises:
            InputError: there are MAX_PROBLEMS problems.
        """
        subject = f"[{section}] {key}".strip() if section else key
        place = where or self.where(section, key)
        self._problems.append(Problem(place, _brief(f"{subject} — {what}." if subject else f"{what}."), _brief(hint)))
        self._failed.add((section, key))
        if len(self._problems) == MAX_PROBLEMS:
            end = Problem(place, f"{MAX_PROBLEMS} errors: the rest is not checked.", "Is this an input file?")
            raise InputError([*self.problems, end])

    def sound(self, section: str, *keys: str) -> bool:
        """Return whether these keys have no problem so far; checks that depend on them test this first."""
        return not any((section, key) in self._failed for key in keys)

    def override(self, overrides: Sequence[tuple[str, str, str]]) -> None:
        """Set keys from the command line; they replace those of the file."""
        for section, key, value in overrides:
            self.headers.setdefault(section, COMMAND_LINE)
            self.sections.setdefault(section, {})[key] = Entry(str(value).strip(), COMMAND_LINE)
            _refuse_control_characters(self, section, f"{section}{key}{value}".replace("\n", ""), COMMAND_LINE)

    @property
    def text(self) -> str:
        """Text of an equivalent input file, without comments."""
        lines: list[str] = []
        for section, entries in self.sections.items():
            values = (f"{key} = {entry.value}".replace("\n", "\n    ") for key, entry in entries.items())
            lines += [f"[{section}]", *values, ""]
        return "\n".join(lines)

    @property
    def problems(self) -> list[Problem]:
        """All problems, ordered by line, those of the command line last."""

        def order(problem: Problem) -> tuple[bool, bool, str, int]:
            name, _, line = problem.where.rpartition(":")
            number = int(line) if line.isdigit() else 0
            return problem.where == COMMAND_LINE, bool(name) and name != self.source, name, number

        return sorted(self._problems, key=order)


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield numbered lines without comments and trailing blanks; empty lines are skipped."""
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        content = COMMENT.sub("", line.expandtabs()).rstrip()
        if content:
            yield number, content


def read_ini(text: str, source: str) -> Document:
    """Parse the text of an input file; syntax errors are recorded in the document."""
    document = Document(source)
    continued: dict[tuple[str, str], list[str]] = {}
    section = key = ""
    indent = 0
    for number, line in lines_of(text):
        where = f"{source}:{number}"
        content = line.strip()
        depth = len(line) - len(line.lstrip())
        if content.startswith("["):
            section, key = _open_section(document, content, where), ""
        elif key and depth > indent and "=" not in content:
            continued.setdefault((section, key), []).append(content)
        else:
            key, indent = _add_key(document, section, content, where), depth
        _refuse_control_characters(document, section, content, where)
    for (section, key), rest in continued.items():
        entry = document.sections[section][key]
        document.sections[section][key] = Entry("\n".join([entry.value, *rest]).strip(), entry.where)
    return document


def _refuse_control_characters(document: Document, section: str, text: str, where: str) -> None:
    """Report characters that no terminal or file can show, which are often invisible in an editor."""
    if not text.isprintable() and (found := [one for one in text if category(one) in ("Cc", "Cs")]):
        what = f"the control character or invalid byte {found[0]!a} in '{shorten(text)}'"
        document.report(section, "", what, "Remove it.", where)


def _brief(text: str) -> str:
    """Return a message on one line, with many words cut: the text may quote a whole file."""
    return shorten(for_terminal(text), LONGEST_MESSAGE)


def _open_section(document: Document, content: str, where: str) -> str:
    name, bracket, _ = content[1:].partition("]")
    name = name.strip()
    if not bracket:
        document.report("", content, "the closing bracket of the section is missing", where=where)
    if name in document.headers:
        document.report(name, "", f"the section occurs twice, first at {document.headers[name]}", "Merge them.", where)
    document.headers.setdefault(name, where)
    document.sections.setdefault(name, {})
    return name


def _add_key(document: Document, section: str, content: str, where: str) -> str:
    """Store one ``key = value`` line; return its key, or an empty string if no key can be continued."""
    key, *rest = (part.strip() for part in SEPARATOR.split(content, maxsplit=1))
    if not key or not rest:
        document.report(section, f"'{shorten(content)}'", "does not have the form key = value", where=where)
        return ""
    if not section:
        document.report("", key, "key before the first [SECTION]", where=where)
        return ""
    earlier = document.entry(section, key)
    if earlier:
        document.report(section, key, f"given twice, first at {earlier.where}", "Remove one.", where)
        return ""
    document.sections[section][key] = Entry(rest[0], where)
    if INTERPOLATION.search(rest[0]):
        document.report(section, key, "interpolation with %(key)s is not supported", "Replace it by the value.")
    return key
