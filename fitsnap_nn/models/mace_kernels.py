"""The most expensive operations of MACE as fewer, larger matrix products.

Weights and results are those of mace's blocks, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fitsnap_nn.inputs.graph.padded import gather_rows
from fitsnap_nn.models import mace_cueq
from fitsnap_nn.models.mace_edges import Edges

ROUNDING = 1e-10  # of couplings that vanish when they are summed over the orders of the factors


class Unsorted(NamedTuple):
    """Elements of atoms that `SymmetricProduct` must not sort, because only the device knows their counts.

    Attributes:
        one_hot: (N, elements).
    """

    one_hot: Tensor


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
            edges: the edges in rows.

        Returns:
            (N, outputs).
        """
        if mace_cueq.computes_on(features.device):
            weights = edges.weights_of_edges(weights)
            return mace_cueq.convolve(self._irreps, features, harmonics, weights, edges.sender, edges.receiver)
        rows, length = edges.shape
        # Zeros in padding remove its senders and weights, which are those of other edges, from the sums.
        basis = edges.to_entries(harmonics @ self.basis)
        bases = torch.split(basis, [self._inputs[one][1] * dim for one, _, dim in self._steps], dim=1)
        weights = edges.gather_weights(weights).unsqueeze(1)
        path_weights = torch.split(weights, [self._inputs[one][0] for one, _, _ in self._steps], dim=2)
        parts = torch.split(features, [mul * dim for mul, dim in self._inputs], dim=1)
        sent = [
            edges.gather_senders(part.reshape(len(part), mul, dim).transpose(1, 2))
            for part, (mul, dim) in zip(parts, self._inputs, strict=True)
        ]
        results = {}
        for (one, output, dim), coupled, path_weight in zip(self._steps, bases, path_weights, strict=True):
            mul, width = self._inputs[one]
            weighted = (sent[one] * path_weight).view(rows, length * width, mul)
            sums = torch.bmm(weighted.transpose(1, 2), coupled.reshape(rows, length * width, dim))
            results[output] = sums.flatten(1)
        messages = torch.cat([results[output] for output in sorted(results)], dim=1)
        return edges.sum_rows(messages, len(features))


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
        # Where no product of nu factors has the symmetry of an output, mace has a path of zeros, cuequivariance none.
        self._exists = [
            [bool(one.get_buffer(f"U_matrix_{nu}").any()) for nu in range(1, one.correlation + 1)]
            for one in product.contractions
        ]
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
        self._initialize_pseudo_tensors(couplings)

    @torch.no_grad()
    def _initialize_pseudo_tensors(self, couplings: list[list[Tensor]]) -> None:
        """Give random values to weights that mace sets to 0 although their products exist.

        Where no single factor has the symmetry of the output, mace means to remove the weights of products of one
        factor, but counts them from the other end (``symmetric_contraction.Contraction``). Pseudo-tensors could start
        with products of ``correlation`` factors only, which are small.
        """
        for weights, of_output in zip(self.weights, couplings, strict=True):
            for weight, coupling in zip(weights, of_output, strict=True):
                if not weight.any() and bool((coupling.abs() > ROUNDING).any()):
                    weight.copy_(torch.randn_like(weight) / weight.shape[1])

    def _enumerate(self, needed: list[Tensor]) -> list[Tensor]:
        """Return the monomials of each degree that are needed directly or as a factor of one of higher degree."""
        components = len(needed[0])
        # The index of a monomial has the components of its factors as digits: // removes the last factor, % returns it.
        for nu in range(len(needed), 1, -1):
            needed[nu - 2][needed[nu - 1].nonzero() // components] = True
        monomials = [torch.arange(components), *(mask.nonzero().squeeze(1) for mask in needed[1:])]
        for nu in range(2, len(needed) + 1):
            parents = torch.searchsorted(monomials[nu - 2], monomials[nu - 1] // components)
            self._register_index(f"parents_{nu}", parents, len(monomials[nu - 2]))
            self._register_index(f"factors_{nu}", monomials[nu - 1] % components, components)
        return monomials

    def _register_index(self, name: str, index: Tensor, count: int) -> None:
        """Register indices below ``count``, and where each of them occurs, see `gather_rows`."""
        occurrences = torch.bincount(index, minlength=count)
        self.register_buffer(name, index, persistent=False)
        self.register_buffer(f"{name}_places", torch.argsort(index, stable=True), persistent=False)
        self.register_buffer(f"{name}_offsets", torch.cumsum(occurrences, 0) - occurrences, persistent=False)

    def forward(self, features: Tensor, elements: Tensor | Unsorted) -> Tensor:
        """Return the contractions.

        Args:
            features: (N, channels, components).
            elements: (N, elements) one-hot element of each atom.

        Returns:
            (N, outputs).
        """
        one_hot = elements.one_hot if isinstance(elements, Unsorted) else elements
        element = one_hot.argmax(dim=1)
        if mace_cueq.computes_on(features.device):
            existing = [list(compress(*both)) for both in zip(self.weights, self._exists, strict=True)]
            return mace_cueq.contract(self._irreps, len(self.monomials), existing, features, element)
        if isinstance(elements, Unsorted) or one_hot.shape[1] == 1:
            total = self._for_each_element(features, one_hot)
        else:
            total = self._by_element(features, element, one_hot.shape[1])
        return torch.cat([output.flatten(1) for output in torch.split(total, self._dimensions, dim=2)], dim=1)

    def _by_element(self, features: Tensor, element: Tensor, count: int) -> Tensor:
        """Return the contractions (N, channels, w), with one matrix product per element."""
        # Atoms sorted by element, last, so that each element is one batched matrix product over channels.
        order = torch.argsort(element)
        counts = torch.bincount(element, minlength=count).tolist()
        factors = features.index_select(0, order).permute(2, 1, 0).contiguous()
        monomials = factors
        total = factors.new_zeros(factors.shape[1], sum(self._dimensions), factors.shape[2])
        for nu in range(1, len(self.monomials) + 1):
            if nu > 1:
                parents, last = self.get_buffer(f"parents_{nu}"), self.get_buffer(f"factors_{nu}")
                monomials = monomials.index_select(0, parents) * factors.index_select(0, last)
            by_element = zip(self._coefficients(nu), torch.split(monomials.transpose(0, 1), counts, dim=2), strict=True)
            total = total + torch.cat([torch.bmm(coefficients, part) for coefficients, part in by_element], dim=2)
        return total.index_select(2, torch.argsort(order)).permute(2, 0, 1)

    def _for_each_element(self, features: Tensor, one_hot: Tensor) -> Tensor:
        """Return the contractions (N, channels, w): those of all elements for each atom, of which one is selected.

        The cost is the memory traffic of the monomials, which does not depend on the number of elements.
        """
        factors = features.permute(2, 1, 0).contiguous()
        monomials, total = factors, None
        for nu in range(1, len(self.monomials) + 1):
            if nu > 1:
                monomials = self._gather(monomials, f"parents_{nu}") * self._gather(factors, f"factors_{nu}")
            coefficients = self._coefficients(nu).transpose(0, 1).flatten(1, 2)
            values = torch.bmm(coefficients, monomials.transpose(0, 1))
            total = values if total is None else total + values
        assert total is not None
        by_element = total.view(len(total), one_hot.shape[1], -1, len(one_hot))
        return (by_element * one_hot.t()[:, None]).sum(dim=1).permute(2, 0, 1)

    def _gather(self, rows: Tensor, name: str) -> Tensor:
        places, offsets = self.get_buffer(f"{name}_places"), self.get_buffer(f"{name}_offsets")
        return gather_rows(rows, self.get_buffer(name), places, offsets)

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
