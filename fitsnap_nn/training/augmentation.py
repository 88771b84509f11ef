"""Random rotations and inversions of configurations, for models that are not rotationally invariant by construction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fitsnap_nn.data.properties import Property
from fitsnap_nn.data.symmetries import Spherical
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.models.spherical import rotated, wigner_matrices
from fitsnap_nn.training.batches import Labels

STREAM = 1  # makes the random numbers independent of the batch order, which is drawn from (seed, epoch)


def random_rotations(count: int, seed: int, epoch: int) -> Tensor:
    """Return uniformly distributed random rotations, each combined with an inversion with probability 1/2.

    The result depends on the arguments only, so that it is the same on any number of ranks and in a resumed fit.
    Rotations are drawn as normalised Gaussian quaternions (K. Shoemake, Graphics Gems III, 1992, p. 124).

    Args:
        count: number of matrices.
        seed: seed of the fit.
        epoch: epoch, from 0.

    Returns:
        (count, 3, 3) orthogonal matrices, float64.
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


def with_padding(rotations: Tensor, count: int) -> Tensor:
    """Return rotations followed by identities, (count, 3, 3), which leave configurations of padding as they are."""
    added = count - len(rotations)
    if not added:
        return rotations
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    return torch.cat([rotations, identity.expand(added, 3, 3)])


def prepare(properties: Sequence[Property], device: torch.device) -> None:
    """Copy the constants of `augment` to a device, which a captured step cannot do."""
    for one in properties:
        if isinstance(one.symmetry, Spherical):
            for dtype in (torch.float32, torch.float64):
                identity = torch.eye(3, dtype=dtype, device=device)
                wigner_matrices(identity[None], one.symmetry.degree)


def augment(batch: Batch, labels: Labels, properties: Sequence[Property], rotations: Tensor) -> tuple[Batch, Labels]:
    """Rotate each configuration of a batch and its labels by its matrix Q: r -> Q r, F -> Q F, S -> Q S Q^T.

    Spherical tensors are multiplied by Wigner matrices, pseudo-tensors by det Q besides.

    Args:
        batch: C configurations.
        labels: their labels.
        properties: properties of the labels.
        rotations: (C, 3, 3) orthogonal matrices; fewer if the last configurations of the batch are padding.

    Returns:
        The rotated batch and labels.
    """
    rotations = with_padding(rotations, len(batch.n_atoms))
    turned = {}
    for one in properties:
        target = labels[one.name]
        matrices = rotations.to(target.values)
        if one.per == "atom":
            matrices = matrices.index_select(0, batch.config)
        turned[one.name] = target._replace(values=rotated(target.values, one.symmetry, matrices))
    return batch.rotated(rotations), turned
