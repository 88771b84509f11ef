"""Packages that pages of docs/ show, as if pip had installed them."""

from __future__ import annotations

import re
from pathlib import Path


def install(page: Path, name: str, folder: Path) -> None:
    """Write the files of a package and its entry points, which a page shows, into a folder of modules.

    Args:
        page: the page.
        name: of the package; its files are the Python blocks whose first line is a comment with their path.
        folder: to be added to the path of modules.
    """
    text = page.read_text(encoding="utf-8")
    for path, code in re.findall(rf"```python\n# ({name}/\S+)\n(.*?)```", text, flags=re.DOTALL):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(code, encoding="utf-8")
    (toml,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    points = toml.replace('project.entry-points."', "").replace('"]', "]").replace('"', "")
    (info / "entry_points.txt").write_text(points)
