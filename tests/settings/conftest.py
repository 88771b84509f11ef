"""A small data folder and an input file for it, to be changed by the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

INPUT = """\
[BISPECTRUM]
numTypes = 2
twojmax = 6
type = W Be
wj = 1.0 0.9
[CALCULATOR]
stress = 0

[PATH]
dataPath = data

[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
Bulk = 0.7 0.3 100 1 1e-8
Liquid = 1.0 0.0 1 1 0
"""

WriteInput = Callable[..., Path]


@pytest.fixture(autouse=True)
def _optional_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks of settings do not depend on what is installed."""
    monkeypatch.setattr("fitsnap_nn.settings.training_checks.find_spec", lambda name: name)


@pytest.fixture
def write_input(tmp_path: Path) -> WriteInput:
    """A function that writes an input file beside the folders data/Bulk, data/Liquid and data/deep/Slab.

    Its arguments are pairs (old, new) of text to replace in `INPUT`, or one whole text.
    """
    for name in ("Bulk", "Liquid", "deep/Slab"):
        (tmp_path / "data" / name).mkdir(parents=True)

    def write(*changes: tuple[str, str], text: str = INPUT) -> Path:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "fit.in"
        path.write_bytes(text.encode())
        return path

    return write
