"""Pairs of LAMMPS' neighbour lists as tensors that stay on a device until LAMMPS builds the lists again.

The lists extend beyond the cutoff by LAMMPS' skin, so that they change every ten steps or so; positions change at each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.inputs.graph.padded import FAR, extended
from fitsnap_nn.plugin.data import ListStep

Ints = NDArray[np.int64]

ASYMMETRIC = (
    "asymmetric neighbour list: a pair within the cutoff is listed in one direction only. "
    "Increase the skin (command neighbor), or check the initial structure."
)


class Sizes(NamedTuple):
    """Numbers of rows of the tensors of a step, padding included; each is larger than what a structure needs.

    Attributes:
        atoms: N, owned atoms.
        positions: A, owned atoms and ghosts.
        pairs: P, pairs in the lists of LAMMPS.
        edges: E, pairs within the cutoff; even.
        columns: M, neighbours of an atom within the cutoff.
    """

    atoms: int
    positions: int
    pairs: int
    edges: int
    columns: int


class PairLists(NamedTuple):
    """Pairs of owned atoms, P with padding, sorted by their first atom.

    The last two positions belong to padding: a padding pair connects them, and is longer than any cutoff.

    Attributes:
        row_i, row_j: (P,) rows of the positions of the two ends.
        atom_i, atom_j: (P,) owned atoms that the ends are images of; the last of the N atoms in padding.
        reverse: (P,) pair from the same image of j to i; the pair itself in padding.
        bounds: (N + 1,) first pair of each atom, and the number of pairs without padding.
        species, config: (N,) as in `Graph`, where padding atoms are a second configuration.
        n_atoms, volume: (2,) as in `Graph`.
    """

    row_i: Tensor
    row_j: Tensor
    atom_i: Tensor
    atom_j: Tensor
    reverse: Tensor
    bounds: Tensor
    species: Tensor
    config: Tensor
    n_atoms: Tensor
    volume: Tensor

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return len(self.row_i)

    def padded(self, sizes: Sizes) -> PairLists:
        """Return the lists with padding.

        Args:
            sizes: larger than the present ones.
        """
        last_atom, pairs = sizes.atoms - 1, self.n_pairs
        added = torch.tensor([sizes.atoms - len(self.species)], device=self.species.device)
        return PairLists(
            extended(self.row_i, sizes.pairs, sizes.positions - 2),
            extended(self.row_j, sizes.pairs, sizes.positions - 1),
            extended(self.atom_i, sizes.pairs, last_atom),
            extended(self.atom_j, sizes.pairs, last_atom),
            torch.cat([self.reverse, torch.arange(pairs, sizes.pairs, device=self.reverse.device)]),
            extended(self.bounds, sizes.atoms + 1, pairs),
            extended(self.species, sizes.atoms, 0),
            extended(self.config, sizes.atoms, 1),
            torch.cat([self.n_atoms, added]),
            extended(self.volume, 2, 1.0),
        )


class Measured(NamedTuple):
    """Pairs at one step.

    Attributes:
        vectors: (P, 3) Å, float64.
        squared: (P,) Å².
        before: (P + 1,) number of pairs within the cutoff before each pair, and of all.
    """

    vectors: Tensor
    squared: Tensor
    before: Tensor


def read_lists(step: ListStep, cutoff: float, device: torch.device) -> PairLists:
    """Return the lists of LAMMPS without padding.

    Args:
        step: of a single rank, where every ghost is an image of an owned atom.
        cutoff: Å.
        device: of the result.

    Raises:
        LammpsError: a pair within the cutoff lacks its reverse.
    """
    own = len(step.numneighs)
    owners = step.owners.astype(np.int64)
    code, codes = _image_codes(step, owners)
    counts = torch.from_numpy(step.numneighs).to(device, torch.int64)
    row_j = torch.from_numpy(step.pair_j).to(device, torch.int64)
    row_i = torch.repeat_interleave(torch.arange(own, device=device), counts, output_size=len(row_j))
    atom_j = torch.from_numpy(owners).to(device).index_select(0, row_j)
    code_j = torch.from_numpy(code).to(device).index_select(0, row_j)
    reverse, found = _reverse(
        (row_i * own + atom_j) * codes + code_j, (atom_j * own + row_i) * codes - code_j + codes - 1
    )
    lists = PairLists(
        row_i,
        row_j,
        row_i,
        atom_j,
        reverse,
        torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        torch.from_numpy(step.elems[:own]).to(device, torch.int64),
        counts.new_zeros(own),
        counts.new_full((1,), own),
        torch.ones(1, dtype=torch.float64, device=device),
    )
    if bool(found.all()):
        return lists
    # By rounding, a pair at the end of the skin may be listed in one direction only. It is left out.
    positions = torch.from_numpy(step.positions).to(device)
    ends = positions.index_select(0, row_j[~found]) - positions.index_select(0, row_i[~found])
    if bool((ends.square().sum(dim=1) < cutoff**2).any()):
        raise LammpsError(ASYMMETRIC)
    return only(lists, found)


def _image_codes(step: ListStep, owners: Ints) -> tuple[Ints, int]:
    """Return a number (N,) for the periodic image that each row is, and how many there are.

    The number of the opposite image is the count less one less the number.
    """
    shifts = (step.positions - step.positions[owners]) @ np.linalg.inv(np.array(step.cell))
    images = np.rint(shifts).astype(np.int64)
    span = int(np.abs(images).max(initial=0))
    base = 2 * span + 1
    return (images + span) @ np.array([base**2, base, 1]), base**3


def _reverse(key: Tensor, reversed_key: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each key the place of the key that is equal to its reversed one, and whether there is one."""
    if not len(key):
        return key, key.bool()
    ordered, order = key.sort()
    place = torch.searchsorted(ordered, reversed_key).clamp_max(len(key) - 1)
    return order.index_select(0, place), ordered.index_select(0, place) == reversed_key


def only(lists: PairLists, kept: Tensor) -> PairLists:
    """Return the lists without some pairs.

    Args:
        lists: without padding.
        kept: (P,) pairs that remain; the reverse of each is among them.
    """
    place = torch.cat([kept.new_zeros(1, dtype=torch.int64), kept.cumsum(0)])
    row_i, row_j, atom_i, atom_j, reverse = (one[kept] for one in lists[:5])
    return lists._replace(
        row_i=row_i,
        row_j=row_j,
        atom_i=atom_i,
        atom_j=atom_j,
        reverse=place[reverse],
        bounds=place[lists.bounds],
    )


def measure(positions: Tensor, lists: PairLists, cutoff: float) -> Measured:
    """Return the pairs at one step, without waiting for the device.

    Args:
        positions: (A, 3) Å, float64.
        lists: the pairs.
        cutoff: Å.
    """
    vectors = positions.index_select(0, lists.row_j) - positions.index_select(0, lists.row_i)
    squared = vectors.square().sum(dim=1)
    # Not `squared < cutoff²`: a distance that is no number must reach the model, whose energy then is none either.
    near = (squared >= cutoff**2).logical_not()
    # By rounding, a pair at the cutoff may be within it in one direction only.
    near = near & near.index_select(0, lists.reverse)
    return Measured(vectors, squared, torch.cat([lists.reverse.new_zeros(1), near.cumsum(0)]))


def padding_positions() -> Tensor:
    """Return the last two positions, (2, 3) Å."""
    return torch.tensor([[0.0, 0.0, 0.0], FAR], dtype=torch.float64)
