"""Fits of equations of state and elastic constants, and the verdicts on curves."""

from __future__ import annotations

import numpy as np
import pytest

from fitsnap_nn.md_checks.crystal_checks import _shape_faults
from fitsnap_nn.md_checks.crystals import constants_from_stresses, cubic, equation_of_state, is_cubic
from fitsnap_nn.md_checks.dimers import _faults
from fitsnap_nn.units import GPA


def birch_murnaghan(volume: np.ndarray, v0: float, b0: float, slope: float) -> np.ndarray:  # type: ignore[type-arg]
    x = (v0 / volume) ** (2 / 3)
    energy = 9 * v0 * b0 * GPA / 16 * ((x - 1) ** 3 * slope + (x - 1) ** 2 * (6 - 4 * x))
    return np.asarray(energy)


def test_equation_of_state_is_recovered() -> None:
    volumes = np.linspace(15.0, 20.0, 11)
    found = equation_of_state(volumes, birch_murnaghan(volumes, 17.3, 190.0, 4.5) - 8.0)
    assert found is not None
    assert (found.volume, found.bulk_modulus) == pytest.approx((17.3, 190.0), rel=1e-9)
    assert equation_of_state(volumes, volumes) is None  # without a minimum
    assert equation_of_state(volumes[:4], birch_murnaghan(volumes[:4], 15.7, 190.0, 4.5)) is None


def test_elastic_constants_are_recovered_from_strained_cells() -> None:
    constants = np.zeros((6, 6))
    constants[:3, :3] = 157.0
    np.fill_diagonal(constants, [263.0, 263.0, 263.0, 82.0, 82.0, 82.0])
    strains = np.random.default_rng(1).uniform(-0.02, 0.02, (20, 6))
    stresses = (strains @ constants + 3.0) * GPA
    found = constants_from_stresses(strains, stresses)
    assert found is not None
    assert found == pytest.approx(constants)
    assert is_cubic(found)
    assert cubic(found) == pytest.approx(constants)
    assert constants_from_stresses(strains[:11], stresses[:11]) is None
    scaled = np.outer(np.linspace(-0.02, 0.02, 20), [1, 1, 1, 0, 0, 0])  # determine the bulk modulus only
    assert constants_from_stresses(scaled, scaled @ constants * GPA) is None


def test_stable_means_positive_definite() -> None:
    assert np.linalg.eigvalsh(cubic(np.diag([100.0, 100, 100, 50, 50, 50])))[0] > 0
    unstable = np.diag([100.0, 100, 100, 50, 50, 50])
    unstable[:3, :3] += 120 * (1 - np.eye(3))  # C11 < C12
    assert np.linalg.eigvalsh(unstable)[0] == pytest.approx(-20)


def test_second_minima_and_missing_ones_are_faults() -> None:
    volumes = np.linspace(14.0, 20.0, 13)
    good = 0.05 * (volumes - 17.0) ** 2
    assert list(_shape_faults(volumes, good)) == []
    bump = good.copy()
    bump[1] -= 0.3
    (fault,) = _shape_faults(volumes, bump)
    assert "second minimum under compression" in fault
    (fault,) = _shape_faults(volumes, -volumes)
    assert "no minimum" in fault


@pytest.mark.parametrize(
    ("energy", "expected"),
    [
        (lambda r: 40 * np.exp(-3 * (r - 1.2)), []),
        # Attractive above 2.2 Å as bonds are, and repulsive below.
        (lambda r: 200 * np.exp(-3 * (r - 1.2)) - 3 * np.exp(-((r - 2.3) ** 2)), []),
        (lambda r: 40 * np.exp(-3 * (r - 1.2)) - 30 * np.exp(-(((r - 1.7) / 0.2) ** 2)), ["hole at short distance"]),
        (lambda r: 2.0 - r, ["repels by"]),
        (lambda r: -0.1 / r**9 * 300, ["hole at short distance"]),
        (lambda r: np.where(r > 1.6, 40 * (2.2 - r), -100.0), []),  # behind a wall of 24 eV
    ],
)
def test_holes_of_dimers(energy: object, expected: list[str]) -> None:
    assert callable(energy)
    r = np.geomspace(3.4, 1.19, 40)
    found = list(_faults("Ta-Ta", r, energy(r), 2.2, 2.2))
    assert len(found) == len(expected)
    for text, fault in zip(expected, found, strict=True):
        assert text in fault


def test_bonds_that_the_data_do_not_have_are_no_holes() -> None:
    """The shortest distance of the data is 3.2 Å, no bond is below 2.0 Å: between them 5 eV is a bond, 60 eV is not."""
    r = np.geomspace(3.4, 1.19, 40)
    core = 400 * np.exp(-4 * (r - 1.2))
    for depth, count in ((5.0, 0), (60.0, 1)):
        found = list(_faults("Ta-Ta", r, core - depth * np.exp(-(((r - 2.5) / 0.3) ** 2)), 3.2, 2.0))
        assert len(found) == count
        assert all("deeper than any bond" in fault for fault in found)
