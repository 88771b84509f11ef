"""The least-squares fit of the last layers against rows that the model itself predicts, and numpy's least squares."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stand_in_input import StandInInput

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import ENERGY, FORCES, STANDARD, Property, labels_of
from fitsnap_nn.inputs.batch import atom_fields
from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.models import BPNN
from fitsnap_nn.models.last_layer import LastLayer
from fitsnap_nn.models.mlp import ACTIVATIONS
from fitsnap_nn.models.prediction import predict, predict_baseline
from fitsnap_nn.training import least_squares
from fitsnap_nn.training.batches import SampleSet, collate, make_sample
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.least_squares import LeastSquares, NormalEquations, fit_last_layer, folds_of
from fitsnap_nn.training.losses import AbsoluteError, SquaredError
from fitsnap_nn.training.objective import Objective, Term, residuals

ELEMENTS, SIZE = ("In", "P"), 6
CPU = torch.device("cpu")
OBJECTIVE = Objective([Term(one, SquaredError()) for one in STANDARD])
BALANCED = Objective([Term(one, SquaredError()) for one in STANDARD], balanced=True)
Floats = NDArray[np.float64]


def sample_set(
    count: int = 24, dtype: torch.dtype = torch.float64, properties: Sequence[Property] = STANDARD
) -> SampleSet:
    """Random configurations with a reference potential; each third, fourth and fifth lacks one kind of label."""
    random = np.random.default_rng(3)
    samples = []
    for number in range(count):
        atoms = 2 + number % 4
        species = tuple(random.choice(ELEMENTS, atoms))
        stress = random.normal(0, 0.01, (3, 3))
        labels = labels_of(
            energy=None if number % 3 == 1 else random.normal() - 2.0 * atoms,
            forces=None if number % 4 == 1 else random.normal(size=(atoms, 3)),
            stress=None if number % 5 == 1 else stress + stress.T,
        )
        weights = {"energy": 1.0 + number % 2, "forces": 0.3, "stress": 1e-8 * (number % 3)}
        pairs = np.array([(i, j) for i in range(atoms) for j in range(atoms)], dtype=np.int32).T
        configuration = Configuration(
            f"c{number}", "g", species, random.normal(size=(atoms, 3)), 5.0 * np.eye(3), labels=labels, weights=weights
        )
        record = CachedDescriptors(
            random.normal(1.0, 2.0, (atoms, SIZE)), pairs[0].copy(), pairs[1].copy(),
            random.normal(size=(pairs.shape[1], 3, SIZE)), random.normal(size=(atoms, 6, SIZE)),
            random.normal(), random.normal(size=(atoms, 3)), random.normal(0, 0.01, 6),
        )  # fmt: skip
        names = ("descriptors", "pair_i", "pair_j", "gradients", "strain_gradients")
        arrays = {name: torch.from_numpy(getattr(record, name)) for name in names}
        batch = DescriptorBatch(**atom_fields(configuration, ELEMENTS), **arrays)
        samples.append(make_sample(configuration, record, batch, properties, dtype))
    return SampleSet(samples, dtype)


def network(option: int = 1, hidden: Sequence[int] = (5, 4), activation: str = "tanh", committee: int = 1) -> BPNN:
    torch.manual_seed(7)
    model = BPNN(StandInInput(ELEMENTS, SIZE), hidden, activation, option, committee=committee)
    model.standardize(torch.randn(2, SIZE), 0.5 + torch.rand(2, SIZE), 0.5 + torch.rand(SIZE))
    model.element_energies.copy_(torch.tensor([-3.0, -1.0]))
    model.energy_scale.fill_(2.5)
    model.set_precision(torch.float64)
    return model


def fit(model: BPNN, samples: SampleSet, objective: Objective = OBJECTIVE) -> LeastSquares:
    found = fit_last_layer(model, samples, ["g"] * len(samples), objective, Ranks())
    assert found is not None
    return found


def explicit_rows(model: BPNN, samples: SampleSet) -> dict[str, tuple[Floats, Floats]]:
    """Weighted rows and labels by property, from predictions for unit vectors of weights and biases."""
    model = copy.deepcopy(model)
    layer = LastLayer(model)
    batch, labels = collate(samples.samples, torch.float64, CPU)
    counts = samples.total(range(len(samples)))

    def values(coefficients: torch.Tensor) -> dict[str, Floats]:
        layer.assign(coefficients)
        prediction = predict(model, batch, STANDARD)
        found = {one: residuals(one, prediction, labels, batch) for one in STANDARD}
        return {
            one.name: (found[one].values * (found[one].weights / counts[one.name]).sqrt()).flatten().numpy()
            for one in STANDARD
        }

    zero = values(torch.zeros(layer.size, dtype=torch.float64))
    units = [values(row) for row in torch.eye(layer.size, dtype=torch.float64)]
    return {name: (np.stack([unit[name] - zero[name] for unit in units], axis=1), -zero[name]) for name in zero}


def expected(rows: dict[str, tuple[Floats, Floats]], constant: Floats, regularisation: float) -> Floats:
    """Solution of least squares with the penalty as further rows, of columns of unit norm."""
    matrix = np.concatenate([a for a, _ in rows.values()])
    labels = np.concatenate([y for _, y in rows.values()])
    norms = np.linalg.norm(matrix, axis=0)
    norms[norms == 0] = 1.0
    penalty = np.diag(np.sqrt(np.where(constant, 0.0, regularisation)))
    padded = np.concatenate([labels, np.zeros(len(penalty))])
    found: Floats = np.linalg.lstsq(np.concatenate([matrix / norms, penalty]), padded, rcond=1e-14)[0]
    return found / norms


@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("hidden", [(), (4,), (5, 4)])
def test_solution_is_that_of_numpy(option: int, hidden: tuple[int, ...]):
    model, samples = network(option, hidden), sample_set()
    rows = explicit_rows(model, samples)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = fit(model, samples)
    layer = LastLayer(model)
    solution = expected(rows, layer.constant.numpy(), found.regularisation)
    matrix = np.concatenate([a for a, _ in rows.values()])
    np.testing.assert_allclose(matrix @ layer.values.numpy(), matrix @ solution, rtol=1e-6, atol=1e-8)
    if option != 3 or hidden:  # otherwise one-hot weights and bias are linearly dependent
        np.testing.assert_allclose(layer.values.numpy(), solution, rtol=1e-5, atol=1e-8)
    last = {f"networks.{n}.{len(hidden)}.{kind}" for n in range(2) for kind in ("weight", "bias")}
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert changed <= last


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_design_is_what_the_model_predicts(activation: str):
    model, samples = network(2, (5, 4), activation), sample_set(6)
    layer = LastLayer(model)
    batch, _ = collate(samples.samples, torch.float64, CPU)
    design, baseline = layer.design(batch, STANDARD), predict_baseline(model, batch, STANDARD)
    prediction = predict(model, batch, STANDARD)
    for name, rows in design.items():
        torch.testing.assert_close(
            rows @ layer.values + baseline.values[name], prediction.values[name], rtol=1e-11, atol=1e-12
        )


def test_chunks_of_pairs_add_up(monkeypatch: pytest.MonkeyPatch):
    model, samples = network(2), sample_set(6)
    batch, _ = collate(samples.samples, torch.float64, CPU)
    whole = LastLayer(model).design(batch, STANDARD)
    monkeypatch.setattr("fitsnap_nn.models.last_layer.CHUNK", 250)
    for name, rows in LastLayer(model).design(batch, STANDARD).items():
        torch.testing.assert_close(rows, whole[name], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_are_those_of_the_objective(dtype: torch.dtype, balanced: bool, reduction: str):
    model, samples = network(3), sample_set(dtype=dtype)
    model.set_precision(dtype)
    objective = Objective([Term(one, SquaredError()) for one in STANDARD], reduction, balanced=balanced)
    found = fit(model, samples, objective)
    batch, labels = collate(samples.samples, dtype, CPU)
    sums = objective.sums(predict(model, batch, STANDARD), labels, batch)
    counts = samples.total(range(len(samples)))
    expected = (sums / sums.new_tensor(objective.divisors(counts))).tolist()
    assert list(found.losses.values()) == pytest.approx(expected, rel=1e-3 if dtype == torch.float32 else 1e-8)
    weights = {one.name: labels[one.name].weights.double() for one in STANDARD}
    total = [float(weights[one.name].sum()) * one.symmetry.components for one in STANDARD]
    assert list(found.rmse.values()) == pytest.approx(np.sqrt(sums.numpy() / total), rel=1e-3)
    assert found.rows == {one.name: int((weights[one.name] > 0).sum()) * one.symmetry.components for one in STANDARD}


def test_errors_are_squared_whatever_the_loss():
    one, other = network(), network()
    fit(one, sample_set())
    fit(other, sample_set(), Objective([Term(each, AbsoluteError()) for each in STANDARD]))
    assert torch.equal(LastLayer(one).values, LastLayer(other).values)


@pytest.mark.parametrize("properties", [(ENERGY,), (FORCES,), (ENERGY, FORCES)])
def test_properties_that_are_switched_off(properties: tuple[Property, ...]):
    model, samples = network(), sample_set(properties=properties)
    found = fit(model, samples, Objective([Term(one, SquaredError()) for one in properties]))
    assert set(found.losses) == {one.name for one in properties}
    assert all(np.isfinite(loss) for loss in found.losses.values())
    if ENERGY not in properties:  # nothing determines the constant
        assert model.last_layers[0].bias.item() == 0.0


def test_a_balanced_fit_minimises_the_product_of_the_losses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(least_squares, "REGULARISATIONS", (1e-12,))
    model, samples = network(), sample_set(40)
    rows = explicit_rows(model, samples)

    def log_product(values: Floats) -> float:
        return sum(float(np.log(np.square(a @ values - y).sum())) for a, y in rows.values())

    fit(model, samples)
    plain = log_product(LastLayer(model).values.numpy())
    fit(model, samples, BALANCED)
    found = LastLayer(model).values.numpy()
    assert log_product(found) < plain
    gradient = sum(2 * a.T @ (a @ found - y) / np.square(a @ found - y).sum() for a, y in rows.values())
    scale = sum(np.linalg.norm(a, axis=0) / np.linalg.norm(a @ found - y) for a, y in rows.values())
    assert np.abs(gradient / scale).max() < 1e-5
    random = np.random.default_rng(1)
    for _ in range(20):
        step = 0.05 * np.abs(found) * random.normal(size=len(found))
        assert log_product(found + step) > log_product(found)


def test_of_several_minima_of_the_product_the_lowest_is_found():
    """((c - 1)² + 2e)((c - 2)² + e) has a minimum near 1, where equal weights lead to, and a lower one near 2."""
    tiny = 1e-4
    rows = [[[1.0, 1.0], [1.0, 1.0 + 2 * tiny]], [[1.0, 2.0], [2.0, 4.0 + tiny]]]
    equations = NormalEquations(torch.tensor([rows], dtype=torch.float64), torch.ones(1, dtype=torch.bool))
    found = equations.fit(balanced=True)
    assert found is not None
    assert float(found[0]) == pytest.approx(2.0, abs=1e-3)


def test_balance_does_not_depend_on_units():
    """Weights of properties do not matter."""
    values = []
    for factor in (1.0, 1e4):
        samples = sample_set()
        for one in samples.samples:
            one.labels["energy"].weights.mul_(factor)
        model = network()
        fit(model, samples, BALANCED)
        values.append(LastLayer(model).values)
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("balanced", [False, True])
def test_fewer_rows_than_columns_are_regularised(balanced: bool):
    samples = sample_set(7, properties=(ENERGY,))
    objective = Objective([Term(ENERGY, SquaredError())], balanced=balanced)
    found = fit(network(2, (30,)), samples, objective)
    assert found.columns > sum(found.rows.values())
    assert found.folds == 5
    assert found.regularisation > 1e-12


def test_noise_is_regularised():
    """Labels without any relation to the descriptors: the larger the penalty, the lower the error of unseen folds."""
    random = torch.Generator().manual_seed(2)
    rows = torch.randn(5, 1, 12, 41, dtype=torch.float64, generator=random)
    equations = NormalEquations(rows.mT @ rows, torch.ones(40, dtype=torch.bool))
    _, regularisation = equations.fit(balanced=False) or (torch.zeros(0), 0.0)
    assert regularisation == least_squares.REGULARISATIONS[-1]
    exact = rows.clone()
    exact[..., -1] = exact[..., :-1].sum(dim=-1)
    found = NormalEquations(exact.mT @ exact, torch.ones(40, dtype=torch.bool)).fit(balanced=False)
    assert found is not None
    assert found[1] < 1e-10
    torch.testing.assert_close(found[0], torch.ones(40, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_one_configuration_has_no_cross_validation():
    found = fit(network(), sample_set(1))
    assert (found.folds, found.regularisation) == (1, least_squares.WITHOUT_FOLDS)


@pytest.mark.parametrize("frozen", [["weight"], ["bias"], ["weight", "bias"]])
def test_frozen_parameters_are_kept(frozen: list[str]):
    """Of the first network; the others are fitted to what it leaves."""
    model, samples = network(2), sample_set()
    for name in frozen:
        getattr(model.last_layers[0], name).requires_grad_(False)
    before = LastLayer(model).values
    rows, free = explicit_rows(model, samples), LastLayer(model).trainable.numpy()
    found = fit(model, samples)
    after = LastLayer(model).values
    assert torch.equal(after[~free], before[~free])
    assert found.columns == free.sum() < len(free)
    left = {name: (a[:, free], y - a[:, ~free] @ before.numpy()[~free]) for name, (a, y) in rows.items()}
    solution = expected(left, LastLayer(model).constant.numpy()[free], found.regularisation)
    np.testing.assert_allclose(after[free], solution, rtol=1e-5, atol=1e-8)


def test_a_frozen_last_layer_is_not_fitted():
    model = network()
    model.last_layers[0].requires_grad_(False)
    assert fit_last_layer(model, sample_set(5), ["g"] * 5, OBJECTIVE, Ranks()) is None


class Threads(Ranks):
    """Ranks that are threads of this process."""

    def __init__(self, rank: int, shared: list[object], barrier: threading.Barrier) -> None:
        super().__init__(rank, len(shared))
        self.shared, self.meet = shared, barrier.wait

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.copy_(self._exchange(tensor.clone(), lambda values: sum(values[1:], values[0])))

    def broadcast(self, value):
        return self._exchange(value, lambda values: values[0])

    def _exchange(self, value, combine: Callable[[list], object]):
        self.shared[self.rank] = value
        self.meet()
        found = combine(list(self.shared))
        self.meet()
        return found


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_find_the_same(count: int):
    alone = network(2)
    expected = fit(alone, sample_set())
    shared, barrier = [None] * count, threading.Barrier(count, timeout=60)
    models = [network(2) for _ in range(count)]
    found: list[LeastSquares | None] = [None] * count

    def run(rank: int) -> None:
        ranks = Threads(rank, shared, barrier)
        found[rank] = fit_last_layer(models[rank], sample_set(), ["g"] * 24, OBJECTIVE, ranks)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values = [LastLayer(model).values for model in models]
    assert all(torch.equal(values[0], other) for other in values)
    assert found[0] == found[-1]
    torch.testing.assert_close(values[0], LastLayer(alone).values, rtol=1e-7, atol=1e-9)
    assert found[0] is not None
    assert found[0].losses == pytest.approx(expected.losses, rel=1e-9)


def test_a_gpu_finds_the_same(gpu: None):
    alone, moved = network(2), network(2).to("cuda")
    expected, found = fit(alone, sample_set()), fit(moved, sample_set())
    torch.testing.assert_close(LastLayer(moved).values, LastLayer(alone).values, rtol=1e-7, atol=1e-9)
    assert found.losses == pytest.approx(expected.losses, rel=1e-9)


def test_folds_are_blocks_of_each_group():
    assert folds_of(["a"] * 10) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert folds_of(["a", "b", "c", "d", "e"]) == [0, 1, 2, 3, 4]
    assert folds_of(["a", "a", "b", "b"]) == [0, 2, 1, 3]
