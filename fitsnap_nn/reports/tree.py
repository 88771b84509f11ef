"""Tree view of the files that a fit wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeAlias

Branches: TypeAlias = dict[str, "Branches"]


def render_tree(folder: Path, descriptions: Mapping[str, str]) -> str:
    """Return a tree view of existing files and folders with their descriptions.

    Args:
        folder: root of the tree.
        descriptions: short description of each file or folder by path relative to ``folder``, with forward slashes.
            Paths that do not exist are omitted.
    """
    branches: Branches = {}
    for name in descriptions:
        if (folder / name).exists():
            branch = branches
            for part in PurePosixPath(name).parts:
                branch = branch.setdefault(part, {})
    described = {str(PurePosixPath(name)): description for name, description in descriptions.items()}
    lines = [(line, described.get(name, "")) for line, name in _lines(branches, "", "")]
    width = max((len(line) for line, _ in lines), default=0)
    return "\n".join([f"{folder}/", *(f"{line:<{width}}  {description}".rstrip() for line, description in lines)])


def _lines(branches: Branches, indent: str, parent: str) -> Iterator[tuple[str, str]]:
    last = len(branches) - 1
    for number, (name, below) in enumerate(branches.items()):
        corner, bar = ("└── ", "    ") if number == last else ("├── ", "│   ")
        yield f"{indent}{corner}{name}{'/' if below else ''}", f"{parent}{name}"
        yield from _lines(below, indent + bar, f"{parent}{name}/")
