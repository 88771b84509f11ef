"""The unified object under ``pair_style mliap/kk``, with a stand-in for the data that LAMMPS passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stand_in_kokkos import check_kokkos, kokkos_data
from toy_model import AtomMessages, EdgeMessages

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export import unified
from fitsnap_nn.export.unified import UnifiedModel
from fitsnap_nn.models import GraphModel, build_model
from fitsnap_nn.testing.graphs import crystal, molecule

ELEMENTS = ("Ta", "O")


def prepared(model: GraphModel, dtype: torch.dtype = torch.float64) -> GraphModel:
    model.set_precision(dtype)
    model.element_energies += torch.tensor([-30.0, 2.5])
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layers", [1, 3])
def test_energies_and_forces(layers: int, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    model = prepared(AtomMessages(ELEMENTS, layers=layers), dtype)
    data = check_kokkos(model, crystal(ELEMENTS), "cpu", 1e-12 if dtype == torch.float64 else 1e-5)
    # The gradient of a layer goes back when that of the next layers is known.
    assert data.exchanges == ["forward"] * (layers - 1) + ["reverse"] * (layers - 1)


def test_mace(mace: None) -> None:
    torch.manual_seed(3)
    small = {"max_ell": 2, "correlation": 2, "radial_MLP": [8], "MLP_irreps": "4x0e", "avg_num_neighbors": 9.0}
    model = build_model(
        {"architecture": "MACE", "elements": ELEMENTS, "r_max": 4.0, "hidden_irreps": "4x0e+4x1o", **small}
    )
    check_kokkos(prepared(model), crystal(ELEMENTS), "cpu", 1e-12)


def test_an_atom_without_neighbours() -> None:
    model = prepared(AtomMessages(ELEMENTS))
    data = kokkos_data(model, molecule(["O"], np.zeros((1, 3))))
    data.pair_i = data.pair_j = data.rij = None  # as for null pointers in LAMMPS
    UnifiedModel(model).compute_forces(data)  # type: ignore[arg-type]
    assert data.total == pytest.approx(float(data.energies))
    assert data.forces is None


def test_messages_of_pairs_are_refused() -> None:
    model = prepared(EdgeMessages(ELEMENTS))
    with pytest.raises(LammpsError, match="mliap/kk does not exchange the messages of pairs"):
        UnifiedModel(model).compute_forces(kokkos_data(model, crystal(ELEMENTS)))  # type: ignore[arg-type]


def test_types_without_an_element_are_refused() -> None:
    model = prepared(AtomMessages(ELEMENTS))
    data = kokkos_data(model, crystal(ELEMENTS))
    data.elems[1] = -1
    with pytest.raises(LammpsError, match="whose type pair_coeff maps to NULL"):
        UnifiedModel(model).compute_forces(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_rank_without_atoms(monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
    monkeypatch.setattr(unified, "world_size", lambda: ranks)
    model = prepared(AtomMessages(ELEMENTS))
    data: Any = kokkos_data(model, crystal(ELEMENTS))
    data.nlistatoms = data.natomneigh = 0
    if ranks == 1:
        UnifiedModel(model).compute_forces(data)
        assert data.total == 0.0
        return
    with pytest.raises(LammpsError, match="a rank without atoms takes no part"):
        UnifiedModel(model)._compute_kokkos(data)
