"""A step of molecular dynamics needs nothing on the host, and consists of the same operations at other positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.export.pair_lists import PairLists, Sizes
from fitsnap_nn.export.resident import ResidentModel
from fitsnap_nn.models import build_model
from fitsnap_nn.plugin.data import ListStep
from fitsnap_nn.testing.device_rules import META, DeviceRules
from fitsnap_nn.testing.graphs import crystal

SIZES = Sizes(atoms=24, positions=64, pairs=256, edges=128, columns=8)
SMALL = {
    "MACE": {"hidden_irreps": "4x0e+4x1o", "max_ell": 2, "correlation": 2, "radial_MLP": [8]},
    "NANOPET": {"d_pet": 8, "num_heads": 2, "zbl": True},
    "SOAP_BPNN": {"max_angular": 3, "max_radial": 3, "zbl": True},
    "CUSTOM": {"layer_sizes": ["num_desc", "8", "1"], "multi_element_option": 2},
}
LIBRARIES = {"MACE": "mace", "SOAP_BPNN": "spex"}


def on_device(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=META)


def prepared(request: pytest.FixtureRequest, architecture: str) -> Any:
    if architecture in LIBRARIES:
        request.getfixturevalue(LIBRARIES[architecture])
    torch.manual_seed(4)
    return build_model({"architecture": architecture, "elements": ["Ta", "O"], **SMALL[architecture]})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("architecture", SMALL)
def test_a_step_stays_on_the_device(request: pytest.FixtureRequest, architecture: str, dtype: torch.dtype) -> None:
    model = prepared(request, architecture)
    model.set_precision(dtype)
    resident = ResidentModel(model.to(META).eval().requires_grad_(False), dtype, META)
    resident._resize(SIZES)
    sizes = resident._sizes
    atoms, pairs = sizes.atoms, sizes.pairs
    lists = PairLists(
        *(on_device(pairs) for _ in range(5)),
        *(on_device(atoms + 1), on_device(atoms), on_device(atoms), on_device(2)),
        on_device(2, dtype=torch.float64),
    )
    positions = on_device(sizes.positions, 3, dtype=torch.float64)
    with DeviceRules() as rules:
        result, *_ = resident._step(positions, *lists)
    assert rules.count > 100
    assert result.shape == (4 * atoms + 12,)
    assert (result.dtype, result.device) == (torch.float64, META)


class Tallies:
    """Receives virials in place of the pair style."""

    def add_virial(self, virial: NDArray[np.float64]) -> None:
        self.virial = virial

    def add_atom_virials(self, virials: NDArray[np.float64]) -> None:
        self.virials = virials


def list_step(seed: int) -> ListStep:
    """Atoms of a periodic cell whose lists hold all pairs within 7 Å, whatever the seed of the displacements."""
    configuration = crystal(["Ta", "O"])
    neighbours = find_neighbours(configuration, 7.0)
    images = np.column_stack([neighbours.j, neighbours.shifts])
    own = len(configuration)
    ghosts, number = np.unique(images[neighbours.shifts.any(axis=1)], axis=0, return_inverse=True)
    rows = neighbours.j.astype(np.int32)
    rows[neighbours.shifts.any(axis=1)] = own + number.reshape(-1)
    owners = np.concatenate([np.arange(own), ghosts[:, 0]])
    moved = configuration.positions + np.random.default_rng(seed).normal(scale=0.1, size=(own, 3))
    shifts = np.concatenate([np.zeros((own, 3)), ghosts[:, 1:]])
    return ListStep(
        simulation=None,
        pair_style=Tallies(),  # type: ignore[arg-type]
        vflag=4,
        changed=seed == 0,
        cell=tuple(map(tuple, configuration.cell.tolist())),
        periodic=(1, 1, 1),
        elems=np.array(configuration.element_indices(["Ta", "O"]), dtype=np.int32)[owners],
        tags=(owners + 1).astype(np.int32),
        owners=owners.astype(np.float64),
        numneighs=np.bincount(neighbours.i, minlength=own).astype(np.int32),
        pair_j=rows,
        positions=moved[owners] + shifts @ configuration.cell,
        eatoms=np.zeros(own),
        f=np.zeros((own, 3)),
    )


@pytest.mark.parametrize("architecture", SMALL)
def test_recorded_operations_hold_for_other_positions(request: pytest.FixtureRequest, architecture: str) -> None:
    """As a CUDA graph, which repeats the operations of one step at all others."""
    model = prepared(request, architecture)
    model.set_precision(torch.float64)
    resident = ResidentModel(model.eval().requires_grad_(False), torch.float64, torch.device("cpu"))
    resident.compute(list_step(0))
    lists = resident._lists
    assert lists is not None
    recorded = make_fx(resident._step)(resident._positions.clone(), *lists)
    counts = set()
    for seed in (1, 2, 3):
        step = list_step(seed)
        energy = resident.compute(step)
        expected = resident._result.clone()
        assert resident._lists is lists
        result, *_ = recorded(resident._positions.clone(), *lists)
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
        assert energy == pytest.approx(float(step.eatoms.sum()))
        assert np.abs(step.f.sum(axis=0)).max() < 1e-9
        counts.add(float(result[-3]))
    assert len(counts) > 1  # of pairs within the cutoff
