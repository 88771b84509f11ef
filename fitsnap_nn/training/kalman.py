"""Layer-wise extended Kalman filter: a second-order method for small networks.

T. B. Blank and S. D. Brown, J. Chemom. 8, 391 (1994) and A. Singraber et al., J. Chem. Theory Comput. 15, 3075 (2019):
weights as the state of a filter, labels as its measurements. S. Hu et al., Proc. AAAI 37, 7910 (2023): the covariance
only within layers, and one scalar measurement for many labels; here their root mean square residual, which is smooth
where residuals change their sign, instead of their mean absolute one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fitsnap_nn.data.properties import ENERGY, FORCES, Property
from fitsnap_nn.errors import TrainingError, counted
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.prediction import Prediction, predict_baseline
from fitsnap_nn.training.batches import Labels, SampleSet
from fitsnap_nn.training.differentiation import Differentiated, Share
from fitsnap_nn.training.objective import Term, residuals
from fitsnap_nn.training.steps import Fitted, Step
from fitsnap_nn.training.vanishing import forces_vanish

# The product of all 1/forgetting must stay of the order of 1: it multiplies the covariance in directions that are not
# observed. These values limit it to e. With those of DeePMD-kit, 0.98 and 0.9987, silicon diverged in two epochs.
FORGETTING, FORGETTING_RATE = 0.999, 0.999
# Measurement noise over the RMS of the labels; 1 learned two to three times more slowly for nickel and silicon.
NOISE = 0.5
# Largest change of a block by a measurement, over the initial RMS of its tensors. Beyond it residuals are not linear in
# the weights: without a limit, fits amplify rounding by a factor of ten per batch. 0.1 was as accurate, less stable.
LARGEST_STEP = 0.03
ATOM_GROUPS = 4  # measurements per batch of a per-atom property
COLLECTED = 6  # updates after which they are added to the covariances: those of energy, forces and stress of a batch
LARGEST_BLOCK = 2048  # weights; larger layers are divided
LARGEST_COVARIANCE = 2e9  # bytes


class KalmanFilter:
    """Weights with a covariance P per block, updated by scalar measurements.

    With residual r, its derivative -H with respect to the weights, and K_b = P_b H_b in each block b,

        a = 1 / sum_b (f + H_b . K_b),  weights_b += a r K_b,  P_b = (P_b - a K_b K_b^T) / f,

    where the forgetting factor f approaches 1: f = c f + 1 - c. A measurement that would change a block by more than
    `LARGEST_STEP` is less certain than assumed: a is reduced, in weights and covariances alike.

    Most time is spent on reading and writing P_b. Several updates are therefore collected, P_b = s P - U U^T, and added
    by `settle` at once. They are part of the state.

    Args:
        weights: (W,) changed in place.
        blocks: sizes of the blocks, which add up to W.
        scales: (W,) what a step is measured by, see `scales_of`.
        prior: initial variances of the weights in units of their squared scales.
    """

    def __init__(self, weights: Tensor, blocks: Sequence[int], scales: Tensor, prior: float) -> None:
        self.weights = weights
        self.scales = scales
        self.blocks = list(blocks)
        self.forgetting = FORGETTING
        # In float32 the smallest eigenvalues would become negative by rounding after several thousand updates.
        self.covariances = [torch.diag(part) for part in torch.split(prior * scales.square(), self.blocks)]
        self._scale = 1.0
        self._collected = torch.zeros(len(weights), 0, dtype=torch.float64, device=weights.device)  # U

    @torch.no_grad()
    def update(self, derivative: Tensor, residual: float) -> None:
        """Change weights and covariances by one measurement.

        Args:
            derivative: (W,) H, minus the derivative of the residual with respect to the weights.
            residual: r, in units of the measurement noise.
        """
        h = derivative.double()
        parts = zip(torch.split(h, self.blocks), torch.split(self._collected, self.blocks), strict=True)
        gain = torch.cat(
            [
                torch.addmv(collected @ (collected.t() @ part), covariance, part, beta=-1.0, alpha=self._scale)
                for covariance, (part, collected) in zip(self.covariances, parts, strict=True)
            ]
        )
        steps = [part.square().mean() for part in torch.split(gain / self.scales, self.blocks)]
        innovation, step = torch.stack([h @ gain, torch.stack(steps).max().sqrt()]).tolist()
        a = 1.0 / (innovation + len(self.blocks) * self.forgetting)
        a *= min(1.0, LARGEST_STEP / max(a * step * abs(residual), LARGEST_STEP))
        self.weights.add_(gain, alpha=a * residual)
        self._scale /= self.forgetting
        joined = torch.cat([self._collected, math.sqrt(a) * gain[:, None]], dim=1)
        self._collected = joined.div_(math.sqrt(self.forgetting))
        self.forgetting = FORGETTING_RATE * self.forgetting + 1.0 - FORGETTING_RATE

    @torch.no_grad()
    def settle(self, least: int = 1) -> None:
        """Add the collected updates to the covariances, if there are as many as ``least``."""
        if self._collected.shape[1] < least:
            return
        for covariance, collected in zip(self.covariances, torch.split(self._collected, self.blocks), strict=True):
            covariance.addmm_(collected, collected.t(), beta=self._scale, alpha=-1.0)
        self._scale, self._collected = 1.0, self._collected[:, :0]

    def state_dict(self) -> dict[str, Any]:
        """Return all but the weights, as tensors and plain values."""
        state = {"covariances": self.covariances, "scales": self.scales, "forgetting": self.forgetting}
        return {**state, "factor": self._scale, "collected": self._collected}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`, or of an earlier version that collected no updates between two steps."""
        self.forgetting, self._scale = state["forgetting"], state.get("factor", 1.0)
        self._collected = state.get("collected", self._collected[:, :0]).to(self.weights.device)
        self.scales.copy_(state["scales"])
        for covariance, values in zip(self.covariances, state["covariances"], strict=True):
            covariance.copy_(values)


class KalmanStep(Step):
    """Updates of a `KalmanFilter` by the configurations of a batch, one property after the other.

    A measurement is the root mean square residual of a property, or of a per-atom property in one of `ATOM_GROUPS`
    random groups of atoms; its noise follows from the weights of the objective. Each starts with a new prediction. As
    by Hu et al., the residual is multiplied by the square root of the number of configurations that it is a mean of.
    Forces that vanish by symmetry are in no measurement.

    Args:
        fitted: model and objective.
        training: the training set, whose labels are the scale of the noise.
        prior: initial variance of weights over the mean square of their tensor.
        seed: seed of the groups of atoms, and of the weights that show which forces vanish.
        release: called after each batch, to release the memory of its cached inputs.

    Raises:
        TrainingError: the covariance of the weights would be too large.
    """

    def __init__(
        self,
        fitted: Fitted,
        training: SampleSet,
        prior: float,
        seed: int,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        members, weights, objective, ranks, captured = fitted
        blocks = [list(_blocks(member)) for member in members]
        size = sum(block * block for parts in blocks for block in parts) * torch.float64.itemsize
        if size > LARGEST_COVARIANCE:
            raise TrainingError(
                f"[PYTORCH] optimizer = LKF: the covariances of {len(weights.vector)} weights would need "
                f"{size / 1e9:.1f} GB, more than {LARGEST_COVARIANCE / 1e9:.1f} GB. Use smaller layers, such as 32 32, "
                f"{'fewer members of the committee, ' if len(members) > 1 else ''}or optimizer = Adam."
            )
        self.fitted = fitted
        self.seed = seed
        self._sizes = training.sizes
        self._parts = [weights.part(member) for member in members]
        self._measurements = [
            [
                Differentiated(member, part, [term.property], partial(self._measurement, term), captured=captured)
                for term in objective.terms
            ]
            for member, part in zip(members, self._parts, strict=True)
        ]
        self.filters = [
            KalmanFilter(part.vector, sizes, scales_of(part.parameters, prior), prior)
            for part, sizes in zip(self._parts, blocks, strict=True)
        ]
        self._scale, self._reference = _noise(fitted, training)
        self._vanishing = torch.zeros(len(training), dtype=torch.bool)
        if FORCES in objective.properties:
            part, scales = self._parts[0], self.filters[0].scales
            self._vanishing = forces_vanish(members[0], part, scales, training, ranks, seed, release)

    def take(self, number: int, epoch: int, share: Share | None, counts: Mapping[str, int]) -> Tensor:
        objective, vector = self.fitted.objective, self.fitted.weights.vector
        sums = torch.zeros(len(objective.terms), dtype=torch.float64, device=vector.device)
        everything = torch.ones_like(share.batch.n_atoms, dtype=torch.bool) if share else None
        groups = self._groups_of_atoms(epoch, share) if share else None
        for number_of_term, term in enumerate(objective.terms):
            if not counts[term.property.name]:
                continue
            measured, rows = share, groups
            if term.property == FORCES and share and groups is not None and self._vanishing[share.members].any():
                vanishing = self._atoms_without_forces(share)
                sums[number_of_term] += self._loss_of_vanishing(term, share, vanishing)
                measured = None if self._vanishing[share.members].all() else share
                rows = groups.masked_fill(vanishing, -1)
            for group in range(ATOM_GROUPS) if term.property.per == "atom" else (None,):
                chosen = everything if rows is None or group is None else rows == group
                sums[number_of_term] += self._measure(number_of_term, measured, chosen)
        for one in self.filters:
            one.settle(COLLECTED)
        return sums

    def _atoms_without_forces(self, share: Share) -> Tensor:
        """Return whether the forces on each atom vanish by symmetry, (N,) bool; not so for atoms of the padding."""
        sizes = torch.tensor([self._sizes[member] for member in share.members])
        found = torch.zeros_like(share.batch.species, dtype=torch.bool)
        found[: int(sizes.sum())] = self._vanishing[share.members].repeat_interleave(sizes).to(found.device)
        return found

    def _loss_of_vanishing(self, term: Term, share: Share, vanishing: Tensor) -> Tensor:
        """Return the sum of the losses of forces that vanish by symmetry: those of predictions of 0."""
        target = share.labels[term.property.name]
        baseline = predict_baseline(self.fitted.members[0], share.batch, [term.property])
        value, _ = term.loss.value_and_slope(residuals(term.property, baseline, share.labels, share.batch).values)
        return (value * target.weights * (target.present & vanishing[:, None])).sum(dtype=torch.float64)

    def _measure(self, number: int, share: Share | None, chosen: Tensor | None) -> Tensor:
        """Update the filter by the root mean square residual of one property in a batch.

        Args:
            number: of the term of the objective.
            share: this rank's part of the batch.
            chosen: (rows,) atoms or configurations of the share that count.

        Returns:
            Sum of the losses of these labels on this rank.
        """
        members, weights, _, ranks, _ = self.fitted
        weights.gradient.zero_()
        measured = torch.zeros(len(members), 4, dtype=torch.float64, device=weights.vector.device)
        if share:
            scale = self._scale * self._relative(number)
            for measurements, found in zip(self._measurements, measured, strict=True):
                (sums,) = measurements[number](share, chosen, scale)
                found.copy_(sums)
        loss = measured[:, 3].mean()
        ranks.sum_(weights.gradient)
        for part, one, sums in zip(self._parts, self.filters, ranks.sum_(measured).tolist(), strict=True):
            squares, count, configurations, _ = sums
            if squares > 0.0:
                residual = math.sqrt(squares / count)
                one.update(part.gradient / (count * residual), math.sqrt(configurations) * residual)
        return loss

    def _measurement(
        self, term: Term, prediction: Prediction, batch: Batch, labels: Labels, chosen: Tensor, scale: float | Tensor
    ) -> tuple[Sequence[Tensor], Mapping[str, Tensor]]:
        """Return sums over the labels of a term in a batch, and minus half the derivative of the first.

        Args:
            term: of the objective.
            prediction, batch, labels: of this rank.
            chosen: (rows,) atoms or configurations that count.
            scale: factor of the residuals, in addition to the square roots of their weights.

        Returns:
            (4,) float64: squared residuals in units of the noise; number of residuals; number of configurations with
            residuals; losses. Derivative with respect to the prediction, by name of the property.
        """
        name, target = term.property.name, labels[term.property.name]
        counted = target.present & (target.weights > 0) & chosen[:, None]
        precision = target.weights * scale**2 * counted
        found = residuals(term.property, prediction, labels, batch)
        value, _ = term.loss.value_and_slope(found.values)
        configurations = counted.sum()
        if term.property.per == "atom":
            # Sums of ones: exact in any order.
            rows = torch.zeros(len(batch.n_atoms), dtype=torch.float64, device=counted.device)
            configurations = (rows.index_add_(0, batch.config, counted[:, 0].double()) > 0).sum()
        sums = [
            (found.values.square() * precision).sum(dtype=torch.float64),
            (counted.sum() * found.values.shape[1]).double(),
            configurations.double(),
            (value * target.weights * counted).sum(dtype=torch.float64),
        ]
        slopes = -found.values * precision * found.factor
        return [torch.stack(sums)], {name: slopes.view_as(prediction.values[name])}

    def _relative(self, number: int) -> float:
        """Return the inverse noise of a term over that of the reference term, beyond the weights."""
        factors = self.fitted.objective.factors
        return math.sqrt(factors[number] / factors[self._reference])

    def _groups_of_atoms(self, epoch: int, share: Share) -> Tensor:
        """Return the group of each atom (N,), a function of seed, epoch and configuration on any rank.

        Atoms of the padding are in none.
        """
        drawn = [
            np.random.default_rng([self.seed, epoch, member]).permutation(self._sizes[member]) % ATOM_GROUPS
            for member in share.members
        ]
        groups = torch.full_like(share.batch.species, -1)
        groups[: sum(map(len, drawn))] = torch.from_numpy(np.concatenate(drawn)).to(groups.device)
        return groups

    def evaluated(self) -> Tensor:
        return self.fitted.weights.vector.detach()

    def notes(self) -> Iterator[str]:
        if count := int(self._vanishing.sum()):
            what = "vanish by symmetry, whatever the weights, and are not used by the filter"
            yield f"the forces of {count} of {counted(len(self._vanishing), 'training configuration')} {what}"

    def state_dict(self) -> dict[str, Any]:
        return {
            "filters": [one.state_dict() for one in self.filters],
            "vanishing": self._vanishing,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._load_filters(state)
        # Older versions measured all forces.
        self._vanishing = state.get("vanishing", torch.zeros_like(self._vanishing))

    def _load_filters(self, state: dict[str, Any]) -> None:
        for one, stored in zip(self.filters, state["filters"], strict=True):
            if "scales" not in stored:
                raise TrainingError(
                    "the restart file is of an older version, whose Kalman filter had other measurements. Start a new "
                    "fit from its weights with [PYTORCH] start_from."
                )
            one.load_state_dict(stored)

    def adopt(self, state: dict[str, Any]) -> bool:
        stored = [[values.shape for values in one["covariances"]] for one in state["filters"]]
        if stored != [[values.shape for values in one.covariances] for one in self.filters]:
            return False
        self._load_filters(state)
        return True


def scales_of(parameters: Sequence[Tensor], prior: float) -> Tensor:
    """Return the scale of each weight (W,) float64: the root mean square of its tensor.

    Networks differ in the scale of their weights, which e3nn keeps at 1 and others at 1/inputs; what they compute
    varies with the ratio.

    Args:
        parameters: tensors of weights. One that is all 0 gets the scale that makes its initial variance 1.
        prior: initial variance of weights in units of their squared scale.
    """
    squares = [one.detach().double().square().mean() for one in parameters]
    scales = [torch.where(square > 0, square, 1.0 / prior).sqrt() for square in squares]
    return torch.cat([one.expand(weights.numel()) for one, weights in zip(scales, parameters, strict=True)])


def _blocks(model: Model[Any]) -> Iterator[int]:
    """Yield the number of trainable weights in each block: those of one module, divided if there are many."""
    trained = [(name, one.numel()) for name, one in model.named_parameters() if one.requires_grad]
    for _, members in groupby(trained, key=lambda pair: pair[0].rpartition(".")[0]):
        rest = sum(size for _, size in members)
        while rest > LARGEST_BLOCK:
            yield LARGEST_BLOCK
            rest -= LARGEST_BLOCK
        yield rest


def _noise(fitted: Fitted, training: SampleSet) -> tuple[float, int]:
    """Return the inverse measurement noise of residuals of weight 1, and the term whose labels determine it.

    That is the first term whose labels have a weight among forces, energies and the others.
    """
    objective, model = fitted.objective, fitted.members[0]
    order = sorted(range(len(objective.terms)), key=lambda number: _rank(objective.terms[number].property))
    for number in order:
        squares = _weighted_square(objective.terms[number].property, model, training)
        if squares > 0.0:
            return 1.0 / (NOISE * math.sqrt(squares)), number
    return 1.0, 0


def _rank(one: Property) -> int:
    return 0 if one.derivative == "positions" else 1 if one == ENERGY else 2


def _weighted_square(one: Property, model: Model[Any], training: SampleSet) -> float:
    """Return the mean square of the labels of a property, baselines subtracted, times their weights."""
    total, count = 0.0, 0
    for sample in training.samples:
        found = residuals(one, predict_baseline(model, sample.batch, [one]), sample.labels, sample.batch)
        total += float((found.values.square() * found.weights).sum(dtype=torch.float64))
        count += sample.counts[one.name]
    return total / count if count else 0.0
