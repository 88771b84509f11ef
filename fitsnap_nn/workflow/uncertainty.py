"""The uncertainty of a model that has been fitted: displacements of its last layer, and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import ENERGY, FORCES
from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.models import Model
from fitsnap_nn.models.uncertainty import LAST_LAYER, RAW_COMMITTEE, Uncertainty
from fitsnap_nn.reports.results import Result
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.reports.uncertainty import Calibrated, calibrate
from fitsnap_nn.settings import Settings
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.training.evaluation import evaluate_all
from fitsnap_nn.training.rigidity import displacements_of
from fitsnap_nn.workflow.preparation import Prepared

WITHOUT_FORCES = "is calibrated on forces of the validation set, but it contains none, or forces are not fitted"
ALL_CERTAIN = "no uncertainty: the spread of all forces of the validation set is 0"


def find_uncertainty(
    settings: Settings,
    model: Model[Any],
    prepared: Prepared,
    results: Sequence[Result],
    ranks: Ranks,
    console: Console,
) -> Calibrated | None:
    """Return the calibrated uncertainty of a model on the first rank, if the input asks for one.

    Args:
        settings: settings of the fit.
        model: the model.
        prepared: the data.
        results: predictions and labels; on the first rank.
        ranks: share the work.
        console: receives what it says about the validation set.
    """
    method = settings.uncertainty
    if method == "none":
        return None
    if not _can_be_calibrated(prepared):
        console.line(f"no uncertainty: it {WITHOUT_FORCES}")
        return None
    validation = prepared.subset(Subset.VALIDATION)
    if method == "committee":
        raw = RAW_COMMITTEE
        found = [one for one in results if one.configuration.subset is Subset.VALIDATION]
    else:
        console.line("uncertainty of forces: covariance of the last layer over the training set")
        raw = _last_layer(model, prepared, ranks)
        release = prepared.releaser()
        evaluations = evaluate_all(
            model, validation, prepared.inputs_of, ranks, (ENERGY, FORCES), release=release, uncertainty=raw
        )
        found = [Result(*both) for both in zip(validation, evaluations, strict=True)] if ranks.is_first else []
    calibrated = calibrate(replace(raw, action=settings.extras.on_uncertainty), found)
    for line in calibrated.lines() if calibrated else [ALL_CERTAIN] * ranks.is_first:
        console.line(line)
    return calibrated


def _can_be_calibrated(prepared: Prepared) -> bool:
    labelled = any(FORCES.name in one.labels for one in prepared.subset(Subset.VALIDATION))
    return labelled and FORCES in prepared.properties


def refuse_without_forces(settings: Settings, prepared: Prepared) -> None:
    """Refuse an uncertainty that the input asks for but the data cannot calibrate, before anything is trained.

    Raises:
        InputError: there are no forces.
    """
    explicit = settings.extras.uncertainty != "auto" and settings.uncertainty != "none"
    if explicit and not _can_be_calibrated(prepared):
        what = f"[EXTRAS] uncertainty = {settings.extras.uncertainty} {WITHOUT_FORCES}."
        hint = "Set [CALCULATOR] force = 1 and the testing_size of a group with forces, or remove the key."
        raise InputError([Problem(settings.source, what, hint)])


def refuse_unknown_last_layer(settings: Settings, model: Model[Any]) -> None:
    """Refuse ``uncertainty = last_layer`` for a model that does not name its last layer, before it is trained.

    Raises:
        InputError: the model does not support it.
    """
    if settings.uncertainty == "last_layer":
        try:
            model.last_layer_parameters()
        except NotImplementedError as error:
            what = f"[EXTRAS] uncertainty = last_layer: {error}."
            raise InputError([Problem(settings.source, what, "Remove the key, or add the method.")]) from error


def _last_layer(model: Model[Any], prepared: Prepared, ranks: Ranks) -> Uncertainty:
    samples = prepared.samples(Subset.TRAINING, torch.float64)
    forces = any(FORCES.name in one.labels for one in prepared.subset(Subset.TRAINING))
    displacements = displacements_of(model, samples, forces, ranks, prepared.releaser())
    return Uncertainty(LAST_LAYER, 1.0, 1.0, 0.0, displacements)


def with_calibrated_spread(results: Sequence[Result], uncertainty: Uncertainty | None) -> list[Result]:
    """Return the results of a committee with its calibrated spread.

    Args:
        results: with sample standard deviations over the members.
        uncertainty: of the committee.
    """
    if uncertainty is None:
        return list(results)
    return [one._replace(evaluation=replace(one.evaluation, spread=_scaled(one, uncertainty))) for one in results]


def _scaled(result: Result, uncertainty: Uncertainty) -> dict[str, Any]:
    return {
        name: values * (uncertainty.force_scale if name == FORCES.name else uncertainty.energy_scale)
        for name, values in result.evaluation.spread.items()
    }
