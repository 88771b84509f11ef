"""Baselines against numbers that are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from fitsnap_nn.models.baselines import FitStatistics, fit_composition, rms_scale, standardize


def test_composition_finds_the_energies_the_data_were_made_of():
    random = np.random.default_rng(3)
    fractions = random.dirichlet([1, 1, 1], 30)
    found = fit_composition(fractions, fractions @ [-1.5, 4.0, -7.25], random.uniform(0.1, 5, 30))
    np.testing.assert_allclose(found.energies, [-1.5, 4.0, -7.25], rtol=1e-12)
    assert found.determined


def test_composition_weights_count():
    found = fit_composition(np.ones((2, 1)), np.array([1.0, 3.0]), np.array([3.0, 1.0]))
    assert found.energies[0] == pytest.approx(1.5)


def test_one_composition_only_leaves_the_energies_open():
    fractions = np.full((5, 2), 0.5)
    found = fit_composition(fractions, np.full(5, -3.0), np.ones(5))
    np.testing.assert_allclose(fractions @ found.energies, -3.0)
    assert not found.determined


def test_standardisation_equals_numpy_whatever_the_blocks():
    random = np.random.default_rng(4)
    species = random.integers(0, 2, 500)
    descriptors = random.normal(1e3, [0.1, 5.0, 80.0], (500, 3))
    found = standardize(((species[k : k + 70], descriptors[k : k + 70]) for k in range(0, 500, 70)), (2, 3))
    for element in (0, 1):
        own = descriptors[species == element]
        np.testing.assert_allclose(found.shift[element], own.mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.scale[element], own.std(0), rtol=1e-9)
    within = descriptors - np.array([descriptors[species == e].mean(0) for e in (0, 1)])[species]
    np.testing.assert_allclose(found.overall, np.sqrt((within**2).mean(0)), rtol=1e-9)


def test_descriptors_that_do_not_vary_and_absent_elements_do_no_harm():
    descriptors = np.column_stack([np.full(50, 0.1), np.arange(50.0), np.zeros(50)])
    found = standardize([(np.zeros(50, dtype=np.int64), descriptors)], (2, 3))
    assert all(np.isfinite(array).all() and (array != 0).all() for array in (found.scale, found.overall))
    np.testing.assert_array_equal(found.scale[0, [0, 2]], 1.0)
    np.testing.assert_allclose(found.scale[1, 1], np.arange(50.0).std())


@pytest.mark.parametrize(
    ("energies", "forces", "virials", "scale"),
    [
        ([3.0, -4.0], [[[0.0, 2.0, 0.0]], [[0.0, 0.0, 2.0]]], [], (8 / 6) ** 0.5),  # forces, whatever the energies
        ([3.0, -4.0], [], [7.0], 12.5**0.5),
        ([3.0, -4.0], [[[0.0, 0.0, 0.0]]], [], 12.5**0.5),
        ([3.0, -4.0], [[[5e-5, -5e-5, 5e-5]]], [], 12.5**0.5),  # volume scan of a perfect crystal
        ([1e-3, -1e-3], [[[5e-5, -5e-5, 5e-5]]], [], 5e-5),  # small, but forces
        ([], [[[5e-5, -5e-5, 5e-5]]], [], 5e-5),
        ([], [], [3.0, 4.0], 12.5**0.5),
        ([0.0], [[[0.0, 0.0, 0.0]]], [0.0], 1.0),
        ([], [], [], 1.0),
    ],
)
def test_scale_of_graph_models(energies, forces, virials, scale):
    statistics = FitStatistics(np.array(energies), [np.array(one) for one in forces], virials)
    assert rms_scale(statistics) == pytest.approx(scale, rel=1e-12)
