"""Functions of a model's predictions for a batch, and their gradients with respect to the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fitsnap_nn.data.properties import Property
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.inputs.graph.padded import PaddedGraph, extended
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.captured import Captured
from fitsnap_nn.models.prediction import predict, predict_for_training
from fitsnap_nn.training.augmentation import augment, prepare, with_padding
from fitsnap_nn.training.batches import Labels, Target
from fitsnap_nn.training.flat import Part

# Function of a prediction: its values, and derivatives of what is to be differentiated, by name of the property.
Differentiable = Callable[..., tuple[Sequence[Tensor], Mapping[str, Tensor]]]


class Share(NamedTuple):
    """This rank's part of a batch.

    Attributes:
        members: indices of its configurations in the training set, in the order of the batch.
        batch: their inputs; a `PaddedGraph` on the host if the step is captured on a GPU.
        labels: their labels.
        rotations: (C, 3, 3) still to be applied to a `PaddedGraph` and its labels; ``None`` for none.
    """

    members: Sequence[int]
    batch: Batch
    labels: Labels
    rotations: Tensor | None = None


def is_captured(model: Model[Any], device: torch.device) -> bool:
    """Return whether the steps of a model are captured on a device: those of graph models on a GPU."""
    return device.type == "cuda" and model.takes_padding


def collation_device(model: Model[Any], device: torch.device) -> torch.device:
    """Return where batches of a model on a device are collated: on the host if its steps are captured."""
    return torch.device("cpu") if is_captured(model, device) else device


def make_share(
    members: Sequence[int],
    batch: Batch,
    labels: Labels,
    properties: Sequence[Property],
    rotations: Tensor | None,
    *,
    captured: bool,
) -> Share:
    """Return a part of a batch: augmented by rotations, or padded for a captured step.

    Args:
        members, batch, labels: see `Share`.
        properties: properties of the labels.
        rotations: (C, 3, 3) or ``None``.
        captured: see `is_captured`; the batch is then on the host.
    """
    if captured:
        padded, padded_labels = pad_batch(batch, labels, properties)
        # Here, so that the shapes of a captured step do not depend on the number of true configurations.
        rotations = None if rotations is None else with_padding(rotations, len(padded.n_atoms))
        return Share(members, padded, padded_labels, rotations)
    if rotations is not None:
        batch, labels = augment(batch, labels, properties, rotations)
    return Share(members, batch, labels)


def pad_batch(batch: Batch, labels: Labels, properties: Sequence[Property]) -> tuple[Batch, Labels]:
    """Return a batch and its labels padded to one of few sizes; labels of the padding are missing.

    Args:
        batch: on the host.
        labels: of the batch.
        properties: properties of the labels.
    """
    padded, filled = batch.padded(), {}
    for one in properties:
        rows = len(padded.species if one.per == "atom" else padded.n_atoms)
        filled[one.name] = Target(*(extended(part, rows, 0) for part in labels[one.name]))
    return padded, filled


def flatten(batch: Batch, labels: Labels, properties: Sequence[Property]) -> list[Tensor]:
    """Return the tensors of a batch and of its labels."""
    own = [getattr(batch, field.name) for field in fields(batch)]
    return own + [part for one in properties for part in labels[one.name]]


def unflatten(
    tensors: Sequence[Tensor], properties: Sequence[Property]
) -> tuple[PaddedGraph, Labels, Sequence[Tensor]]:
    """Return the padded batch and labels of which `flatten` returned the tensors, and the tensors after those."""
    found = iter(tensors)
    batch = PaddedGraph(**{field.name: next(found) for field in fields(PaddedGraph)})
    labels = {one.name: Target(next(found), next(found), next(found)) for one in properties}
    return batch, labels, list(found)


class Differentiated:
    """A function of a model's prediction for a batch, and the gradient that follows from its derivatives.

    Args:
        model: the model.
        part: its weights.
        properties: properties of the prediction.
        function: of prediction, batch, labels and further arguments; see `Differentiable`.
        captured: whether the GPU captures it, see `is_captured`.
    """

    def __init__(
        self,
        model: Model[Any],
        part: Part,
        properties: Sequence[Property],
        function: Differentiable,
        *,
        captured: bool,
    ) -> None:
        self._model = model
        self._part = part
        self._properties = tuple(properties)
        self._function = function
        self._captured = Captured(self._evaluate, part.vector.device) if captured else None
        if captured and model.needs_augmentation:
            prepare(self._properties, part.vector.device)

    def __call__(self, share: Share, *arguments: Any) -> Sequence[Tensor]:
        """Return the function of the prediction for a batch, and add its gradient to that of the weights.

        Args:
            share: the batch.
            arguments: further arguments of the function: tensors, or floats.
        """
        if self._captured is None:
            prediction, backward = predict_for_training(
                self._model, share.batch, self._properties, self._part.parameters
            )
            values, slopes = self._function(prediction, share.batch, share.labels, *arguments)
            backward(slopes)
            return values
        inputs = flatten(share.batch, share.labels, self._properties)
        inputs += [torch.as_tensor(one, dtype=torch.float64) if isinstance(one, float) else one for one in arguments]
        inputs += [] if share.rotations is None else [share.rotations]
        gradient, *values = self._captured(*inputs)
        self._part.gradient.add_(gradient)
        return values

    def _evaluate(self, *tensors: Tensor) -> list[Tensor]:
        """Return the gradient (W,), then the values of the function, from the inputs that `__call__` collects."""
        padded, labels, arguments = unflatten(tensors, self._properties)
        batch: Batch = padded
        if self._model.needs_augmentation:
            *arguments, rotations = arguments
            batch, labels = augment(batch, labels, self._properties, rotations)
        prediction = predict(self._model, batch, self._properties, create_graph=True)
        values, slopes = self._function(prediction, batch, labels, *arguments)
        # Not by backward, which would accumulate: the operations of a graph have to be the same in each replay.
        weights = self._part.parameters
        names = [name for name in slopes if prediction.values[name].requires_grad]
        outputs, bars = [prediction.values[name] for name in names], [slopes[name] for name in names]
        found = torch.autograd.grad(outputs, weights, bars, allow_unused=True, materialize_grads=True)
        return [torch.cat([one.flatten() for one in found]), *values]
