"""A stand-in for what ``pair_style mliap/kk`` of a LAMMPS with KOKKOS passes to a unified model.

The attributes and calls are those of ``MLIAPDataPy`` in src/KOKKOS/mliap_unified_couple_kokkos.pyx of LAMMPS. On a GPU
its arrays are CuPy arrays; here they have only the interface by which torch reads these without a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.models import GraphModel
from fitsnap_nn.testing.graphs import GhostGraph, ghost_graph


@dataclass(frozen=True)
class DeviceArray:
    """An array in the memory of a GPU, as CuPy's are for others."""

    tensor: Tensor

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return dict(self.tensor.__cuda_array_interface__)


class KokkosData:
    """All atoms of a configuration on one rank, with their periodic images as ghosts.

    Attributes:
        forces: (P, 3) what the model passed to ``update_pair_forces``.
        exchanges: names of the exchanges, in the order of the calls.
    """

    def __init__(self, graph: GhostGraph, device: torch.device) -> None:
        own = graph.owned
        self._owner = graph.owner.to(device)
        self._energies = torch.zeros(own, dtype=torch.float64, device=device)
        self._total = 0.0
        self.nlocal = self.nlistatoms = self.natomneigh = own
        self.ntotal = len(graph.species)
        self.npairs = self.nneigh_max = len(graph.edge_i)
        self.elems, self.pair_i, self.pair_j = (
            self._array(one.to(torch.int32)) for one in (graph.species, graph.edge_i, graph.edge_j)
        )
        self.jatoms = self.pair_j
        self.iatoms = self._array(torch.arange(own, dtype=torch.int32))
        self.rij = self._array(graph.vectors.double())
        self.forces: Tensor | None = None
        self.exchanges: list[str] = []

    def _array(self, values: Tensor) -> Any:
        values = values.to(self._owner.device)
        return DeviceArray(values) if values.is_cuda else values.numpy()

    @property
    def eatoms(self) -> Any:
        return self._array(self._energies)  # of the same memory

    @property
    def energies(self) -> Tensor:
        return self._energies.cpu()

    @property
    def total(self) -> float:
        return self._total

    def _set_energy(self, value: float) -> None:
        self._total = float(value)

    energy = property(fset=_set_energy)  # LAMMPS' cannot be read

    def update_pair_forces(self, fij: Tensor) -> None:
        assert fij.dtype == torch.float64
        assert fij.device == self._owner.device
        assert fij.is_contiguous()
        self.forces = fij.clone()

    def forward_exchange(self, copy_from: Tensor, copy_to: Tensor, vec_len: int) -> None:
        self._check("forward", copy_from, copy_to, vec_len)
        copy_to.copy_(copy_from.view(self.ntotal, vec_len)[self._owner])

    def reverse_exchange(self, copy_from: Tensor, copy_to: Tensor, vec_len: int) -> None:
        self._check("reverse", copy_from, copy_to, vec_len)
        values = copy_from.view(self.ntotal, vec_len)
        copy_to.copy_(torch.zeros_like(values).index_add_(0, self._owner, values))

    def _check(self, name: str, copy_from: Tensor, copy_to: Tensor, vec_len: int) -> None:
        """LAMMPS reads pointers: it would not notice a wrong shape, type or device."""
        for one in (copy_from, copy_to):
            assert one.is_contiguous()
            assert one.numel() == self.ntotal * vec_len
            assert one.device == self._owner.device
            assert one.dtype == copy_from.dtype
        assert copy_from.data_ptr() != copy_to.data_ptr()
        self.exchanges.append(name)


def kokkos_data(model: GraphModel, configuration: Configuration, device: str = "cpu") -> KokkosData:
    """Return the data of a configuration for a model."""
    return KokkosData(ghost_graph(model, configuration), torch.device(device))


def check_kokkos(model: GraphModel, configuration: Configuration, device: str, tolerance: float) -> KokkosData:
    """Compare energies, forces and virial with those of the configuration at once; return the data."""
    from fitsnap_nn.export.unified import UnifiedModel
    from fitsnap_nn.testing.graphs import make_graph

    dtype = next(model.parameters()).dtype
    model.to("cpu")
    graph = make_graph(model, configuration, dtype=dtype)
    energies, gradients = (one.detach() for one in model.energies_and_gradients(graph))
    data = kokkos_data(model, configuration, device)
    UnifiedModel(model).compute_forces(data)  # type: ignore[arg-type]
    assert data.forces is not None
    found = data.forces.cpu().to(dtype)
    scale = max(1.0, float(gradients.abs().max()))
    # A model may attribute the derivative of a distance to either direction of a pair.
    for of in (model.forces_from, model.virials_from):
        assert float((of(graph, found) - of(graph, gradients)).abs().max()) < 30 * tolerance * scale
    assert float((data.energies - energies).abs().max()) < tolerance * scale
    assert abs(data.total - float(energies.sum())) < tolerance * scale * len(configuration)
    return data
