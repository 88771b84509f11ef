"""The loss against FitSNAP's formula written out with loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.models.base import Prediction
from fitsnap_nn.training.batches import SampleSet, collate, make_sample
from fitsnap_nn.training.loss import backward, error_sums, loss_sums, mean_loss
from fitsnap_nn.units import BAR

SIZES = (1, 3, 2, 4)


def symmetric(random: np.random.Generator) -> np.ndarray:
    tensor = random.normal(0, 0.01, (3, 3))
    return tensor + tensor.T


@pytest.fixture
def members() -> list[tuple[Configuration, CachedDescriptors]]:
    """Four configurations: the second without forces, the third without energy, the fourth without stress."""
    random = np.random.default_rng(11)
    found = []
    for number, size in enumerate(SIZES):
        configuration = Configuration(
            f"c{number}", "test", ("Ta",) * size, random.normal(size=(size, 3)), 5.0 * np.eye(3),
            energy=None if number == 2 else random.normal(),
            forces=None if number == 1 else random.normal(size=(size, 3)),
            stress=None if number == 3 else symmetric(random),
            energy_weight=2.0 + number, force_weight=0.5 * number + 0.1, stress_weight=1e-8 * (1 + number),
        )  # fmt: skip
        record = CachedDescriptors(
            random.normal(size=(size, 5)), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, 3, 5)),
            random.normal(size=(size, 6, 5)), random.normal(), random.normal(size=(size, 3)), random.normal(0, 0.01, 6),
        )  # fmt: skip
        found.append((configuration, record))
    return found


@pytest.fixture
def prediction() -> Prediction:
    random = np.random.default_rng(12)
    energy, forces, stress = (torch.from_numpy(random.normal(size=shape)) for shape in ((4,), (10, 3), (4, 6)))
    return Prediction(energy, torch.zeros(10), forces, stress / 100)


def test_loss_is_the_formula(members: list[tuple[Configuration, CachedDescriptors]], prediction: Prediction):
    samples = SampleSet([make_sample(c, r, ("Ta",), torch.float64) for c, r in members])
    batch, labels = collate(samples.samples, torch.device("cpu"))
    found = mean_loss(loss_sums(prediction, labels, batch), samples.total(range(4)))

    sums, counts, start = np.zeros(3), np.zeros(3), 0
    for number, (c, r) in enumerate(members):
        atoms = slice(start, start + len(c))
        start += len(c)
        if c.energy is not None:
            error = (float(prediction.energy[number]) + r.reference_energy - c.energy) / len(c)
            sums[0], counts[0] = sums[0] + c.energy_weight * error**2, counts[0] + 1
        if c.forces is not None:
            error = prediction.forces[atoms].numpy() + r.reference_forces - c.forces
            sums[1], counts[1] = sums[1] + c.force_weight * (error**2).sum(), counts[1] + error.size
        if c.stress is not None:
            error = (prediction.stress[number].numpy() + r.reference_stress - voigt(c.stress)) / BAR
            sums[2], counts[2] = sums[2] + c.stress_weight * (error**2).sum(), counts[2] + 6
    assert float(found) == pytest.approx((sums / counts).sum(), rel=1e-12)


def test_missing_labels_count_for_no_error(
    members: list[tuple[Configuration, CachedDescriptors]], prediction: Prediction
):
    batch, labels = collate([make_sample(c, r, ("Ta",), torch.float64) for c, r in members], torch.device("cpu"))
    before = error_sums(prediction, labels, batch)
    energy, forces, stress = prediction.energy.clone(), prediction.forces.clone(), prediction.stress.clone()
    energy[2], forces[1:4], stress[3] = 1e3, 1e3, 1e3
    changed = Prediction(energy, prediction.atom_energies, forces, stress)
    torch.testing.assert_close(error_sums(changed, labels, batch), before)
    torch.testing.assert_close(loss_sums(changed, labels, batch), loss_sums(prediction, labels, batch))


def test_sums_over_batches_add_up(members: list[tuple[Configuration, CachedDescriptors]], prediction: Prediction):
    samples = [make_sample(c, r, ("Ta",), torch.float64) for c, r in members]
    batch, labels = collate(samples, torch.device("cpu"))
    parts, start = torch.zeros(3, dtype=torch.float64), 0
    for number, size in enumerate(SIZES):
        one, its_labels = collate([samples[number]], torch.device("cpu"))
        atoms, configuration = slice(start, start + size), slice(number, number + 1)
        part = Prediction(
            prediction.energy[configuration], prediction.atom_energies[atoms], prediction.forces[atoms],
            prediction.stress[configuration],
        )  # fmt: skip
        parts += loss_sums(part, its_labels, one)
        start += size
    torch.testing.assert_close(parts, loss_sums(prediction, labels, batch), rtol=1e-12, atol=0)


def test_the_derivative_is_that_of_the_loss(
    members: list[tuple[Configuration, CachedDescriptors]], prediction: Prediction
):
    samples = SampleSet([make_sample(c, r, ("Ta",), torch.float64) for c, r in members])
    batch, labels = collate(samples.samples, torch.device("cpu"))
    counts = samples.total(range(4))
    leaves = Prediction(*(tensor.clone().requires_grad_(True) for tensor in prediction))
    backward(leaves, labels, batch, counts, list(leaves))
    for field, entry in [
        ("energy", (1,)),
        ("energy", (2,)),
        ("forces", (4, 2)),
        ("forces", (2, 0)),
        ("stress", (0, 3)),
    ]:
        losses = []
        for step in (1e-6, -1e-6):
            moved = getattr(prediction, field).clone()
            moved[entry] += step
            losses.append(float(mean_loss(loss_sums(prediction._replace(**{field: moved}), labels, batch), counts)))
        assert float(getattr(leaves, field).grad[entry]) == pytest.approx(
            (losses[0] - losses[1]) / 2e-6, rel=1e-5, abs=1e-6
        )
