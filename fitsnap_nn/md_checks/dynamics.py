"""Molecular dynamics: conservation of energy, a hot run, speed and memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import LammpsError, LammpsTimeoutError
from fitsnap_nn.lammps.cell import repeats, to_lammps
from fitsnap_nn.lammps.dynamics import Trajectory
from fitsnap_nn.md_checks.check import Check, Curve, Number, Verdict, judged
from fitsnap_nn.md_checks.dimers import shortest_distance
from fitsnap_nn.md_checks.references import KELVIN, References
from fitsnap_nn.md_checks.runner import Runner, message_of

NVE, NVE_TITLE = "nve", "Energy conservation (NVE)"
HOT, HOT_TITLE = "hot", "Hot run (NVT)"
SPEED, SPEED_TITLE = "speed", "Speed and memory"
FASTEST, SLOWEST = 0.002, 0.00025  # ps, limits of the time step
HYDROGEN = 1.008  # g/mol, for which the time step is 0.5 fs
ROOM = 300.0  # K
NVE_TIME, NVE_ATOMS = 10.0, 128  # ps, atoms
HOT_TIME, HOT_ATOMS = 5.0, 100
FEWEST_ATOMS, FEWEST_STEPS, RECORDS, FEWEST_RECORDS = 32, 200, 200, 20
SPEED_ATOMS = 1000
DRIFT = 0.05  # meV/atom/ps
RELEASED = 1.5  # mean temperature relative to that of equipartition, above which the structure has transformed
HOTTER = 2.0  # temperature of the hot run relative to the highest that the data suggest
RUNAWAY = 2.0  # temperature relative to that of the thermostat, beyond which energy comes from nowhere
CLOSE = 0.6  # distance relative to the shortest in the data, below which atoms fall into each other
COLLAPSE = 0.5  # eV/atom below the relaxed structure


class Plan(NamedTuple):
    """Size and length of a run; ``note`` says what was shortened."""

    atoms: int
    steps: int
    seconds: float
    note: str


def time_step(structure: Configuration) -> float:
    """Return a time step, ps, for the fastest vibrations, whose period grows with the root of the lightest mass."""
    lightest = min(float(atomic_masses[atomic_numbers[element]]) for element in set(structure.species))
    return min(max(0.0005 * math.sqrt(lightest / HYDROGEN), SLOWEST), FASTEST)


def plan(runner: Runner, structure: Configuration, atoms: int, time: float, step: float, share: float) -> Plan:
    """Return what fits into a share of the time limit: first the number of atoms is reduced, then the steps.

    Args:
        structure: replicated to about ``atoms``.
        time: wanted length, ps.
        step: time step, ps.
        share: s.
    """
    steps = wanted = round(time / step)
    cell = to_lammps(structure)

    def seconds(target: int) -> float:
        size = len(structure) * math.prod(repeats(cell, target))
        return 1e-6 * runner.microseconds / runner.ranks * size * steps

    chosen = atoms
    while seconds(chosen) > share and chosen > FEWEST_ATOMS:
        chosen = max(chosen // 2, FEWEST_ATOMS)
    if seconds(chosen) > share:
        steps = max(int(steps * share / seconds(chosen)), min(FEWEST_STEPS, wanted))
    note = f"Shortened from {time:g} to {steps * step:.2g} ps by the time limit." if steps < wanted else ""
    return Plan(chosen, steps, seconds(chosen), note)


def check_conservation(runner: Runner, structure: Configuration, share: float) -> Check:
    """Return whether the total energy drifts by less than ``DRIFT``, and the structure stays as it is at 300 K."""
    step = time_step(structure)
    planned = plan(runner, structure, NVE_ATOMS, NVE_TIME, step, share)
    every = max(planned.steps // RECORDS, 1)
    # Half of the kinetic energy becomes potential energy.
    found = runner.dynamics(
        structure, planned.atoms, temperature=2 * ROOM, timestep=step, steps=planned.steps, every=every, share=share
    )
    _require_records(found)
    faults = [*_stopped(found)]
    if not faults and not abs(found.drift) <= DRIFT:
        faults.append(f"the total energy drifts by {found.drift:.2g} meV/atom/ps, more than {DRIFT:g}")
    late = float(found.kelvin[len(found.kelvin) // 2 :].mean())
    if not faults and late > RELEASED * ROOM:
        faults.append(
            f"the temperature settles at {late:.0f} K instead of {ROOM:.0f} K: the relaxed structure is not stable, "
            "and its transformation heats it"
        )
    good = (
        f"the total energy drifts by {found.drift:.1g} meV/atom/ps (limit {DRIFT:g}) over {found.time[-1]:.3g} ps, "
        f"{found.atoms} atoms, time step {1e3 * step:.2g} fs"
    )
    numbers = (
        Number("drift of the total energy", found.drift, "meV/atom/ps", DRIFT),
        Number("RMS fluctuation of the total energy", 1e3 * float(found.total.std()), "meV/atom"),
        Number("mean temperature of the second half", late, "K", ROOM),
        Number("time step", 1e3 * step, "fs"),
    )
    curve = Curve("total energy", found.time, 1e3 * (found.total - found.total[0]))
    check = Check(
        NVE, NVE_TITLE, *judged(faults, good), numbers, (curve,), "time (ps)", "total energy from the start (meV/atom)"
    )
    return check.noting(planned.note).noting(_cut(found))


def check_hot(runner: Runner, structure: Configuration, references: References, share: float) -> Check:
    """Return whether a run far above the temperatures of the data keeps its atoms apart and its energy."""
    temperature = HOTTER * references.temperature
    step = time_step(structure) / 2
    planned = plan(runner, structure, HOT_ATOMS, HOT_TIME, step, share)
    every = max(planned.steps // RECORDS, 1)
    found = runner.dynamics(
        structure,
        planned.atoms,
        temperature=temperature,
        bath=temperature,
        timestep=step,
        steps=planned.steps,
        every=every,
        share=share,
    )
    _require_records(found)
    least = CLOSE * _shortest(structure, references)
    closest, rise = float(found.shortest.min()), float(found.potential[-1] - found.potential[0])
    faults = [*_stopped(found), *_hot_faults(found, temperature, least)]
    good = (
        f"{found.time[-1]:.2g} ps at {temperature:.0f} K, {HOTTER:g} times the highest temperature that the data "
        f"suggest: no atoms lost, none closer than {closest:.2f} Å ({found.atoms} atoms)"
    )
    numbers = (
        Number("temperature of the thermostat", temperature, "K"),
        Number("mean temperature", float(found.kelvin[len(found.kelvin) // 2 :].mean()), "K", temperature),
        Number("shortest distance", closest, "Å", least),
        Number("change of the potential energy", rise, "eV/atom", 1.5 * KELVIN * temperature),
    )
    curve = Curve("temperature", found.time, found.kelvin)
    check = Check(HOT, HOT_TITLE, *judged(faults, good), numbers, (curve,), "time (ps)", "temperature (K)")
    return check.noting(planned.note).noting(_cut(found))


def _hot_faults(found: Trajectory, temperature: float, least: float) -> Iterator[str]:
    hot = np.flatnonzero(~(found.kelvin <= RUNAWAY * temperature))
    if len(hot):
        yield (
            f"the temperature rises to {found.kelvin[hot[0]]:.0f} K after {found.time[hot[0]]:.2g} ps with a "
            f"thermostat at {temperature:.0f} K"
        )
    near = np.flatnonzero(found.shortest < least)
    if len(near):
        yield (
            f"two atoms come within {found.shortest.min():.2f} Å, less than {CLOSE:g} times the shortest distance in "
            f"the data, first after {found.time[near[0]]:.2g} ps at {temperature:.0f} K"
        )
    fall = float(found.potential[0] - found.potential.min())
    if not fall <= COLLAPSE:
        yield f"the potential energy falls {fall:.2g} eV/atom below that of the relaxed structure: atoms collapse"


def check_speed(runner: Runner, structure: Configuration, share: float) -> Check:
    """Measure the speed of molecular dynamics on one and two ranks, and the memory per rank."""
    step = time_step(structure)
    cores = len(os.sched_getaffinity(0))
    most = SPEED_ATOMS if any(structure.pbc) else len(structure)
    size = len(structure) * math.prod(repeats(to_lammps(structure), most))
    while size > FEWEST_ATOMS and 20 * 1e-6 * runner.microseconds * size > share and any(structure.pbc):
        most //= 2
        size = len(structure) * math.prod(repeats(to_lammps(structure), most))
        if most <= FEWEST_ATOMS:
            break
    steps = int(min(max(share / (1e-6 * runner.microseconds * size), 10), 1000))
    numbers: list[Number] = []
    parts, remark = [], ""
    for ranks in (1, 2):
        if ranks > min(runner.most_ranks, cores):
            remark = f"Two ranks were not run: {_one_rank_only(runner)}."
            break
        found = runner.dynamics(structure, most, temperature=ROOM, timestep=step, steps=steps, every=steps, ranks=ranks)
        if found.error:
            raise (LammpsTimeoutError if found.timed_out else LammpsError)(found.error)
        name = f"{ranks} rank{'s' if ranks > 1 else ''}"
        numbers.append(Number(f"time per atom and step, {name}", found.microseconds, "µs"))
        numbers.append(Number(f"memory per rank, {name}", found.memory, "MB"))
        parts.append(f"{found.microseconds:.3g} µs per atom and step on {name} ({found.memory:.0f} MB each)")
    day = 86400 / (1e-6 * numbers[0].value * 1000) * step / 1000
    numbers.append(Number(f"simulated time per day, 1000 atoms, 1 rank, step {1e3 * step:.2g} fs", day, "ns"))
    numbers += [Number("atoms", float(size), ""), Number("cores of this machine", float(cores), "")]
    text = f"{', '.join(parts)}; {size} atoms, format {runner.model_format}, {cores} cores."
    return Check(SPEED, SPEED_TITLE, Verdict.PASS, text, tuple(numbers)).noting(remark)


def probe(runner: Runner, structure: Configuration) -> None:
    """Measure how long a step takes, and the start of LAMMPS, for plans; a failure is left to the checks."""
    before = runner.used
    try:
        found = runner.dynamics(structure, NVE_ATOMS, temperature=ROOM, timestep=SLOWEST, steps=20, every=10, ranks=1)
    except LammpsError:
        return
    if math.isfinite(found.microseconds):
        runner.microseconds = found.microseconds
        runner.startup = max(runner.used - before - 20e-6 * found.microseconds * found.atoms, 0.1)


def _one_rank_only(runner: Runner) -> str:
    if runner.most_ranks == 1:
        return runner.files.single_rank or "this LAMMPS runs the potential on one rank only"
    return "this machine has one core"


def _shortest(structure: Configuration, references: References) -> float:
    """Return the shortest distance in the data, Å, of the elements of a structure."""
    elements = [element for element in references.elements if element in structure.species]
    return min(shortest_distance(pair, references) for pair in combinations_with_replacement(elements, 2))


def _require_records(found: Trajectory) -> None:
    """Refuse to judge a run that the time limit has stopped almost at once.

    Raises:
        LammpsTimeoutError: there are too few records.
    """
    if found.timed_out and len(found.time) < FEWEST_RECORDS:
        raise LammpsTimeoutError(found.error)


def _stopped(found: Trajectory) -> Iterator[str]:
    if found.error and not found.timed_out:
        yield f"LAMMPS stopped after {found.time[-1]:.2g} ps: {message_of(LammpsError(found.error))}"


def _cut(found: Trajectory) -> str:
    return f"Stopped by the time limit after {found.time[-1]:.2g} ps." if found.timed_out else ""
