"""All checks of a potential, within a time limit, and their report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import LammpsError, LammpsTimeoutError, counted
from fitsnap_nn.files import write_text
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.program import Lammps, find_lammps
from fitsnap_nn.md_checks import crystal_checks, defects, dimers, dynamics
from fitsnap_nn.md_checks.check import Check, Verdict
from fitsnap_nn.md_checks.crystals import Crystal, relaxed_crystals
from fitsnap_nn.md_checks.references import MAX_CRYSTALS, References, vacuum_directions
from fitsnap_nn.md_checks.runner import Runner

TIME = 180.0  # s, default limit of all checks
# Shares of the time for molecular dynamics: energy conservation, the hot run, each of two measurements of the speed.
NVE_SHARE, HOT_SHARE, SPEED_SHARE = 0.5, 0.34, 0.08
SPEED_TIME = 5.0  # s, enough for each measurement of the speed
STATIC_SHARE = 0.4  # of the limit, for the relaxed crystals
LEAST_SHARE = 0.2  # of the limit, for molecular dynamics however slow the rest is
STARTS = 10  # of LAMMPS, besides molecular dynamics
EVALUATIONS = 600  # evaluations per crystal: of strained cells, and in relaxations

ALONE = "not run: the data contain isolated atoms only."
SPINS = "not run: the checks have no dynamics of spins; see in.md for a run with them."

Say = Callable[[str], None]


@dataclass(frozen=True)
class Checks:
    """Results of all checks.

    Attributes:
        model: name of the model.
        checks: the checks, in the order in which they were run.
        date: ISO 8601.
        cut_off: titles of the checks that the time limit left no time for.
    """

    model: str
    checks: tuple[Check, ...]
    date: str
    cut_off: tuple[str, ...] = ()

    @property
    def failed(self) -> list[Check]:
        """Checks with the verdict fail."""
        return [one for one in self.checks if one.verdict is Verdict.FAIL]

    def write(self, path: Path) -> None:
        """Write ``md_checks.json``."""
        content = {"model": self.model, "date": self.date, "checks": [one.plain() for one in self.checks]}
        write_text(path, json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n")

    def __str__(self) -> str:
        counts = {verdict: sum(one.verdict is verdict for one in self.checks) for verdict in Verdict}
        return (
            f"{counts[Verdict.PASS]} pass, {counts[Verdict.FAIL]} fail, {counts[Verdict.NOT_RUN]} not run: what each "
            "means, and the reasons for its limits: docs/md_checks.md"
        )


def run_checks(
    files: LammpsFiles,
    configurations: Sequence[Configuration],
    *,
    name: str,
    say: Say,
    lammps: Lammps | None = None,
    limit: float = TIME,
    ranks: int = 1,
) -> Checks:
    """Run all checks of an exported potential in LAMMPS.

    Args:
        files: exported potential.
        configurations: data from which structures are chosen; labels may be missing.
        name: of the model, for the report.
        say: prints a line.
        lammps: executable; ``None`` for the result of `find_lammps`.
        limit: seconds for all checks, on one core; sizes and lengths of runs follow from it.
        ranks: MPI ranks of molecular dynamics.

    Raises:
        LammpsError: LAMMPS cannot run the potential at all.
    """
    runner = Runner(files, lammps or find_lammps(), limit, ranks)
    suite = _Suite(runner, References(configurations, files.elements), say)
    suite.run()
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Checks(name, tuple(suite.checks), date, tuple(suite.cut_off))


class _Suite:
    """The checks one after the other; each reports as soon as it has its verdict."""

    def __init__(self, runner: Runner, references: References, say: Say) -> None:
        self._runner = runner
        self._references = references
        self._say = say
        self.checks: list[Check] = []
        self.cut_off: list[str] = []

    def run(self) -> None:
        runner, references = self._runner, self._references
        start = self._start()
        reason = SPINS if runner.files.atom_style == "spin" else "" if _moves(start) else ALONE
        if not reason:
            dynamics.probe(runner, start)
        most, time = self._greet(start)
        self._add(dimers.NAME, dimers.TITLE, lambda: dimers.check_dimers(runner, references))

        @cache
        def crystals() -> list[Crystal]:
            return relaxed_crystals(runner, references, most)

        self._add(
            crystal_checks.VOLUME,
            crystal_checks.VOLUME_TITLE,
            lambda: crystal_checks.check_volumes(runner, crystals(), references),
        )
        self._add(
            crystal_checks.ELASTIC,
            crystal_checks.ELASTIC_TITLE,
            lambda: crystal_checks.check_elastic(runner, crystals(), references),
        )
        self._add(defects.NAME, defects.TITLE, lambda: defects.check_defects(runner, references))
        structure = self._structure(start, crystals)
        nve, hot, speed = NVE_SHARE * time, HOT_SHARE * time, min(SPEED_SHARE * time, SPEED_TIME)
        moving: dict[tuple[str, str], Callable[[], Check]] = {
            (dynamics.NVE, dynamics.NVE_TITLE): lambda: dynamics.check_conservation(runner, structure, nve),
            (dynamics.HOT, dynamics.HOT_TITLE): lambda: dynamics.check_hot(runner, structure, references, hot),
            (dynamics.SPEED, dynamics.SPEED_TITLE): lambda: dynamics.check_speed(runner, structure, speed),
        }
        for (name, title), run in moving.items():
            if reason:
                self._report(Check(name, title, Verdict.NOT_RUN, reason), 0.0)
            else:
                self._add(name, title, run)

    def _start(self) -> Configuration:
        """Return the structure of the data for molecular dynamics: a crystal, a molecule, or anything else."""
        references = self._references
        crystals = [one for one in references.crystals if references.above(one) == 0.0]
        if crystals:
            return max(crystals, key=lambda one: (len(set(one.species)), -len(one)))
        return references.molecule or min(
            references.configurations, key=lambda one: (not _moves(one), references.above(one))
        )

    def _structure(self, start: Configuration, crystals: Callable[[], list[Crystal]]) -> Configuration:
        """Return the relaxed initial structure; the one of the data if it cannot be relaxed."""
        try:
            for crystal in crystals():
                if crystal.data is start and crystal.relaxed is not None:
                    return crystal.relaxed
            (found,) = self._runner.relax_each([start], cell=False)
        except LammpsTimeoutError:
            return start
        return start if isinstance(found, LammpsError) else found.structure

    def _greet(self, start: Configuration) -> tuple[int, float]:
        """Print how long the checks will take; return the number of crystals, and the seconds of molecular dynamics."""
        runner, limit = self._runner, self._runner.limit
        candidates = self._references.crystals
        per_crystal = [1e-6 * runner.microseconds * len(one) * EVALUATIONS for one in candidates]
        most = 1
        while most < min(MAX_CRYSTALS, len(candidates)) and sum(per_crystal[: most + 1]) < STATIC_SHARE * limit:
            most += 1
        others = runner.used + sum(per_crystal[:most]) + STARTS * runner.startup
        time = max(limit - others, LEAST_SHARE * limit)
        step = dynamics.time_step(start)
        nve = dynamics.plan(runner, start, dynamics.NVE_ATOMS, dynamics.NVE_TIME, step, NVE_SHARE * time)
        hot = dynamics.plan(runner, start, dynamics.HOT_ATOMS, dynamics.HOT_TIME, step / 2, HOT_SHARE * time)
        expected = others + nve.seconds + hot.seconds + 2 * min(SPEED_SHARE * time, SPEED_TIME)
        times = f"about {expected:.0f} s, at most about {limit:.0f} s"
        if expected > limit:
            times = f"about {expected:.0f} s, of which the time limit allows {limit:.0f} s"
        self._say(
            f"MD checks in LAMMPS {runner.lammps.version}, model {runner.model_format}, "
            f"{counted(runner.ranks, 'rank')}: {runner.microseconds:.3g} µs per atom and step; {times}"
        )
        if most < min(MAX_CRYSTALS, len(candidates)):
            self._say(f"  note: {most} of {len(candidates)} crystals of the data, because of the time limit")
        return most, time

    def _add(self, name: str, title: str, run: Callable[[], Check]) -> None:
        """Run a check and print its verdict; an error of LAMMPS is a fault of the potential, the time limit is not."""
        before = self._runner.used
        try:
            check = run()
        except LammpsTimeoutError:
            text = f"not run: the time limit of {self._runner.limit:.0f} s was reached; a larger --time allows more"
            check = Check(name, title, Verdict.NOT_RUN, f"{text}.")
            self.cut_off.append(title)
        except LammpsError as error:
            check = Check(name, title, Verdict.FAIL, f"LAMMPS stopped: {' '.join(str(error).split())[:300]}")
        self._report(check, self._runner.used - before)

    def _report(self, check: Check, seconds: float) -> None:
        self.checks.append(check)
        self._say(f"  {check.verdict.value.upper():8} {check.title} ({seconds:.0f} s): {check.summary}")


def _moves(structure: Configuration) -> bool:
    """Return whether a structure, replicated where it is periodic, has atoms that interact."""
    return len(structure) > 1 or not all(vacuum_directions(structure))
