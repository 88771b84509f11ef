"""ACE descriptors: pace's own evaluator with the files of FitSNAP, the formula written out, and their derivatives."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from places import SAMPLES
from random_potentials import crystal
from scipy.special import sph_harm_y

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.data.properties import Derivatives
from fitsnap_nn.inputs.ace.coupling import clebsch_gordan
from fitsnap_nn.inputs.ace.input import AceInput
from fitsnap_nn.inputs.ace.radial import Bonds, radial_functions
from fitsnap_nn.inputs.batch import join_batches
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.ace_functions import AceFunction
from fitsnap_nn.settings.schema import Reference, Settings

Floats = NDArray[np.float64]
TA: dict[str, Any] = {"type": ("Ta",), "rcutfac": (4.6,), "decay": (3.0,), "nmaxbase": 22}
# Settings of tests/data/samples/ace_reference.npz: python-ace 0.4.0rc1, with the .yace files that FitSNAP (commit
# 1a9b0507) writes, deltaSplineBins = 1e-4. The first and the last are its examples Ta_PACE_PyTorch_NN and InP_PACE.
REFERENCE: dict[str, dict[str, Any]] = {
    "ta": TA
    | {
        "rcutfac": (4.604694451,), "decay": (3.059235105,), "b_basis": "minsub", "lmin": (1,),
        "ranks": (1, 2, 3, 4, 5, 6), "nmax": (22, 2, 2, 2, 1, 1), "lmax": (1, 2, 2, 2, 1, 1),
    },
    "tacg": TA | {"ranks": (1, 2, 3, 4), "nmax": (8, 2, 2, 2), "lmax": (1, 3, 3, 2), "wigner_flag": False},
    "tapa": TA
    | {"ranks": (1, 2, 3, 4), "nmax": (8, 2, 2, 2), "lmax": (1, 3, 3, 3), "rcinner": (2.0,), "drcinner": (0.6,)},
    "inp": {
        "type": ("In", "P"), "ranks": (1, 2, 3, 4), "nmax": (22, 3, 2, 1), "lmax": (1, 2, 2, 1), "lmin": (0, 0, 1, 1),
        "nmaxbase": 22, "rcutfac": (5.790, 5.007, 5.007, 4.224), "decay": (1.737, 1.502, 1.502, 1.267),
        "rcinner": (1.705, 1.403, 1.403, 1.1), "drcinner": (0.01,),
    },
}  # fmt: skip
SMALL = {"ranks": (1, 2, 3, 4), "nmax": (2, 2, 2, 1), "lmax": (0, 2, 2, 2), "nmaxbase": 4, "rcutfac": (3.9,)}


def ace_input(**options: Any) -> AceInput:
    return AceInput(Ace(num_types=len(options["type"]), **options))


def computed(model_input: AceInput, configuration: Configuration) -> CachedDescriptors:
    with model_input.open(Reference(pair_coeff=("* *",)), Path(), Derivatives(True, True)) as compute:
        return compute.compute(configuration)


@pytest.mark.parametrize("name", REFERENCE)
def test_the_descriptors_are_those_of_pace(name: str) -> None:
    model_input = ace_input(**REFERENCE[name])
    with np.load(SAMPLES / "ace_reference.npz") as reference:
        stored = {key: reference[f"{name}_{key}"] for key in ("positions", "cell", "species", "descriptors")}
    atoms = Configuration("a", "a", tuple(stored["species"].tolist()), stored["positions"], stored["cell"])
    values, expected = computed(model_input, atoms).descriptors, stored["descriptors"]
    assert values.shape == expected.shape
    assert (np.abs(values - expected) / np.abs(expected).max(axis=0)).max() < 1e-12


def g(n: int, r: Floats, cutoff: float, decay: float) -> Floats:
    """Radial function in the words of the papers, without the switch at the cutoff and the inner cutoff."""
    x = 1.0 - 2.0 * (np.exp(-decay * r / cutoff) - np.exp(-decay)) / (1.0 - np.exp(-decay))
    polynomial = np.ones_like(r) if n == 1 else 0.5 * (1.0 - np.cos((n - 1) * np.arccos(np.clip(x, -1.0, 1.0))))
    edge = np.where(r > cutoff - 0.01, 0.5 + 0.5 * np.cos(np.pi * (r - cutoff + 0.01) / 0.01), 1.0)
    return polynomial * 0.5 * (1.0 + np.cos(np.pi * r / cutoff)) * edge * (r < cutoff)


def coupled(function: AceFunction, m: tuple[int, ...]) -> float:
    """Coefficient of a product with sum(m) = 0, by Clebsch-Gordan coefficients."""
    pairs = [m[k] + m[k + 1] for k in range(0, len(m) - 1, 2)]
    degrees = function.inner if len(m) > 2 else (0,)
    value = 1.0
    for k, total in enumerate(pairs):
        if abs(total) > degrees[k]:
            return 0.0
        value *= clebsch_gordan(function.l[2 * k], m[2 * k], function.l[2 * k + 1], m[2 * k + 1], degrees[k])
    if len(m) == 3:
        value *= clebsch_gordan(degrees[0], pairs[0], function.l[2], m[2], 0)
    if len(m) == 4:
        value *= clebsch_gordan(degrees[0], pairs[0], degrees[1], pairs[1], 0)
    return value


def formula(model_input: AceInput, configuration: Configuration) -> Floats:
    """Sums over all products of complex densities."""
    ace, elements = model_input.ace, configuration.element_indices(model_input.elements)
    neighbours = find_neighbours(configuration, model_input.cutoff)
    lengths = np.linalg.norm(neighbours.vectors, axis=1)
    polar = np.arccos(neighbours.vectors[:, 2] / lengths)
    azimuth = np.arctan2(neighbours.vectors[:, 1], neighbours.vectors[:, 0])
    cutoff, decay = ace.of_bonds("rcutfac")[0], ace.of_bonds("lambda")[0]

    def density(element: int, n: int, degree: int, m: int) -> NDArray[np.complex128]:
        harmonic = np.sqrt(4.0 * np.pi) * sph_harm_y(degree, m, polar, azimuth)
        terms = g(n, lengths, cutoff, decay) * harmonic * (elements[neighbours.j] == element)
        return np.array([terms[neighbours.i == atom].sum() for atom in range(len(configuration))])

    columns = []
    for one in model_input.functions:
        total = np.zeros(len(configuration), dtype=complex)
        for m in product(*(range(-degree, degree + 1) for degree in one.l)):
            if sum(m) == 0 and (weight := coupled(one, m)):
                densities = [density(*label) for label in zip(one.elements, one.n, one.l, m, strict=True)]
                total += weight * np.prod(densities, axis=0)
        columns.append(total.real)
    return np.array(columns).T


@pytest.mark.parametrize("elements", [("Ta",), ("In", "P")])
def test_the_descriptors_are_the_formula(elements: tuple[str, ...]) -> None:
    options = {**SMALL, "nmax": (2, 1, 1, 1), "lmax": (0, 2, 1, 1), "wigner_flag": False}
    model_input, configuration = ace_input(type=elements, **options), crystal(elements, 1)
    np.testing.assert_allclose(
        computed(model_input, configuration).descriptors, formula(model_input, configuration), rtol=1e-11, atol=1e-12
    )


def test_the_gradients_are_finite_differences() -> None:
    model_input, configuration = ace_input(type=("In", "P"), **SMALL), crystal(("In", "P"), 2)
    found, step = computed(model_input, configuration), 1e-4
    for atom, axis in ((0, 1), (2, 2)):
        values = {}
        for k in (-2, -1, 1, 2):
            positions = configuration.positions.copy()
            positions[atom, axis] += k * step
            values[k] = computed(model_input, replace(configuration, positions=positions)).descriptors
        expected = (8.0 * (values[1] - values[-1]) - values[2] + values[-2]) / (12.0 * step)
        slopes = np.zeros_like(expected)
        chosen = found.pair_j == atom
        slopes[found.pair_i[chosen]] = found.gradients[chosen, axis]
        np.testing.assert_allclose(slopes, expected, rtol=0, atol=1e-9 * np.abs(slopes).max())


def test_the_strain_derivatives_are_finite_differences() -> None:
    model_input, configuration = ace_input(type=("Ta",), **SMALL), crystal(("Ta",), 3)
    found, step = computed(model_input, configuration).strain_gradients, 1e-4
    for voigt, (row, column) in ((0, (0, 0)), (4, (0, 2))):
        values = {}
        for k in (-2, -1, 1, 2):
            strain = np.zeros((3, 3))
            strain[row, column] += 0.5 * k * step
            strain[column, row] += 0.5 * k * step
            deformed = {name: getattr(configuration, name) @ (np.eye(3) + strain) for name in ("positions", "cell")}
            values[k] = computed(model_input, replace(configuration, **deformed)).descriptors
        expected = (8.0 * (values[1] - values[-1]) - values[2] + values[-2]) / (12.0 * step)
        np.testing.assert_allclose(found[:, voigt], expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_the_largest_set_of_a_pattern_is_independent() -> None:
    """Functions of FitSNAP's table are linearly independent: no descriptor is a combination of the others."""
    options = {"ranks": (4,), "nmax": (2,), "lmax": (2,), "lmin": (1,), "nmaxbase": 4, "rcutfac": (4.0,)}
    model_input = ace_input(type=("Ta",), **options)
    rows = np.concatenate([computed(model_input, crystal(("Ta",), seed)).descriptors for seed in range(20)])
    singular = np.linalg.svd(rows / np.abs(rows).max(axis=0), compute_uv=False)
    assert len(rows) > 2 * model_input.size
    assert singular[-1] > 1e-9 * singular[0]


def test_radial_functions_are_differentiable_twice() -> None:
    bonds = Bonds(*(torch.tensor([value], dtype=torch.float64) for value in (4.0, 2.0, 1.5, 0.8)))
    distances = torch.tensor([0.9, 1.1, 2.5, 3.994, 4.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: radial_functions(r, bonds, 4), distances)
    assert torch.autograd.gradgradcheck(lambda r: radial_functions(r, bonds, 4), distances)


def test_an_atom_without_neighbours() -> None:
    lone = Configuration("a", "a", ("Ta",), np.zeros((1, 3)), np.zeros((3, 3)), pbc=(False, False, False))
    found = computed(ace_input(type=("Ta",), **SMALL), lone)
    assert not found.descriptors.any()
    assert len(found.gradients) == 0


def test_batches_of_molecules_and_crystals() -> None:
    """Each atom has rows of strain derivatives, zero without a fully periodic cell."""
    model_input = ace_input(type=("Ta",), **SMALL)
    periodic = crystal(["Ta"], 1, repeat=1)
    molecule = Configuration("a", "a", ("Ta",) * 2, 2.5 * np.eye(2, 3), np.zeros((3, 3)), pbc=(False, False, False))
    batches = [model_input.to_batch(one, computed(model_input, one)) for one in (molecule, periodic)]
    joined = join_batches(batches, torch.float64, torch.device("cpu"))
    assert joined.strain_gradients.shape == (4, 6, model_input.size)
    assert not joined.strain_gradients[:2].any()
    assert joined.strain_gradients[2:].any(dim=2).all()


def test_labels_of_a_model_stay_where_the_input_names_no_file() -> None:
    labelled = replace(ace_input(type=("Ta",), ranks=(5,), nmax=(1,), lmax=(2,)), labels=("0_0,2,0_", "0_0,1,0_"))
    adopted = labelled.with_section(Settings(ace=labelled.ace))
    assert adopted.names == labelled.names == ("0_0,1,0_", "0_0,2,0_")
    assert labelled.file_key == "manuallabs"


def test_inputs_are_rebuilt_from_their_payload() -> None:
    model_input = ace_input(**REFERENCE["inp"])
    assert AceInput.from_payload(model_input.payload()) == model_input
    labelled = replace(model_input, labels=("0_0,2,0_", "1_0,2,0_"))
    assert AceInput.from_payload(labelled.payload()) == labelled
    assert labelled.size == 1
