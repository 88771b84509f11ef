"""Sums of products of two rows each, with tables of constant indices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fitsnap_nn.inputs.ace.coupling import Terms
from fitsnap_nn.inputs.constants import Float64Constants

ROLES = 3  # of a row in a term: the result, and two factors


class _Order(NamedTuple):
    """Terms sorted by the row of one role: rows of the other two roles, weights, and the first term of each row."""

    one: Tensor
    other: Tensor
    weights: Tensor
    offsets: Tensor


class SumsOfProducts(nn.Module):
    """Rows sum_t w_t x_(first of t) x_(second of t) of a level.

    Args:
        terms: the level.
        rows: number of rows of densities and lower levels.
    """

    def __init__(self, terms: Terms, rows: int) -> None:
        super().__init__()
        roles = (terms.result, terms.first, terms.second)
        tables: dict[str, Tensor] = {}
        for role, size in enumerate((terms.size, rows, rows)):
            order = np.argsort(roles[role], kind="stable")
            one, other = (roles[k][order] for k in range(ROLES) if k != role)
            offsets = np.searchsorted(roles[role][order], np.arange(size))
            arrays = {"one": one, "other": other, "weights": terms.weights[order], "offsets": offsets}
            tables |= {f"{name}_{role}": torch.from_numpy(array) for name, array in arrays.items()}
        self.tables = Float64Constants(**tables)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the rows of the level (size, N) from those of densities and lower levels (R, N)."""
        sums: Tensor = _Sums.apply(rows, rows, self, 0)  # type: ignore[no-untyped-call]
        return sums

    def order(self, role: int) -> _Order:
        """Return the terms sorted by a role."""
        return _Order(*(self.tables[f"{name}_{role}"] for name in _Order._fields))


class _Sums(torch.autograd.Function):
    """Sums for the rows of one role; the derivative by a factor is the same with another role as the result."""

    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor, terms: SumsOfProducts, role: int) -> Tensor:
        ctx.save_for_backward(one, other)
        ctx.terms, ctx.role = terms, role
        order = terms.order(role)
        products = one.index_select(0, order.one).mul_(other.index_select(0, order.other))
        products.mul_(order.weights.to(products.dtype)[:, None])
        # Sums over consecutive terms, in their order on every device.
        positions = torch.arange(len(products), device=products.device)
        return torch.nn.functional.embedding_bag(positions, products, order.offsets, mode="sum")

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        one, other = ctx.saved_tensors
        factors = [role for role in range(ROLES) if role != ctx.role]
        bars: list[Tensor | None] = []
        for needed, role, partner_role, partner in zip(
            ctx.needs_input_grad, factors, reversed(factors), (other, one), strict=False
        ):
            # The arguments of `forward` are in the order of their roles.
            arguments = (bar, partner) if ctx.role < partner_role else (partner, bar)
            bars.append(_Sums.apply(*arguments, ctx.terms, role) if needed else None)  # type: ignore[no-untyped-call]
        return bars[0], bars[1], None, None
