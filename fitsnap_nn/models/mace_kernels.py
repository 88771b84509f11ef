"""What takes most of the time in a MACE, in fewer and larger steps; weights and results are those of mace's blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fitsnap_nn.models import mace_cueq

SLOTS = 16  # edges of an atom that one matrix product sums; where there are fewer, the rest are zeros


class Edges(NamedTuple):
    """The edges of a graph, packed: those of an atom fill rows of S slots, the last row as far as they go.

    Its first two fields are what mace's blocks take from an ``edge_index``.

    Attributes:
        sender, receiver: (E,) atoms; sorted by receiver.
        slot: (E,) the slot of each edge.
        slot_sender, slot_pair: (R, S) atom, and row of the radial weights, of each slot; any where it is empty.
        row_receiver: (R,) the atom that each row is of.
    """

    sender: Tensor
    receiver: Tensor
    slot: Tensor
    slot_sender: Tensor
    slot_pair: Tensor
    row_receiver: Tensor


def pack(sender: Tensor, receiver: Tensor, pair: Tensor, count: int) -> Edges:
    """Edges (E,), sorted by receiver, with the row of the radial weights of each; ``count`` is that of receivers."""
    degree = torch.bincount(receiver, minlength=count)
    slots = min(SLOTS, int(degree.max())) if len(receiver) else 1
    rows = (degree + slots - 1) // slots
    first_edge, first_slot = torch.cumsum(degree, 0) - degree, slots * (torch.cumsum(rows, 0) - rows)
    slot = torch.arange(len(receiver), device=receiver.device) + (first_slot - first_edge)[receiver]
    row_receiver = torch.repeat_interleave(rows)
    empty = slot.new_zeros(slots * len(row_receiver))
    slot_sender, slot_pair = (empty.index_copy(0, slot, values).view(-1, slots) for values in (sender, pair))
    return Edges(sender, receiver, slot, slot_sender, slot_pair, row_receiver)


class Convolution(nn.Module):
    """m_i = sum_j w_ij (h_j x Y_ij): weighted tensor products of channels with harmonics, summed over neighbours.

    The same numbers as e3nn's tensor product and a sum after it. Here Y_ij meets the Clebsch-Gordan coefficients first,
    for all channels at once, and the sum over neighbours is the inner dimension of a matrix product.

    Args:
        product: e3nn's ``TensorProduct``, all instructions "uvu" with one harmonic of each degree.
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
        """(N, outputs) messages from features (N, inputs), harmonics (E, ...) and weights of each pair."""
        if mace_cueq.computes_on(features.device):
            weights = weights.index_select(0, edges.slot_pair.flatten().index_select(0, edges.slot))
            return mace_cueq.convolve(self._irreps, features, harmonics, weights, edges.sender, edges.receiver)
        rows, slots = edges.slot_sender.shape
        senders = edges.slot_sender.flatten()
        basis = harmonics @ self.basis
        basis = basis.new_zeros(rows * slots, basis.shape[1]).index_copy(0, edges.slot, basis)
        bases = torch.split(basis, [self._inputs[one][1] * dim for one, _, dim in self._steps], dim=1)
        weights = weights.index_select(0, edges.slot_pair.flatten()).unsqueeze(1)
        shares = torch.split(weights, [self._inputs[one][0] for one, _, _ in self._steps], dim=2)
        parts = torch.split(features, [mul * dim for mul, dim in self._inputs], dim=1)
        sent = [
            part.reshape(len(part), mul, dim).transpose(1, 2).index_select(0, senders)
            for part, (mul, dim) in zip(parts, self._inputs, strict=True)
        ]
        results = {}
        for (one, place, dim), turned, share in zip(self._steps, bases, shares, strict=True):
            mul, width = self._inputs[one]
            weighted = (sent[one] * share).view(rows, slots * width, mul)
            sums = torch.bmm(weighted.transpose(1, 2), turned.reshape(rows, slots * width, dim))
            results[place] = sums.flatten(1)
        messages = torch.cat([results[place] for place in sorted(results)], dim=1)
        return messages.new_zeros(len(features), messages.shape[1]).index_add(0, edges.row_receiver, messages)


class SymmetricProduct(nn.Module):
    """B_w = sum over degrees nu and paths k of W[z, k] U[w, i_1 ... i_nu, k] a_i_1 ... a_i_nu, for each channel.

    The same numbers as those of mace's ``SymmetricContraction``. Here products that differ in the order of their
    factors are one monomial, which is a monomial of lower degree times one factor; and U is multiplied with W for each
    element and channel, not for each atom.

    Args:
        product: mace's ``SymmetricContraction``, whose initial weights are taken over.

    Attributes:
        places: for each degree, where its monomials are in ``couplings_by_degree``.
    """

    def __init__(self, product: Any) -> None:
        super().__init__()
        self._irreps = (str(product.irreps_in), str(product.irreps_out))
        couplings = [couplings_by_degree(contraction) for contraction in product.contractions]
        self._dimensions = [len(of_output[0]) for of_output in couplings]
        by_degree = [
            torch.cat([of_all.any(dim=2) for of_all in of_degree]) for of_degree in zip(*couplings, strict=True)
        ]
        self.places = self._enumerate([wanted.any(dim=0) for wanted in by_degree])
        for output, of_output in enumerate(couplings):
            for nu, (coupling, places) in enumerate(zip(of_output, self.places, strict=True), start=1):
                self.register_buffer(f"coupling_{output}_{nu}", coupling[:, places])
        self.weights = nn.ParameterList(
            nn.ParameterList(weight.detach().clone() for weight in weights_by_degree(contraction))
            for contraction in product.contractions
        )

    def _enumerate(self, wanted: list[Tensor]) -> list[Tensor]:
        """Places of the monomials of each degree that are wanted, or that those of higher degree are made from."""
        components = len(wanted[0])
        for nu in range(len(wanted), 1, -1):
            wanted[nu - 2][wanted[nu - 1].nonzero() // components] = True
        found = [torch.arange(components), *(places.nonzero().squeeze(1) for places in wanted[1:])]
        for nu in range(2, len(wanted) + 1):
            parents = torch.searchsorted(found[nu - 2], found[nu - 1] // components)
            self.register_buffer(f"parents_{nu}", parents, persistent=False)
            self.register_buffer(f"factors_{nu}", found[nu - 1] % components, persistent=False)
        return found

    def forward(self, features: Tensor, one_hot: Tensor) -> Tensor:
        """(N, outputs) from features (N, channels, components), and the element of each atom (N, elements)."""
        element = one_hot.argmax(dim=1)
        if mace_cueq.computes_on(features.device):
            return mace_cueq.contract(self._irreps, [list(weights) for weights in self.weights], features, element)
        order = torch.argsort(element)
        counts = torch.bincount(element, minlength=one_hot.shape[1]).tolist()
        factors = features.index_select(0, order).permute(2, 1, 0).contiguous()
        monomials = factors
        total = factors.new_zeros(factors.shape[1], sum(self._dimensions), factors.shape[2])
        for nu in range(1, len(self.places) + 1):
            if nu > 1:
                parents, last = self.get_buffer(f"parents_{nu}"), self.get_buffer(f"factors_{nu}")
                monomials = monomials.index_select(0, parents) * factors.index_select(0, last)
            shares = zip(self._coefficients(nu), torch.split(monomials.transpose(0, 1), counts, dim=2), strict=True)
            total = total + torch.cat([torch.bmm(coefficients, share) for coefficients, share in shares], dim=2)
        back = total.index_select(2, torch.argsort(order)).permute(2, 0, 1)
        return torch.cat([output.flatten(1) for output in torch.split(back, self._dimensions, dim=2)], dim=1)

    def _coefficients(self, nu: int) -> Tensor:
        """(elements, channels, w, monomials) of one degree, w counting the components of all outputs."""
        parts = []
        for output, weights in enumerate(self.weights):
            parts.append(torch.einsum("wmk,zkc->zcwm", self.coupling(output, nu), weights[nu - 1]))
        return torch.cat(parts, dim=2)

    def coupling(self, output: int, nu: int) -> Tensor:
        """(w, monomials, paths) U of one output and degree, summed over orders."""
        return self.get_buffer(f"coupling_{output}_{nu}")


def couplings_by_degree(contraction: Any) -> list[Tensor]:
    """(w, components ** nu, paths) for nu = 1, 2, ...: U, its sum over orders of factors where they are ordered."""
    components = contraction.coupling_irreps.dim
    found = []
    for nu in range(1, contraction.correlation + 1):
        tensor = contraction.get_buffer(f"U_matrix_{nu}")
        flat = tensor.reshape(-1, components**nu, tensor.shape[-1])
        places = torch.cartesian_prod(*[torch.arange(components)] * nu).view(-1, nu).sort(dim=1).values
        ordered = (places * components ** torch.arange(nu - 1, -1, -1)).sum(dim=1)
        found.append(torch.zeros_like(flat).index_add(1, ordered, flat))
    return found


def weights_by_degree(contraction: Any) -> list[Tensor]:
    """(elements, paths, channels) for nu = 1, 2, ..."""
    return [*reversed(list(contraction.weights)), contraction.weights_max]


class Chebyshev(nn.Module):
    """T_1(x) ... T_n(x), by their recurrence; mace's own module has no derivative."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        """(E, n) of (E, 1)."""
        terms = [torch.ones_like(x), x]
        while len(terms) <= self.count:
            terms.append(2.0 * x * terms[-1] - terms[-2])
        return torch.cat(terms[1 : self.count + 1], dim=1)
