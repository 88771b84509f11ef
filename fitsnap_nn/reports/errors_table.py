"""Per-group error table (FitSNAP's ``metrics`` file) and its one-line summary."""

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
from fitsnap_nn.files import write_text
from fitsnap_nn.reports.results import Floats, Result, by_subset, in_the_fit, pairs

ALL = "*ALL"
COLUMNS = ("Group", "Set", "Property", "Count", "MAE", "RMSE", "R²", "Unit")
LINEAR_COLUMNS = ("Linear MAE", "Linear RMSE")  # of the linear model on the same descriptors, if there is one
LEFT_ALIGNED = (True, True, True, False, False, False, False, True, False, False)  # by column

# Standard deviation of labels (eV/atom, eV/Å, GPa) below which they differ by rounding only, such as forces that
# vanish by symmetry.
ROUNDING_SPREAD = 1e-8


@dataclass(frozen=True)
class ErrorRow:
    """Errors of one property in one group and one set.

    Attributes:
        group: name of the group, or ``*ALL``.
        subset: ``Train``, ``Validation`` or ``Test``.
        property: title of the property.
        count: configurations for energies and stresses, atoms for forces.
        mae, rmse: over components, in ``unit``.
        r2: 1 - sum (label - model)² / sum (label - mean label)²; nan for fewer than two labels or constant labels.
        unit: report unit of the property.
        linear_mae, linear_rmse: of the linear model on the same descriptors, if the fit has made one.
    """

    group: str
    subset: str
    property: str
    count: int
    mae: float
    rmse: float
    r2: float
    unit: str
    linear_mae: float | None = None
    linear_rmse: float | None = None


class ErrorTable(list[ErrorRow]):
    """Rows of errors that are shown as a table, also in notebooks."""

    def __repr__(self) -> str:
        return STYLES["MD"](self).rstrip() if self else "no errors"

    _repr_markdown_ = __repr__  # of IPython


def errors_table(results: Sequence[Result], properties: Sequence[Property]) -> list[ErrorRow]:
    """Return the errors over all groups, see `in_the_fit`, then those of each group in the order of first appearance.

    Args:
        results: predictions and labels.
        properties: properties of the fit.

    Returns:
        For each group one row per set (training, validation, test) and property that has labels.
    """
    by_group: dict[str, list[Result]] = {ALL: in_the_fit(results)}
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
    variance = float(np.square(target - target.mean()).mean())
    if variance <= ROUNDING_SPREAD**2:
        return float("nan")
    return 1.0 - float(np.square(error).mean()) / variance


def summary(rows: Sequence[ErrorRow], subset: Subset, properties: Sequence[Property], *, linear: bool = False) -> str:
    """Return the MAE over all groups in one line, such as ``E 117.2 meV/atom, F 76.1 meV/Å``.

    Args:
        rows: error table.
        subset: set whose errors are shown.
        properties: properties of the fit.
        linear: show those of the linear model.

    Returns:
        The line; empty if the set has no labels, or if there is no linear model.
    """
    shown = {one.title: one for one in properties}
    parts = []
    for row in rows:
        mae = row.linear_mae if linear else row.mae
        if row.group == ALL and row.subset == subset.value and mae is not None:
            one = shown.get(row.property)
            if one is None:  # an irreducible block
                continue
            mae *= one.report_unit.size / one.display_unit.size
            parts.append(f"{one.symbol} {digits(mae)} {one.display_unit.label}")
    return ", ".join(parts)


def write_errors_table(path: Path, rows: Sequence[ErrorRow], style: str = "MD") -> None:
    """Write the error table.

    Args:
        path: the file.
        rows: error table.
        style: ``MD`` for a Markdown table; ``CSV`` or ``SSV`` for all digits separated by commas or spaces, with a
            header; ``JSON`` for a list of objects; ``DF`` for FitSNAP's columns, aligned, without R² and units.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(path, STYLES[style](rows))


def _markdown(rows: Sequence[ErrorRow]) -> str:
    header, *lines = aligned([_columns(rows), *map(_cells, rows)], LEFT_ALIGNED)
    rule = [
        ":" + "-" * (len(cell) - 1) if left else "-" * (len(cell) - 1) + ":"
        for cell, left in zip(header, LEFT_ALIGNED, strict=False)
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *lines))


def _plain(rows: Sequence[ErrorRow]) -> str:
    titles = ("Group", "Train/Test", *COLUMNS[2:])  # as FitSNAP names them
    lines = aligned([cells[:6] for cells in (titles, *map(_cells, rows))], LEFT_ALIGNED)
    return "".join("  ".join(line) + "\n" for line in lines)


def aligned(lines: Sequence[Sequence[str]], left: Sequence[bool]) -> list[list[str]]:
    """Return the cells of lines, padded to common widths.

    Args:
        lines: cells of each line.
        left: by column, whether cells are aligned to the left; it may be longer than a line.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        [f"{cell:{'<' if first else '>'}{width}}" for cell, width, first in zip(line, widths, left, strict=False)]
        for line in lines
    ]


def _cells(row: ErrorRow) -> list[str]:
    r2 = "-" if np.isnan(row.r2) else f"{row.r2:.4f}"
    linear = [digits(value) for value in (row.linear_mae, row.linear_rmse) if value is not None]
    errors = [digits(row.mae), digits(row.rmse)]
    return [row.group, row.subset, row.property, str(row.count), *errors, r2, row.unit, *linear]


def _columns(rows: Sequence[ErrorRow]) -> Sequence[str]:
    return (*COLUMNS, *LINEAR_COLUMNS) if any(row.linear_mae is not None for row in rows) else COLUMNS


def _record(row: ErrorRow) -> dict[str, object]:
    return {key: value for key, value in asdict(row).items() if value is not None}


def digits(value: float) -> str:
    """Return a number with four significant digits."""
    return f"{value:#.4g}".rstrip(".")


def _separated(delimiter: str) -> Callable[[Sequence[ErrorRow]], str]:
    def text(rows: Sequence[ErrorRow]) -> str:
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
        writer.writerow(_columns(rows))
        writer.writerows(_record(row).values() for row in rows)
        return buffer.getvalue()

    return text


def _json(rows: Sequence[ErrorRow]) -> str:
    # JSON (RFC 8259) has neither nan nor infinity.
    records = [
        {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in record.items()}
        for record in map(_record, rows)
    ]
    return json.dumps(records, indent=1, ensure_ascii=False) + "\n"


STYLES: Mapping[str, Callable[[Sequence[ErrorRow]], str]] = MappingProxyType(
    {"MD": _markdown, "CSV": _separated(","), "SSV": _separated(" "), "JSON": _json, "DF": _plain}
)
