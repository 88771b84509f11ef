"""Learning rates against their formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fitsnap_nn.settings.schema import PytorchSection
from fitsnap_nn.training.schedule import Schedule


def test_constant_stays():
    schedule = Schedule(PytorchSection(learning_rate=0.02, num_epochs=3), 5)
    assert {schedule.learning_rate(step) for step in range(15)} == {0.02}


def test_warm_up_rises_linearly_to_the_learning_rate():
    schedule = Schedule(PytorchSection(learning_rate=1.0, num_epochs=10, warmup_fraction=0.2), 5)
    assert [schedule.learning_rate(step) for step in range(10)] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert schedule.learning_rate(10) == 1.0


def test_cosine_falls_to_the_least_rate():
    options = PytorchSection(learning_rate=1.0, min_learning_rate=0.1, num_epochs=4, scheduler="cosine")
    schedule = Schedule(options, 25)
    for step in (0, 10, 50, 99):
        assert schedule.learning_rate(step) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * step / 100)))
    assert schedule.learning_rate(10_000) == pytest.approx(0.1)


def test_exponential_falls_after_each_epoch_but_not_below_the_least_rate():
    options = PytorchSection(
        learning_rate=1.0, min_learning_rate=0.3, scheduler="exponential", lr_scheduler_gamma=0.5, num_epochs=4
    )
    schedule = Schedule(options, 2)
    assert [schedule.learning_rate(step) for step in range(8)] == [1.0, 1.0, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3]


def test_stage_two_has_its_own_rate_and_the_cosine_ends_before_it():
    options = PytorchSection(learning_rate=1.0, scheduler="cosine", num_epochs=8, stage_two=True)
    schedule = Schedule(options, 10)
    assert schedule.second_stage == 6
    for step in (0, 15, 59):
        assert schedule.learning_rate(step) == pytest.approx(0.5 * (1 + math.cos(math.pi * step / 60)))
    for step in (60, 70, 79):
        assert schedule.learning_rate(step) == pytest.approx(0.05 * (1 + math.cos(math.pi * (step - 60) / 20)))
    # Early stopping began it after 3 epochs.
    schedule.second_stage = 3
    assert schedule.learning_rate(30) == 0.1
    assert schedule.learning_rate(55) == pytest.approx(0.05)
    for other in (replace(options, stage_two_average=True), replace(options, scheduler="plateau")):
        assert {Schedule(other, 10).learning_rate(step) for step in (60, 79, 500)} == {0.1}
    given = PytorchSection(num_epochs=8, stage_two=True, stage_two_start=2, stage_two_learning_rate=0.0)
    assert Schedule(given, 10).learning_rate(20) == 0.0
    epochs = {2: 1, 6: 4, 7: 5, 200: 150}
    assert {n: PytorchSection(num_epochs=n, stage_two=True).second_stage for n in epochs} == epochs


def test_schedule_free_optimisers_have_the_warm_up_only():
    options = PytorchSection(
        optimizer="ScheduleFree", learning_rate=1.0, scheduler="cosine", warmup_fraction=0.2, num_epochs=10
    )
    assert [Schedule(options, 1).learning_rate(step) for step in range(10)] == [0.5] + [1.0] * 9


def test_plateau_waits_then_lowers_but_not_below_the_least_rate():
    options = PytorchSection(
        learning_rate=1.0, min_learning_rate=0.2, scheduler="plateau", plateau_factor=0.5, plateau_patience=2
    )
    schedule = Schedule(options, 1)
    rates = []
    for loss in (3.0, 2.0, 2.0, 2.5, 2.0, 1.0, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1):
        schedule.after_epoch(loss)
        rates.append(schedule.learning_rate(0))
    assert rates == [1.0] * 4 + [0.5] * 4 + [0.25] * 3 + [0.2]


def test_state_survives_a_restart():
    options = PytorchSection(scheduler="plateau", plateau_patience=1)
    one, other = Schedule(options, 1), Schedule(options, 1)
    for loss in (1.0, 2.0, 3.0):
        one.after_epoch(loss)
    other.load_state_dict(one.state_dict())
    one.after_epoch(4.0)
    other.after_epoch(4.0)
    assert one.learning_rate(0) == other.learning_rate(0) != options.learning_rate
