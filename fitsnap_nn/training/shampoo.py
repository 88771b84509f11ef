"""Adam in the eigenbasis of Shampoo's preconditioner (N. Vyas et al., arXiv:2409.11321; the authors call it SOAP).

Adam scales every weight by itself. For a matrix W with gradient G, Shampoo knows which combinations of rows, and of
columns, have large gradients: the eigenvectors of the averages of G Gᵀ and Gᵀ G. Adam is more effective for the
combinations than for the weights themselves. Here the basis starts as the identity and follows the averages by
orthogonal iteration. The eigenvectors themselves would differ between numbers of ranks: averages over few steps have
null spaces, whose basis is decided by rounding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

REFRESH = 10  # steps between refinements of the bases, as in the paper: they change slowly
LARGEST_SIDE = 1024  # rows or columns of more entries keep the identity as their basis
# Added to the averages, over their mean diagonal, so that rounding does not decide the basis of their null spaces.
DAMPING = 1e-6
EPSILON = 1e-8


class Soap(torch.optim.Optimizer):
    """Adam with decoupled weight decay, in bases that follow the gradients of matrices.

    Weights outside of all matrices are updated by Adam. The state is that of Adam in these bases, with the averages and
    the bases of the matrices of each shape.

    Args:
        vector: (W,) all weights, with their gradient.
        matrices: views of ``vector``, two-dimensional and without common entries.
        lr: learning rate.
        betas: decay of mean gradients, and of mean squares and of averages of products.
        weight_decay: weight decay.
    """

    def __init__(
        self, vector: Tensor, matrices: Iterable[Tensor], lr: float, betas: tuple[float, float], weight_decay: float
    ) -> None:
        super().__init__([vector], {"lr": lr, "betas": betas, "weight_decay": weight_decay})
        entries = torch.arange(len(vector), device=vector.device)
        by_shape: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for matrix in matrices:
            if max(matrix.shape) > 1:
                found = entries.as_strided(matrix.shape, matrix.stride(), matrix.storage_offset())
                by_shape[tuple(matrix.shape)].append(found)
        # (K, rows, columns) positions in the vector of the entries of K matrices of the same shape.
        self._blocks = [torch.stack(alike) for alike in by_shape.values()]
        # (K, n, n) shapes of the averages and bases, of the rows and of the columns; n = 0 if there are none.
        self._shapes = [
            [(len(block), side, side) if 1 < side <= LARGEST_SIDE else (0, 0, 0) for side in block.shape[1:]]
            for block in self._blocks
        ]

    def accepts(self, state: dict[str, Any]) -> bool:
        """Return whether the state of the weights of another optimiser of this class is for such matrices."""
        return [[tuple(average.shape) for average in averages] for averages in state["averages"]] == self._shapes

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nothing is evaluated again
        """Change the weights by one step; their gradient must have been computed."""
        group = self.param_groups[0]
        (vector,) = group["params"]
        if not self.state[vector]:
            self.state[vector].update(self._initial(vector))
        state = self.state[vector]
        decay, decay_of_squares = group["betas"]
        state["step"] += 1
        number = int(state["step"])
        gradient = self._rotate_gradient(vector.grad, state, decay_of_squares)
        state["exp_avg"].lerp_(gradient, 1.0 - decay)
        state["exp_avg_sq"].lerp_(gradient.square_(), 1.0 - decay_of_squares)
        scale = state["exp_avg_sq"].div(1.0 - decay_of_squares**number).sqrt_().add_(EPSILON)
        change = state["exp_avg"].div(1.0 - decay**number).div_(scale)
        for block, bases in zip(self._blocks, state["bases"], strict=True):
            change[block] = _rotated_back(change[block], bases)
        vector.mul_(1.0 - group["lr"] * group["weight_decay"])
        vector.sub_(change, alpha=group["lr"])
        if number % REFRESH == 0:
            self._refine_bases(state)

    def _rotate_gradient(self, gradient: Tensor, state: dict[str, Any], decay: float) -> Tensor:
        """Return the gradient (W,) with matrices in their bases, and add its products to the averages."""
        rotated = gradient.clone()
        for block, bases, averages in zip(self._blocks, state["bases"], state["averages"], strict=True):
            matrices = gradient[block]
            rotated[block] = _rotated(matrices, bases)
            for average, oriented in zip(averages, (matrices, matrices.mT), strict=True):
                if average.numel():
                    average.lerp_(oriented @ oriented.mT, 1.0 - decay)
        return rotated

    def _refine_bases(self, state: dict[str, Any]) -> None:
        """Change the bases, and with them the mean gradients; as in the paper, mean squares are kept."""
        for number, (block, bases) in enumerate(zip(self._blocks, state["bases"], strict=True)):
            refined = list(map(_refined, bases, state["averages"][number]))
            state["exp_avg"][block] = _rotated(_rotated_back(state["exp_avg"][block], bases), refined)
            state["bases"][number] = refined

    def _initial(self, vector: Tensor) -> dict[str, Any]:
        zeros = vector.detach().new_zeros
        return {
            "step": torch.tensor(0.0),
            "exp_avg": zeros(len(vector)),
            "exp_avg_sq": zeros(len(vector)),
            "averages": [[zeros(shape) for shape in shapes] for shapes in self._shapes],
            "bases": [
                [torch.eye(shape[-1]).to(vector).repeat(shape[0], 1, 1) for shape in one] for one in self._shapes
            ],
        }


def _rotated(matrices: Tensor, bases: Sequence[Tensor]) -> Tensor:
    """Return matrices (K, rows, columns) in the bases of their rows and columns; empty bases are identities."""
    rows, columns = bases
    matrices = rows.mT @ matrices if rows.numel() else matrices
    return matrices @ columns if columns.numel() else matrices


def _rotated_back(matrices: Tensor, bases: Sequence[Tensor]) -> Tensor:
    """Undo `_rotated`."""
    return _rotated(matrices, [basis.mT for basis in bases])


def _refined(basis: Tensor, average: Tensor) -> Tensor:
    """Return bases (K, n, n) after one orthogonal iteration towards the eigenvectors of the averages (K, n, n)."""
    if not basis.numel():
        return basis
    damping = DAMPING * average.diagonal(dim1=1, dim2=2).mean(dim=1)
    refined: Tensor = torch.linalg.qr(average @ basis + damping[:, None, None] * basis).Q
    return refined
