"""Linear models: their rows against the gradients of pairs and finite differences, and their coefficients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_potentials import INP_ACE, crystal, random_linear

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import ENERGY, FORCES, STRESS, Derivatives
from fitsnap_nn.inputs import input_class
from fitsnap_nn.inputs.rows import CachedRows
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.models import build_model
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.schema import Bispectrum, Reference

INP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(4, 4), wj=(1.0, 0.9), radelem=(0.5, 0.42))
CASES: dict[str, Bispectrum | Ace] = {
    "constants": INP,
    "no constants": replace(INP, bzeroflag=True),
    "quadratic": replace(INP, twojmax=(4, 2), quadraticflag=True),
    "one density per element": replace(INP, twojmax=(2, 2), chemflag=True, bzeroflag=True),
    "ACE": INP_ACE,
    "ACE, no constants": replace(INP_ACE, bzeroflag=True, rcinner=(1.5,), drcinner=(0.5,)),
}
ZBL = Reference(pair_style="zbl 3.0 4.0", pair_coeff=("1 1 49 49", "1 2 49 15", "2 2 15 15"))


def cached(model: LinearModel, configuration: Configuration, derivatives: Derivatives | None = None) -> CachedRows:
    with model.input.open(Reference(), Path(), derivatives or Derivatives()) as compute:
        return compute.compute(configuration)


def strained(configuration: Configuration, matrix: np.ndarray) -> Configuration:
    return replace(configuration, positions=configuration.positions @ matrix, cell=configuration.cell @ matrix)


@pytest.fixture(params=CASES)
def model(request: pytest.FixtureRequest) -> LinearModel:
    return random_linear(CASES[request.param])


def test_rows_are_sums_of_the_gradients_of_pairs(model: LinearModel) -> None:
    configuration = crystal(INP.type, 3, skew=0.1)
    rows = cached(model, configuration)
    species = configuration.element_indices(INP.type)
    of_pairs = input_class(model.input.calculator).from_payload(model.input.payload())
    with of_pairs.open(Reference(), Path(), Derivatives()) as compute:
        pairs: Any = compute.compute(configuration)
    forces = np.zeros_like(rows.force_rows)
    for i, j, gradient in zip(pairs.pair_i, pairs.pair_j, pairs.gradients, strict=True):
        forces[j, :, species[i]] -= gradient
    np.testing.assert_allclose(rows.force_rows, forces, rtol=0, atol=1e-10 * np.abs(forces).max())
    for element in range(2):
        expected = pairs.strain_gradients[species == element].sum(axis=0)
        scale = np.abs(pairs.strain_gradients).max()
        np.testing.assert_allclose(rows.strain_rows[0, :, element], expected, rtol=0, atol=1e-10 * scale)
    np.testing.assert_array_equal(rows.descriptors, pairs.descriptors)


def test_forces_and_stress_are_derivatives_of_the_energy(model: LinearModel) -> None:
    potential, configuration, step = Potential(model, ZBL), crystal(INP.type, 4, skew=0.1), 1e-4
    found = potential.predict(configuration)
    for atom, axis in ((0, 0), (7, 2)):
        displacement = np.zeros_like(configuration.positions)
        displacement[atom, axis] = step
        moved = [replace(configuration, positions=configuration.positions + s * displacement) for s in (1, -1)]
        plus, minus = (potential.predict(one, [ENERGY]).energy for one in moved)
        assert found.forces[atom, axis] == pytest.approx(-(plus - minus) / (2 * step), rel=1e-5, abs=1e-6)
    strain = np.zeros((3, 3))
    strain[1, 2] = strain[2, 1] = 0.5 * step
    plus, minus = (potential.predict(strained(configuration, np.eye(3) + s * strain), [ENERGY]).energy for s in (1, -1))
    slope = (plus - minus) / (2 * step) / configuration.volume
    assert found.stress[3] == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_the_design_matrix_gives_the_predictions(model: LinearModel) -> None:
    configuration = crystal(INP.type, 5)
    found, rows = Potential(model, Reference()).predict(configuration), cached(model, configuration)
    expected = {ENERGY: found.energy / len(configuration), FORCES: found.forces, STRESS: found.stress}
    for quantity, values in expected.items():
        product = model.design(configuration, rows, quantity) @ model.values
        np.testing.assert_allclose(product, np.ravel(values), rtol=1e-10, atol=1e-12)


def test_an_isolated_atom_and_a_molecule() -> None:
    """Forces exist without neighbours; energy-only inputs have no rows for them."""
    model = random_linear(INP)
    lone = Configuration("lone", "g", ("P",), np.zeros((1, 3)), np.zeros((3, 3)), (False, False, False))
    rows = cached(model, lone)
    assert rows.force_rows.shape == (1, 3, 2, 14)
    assert not rows.force_rows.any()
    found = Potential(model, Reference()).predict(lone)
    constant, *coefficients = model.values.reshape(2, -1)[1]
    assert found.energy == pytest.approx(constant + coefficients @ rows.descriptors[0], rel=1e-12)
    assert len(cached(model, lone, Derivatives(positions=False, strain=False)).force_rows) == 0
    both = Potential(model, Reference())
    molecule = replace(crystal(INP.type, 3), cell=np.zeros((3, 3)), pbc=(False, False, False))
    assert both.predict(molecule).stress is None
    np.testing.assert_allclose(both.predict(molecule).forces.sum(axis=0), 0.0, atol=1e-10)


def test_twojmax_of_an_element() -> None:
    """Coefficients that a smaller twojmax of an element forbids, by hand for 2 and 1."""
    model = LinearModel(model_input=random_linear(replace(INP, twojmax=(2, 1))).input)
    # 000, 101, 112, 202, 222 for twojmax = 2, after a constant.
    assert model.fitted.tolist() == [True] * 6 + [True, True, True, False, False, False]
    quadratic = LinearModel(random_linear(replace(INP, twojmax=(2, 1), quadraticflag=True, bzeroflag=True)).input)
    second = quadratic.fitted.reshape(2, -1)[1]
    assert np.flatnonzero(second).tolist() == [0, 1, 5, 6, 10]  # 00, 11 and their products
    assert quadratic.fitted.reshape(2, -1)[0].all()


def test_description_and_state_make_the_same_model(model: LinearModel) -> None:
    again = build_model(model.description())
    again.load_state_dict(model.state_dict())
    configuration = crystal(INP.type, 6)
    one, other = (Potential(each, Reference()).predict(configuration) for each in (model, again))
    assert one.energy == other.energy
    assert again.coefficients.dtype == torch.float64


def test_terms_of_an_energy(model: LinearModel) -> None:
    configuration = crystal(INP.type, 2)
    rows, species = cached(model, configuration), configuration.element_indices(model.elements)
    coefficients = model.coefficients.detach().numpy()[species]
    expected = np.abs(rows.descriptors * coefficients).sum()
    assert Potential(model, Reference()).energy_terms(configuration) == pytest.approx(expected, rel=1e-12)
