"""Files that look like those of torch, for checks that do not load them."""

from __future__ import annotations

import zipfile
from pathlib import Path

MACE = b"cmace.modules.models\nScaleShiftMACE\n"


def write_archive(path: Path, classes: bytes = MACE, **others: bytes) -> Path:
    """Write an archive with a pickle that names these classes, and with other entries."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}/data.pkl", b"\x80\x02" + classes)
        for name, content in others.items():
            archive.writestr(f"{path.stem}/{name}", content)
    return path
