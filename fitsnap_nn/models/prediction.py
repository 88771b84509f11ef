"""Predictions of a model for a batch: energies, and by differentiation forces and stresses.

This is the only place that differentiates, so that training, evaluation and deployment cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from fitsnap_nn.data.properties import ENERGY, FORCES, STANDARD, STRESS, Property
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.base import GraphModel, Model
from fitsnap_nn.models.explicit import Derived

B = TypeVar("B", bound=Batch)


class Prediction(NamedTuple):
    """Prediction of a model for a batch, without the reference potential.

    Attributes:
        atom_energies: (N,) eV, float64.
        values: by property name: ``energy`` (C,) eV, float64; ``forces`` (N, 3) eV/Å; ``stress`` (C, 6) eV/Å³ in
            Voigt order xx yy zz yz xz xy and ASE's sign; others (C or N, components). Only requested properties.
    """

    atom_energies: Tensor
    values: Mapping[str, Tensor]

    @property
    def energy(self) -> Tensor:
        """(C,) total energies, eV, float64."""
        return self.values["energy"]

    @property
    def forces(self) -> Tensor | None:
        """(N, 3) eV/Å, or ``None`` if not requested."""
        return self.values.get("forces")

    @property
    def stress(self) -> Tensor | None:
        """(C, 6) eV/Å³, or ``None`` if not requested."""
        return self.values.get("stress")


# Adds the gradient of a loss to ``grad`` of the weights, from its derivatives with respect to predictions, by name.
Backward = Callable[[Mapping[str, Tensor]], None]


def predict_for_training(
    model: Model[B], batch: B, properties: Sequence[Property], weights: Sequence[Tensor]
) -> tuple[Prediction, Backward]:
    """Return the predictions of a model for a batch, and the function that differentiates a loss of them.

    Args:
        model: the model.
        batch: N atoms in C configurations.
        properties: requested properties; the energy is always included.
        weights: trainable parameters of the model, with ``grad`` set.

    Raises:
        NotImplementedError: the model does not predict a requested property.
    """
    forces, stress = FORCES in properties, STRESS in properties
    run = None
    if all(one in STANDARD for one in properties):
        run = model.start_training_step(batch, forces=forces, virials=stress)
    if run is None:
        prediction = predict(model, batch, properties, create_graph=True)
        return prediction, backward_by_autograd(prediction, weights)
    explicit_run = run
    volume = batch.volume[:, None]

    def backward(slopes: Mapping[str, Tensor]) -> None:
        stress_bar = slopes.get("stress")
        virials_bar = None if stress_bar is None else stress_bar / volume.to(stress_bar.dtype)
        explicit_run.backward(slopes.get("energy"), slopes.get("forces"), virials_bar)

    return _prediction(run.derived, batch), backward


def backward_by_autograd(prediction: Prediction, weights: Sequence[Tensor]) -> Backward:
    """Return the function that differentiates a loss of a prediction made with ``create_graph=True``."""

    def backward(slopes: Mapping[str, Tensor]) -> None:
        names = [name for name in slopes if prediction.values[name].requires_grad]
        tensors = [prediction.values[name] for name in names]
        # Without `inputs` autograd would also accumulate the gradient of the edge vectors or descriptors, which
        # require grad for the forces.
        torch.autograd.backward(tensors, [slopes[name] for name in names], inputs=list(weights))

    return backward


def predict(
    model: Model[B], batch: B, properties: Iterable[Property] = STANDARD, *, create_graph: bool = False
) -> Prediction:
    """Return the predictions of a model for a batch.

    Args:
        model: the model.
        batch: N atoms in C configurations.
        properties: requested properties; the energy is always included.
        create_graph: keep the autograd graph, so that predictions can be differentiated with respect to the weights.

    Returns:
        The prediction, without the reference potential.

    Raises:
        NotImplementedError: the model does not predict a requested property.
    """
    requested = tuple(properties)
    others = [one for one in requested if one.derivative is None and one != ENERGY]
    forces, stress = FORCES in requested, STRESS in requested
    with torch.set_grad_enabled(create_graph):
        if others and isinstance(model, GraphModel) and isinstance(batch, Graph) and model.targets is not None:
            return _together(model, batch, [one.name for one in others], forces=forces, stress=stress)
        if forces or stress:
            derived = model.derivatives(batch, forces=forces, virials=stress)
        else:
            derived = _without_derivatives(batch, model.atom_energies(batch))
        prediction = _prediction(derived, batch)
        if others:
            values = {**prediction.values, **model.property_values(batch, others)}
            prediction = prediction._replace(values=values)
    return prediction


def _together(model: GraphModel, graph: Graph, names: Sequence[str], *, forces: bool, stress: bool) -> Prediction:
    """Return the prediction of energies and targets, for which the model runs once."""
    if not (forces or stress):
        energies, values = model.energies_and_targets(graph, names)
        prediction = _prediction(_without_derivatives(graph, energies), graph)
    else:
        energies, gradients, values = model.energies_gradients_and_targets(graph, names)
        derived = _without_derivatives(graph, energies)._replace(
            forces=model.forces_from(graph, gradients) if forces else None,
            virials=model.virials_from(graph, gradients) if stress else None,
        )
        prediction = _prediction(derived, graph)
    return prediction._replace(values={**prediction.values, **values})


def _without_derivatives(batch: Batch, atom_energies: Tensor) -> Derived:
    return Derived(atom_energies, batch.sum_by_configuration(atom_energies), None, None)


def mean_prediction(found: Sequence[Prediction], weights: Sequence[float]) -> Prediction:
    """Return the mean of the predictions of several models for the same batch, with weights whose sum is 1."""
    if len(found) == 1:
        return found[0]
    names = found[0].values
    return Prediction(
        weighted_mean([one.atom_energies for one in found], weights),
        {name: weighted_mean([one.values[name] for one in found], weights) for name in names},
    )


def weighted_mean(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the sum of tensors of one shape, each times its weight."""
    # Weights as numbers: a tensor of them would be copied to the GPU in every step, which a captured step cannot do.
    return torch.stack([weight * one for weight, one in zip(weights, tensors, strict=True)]).sum(dim=0)


def predict_baseline(model: Model[B], batch: B, properties: Iterable[Property]) -> Prediction:
    """Return the prediction of the element energies and the baselines of targets alone: everything else is 0.

    Args:
        model: the model; it may be on another device.
        batch: N atoms in C configurations.
        properties: as in `predict`.
    """
    count = len(batch.n_atoms)
    atom_energies = model.element_energies.to(batch.species.device)[batch.species]
    baselines = model.baseline_values(batch)
    values = {
        one.name: baselines[one.name]
        if one.name in baselines
        else atom_energies.new_zeros(len(atom_energies) if one.per == "atom" else count, one.symmetry.components)
        for one in properties
    }
    return Prediction(atom_energies, {**values, ENERGY.name: batch.sum_by_configuration(atom_energies)})


def _prediction(derived: Derived, batch: Batch) -> Prediction:
    values = {"energy": derived.energy}
    if derived.forces is not None:
        values["forces"] = derived.forces
    if derived.virials is not None:
        values["stress"] = derived.virials / batch.volume[:, None].to(derived.virials.dtype)
    return Prediction(derived.atom_energies, values)
