"""The object behind ``pair_style mliap unified FILE 0`` for every `GraphModel`.

Its file is a pickle that holds no more than the name of a function of this module and a payload that
``torch.load(weights_only=True)`` reads; `mliappy` says why it is no ``.pt``. It runs in LAMMPS with our plugin at any
number of ranks. LAMMPS' own Python ML-IAP (4 Feb 2025) has no way to pass messages, so that a model with messages runs
on one rank there; and it does not tell a model which atoms the ghosts are images of, so that LAMMPS must be asked, for
which `HAND_OVER` gives it to Python.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.lammps_data import LammpsData
from fitsnap_nn.export.mliappy import ending_all_ranks
from fitsnap_nn.export.payload import keep_to_one_thread, packed, unpacked
from fitsnap_nn.export.rank_graph import NEEDS_IDS, graph_of_all, graph_of_rank, graph_without_messages
from fitsnap_nn.launch import world_size
from fitsnap_nn.models import GraphModel, build_model

# Commands before ``pair_style`` that make LAMMPS known to the model; for a LAMMPS without our plugin.
HANDED_OVER = "fitsnap_nn_lammps"
HAND_OVER = (
    f"python {HANDED_OVER} input 1 SELF format p here 'def {HANDED_OVER}(lammps): {HANDED_OVER}.lammps = lammps'",
    f"python {HANDED_OVER} invoke",
)


class UnifiedModel:
    """Energies of atoms, and their derivatives by the vectors to neighbours, as LAMMPS asks for them.

    Attributes:
        element_types: symbols, in the order of the model's elements; ``pair_coeff`` may have them in any other.
        rcutfac: half the cutoff, Å.
        ndescriptors, nparams: what LAMMPS wants to know and makes no use of.
        units: the LAMMPS units of its numbers.
    """

    units = "metal"
    ndescriptors = 1
    nparams = 1

    def __init__(self, model: GraphModel, lammps: Any = None) -> None:
        """
        Args:
            lammps: the pointer to LAMMPS that `HAND_OVER` got.
        """
        self._lammps = lammps
        self.model = model
        self.dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
        self.element_types = list(model.elements)
        self.rcutfac = 0.5 * model.cutoff

    def compute_descriptors(self, data: LammpsData) -> None:
        """Nothing is to be done in this turn of LAMMPS."""

    def compute_gradients(self, data: LammpsData) -> None:
        """Nor in this."""

    def compute_forces(self, data: LammpsData) -> None:
        """Fill in the energies of this rank's atoms, and the forces that follow from them on these and on ghosts.

        Args:
            data: what LAMMPS hands over, see ``lammps_plugin.data.Data``.
        """
        exchanges = hasattr(data, "edge_exchange")
        with ending_all_ranks(errors_are_collective=exchanges):
            if data.natomneigh != data.nlistatoms:
                raise ValueError("the model makes no use of ghosts' neighbours: end `pair_style mliap unified` with 0")
            energies, edge_gradients = self._evaluate(data, exchanges) if data.nlistatoms else (torch.zeros(0), None)
            data.energy = float(energies.sum())
            if len(energies):
                data.eatoms = energies.numpy()
            if edge_gradients is not None:
                data.update_pair_forces(edge_gradients.numpy())

    def _evaluate(self, data: LammpsData, exchanges: bool) -> tuple[Tensor, Tensor | None]:
        """Energies (nlistatoms,) and their derivatives (npairs, 3), ``None`` without pairs; float64."""
        own = int(data.nlistatoms)
        if not self.model.num_message_passing:
            graph = graph_without_messages(data, len(self.element_types), self.dtype)
        elif exchanges:
            graph = graph_of_rank(data, self.dtype)
        else:
            graph = graph_of_all(data, self._tags(data.ntotal), self.dtype)
        energies = self.model.atom_energies(graph)[:own]
        (edge_gradients,) = torch.autograd.grad(energies.sum(), graph.vectors, materialize_grads=True)
        energies, edge_gradients = energies.detach(), edge_gradients.double()
        if not (energies.isfinite().all() and edge_gradients.isfinite().all()):
            raise FloatingPointError(
                "the model's energy is not a finite number: atoms have come too close, or the run has blown up"
            )
        return energies, edge_gradients if len(edge_gradients) else None

    def _tags(self, count: int) -> NDArray[np.int32]:
        """(count,) ids of all atoms and ghosts, where LAMMPS does not hand them over.

        Raises:
            LammpsError: there are several ranks, or LAMMPS is not known.
        """
        if self._lammps is None:
            raise LammpsError(
                "this LAMMPS does not pass atom IDs to the model. Include the .mod file that was exported with the "
                "model, which asks LAMMPS for them, or run with the plugin of fitsnap_nn."
            )
        from lammps import lammps

        instance = lammps(ptr=self._lammps)
        if instance.extract_setting("world_size") > 1:
            raise LammpsError(
                "this LAMMPS cannot pass a model's messages between ranks. Run it on one rank, "
                "or with the plugin of fitsnap_nn."
            )
        tags: NDArray[np.int32] | None = instance.numpy.extract_atom("id", nelem=count)
        if tags is None or not tags.all():
            raise LammpsError(NEEDS_IDS)
        return tags

    def __reduce__(self) -> tuple[Callable[[bytes], UnifiedModel], tuple[bytes]]:
        content = {
            "description": self.model.description(),
            "dtype": str(self.dtype).removeprefix("torch."),
            "state_dict": {name: tensor.detach().cpu() for name, tensor in self.model.state_dict().items()},
        }
        return from_bytes, (packed(content),)


def unified_pickle(model: GraphModel) -> bytes:
    """What the file that LAMMPS opens must hold."""
    return pickle.dumps(UnifiedModel(model), protocol=4)


def from_bytes(payload: bytes) -> UnifiedModel:
    """The model that a pickle holds."""
    if world_size() > 1:
        keep_to_one_thread()
    content = unpacked(payload)
    model = cast(GraphModel, build_model(content["description"]))
    model.set_precision(getattr(torch, content["dtype"]))
    model.load_state_dict(content["state_dict"])
    model.eval().requires_grad_(False)
    return UnifiedModel(model, getattr(getattr(sys.modules["__main__"], HANDED_OVER, None), "lammps", None))
