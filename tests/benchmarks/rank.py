"""fitsnap_nn as one rank, which leaves its CPU seconds in a file: python rank.py FOLDER ARGUMENTS, FOLDER/cpu_RANK."""

from __future__ import annotations

import atexit
import os
import sys
import time
from pathlib import Path

from fitsnap_nn.cli import main

RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")


def leave(folder: Path) -> None:
    """Write the CPU seconds of this process so far."""
    rank = next((os.environ[name] for name in RANK_VARIABLES if name in os.environ), "0")
    (folder / f"cpu_{rank}").write_text(str(time.process_time()), encoding="utf-8")


if __name__ == "__main__":
    atexit.register(leave, Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
