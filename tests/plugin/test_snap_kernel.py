"""The SNAP kernel against LAMMPS' own, for all options and on every instruction set; finite differences of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.inputs.snap import Environments, SnapKernel, find_environments
from fitsnap_nn.inputs.snap.bispectrum import largest_cutoff, pair_cutoffs, snap_arguments
from fitsnap_nn.lammps.session import ARRAY, open_lammps
from fitsnap_nn.settings.schema import Bispectrum

ONE = Bispectrum(type=("Ta",), twojmax=(5,), rcutfac=4.2, radelem=(0.5,), wj=(1.0,))
TWO = Bispectrum(num_types=2, type=("In", "P"), twojmax=(5,), rcutfac=1.05, radelem=(2.0, 1.7), wj=(1.0, 0.8))
THREE = Bispectrum(
    num_types=3, type=("Ti", "O", "H"), twojmax=(4,), rcutfac=1.0, radelem=(2.0, 1.7, 2.3), wj=(1.0, 0.8, -0.4)
)
INNER = {"switchinnerflag": True, "sinner": (2.6, 2.2, 2.4), "dinner": (0.9, 0.7, 0.5)}
CHEM = {"chemflag": True, "twojmax": (3,)}
OPTIONS: dict[str, dict[str, Any]] = {
    "rfac0": {"rfac0": 0.9},
    "rmin0": {"rmin0": 0.4},
    "negative rmin0": {"rmin0": -0.3},
    "rmin0 beyond atoms": {"rmin0": 1.8},
    "no switch": {"switchflag": False},
    "no switch, rmin0": {"switchflag": False, "rmin0": 0.5},
    "bzero": {"bzeroflag": True},
    "bnorm": {"bnormflag": True},
    "bzero, bnorm": {"bzeroflag": True, "bnormflag": True},
    "wselfall": {"wselfallflag": True},
    "inner switch": INNER,
    "all": {"bzeroflag": True, "bnormflag": True, "wselfallflag": True, "rmin0": 0.3, "rfac0": 0.95, **INNER},
}
CASES = {
    **{f"one element, twojmax {twojmax}": replace(ONE, twojmax=(twojmax,)) for twojmax in range(11)},
    **{f"two elements, twojmax {twojmax}": replace(TWO, twojmax=(twojmax,)) for twojmax in (3, 4, 8)},
    "one element, chem": replace(ONE, chemflag=True),
    "two elements, chem": replace(TWO, chemflag=True),
    **{f"three elements, {name}": replace(THREE, **changes) for name, changes in OPTIONS.items()},
    **{f"three elements, chem, {name}": replace(THREE, **CHEM, **changes) for name, changes in OPTIONS.items()},
}


def instruction_sets() -> list[str]:
    """Those of this processor; one that stands for all where the kernel has not been built."""
    found = []
    for name in ("sse2", "avx2", "avx512", "generic"):
        try:
            found.append(SnapKernel(ONE, name).instruction_set)
        except ValueError:
            continue
        except LammpsError:
            return [""]
    return found


@pytest.fixture(autouse=True, scope="module")
def _built() -> None:
    try:
        SnapKernel(ONE)
    except LammpsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def oracle() -> Iterator[Any]:
    instance = open_lammps()
    yield instance
    instance.close()


def scattered(bispectrum: Bispectrum, count: int = 14, seed: int = 3) -> Configuration:
    """Atoms at random, not closer than 1.6 Å, without periodic boundaries."""
    rng = np.random.default_rng(seed)
    positions: list[np.ndarray] = []
    while len(positions) < count:
        trial = rng.random(3) * 6.0
        if all(np.linalg.norm(trial - other) > 1.6 for other in positions):
            positions.append(trial)
    species = tuple(bispectrum.type[k % len(bispectrum.type)] for k in range(count))
    return Configuration("cluster", "", species, np.array(positions), np.eye(3), (False, False, False))


def by_lammps(lammps: Any, configuration: Configuration, bispectrum: Bispectrum) -> tuple[np.ndarray, np.ndarray]:
    """(N, n) components and (N, N, 3, n) dB_i/dR_j, by compute snap with its arguments."""
    count, reach = len(configuration), largest_cutoff(bispectrum)
    lammps.commands_string(
        "clear\natom_modify map array sort 0 0\nunits metal\nboundary f f f\nregion r block -9 16 -9 16 -9 16\n"
        f"create_box {len(bispectrum.type)} r\nmass * 1\npair_style zero {reach} nocoeff\npair_coeff * *"
    )
    types = [1 + bispectrum.type.index(symbol) for symbol in configuration.species]
    lammps.create_atoms(count, list(range(1, count + 1)), types, configuration.positions.ravel().tolist())
    lammps.commands_string(
        f"compute s all snap {snap_arguments(bispectrum)} bikflag 1 dgradflag 1\n"
        "thermo_style custom step c_s[1][1]\nneighbor 0.01 nsq\nrun 0 post no"
    )
    array = np.array(lammps.numpy.extract_compute("s", 0, ARRAY))[:, 3:]
    dense = -array[count : count + 3 * count**2].reshape(count, count, 3, -1)
    return array[:count], dense.swapaxes(0, 1)


def dense_gradients(environments: Environments, gradients: np.ndarray) -> np.ndarray:
    """(N, N, 3, n) dB_i/dR_j of a cluster, where each neighbour is another atom."""
    count = len(environments.elements)
    dense = np.zeros((count, count, *gradients.shape[1:]))
    dense[environments.i, environments.j] = gradients
    dense[range(count), range(count)] = -dense.sum(axis=1)
    return dense


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-12) -> None:
    """Relative to the largest; of a component or a direction that is all but zero nothing more is asked."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max() + 1e-14)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("instruction_set", instruction_sets())
@pytest.mark.parametrize("case", CASES)
def test_components_and_derivatives_are_those_of_lammps(case, instruction_set, oracle):
    bispectrum = CASES[case]
    configuration = scattered(bispectrum)
    kernel = SnapKernel(bispectrum, instruction_set)
    environments = find_environments([configuration], bispectrum)
    components, gradients = by_lammps(oracle, configuration, bispectrum)
    found = kernel.gradients(environments)
    assert kernel.n_components == components.shape[1]
    assert_close(kernel.components(environments), components)
    assert_close(dense_gradients(environments, found), gradients)

    beta = np.random.default_rng(0).normal(size=components.shape)
    assert_close(kernel.forces(environments, beta), np.einsum("pxk,pk->px", found, beta[environments.i]))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("case", ["two elements, chem", "three elements, all", "three elements, chem, no switch"])
def test_forces_are_the_slope_of_the_energy(case):
    bispectrum = CASES[case]
    kernel = SnapKernel(bispectrum)
    environments = find_environments([scattered(bispectrum)], bispectrum)
    beta = np.random.default_rng(1).normal(size=kernel.components(environments).shape)
    forces = kernel.forces(environments, beta)
    step = 1e-5
    for pair in range(0, len(forces), 17):
        for axis in range(3):
            energies = []
            for distance in (-step, step):
                vectors = environments.vectors.copy()
                vectors[pair, axis] += distance
                energies.append((beta * kernel.components(environments._replace(vectors=vectors))).sum())
            slope = (energies[1] - energies[0]) / (2 * step)
            assert forces[pair, axis] == pytest.approx(slope, rel=1e-6, abs=1e-7 * np.abs(forces).max())


@pytest.mark.timeout(20)
@pytest.mark.parametrize("instruction_set", instruction_sets())
def test_rounding_does_not_depend_on_the_company(instruction_set):
    """Atoms without neighbours, with few and with many share the lanes; each has the numbers it has alone."""
    clusters = [scattered(THREE, count, seed=count) for count in (1, 2, 14, 3, 1, 9, 5)]
    kernel = SnapKernel(THREE, instruction_set)
    together = find_environments(clusters, THREE)
    components, gradients = kernel.components(together), kernel.gradients(together)
    forces = kernel.forces(together, np.cos(components))
    atom = pair = 0
    for cluster in clusters:
        alone = find_environments([cluster], THREE)
        atoms, pairs = slice(atom, atom + len(cluster)), slice(pair, pair + len(alone.vectors))
        np.testing.assert_array_equal(kernel.components(alone), components[atoms])
        np.testing.assert_array_equal(kernel.gradients(alone), gradients[pairs])
        np.testing.assert_array_equal(kernel.forces(alone, np.cos(components[atoms])), forces[pairs])
        atom, pair = atoms.stop, pairs.stop
    assert atom == len(components)
    assert pair == len(gradients)


def test_neighbours_beyond_the_cutoff_count_for_nothing():
    configuration = scattered(TWO)
    kernel = SnapKernel(TWO)
    near = find_environments([configuration], TWO)
    wide = find_environments([configuration], replace(TWO, radelem=(2.6, 2.6)))
    lengths = np.linalg.norm(wide.vectors, axis=1)
    cutoffs = pair_cutoffs(TWO)[wide.elements[wide.i], wide.neighbour_elements]
    beyond = lengths > cutoffs
    assert len(near.vectors) == np.count_nonzero(~beyond) < len(wide.vectors)
    assert_close(kernel.components(wide), kernel.components(near))
    assert_close(dense_gradients(wide, kernel.gradients(wide)), dense_gradients(near, kernel.gradients(near)))
    assert not kernel.gradients(wide)[beyond].any()


def test_a_lone_atom_has_its_own_density_only(oracle):
    lone = scattered(ONE, count=1)
    for bispectrum in (ONE, replace(ONE, bzeroflag=True), replace(ONE, bnormflag=True)):
        kernel = SnapKernel(bispectrum)
        environments = find_environments([lone], bispectrum)
        assert_close(kernel.components(environments), by_lammps(oracle, lone, bispectrum)[0])
        assert kernel.gradients(environments).shape == (0, 3, kernel.n_components)
        assert kernel.forces(environments, np.ones((1, kernel.n_components))).shape == (0, 3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rcutfac": 0.0}, "rcutfac"),
        ({"wj": (1.0,)}, "1 values for 2 elements"),
        ({"switchinnerflag": True}, "1 values for 2 elements"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        SnapKernel(replace(TWO, **changes))


def test_an_unknown_instruction_set_and_a_wrong_beta_are_refused():
    with pytest.raises(ValueError, match="mmx"):
        SnapKernel(ONE, "mmx")
    kernel = SnapKernel(ONE)
    environments = find_environments([scattered(ONE)], ONE)
    with pytest.raises(ValueError, match=r"beta is \(14, 1\)"):
        kernel.forces(environments, np.zeros((14, 1)))
