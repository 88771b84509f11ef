"""Where things are that tests of several folders need."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "Ta_BPNN"
SAMPLES = ROOT / "tests" / "data" / "samples"  # small data sets, written by generate.py there


class DataSet(NamedTuple):
    """A folder of groups in FitSNAP's JSON, and what is known of it without our readers.

    Attributes:
        training: configurations for training if 0.7 of each group are asked for.
        rotated: configurations whose cell is not in the frame that LAMMPS needs.
    """

    folder: Path
    configurations: int
    atoms: int
    training: int = 0
    rotated: int = 0
