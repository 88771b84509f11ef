"""Displacements of the last layer that the training set hardly notices, see `fitsnap_nn.models.uncertainty`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fitsnap_nn.data.properties import ENERGY, FORCES
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.evaluation import to_float64
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.training.batches import SampleSet
from fitsnap_nn.training.distributed import Ranks

DISPLACEMENTS = 6  # the relative error of a variance from S displacements of a vector is sqrt(2 / 3 S), or 33 %
PROJECTIONS = 4  # random sums of the force components of a configuration that are differentiated
REGULARISATION = 1e-6  # of the mean eigenvalue of C


def displacements_of(
    model: Model[Any], samples: SampleSet, forces: bool, ranks: Ranks, release: Callable[[], None] = lambda: None
) -> Tensor:
    """Return displacements (S, P) of the last layer, whose mean of products is the inverse of its covariance matrix C.

    C is the sum of that of energies per atom and that of force components, each normalised by its trace. Random signs r
    give the latter at the cost of a few backward passes instead of one per component: the mean of (G^T r) (G^T r)^T is
    G^T G.

    Args:
        model: the model; left unchanged.
        samples: the training set in float64, the same on every rank.
        forces: whether forces are among the labels.
        ranks: share the accumulation; the result is the same on every rank.
        release: called after each configuration, to release the memory of its cached inputs.

    Raises:
        NotImplementedError: the model does not name its last layer.
    """
    model = to_float64(model).requires_grad_(False)
    parameters = [tensor.requires_grad_(True) for tensor in model.last_layer_parameters()]
    size, device = sum(tensor.numel() for tensor in parameters), model.element_energies.device
    sums = torch.zeros(2, size, size, dtype=torch.float64, device=device)
    mine = ranks.mine(samples.costs)
    properties = (ENERGY, FORCES) if forces else (ENERGY,)

    def row(value: Tensor) -> Tensor:
        slopes = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
        return torch.cat([slope.flatten() for slope in slopes])

    for number, (batch, _) in zip(mine, samples.collated([[one] for one in mine], device), strict=True):
        found = predict(model, batch, properties, create_graph=True)
        energy = row(found.energy.sum()) / len(batch.species)
        sums[0].addr_(energy, energy)
        generator = torch.Generator().manual_seed(number)  # the same on any number of ranks
        for _ in range(PROJECTIONS if forces else 0):
            signs = 2.0 * torch.randint(2, found.values[FORCES.name].shape, generator=generator).double() - 1.0
            force = row((found.values[FORCES.name] * signs.to(device)).sum())
            sums[1].addr_(force, force)
        release()
    total = ranks.sum_(sums).cpu()
    # All ranks have the same matrix, but not necessarily the same linear algebra library.
    return ranks.broadcast(_displacements(total) if ranks.is_first else torch.zeros(0))


def _displacements(sums: Tensor) -> Tensor:
    """Return the displacements from the unnormalised parts (2, P, P) of C."""
    traces = sums.diagonal(dim1=1, dim2=2).sum(dim=1)
    size = sums.shape[1]
    curvature = torch.stack([part / trace for part, trace in zip(sums, traces, strict=True) if trace > 0]).sum(dim=0)
    values, vectors = torch.linalg.eigh(curvature)
    roots = (values.clamp(min=0.0) + REGULARISATION * curvature.diagonal().mean()).rsqrt()
    count = min(DISPLACEMENTS, size)
    random = torch.randn(size, count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    orthogonal, _ = torch.linalg.qr(random)
    # The symmetric root does not depend on the signs of the eigenvectors, which libraries choose.
    root = (vectors * roots) @ vectors.t()
    displacements: Tensor = (root @ orthogonal).t() * size**0.5
    return displacements.contiguous()
