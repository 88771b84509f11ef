"""The most expensive operations of MACE as fewer, larger matrix products.

Weights and results are those of mace's blocks, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fitsnap_nn.models import mace_cueq

MAX_ROW_LENGTH = 16  # maximum number of edges per row, over which one matrix product sums


class Edges(NamedTuple):
    """Edges of a graph in padded rows of S entries; an atom has as many rows as its edges need.

    mace's blocks index an ``edge_index`` with 0 and 1, which here are the first two fields.

    Attributes:
        sender, receiver: (E,) atoms of each edge, sorted by receiver.
        entry: (E,) entry of each edge in the flattened rows.
        entry_sender, entry_pair: (R, S) sender, and row of the radial weights, of each entry; 0 in padding.
        row_receiver: (R,) receiver of each row.
    """

    sender: Tensor
    receiver: Tensor
    entry: Tensor
    entry_sender: Tensor
    entry_pair: Tensor
    row_receiver: Tensor


def pad_edges(sender: Tensor, receiver: Tensor, pair: Tensor, count: int) -> Edges:
    """Return edges in padded rows.

    Args:
        sender, receiver: (E,) atoms of each edge, sorted by receiver.
        pair: (E,) row of the radial weights of each edge.
        count: number of atoms.
    """
    degree = torch.bincount(receiver, minlength=count)
    length = min(MAX_ROW_LENGTH, int(degree.max())) if len(receiver) else 1
    rows = (degree + length - 1) // length
    first_edge, first_entry = torch.cumsum(degree, 0) - degree, length * (torch.cumsum(rows, 0) - rows)
    entry = torch.arange(len(receiver), device=receiver.device) + (first_entry - first_edge)[receiver]
    row_receiver = torch.repeat_interleave(rows)
    padding = entry.new_zeros(length * len(row_receiver))
    entry_sender, entry_pair = (padding.index_copy(0, entry, values).view(-1, length) for values in (sender, pair))
    return Edges(sender, receiver, entry, entry_sender, entry_pair, row_receiver)


class Convolution(nn.Module):
    """m_i = sum_j w_ij (h_j x Y_ij): weighted tensor products of features with harmonics, summed over neighbours.

    Equivalent to e3nn's ``TensorProduct`` followed by a scatter-add. Here Y_ij is contracted with the Clebsch-Gordan
    coefficients first, once for all channels, and the sum over neighbours is the inner dimension of a matrix product.
    No array of (edges, channels, components of the messages) is stored.

    Args:
        product: e3nn's ``TensorProduct``, with "uvu" instructions only and one harmonic of each degree.
        coupling: e3nn's ``wigner_3j``.
    """

    def __init__(self, product: Any, coupling: Callable[..., Tensor]) -> None:
        super().__init__()
        inputs, harmonics, outputs = product.irreps_in1, product.irreps_in2, product.irreps_out
        self.weight_numel = int(product.weight_numel)
        self._irreps = (str(inputs), str(harmonics), str(outputs))
        self._inputs = [(mul, ir.dim) for mul, ir in inputs]
        self._steps = [(step.i_in1, step.i_out, outputs[step.i_out].ir.dim) for step in product.instructions]
        blocks = []
        for step in product.instructions:
            one, two, three = inputs[step.i_in1].ir, harmonics[step.i_in2].ir, outputs[step.i_out].ir
            block = torch.zeros(harmonics.dim, one.dim, three.dim, dtype=torch.float64)
            coefficients = coupling(one.l, two.l, three.l, dtype=torch.float64)
            block[harmonics.slices()[step.i_in2]] = step.path_weight * coefficients.transpose(0, 1)
            blocks.append(block.flatten(1))
        self.basis: Tensor
        self.register_buffer("basis", torch.cat(blocks, dim=1))

    def forward(self, features: Tensor, harmonics: Tensor, weights: Tensor, edges: Edges) -> Tensor:
        """Return the messages.

        Args:
            features: (N, inputs).
            harmonics: (E, (l_max + 1)²) spherical harmonics of the edges.
            weights: (pairs, paths x channels) radial weights.
            edges: the edges in padded rows.

        Returns:
            (N, outputs).
        """
        if mace_cueq.computes_on(features.device):
            weights = weights.index_select(0, edges.entry_pair.flatten().index_select(0, edges.entry))
            return mace_cueq.convolve(self._irreps, features, harmonics, weights, edges.sender, edges.receiver)
        rows, length = edges.entry_sender.shape
        senders = edges.entry_sender.flatten()
        basis = harmonics @ self.basis
        # Zeros in padding remove its senders and weights, which are those of atom and pair 0, from the sums.
        basis = basis.new_zeros(rows * length, basis.shape[1]).index_copy(0, edges.entry, basis)
        bases = torch.split(basis, [self._inputs[one][1] * dim for one, _, dim in self._steps], dim=1)
        weights = weights.index_select(0, edges.entry_pair.flatten()).unsqueeze(1)
        path_weights = torch.split(weights, [self._inputs[one][0] for one, _, _ in self._steps], dim=2)
        parts = torch.split(features, [mul * dim for mul, dim in self._inputs], dim=1)
        sent = [
            part.reshape(len(part), mul, dim).transpose(1, 2).index_select(0, senders)
            for part, (mul, dim) in zip(parts, self._inputs, strict=True)
        ]
        results = {}
        for (one, output, dim), coupled, path_weight in zip(self._steps, bases, path_weights, strict=True):
            mul, width = self._inputs[one]
            weighted = (sent[one] * path_weight).view(rows, length * width, mul)
            sums = torch.bmm(weighted.transpose(1, 2), coupled.reshape(rows, length * width, dim))
            results[output] = sums.flatten(1)
        messages = torch.cat([results[output] for output in sorted(results)], dim=1)
        return messages.new_zeros(len(features), messages.shape[1]).index_add(0, edges.row_receiver, messages)


class SymmetricProduct(nn.Module):
    """B_w = sum over degrees nu and paths k of W[z, k] U[w, i_1 ... i_nu, k] a_i_1 ... a_i_nu, for each channel.

    Equivalent to mace's ``SymmetricContraction``, at lower cost for two reasons. Products that differ only in the order
    of their factors are one monomial, computed from a monomial of lower degree and one factor. U is contracted with W
    once per element and channel instead of once per atom.

    Args:
        product: mace's ``SymmetricContraction``; its initial weights are copied.

    Attributes:
        monomials: for each degree, indices of its monomials in ``couplings_by_degree``.
    """

    def __init__(self, product: Any) -> None:
        super().__init__()
        self._irreps = (str(product.irreps_in), str(product.irreps_out))
        couplings = [couplings_by_degree(contraction) for contraction in product.contractions]
        self._dimensions = [len(of_output[0]) for of_output in couplings]
        by_degree = [
            torch.cat([of_all.any(dim=2) for of_all in of_degree]) for of_degree in zip(*couplings, strict=True)
        ]
        self.monomials = self._enumerate([nonzero.any(dim=0) for nonzero in by_degree])
        for output, of_output in enumerate(couplings):
            for nu, (coupling, monomials) in enumerate(zip(of_output, self.monomials, strict=True), start=1):
                self.register_buffer(f"coupling_{output}_{nu}", coupling[:, monomials])
        self.weights = nn.ParameterList(
            nn.ParameterList(weight.detach().clone() for weight in weights_by_degree(contraction))
            for contraction in product.contractions
        )

    def _enumerate(self, needed: list[Tensor]) -> list[Tensor]:
        """Return the monomials of each degree that are needed directly or as a factor of one of higher degree."""
        components = len(needed[0])
        # The index of a monomial has the components of its factors as digits: // removes the last factor, % returns it.
        for nu in range(len(needed), 1, -1):
            needed[nu - 2][needed[nu - 1].nonzero() // components] = True
        monomials = [torch.arange(components), *(mask.nonzero().squeeze(1) for mask in needed[1:])]
        for nu in range(2, len(needed) + 1):
            parents = torch.searchsorted(monomials[nu - 2], monomials[nu - 1] // components)
            self.register_buffer(f"parents_{nu}", parents, persistent=False)
            self.register_buffer(f"factors_{nu}", monomials[nu - 1] % components, persistent=False)
        return monomials

    def forward(self, features: Tensor, one_hot: Tensor) -> Tensor:
        """Return the contractions.

        Args:
            features: (N, channels, components).
            one_hot: (N, elements) element of each atom.

        Returns:
            (N, outputs).
        """
        element = one_hot.argmax(dim=1)
        if mace_cueq.computes_on(features.device):
            return mace_cueq.contract(self._irreps, [list(weights) for weights in self.weights], features, element)
        # Atoms sorted by element, last, so that each element is one batched matrix product over channels.
        order = torch.argsort(element)
        counts = torch.bincount(element, minlength=one_hot.shape[1]).tolist()
        factors = features.index_select(0, order).permute(2, 1, 0).contiguous()
        monomials = factors
        total = factors.new_zeros(factors.shape[1], sum(self._dimensions), factors.shape[2])
        for nu in range(1, len(self.monomials) + 1):
            if nu > 1:
                parents, last = self.get_buffer(f"parents_{nu}"), self.get_buffer(f"factors_{nu}")
                monomials = monomials.index_select(0, parents) * factors.index_select(0, last)
            by_element = zip(self._coefficients(nu), torch.split(monomials.transpose(0, 1), counts, dim=2), strict=True)
            total = total + torch.cat([torch.bmm(coefficients, part) for coefficients, part in by_element], dim=2)
        unsorted = total.index_select(2, torch.argsort(order)).permute(2, 0, 1)
        return torch.cat([output.flatten(1) for output in torch.split(unsorted, self._dimensions, dim=2)], dim=1)

    def _coefficients(self, nu: int) -> Tensor:
        """Return W U of one degree, (elements, channels, w, monomials); w runs over the components of all outputs."""
        parts = []
        for output, weights in enumerate(self.weights):
            parts.append(torch.einsum("wmk,zkc->zcwm", self.coupling(output, nu), weights[nu - 1]))
        return torch.cat(parts, dim=2)

    def coupling(self, output: int, nu: int) -> Tensor:
        """Return the coupling coefficients U of an output, summed over the orders of the factors.

        Args:
            output: index of the output representation.
            nu: degree.

        Returns:
            (w, monomials, paths).
        """
        return self.get_buffer(f"coupling_{output}_{nu}")


def couplings_by_degree(contraction: Any) -> list[Tensor]:
    """Return the coupling coefficients U of mace's ``Contraction``, summed over the orders of the factors.

    Args:
        contraction: mace's ``Contraction``.

    Returns:
        For nu = 1, 2, ...: (w, components ** nu, paths). The sum is stored at the monomial with sorted factors; the
        others are 0.
    """
    components = contraction.coupling_irreps.dim
    couplings = []
    for nu in range(1, contraction.correlation + 1):
        tensor = contraction.get_buffer(f"U_matrix_{nu}")
        flat = tensor.reshape(-1, components**nu, tensor.shape[-1])
        factors = torch.cartesian_prod(*[torch.arange(components)] * nu).view(-1, nu).sort(dim=1).values
        ordered = (factors * components ** torch.arange(nu - 1, -1, -1)).sum(dim=1)
        couplings.append(torch.zeros_like(flat).index_add(1, ordered, flat))
    return couplings


def weights_by_degree(contraction: Any) -> list[Tensor]:
    """Return the weights of mace's ``Contraction``, which stores the highest degree apart and the others descending.

    Args:
        contraction: mace's ``Contraction``.

    Returns:
        For nu = 1, 2, ...: (elements, paths, channels).
    """
    return [*reversed(list(contraction.weights)), contraction.weights_max]


class Chebyshev(nn.Module):
    """Chebyshev polynomials T_1(x) ... T_n(x) by their recurrence; mace's module is not differentiable."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        """Return T_1(x) ... T_n(x), (E, n), for x (E, 1)."""
        terms = [torch.ones_like(x), x]
        while len(terms) <= self.count:
            terms.append(2.0 * x * terms[-1] - terms[-2])
        return torch.cat(terms[1 : self.count + 1], dim=1)
