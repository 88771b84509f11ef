"""Rows of atoms on which the networks of SOAP-BPNN are evaluated."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """Rows to evaluate: one per atom with neighbours, plus one per element shared by all atoms without.

    Ghosts have no neighbours, so that they add no rows.

    Attributes:
        row_of_atom: (N,) row of each atom.
        species: (R,) element of each row, sorted.
        counts: number of rows per element.
    """

    row_of_atom: Tensor
    species: Tensor
    counts: list[int]

    def of_atoms(self, values: Tensor) -> Tensor:
        """Return the values (R,) of each atom, (N,)."""
        return values.index_select(0, self.row_of_atom)

    def linear(self, values: Tensor, weights: Tensor) -> Tensor:
        """Return the rows (R, ..., in) times the matrix (out, in) of their element, or of all: (R, ..., out)."""
        if len(weights) == 1:
            return values @ weights[0].t()
        return torch.cat([part @ w.t() for part, w in zip(torch.split(values, self.counts), weights, strict=True)])

    def select(self, values: Tensor) -> Tensor:
        """Return the values (S, K) of the element of each row: (R, K), or (1, K) if common to all elements."""
        return values if len(values) == 1 else values.index_select(0, self.species)


class AllRows(NamedTuple):
    """One row per atom of a padded graph, with masks of the elements; methods as in `Rows`.

    Attributes:
        one_hot: (N, elements).
    """

    one_hot: Tensor

    def of_atoms(self, values: Tensor) -> Tensor:
        return values

    def linear(self, values: Tensor, weights: Tensor) -> Tensor:
        if len(weights) == 1:
            return values @ weights[0].t()
        # One product with the matrices of all elements, of which one result is kept.
        by_element = (values @ weights.flatten(0, 1).t()).view(*values.shape[:-1], *weights.shape[:2])
        one_hot = self.one_hot.view(len(values), *[1] * (values.dim() - 2), *self.one_hot.shape[1:], 1)
        return (by_element * one_hot).sum(dim=-2)

    def select(self, values: Tensor) -> Tensor:
        return values if len(values) == 1 else (self.one_hot[:, :, None] * values).sum(dim=1)
