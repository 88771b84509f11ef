"""Where things are that tests of several folders need."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "Ta_BPNN"
SHARED = ROOT.parent / "shared"  # real data sets and programs to compare with, where they are at hand
