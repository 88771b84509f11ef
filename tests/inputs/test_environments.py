"""Descriptors from Python as users call them: environments of many configurations, and what becomes of gradients."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from clusters import displaced, finite_difference, make_configuration, strained

import fitsnap_nn.inputs.snap
from fitsnap_nn.errors import DataError
from fitsnap_nn.inputs.snap import SnapKernel, find_environments, gradients_wrt_positions, gradients_wrt_strain
from fitsnap_nn.settings.schema import Bispectrum

SNAP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(4,), rcutfac=1.1, wj=(1.0, 0.8), radelem=(2.0, 1.7))
SKEWED = [[4.1, 0.3, -0.6], [1.0, 4.4, 0.5], [-0.7, 0.9, 4.6]]
THREE = [[0.05, 0.1, 0.0], [0.52, 0.45, 0.61], [0.9, 0.55, 0.2]]
SMALL = make_configuration(SKEWED, THREE, ("In", "P", "In"), name="small")
SLAB = make_configuration(SKEWED, THREE, ("P", "P", "In"), (True, False, True), name="slab")
LONE = make_configuration(np.eye(3) * 30.0, THREE[:1], ("P",), name="lone")


@pytest.fixture
def kernel(kernel_is_built) -> SnapKernel:
    return SnapKernel(SNAP)


def test_environments_are_those_of_each_configuration_in_turn():
    together = find_environments([SMALL, LONE, SLAB], SNAP)
    assert together.elements.tolist() == [0, 1, 0, 1, 1, 1, 0]
    assert together.first[0] == 0
    assert together.first[-1] == len(together.i) == len(together.vectors)
    atom = 0
    for configuration in (SMALL, LONE, SLAB):
        alone = find_environments([configuration], SNAP)
        pairs = slice(together.first[atom], together.first[atom + len(configuration)])
        np.testing.assert_array_equal(together.i[pairs], alone.i + atom)
        np.testing.assert_array_equal(together.j[pairs], alone.j + atom)
        np.testing.assert_array_equal(together.vectors[pairs], alone.vectors)
        atom += len(configuration)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_parts_make_the_whole(size):
    whole = find_environments([SMALL, LONE, SLAB], SNAP)
    parts = list(whole.blocks(size))
    assert all(len(part.elements) <= size for part in parts)
    assert all(part.first[0] == 0 and part.first[-1] == len(part.i) for part in parts)
    for name in ("elements", "neighbour_elements", "i", "j", "vectors"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))
    np.testing.assert_array_equal(np.concatenate([np.diff(part.first) for part in parts]), np.diff(whole.first))


@pytest.mark.parametrize("configuration", [SMALL, SLAB], ids=["small", "slab"])
def test_gradients_by_atoms_and_by_strain_are_slopes(configuration, kernel):
    def components(changed):
        return kernel.components(find_environments([changed], SNAP))

    environments = find_environments([configuration], SNAP)
    gradients = kernel.gradients(environments)
    pair_i, pair_j, by_positions = gradients_wrt_positions(environments, gradients)
    dense = np.zeros((3, 3, 3, kernel.n_components))
    dense[pair_i, pair_j] = by_positions
    scale = np.abs(dense).max()
    for atom in range(3):
        for axis in range(3):
            expected = finite_difference(lambda h: components(displaced(configuration, atom, axis, h)))  # noqa: B023
            np.testing.assert_allclose(dense[:, atom, axis], expected, atol=1e-7 * scale)
    strain_gradients = gradients_wrt_strain(environments, gradients)
    for direction in range(6):
        expected = finite_difference(lambda h: components(strained(configuration, direction, h)))  # noqa: B023
        np.testing.assert_allclose(strain_gradients[:, direction], expected, atol=1e-7 * np.abs(strain_gradients).max())


def test_an_atom_among_its_own_images_has_a_strain_but_no_position(kernel):
    environments = find_environments([make_configuration(np.eye(3) * 3.0, THREE[:1], ("P",))], SNAP)
    gradients = kernel.gradients(environments)
    assert gradients.any()
    assert [array.shape for array in gradients_wrt_positions(environments, gradients)] == [
        (0,),
        (0,),
        (0, 3, kernel.n_components),
    ]
    assert gradients_wrt_strain(environments, gradients).any()


def test_no_neighbours_at_all(kernel):
    environments = find_environments([LONE, LONE], SNAP)
    gradients = kernel.gradients(environments)
    assert gradients.shape == (0, 3, kernel.n_components)
    assert gradients_wrt_positions(environments, gradients)[2].shape == (0, 3, kernel.n_components)
    assert not gradients_wrt_strain(environments, gradients).any()


def test_an_element_without_descriptors_is_named():
    foreign = make_configuration(SKEWED, THREE, ("In", "Ga", "P"), name="bulk/7.json")
    with pytest.raises(DataError, match=r"bulk/7\.json.*Ga.*In P"):
        find_environments([SMALL, foreign], SNAP)


def test_the_documented_example_runs(kernel_is_built):
    """In a Python of its own, where nothing is imported yet."""
    example = textwrap.dedent(fitsnap_nn.inputs.snap.__doc__.partition("\n")[2])
    example += (
        "print(components.shape, gradients.shape, position_gradients.shape, strain_gradients.shape, pair_forces.shape)"
    )
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "(2, 55) (28, 3, 55) (4, 3, 55) (2, 6, 55) (28, 3)\n", done.stderr
