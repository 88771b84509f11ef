"""Selected rows of a tensor, with derivatives that are reproducible on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fitsnap_nn.inputs.constants import Float64Constants
from fitsnap_nn.inputs.graph.padded import gather_rows


class Selection(nn.Module):
    """Selected rows of a tensor; the derivative adds the terms of each row in a fixed order, see `gather_rows`.

    Args:
        index: selected rows.
        size: number of rows.
    """

    def __init__(self, index: Tensor, size: int) -> None:
        super().__init__()
        positions = torch.argsort(index, stable=True)
        offsets = torch.searchsorted(index[positions], torch.arange(size))
        self.constants = Float64Constants(index=index, positions=positions, offsets=offsets)

    def forward(self, rows: Tensor) -> Tensor:
        return gather_rows(rows, *(self.constants[name] for name in ("index", "positions", "offsets")))
