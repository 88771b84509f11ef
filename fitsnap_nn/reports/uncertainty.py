"""Calibration of uncertainties on the validation set, and what it says about them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import ENERGY, FORCES
from fitsnap_nn.files import write_text
from fitsnap_nn.models.uncertainty import RULE, Uncertainty
from fitsnap_nn.reports.results import Floats, Result, in_the_fit
from fitsnap_nn.settings.outputs import UNCERTAINTY_FILE

BINS = 10
MIN_ATOMS = 10  # of a rank correlation
VANISHING = 1e-6  # eV/Å; forces that are smaller vanish by symmetry, and their errors say nothing


@dataclass(frozen=True)
class Calibrated:
    """A calibrated uncertainty.

    Attributes:
        uncertainty: the uncertainty.
        sigma, error: (atoms,) uncertainty of the force and size of its error, eV/Å, of the validation set.
        labels: (atoms,) size of the labelled force, eV/Å.
        groups: (atoms,) group of each atom.
    """

    uncertainty: Uncertainty
    sigma: Floats
    error: Floats
    labels: Floats
    groups: Sequence[str]

    @property
    def rank_correlation(self) -> dict[str, float | None]:
        """Spearman's correlation of uncertainty and error, of all atoms and by group; ``None``: too few, or all 0."""
        names = np.array(self.groups)
        found = {"all": self._correlation(np.full(len(names), True))}
        return found | {group: self._correlation(names == group) for group in dict.fromkeys(self.groups)}

    def _correlation(self, chosen: Any) -> float | None:
        from scipy.stats import spearmanr  # slow to import

        sigma, error = self.sigma[chosen], self.error[chosen]
        if len(sigma) < MIN_ATOMS or self.labels[chosen].max() < VANISHING or min(np.ptp(sigma), np.ptp(error)) == 0:
            return None
        return float(spearmanr(sigma, error).statistic)

    def report(self) -> dict[str, Any]:
        """Return the content of ``uncertainty.json``."""
        order = np.array_split(np.argsort(self.sigma, kind="stable"), min(BINS, len(self.sigma)))
        return {
            "method": self.uncertainty.method,
            "quantity": "force",
            "unit": "eV/Å",
            "threshold": self.uncertainty.threshold,
            "threshold_rule": f"{RULE[0].upper()}{RULE[1:]}.",
            "rank_correlation": self.rank_correlation,
            "calibration": {
                "sigma": [float(np.sqrt((self.sigma[rows] ** 2).mean())) for rows in order],
                "rmse": [float(np.sqrt((self.error[rows] ** 2).mean())) for rows in order],
                "count": [len(rows) for rows in order],
            },
            "set": Subset.VALIDATION.value,
        }

    def lines(self) -> list[str]:
        """Return lines for the log."""
        correlation = self.rank_correlation
        groups = [(name, value) for name, value in correlation.items() if name != "all"]
        known = ", ".join(f"{name} {value:.2f}" for name, value in groups if value is not None)
        unknown = " ".join(name for name, value in groups if value is None)
        every = correlation["all"]
        lines = [
            f"uncertainty of forces ({self.uncertainty.method}): rank correlation with the error "
            f"{'unknown' if every is None else f'{every:.2f}'} (validation set, {len(self.sigma)} atoms)"
        ]
        lines += [f"  by group: {known}"] if known else []
        lines += [f"  unknown for {unknown}: forces of 0, or fewer than {MIN_ATOMS} atoms"] if unknown else []
        return [*lines, f"  threshold {self.uncertainty.threshold:.3g} eV/Å, {RULE}"]


def calibrate(raw: Uncertainty, results: Sequence[Result]) -> Calibrated | None:
    """Scale uncertainties so that their root mean square is that of the errors, and set the threshold.

    Args:
        raw: with scales of 1.
        results: predictions and labels of the validation set, with the spread by ``raw``.

    Returns:
        ``None`` without labels of forces, or if all uncertainties are 0.
    """
    used = [one for one in in_the_fit(results) if FORCES.name in one.configuration.labels]
    if not used:
        return None
    labels = [one.configuration.labels[FORCES.name] for one in used]
    pairs = zip(used, labels, strict=True)
    error = np.concatenate([np.linalg.norm(one.evaluation.values[FORCES.name] - label, axis=1) for one, label in pairs])
    sigma = np.concatenate([one.evaluation.spread[FORCES.name] for one in used])
    if not (sigma**2).sum() > 0:
        return None
    force_scale = float(np.sqrt((error**2).sum() / (sigma**2).sum()))
    sigma = sigma * force_scale
    energy_scale = _energy_scale(used, force_scale)
    if len(raw.displacements):
        # Realistic changes of the forces: of much smaller ones, rounding in float32 would be a large part.
        raw = replace(raw, displacements=raw.displacements * force_scale)
        energy_scale, force_scale = energy_scale / force_scale, 1.0
    found = replace(raw, force_scale=force_scale, energy_scale=energy_scale, threshold=float(sigma.max()))
    sizes = np.concatenate([np.linalg.norm(label, axis=1) for label in labels])
    groups = [one.configuration.group for one in used for _ in range(len(one.configuration))]
    return Calibrated(found, sigma, error, sizes, groups)


def _energy_scale(results: Sequence[Result], default: float) -> float:
    """Return the factor of the spread of energies, per atom; that of forces without labels of energies."""
    labelled = [one for one in results if one.configuration.energy is not None]
    sizes = np.array([len(one.configuration) for one in labelled])
    errors = [one.evaluation.energy - (one.configuration.energy or 0.0) for one in labelled]
    spread = np.array([one.evaluation.spread[ENERGY.name] for one in labelled])
    total = ((spread / sizes) ** 2).sum() if labelled else 0.0
    return float(np.sqrt(((np.array(errors) / sizes) ** 2).sum() / total)) if total > 0 else default


def write_uncertainty(folder: Path, calibrated: Calibrated | None) -> dict[str, str]:
    """Write ``uncertainty.json`` if there is an uncertainty.

    Args:
        folder: output folder.
        calibrated: the uncertainty, if there is one.

    Returns:
        Description of the file by name.
    """
    if calibrated is None:
        return {}
    path = folder / UNCERTAINTY_FILE
    write_text(path, json.dumps(calibrated.report(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return {path.name: "calibration of the uncertainty of forces"}
