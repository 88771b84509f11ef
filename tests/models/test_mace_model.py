"""MACE against mace-torch's own models: energies, forces and stresses, and pretrained files."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import SMALL_MACE
from torch import Tensor, nn

from fitsnap_nn import models
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.data.properties import ENERGY, FORCES
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.inputs.graph.padded import pad
from fitsnap_nn.interfaces.mace_files import convert, run_and_convert
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.evaluation import to_float64
from fitsnap_nn.models.mace import MACE
from fitsnap_nn.models.mace_kernels import weights_by_degree
from fitsnap_nn.models.mace_network import Hypers, arguments, float64_without_torchscript, libraries
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.settings.architectures import Mace
from fitsnap_nn.settings.mace_size import num_weights
from fitsnap_nn.testing.graphs import GhostGraph, crystal, ghost_graph, make_graph, molecule
from fitsnap_nn.testing.models import GraphModelTests, assert_close, forces_of, of_one, own_energies
from fitsnap_nn.testing.padded import assert_padding_changes_nothing

pytestmark = pytest.mark.usefixtures("mace")

AGNOSTIC, RESIDUAL = "RealAgnosticInteractionBlock", "RealAgnosticResidualInteractionBlock"
DENSITY, ATTENTION = "RealAgnosticDensityResidualInteractionBlock", "RealAgnosticAttResidualInteractionBlock"
NONLINEAR = "RealAgnosticResidualNonLinearInteractionBlock"
VARIANTS: dict[str, dict[str, Any]] = {
    "scalars": {"hidden_irreps": "6x0e", "interaction_first": AGNOSTIC, "max_ell": 3, "num_cutoff_basis": 3},
    "three layers of degree two": {"hidden_irreps": "2x0e+2x1o+2x2e", "num_interactions": 3},
    "one layer": {"num_interactions": 1, "correlation": 1},
    "correlation three": {"correlation": 3, "use_agnostic_product": True},
    "gaussian and Agnesi": {"radial_type": "gaussian", "distance_transform": "Agnesi", "gate": "tanh"},
    "Soft": {"distance_transform": "Soft", "gate": "None"},
    "late cutoff": {"apply_cutoff": False, "pair_repulsion": True, "gate": "abs"},
    "edge features": {"edge_irreps": "3x0e + 3x1o", "use_last_readout_only": True},
    "density": {"interaction": DENSITY, "interaction_first": "RealAgnosticDensityInteractionBlock"},
    "density, late cutoff": {"interaction": DENSITY, "interaction_first": DENSITY, "apply_cutoff": False},
    "attention": {"interaction": ATTENTION, "interaction_first": ATTENTION},
    "nonlinear": {"interaction": NONLINEAR, "interaction_first": NONLINEAR, "edge_irreps": "4x0e+4x1o"},
    "pseudovectors": {"hidden_irreps": "2x0e + 2x0o + 2x1o + 2x1e"},
    "pseudo-tensors in the last layer": {
        "hidden_irreps": "2x0e + 2x1o + 2x1e + 2x2o", "correlation": 3, "keep_last_layer_irreps": True,
    },
}  # fmt: skip
FILE_ELEMENTS = ("H", "C", "O", "Si")


class OwnAtomsGraph(GhostGraph):
    """Says which of its atoms are ghosts, which need not be computed then."""

    @property
    def owned(self) -> int:
        return int((self.owner == torch.arange(len(self.owner))).sum())


class TestMace(GraphModelTests):
    def make_model(self) -> GraphModel:
        return MACE(["In", "P"], **SMALL_MACE)

    def test_images_as_ghosts(self, model: GraphModel) -> None:
        """Without ghosts, one edge of a pair may carry what in edge_gradients belongs to both."""
        configuration = crystal(model.elements)
        count = len(configuration)
        graph, ghosts = make_graph(model, configuration), ghost_graph(model, configuration)
        told = OwnAtomsGraph(**{field.name: getattr(ghosts, field.name) for field in fields(ghosts)})
        energies, edge_gradients = own_energies(model, graph, count)
        for other in (ghosts, told):
            found, other_edge_gradients = own_energies(model, other, count)
            assert_close(found, energies)
            assert_close(
                other_edge_gradients - other_edge_gradients[graph.reverse_edge_index],
                edge_gradients - edge_gradients[graph.reverse_edge_index],
            )

    def test_copies_in_float64(self, model: GraphModel) -> None:
        """As all that is evaluated and exported is one."""
        configuration = crystal(model.elements)
        copy = to_float64(model)
        assert torch.equal(of_one(copy, configuration).energy, of_one(model, configuration).energy)
        model.set_precision(torch.float32)
        rounded = predict(model, make_graph(model, configuration, dtype=torch.float32)).energy
        assert torch.allclose(of_one(to_float64(model), configuration).energy, rounded, rtol=1e-6)


def their_network(model: MACE) -> Any:
    """mace's own module with the model's weights."""
    modules, _ = libraries()
    with float64_without_torchscript():
        network = modules.MACE(**arguments(model.elements, model.hypers))
    different = network.load_state_dict(model.network.state_dict(), strict=False)
    replaced = ("conv_tp.", "symmetric_contractions.", "atomic_energies_fn.", "bessel_fn.n")
    assert all(any(part in key for part in replaced) for keys in different for key in keys)
    for block, ours in zip(network.products, model.network.products, strict=True):
        contractions = block.symmetric_contractions.contractions
        for contraction, weights in zip(contractions, ours.symmetric_contractions.weights, strict=True):
            for parameter, weight in zip(weights_by_degree(contraction), weights, strict=True):
                parameter.data.copy_(weight.detach())
    return network


def their_batch(configuration: Configuration, model: MACE) -> dict[str, Tensor]:
    neighbours = find_neighbours(configuration, model.cutoff)
    zeros = torch.zeros(len(configuration), dtype=torch.int64)
    species = make_graph(model, configuration).species
    shifts = torch.from_numpy(neighbours.shifts).double()
    return {
        "positions": torch.from_numpy(configuration.positions).clone().requires_grad_(),
        "node_attrs": nn.functional.one_hot(species, len(model.elements)).double(),
        "edge_index": torch.from_numpy(np.stack([neighbours.i, neighbours.j])).long(),
        "shifts": shifts @ torch.from_numpy(configuration.cell),
        "unit_shifts": shifts,
        "cell": torch.from_numpy(configuration.cell),
        "batch": zeros,
        "ptr": torch.tensor([0, len(configuration)]),
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_energies_forces_and_stresses_are_those_of_mace(variant: str) -> None:
    """On padded graphs too, which have code of their own."""
    torch.manual_seed(3)
    model = MACE(["P", "In", "Ga"], **(SMALL_MACE | VARIANTS[variant]))
    configuration = crystal(model.elements)
    theirs = their_network(model)(their_batch(configuration, model), compute_stress=True)
    found = of_one(model, configuration)
    assert abs(found.energy - theirs["energy"]).item() < 1e-12 * max(1.0, abs(theirs["energy"].item()))
    assert_close(forces_of(found), theirs["forces"])
    assert_close(found.stress[0], torch.from_numpy(voigt(theirs["stress"][0].numpy())))
    assert theirs["forces"].abs().max() > 1e-3
    assert_padding_changes_nothing(model, make_graph(model, configuration, crystal(model.elements, 1, count=2)))


def test_chebyshev_basis_has_forces() -> None:
    """mace's own has none: its basis is cut out of the graph of derivatives."""
    torch.manual_seed(3)
    model = MACE(["P", "In"], **SMALL_MACE, radial_type="chebyshev", distance_transform="Agnesi")
    configuration = crystal(model.elements)
    energy = their_network(model)(their_batch(configuration, model), compute_force=False)["energy"]
    assert_close(of_one(model, configuration).energy, energy.detach())
    TestMace().test_forces_are_minus_the_derivatives_of_the_energy(model)


def test_lone_atoms_have_the_energy_that_mace_gives_them() -> None:
    torch.manual_seed(3)
    model = MACE(["P", "In"], **SMALL_MACE)
    alone = molecule(["In"], np.zeros((1, 3)))
    energy = their_network(model)(their_batch(alone, model), compute_force=False)["energy"]
    assert energy.abs() > 1e-3
    assert_close(of_one(model, alone).energy, energy.detach())


def test_neighbours_are_counted_unless_given() -> None:
    hypers = {key: value for key, value in SMALL_MACE.items() if key != "avg_num_neighbors"}
    cells, dimer = crystal(["P"]), molecule(["P"], np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [50.0, 0.0, 0.0]]))
    counted, given = MACE(["P"], **hypers), MACE(["P"], **hypers, avg_num_neighbors=3.25)
    for model in (counted, given):
        model.fit_to_data([make_graph(model, cells), make_graph(model, dimer)])
    count = (len(find_neighbours(cells, 4.0).i) + 2) / (len(cells) + 2)
    assert counted.description()["avg_num_neighbors"] == pytest.approx(count)
    assert given.description()["avg_num_neighbors"] == 3.25
    again = models.build_model(counted.description())
    again.load_state_dict(counted.state_dict())
    assert torch.equal(of_one(again, cells).energy, of_one(counted, cells).energy)
    given.load_state_dict(counted.state_dict())
    assert not torch.isclose(of_one(given, cells).energy, of_one(counted, cells).energy)


def test_defaults_of_the_section_are_those_of_the_model() -> None:
    assert Hypers(**Mace().hyperparameters()) == Hypers()
    assert list(Mace().problems()) == []


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("hidden_irreps", {"hidden_irreps": "16x0f"}),
        ("hidden_irreps", {"hidden_irreps": "16x1o + 16x0e"}),
        ("hidden_irreps", {"hidden_irreps": "16x0e + 8x1o"}),
        ("MLP_irreps", {"MLP_irreps": "16x0e + 16x1o"}),
        ("edge_irreps", {"edge_irreps": "16"}),
        ("radial_type", {"radial_type": "chebyshev"}),
        ("use_last_readout_only", {"use_last_readout_only": True, "num_interactions": 1}),
        ("keep_last_layer_irreps", {"keep_last_layer_irreps": True, "num_interactions": 1}),
        ("keep_last_layer_irreps", {"keep_last_layer_irreps": True, "hidden_irreps": "16x0e"}),
    ],
)
def test_settings_that_make_no_model_are_found_first(key: str, values: dict[str, Any]) -> None:
    assert key in dict(Mace(**values).problems())


@pytest.mark.parametrize(
    "hypers",
    [
        {},
        {"hidden_irreps": "48x0e + 48x1o", "interaction_first": AGNOSTIC, "num_interactions": 3},
        {"hidden_irreps": "64x0e", "edge_irreps": "48x0e", "radial_MLP": (8,)},
        {"hidden_irreps": "48x0e + 48x1o", "keep_last_layer_irreps": True},
    ],
)
def test_the_number_of_weights_is_estimated_from_below(hypers: dict[str, Any]) -> None:
    section, elements = Mace(**hypers), ["O", "H", "C"]
    exact = sum(weight.numel() for weight in MACE(elements, **section.hyperparameters()).parameters())
    assert 0.6 * exact < num_weights(section, len(elements)) < exact


def test_importing_mace_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    program = f"""
import os, sys
before = dict(os.environ)
import fitsnap_nn.models, torch
assert not {{"mace", "e3nn"}} & sys.modules.keys()
fitsnap_nn.models.build_model({{"architecture": "MACE", "elements": ["H"], **{SMALL_MACE}}})
assert dict(os.environ) == before
assert torch.get_default_dtype() == torch.float32
class Intruder:
    def __reduce__(self):
        return print, ("code in a file was run",)
torch.save(Intruder(), sys.argv[1])
try:
    torch.load(sys.argv[1])
except Exception as error:
    assert "Weights only load failed" in str(error)
    print("refused")
"""
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", program, str(tmp_path / "pickled.pt")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")


def pretrained(name: str = "ScaleShiftMACE", heads: tuple[str, ...] = ("one", "two"), **hypers: Any) -> Any:
    """A module of mace with random weights, E0s, scales and shifts, as in a foundation model's file."""
    modules, _ = libraries()
    random = np.random.default_rng(5)
    torch.manual_seed(5)
    with float64_without_torchscript():
        given = arguments(FILE_ELEMENTS, Hypers(**(SMALL_MACE | hypers))) | {"heads": list(heads)}
        given["atomic_energies"] = 100.0 * random.standard_normal((len(heads), len(FILE_ELEMENTS)))
        if name == "ScaleShiftMACE":
            given["atomic_inter_scale"] = 1.0 + random.random(len(heads))
            given["atomic_inter_shift"] = random.standard_normal(len(heads))
        return getattr(modules, name)(**given)


@pytest.fixture
def calculator() -> Iterator[Any]:
    """mace's ASE calculator of a module and a head; it sets the precision of the process."""
    libraries()
    with float64_without_torchscript(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mace.calculators import MACECalculator

        yield lambda network, head: MACECalculator(models=[network], device="cpu", default_dtype="float64", head=head)


@pytest.mark.parametrize("elements", [("Si", "H"), ("O",), ("C", "O", "Si", "H")], ids=" ".join)
@pytest.mark.parametrize("head", ["one", "two"])
def test_a_pretrained_model_gives_what_its_calculator_gives(calculator: Any, elements: tuple[str], head: str) -> None:
    from ase import Atoms

    network = pretrained(pair_repulsion=True)
    configuration = crystal(elements)
    atoms = Atoms(configuration.species, configuration.positions, cell=configuration.cell, pbc=True)
    atoms.calc = calculator(network, head)
    found = of_one(convert(network, elements, head), configuration)
    assert float(found.energy) == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    assert_close(forces_of(found), torch.from_numpy(atoms.get_forces()))
    assert_close(found.stress[0], torch.from_numpy(voigt(atoms.get_stress(voigt=False))))


@pytest.mark.parametrize(
    "hypers",
    [
        {"interaction": NONLINEAR, "interaction_first": NONLINEAR, "readout": "NonLinearBiasReadoutBlock"},
        {"num_interactions": 1, "gate": "None"},
        {"radial_type": "gaussian", "distance_transform": "Soft", "use_agnostic_product": True, "apply_cutoff": False},
        {"interaction_first": AGNOSTIC, "correlation": 3, "use_last_readout_only": True, "edge_irreps": "2x0e+2x1o"},
    ],
)
def test_hyperparameters_are_read_off_a_pretrained_model(hypers: dict[str, Any]) -> None:
    """The conversion itself compares energies with those of the file."""
    found = convert(pretrained("MACE", ("only",), **hypers), ["O", "H"])
    wanted = Hypers(**(SMALL_MACE | hypers))
    irreps = {key: getattr(wanted, key).replace(" ", "") for key in ("hidden_irreps", "edge_irreps")}
    irreps["hidden_irreps"] = "4x0e" if wanted.num_interactions == 1 else irreps["hidden_irreps"]
    for field in fields(Hypers):
        if field.name not in {"gate", "MLP_irreps"} or wanted.num_interactions > 1:
            value = irreps.get(field.name, getattr(wanted, field.name))
            assert found.description()[field.name] == (list(value) if field.name == "radial_MLP" else value)


def test_products_in_a_smaller_basis_are_translated() -> None:
    """cuequivariance's basis has no redundant paths, so that weights have other shapes where it was installed."""
    network = pretrained(correlation=3)
    for block in network.products:
        for contraction in block.symmetric_contractions.contractions:
            for degree, weight in enumerate(weights_by_degree(contraction), start=1):
                name = f"U_matrix_{degree}"
                full = contraction.get_buffer(name)
                left, sizes, right = torch.linalg.svd(full.flatten(0, -2), full_matrices=False)
                kept = sizes > 1e-8 * sizes.max()
                contraction.register_buffer(name, left[:, kept].unflatten(0, full.shape[:-1]))
                weight.data = (sizes[kept, None] * right[kept]) @ weight.data
    assert convert(network, ["O", "H"], "one").description()["correlation"] == 3


def test_a_file_is_run_once_and_plain_afterwards(tmp_path: Path) -> None:
    network = pretrained()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(network.float(), tmp_path / "small.model")
    description, state = run_and_convert(tmp_path / "small.model", ["Si", "H"], "two")
    torch.save(state, tmp_path / "state.pt")
    model = models.build_model(description)
    model.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    configuration = crystal(["H", "Si"])
    assert isinstance(model, GraphModel)
    found = predict(model, make_graph(model, configuration), [ENERGY, FORCES])
    direct = convert(network, ["Si", "H"], "two")
    assert torch.equal(found.energy, predict(direct, make_graph(direct, configuration), [ENERGY, FORCES]).energy)


def test_what_a_file_lacks_is_said(tmp_path: Path) -> None:
    network = pretrained()
    with pytest.raises(CheckpointError, match=r"the model does not contain Xe; its elements are H C O Si\."):
        convert(network, ["H", "Xe"], "one")
    for head in ("", "three"):
        with pytest.raises(
            CheckpointError, match=r"mace_head_name \(export, show: --head\) must be one of its heads: one, two\."
        ):
            convert(network, ["H"], head)
    with pytest.raises(CheckpointError, match="Linear is not a MACE"):
        convert(nn.Linear(1, 1), ["H"])
    (tmp_path / "text.model").write_text("no pickle")
    with pytest.raises(CheckpointError, match=r"text\.model is not a file of torch; it starts with .no pickle."):
        run_and_convert(tmp_path / "text.model", ["H"])


def test_a_steep_cutoff_is_finite_on_padding() -> None:
    """The power of a length of 1000 Å would be infinite in float32, and 0 times it nan."""
    model = MACE(["P", "In"], **(SMALL_MACE | {"num_cutoff_basis": 100, "apply_cutoff": False}))
    model.set_precision(torch.float32)
    found = predict(model, pad(make_graph(model, crystal(model.elements), dtype=torch.float32)), create_graph=True)
    assert found.forces is not None
    weights = [weight for weight in model.parameters() if weight.requires_grad and weight.numel()]
    slopes = torch.autograd.grad(found.forces.square().sum(), weights, allow_unused=True)
    assert all(one.isfinite().all() for one in (found.forces, *slopes) if one is not None)
