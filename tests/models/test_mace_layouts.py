"""Layouts of foundation models: a fit of no epochs gives what mace's calculator gives."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from ase import Atoms
from mace_layouts import LAYOUTS, layout

from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.interfaces.mace_files import convert
from fitsnap_nn.models.mace_network import float64_without_torchscript, libraries
from fitsnap_nn.testing.graphs import crystal
from fitsnap_nn.testing.models import forces_of, of_one

pytestmark = pytest.mark.usefixtures("mace")


@pytest.fixture
def calculator() -> Iterator[Any]:
    """mace's ASE calculator of a module and a head; it sets the precision of the process."""
    libraries()
    with float64_without_torchscript(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mace.calculators import MACECalculator

        def make(network: Any, head: str) -> Any:
            named = {"head": head} if head else {}
            return MACECalculator(models=[network], device="cpu", default_dtype="float64", **named)

        yield make


def assert_same(calculator: Any, network: Any, theirs: Any, elements: tuple[str, ...], head: str = "") -> None:
    """Energy, forces and stress of what is made of a module equal those of mace's calculator for another."""
    configuration = crystal(elements, lattice=3.0)
    atoms = Atoms(configuration.species, configuration.positions, cell=configuration.cell, pbc=True)
    atoms.calc = calculator(theirs, head)
    found = of_one(convert(network, elements, head), configuration)
    assert float(found.energy) == pytest.approx(atoms.get_potential_energy(), rel=0, abs=1e-10)
    expected = torch.from_numpy(atoms.get_forces())
    torch.testing.assert_close(forces_of(found), expected, rtol=0, atol=1e-10)
    assert expected.abs().max() > 1e-5
    assert found.stress is not None
    stress = torch.from_numpy(voigt(atoms.get_stress(voigt=False)))
    torch.testing.assert_close(found.stress[0], stress, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", LAYOUTS)
def test_it_gives_what_its_calculator_gives(calculator: Any, name: str) -> None:
    network = layout(name)
    for number, head in enumerate(LAYOUTS[name][1] or [""]):
        assert_same(calculator, network, network, (("O", "C"), ("H", "S", "O"), ("C",))[number], head)


@pytest.mark.usefixtures("cuequivariance")
@pytest.mark.parametrize("name", ["MP-0b3", "reduced couplings"])
def test_layers_of_cuequivariance(calculator: Any, name: str) -> None:
    from mace.cli.convert_e3nn_cueq import run

    network = layout(name)
    converted = run(copy.deepcopy(network), return_model=True)
    assert_same(calculator, converted, network, ("O", "C"))


def test_low_rank_adaptations_are_merged(calculator: Any) -> None:
    from mace.modules.lora import LoRADenseLinear, LoRAFCLayer, LoRAO3Linear, inject_lora

    network = layout("OFF")
    with float64_without_torchscript():
        inject_lora(network, rank=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    assert any(isinstance(one, LoRADenseLinear | LoRAFCLayer | LoRAO3Linear) for one in network.modules())
    assert_same(calculator, copy.deepcopy(network), network, ("O", "C"))


def test_other_inputs_than_positions_are_named() -> None:
    network = layout("OFF")
    network.joint_embedding = torch.nn.Identity()
    network.embedding_specs = {"total_charge": {}, "total_spin": {}}
    with pytest.raises(CheckpointError, match=r"positions, which are not supported: total_charge, total_spin\."):
        convert(network, ["O"])
