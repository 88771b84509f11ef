"""Files of linear ACE: `.yace` evaluated term by term, and by python-ace, against the model."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from random_potentials import INP_ACE, crystal, random_linear
from scipy.special import sph_harm_y

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.export.export import export
from fitsnap_nn.export.model_file import save_model
from fitsnap_nn.export.pace_files import yace_text
from fitsnap_nn.inputs.ace.radial import Bonds, radial_functions
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.schema import Outfile, Reference, Settings

CASES = {
    "Ta": Ace(
        type=("Ta",), ranks=(1, 2, 3, 4), nmax=(4, 2, 1, 1), lmax=(0, 2, 2, 2), nmaxbase=5, rcutfac=(4.2,), decay=(3.0,)
    ),
    "high ranks": Ace(
        type=("Ta",), ranks=(1, 5, 6), nmax=(2, 1, 1), lmax=(0, 1, 1), nmaxbase=2, rcutfac=(4.2,), b_basis="minsub",
        wigner_flag=False, bzeroflag=True,
    ),
    "InP": replace(INP_ACE, decay=(1.0, 2.0, 1.5, 3.0), rcinner=(2.2, 2.0, 2.0, 1.0), drcinner=(0.7,)),
    "pairs only": Ace(type=("Ta",), ranks=(1,), nmax=(3,), lmax=(0,), nmaxbase=3, rcutfac=(4.2,)),
}  # fmt: skip


def contents(text: str) -> dict[str, Any]:
    """Parse a file: blocks of one level with keys and values in flow style, which are JSON but for quotation marks."""
    found: dict[str, Any] = {}
    block: Any = None
    for line in text.splitlines():
        key, _, value = re.sub(r"#.*", "", line.replace("    - ", "    -: ")).strip().partition(": ")
        value = json.loads(re.sub(r"([A-Za-z]\w*)", r'"\1"', value)) if value else None
        if not line.startswith(" ") and key:
            found[key.rstrip(":")] = block = {} if value is None else value
        elif line.startswith("    "):
            block[list(block)[-1]].append(value)
        elif key:
            block[key.rstrip(":")] = [] if value is None else value
    return found


def pace_energy(text: str, configuration: Configuration) -> float:
    """The energy as `pair_style pace` defines it: sums over the products of densities of each function."""
    parts = contents(text)
    elements = configuration.element_indices(parts["elements"])
    neighbours = find_neighbours(configuration, max(bond["rcut"] for bond in parts["bonds"].values()))
    lengths = np.linalg.norm(neighbours.vectors, axis=1)
    angles = np.arccos(neighbours.vectors[:, 2] / lengths), np.arctan2(*neighbours.vectors[:, 1::-1].T)

    def density(atom: int, element: int, n: int, degree: int, m: int) -> complex:
        bond = parts["bonds"][f"[{elements[atom]}, {element}]"]
        assert bond["radcoefficients"][0][0] == [1, *[0] * (bond["nradbasemax"] - 1)]
        chosen = (neighbours.i == atom) & (elements[neighbours.j] == element) & (lengths < bond["rcut"])
        names = ("rcut", "lambdahc", "rcut_in", "dcut_in")
        bonds = Bonds(*(torch.tensor([float(bond[name])], dtype=torch.float64) for name in names))
        radial = radial_functions(torch.from_numpy(lengths[chosen]), bonds, bond["nradbasemax"])[n - 1].numpy()
        harmonic = np.sqrt(4.0 * np.pi) * sph_harm_y(degree, m, *(angle[chosen] for angle in angles))
        return complex((radial * harmonic).sum())

    total = 0.0
    for atom, element in enumerate(elements.tolist()):
        total += parts["E0"][element]
        for one in parts["functions"][str(element)]:
            orders = np.reshape(one["ms_combs"], (one["num_ms_combs"], one["rank"]))
            for order, weight in zip(orders.tolist(), one["ctildes"], strict=True):
                labels = zip(one["mus"], one["ns"], one["ls"], order, strict=True)
                total += weight * np.prod([density(atom, *label) for label in labels]).real
    return total


@pytest.mark.parametrize("name", CASES)
def test_the_file_is_the_model(name: str) -> None:
    model = random_linear(CASES[name])
    configuration = crystal(model.elements, 1, repeat=1, skew=0.1)
    expected = Potential(model, Reference()).predict(configuration).energy
    found = pace_energy(yace_text(model.plain_networks(), model.input), configuration)
    assert found == pytest.approx(expected, rel=1e-11)


def calculator(path: Path, model: LinearModel, spacing: str) -> Any:
    from pyace import PyACECalculator

    text = yace_text(model.plain_networks(), model.input).replace(
        "deltaSplineBins: 0.001", f"deltaSplineBins: {spacing}"
    )
    path.write_text(text)
    return PyACECalculator(str(path))


@pytest.mark.parametrize("name", CASES)
def test_the_evaluator_of_pace_agrees(pyace: None, tmp_path: Path, name: str) -> None:
    """Its splines are the only difference: 1e-9 eV/Å with a fine spacing, below 1e-4 with the one of the file."""
    model = random_linear(CASES[name])
    configuration = crystal(model.elements, 2, skew=0.1)
    expected = Potential(model, Reference()).predict(configuration)
    for spacing, tolerance in (("0.0001", 1e-7), ("0.001", 1e-4)):
        atoms = Atoms(configuration.species, configuration.positions, cell=configuration.cell, pbc=True)
        atoms.calc = calculator(tmp_path / "a.yace", model, spacing)
        assert atoms.get_potential_energy() == pytest.approx(expected.energy, rel=0.1 * tolerance)
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=tolerance)
        np.testing.assert_allclose(atoms.get_stress(), expected.stress, atol=tolerance)


def test_coefficients_and_pair_style(tmp_path: Path) -> None:
    model = random_linear(CASES["InP"])
    settings = Settings(
        reference=Reference(pair_style="zero 5.0", pair_coeff=("* *",)), outfile=Outfile(potential="pot")
    )
    save_model(tmp_path / "pot.pt", model, settings, {})
    export(tmp_path / "pot.pt", tmp_path / "out")
    lines = (tmp_path / "out" / "pot.acecoeff").read_text().splitlines()
    size = model.input.size
    assert lines[2:5] == [f"2 {1 + size}", "In", f"{model.values[0]:.17g} # B[0]"]
    numbers = [float(line.split("#")[0]) for line in lines[3:] if "#" in line]
    assert numbers == model.values.tolist()
    second = lines.index("P") + 2
    assert lines[second].endswith(f"# B[{1 + size}, 1, 0, 1, 0]")  # rank 1: centre P, neighbour In, n = 1, l = 0
    commands = (tmp_path / "out" / "pot.mod").read_text()
    assert "# Linear ACE pot." in commands
    assert "variable potential_format string pace" in commands
    assert '"pair_style pace product"' in commands
    assert "pot.yace${potential_quote} In P" in commands


def test_no_constants(tmp_path: Path) -> None:
    model = random_linear(replace(CASES["Ta"], bzeroflag=True))
    assert contents(yace_text(model.plain_networks(), model.input))["E0"] == [0]
    assert model.fitted.all()
    assert len(model.values) == model.input.size
