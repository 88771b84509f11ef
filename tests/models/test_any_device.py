"""Models compute where their weights and the batch are; what waits for a device, or mixes two, is found without one."""

from __future__ import annotations

from pathlib import Path

import torch
from random_potentials import crystal

from fitsnap_nn.data.properties import STANDARD, derivatives_of
from fitsnap_nn.inputs.batch import join_batches
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.models import BPNN
from fitsnap_nn.models.committee import member_weights
from fitsnap_nn.models.prediction import mean_prediction, predict, predict_for_training
from fitsnap_nn.settings.schema import Bispectrum, Reference
from fitsnap_nn.testing.device_rules import META

INP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(4,), wj=(1.0, 0.9), radelem=(0.5, 0.42))


def test_a_committee_of_bpnn():
    """On the device ``meta`` tensors have no values, so that waiting for one raises an exception."""
    model, configuration = BPNN(SnapInput(INP), [8, 8], "tanh", committee=2), crystal(INP.type, 1)
    with model.input.open(Reference(), Path(), derivatives_of(STANDARD)) as compute:
        batch = join_batches([model.input.to_batch(configuration, compute.compute(configuration))] * 2, torch.float32)
    model.to(META)
    batch = batch.to(META)
    found = mean_prediction([predict(member, batch) for member in model.members()], member_weights(model))
    assert found.values["forces"].shape == (len(batch.species), 3)
    for member in model.members():
        prediction, _ = predict_for_training(member, batch, STANDARD, list(member.parameters()))
        assert prediction.values["stress"].device.type == "meta"
