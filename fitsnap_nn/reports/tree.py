"""The tree of files that a fit wrote, as printed at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeAlias

Branches: TypeAlias = dict[str, "Branches"]


def render_tree(folder: Path, phrases: Mapping[str, str]) -> str:
    """Draw the files and folders named in ``phrases`` that exist, each with its phrase.

    Args:
        folder: the root.
        phrases: path relative to ``folder``, with forward slashes -> what it holds, in one phrase.
    """
    branches: Branches = {}
    for name in phrases:
        if (folder / name).exists():
            place = branches
            for part in PurePosixPath(name).parts:
                place = place.setdefault(part, {})
    described = {str(PurePosixPath(name)): phrase for name, phrase in phrases.items()}
    lines = [(drawn, described.get(name, "")) for drawn, name in _lines(branches, "", "")]
    width = max((len(drawn) for drawn, _ in lines), default=0)
    return "\n".join([f"{folder}/", *(f"{drawn:<{width}}  {phrase}".rstrip() for drawn, phrase in lines)])


def _lines(branches: Branches, indent: str, parent: str) -> Iterator[tuple[str, str]]:
    last = len(branches) - 1
    for number, (name, below) in enumerate(branches.items()):
        corner, bar = ("└── ", "    ") if number == last else ("├── ", "│   ")
        yield f"{indent}{corner}{name}{'/' if below else ''}", f"{parent}{name}"
        yield from _lines(below, indent + bar, f"{parent}{name}/")
