"""Random rotations and inversions of configurations, for models that are not rotationally invariant by construction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fitsnap_nn.data.properties import Cartesian, Property, Symmetry
from fitsnap_nn.data.voigt import COLUMNS, ROWS
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.training.batches import Labels

FULL = ((0, 5, 4), (5, 1, 3), (4, 3, 2))  # which of the six components is in each place of the symmetric tensor
STREAM = 1  # random numbers of their own: the order of an epoch is drawn from seed and epoch alone


def random_rotations(count: int, seed: int, epoch: int) -> Tensor:
    """(count, 3, 3) float64 orthogonal matrices: evenly distributed rotations, half of them with an inversion.

    A function of the arguments alone: any number of ranks, and a fit that was resumed, has the same for each
    configuration. A rotation is drawn as a unit quaternion (K. Shoemake, Graphics Gems III, 1992, p. 124).
    """
    random = np.random.default_rng([seed, epoch, STREAM])
    quaternions = torch.from_numpy(random.standard_normal((count, 4)))
    signs = torch.from_numpy(random.choice([-1.0, 1.0], count))
    w, x, y, z = (quaternions / torch.linalg.vector_norm(quaternions, dim=1, keepdim=True)).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return signs[:, None, None] * torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def augment(batch: Batch, labels: Labels, properties: Sequence[Property], rotations: Tensor) -> tuple[Batch, Labels]:
    """Return a batch and its labels, each configuration rotated by its matrix Q: r -> Q r, F -> Q F, S -> Q S Q^T.

    Args:
        properties: of the labels.
        rotations: (C, 3, 3) orthogonal matrices.
    """
    rotated = {}
    for one in properties:
        target = labels[one.name]
        matrices = rotations.to(target.values)
        if one.per == "atom":
            matrices = matrices.index_select(0, batch.config)
        rotated[one.name] = target._replace(values=_rotated(target.values, one.symmetry, matrices))
    return batch.rotated(rotations), rotated


def _rotated(values: Tensor, symmetry: Symmetry, matrices: Tensor) -> Tensor:
    """Return values (rows, components) rotated by a matrix for each row."""
    if not isinstance(symmetry, Cartesian):
        return values
    if symmetry.rank == 1:
        return torch.bmm(matrices, values.unsqueeze(2)).squeeze(2)
    return (matrices @ values[:, FULL] @ matrices.transpose(1, 2))[:, ROWS, COLUMNS]
