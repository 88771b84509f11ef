"""Keys of training in a new input that depend on the size of the data: batches, epochs, loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fitsnap_nn.data.weighting import choose_huber_deltas
from fitsnap_nn.settings.architectures import load_architecture
from fitsnap_nn.settings.template import ON_DESCRIPTORS, recommended
from fitsnap_nn.settings.training import KALMAN

MIN_EPOCHS = 40
# Steps of a Kalman filter to which the recommended number of epochs is reduced, and the minimum of epochs.
KALMAN_STEPS, MIN_KALMAN_EPOCHS = 4_000, 6


def choose_steps(model: str, num_elements: int, num_training: int, num_atoms: float) -> dict[str, str]:
    """Return the number of epochs, and the batch size if it differs from the default: both are lower for large data.

    Args:
        model: architecture.
        num_elements: number of elements.
        num_training: number of configurations of the training set.
        num_atoms: mean number of atoms of a configuration.
    """
    training = recommended(model, num_elements).get("PYTORCH", {})
    if not {"num_epochs", "batch_size"} <= training.keys():
        return {}
    size = batch = int(training["batch_size"])
    if training.get("optimizer") == KALMAN:
        steps, least = KALMAN_STEPS, MIN_KALMAN_EPOCHS
    else:
        architecture = load_architecture(model)
        steps, least = architecture.num_steps, MIN_EPOCHS
        if architecture.batch_atoms:
            batch = min(size, math.ceil(architecture.batch_atoms / num_atoms))
        if architecture.training_atoms:
            steps = min(steps, math.ceil(architecture.training_atoms / (batch * num_atoms)))
    epochs = min(int(training["num_epochs"]), max(least, steps // max(1, math.ceil(num_training / batch))))
    return {"num_epochs": str(epochs), **({"batch_size": str(batch)} if batch < size else {})}


def choose_loss(model: str, weights: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Return the keys of Huber losses if the architecture is better with them and some labels have a weight.

    Args:
        model: architecture.
        weights: of energies, forces and stresses, by group.
    """
    if model in ON_DESCRIPTORS or not load_architecture(model).robust:
        return {}
    deltas = choose_huber_deltas(weights.values())
    return {"loss": "huber", "huber_delta": deltas} if deltas else {}
