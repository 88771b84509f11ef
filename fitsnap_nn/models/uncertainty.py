"""Uncertainties of predictions, from the spread of models that the training set hardly tells apart.

These are the members of a committee, or copies of one model with displaced last layers. The energy is linear in the
parameters w of the last layer, so that the covariance of w that the data leave is C^-1, with C the mean of the products
g g^T of the derivatives g of energies and forces with respect to w (last-layer prediction rigidity: F. Bigi, S. Chong,
M. Ceriotti and F. Grasselli, Mach. Learn.: Sci. Technol. 5, 045018 (2024)). The variance g^T C^-1 g of a force is the
mean square of its changes by displacements u = C^(-1/2) z of w, with orthogonal vectors z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from fitsnap_nn.data.properties import ENERGY, FORCES, Property
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.committee import equal_weights, member_weights
from fitsnap_nn.models.prediction import Prediction, predict, weighted_mean

LAST_LAYER, COMMITTEE = "last layer", "committee"
ENERGIES = "energies"  # of the atoms
RULE = "the largest uncertainty of an atom of the validation set"  # that gives the threshold


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """How the spread of models becomes an uncertainty.

    Attributes:
        method: ``last layer`` or ``committee``.
        force_scale, energy_scale: factors of the spread of forces and of energies, from the validation set.
        threshold: eV/Å; an atom whose force has a larger uncertainty is outside the domain of the training set.
        displacements: (S, P) of the parameters of the last layer, float64; (0, 0) for a committee.
        action: what the example of MD does above the threshold: ``warn``, ``dump`` or ``stop``.
    """

    method: str
    force_scale: float
    energy_scale: float
    threshold: float
    displacements: Tensor
    action: str = "warn"

    def payload(self) -> dict[str, Any]:
        """Return the fields as plain values and a tensor, for model files."""
        return {**asdict(self), "displacements": self.displacements.cpu()}

    def check(self, model: Model[Any]) -> None:
        """Check that the displacements are those of the last layer of a model.

        Raises:
            ValueError: they are not.
        """
        size = sum(tensor.numel() for tensor in model.last_layer_parameters()) if self.method == LAST_LAYER else 0
        if self.displacements.shape[1] != size or (self.method == COMMITTEE and len(model.members()) == 1):
            raise ValueError("the uncertainty is that of another model")

    def spread(
        self, model: Model[Any], batch: Batch, properties: Sequence[Property], found: Sequence[Prediction]
    ) -> dict[str, Tensor]:
        """Return the uncertainties of a prediction, with the names and shapes of `Evaluation.spread`.

        Args:
            model: the model.
            batch: N atoms in C configurations.
            properties: forces and energy, or the energy alone; others are ignored.
            found: predictions of the members of the model for this batch.
        """
        if self.method == COMMITTEE:
            return deviations(found, member_weights(model), self.force_scale, self.energy_scale)
        wanted = [one for one in properties if one in (ENERGY, FORCES)]
        others = []
        for displacement in self.displacements:
            with displaced(model, displacement):
                others.append(predict(model, batch, wanted))
        weights = equal_weights(len(others))
        return deviations(others, weights, self.force_scale, self.energy_scale, centre=found[0])


# That of any committee before its calibration.
RAW_COMMITTEE = Uncertainty(COMMITTEE, 1.0, 1.0, 0.0, torch.zeros(0, 0, dtype=torch.float64))


def deviations(
    found: Sequence[Prediction],
    weights: Sequence[float],
    force_scale: float = 1.0,
    energy_scale: float = 1.0,
    centre: Prediction | None = None,
) -> dict[str, Tensor]:
    """Return the standard deviations of several predictions for the same batch, see `Evaluation.spread`.

    Args:
        found: the predictions.
        weights: of the predictions; they sum to 1.
        force_scale, energy_scale: factors of the standard deviations.
        centre: deviations are those from this prediction; ``None``: from the mean, see `factors_of_members`.
    """
    if len(found) == 1 and centre is None:
        return {}
    squares = [factor**2 for factor in factors_of_members(weights)] if centre is None else weights

    def variance(values: Callable[[Prediction], Tensor]) -> Tensor:
        all_values = [values(one) for one in found]
        middle = weighted_mean(all_values, weights) if centre is None else values(centre)
        return weighted_mean([(one - middle).square() for one in all_values], squares)

    result = {
        ENERGIES: variance(lambda one: one.atom_energies).sqrt() * energy_scale,
        ENERGY.name: variance(lambda one: one.energy).sqrt() * energy_scale,
    }
    if FORCES.name in found[0].values:
        result[FORCES.name] = variance(lambda one: one.values[FORCES.name]).sum(dim=1).sqrt() * force_scale
    return result


def factors_of_members(weights: Sequence[float]) -> list[float]:
    """Return the factors of deviations from the mean whose squares sum to the sample variance.

    With weights w that sum to 1, the variance is sum_i w_i d_i^2 / (1 - sum_i w_i^2); with n equal ones it is the sum
    of d_i^2 / (n - 1).
    """
    free = 1.0 - math.fsum(weight**2 for weight in weights)
    return [math.sqrt(weight / free) for weight in weights]


@contextmanager
def displaced(model: Model[Any], displacement: Tensor) -> Iterator[None]:
    """Displace the parameters of the last layer of a model in the body.

    Args:
        model: the model; it must not be used elsewhere at the same time.
        displacement: (P,).
    """
    parameters = model.last_layer_parameters()
    kept = [tensor.detach().clone() for tensor in parameters]
    parts = torch.split(displacement, [tensor.numel() for tensor in parameters])
    with torch.no_grad():
        for tensor, part in zip(parameters, parts, strict=True):
            tensor += part.view_as(tensor).to(tensor)
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, before in zip(parameters, kept, strict=True):
                tensor.copy_(before)


def from_payload(payload: Mapping[str, Any] | None) -> Uncertainty | None:
    """Return the uncertainty in a model file; ``None`` if it contains none.

    Args:
        payload: result of `Uncertainty.payload`.
    """
    return None if payload is None else Uncertainty(**payload)
