"""A graph model whose graph stays on its device from step to step, for molecular dynamics on a single rank.

When LAMMPS builds its neighbour lists, their pairs go to the device once. At each other step the host sends positions
and receives energies and forces; the device selects the pairs within the cutoff. All sizes are rounded up, so that a
GPU can repeat the whole step as one CUDA graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitsnap_nn.data.configuration import MIN_DISTANCE
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.pair_lists import Measured, PairLists, Sizes, measure, padding_positions, read_lists
from fitsnap_nn.inputs.graph.padded import PaddedGraph
from fitsnap_nn.models import GraphModel
from fitsnap_nn.models.captured import Captured
from fitsnap_nn.plugin.data import ListStep

VIRIAL_ATOM = 4  # bit of LAMMPS' vflag
TAIL = 12  # numbers after energies and forces in a result: virial, pairs, most neighbours, least squared distance
VOIGT = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # LAMMPS' order
# Sizes exceed what is needed by these factors, so that they rarely change: a change captures the step anew.
SPARE = (1.0, 1.1, 1.08, 1.03, 1.0)
MULTIPLES = Sizes(atoms=32, positions=64, pairs=256, edges=64, columns=4)
EXCESS = 1.4  # sizes larger than this multiple of what is needed, and than some multiples, are reduced


class ResidentModel:
    """Energies and forces of a model, with its graph on the device of its weights.

    Args:
        model: on the device, without parameters that require gradients.
        dtype: of the edge vectors.
        device: of the model.
    """

    def __init__(self, model: GraphModel, dtype: torch.dtype, device: torch.device) -> None:
        self._model = model
        self._dtype = dtype
        self._device = device
        self._sizes = Sizes(0, 0, 0, 0, 0)
        self._lists: PairLists | None = None

    def compute(self, step: ListStep) -> float:
        """Compute energies, forces and virial of one step.

        Args:
            step: receives the results.

        Returns:
            Energy, eV.

        Raises:
            LammpsError: two atoms are at the same place, or a pair within the cutoff lacks its reverse.
        """
        own = len(step.numneighs)
        if not own:
            return 0.0
        if step.changed or self._lists is None:
            self._read(step)
        self._positions[: len(step.positions)] = torch.from_numpy(step.positions)
        outputs, result = self._run()
        while not self._fits(result):
            outputs, result = self._run()
        atoms = self._sizes.atoms
        if result[-1] < MIN_DISTANCE**2:
            raise LammpsError(self._contact(step))
        step.eatoms[:] = result[:own]
        step.f[:] = result[atoms : atoms + 3 * own].reshape(own, 3)
        virial = result[4 * atoms : 4 * atoms + 9].reshape(3, 3)
        step.pair_style.add_virial(np.array([virial[place] for place in VOIGT]))
        if step.vflag & VIRIAL_ATOM:
            step.pair_style.add_atom_virials(_atom_virials(*outputs[1:])[:own])
        return float(result[:own].sum())

    def _read(self, step: ListStep) -> None:
        """Read the lists of LAMMPS, and adapt the sizes to them."""
        self._lists = None  # an error below must not leave the previous ones
        lists = read_lists(step, self._model.cutoff, self._device)
        positions = torch.from_numpy(step.positions).to(self._device)
        count = measure(positions, lists, self._model.cutoff).before
        ends = count.index_select(0, lists.bounds)
        edges, columns = int(count[-1]), int(ends.diff().max())
        needed = Sizes(len(lists.species) + 1, len(positions) + 2, lists.n_pairs + 1, edges + 2, columns + 1)
        self._resize(needed)
        self._positions[len(positions) : self._sizes.positions - 2] = 0.0
        self._lists = lists.padded(self._sizes)

    def _resize(self, needed: Sizes) -> None:
        """Adapt the sizes where they are too small or much too large; a GPU then captures the step anew."""
        kept = [
            need <= have <= max(EXCESS * need, 4 * multiple)
            for have, need, multiple in zip(self._sizes, needed, MULTIPLES, strict=True)
        ]
        if all(kept):
            return
        sizes = Sizes(
            *(
                have if keep else -(-int(need * spare) // multiple) * multiple
                for have, need, keep, spare, multiple in zip(self._sizes, needed, kept, SPARE, MULTIPLES, strict=True)
            )
        )
        if sizes.positions != self._sizes.positions:
            self._positions = torch.zeros(sizes.positions, 3, dtype=torch.float64)
            self._positions[-2:] = padding_positions()
        self._sizes = sizes
        pinned = self._device.type == "cuda"
        self._result = torch.empty(4 * sizes.atoms + TAIL, dtype=torch.float64, pin_memory=pinned)
        self._captured = Captured(self._step, self._device)

    def _run(self) -> tuple[Sequence[Tensor], NDArray[np.float64]]:
        """Return the results of a step on the device, and the first of them on the host."""
        assert self._lists is not None
        outputs = self._captured(self._positions, *self._lists)
        self._result.copy_(outputs[0])
        return outputs, self._result.numpy()

    def _fits(self, result: NDArray[np.float64]) -> bool:
        """Return whether all pairs within the cutoff had room in the graph; if not, enlarge it."""
        edges, columns = int(result[-3]), int(result[-2])
        if edges <= self._sizes.edges and columns <= self._sizes.columns:
            return True
        self._resize(
            self._sizes._replace(edges=max(edges, self._sizes.edges), columns=max(columns, self._sizes.columns))
        )
        return False

    def _step(self, positions: Tensor, *lists: Tensor) -> tuple[Tensor, ...]:
        """Return energies, forces, virial and counts in one tensor, and what `_atom_virials` needs."""
        pairs = PairLists(*lists)
        measured = measure(positions, pairs, self._model.cutoff)
        graph, vectors, degree = _graph(pairs, measured, self._sizes, self._dtype)
        with torch.enable_grad():
            graph.vectors.requires_grad_(True)
            energies = self._model.atom_energies(graph)
            (gradients,) = torch.autograd.grad(energies.sum(), graph.vectors, materialize_grads=True)
        gradients = gradients.double()
        # The force on an atom from a neighbour j is dE/dr_ij - dE/dr_ji.
        forces = graph.sum_by_centre(gradients - gradients.index_select(0, graph.reverse_edge_index))
        virial = -(vectors[:, :, None] * gradients[:, None, :]).sum(dim=0)
        tail = torch.stack([measured.before[-1].double(), degree.max().double(), measured.squared.min()])
        result = torch.cat([energies.detach(), forces.flatten(), virial.flatten(), tail])
        return result, vectors, gradients, graph.reverse_edge_index, graph.table

    def _contact(self, step: ListStep) -> str:
        """Return the message for two atoms at the same place."""
        assert self._lists is not None
        measured = measure(self._positions.to(self._device), self._lists, self._model.cutoff)
        pair = int(measured.squared.argmin())
        first, second = (int(step.tags[int(rows[pair])]) for rows in (self._lists.row_i, self._lists.row_j))
        return contact_message(first, second)


def contact_message(first: int, second: int) -> str:
    """Return the message for two atoms at the same place.

    Args:
        first, second: their IDs.
    """
    return (
        f"atoms {first} and {second} are at the same place, less than {MIN_DISTANCE:g} Å apart. "
        "Forces are not defined there: correct the structure."
    )


def _graph(
    pairs: PairLists, measured: Measured, sizes: Sizes, dtype: torch.dtype
) -> tuple[PaddedGraph, Tensor, Tensor]:
    """Return the graph of the pairs within the cutoff, without waiting for the device.

    If there are more than the sizes allow, it has none: an index of a missing edge would end a program on a GPU.

    Args:
        pairs: lists with padding.
        measured: at this step.
        sizes: of the graph.
        dtype: of its vectors.

    Returns:
        The graph, its vectors (E, 3) in float64, and the number of neighbours (N,) that each atom would have.
    """
    device = measured.before.device
    needed = measured.before.index_select(0, pairs.bounds).diff()
    fits = (measured.before[-1] <= sizes.edges) & (needed.max() <= sizes.columns)
    count = measured.before * fits
    number = torch.arange(sizes.edges, device=device)
    # The pair with number + 1 pairs within the cutoff up to and including it; padding edges are the last padding pair.
    source = torch.searchsorted(count[1:], number, right=True).clamp_max(sizes.pairs - 1)
    real = number < count[-1]
    # Neighbouring padding edges are each other's reverse: the number of edges is even.
    reverse = count.index_select(0, pairs.reverse.index_select(0, source))
    ends = count.index_select(0, pairs.bounds)
    first, degree = ends[:-1], ends.diff()
    column = torch.arange(sizes.columns, device=device)
    table = torch.where(column < degree[:, None], first[:, None] + column, sizes.edges)
    edge_i = pairs.atom_i.index_select(0, source)
    place = edge_i * sizes.columns + number - first.index_select(0, edge_i)
    slot = torch.where(real, place, sizes.atoms * sizes.columns)
    vectors = measured.vectors.index_select(0, source)
    graph = PaddedGraph(
        species=pairs.species,
        config=pairs.config,
        n_atoms=pairs.n_atoms,
        volume=pairs.volume,
        edge_i=edge_i,
        edge_j=pairs.atom_j.index_select(0, source),
        reverse_edge_index=torch.where(real, reverse, number ^ 1),
        vectors=vectors.to(dtype, copy=True),
        table=table,
        slot=slot,
    )
    return graph, vectors, needed


def _atom_virials(vectors: Tensor, gradients: Tensor, reverse: Tensor, table: Tensor) -> NDArray[np.float64]:
    """Return the virials (N, 6) of the atoms, eV; each pair adds half of its virial to both of its atoms."""
    products = -torch.stack([vectors[:, one] * gradients[:, other] for one, other in VOIGT], dim=1)
    both = 0.5 * (products + products.index_select(0, reverse))
    sums = torch.cat([both, torch.zeros_like(both[:1])])[table].sum(dim=1)
    return np.ascontiguousarray(sums.cpu().numpy())
