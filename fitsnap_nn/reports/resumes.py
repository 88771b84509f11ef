"""Epochs after which a fit was interrupted and continued, from its log."""

from __future__ import annotations

import re
from pathlib import Path

from fitsnap_nn.folders import LOG_FILE

CONTINUED = "continuing from {path} after epoch {epoch}"
_LINE = re.compile(r"continuing from .* after epoch (\d+)(?: and step \d+ of the next one)?")


def resumed_epochs(folder: Path) -> list[int]:
    """Return the epochs in order; empty without a log, or for a fit in one piece.

    Args:
        folder: output folder.
    """
    try:
        lines = (folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [int(match[1]) for line in lines if (match := _LINE.fullmatch(line))]
