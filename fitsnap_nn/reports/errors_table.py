"""The table of errors by group, FitSNAP's ``metrics`` file, and its one-line summary."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import Property
from fitsnap_nn.reports.results import Floats, Result, by_subset, pairs

ALL = "*ALL"
COLUMNS = ("Group", "Set", "Property", "Count", "MAE", "RMSE", "R²", "Unit")
LEFT = (True, True, True, False, False, False, False, True)  # which columns are aligned to the left

# Labels that vary less than this (eV/atom, eV/Å, GPa) vary by rounding only, as forces that are zero by symmetry do.
NO_SPREAD = 1e-8


@dataclass(frozen=True)
class ErrorRow:
    """Errors of one property in one group and one set.

    Attributes:
        group: name, or ``*ALL``.
        subset: ``Train``, ``Validation`` or ``Test``.
        property: title of the property.
        count: configurations for energies and stresses, atoms for forces.
        mae, rmse: over components, in ``unit``.
        r2: 1 - sum (label - model)² / sum (label - mean label)²; nan where labels are fewer than 2 or do not vary.
    """

    group: str
    subset: str
    property: str
    count: int
    mae: float
    rmse: float
    r2: float
    unit: str


def errors_table(results: Sequence[Result], properties: Sequence[Property]) -> list[ErrorRow]:
    """Return the errors of all results, then group by group in the order of first appearance.

    In each group training comes before validation and test; what has no labels has no row.
    """
    by_group: dict[str, list[Result]] = {ALL: list(results)}
    for result in results:
        by_group.setdefault(result.configuration.group, []).append(result)
    return [
        row
        for group, members in by_group.items()
        for subset, chosen in by_subset(members).items()
        for quantity in properties
        if (row := _row(group, subset, quantity, chosen)) is not None
    ]


def _row(group: str, subset: Subset, quantity: Property, results: Sequence[Result]) -> ErrorRow | None:
    model, target, count = pairs(quantity, results)
    if not count:
        return None
    error = target - model
    mae, rmse = float(np.abs(error).mean()), float(np.sqrt(np.square(error).mean()))
    unit = quantity.report_unit.label
    return ErrorRow(group, subset.value, quantity.title, count, mae, rmse, _r2(error, target), unit)


def _r2(error: Floats, target: Floats) -> float:
    spread = float(np.square(target - target.mean()).mean())
    if spread <= NO_SPREAD**2:
        return float("nan")
    return 1.0 - float(np.square(error).mean()) / spread


def summary(rows: Sequence[ErrorRow], subset: Subset, properties: Sequence[Property]) -> str:
    """Return the MAE over all groups in one line, as ``E 117.2 meV/atom, F 76.1 meV/Å``; empty without labels."""
    shown = {one.title: one for one in properties}
    parts = []
    for row in rows:
        if row.group == ALL and row.subset == subset.value:
            one = shown[row.property]
            mae = row.mae * one.report_unit.size / one.display_unit.size
            parts.append(f"{one.symbol} {_digits(mae)} {one.display_unit.label}")
    return ", ".join(parts)


def write_errors_table(path: Path, rows: Sequence[ErrorRow], style: str = "MD") -> None:
    """Write the table in a ``metrics_style``.

    MD is a markdown table, CSV and SSV have a header and all digits, separated by commas or spaces; JSON is a list of
    objects; DF has the columns that FitSNAP writes for networks, aligned, without R² and units.
    """
    path.write_text(STYLES[style](rows), encoding="utf-8")


def _markdown(rows: Sequence[ErrorRow]) -> str:
    header, *lines = _aligned([COLUMNS, *map(_cells, rows)])
    rule = [
        ":" + "-" * (len(cell) - 1) if left else "-" * (len(cell) - 1) + ":"
        for cell, left in zip(header, LEFT, strict=True)
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *lines))


def _plain(rows: Sequence[ErrorRow]) -> str:
    titles = ("Group", "Train/Test", *COLUMNS[2:])  # as FitSNAP names them
    lines = _aligned([cells[:6] for cells in (titles, *map(_cells, rows))])
    return "".join("  ".join(line) + "\n" for line in lines)


def _aligned(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        [f"{cell:{'<' if left else '>'}{width}}" for cell, width, left in zip(line, widths, LEFT, strict=False)]
        for line in lines
    ]


def _cells(row: ErrorRow) -> list[str]:
    r2 = "-" if np.isnan(row.r2) else f"{row.r2:.4f}"
    return [row.group, row.subset, row.property, str(row.count), _digits(row.mae), _digits(row.rmse), r2, row.unit]


def _digits(value: float) -> str:
    return f"{value:#.4g}".rstrip(".")


def _separated(delimiter: str) -> Callable[[Sequence[ErrorRow]], str]:
    def text(rows: Sequence[ErrorRow]) -> str:
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(asdict(row).values() for row in rows)
        return buffer.getvalue()

    return text


def _json(rows: Sequence[ErrorRow]) -> str:
    records = [asdict(row) for row in rows]
    for record in records:
        # JSON has no nan and no infinity.
        record.update({key: None for key in ("mae", "rmse", "r2") if not np.isfinite(record[key])})
    return json.dumps(records, indent=1, ensure_ascii=False) + "\n"


STYLES: Mapping[str, Callable[[Sequence[ErrorRow]], str]] = MappingProxyType(
    {"MD": _markdown, "CSV": _separated(","), "SSV": _separated(" "), "JSON": _json, "DF": _plain}
)
