"""A graph model that needs the positions of all atoms and the cell at once, for molecular dynamics on a single rank."""

from __future__ import annotations

import numpy as np
import torch

from fitsnap_nn.data.configuration import MIN_DISTANCE
from fitsnap_nn.data.voigt import FROM_LAMMPS
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.pair_lists import PairLists, measure, only, read_lists
from fitsnap_nn.export.resident import VIRIAL_ATOM, contact_message
from fitsnap_nn.inputs.graph.placed import WIRE, PlacedGraph, near_origin
from fitsnap_nn.memory import keep_freed_memory
from fitsnap_nn.models import GraphModel
from fitsnap_nn.plugin.data import ListStep

ONE_RANK = (
    "a model with long-range interactions needs the positions of all atoms at once. Run LAMMPS on one rank, with the "
    "plugin of fitsnap_nn; more cores are used with OMP_NUM_THREADS."
)


class WholeSystem:
    """Energies and forces of a model with long-range interactions.

    Args:
        model: on the device, without parameters that require gradients.
        dtype: of the graph.
        device: of the model.
    """

    def __init__(self, model: GraphModel, dtype: torch.dtype, device: torch.device) -> None:
        self._model = model
        self._dtype = dtype
        self._device = device
        self._lists: PairLists | None = None
        keep_freed_memory()  # the phases of an Ewald sum are the largest arrays, and allocated in every step

    @torch.no_grad()
    def compute(self, step: ListStep) -> float:
        """Compute energies, forces and virial of one step.

        Args:
            step: receives the results.

        Returns:
            Energy, eV.

        Raises:
            LammpsError: two atoms are at the same place, a pair within the cutoff lacks its reverse, one direction
                only is periodic, or virials of atoms are asked for.
        """
        own = len(step.numneighs)
        if not own:
            return 0.0
        if step.vflag & VIRIAL_ATOM:
            raise LammpsError(
                "virials of single atoms (compute stress/atom and others) are not defined with long-range "
                "interactions. Use the pressure of the system."
            )
        graph = self.graph(step)
        energies, gradients = self._model.energies_and_gradients(graph)
        step.eatoms[:] = energies.cpu().numpy()
        step.f[:] = graph.forces(gradients).cpu().numpy()
        virial = graph.virials(gradients)[0].double().cpu().numpy()
        step.pair_style.add_virial(np.ascontiguousarray(-virial[np.argsort(FROM_LAMMPS)]))
        return float(energies.sum())

    def graph(self, step: ListStep) -> PlacedGraph:
        """Return the graph of the pairs within the cutoff.

        Args:
            step: its results are not used.

        Raises:
            LammpsError: as `compute`.
        """
        if self._model.has_long_range and sum(step.periodic) == 1:
            raise LammpsError(f"{WIRE}.")
        if step.changed or self._lists is None:
            self._lists = None  # an error below must not leave the previous ones
            self._lists = read_lists(step, self._model.cutoff, self._device)
        measured = measure(torch.from_numpy(step.positions).to(self._device), self._lists, self._model.cutoff)
        self._refuse_contacts(step, measured.squared)
        near = measured.before.diff().bool()
        lists = only(self._lists, near)
        cell, own = np.array(step.cell), len(step.numneighs)
        positions = near_origin(step.positions[:own], cell, np.array(step.periodic, dtype=bool))
        return PlacedGraph(
            species=lists.species,
            config=lists.config,
            n_atoms=lists.n_atoms,
            volume=lists.volume,
            edge_i=lists.atom_i,
            edge_j=lists.atom_j,
            reverse_edge_index=lists.reverse,
            vectors=measured.vectors[near].to(self._dtype),
            positions=torch.from_numpy(positions).to(self._device, self._dtype),
            cells=torch.from_numpy(cell[None]).to(self._device, self._dtype),
            periodic=torch.tensor([step.periodic], device=self._device).bool(),
        )

    def _refuse_contacts(self, step: ListStep, squared: torch.Tensor) -> None:
        """Refuse two atoms at the same place.

        Raises:
            LammpsError: it names them.
        """
        assert self._lists is not None
        if len(squared) and float(squared.min()) < MIN_DISTANCE**2:
            pair = int(squared.argmin())
            raise LammpsError(
                contact_message(*(int(step.tags[int(rows[pair])]) for rows in (self._lists.row_i, self._lists.row_j)))
            )
