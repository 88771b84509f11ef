"""Several command lines of fitsnap_nn, one after the other, on the ranks that start this: torch is imported once.

mpirun -np 2 python rank_jobs.py jobs.json      a list of lists of arguments
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from small_fit import without_plots

from fitsnap_nn.cli import main

for arguments in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    with without_plots():
        status = main(arguments)
    if status:
        raise SystemExit(status)
