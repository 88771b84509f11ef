"""Optimisers, schedules, stage two and averaged weights of the trainer: formulas, and restarts to the bit."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from test_balance import subset, trained
from test_captured_steps import ELEMENTS, MODELS
from test_captured_steps import sample_set as graph_samples
from test_least_squares import CPU, OBJECTIVE, network, sample_set
from torch import Tensor

from fitsnap_nn.data.properties import STANDARD
from fitsnap_nn.models import Model, build_model
from fitsnap_nn.models.prediction import predict, predict_for_training
from fitsnap_nn.settings.schema import PytorchSection
from fitsnap_nn.training.batches import Batches, SampleSet, collate
from fitsnap_nn.training.best import Best, rating
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.losses import make_loss
from fitsnap_nn.training.objective import Objective, Term
from fitsnap_nn.training.set_errors import Errors
from fitsnap_nn.training.trainer import EpochReport, Trainer

OPTIONS = PytorchSection(learning_rate=1e-2, num_epochs=8, batch_size=5)
FREE = replace(OPTIONS, optimizer="ScheduleFree", beta=0.8)
STAGE_TWO = replace(OPTIONS, stage_two=True, stage_two_start=3, stage_two_energy_weight=50.0)
ENERGIES = {"energy": 50.0}


class Killed(Exception):
    """Stands in for the end of the process in the middle of an epoch."""


samples_of_test = cache(sample_set)


def nothing() -> None:
    """Release no memory."""


def trainer_of(
    options: PytorchSection,
    release: Callable[[], None] = nothing,
    say: Callable[[str], None] = lambda _: None,
    committee: int = 1,
) -> Trainer:
    samples = samples_of_test()
    sets = subset(samples, range(15)), subset(samples, range(15, 24))
    later = tuple(one.with_weights([ENERGIES] * len(one)) for one in sets) if options.stage_two else None
    model, objective = network(committee=committee), Objective(OBJECTIVE.terms, balanced=options.balance)
    return Trainer(model, *sets, objective, options, 3, Ranks(), CPU, release, say, later)


def gradient(trainer: Trainer, members: list[int], weights: Tensor, samples: SampleSet) -> Tensor:
    """Return the gradient of the loss of a batch at some weights."""
    with trainer.holding(weights):
        batch, labels = collate([samples.samples[member] for member in members], torch.float64, CPU)
        trainer.flat.gradient.zero_()
        prediction, backward = predict_for_training(trainer.model, batch, STANDARD, list(trainer.model.parameters()))
        backward(OBJECTIVE.slopes(prediction, labels, batch, OBJECTIVE.scales(samples.total(members)))[1])
        return trainer.flat.gradient.clone()


def killed_and_resumed(make: Callable[..., Trainer], steps: int) -> None:
    """Compare a fit with one whose process ends after some steps in the middle of an epoch, each bit."""
    straight, expected = make(), []
    straight.run(expected.append)
    states: list[dict[str, object]] = []

    def release() -> None:
        nonlocal steps
        steps -= 1
        if not steps:
            raise Killed

    first = make(release=release)
    states.append(copy.deepcopy(first.state_dict()))
    with pytest.raises(Killed):
        first.run(lambda _: states.append(copy.deepcopy(first.state_dict())))
    second = make()
    second.load_state_dict(states[-1])
    found: list[EpochReport] = []
    second.run(found.append)
    assert found[-1].epoch == straight.epoch
    for one, other in zip(found, expected[len(states) - 1 :], strict=True):
        assert str(replace(one, seconds=0.0)) == str(replace(other, seconds=0.0))  # NaN equals NaN as text
    for name, value in straight.state_dict().items():
        if isinstance(value, Tensor):
            assert torch.equal(value, second.state_dict()[name]), name
    assert torch.equal(straight.flat.vector, second.flat.vector)
    assert straight.state_dict()["best_epoch"] == second.state_dict()["best_epoch"]


KEYS: dict[str, dict[str, object]] = {
    "amsgrad": {"amsgrad": True, "beta": 0.8},
    "AdamW": {"optimizer": "AdamW", "weight_decay": 0.1, "ema_decay": 0.9},
    "SOAP": {"optimizer": "SOAP", "warmup_fraction": 0.3, "weight_decay": 0.1},
    "ScheduleFree": {"optimizer": "ScheduleFree", "warmup_fraction": 0.3, "weight_decay": 0.01},
    "LKF": {"optimizer": "LKF", "balance": True},
    "cosine": {"scheduler": "cosine", "warmup_fraction": 0.2},
    "plateau": {"scheduler": "plateau", "plateau_patience": 0},
    "exponential": {"scheduler": "exponential", "lr_scheduler_gamma": 0.5},
    "rmse_prod": {"best_model_metric": "rmse_prod"},
}
STAGES: dict[str, dict[str, object]] = {
    "one": {},
    "two": {"stage_two": True, "stage_two_start": 2, "stage_two_energy_weight": 50.0},
    "averaged": {"stage_two": True, "stage_two_start": 2, "stage_two_average": True, "ema_decay": 0.9},
    "balanced": {"stage_two": True, "stage_two_start": 2, "balance": True, "early_stopping": 1},
}
IMPOSSIBLE = {("LKF", stage) for stage in STAGES if stage != "one"} | {("ScheduleFree", "averaged")}


CASES = [(k, s, 3) for k in KEYS for s in STAGES if (k, s) not in IMPOSSIBLE]


@pytest.mark.parametrize(("keys", "stage", "epoch"), [*CASES, ("cosine", "averaged", 2), ("cosine", "averaged", 4)])
def test_a_fit_killed_within_an_epoch_ends_with_the_same_bits(
    request: pytest.FixtureRequest, keys: str, stage: str, epoch: int
):
    """The third epoch is the first of stage two."""
    if keys == "ScheduleFree":
        request.getfixturevalue("schedulefree")
    options = replace(OPTIONS, num_epochs=4, **{**KEYS[keys], **STAGES[stage]})
    # Three steps per epoch, then one batch of the validation set.
    killed_and_resumed(lambda release=nothing: trainer_of(options, release, committee=2), 4 * epoch - 2)


@pytest.mark.parametrize("optimizer", ["SOAP", "ScheduleFree"])
@pytest.mark.parametrize("architecture", MODELS)
def test_every_model_ends_with_the_same_bits(request: pytest.FixtureRequest, architecture: str, optimizer: str):
    """With Adam: tests/test_graph_fits.py."""
    if optimizer == "ScheduleFree":
        request.getfixturevalue("schedulefree")
    torch.manual_seed(0)
    model = build_model({"architecture": architecture, "elements": ELEMENTS, **MODELS[architecture]})
    model.set_precision(torch.float64)
    samples = graph_samples(model)
    options = PytorchSection(
        learning_rate=1e-3, num_epochs=3, batch_size=3, optimizer=optimizer, stage_two=True, stage_two_start=2
    )

    killed_and_resumed(lambda release=nothing: graph_trainer(model, samples, options, release), 10)


def graph_trainer(
    model: Model, samples: SampleSet, options: PytorchSection, release: Callable[[], None] = nothing
) -> Trainer:
    """Return a trainer of a copy of the model."""
    objective = Objective([Term(one, make_loss("mse", 1.0)) for one in STANDARD])
    return Trainer(copy.deepcopy(model), samples, samples, objective, options, 3, Ranks(), CPU, release)


@pytest.mark.parametrize("optimizer", ["Adam", "SOAP", "LKF"])
@pytest.mark.parametrize("architecture", ["CUSTOM", "MACE"])
def test_members_of_a_committee_are_trained_like_models_of_their_own(
    request: pytest.FixtureRequest, architecture: str, optimizer: str
):
    """They have the weights of a fit that starts from the same ones; a resumed fit ends with the same bits."""
    if architecture == "MACE":
        request.getfixturevalue("mace")
    torch.manual_seed(0)
    description = {"architecture": architecture, "elements": ELEMENTS, **MODELS[architecture]}
    committee = build_model({**description, "committee": 2})
    committee.set_precision(torch.float64)
    committee.energy_scale.fill_(1.5)
    samples = graph_samples(committee)
    options = PytorchSection(learning_rate=1e-3, num_epochs=3, batch_size=3, optimizer=optimizer, gradient_clip=0.1)
    start = graph_trainer(committee, samples, options).flat.vector.detach().clone()
    found = ends_of(graph_trainer(committee, samples, options))
    expected = torch.cat([ends_of(graph_trainer(member, samples, options)) for member in committee.members()])
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
    assert not torch.allclose(found, start, rtol=1e-3)
    killed_and_resumed(lambda release=nothing: graph_trainer(committee, samples, options, release), 10)


def ends_of(trainer: Trainer) -> Tensor:
    """Return the weights after the last epoch, which need not be the best."""
    ends: list[Tensor] = []
    trainer.run(lambda _: ends.append(trainer.flat.vector.detach().clone()))
    return ends[-1]


def test_stage_two_changes_rate_and_weights_and_chooses_the_best_epoch_anew():
    said: list[str] = []
    trainer = trainer_of(STAGE_TWO, say=said.append)
    reports = trained(trainer)
    assert [one.learning_rate for one in reports] == [1e-2] * 3 + [pytest.approx(1e-3)] * 5
    assert said == ["stage two from epoch 4 on: learning rate 0.001, energy_weight 50; the best epoch is chosen anew"]
    assert [one.is_best for one in reports][3]
    assert trainer.best.epoch > 3
    alone = trained(trainer_of(replace(STAGE_TWO, stage_two=False)))
    assert [one.train_loss for one in alone[:3]] == [one.train_loss for one in reports[:3]]
    with trainer.holding(trainer.best.weights):
        found = trainer.evaluate(trainer.validation)
    assert found.loss == trainer.best.loss == min(one.validation.loss for one in reports[3:])
    values = trainer.evaluate(trainer_of(OPTIONS).validation).values
    assert found.values[0] > 20 * values[0]  # weights of 1 and 2 before
    assert found.values[1:] == values[1:]


def test_early_stopping_starts_stage_two():
    options = replace(STAGE_TWO, stage_two_start=7, early_stopping=2, learning_rate=1e-12, stage_two_learning_rate=1e-3)
    trainer = trainer_of(options)
    trainer.best.lowest_loss = 0.0  # no epoch is better
    rates = [one.learning_rate for one in trained(trainer)]
    assert rates[:2] == [1e-12] * 2
    assert rates[2:] == [1e-3] * 6
    assert trainer.stage_two_began == 2


def test_the_mean_over_epochs_is_validated():
    trainer = trainer_of(replace(STAGE_TWO, stage_two_average=True, ema_decay=0.9))
    ends: list[Tensor] = []
    losses: list[float] = []

    def after_epoch(report: EpochReport) -> None:
        ends.append(trainer.flat.vector.detach().clone())
        losses.append(report.validation.loss)

    trainer.run(after_epoch)
    mean = torch.stack(ends[3:]).mean(dim=0)
    torch.testing.assert_close(trainer.kept(), mean, rtol=1e-13, atol=1e-13)
    with trainer.holding(mean):
        batch, labels = collate(trainer.validation.samples, torch.float64, CPU)
        sums = OBJECTIVE.sums(predict(trainer.model, batch, STANDARD), labels, batch)
    counts = trainer.validation.total(range(len(trainer.validation)))
    assert losses[-1] == pytest.approx(OBJECTIVE.total(sums, counts), rel=1e-10)


@pytest.mark.usefixtures("schedulefree")
def test_schedule_free_weights_follow_the_equations_of_the_paper():
    """arXiv:2405.15682 with AdamW: z takes the steps, x is their mean weighted by the squares of rates, y is between.

    The rate rises linearly in the warm-up, here in the first half of the steps.
    """
    options = replace(FREE, num_epochs=4, warmup_fraction=0.5)
    trainer = trainer_of(options)
    z = trainer.flat.vector.detach().clone()
    x, moment, total, number = z.clone(), torch.zeros_like(z), 0.0, 0
    for epoch in range(4):
        for members in Batches(trainer.training.sizes, 5, None, seed=3, shuffle=True).of_epoch(epoch):
            rate = 1e-2 * min(1.0, (number + 1) / 6)
            slope = gradient(trainer, list(members), (1 - 0.8) * z + 0.8 * x, trainer.training)
            moment = 0.999 * moment + 0.001 * slope**2
            number += 1
            z = z - rate * slope / ((moment / (1 - 0.999**number)).sqrt() + 1e-8)
            largest = rate**2
            total += largest
            x = x + largest / total * (z - x)
    ends: list[tuple[EpochReport, Tensor, Tensor]] = []
    trainer.run(lambda report: ends.append((report, trainer.kept().clone(), trainer.flat.vector.detach().clone())))
    assert [report.learning_rate for report, _, _ in ends] == pytest.approx([5e-3, 1e-2, 1e-2, 1e-2])
    report, kept, inside = ends[-1]
    torch.testing.assert_close(kept, x, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(inside, (1 - 0.8) * z + 0.8 * x, rtol=1e-9, atol=1e-11)
    assert not torch.allclose(inside, x, rtol=1e-4)
    assert trainer.best.epoch == 4
    with trainer.holding(x):
        found = trainer.errors.of(trainer.validation, lambda done, total: None)
        assert found.loss == pytest.approx(report.validation.loss, rel=1e-9)
    assert torch.equal(trainer.flat.vector, kept)  # those of the best epoch, for files and reports


TORCH: dict[str, tuple[dict[str, object], type[torch.optim.Optimizer], dict[str, object]]] = {
    "AMSGrad": ({"amsgrad": True, "beta": 0.7}, torch.optim.Adam, {"amsgrad": True, "betas": (0.7, 0.999)}),
    "penalty": ({"weight_decay": 0.3}, torch.optim.Adam, {"weight_decay": 0.3}),
    "AdamW": ({"optimizer": "AdamW", "weight_decay": 0.3}, torch.optim.AdamW, {"weight_decay": 0.3}),
}


def after_epochs(options: PytorchSection) -> Tensor:
    """Return the weights after the last step."""
    trainer, ends = trainer_of(options), []
    trainer.run(lambda _: ends.append(trainer.flat.vector.detach().clone()))
    return ends[-1]


@pytest.mark.parametrize("method", TORCH)
def test_steps_are_those_of_torch(method: str):
    keys, kind, arguments = TORCH[method]
    trainer = trainer_of(OPTIONS)
    weights = trainer.flat.vector.detach().clone().requires_grad_(True)
    expected = kind([weights], lr=1e-2, **arguments)
    for epoch in range(8):
        for members in Batches(trainer.training.sizes, 5, None, seed=3, shuffle=True).of_epoch(epoch):
            weights.grad = gradient(trainer, list(members), weights.detach(), trainer.training)
            expected.step()
    torch.testing.assert_close(after_epochs(replace(OPTIONS, **keys)), weights.detach(), rtol=1e-9, atol=1e-11)
    plain = replace(OPTIONS, beta=float(keys.get("beta", 0.9)))
    assert not torch.allclose(after_epochs(plain), weights.detach(), rtol=1e-6)


STEP = """
import sys
import torch
from fitsnap_nn.settings.schema import PytorchSection
from fitsnap_nn.training.steps import make_optimizer
for kind in ("Adam", "AdamW", "SOAP"):
    weights = torch.nn.Parameter(torch.ones(3))
    weights.grad = torch.ones(3)
    optimizer = make_optimizer(weights, [weights.detach().view(3, 1)], PytorchSection(optimizer=kind))
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""


def test_an_optimiser_does_not_import_the_compiler_of_torch():
    """That takes one second per rank."""
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_gradients_are_clipped():
    trainer, norms = trainer_of(replace(OPTIONS, gradient_clip=1e-3)), []
    trainer.release = lambda: norms.append(float(trainer.flat.gradient.norm()))
    trained(trainer)
    assert max(norms) == pytest.approx(1e-3, rel=1e-3)
    assert float(gradient(trainer, [0], trainer.flat.vector.detach(), trainer.training).norm()) > 1e-3


def test_best_epochs_by_products_of_errors():
    errors = Errors(3.0, (1.0, 2.0, 0.0), {"energy": 2.0, "forces": 3.0, "stress": 9.0}, dict.fromkeys("abc", 5.0))
    assert rating("loss", 1, errors.loss, errors) == 3.0
    assert rating("mae_prod", 1, errors.loss, errors) == 6.0  # no stress has a weight
    assert rating("rmse_prod", 1, errors.loss, errors) == 25.0


@pytest.mark.parametrize("metric", ["rmse_prod", "mae_prod"])
def test_the_best_epoch_has_the_lowest_product(metric: str):
    trainer = trainer_of(replace(OPTIONS, best_model_metric=metric, learning_rate=0.2))
    reports = trained(trainer)
    errors = [one.validation.rmse if metric == "rmse_prod" else one.validation.mae for one in reports]
    products = [math.prod(one.values()) for one in errors]
    assert trainer.best.epoch == products.index(min(products)) + 1
    assert trainer.best.loss == reports[trainer.best.epoch - 1].validation.loss


@pytest.mark.parametrize(("metric", "kept"), [("loss", 2), ("last", 3)])
def test_the_last_epoch_is_kept_if_asked_for(metric: str, kept: int):
    """With a validation set and without, and from the epoch at which the fit goes on."""
    for validation in (True, False):
        best = Best(metric, torch.zeros(2))
        best.start(Errors(0.9, (0.9,), {"energy": 1.0}, {"energy": 1.0}))
        for epoch, loss in enumerate((0.7, 0.5, 0.6), start=1):
            errors = Errors(loss, (loss,), {"energy": 1.0}, {"energy": 1.0}) if validation else None
            best.consider(epoch, loss, (loss,), errors, torch.full((2,), float(epoch)))
        assert (best.epoch, best.loss) == (kept, (0.7, 0.5, 0.6)[kept - 1])
        assert best.weights.tolist() == [kept, kept]
        assert best.lowest_epoch == 2  # early stopping follows the loss
        other = Best(metric, torch.zeros(2))
        other.load_state_dict(best.state_dict())
        assert other.consider(4, 0.55, (0.55,), None, torch.ones(2)) == (metric == "last")


def test_batches_of_configurations():
    """Of all ranks together; the last one of an epoch may be smaller, and no configuration is left out."""
    batches = Batches([3] * 7, 3, PytorchSection().atom_bounds, seed=0, shuffle=True)
    orders = [[list(one) for one in batches.of_epoch(epoch)] for epoch in (0, 1, 0)]
    assert [len(one) for one in orders[0]] == [3, 3, 1]
    assert all(sorted(member for one in order for member in one) == list(range(7)) for order in orders)
    assert orders[0] == orders[2] != orders[1]


def test_batches_without_a_maximum_have_the_minimum():
    sizes = [3, 4, 5, 2, 2, 9, 1]
    batches = Batches(sizes, 1, PytorchSection(batch_atom_bounds=(6, None)).atom_bounds, seed=0, shuffle=False)
    assert [list(one) for one in batches.of_epoch(0)] == [[0, 1], [2, 3], [4, 5, 6]]
    limited = Batches(sizes, 1, PytorchSection(batch_atom_bounds=(None, 9)).atom_bounds, seed=0, shuffle=False)
    assert [list(one) for one in limited.of_epoch(0)] == [[0, 1], [2, 3, 4], [5], [6]]
    assert PytorchSection(batch_atom_bounds=(None, None)).atom_bounds is None
