"""The loss against FitSNAP's formula written out with loops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import STANDARD, labels_of
from fitsnap_nn.data.voigt import voigt
from fitsnap_nn.inputs.batch import Batch, atom_fields
from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.models.prediction import Prediction, backward_by_autograd
from fitsnap_nn.training.batches import Labels, Sample, SampleSet, collate, make_sample
from fitsnap_nn.training.losses import SquaredError
from fitsnap_nn.training.objective import Objective, Term, error_sums
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
            labels=labels_of(
                energy=None if number == 2 else random.normal(),
                forces=None if number == 1 else random.normal(size=(size, 3)),
                stress=None if number == 3 else symmetric(random),
            ),
            weights={"energy": 2.0 + number, "forces": 0.5 * number + 0.1, "stress": 1e-8 * (1 + number)},
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
    return Prediction(torch.zeros(10), {"energy": energy, "forces": forces, "stress": stress / 100})


def sample(configuration: Configuration, cached: CachedDescriptors) -> Sample:
    arrays = {
        name: torch.from_numpy(getattr(cached, name))
        for name in ("descriptors", "pair_i", "pair_j", "gradients", "strain_gradients")
    }
    batch = DescriptorBatch(**atom_fields(configuration, ("Ta",)), **arrays)
    return make_sample(configuration, cached, batch, STANDARD, torch.float64)


def collated(samples: Sequence[Sample]) -> tuple[Batch, Labels]:
    return collate(samples, torch.float64, torch.device("cpu"))


OBJECTIVE = Objective([Term(one, SquaredError()) for one in STANDARD])


def test_loss_is_the_formula(members: list[tuple[Configuration, CachedDescriptors]], prediction: Prediction):
    samples = SampleSet([sample(c, r) for c, r in members], torch.float64)
    batch, labels = collated(samples.samples)
    found = OBJECTIVE.total(OBJECTIVE.sums(prediction, labels, batch), samples.total(range(4)))

    sums, counts, start = np.zeros(3), np.zeros(3), 0
    for number, (c, r) in enumerate(members):
        atoms = slice(start, start + len(c))
        start += len(c)
        if c.energy is not None:
            error = (float(prediction.energy[number]) + r.reference_energy - c.energy) / len(c)
            sums[0], counts[0] = sums[0] + c.weight("energy") * error**2, counts[0] + 1
        if c.forces is not None:
            error = prediction.forces[atoms].numpy() + r.reference_forces - c.forces
            sums[1], counts[1] = sums[1] + c.weight("forces") * (error**2).sum(), counts[1] + error.size
        if c.stress is not None:
            error = (prediction.stress[number].numpy() + r.reference_stress - voigt(c.stress)) / BAR
            sums[2], counts[2] = sums[2] + c.weight("stress") * (error**2).sum(), counts[2] + 6
    assert found == pytest.approx((sums / counts).sum(), rel=1e-12)


def test_missing_labels_count_for_no_error(
    members: list[tuple[Configuration, CachedDescriptors]], prediction: Prediction
):
    batch, labels = collated([sample(c, r) for c, r in members])
    before = error_sums(STANDARD, prediction, labels, batch)
    energy, forces, stress = prediction.energy.clone(), prediction.forces.clone(), prediction.stress.clone()
    energy[2], forces[1:4], stress[3] = 1e3, 1e3, 1e3
    changed = Prediction(prediction.atom_energies, {"energy": energy, "forces": forces, "stress": stress})
    torch.testing.assert_close(error_sums(STANDARD, changed, labels, batch), before)
    torch.testing.assert_close(OBJECTIVE.sums(changed, labels, batch), OBJECTIVE.sums(prediction, labels, batch))


def test_sums_over_batches_add_up(members: list[tuple[Configuration, CachedDescriptors]], prediction: Prediction):
    samples = [sample(c, r) for c, r in members]
    batch, labels = collated(samples)
    parts, start = torch.zeros(3, dtype=torch.float64), 0
    for number, size in enumerate(SIZES):
        one, its_labels = collated([samples[number]])
        atoms, configuration = slice(start, start + size), slice(number, number + 1)
        part = Prediction(
            prediction.atom_energies[atoms],
            {
                "energy": prediction.energy[configuration],
                "forces": prediction.forces[atoms],
                "stress": prediction.stress[configuration],
            },
        )
        parts += OBJECTIVE.sums(part, its_labels, one)
        start += size
    torch.testing.assert_close(parts, OBJECTIVE.sums(prediction, labels, batch), rtol=1e-12, atol=0)


def test_the_derivative_is_that_of_the_loss(
    members: list[tuple[Configuration, CachedDescriptors]], prediction: Prediction
):
    samples = SampleSet([sample(c, r) for c, r in members], torch.float64)
    batch, labels = collated(samples.samples)
    counts = samples.total(range(4))
    leaves = {name: tensor.clone().requires_grad_(True) for name, tensor in prediction.values.items()}
    moved = prediction._replace(values=leaves)
    backward_by_autograd(moved, list(leaves.values()))(
        OBJECTIVE.slopes(moved, labels, batch, OBJECTIVE.scales(counts))[1]
    )
    for field, entry in [
        ("energy", (1,)),
        ("energy", (2,)),
        ("forces", (4, 2)),
        ("forces", (2, 0)),
        ("stress", (0, 3)),
    ]:
        losses = []
        for step in (1e-6, -1e-6):
            moved = prediction.values[field].clone()
            moved[entry] += step
            changed = prediction._replace(values={**prediction.values, field: moved})
            losses.append(OBJECTIVE.total(OBJECTIVE.sums(changed, labels, batch), counts))
        assert float(leaves[field].grad[entry]) == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5, abs=1e-6)
