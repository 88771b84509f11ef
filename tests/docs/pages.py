"""Fenced blocks of the README and the pages of docs/, with the comments that say where and whether they run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from places import ROOT

LANGUAGES = ("bash", "python", "ini", "lammps", "toml", "text")
COMMENT = re.compile(r"<!-- (run in|not run): (.+?) -->")
FENCE = re.compile(r"^```(\{?[\w-]*\}?)$")


@dataclass(frozen=True)
class Block:
    """Fenced block.

    Attributes:
        page: path in the repository.
        line: line of its fence, from 1.
        language: word after the fence.
        text: content.
        folder: where the page says that it runs; empty: where the block before it ended.
        after: command that has to be run before.
        reason: why it does not run; empty if it does.
    """

    page: str
    line: int
    language: str
    text: str
    folder: str = ""
    after: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return the pages whose blocks run: README, contributing, the site, and the READMEs of the examples."""
    docs = [path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "examples"]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *docs, *sorted(ROOT.glob("examples/*/README.md"))]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in their order; directives of Sphinx are not among them."""
    return [one for one in _fenced(page) if not one.language.startswith("{")]


def _fenced(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    where = page.relative_to(ROOT).as_posix()
    start: tuple[int, str] | None = None
    for number, line in enumerate(lines):
        fence = FENCE.match(line.strip())
        if not fence:
            continue
        if start is None:
            start = number, fence[1]
            continue
        first, language = start
        note = COMMENT.fullmatch(lines[first - 1].strip()) if first else None
        kind, _, said = (note[1], "", note[2]) if note else ("", "", "")
        folder, _, after = said.partition("; after: ") if kind == "run in" else ("", "", "")
        reason = said if kind == "not run" else ""
        text = "\n".join(lines[first + 1 : number]) + "\n"
        yield Block(where, first + 1, language, text, folder, after, reason)
        start = None
    assert start is None, f"{where}: a block is not closed"
