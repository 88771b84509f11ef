"""Many runs of LAMMPS made as one: starting it, and torch in it, costs more than most of the runs."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.lammps_files import LammpsFiles
from fitsnap_nn.lammps.evaluate import evaluate_in_lammps
from fitsnap_nn.lammps.program import Lammps

Runs = dict[tuple[tuple[str, ...], int], list[str]]


class Postponed(Exception):
    """The run has been noted, and is made with others."""


@dataclass(frozen=True)
class Noting(Lammps):
    """A LAMMPS that makes no runs, and copies their folders into one folder.

    Attributes:
        runs: names of folders, by the arguments and the number of ranks of the run.
    """

    store: Path = Path()
    runs: Runs = field(default_factory=dict, compare=False)

    def run(self, arguments: Sequence[str], folder: Path, ranks: int = 1, timeout: float = 600) -> str:
        name = digest(arguments, folder, ranks)
        shutil.copytree(folder, self.store / name, dirs_exist_ok=True)
        self.runs.setdefault((tuple(arguments), ranks), []).append(name)
        raise Postponed


@dataclass(frozen=True)
class Made(Lammps):
    """A LAMMPS that has made runs already; others it makes when it is asked for them.

    Attributes:
        outputs: what was printed, by the names of folders.
    """

    store: Path = Path()
    outputs: Mapping[str, str] = field(default_factory=dict, compare=False)

    def run(self, arguments: Sequence[str], folder: Path, ranks: int = 1, timeout: float = 600) -> str:
        name = digest(arguments, folder, ranks)
        if name not in self.outputs:
            return super().run(arguments, folder, ranks, timeout)
        shutil.copytree(self.store / name, folder, dirs_exist_ok=True)
        return self.outputs[name]


def digest(arguments: Sequence[str], folder: Path, ranks: int) -> str:
    """A name for a run, the same for the same input."""
    found = hashlib.sha256(repr((list(arguments), ranks)).encode())
    for path in sorted(folder.iterdir()):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]


def run_together(
    lammps: Lammps, store: Path, cases: Iterable[tuple[LammpsFiles, Sequence[Configuration], Sequence[int]]]
) -> Lammps:
    """A LAMMPS that has evaluated exported files in every format, those of the same format and ranks in one run.

    Args:
        store: an empty folder.
        cases: files, the configurations, and the numbers of ranks.
    """
    noting = Noting(**vars(lammps), store=store)
    for files, configurations, counts in cases:
        for name in lammps.formats:
            for ranks in counts if name in files.models else ():
                with suppress(Postponed):
                    evaluate_in_lammps(files, configurations, noting, name, ranks=ranks)
    outputs: dict[str, str] = {}
    for (arguments, ranks), names in noting.runs.items():
        lines = [line for name in names for line in (f"shell cd {name}", "include in.run", "shell cd ..")]
        (store / "in.run").write_text("\n".join(lines) + "\n")
        # If it fails, each case is run on its own, so that the one that fails is named.
        with suppress(LammpsError):
            outputs |= dict.fromkeys(names, lammps.run(arguments, store, ranks))
    return Made(**vars(lammps), store=store, outputs=outputs)
