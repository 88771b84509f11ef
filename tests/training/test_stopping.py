"""A fit that stops between two steps: where it goes on, and how ranks agree on it."""

from __future__ import annotations

import copy
import io
from dataclasses import replace

import pytest
import torch
from test_stages import KEYS, OPTIONS, STAGES, trainer_of
from torch import Tensor

from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.stopping import BETWEEN, MOST_STEPS, RESERVE, FitStopped, PartOfEpoch, Stopping
from fitsnap_nn.training.trainer import EpochReport, Trainer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class First(Ranks):
    """The first of two ranks, whose broadcasts are counted."""

    def __init__(self) -> None:
        super().__init__(0, 2)
        self.sent: list[tuple[bool, int]] = []

    def broadcast(self, value):
        self.sent.append(value)
        return value


def stopped_after(trainer: Trainer, questions: int) -> dict[str, object]:
    """Stop a fit at one of the moments at which it can be stopped; return its state as a restart file has it."""

    def wanted() -> bool:
        nonlocal questions
        questions -= 1
        return questions < 0

    trainer.stopping.wanted = wanted
    with pytest.raises(FitStopped):
        trainer.run(lambda _: None)
    file = io.BytesIO()
    torch.save(trainer.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# Per epoch three questions before its steps, and one before the only batch of its validation.
@pytest.mark.parametrize("moment", [1, 2, 3, 9, 10, 11])
@pytest.mark.parametrize(
    ("keys", "stage"), [*((keys, stage) for keys in ("AdamW", "cosine") for stage in STAGES), ("LKF", "one")]
)
def test_a_stopped_fit_goes_on_within_the_epoch_to_the_same_bits(keys: str, stage: str, moment: int):
    options = replace(OPTIONS, num_epochs=4, **{**KEYS[keys], **STAGES[stage]})
    straight, expected = trainer_of(options), []
    straight.run(expected.append)
    # A balanced objective is evaluated before the first epoch too, and again at the beginning of stage two.
    more = 0 if not options.balance else 1 if moment < 4 or not options.stage_two else 2
    state = stopped_after(trainer_of(options), moment + more)
    assert state["part"]["steps"] == moment % 4
    second, found = trainer_of(options), []
    second.load_state_dict(copy.deepcopy(state))
    second.run(found.append)
    for one, other in zip(found, expected[int(state["epoch"]) :], strict=True):
        assert str(replace(one, seconds=0.0)) == str(replace(other, seconds=0.0))
    for name, value in straight.state_dict().items():
        if isinstance(value, Tensor):
            assert torch.equal(value, second.state_dict()[name]), name
    assert second.state_dict()["part"] is None


def test_the_time_of_an_epoch_includes_that_before_the_stop():
    reports: list[EpochReport] = []
    state = stopped_after(trainer_of(OPTIONS), 2)
    state["part"]["seconds"] = 1000.0
    second = trainer_of(replace(OPTIONS, num_epochs=1))
    second.load_state_dict(state)
    second.run(reports.append)
    assert 1000.0 < reports[0].seconds < 1100.0


def test_a_signal_in_the_last_epoch_is_not_lost():
    trainer = trainer_of(replace(OPTIONS, num_epochs=1))

    def signalled(report: EpochReport) -> None:
        trainer.stopping.signalled = lambda: 15

    with pytest.raises(FitStopped):
        trainer.run(signalled)
    assert trainer.part is None
    assert trainer.epoch == 1


def test_losses_go_on_with_another_number_of_ranks():
    part = PartOfEpoch(5, (torch.tensor([1.0]), torch.tensor([2.0])), 0.0)
    assert [float(part.losses_of(Ranks(rank, 2))) for rank in (0, 1)] == [1.0, 2.0]
    assert [float(part.losses_of(Ranks(rank, 3))) for rank in (0, 1, 2)] == [3.0, 0.0, 0.0]
    assert float(part.losses_of(Ranks())) == 3.0


def test_the_limit_leaves_time_for_a_step_and_for_saving():
    clock = Clock()
    stopping = Stopping(Ranks(), deadline=100.0, clock=clock)
    stopping.between_epochs()
    for now in (0.0, 3.0, 10.0):  # the longest step takes 7 s
        clock.now = now
        assert not stopping.agreed()
    stopping.saving_took(4.0)
    clock.now = 10.0 + 60.0
    stopping.between_epochs()  # a long validation is no step
    clock.now = 100.0 - 7.0 - 8.0 - RESERVE - 0.1
    stopping.between_epochs()
    assert not stopping.agreed()
    clock.now += 0.2
    assert stopping.agreed()


@pytest.mark.parametrize("step_time", [1e-5, 0.01, 3.0])
def test_ranks_agree_about_once_per_second(step_time: float):
    clock, ranks = Clock(), First()
    stopping = Stopping(ranks, clock=clock)
    for _ in range(10_000):
        clock.now += step_time
        assert not stopping.agreed()
    expected = 10_000 / min(MOST_STEPS, max(1.0, BETWEEN / step_time))
    assert expected <= len(ranks.sent) <= expected + 20
    stopping.signalled = lambda: 2
    answers = [stopping.agreed() for _ in range(MOST_STEPS + 1)]
    assert any(answers)
    assert ranks.sent[-1][0]


def test_other_ranks_do_not_decide():
    stopping = Stopping(Ranks(1, 2), deadline=0.0, clock=lambda: 10.0)
    stopping.signalled = lambda: 15
    assert not stopping.wanted()
    stopping.check()
