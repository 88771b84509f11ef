"""Group table: rows of GROUPS, or of the file [PATH] groupFile."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fitsnap_nn.errors import counted
from fitsnap_nn.settings.fields import parse_number
from fitsnap_nn.settings.files import read_text
from fitsnap_nn.settings.ini import Document, Entry, lines_of
from fitsnap_nn.settings.keys import keys_of
from fitsnap_nn.settings.problems import ValueProblem, did_you_mean
from fitsnap_nn.settings.rows import GroupRow

SECTION = "GROUPS"
SIZES = ("size", "training_size", "testing_size", "test_size")
# Weights and their defaults for tables without the column.
WEIGHTS: Mapping[str, float] = MappingProxyType({"eweight": 1.0, "fweight": 1.0, "vweight": 0.0})
TYPES: Mapping[str, type] = MappingProxyType({"str": str, "float": float, "int": int, "bool": bool})


@dataclass(frozen=True)
class Columns:
    """Names and types of all columns, ``name`` included, in the order of group_sections."""

    names: tuple[str, ...]
    types: tuple[type, ...]

    @property
    def values(self) -> tuple[tuple[str, type], ...]:
        """Columns after ``Name =`` in a row."""
        return tuple(column for column in zip(self.names, self.types, strict=True) if column[0] != "name")


def read_columns(document: Document, names: tuple[str, ...], types: tuple[str, ...]) -> Columns | None:
    """Return the columns declared by group_sections and group_types; ``None`` if the declaration is invalid.

    Without group_types, ``name`` is ``str`` and all other columns are ``float``.
    """
    _check_names(document, names)
    if document.entry(SECTION, "group_types") is None:
        types = tuple("str" if name == "name" else "float" for name in names)
    _check_types(document, names, types)
    if not document.sound(SECTION, "group_sections", "group_types"):
        return None
    return Columns(names, tuple(TYPES[kind] for kind in types))


def _check_names(document: Document, names: Sequence[str]) -> None:
    known = ("name", *SIZES, *WEIGHTS)
    for name in dict.fromkeys(names):
        if name not in known:
            hint = did_you_mean(name, known) or f"Known columns: {', '.join(known)}."
            document.report(SECTION, "group_sections", f"unknown column {name}", hint)
        if names.count(name) > 1:
            document.report(SECTION, "group_sections", f"column {name} is given {names.count(name)} times")
    if "name" not in names:
        document.report(SECTION, "group_sections", "the column name is missing", "Put name first.")
    if "size" in names and {"training_size", "testing_size"} & set(names):
        what = "size cannot be combined with training_size or testing_size"
        document.report(SECTION, "group_sections", what, "Keep training_size and testing_size.")


def _check_types(document: Document, names: Sequence[str], types: Sequence[str]) -> None:
    if len(types) != len(names):
        what = f"{len(types)} types for {len(names)} columns ({' '.join(names)})"
        document.report(SECTION, "group_types", what, "Give one type for each column.")
        return
    for name, kind in zip(names, types, strict=True):
        if kind not in TYPES:
            document.report(SECTION, "group_types", f"unknown type {kind}", did_you_mean(kind, TYPES))
        elif (kind == "str") != (name == "name") or (kind == "bool" and name in SIZES):
            wanted = "str" if name == "name" else "float or int"
            document.report(SECTION, "group_types", f"column {name} cannot be {kind}", f"Use {wanted}.")


def read_rows(document: Document, columns: Columns, group_file: str, folder: str) -> tuple[GroupRow, ...]:
    """Return all rows of the table; rows with problems are reported and left out."""
    rows = written_rows(document)
    if group_file:
        if rows:
            what = f"there are rows here and in [PATH] groupFile = {group_file}"
            document.report(SECTION, "", what, "Keep one of the two.", next(iter(rows.values())).where)
        rows = _read_table(document, columns, os.path.normpath(os.path.join(folder, group_file)))
    elif not rows:
        document.report(SECTION, "", "the group table is empty", f"Add a row: Name = {_headings(columns)}.")
    parsed = (_parse_row(document, columns, name, entry) for name, entry in rows.items())
    return tuple(row for row in parsed if row is not None)


def written_rows(document: Document) -> dict[str, Entry]:
    """Return the rows of GROUPS as text: every key that is not a key of the section."""
    known = keys_of(SECTION)
    return {name: entry for name, entry in document.sections.get(SECTION, {}).items() if name not in known}


def _headings(columns: Columns) -> str:
    return " ".join(name for name, _ in columns.values)


def _read_table(document: Document, columns: Columns, path: str) -> dict[str, Entry]:
    """Read the rows of a group file: columns separated by blanks, ``name`` at its place in group_sections."""
    try:
        text = read_text(path)
    except ValueProblem as problem:
        document.report("PATH", "groupFile", problem.what, problem.hint)
        return {}
    rows: dict[str, Entry] = {}
    position = columns.names.index("name")
    for number, line in lines_of(text):
        where = f"{path}:{number}"
        words = line.split()
        name = words.pop(min(position, len(words) - 1))
        if name in rows:
            document.report(SECTION, name, f"given twice, first at {rows[name].where}", "Remove one.", where)
        else:
            rows[name] = Entry(" ".join(words), where)
    if not rows:
        document.report("PATH", "groupFile", f"{path} has no rows")
    return rows


def _parse_row(document: Document, columns: Columns, name: str, entry: Entry) -> GroupRow | None:
    words = entry.value.split()
    if len(words) != len(columns.values):
        count = counted(len(words), "value")
        what = f"{count} for the {len(columns.values)} columns {_headings(columns)}"
        document.report(SECTION, name, what, did_you_mean(name, keys_of(SECTION)), entry.where)
        return None
    cells: dict[str, float | int] = {}
    for (column, kind), word in zip(columns.values, words, strict=True):
        try:
            cells[column] = _parse_size(word, kind) if column in SIZES else _parse_weight(word, kind)
        except ValueProblem as problem:
            document.report(SECTION, name, f"{column}: {problem.what}", problem.hint, entry.where)
    if len(cells) < len(columns.values) or not _fractions_fit(document, name, cells, entry.where):
        return None
    return _row(name, cells, entry.where)


def _fractions_fit(document: Document, name: str, cells: Mapping[str, float | int], where: str) -> bool:
    """Report fractions that leave no room for the test set.

    Without a test set a sum above 1 is not an error: FitSNAP accepts it, and the validation set gets less.
    """
    fractions = {column: cells[column] for column in SIZES if isinstance(cells.get(column), float)}
    total = sum(fractions.values())
    if not cells.get("test_size") or total <= 1.0 + 1e-9:
        return True
    document.report(SECTION, name, f"{' + '.join(fractions)} = {total:g}", "The sum must not exceed 1.", where)
    return False


def _parse_size(word: str, kind: type) -> float | int:
    """Convert a size: a fraction to float, a number of configurations to int."""
    try:
        size = parse_number(word, kind)
    except ValueProblem as problem:
        hint = "Use float for this column in group_types." if kind is int else ""
        raise ValueProblem(problem.what, hint) from None
    if size < 0:
        raise ValueProblem(f"{word} is negative")
    if isinstance(size, float) and size > 1:
        if not size.is_integer():
            raise ValueProblem(f"{word} is neither a fraction (0 to 1) nor an integer number of configurations")
        return int(size)
    return size


def _parse_weight(word: str, kind: type) -> float:
    weight = parse_number(word, kind)
    if weight < 0:
        raise ValueProblem(f"{word} is negative")
    return float(weight)


def _row(name: str, cells: dict[str, float | int], where: str) -> GroupRow:
    """Build a row; as in FitSNAP, ``size`` leaves the rest for validation if it is a fraction, unused if a count."""
    training = cells.get("size", cells.get("training_size"))
    testing = cells.get("testing_size")
    if testing is None and ("training_size" in cells or isinstance(cells.get("size"), int)):
        testing = 0
    eweight, fweight, vweight = (float(cells.get(column, default)) for column, default in WEIGHTS.items())
    return GroupRow(name, training, testing, eweight, fweight, vweight, where, cells.get("test_size"))
