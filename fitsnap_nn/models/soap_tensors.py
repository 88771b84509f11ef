"""Targets of SOAP-BPNN: invariant coefficients from the network times equivariant basis tensors, as in metatrain.

The basis of a block of degree l consists of products of three vectors, which are linear combinations of the expansion
coefficients of degree 1, and of linear combinations of the expansion coefficients of degree l (the lambda basis).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from fitsnap_nn.data.symmetries import Block
from fitsnap_nn.inputs.constants import Float64Constants
from fitsnap_nn.models.mlp import uniform
from fitsnap_nn.models.soap_rows import AllRows, Rows
from fitsnap_nn.models.spherical import coupling, raise_degree
from fitsnap_nn.models.targets import TargetSpec

VANISHING = 1e-5  # root mean square of coefficients that vanish by symmetry, up to rounding; others are of order 0.1


class TensorBasis(nn.Module):
    """Basis tensors of a block of degree l for each atom, made of vectors v_1, v_2, v_3 and n = v_1 x v_2.

    A product of vectors stands for its part of degree l. Those of a vectors v_1 and l - a vectors v_2 are complete for
    tensors that the mirror plane of v_1 and v_2 leaves unchanged. For the others one factor is v_3, or n in a
    pseudo-tensor. The former are multiplied by the pseudoscalar w_1 . (w_2 x w_3) of three more vectors in a
    pseudo-tensor; so is the lambda basis.

    Args:
        block: the block.
        channels: number of channels of the expansion for each degree.
        networks: number of elements with weights of their own, or 1.
        lambda_basis: add 2l + 1 combinations of the expansion coefficients of degree l, for l > 1.

    Attributes:
        size: number of basis tensors.
    """

    def __init__(self, block: Block, channels: Sequence[int], networks: int, lambda_basis: bool) -> None:
        super().__init__()
        self.block = block
        degree, vectors = block.degree, 6 if block.pseudo else 3
        self.vectors = nn.Parameter(uniform((networks, vectors, channels[1]), channels[1]))
        self.size = 2 * degree + 1
        self.tensors: nn.Parameter | None = None
        if lambda_basis and degree > 1:
            self.tensors = nn.Parameter(uniform((networks, block.size, channels[degree]), channels[degree]))
            self.size += block.size
        cpu = torch.device("cpu")
        couplings = {str(one): coupling(one, torch.float64, cpu) for one in range(1, degree + 1)}
        self._couplings = Float64Constants(**couplings)

    @property
    def only_products(self) -> bool:
        """Whether all basis tensors are products of several vectors."""
        return self.block.pseudo or (self.block.degree > 1 and self.tensors is None)

    def forward(self, expansion: Sequence[Tensor], rows: Rows | AllRows) -> Tensor:
        """Return the basis tensors (R, size, 2l + 1).

        Args:
            expansion: for each degree (R, channels, 2l + 1).
            rows: rows of the network.
        """
        degree = self.block.degree
        # Components y, z, x of the coefficients to x, y, z.
        found = rows.linear(expansion[1].transpose(1, 2), self.vectors).roll(1, dims=1)
        first, second, third, *others = found.unbind(2)
        even, lower = first.new_ones(len(first), 1, 1), first.new_ones(len(first), 0, 1)
        for _ in range(degree):
            lower, even = even, self._multiplied(even, first, second)
        last = torch.linalg.cross(first, second) if self.block.pseudo else third
        parts = [even, self._raised(last, lower)] if degree else [even]
        if self.tensors is not None:
            parts.append(rows.linear(expansion[degree].transpose(1, 2), self.tensors).transpose(1, 2))
        if self.block.pseudo:
            one, two, three = others
            sign = (torch.linalg.cross(one, two) * three).sum(dim=1)[:, None, None]
            parts = [part if number == 1 else sign * part for number, part in enumerate(parts)]
        return torch.cat(parts, dim=1)

    def _multiplied(self, tensors: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return v_1^a v_2^b with a + b = l (R, l + 1, 2l + 1), ordered by b, from those of degree l - 1."""
        return torch.cat([self._raised(first, tensors), self._raised(second, tensors[:, -1:])], dim=1)

    def _raised(self, vectors: Tensor, tensors: Tensor) -> Tensor:
        coefficients = self._couplings[str((tensors.shape[-1] + 1) // 2)].to(tensors.dtype)
        return raise_degree(vectors[:, None], tensors, coefficients)


class TargetHead(nn.Module):
    """Irreducible blocks of one target: its own last layer, after one more hidden layer if the head is ``mlp``.

    Args:
        spec: the target.
        head: ``mlp`` or ``linear``.
        width: number of features of the network.
        channels, networks, lambda_basis: see `TensorBasis`.
    """

    def __init__(
        self, spec: TargetSpec, head: str, width: int, channels: Sequence[int], networks: int, lambda_basis: bool
    ) -> None:
        super().__init__()
        self.hidden = nn.Parameter(uniform((networks, width, width), width)) if head == "mlp" else None
        bases = {
            str(number): TensorBasis(block, channels, networks, lambda_basis)
            for number, block in enumerate(spec.blocks)
            if not block.is_invariant
        }
        self.bases = nn.ModuleDict(bases)
        sizes = [bases[str(number)].size if str(number) in bases else 1 for number in range(len(spec.blocks))]
        self.last = nn.ParameterList(nn.Parameter(uniform((networks, size, width), width)) for size in sizes)

    def forward(self, features: Tensor, expansion: Sequence[Tensor], rows: Rows | AllRows) -> list[Tensor]:
        """Return the blocks (N, 2l + 1) of each atom.

        Args:
            features: (R, width) of the network.
            expansion: for each degree (R, channels, 2l + 1).
            rows: rows of the network.
        """
        features = self.hidden_values(features, rows)
        blocks = []
        for number, last in enumerate(self.last):
            values = rows.linear(features, last)
            if str(number) in self.bases:
                values = (values[:, :, None] * self.bases[str(number)](expansion, rows)).sum(dim=1)
            blocks.append(rows.of_atoms(values))
        return blocks

    def hidden_values(self, features: Tensor, rows: Rows | AllRows) -> Tensor:
        """Return the inputs (R, width) of the last layer."""
        return features if self.hidden is None else silu(rows.linear(features, self.hidden))


@torch.no_grad()
def normalize(bases: Sequence[TensorBasis], evaluations: Iterable[tuple[Sequence[Tensor], Tensor]]) -> None:
    """Scale the initial weights of bases so that their vectors have a mean square of 1 in the training set.

    For bases that consist of products of several vectors, which would be smaller by orders of magnitude than those of
    other blocks. Elsewhere the initial weights are those of metatrain: a network with a few large products besides the
    lambda basis learns the training set faster, and other configurations worse.

    Args:
        bases: at least one basis, each with `TensorBasis.only_products`.
        evaluations: expansion coefficients, and the elements of their rows (R,), of each configuration.
    """
    networks, _, size = bases[0].vectors.shape
    moments = torch.zeros(networks, size, size, dtype=torch.float64)
    counts = torch.zeros(networks, dtype=torch.float64)
    for expansion, species in evaluations:
        with_neighbours = expansion[0].flatten(1).any(dim=1)
        for network in range(networks):
            rows = with_neighbours & (species == network) if networks > 1 else with_neighbours
            counts[network] += rows.sum()
            part = expansion[1][rows].double()
            moments[network] += torch.einsum("ram,rbm->ab", part, part) / 3
    mean = moments / counts.clamp_min(1.0)[:, None, None]
    for basis in bases:
        weights = basis.vectors
        roots = torch.einsum("noa,nab,nob->no", weights.double(), mean, weights.double()).sqrt()
        factors = torch.where(roots > VANISHING, roots.reciprocal(), 1.0)
        weights.mul_(factors[:, :, None].to(weights.dtype))
