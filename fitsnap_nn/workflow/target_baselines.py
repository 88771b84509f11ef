"""Baselines and scales of targets, fitted to the training set before training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats, composition_fractions
from fitsnap_nn.data.fitted import property_of
from fitsnap_nn.data.properties import Property
from fitsnap_nn.data.symmetries import Block, to_blocks
from fitsnap_nn.errors import DataError
from fitsnap_nn.models import Model
from fitsnap_nn.models.baselines import fit_composition
from fitsnap_nn.models.targets import Targets
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.settings.schema import Settings

ROUNDING = 1e-6  # of labels in files, relative to the largest block


def fit_targets(
    targets: Targets,
    elements: Sequence[str],
    settings: Settings,
    training: Sequence[Configuration],
    names: Iterable[str],
) -> list[str]:
    """Fit the baseline per element and the scales of targets.

    The baseline of an invariant block is fitted by least squares, like the element energies: a value per atom of each
    element. The scale of a block is the root mean square per component of what the baseline leaves; of extensive
    properties per atom.

    Args:
        targets: receives baselines and scales.
        elements: chemical symbols of the model.
        settings: settings of the fit.
        training: training set.
        names: names of the targets to fit.

    Returns:
        Lines for the log.
    """
    chosen = set(names)
    return [
        _fit(targets, elements, settings, row, [one for one in training if _is_fitted(one, row.name)])
        for row in settings.targets
        if row.name in chosen
    ]


def targets_of(model: Model[Any]) -> Targets | None:
    """Return the targets of a model that has any."""
    found = getattr(model, "targets", None)
    return found if isinstance(found, Targets) else None


def _is_fitted(configuration: Configuration, name: str) -> bool:
    return name in configuration.labels and configuration.weight(name) > 0


def _fit(
    targets: Targets, elements: Sequence[str], settings: Settings, row: PropertyRow, labelled: Sequence[Configuration]
) -> str:
    quantity = property_of(row)
    blocks = quantity.symmetry.blocks
    baseline, scales = np.zeros(len(elements)), np.ones(len(blocks))
    text = ""
    if labelled:
        fractions, values, weights = _rows(quantity, elements, labelled)
        parts = np.split(values, np.cumsum([block.size for block in blocks])[:-1], axis=1)
        for number, block in enumerate(blocks):
            if block.is_invariant and settings.pytorch.composition_baseline:
                found = fit_composition(fractions, parts[number][:, 0], weights)
                baseline = found.energies
                parts[number] = parts[number] - (fractions @ baseline)[:, None]
                remark = "" if found.determined else " (minimum-norm solution)"
                pairs = zip(elements, baseline, strict=True)
                text = f"{', '.join(f'{element} {value:.4g}' for element, value in pairs)}{remark}; "
        roots = [float(np.sqrt(np.square(part).mean())) for part in parts]
        noise = ROUNDING * max(roots)
        _refuse_faint(targets, row, [block for block, root in zip(blocks, roots, strict=True) if root > noise])
        if settings.pytorch.scale_targets:
            scales = np.array([root or 1.0 for root in roots])
    if row.scale is not None:
        scales = np.full(len(blocks), row.scale)
    targets.set_baseline(row.name, baseline, scales)
    scaled = " ".join(f"{scale:.4g}" for scale in scales)
    return f"{row.name}: {text}scale {scaled} {row.unit}".rstrip()


def _refuse_faint(targets: Targets, row: PropertyRow, needed: Sequence[Block]) -> None:
    """Refuse a target of which the model has no features.

    Raises:
        DataError: a block of it does not vanish in the data.
    """
    faint = [block.label for block in targets.faint.get(row.name, ()) if block in needed]
    if faint:
        raise DataError(
            f"[TARGETS] {row.name}: the model cannot represent it, because its features for {', '.join(faint)} are 0 "
            "in the training set, while the labels are not. Either the symmetry of the structures forbids such labels "
            "(in planar molecules, pseudoscalars per atom vanish): check the labels. Or no product of the model forms "
            "such features: increase correlation, max_ell or num_interactions, or use SOAP_BPNN or NANOPET."
        )


def _rows(
    quantity: Property, elements: Sequence[str], labelled: Sequence[Configuration]
) -> tuple[Floats, Floats, Floats]:
    """Return fractions of elements (M, E), components of all blocks (M, K), per atom if extensive, and weights (M,)."""
    matrix = to_blocks(quantity.symmetry).T
    extensive = quantity.per == "configuration" and not quantity.intensive
    values = [quantity.rows(one.labels[quantity.name]) / (len(one) if extensive else 1) @ matrix for one in labelled]
    if quantity.per == "configuration":
        fractions = composition_fractions(labelled, elements)
    else:
        fractions = np.concatenate([np.eye(len(elements))[one.element_indices(elements)] for one in labelled])
    weights = [np.full(len(rows), one.weight(quantity.name)) for one, rows in zip(labelled, values, strict=True)]
    return fractions, np.concatenate(values), np.concatenate(weights)
