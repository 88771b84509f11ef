"""The ``metrics`` file of linear fits: FitSNAP's columns, rows, units and definitions.

Errors are those of the labels without the reference potential, per row of the linear system: energies in eV/atom, force
components in eV/Å, stress components in bar. Weighted errors are those of rows multiplied by the weights of the groups.
FitSNAP's testing set is the validation set.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import Property
from fitsnap_nn.files import write_text
from fitsnap_nn.reports.errors_table import ALL, ROUNDING_SPREAD, aligned
from fitsnap_nn.reports.results import Floats, Result, by_subset

COLUMNS = ("ncount", "mae", "rmse", "rsq")
INDEX = ("Group", "Weighting", "Testing", "Subsystem")
SETS: Mapping[Subset, str] = MappingProxyType(
    {Subset.TRAINING: "Training", Subset.VALIDATION: "Testing", Subset.TEST: "Test"}
)


@dataclass(frozen=True)
class MetricsRow:
    """Errors of one property in one group and one set, in FitSNAP's terms.

    Attributes:
        group: name of the group, or ``*ALL``.
        weighting: ``Unweighted`` or ``weighted``.
        testing: ``Training``, ``Testing`` (the validation set) or ``Test``.
        subsystem: ``Energy``, ``Force`` or ``Stress``.
        ncount: components; with weights, components whose weight is not 0.
        mae, rmse: eV/atom, eV/Å or bar, times the weight of the row if weighted.
        rsq: 1 - sum (label - prediction)² / sum (label - mean label)²; nan for constant labels.
    """

    group: str
    weighting: str
    testing: str
    subsystem: str
    ncount: int
    mae: float
    rmse: float
    rsq: float


class _Components(NamedTuple):
    labels: Floats
    errors: Floats
    weights: Floats


def linear_metrics(results: Sequence[Result], properties: Sequence[Property]) -> list[MetricsRow]:
    """Return the errors over all groups, then those of each group in the order of first appearance.

    Args:
        results: predictions and labels.
        properties: properties of the fit.
    """
    groups: dict[str, list[Result]] = {ALL: list(results)}
    for result in results:
        groups.setdefault(result.configuration.group, []).append(result)
    rows = []
    for group, members in groups.items():
        for weighting in ("Unweighted", "weighted"):
            for subset, chosen in by_subset(members).items():
                for one in properties:
                    found = _components(chosen, one)
                    if len(found.labels):
                        values = _metrics(found, weighting == "weighted")
                        rows.append(MetricsRow(group, weighting, SETS.get(subset, subset.value), one.title, *values))
    return rows


def write_linear_metrics(path: Path, rows: Sequence[MetricsRow], style: str) -> None:
    """Write the metrics; styles as for `fitsnap_nn.reports.errors_table.write_errors_table`.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(path, _text(rows, style))


def _components(results: Sequence[Result], quantity: Property) -> _Components:
    parts = [_Components(*(np.zeros(0) for _ in _Components._fields))]
    for configuration, evaluation in results:
        label, value = configuration.labels.get(quantity.name), evaluation.values.get(quantity.name)
        if label is None or value is None:
            continue
        divisor = quantity.loss_unit.size * (len(configuration) if quantity.per_atom else 1)
        labels, predicted = quantity.rows(label).ravel(), quantity.rows(value).ravel()
        reference = quantity.rows(evaluation.reference.get(quantity.name, np.zeros_like(value))).ravel()
        weights = np.full(len(labels), configuration.weight(quantity.name))
        parts.append(_Components((labels - reference) / divisor, (labels - predicted) / divisor, weights))
    return _Components(*map(np.concatenate, zip(*parts, strict=True)))


def _metrics(found: _Components, weighted: bool) -> tuple[int, float, float, float]:
    """Return ncount, mae, rmse and rsq by FitSNAP's definitions.

    The weighted mae is a mean over all rows, the weighted rmse and mean label over those with a weight.
    """
    factor = found.weights if weighted else np.ones_like(found.weights)
    errors, labels = factor * found.errors, factor * found.labels
    count = int(np.count_nonzero(factor))
    if not count:
        return 0, 0.0, float("nan"), float("nan")
    squares, mean = float(np.square(errors).sum()), float(labels.sum()) / count
    spread = float(np.square(labels - mean).sum())
    constant = float(np.std(found.labels)) <= ROUNDING_SPREAD  # such as forces that vanish by symmetry
    rsq = float("nan") if constant or spread == 0 else 1.0 - squares / spread
    return count, float(np.abs(errors).mean()), float(np.sqrt(squares / count)), rsq


def _text(rows: Sequence[MetricsRow], style: str) -> str:
    cells = [list(asdict(row).values()) for row in rows]
    if style == "JSON":
        records = [dict(zip((*INDEX, *COLUMNS), map(_finite, row), strict=True)) for row in cells]
        return json.dumps(records, indent=1, ensure_ascii=False) + "\n"
    if style in ("CSV", "SSV"):
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter="," if style == "CSV" else " ", lineterminator="\n")
        writer.writerows([(*INDEX, *COLUMNS), *cells])
        return buffer.getvalue()
    if style == "DF":
        lines = aligned([[*INDEX, *COLUMNS], *([*map(str, row[:5]), *map(_short, row[5:])] for row in cells)], LEFT)
        return "".join("  ".join(line) + "\n" for line in lines)
    table = [["", *COLUMNS], *([str(tuple(row[:4])), str(row[4]), *map(_short, row[5:])] for row in cells)]
    header, *lines = aligned(table, LEFT_MARKDOWN)
    rule = [f":{'-' * (len(header[0]) - 1)}", *(f"{'-' * (len(cell) - 1)}:" for cell in header[1:])]
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *lines))


LEFT = (True,) * 4 + (False,) * 4
LEFT_MARKDOWN = (True,) + (False,) * 4


def _short(value: float) -> str:
    return f"{value:.6g}"


def _finite(value: object) -> object:
    # JSON (RFC 8259) has neither nan nor infinity.
    return None if isinstance(value, float) and not np.isfinite(value) else value
