"""LAMMPS runs of the checks, within a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.errors import LammpsError, LammpsTimeoutError
from fitsnap_nn.lammps.cell import repeats, to_lammps
from fitsnap_nn.lammps.dynamics import MINIMIZE, Relaxed, Trajectory, relax, run_dynamics
from fitsnap_nn.lammps.evaluate import evaluate_in_lammps
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.program import Lammps

T = TypeVar("T")
PREFERRED = ("mliappy", "pace", "unified", "snap", "nn")  # formats, the fastest first
OVERRUN = 1.5  # of runs on a machine that has become slower
GRACE = 10.0  # s that a run gets at least


@dataclass
class Runner:
    """Runs LAMMPS with exported files until the time limit.

    Attributes:
        files: exported potential.
        lammps: executable.
        limit: seconds for all runs together.
        ranks: MPI ranks of molecular dynamics.
        model_format: format of the model.
        microseconds: measured time per atom and step on one rank, µs.
        startup: measured time until the first step, s.
    """

    files: LammpsFiles
    lammps: Lammps
    limit: float
    ranks: int = 1
    microseconds: float = 100.0
    startup: float = 1.0
    model_format: str = field(init=False)
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        found = [name for name in PREFERRED if name in self.files.models and name in self.lammps.formats]
        if not found:
            raise LammpsError(
                f"LAMMPS {self.lammps.version} runs no format of this model ({', '.join(self.files.models)}). "
                "Run `python -m fitsnap_nn doctor` for the reason."
            )
        self.model_format = found[0]
        self._started = time.monotonic()
        self.ranks = min(self.ranks, self.most_ranks)

    @property
    def most_ranks(self) -> int:
        """Number of ranks up to which the potential runs here; a large number if there is no limit."""
        several = self.lammps.launcher and not self.files.single_rank and self.files.atom_style != "spin"
        exchanges = self.lammps.plugin or self.model_format != "unified"
        return 10**6 if several and exchanges else 1

    @property
    def used(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds for the next run.

        Raises:
            LammpsTimeoutError: none are left.
        """
        if self.used >= self.limit:
            raise LammpsTimeoutError(f"the time limit of {self.limit:.0f} s was reached")
        return max(self.limit - self.used, GRACE)

    def evaluate(self, configurations: Sequence[Configuration], *, relaxed: bool = False) -> list[Evaluation]:
        """Return the evaluations of configurations; with ``relaxed``, after relaxing the atoms at constant cell."""
        before = ("min_modify dmax 0.05", MINIMIZE) if relaxed and max(map(len, configurations)) > 1 else ()
        found = evaluate_in_lammps(
            self.files, configurations, self.lammps, self.model_format, timeout=self.left, before=before
        )
        return [one for one in found if one is not None]

    def evaluate_each(
        self, lists: Sequence[Sequence[Configuration]], *, relaxed: bool = False
    ) -> list[list[Evaluation] | LammpsError]:
        """Return the evaluations of several lists; if LAMMPS fails for one of them, its error instead."""

        def evaluate(members: Sequence[Configuration]) -> list[Evaluation]:
            return self.evaluate(members, relaxed=relaxed) if members else []

        try:
            found = iter(evaluate([one for members in lists for one in members]))
            return [list(islice(found, len(members))) for members in lists]
        except LammpsTimeoutError:
            raise
        except LammpsError:
            return [_attempt(evaluate, members) for members in lists]

    def relax_each(self, structures: Sequence[Configuration], *, cell: bool) -> list[Relaxed | LammpsError]:
        """Return the relaxed structures; if LAMMPS fails for one of them, its error instead."""

        def run(members: Sequence[Configuration]) -> list[Relaxed]:
            return relax(self.files, members, self.lammps, self.model_format, cell=cell, timeout=self.left)

        try:
            return list(run(structures))
        except LammpsTimeoutError:
            raise
        except LammpsError:
            found = [_attempt(run, [one]) for one in structures]
            return [one if isinstance(one, LammpsError) else one[0] for one in found]

    def dynamics(
        self,
        structure: Configuration,
        atoms: int,
        *,
        temperature: float,
        timestep: float,
        steps: int,
        every: int,
        bath: float | None = None,
        ranks: int | None = None,
        share: float | None = None,
    ) -> Trajectory:
        """Run molecular dynamics of a structure that is replicated to about a number of atoms; see `run_dynamics`.

        Args:
            share: s, of the time limit. A run that takes ``OVERRUN`` times as long is stopped, to leave time to others.
        """
        most = self.left if share is None else min(self.left, OVERRUN * share + self.startup)
        return run_dynamics(
            self.files,
            structure,
            self.lammps,
            self.model_format,
            repeat=repeats(to_lammps(structure), atoms),
            temperature=temperature,
            bath=bath,
            timestep=timestep,
            steps=steps,
            every=every,
            ranks=ranks or self.ranks,
            timeout=max(most, GRACE),
        )


def _attempt(
    run: Callable[[Sequence[Configuration]], list[T]], members: Sequence[Configuration]
) -> list[T] | LammpsError:
    """Return the result of a run, or the error of LAMMPS; the time limit is raised."""
    try:
        return run(members)
    except LammpsTimeoutError:
        raise
    except LammpsError as error:
        return error


def message_of(error: LammpsError) -> str:
    """Return the error message of LAMMPS itself, on one line."""
    lines = str(error).splitlines()
    return next((line for line in lines if "ERROR" in line), lines[-1]).strip()
