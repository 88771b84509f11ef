"""Errors of a network beside those of the linear model on the same descriptors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.properties import Property
from fitsnap_nn.reports.errors_table import ALL, ErrorRow, digits

WORSE = 1.02  # ratio of the errors from which on the network is worse; one without hidden layers is as good


def with_linear(rows: Sequence[ErrorRow], linear: Sequence[ErrorRow]) -> list[ErrorRow]:
    """Return rows of an error table with the errors of the linear model.

    Args:
        rows: error table.
        linear: error table of the linear model for the same data; may be empty.
    """
    if not linear:
        return list(rows)
    found = {(row.group, row.subset, row.property): row for row in linear}
    both = [(row, found[row.group, row.subset, row.property]) for row in rows]
    return [replace(row, linear_mae=one.mae, linear_rmse=one.rmse) for row, one in both]


def worse_than_linear(
    errors: Sequence[ErrorRow], subset: Subset | None, properties: Sequence[Property]
) -> Iterator[str]:
    """Yield a remark if errors over all groups are larger than those of the linear model.

    Args:
        errors: error table.
        subset: the set that is judged.
        properties: properties with a weight.
    """
    shown = {one.title: one for one in properties}
    worse = []
    for row in errors:
        if row.group != ALL or subset is None or row.subset != subset.value or row.property not in shown:
            continue
        if row.linear_rmse is not None and row.rmse > WORSE * row.linear_rmse:
            one = shown[row.property]
            factor, unit = one.report_unit.size / one.display_unit.size, one.display_unit.label
            worse.append(
                f"{one.symbol} {digits(factor * row.rmse)} instead of {digits(factor * row.linear_rmse)} {unit}"
            )
    if worse:
        yield (
            f"worse than the linear model on the same descriptors: RMSE {', '.join(worse)}. Train longer, or change "
            "the optimiser, its learning rate or the weights; the table of errors compares the two by group"
        )
