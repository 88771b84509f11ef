"""Heads of MACE for targets: functions of the node features of all layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from fitsnap_nn.data.symmetries import Block
from fitsnap_nn.inputs.constants import Float64Constants
from fitsnap_nn.models.spherical import wigner_matrices
from fitsnap_nn.models.targets import TargetError, TargetSpec
from fitsnap_nn.settings.mace_irreps import irrep_of, name_of

# e3nn's polar axis is y: its harmonics of (x, y, z) are the usual ones of (z, x, y). This rotation takes them back.
TO_USUAL_AXES = ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
MAX_NORM = 1e12  # features that are smaller than 1e-12 are rounding: those of pseudo-tensors can be 1e-7


class Channels(NamedTuple):
    """Channels of one irreducible representation in the features of a layer: position of the first, and number."""

    layer: int
    start: int
    number: int


def channels_of(block: Block, layers: Sequence[Any]) -> list[Channels]:
    """Return where the features that transform like a block are.

    Args:
        block: the block.
        layers: irreps of the features of each layer, ``e3nn.o3.Irreps``.
    """
    wanted = irrep_of(block.degree, block.pseudo)
    return [
        Channels(number, place.start, multiplicity)
        for number, irreps in enumerate(layers)
        for (multiplicity, irrep), place in zip(irreps, irreps.slices(), strict=True)
        if (irrep.l, irrep.p) == wanted
    ]


class TargetHead(nn.Module):
    """Irreducible blocks of one target: linear in the features, with a hidden layer for invariants.

    Args:
        spec: the target; its head ``linear`` excludes the hidden layer.
        layers: irreps of the features of each layer, ``e3nn.o3.Irreps``.
        width: nodes of the hidden layer.

    Attributes:
        norm: (blocks,) factors of the features, see `normalize`.

    Raises:
        TargetError: the features lack a representation.
    """

    norm: Tensor

    def __init__(self, spec: TargetSpec, layers: Sequence[Any], width: int) -> None:
        super().__init__()
        self.blocks = spec.blocks
        self.channels = [channels_of(block, layers) for block in spec.blocks]
        hidden, last = [], []
        for block, channels in zip(spec.blocks, self.channels, strict=True):
            if not channels:
                listed = "; ".join(str(irreps) for irreps in layers)
                needed = name_of(irrep_of(block.degree, block.pseudo))
                what = f"needs node features {needed}, which the model lacks. Those of its layers are: {listed}"
                raise TargetError(f"{spec.name} ({block.label}): {what}")
            inputs = sum(one.number for one in channels)
            has_hidden = block.is_invariant and spec.head != "linear"
            hidden.append(nn.Linear(inputs, width, bias=False) if has_hidden else nn.Identity())
            last.append(nn.Linear(width if has_hidden else inputs, 1, bias=False))
        self.hidden, self.last = nn.ModuleList(hidden), nn.ModuleList(last)
        self.register_buffer("norm", torch.ones(len(self.blocks)))
        axes = torch.tensor([TO_USUAL_AXES], dtype=torch.float64)
        matrices = {str(block.degree): wigner_matrices(axes, block.degree)[0] for block in spec.blocks}
        self._axes = Float64Constants(**matrices)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the blocks (N, 2l + 1) of each atom from the features of each layer (N, ...)."""
        found = []
        for number, values in enumerate(self.last_inputs(features)):
            axes = self._axes[str(self.blocks[number].degree)].to(values.dtype)
            found.append(self.last[number](values).squeeze(2) @ axes.t())
        return found

    def last_inputs(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the inputs (N, 2l + 1, K) of the last layer of each block, with the axes of e3nn."""
        found = []
        for number, values in enumerate(self.inputs(features)):
            values = values * self.norm[number]
            if isinstance(self.hidden[number], nn.Linear):
                values = silu(self.hidden[number](values))
            found.append(values)
        return found

    def inputs(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the features (N, 2l + 1, channels) that each block is made of."""
        found = []
        for block, channels in zip(self.blocks, self.channels, strict=True):
            parts = [
                features[layer][:, start : start + number * block.size].reshape(-1, number, block.size)
                for layer, start, number in channels
            ]
            found.append(torch.cat(parts, dim=1).transpose(1, 2))
        return found


@torch.no_grad()
def normalize(heads: Sequence[TargetHead], features: Iterable[Sequence[Tensor]]) -> list[list[Block]]:
    """Set the norms of heads so that their inputs have a mean square of 1.

    The features of a network with random weights are the smaller, the larger the degree.

    Args:
        heads: the heads.
        features: of each layer, for each of several configurations.

    Returns:
        The blocks of each head whose features vanish.
    """
    sums, count = [torch.zeros(len(head.blocks), dtype=torch.float64) for head in heads], 0
    for one in features:
        count += len(one[0])
        for head, total in zip(heads, sums, strict=True):
            total += torch.stack([part.double().square().mean(dim=(1, 2)).sum() for part in head.inputs(one)])
    faint = []
    for head, total in zip(heads, sums, strict=True):
        norms = (total / max(count, 1)).sqrt().reciprocal()
        head.norm.copy_(norms.clamp_max(MAX_NORM))
        faint.append([block for block, norm in zip(head.blocks, norms.tolist(), strict=True) if norm > MAX_NORM])
    return faint


def hidden_of_readout(readout: Any, features: Tensor) -> Tensor:
    """Return the inputs of the last layer of a readout of mace: the features, or the values of its hidden layers."""
    if not hasattr(readout, "non_linearity"):
        return features
    hidden = readout.non_linearity(readout.linear_1(features))
    if hasattr(readout, "linear_mid"):
        hidden = readout.non_linearity(readout.linear_mid(hidden))
    found: Tensor = hidden
    return found


def last_layer_of_readout(readout: Any) -> nn.Module:
    """Return the last layer of a readout of mace."""
    layer: nn.Module = readout.linear_2 if hasattr(readout, "linear_2") else readout.linear
    return layer
