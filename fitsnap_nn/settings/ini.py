"""INI text to sections and keys, each with the line it stands on.

The dialect is FitSNAP's: case counts; ``key = value`` or ``key : value``; ``#`` after a blank or at the start of
a line begins a comment, ``;`` at the start of a line too; a line that is indented deeper than its key and has no
``=`` continues the value. Python's own reader stops at the first mistake and knows no line numbers; this one
reports every mistake. ``%`` is an ordinary character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fitsnap_nn.errors import Problem

COMMAND_LINE = "command line"
COMMENT = re.compile(r"(?:^|\s)#.*$|^\s*;.*$")
KEY_VALUE = re.compile(r"(?P<key>[^=:]*?)\s*[=:]\s*(?P<value>.*)")
INTERPOLATION = re.compile(r"%\([^)]*\)s")


@dataclass(frozen=True)
class Entry:
    """A value as it was written, and where: ``file:line`` or ``command line``."""

    value: str
    where: str


@dataclass
class Document:
    """The sections of an input file, and all that was found wrong with them so far."""

    source: str
    sections: dict[str, dict[str, Entry]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    _problems: list[Problem] = field(default_factory=list)
    _failed: set[tuple[str, str]] = field(default_factory=set)

    def entry(self, section: str, key: str) -> Entry | None:
        """The value of a key, or ``None`` where the file does not give it."""
        return self.sections.get(section, {}).get(key)

    def where(self, section: str, key: str = "") -> str:
        """Where a key stands; where its section begins, or the file's name, when it is not given."""
        entry = self.entry(section, key)
        return entry.where if entry else self.headers.get(section, self.source)

    def report(self, section: str, key: str, what: str, hint: str = "", where: str = "") -> None:
        """Note a problem; its place is the key's unless ``where`` says otherwise."""
        subject = f"[{section}] {key}".strip() if section else key
        place = where or self.where(section, key)
        self._problems.append(Problem(place, f"{subject} — {what}." if subject else f"{what}.", hint))
        self._failed.add((section, key))

    def sound(self, section: str, *keys: str) -> bool:
        """Whether nothing was found wrong with these keys; a check that builds on them asks first."""
        return not any((section, key) in self._failed for key in keys)

    def override(self, overrides: Sequence[tuple[str, str, str]]) -> None:
        """Set keys from the command line, over those of the file."""
        for section, key, value in overrides:
            self.headers.setdefault(section, COMMAND_LINE)
            self.sections.setdefault(section, {})[key] = Entry(str(value).strip(), COMMAND_LINE)

    @property
    def text(self) -> str:
        """The document as an input file, without its comments; read again it has the same values."""
        lines: list[str] = []
        for section, entries in self.sections.items():
            values = (f"{key} = {entry.value}".replace("\n", "\n    ") for key, entry in entries.items())
            lines += [f"[{section}]", *values, ""]
        return "\n".join(lines)

    @property
    def problems(self) -> list[Problem]:
        """All problems in the order of the file, those of the command line last."""

        def order(problem: Problem) -> tuple[bool, bool, str, int]:
            name, _, line = problem.where.rpartition(":")
            number = int(line) if line.isdigit() else 0
            return problem.where == COMMAND_LINE, bool(name) and name != self.source, name, number

        return sorted(self._problems, key=order)


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines without comments and trailing blanks; empty ones are left out."""
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        content = COMMENT.sub("", line.expandtabs()).rstrip()
        if content:
            yield number, content


def read_ini(text: str, source: str) -> Document:
    """Sections and keys of an input file; what cannot be read is among the document's problems."""
    document = Document(source)
    section = key = ""
    indent = 0
    for number, line in lines_of(text):
        where = f"{source}:{number}"
        content = line.strip()
        depth = len(line) - len(line.lstrip())
        if content.startswith("["):
            section, key = _open_section(document, content, where), ""
        elif key and depth > indent and "=" not in content:
            entry = document.sections[section][key]
            document.sections[section][key] = Entry(f"{entry.value}\n{content}".strip(), entry.where)
        else:
            key, indent = _add_key(document, section, content, where), depth
    return document


def _open_section(document: Document, content: str, where: str) -> str:
    name, bracket, _ = content[1:].partition("]")
    name = name.strip()
    if not bracket:
        document.report("", content, "the section's name has no closing bracket", where=where)
    if name in document.headers:
        document.report(name, "", f"the section was opened before, at {document.headers[name]}", "Join them.", where)
    document.headers.setdefault(name, where)
    document.sections.setdefault(name, {})
    return name


def _add_key(document: Document, section: str, content: str, where: str) -> str:
    """Store one ``key = value`` line; returns the key, empty when there is none to be continued."""
    match = KEY_VALUE.match(content)
    key = match["key"].strip() if match else ""
    if not match or not key:
        document.report(section, f"'{content}'", "is not of the form key = value", where=where)
        return ""
    if not section:
        document.report("", key, "a key before the first [SECTION]", where=where)
        return ""
    earlier = document.entry(section, key)
    if earlier:
        document.report(section, key, f"given twice, first at {earlier.where}", "Remove one.", where)
        return ""
    document.sections[section][key] = Entry(match["value"], where)
    if INTERPOLATION.search(match["value"]):
        document.report(section, key, "values of other keys are not filled in here", "Write the value out.")
    return key
