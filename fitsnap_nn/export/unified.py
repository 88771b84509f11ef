"""Model object of ``pair_style mliap unified FILE 0`` for every `GraphModel`.

Its file is a pickle that contains only the name of a function of this module and a payload that
``torch.load(weights_only=True)`` reads; see `mliappy` for the reason. In LAMMPS with our plugin it runs on any number
of ranks. LAMMPS' own Python ML-IAP (4 Feb 2025) has no communication for message passing, so that such models run on
one rank there. It does not pass atom IDs to the model either; the model reads them through a pointer to LAMMPS, see
`pointer`. The model runs on the GPU of its rank if there is one; under ``pair_style mliap/kk`` of a LAMMPS with KOKKOS,
where the data of LAMMPS are.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitsnap_nn import devices
from fitsnap_nn.data.configuration import MIN_DISTANCE
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.lammps_data import LammpsData
from fitsnap_nn.export.mliappy import NAME, abort_all_ranks_on_error
from fitsnap_nn.export.pointer import PointedLammps, stored_pointer
from fitsnap_nn.export.rank_graph import (
    graph_of_all,
    graph_of_kokkos,
    graph_of_rank,
    graph_without_messages,
    is_kokkos,
)
from fitsnap_nn.export.resident import ResidentModel, contact_message
from fitsnap_nn.export.targets_of_atoms import components_of_targets, values_of_atoms
from fitsnap_nn.export.threads import limit_threads
from fitsnap_nn.export.uncertainty import UNCERTAINTY, uncertainty_of_graph, uncertainty_of_rank
from fitsnap_nn.export.whole_system import ONE_RANK, WholeSystem
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.integrity import deserialize, seal, serialize
from fitsnap_nn.launch import is_first_rank, local_rank, local_size, world_size
from fitsnap_nn.models import GraphModel, Model, build_model
from fitsnap_nn.models.uncertainty import Uncertainty
from fitsnap_nn.models.uncertainty import from_payload as uncertainty_from
from fitsnap_nn.plugin.data import ListStep

CPU = torch.device("cpu")


class UnifiedModel:
    """Per-atom energies and their derivatives with respect to edge vectors, in the interface that LAMMPS calls.

    Attributes:
        element_types: symbols in the order of the model's elements; ``pair_coeff`` may list them in any order.
        rcutfac, cutoff: half the cutoff, and the cutoff, Å.
        ndescriptors, nparams: required by LAMMPS, but not used.
        units: LAMMPS units.
        reference: pair styles that the model was fitted on top of, separated by blanks; empty if unknown.
        follows_lists: whether our plugin passes the neighbour lists of LAMMPS to `compute_lists`, on a single rank.
        note: the line that says which GPU is used; empty on the CPU.
        atom_targets: number of components of each target by name; ``fix pair`` reads their values in LAMMPS.
    """

    units = "metal"
    reference = ""
    ndescriptors = 1
    nparams = 1

    def __init__(
        self,
        model: GraphModel,
        lammps: Any = None,
        device: torch.device = CPU,
        *,
        follows_lists: bool | None = None,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        """
        Args:
            model: the model; moved to the device at the first step.
            lammps: pointer to LAMMPS, for one without our plugin; ``None`` if unknown.
            device: on which it is evaluated, unless the data of LAMMPS are on a GPU.
            follows_lists: see the class; by default on a GPU, where selecting the pairs costs little. On a CPU it costs
                more than LAMMPS needs for it. Models with long-range interactions need the positions in the lists.
            uncertainty: how the uncertainty of forces is found, if it is known.
        """
        self._lammps = PointedLammps(lammps)
        self.model = model
        self.device = device
        self.dtype = model.precision
        self.element_types = list(model.elements)
        self.cutoff = model.cutoff
        self.rcutfac = 0.5 * model.cutoff
        on_lists = model.has_long_range or (device != CPU and model.takes_padding)
        self.follows_lists = on_lists if follows_lists is None else follows_lists
        self.note = _note(device, self.dtype)
        self.uncertainty = uncertainty
        self.atom_targets = components_of_targets(model) | ({UNCERTAINTY: 1} if uncertainty else {})
        self._residents: WeakKeyDictionary[object, ResidentModel | WholeSystem] = WeakKeyDictionary()

    def compute_lists(self, step: ListStep) -> float:
        """Compute the energies and forces of all atoms on a single rank, from the neighbour lists of LAMMPS.

        Args:
            step: receives energies (eV) and forces (eV/Å).

        Returns:
            Energy, eV.

        Raises:
            LammpsError: two atoms are at the same place, or the memory of the GPU is too small.
        """
        with self._on(self.device):
            resident = self._residents.get(step.simulation)
            if resident is None:
                kind = WholeSystem if self.model.has_long_range else ResidentModel
                resident = self._residents[step.simulation] = kind(self.model, self.dtype, self.device)
            return resident.compute(step)

    def compute_list_targets(self, step: ListStep, names: Sequence[str]) -> NDArray[np.float64]:
        """Return the values (nlocal, components) of targets, from the neighbour lists of LAMMPS.

        Args:
            step: as for `compute_lists`, but its results are not used.
            names: names of targets.
        """
        with self._on(self.device):
            # A new graph, because the lists may have changed since targets were asked for.
            graph = WholeSystem(self.model, self.dtype, self.device).graph(step)
            if self.uncertainty is None or UNCERTAINTY not in names:
                return values_of_atoms(self.model, graph, names)
            return uncertainty_of_graph(self.model, self.uncertainty, graph)

    def compute_targets(self, data: LammpsData, names: Sequence[str]) -> NDArray[np.float64]:
        """Return the same from the atoms and pairs of this rank.

        Args:
            data: as for `compute_forces`, but its results are not used.
            names: names of targets.
        """
        with self._on(self.device):
            graph = self._graph(data, exchanges=True)
            if UNCERTAINTY in names:
                return self._uncertainty_of(data, graph)
            return values_of_atoms(self.model, graph, names)

    def _uncertainty_of(self, data: LammpsData, graph: Graph) -> NDArray[np.float64]:
        """Return the uncertainty (nlocal, 1) of the forces on the atoms of this rank, eV/Å."""
        assert self.uncertainty is not None, "the quantity is declared"
        own = int(data.nlistatoms)
        if not own:
            return np.zeros((0, 1))  # the plugin takes part in the exchanges of the other ranks
        return uncertainty_of_rank(
            self.model, self.uncertainty, data, lambda one: self._results(data, graph, own, one)[1]
        )

    def compute_descriptors(self, data: LammpsData) -> None:
        """Do nothing; required by LAMMPS. `compute_forces` does all the work."""

    def compute_gradients(self, data: LammpsData) -> None:
        """Do nothing; required by LAMMPS."""

    def compute_forces(self, data: LammpsData) -> None:
        """Compute the energies of the atoms of this rank, and the resulting forces on these atoms and on ghosts.

        Args:
            data: atoms and pairs of this rank; receives energies (eV) and forces (eV/Å).

        Raises:
            ValueError: LAMMPS was asked for the neighbours of ghosts.
            FloatingPointError: an energy or a derivative is not finite.
            LammpsError: a message-passing model lacks atom IDs or communication, or one with long-range interactions
                does not run on one rank with the plugin.
        """
        exchanges = hasattr(data, "edge_exchange")
        with abort_all_ranks_on_error(errors_are_collective=exchanges):
            if data.natomneigh != data.nlistatoms:
                raise ValueError("the model does not use neighbours of ghosts: end `pair_style mliap unified` with 0")
            if self.model.has_long_range:
                raise LammpsError(ONE_RANK)
            if is_kokkos(data):
                self._compute_kokkos(data)
                return
            if not exchanges:
                self._say_device()
            with self._on(self.device):
                found = self._evaluate(data, exchanges) if data.nlistatoms else (torch.zeros(0), None)
            energies, edge_gradients = found
            data.energy = float(energies.sum())
            if len(energies):
                data.eatoms = energies.cpu().numpy()
            if edge_gradients is not None:
                data.update_pair_forces(edge_gradients.cpu().numpy())

    def _compute_kokkos(self, data: LammpsData) -> None:
        """Compute the same under ``pair_style mliap/kk``, whose arrays and results stay where they are."""
        own = int(data.nlistatoms)
        if not own:
            if self.model.num_message_passing and world_size() > 1:
                raise LammpsError(
                    "a rank without atoms takes no part in the exchanges of mliap/kk, for which the other ranks wait. "
                    "Use fewer ranks, or the command balance."
                )
            data.energy = 0.0
            return
        device = torch.as_tensor(data.elems).device
        with self._on(device):
            graph = graph_of_kokkos(data, self.dtype, bool(self.model.num_message_passing))
            energies, edge_gradients = self._results(data, graph, own, self.model)
            data.energy = float(energies.sum())  # waits for the device, as LAMMPS' kernels may use another stream
            torch.as_tensor(data.eatoms).copy_(energies)
            if len(edge_gradients):
                data.update_pair_forces(edge_gradients)

    def _evaluate(self, data: LammpsData, exchanges: bool) -> tuple[Tensor, Tensor | None]:
        """Return energies (nlistatoms,), eV, and edge gradients (npairs, 3), eV/Å (``None`` without pairs), float64."""
        if not exchanges:
            self._check_input(data)
        graph = self._graph(data, exchanges)
        energies, edge_gradients = self._results(data, graph, int(data.nlistatoms), self.model)
        return energies, edge_gradients if len(edge_gradients) else None

    def _graph(self, data: LammpsData, exchanges: bool) -> Graph:
        """Return the graph of the atoms of this rank, which come first; ``exchanges``: with our plugin."""
        if not self.model.num_message_passing:
            return graph_without_messages(data, len(self.element_types), self.dtype, self.device)
        if exchanges:
            return graph_of_rank(data, self.dtype, self.device)
        return graph_of_all(data, self._lammps.all_ids(data.ntotal), self.dtype, self.device)

    def _results(self, data: LammpsData, graph: Graph, own: int, model: Model[Graph]) -> tuple[Tensor, Tensor]:
        """Return energies (own,), eV, and edge gradients (E, 3), eV/Å, of a graph by a model; float64."""
        vectors = graph.vectors.requires_grad_(True)
        energies = model.atom_energies(graph)[:own]
        (edge_gradients,) = torch.autograd.grad(energies.sum(), vectors, materialize_grads=True)
        energies, edge_gradients = energies.detach(), edge_gradients.double()
        if not (energies.isfinite().all() and edge_gradients.isfinite().all()):
            wrong = ~energies.isfinite()
            wrong[graph.edge_i[~edge_gradients.isfinite().all(dim=1)]] = True
            rows = torch.as_tensor(data.iatoms)[:own].cpu().numpy()
            (atom,) = self._lammps.ids(data, rows[wrong.cpu().numpy()][:1])
            raise FloatingPointError(
                f"the model's energy or a force of atom {atom} is not a finite number: atoms have come too close, or "
                "the run is unstable. Reduce the time step, or check the initial structure."
            )
        return energies, edge_gradients

    @contextmanager
    def _on(self, device: torch.device) -> Iterator[None]:
        """Move the model to a device, and explain if its memory is too small.

        Raises:
            LammpsError: the memory of the GPU is too small.
        """
        # CUDA graphs and streams belong to the current GPU; -1 leaves it as it is.
        with torch.cuda.device(device if device.type == "cuda" else -1):
            try:
                if self.model.element_energies.device != device:  # visiting all tensors takes up to 0.4 ms
                    self.model.to(device)
                yield
            except torch.OutOfMemoryError as error:
                raise LammpsError(
                    f"the memory of {device} is too small for the atoms of this rank. Use more GPUs with one rank "
                    f"each, a smaller structure, or a model in float32 (this one: {dtype_name(self.dtype)}). {error}"
                ) from error

    def _say_device(self) -> None:
        """Print the note once, on the first rank; our plugin does it itself."""
        if self.note and is_first_rank():
            print(self.note, flush=True)
        self.note = ""

    def _check_input(self, data: LammpsData) -> None:
        """Check what our plugin checks itself: the units of the input, and that no atoms are at the same place.

        Raises:
            LammpsError: they are wrong.
        """
        if data.npairs and (close := np.einsum("px,px->p", data.rij, data.rij) < MIN_DISTANCE**2).any():
            pair = int(close.argmax())
            rows = np.array([np.repeat(data.iatoms, data.numneighs)[pair], data.jatoms[pair]])
            first, second = self._lammps.ids(data, rows)
            raise LammpsError(contact_message(first, second))
        if (units := self._lammps.units()) not in (None, self.units):
            raise LammpsError(f"the model uses units {self.units}, but the input script uses units {units}")

    def __reduce__(self) -> tuple[Callable[[bytes], UnifiedModel], tuple[bytes]]:
        content = {
            "description": self.model.description(),
            "dtype": dtype_name(self.dtype),
            "state_dict": {name: tensor.detach().cpu() for name, tensor in self.model.state_dict().items()},
            **({"uncertainty": self.uncertainty.payload()} if self.uncertainty else {}),
        }
        return from_bytes, (serialize(content),)


def unified_pickle(model: GraphModel, uncertainty: Uncertainty | None = None) -> bytes:
    """Return the content of the file that LAMMPS opens.

    Args:
        model: the model.
        uncertainty: how its uncertainty is found, if it is known.
    """
    return seal(pickle.dumps(UnifiedModel(model, uncertainty=uncertainty), protocol=4))


def from_bytes(payload: bytes) -> UnifiedModel:
    """Return the model of a pickle, which names this function.

    Args:
        payload: result of `serialize`.

    Raises:
        CheckpointError: the payload is damaged.
    """
    if world_size() > 1:
        limit_threads()
    return on_this_rank(*_content(payload), stored_pointer())


def on_this_rank(model: GraphModel, uncertainty: Uncertainty | None = None, lammps: Any = None) -> UnifiedModel:
    """Return the object that LAMMPS calls, for the device of this rank: a GPU if there is one.

    Args:
        model: the model.
        uncertainty, lammps: see `UnifiedModel`.

    Raises:
        InputError: ``FITSNAP_NN_DEVICE`` names a device that does not exist.
    """
    return UnifiedModel(model, lammps, devices.choose(local_rank=local_rank()), uncertainty=uncertainty)


def _note(device: torch.device, dtype: torch.dtype) -> str:
    if device == CPU:
        return ""
    sharing = sum(devices.choose(local_rank=rank) == device for rank in range(local_size()))
    others = f"; {sharing} ranks share it" if sharing > 1 else ""
    return f"The potential runs on {devices.describe(device)}, {dtype_name(dtype)}{others}"


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a type without that of the library, such as ``float32``."""
    return str(dtype).removeprefix("torch.")


# Scripts that clear LAMMPS for each structure load the same file every time, and building MACE takes half a second.
@lru_cache(maxsize=2)
def _content(payload: bytes) -> tuple[GraphModel, Uncertainty | None]:
    content = deserialize(payload, NAME)
    model = cast(GraphModel, build_model(content["description"]))
    model.set_precision(getattr(torch, content["dtype"]))
    model.load_state_dict(content["state_dict"])
    return model.eval().requires_grad_(False), uncertainty_from(content.get("uncertainty"))
