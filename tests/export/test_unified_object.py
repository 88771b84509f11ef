"""The object that LAMMPS is given for a graph model, without LAMMPS."""

from __future__ import annotations

import io
import pickle
import pickletools
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_model import AtomMessages, EdgeMessages, ToyModel

from fitsnap_nn import devices, models
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import InputError
from fitsnap_nn.export.rank_graph import graph_of_rank, graph_without_messages
from fitsnap_nn.export.unified import UnifiedModel, on_this_rank, unified_pickle
from fitsnap_nn.models import GraphModel, predict
from fitsnap_nn.testing.graphs import crystal, ghost_graph, make_graph, molecule

ELEMENTS = ("Ta", "O")


def prepared(kind: type[ToyModel] = AtomMessages, dtype: torch.dtype = torch.float64, **choices: int) -> GraphModel:
    torch.manual_seed(3)
    model = kind(ELEMENTS, **choices)
    model.set_precision(dtype)
    model.element_energies += torch.tensor([-9000.0, 2.5])
    model.energy_scale *= 0.3
    return model


class Step(SimpleNamespace):
    """Data of a step as LAMMPS with our plugin passes them, with all atoms on one rank."""

    edge_gradients = None

    def update_pair_forces(self, forces: np.ndarray) -> None:
        self.edge_gradients = forces

    def edge_exchange(self, source: torch.Tensor, target: torch.Tensor, width: int) -> None:
        assert source.numel() == target.numel() == self.npairs * width
        target.copy_(source[self.back])


def step(model: GraphModel, configuration: Configuration) -> Step:
    graph = ghost_graph(model, configuration)
    own = len(configuration)
    elements, i, j = (array.numpy().astype(np.int32) for array in (graph.species, graph.edge_i, graph.edge_j))
    return Step(
        nlistatoms=own,
        natomneigh=own,
        ntotal=len(elements),
        npairs=len(i),
        elems=elements,
        iatoms=np.arange(own, dtype=np.int32),
        ielems=elements[:own],
        jelems=elements[j],
        tags=graph.owner.numpy().astype(np.int32) + 1,
        numneighs=np.bincount(i, minlength=own).astype(np.int32),
        pair_j=j,
        rij=graph.vectors.numpy(),
        back=graph.back,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("kind", "layers"), [(AtomMessages, 1), (AtomMessages, 2), (EdgeMessages, 3)])
def test_energies_are_the_models_and_forces_their_derivatives(
    kind: type[ToyModel], layers: int, dtype: torch.dtype
) -> None:
    model = prepared(kind, dtype, layers=layers)
    configuration = crystal(ELEMENTS)
    data = step(model, configuration)
    UnifiedModel(model).compute_forces(data)
    graph = make_graph(model, configuration, dtype=dtype)
    energies, edge_gradients = model.energies_and_gradients(graph)
    rounding = 1e-12 if dtype == torch.float64 else 1e-5
    assert data.eatoms.dtype == data.edge_gradients.dtype == np.float64
    assert np.abs(data.eatoms - energies.detach().numpy()).max() < rounding
    assert np.abs(data.edge_gradients - edge_gradients.detach().numpy()).max() < rounding
    assert abs(data.energy - float(predict(model, graph).energy)) < len(configuration) * rounding


def test_images_of_an_atom_are_computed_once() -> None:
    model = prepared()
    data = step(model, crystal(ELEMENTS))
    assert data.ntotal > 7 * data.nlistatoms
    assert len(graph_without_messages(data, 2, torch.float64).species) == data.nlistatoms + 2
    assert len(graph_of_rank(data, torch.float64).species) == data.nlistatoms
    data.tags[data.tags == 1] = 1001  # as if the first atom were on another rank, which its images tell
    data.tags[0] = 1
    graph = graph_of_rank(data, torch.float64)
    assert graph.species.tolist() == [*data.ielems.tolist(), data.elems[0]]
    assert graph.edge_j.max() == data.nlistatoms


def test_atoms_without_neighbours_and_no_atoms() -> None:
    """LAMMPS' own arrays cannot be read where they are empty."""
    model = UnifiedModel(prepared())
    one = step(model.model, molecule(["O"], np.zeros((1, 3))))
    del one.jelems, one.rij, one.numneighs
    model.compute_forces(one)
    alone = float(predict(model.model, make_graph(model.model, molecule(["O"], np.zeros((1, 3))))).energy)
    assert (one.energy, one.eatoms.tolist(), one.edge_gradients) == (alone, [alone], None)
    nothing = Step(nlistatoms=0, natomneigh=0, energy=7.0)
    model.compute_forces(nothing)
    assert (nothing.energy, nothing.edge_gradients) == (0.0, None)


def test_what_lammps_asks_for() -> None:
    model = UnifiedModel(prepared())
    assert (model.element_types, model.rcutfac, model.units) == (["Ta", "O"], 2.0, "metal")


def test_the_pickle_holds_one_function_of_ours_and_bytes() -> None:
    operations = [
        (operation.name, argument) for operation, argument, _ in pickletools.genops(unified_pickle(prepared()))
    ]
    assert [argument for name, argument in operations if name == "SHORT_BINUNICODE"] == [
        "fitsnap_nn.export.unified",
        "from_bytes",
    ]
    assert sum(name in ("GLOBAL", "STACK_GLOBAL", "INST") for name, _ in operations) == 1
    (payload,) = (argument for name, argument in operations if name == "BINBYTES")
    content = torch.load(io.BytesIO(payload), weights_only=True)
    assert set(content) == {"description", "dtype", "state_dict"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_comes_out_of_the_file(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    monkeypatch.setattr(models, "ARCHITECTURES", {"AtomMessages": "toy_model:AtomMessages"})
    model = prepared(AtomMessages, dtype)
    again = pickle.loads(unified_pickle(model))
    graph = make_graph(model, crystal(ELEMENTS), dtype=dtype)
    assert torch.equal(again.model.atom_energies(graph), model.atom_energies(graph))
    assert again.dtype == dtype
    assert not any(weight.requires_grad for weight in again.model.parameters())


def test_a_gpu_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "ARCHITECTURES", {"AtomMessages": "toy_model:AtomMessages"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("FITSNAP_NN_DEVICE", "cuda")
    content = unified_pickle(prepared())
    with pytest.raises(InputError, match="FITSNAP_NN_DEVICE = cuda, but torch"):
        pickle.loads(content)
    monkeypatch.setenv("FITSNAP_NN_DEVICE", "auto")
    found = pickle.loads(content)
    assert (found.device.type, found.follows_lists, found.note) == ("cpu", False, "")


@pytest.mark.parametrize(("ranks", "gpus", "end"), [(1, 1, "float32"), (4, 2, "2 ranks share it"), (2, 2, "float32")])
def test_the_note_says_where_the_potential_runs(
    monkeypatch: pytest.MonkeyPatch, ranks: int, gpus: int, end: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(devices, "describe", lambda device: f"{device} (a GPU)")
    monkeypatch.delenv("FITSNAP_NN_DEVICE", raising=False)
    monkeypatch.setenv("MPI_LOCALNRANKS", str(ranks))
    monkeypatch.setenv("MPI_LOCALRANKID", str(ranks - 1))
    model = on_this_rank(prepared(dtype=torch.float32))
    assert model.follows_lists
    assert model.note.startswith(f"The potential runs on cuda:{(ranks - 1) % gpus} (a GPU), float32")
    assert model.note.endswith(end)


def test_the_model_is_left_as_it_was() -> None:
    model = prepared().train()
    unified_pickle(model)
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())


def test_not_a_number_is_an_error() -> None:
    model = prepared()
    data = step(model, crystal(ELEMENTS))
    data.rij[3] = np.nan
    with pytest.raises(FloatingPointError, match=r"of atom \d+ is not a finite number: atoms have come too close"):
        UnifiedModel(model).compute_forces(data)


def test_loading_it_imports_nothing_of_the_fit() -> None:
    foreign = ("ase", "scipy", "lammps", "mpi4py", "fitsnap_nn.training", "fitsnap_nn.reports")
    program = (
        f"import sys, fitsnap_nn.export.unified\nprint([name for name in sys.modules if name.startswith({foreign})])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
