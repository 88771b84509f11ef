"""Configurations turned and mirrored at random, for models that have to learn that nature does not mind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fitsnap_nn.data.voigt import COLUMNS, ROWS
from fitsnap_nn.models.base import Graph
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


def augment(graph: Graph, labels: Labels, rotations: Tensor) -> tuple[Graph, Labels]:
    """A batch with each configuration, and its labels, turned by its matrix Q: r -> Q r, F -> Q F, S -> Q S Q^T.

    Args:
        rotations: (C, 3, 3) orthogonal matrices.
    """
    matrices = rotations.to(graph.vectors)
    vectors = _rotated(graph.vectors, matrices, graph.config[graph.edge_i])
    forces = _rotated(labels.forces, matrices, graph.config)
    stress = (matrices @ labels.stress[:, FULL] @ matrices.transpose(1, 2))[:, ROWS, COLUMNS]
    return replace(graph, vectors=vectors), labels._replace(forces=forces, stress=stress)


def _rotated(vectors: Tensor, matrices: Tensor, config: Tensor) -> Tensor:
    return torch.bmm(matrices.index_select(0, config), vectors.unsqueeze(2)).squeeze(2)
