"""The linear system of a linear model, with FitSNAP's rows and weights, and its reduction to a triangle.

Each labelled component is a row: the derivatives of its prediction with respect to the coefficients, and the label
minus the reference potential. Rows have FitSNAP's units: energies per atom in eV, force components in eV/Å, stress
components in bar with the sign of a pressure. Both sides are multiplied by the weight of the group.

The weighted system [A y] is reduced block by block to a triangle R with R^T R = [A y]^T [A y], by Householder
transformations. Unlike the normal equations they do not square the condition number, which is 1e5 for 31 coefficients
and 1e11 for quadratic SNAP. Blocks are independent of each other (TSQR, J. Demmel et al., SIAM J. Sci. Comput. 34, A206
(2012)), so that ranks share the work and the memory does not grow with the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.properties import ENERGY, STRESS, Property
from fitsnap_nn.errors import TrainingError
from fitsnap_nn.inputs.reference import reference_values
from fitsnap_nn.inputs.rows import CachedRows
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.units import BAR, LAMMPS_BAR

MIN_ROWS = 4096  # of a block, if there are few columns


class Rows(NamedTuple):
    """Rows of one property of one configuration, without weights.

    Attributes:
        design: (M, K) derivatives of the predictions.
        labels: (M,) labels minus reference potential.
        weight: weight of each row; 0 if it is not fitted.
    """

    design: Floats
    labels: Floats
    weight: float


def rows_of(
    model: LinearModel, configuration: Configuration, cached: CachedRows, properties: Sequence[Property]
) -> Iterator[tuple[Property, Rows]]:
    """Yield the rows of each labelled property of a configuration.

    Args:
        model: defines the columns.
        configuration: the configuration.
        cached: its cached input.
        properties: properties of the fit.
    """
    reference = reference_values(cached)
    for one in properties:
        label = configuration.labels.get(one.name)
        if label is None or (one == STRESS and not (all(configuration.pbc) and cached.has_strain)):
            continue
        design = model.design(configuration, cached, one)
        values, subtracted = one.rows(label).ravel(), one.rows(reference[one.name]).ravel()
        if one == STRESS:
            # Predicted stresses are those that LAMMPS prints, as in FitSNAP. Labels were converted from bar exactly.
            design, values, subtracted = -design / LAMMPS_BAR, -values / BAR, -subtracted / LAMMPS_BAR
        elif one == ENERGY:
            values, subtracted = values / len(configuration), subtracted / len(configuration)
        yield one, Rows(design, values - subtracted, configuration.weight(one.name))


class Triangle:
    """Triangle R of rows that are added one after the other.

    Args:
        columns: number of columns.
    """

    def __init__(self, columns: int) -> None:
        self._parts: list[Floats] = [np.zeros((0, columns))]
        self._limit = max(MIN_ROWS, 3 * columns)

    def add(self, rows: Floats) -> None:
        """Add rows (M, columns)."""
        self._parts.append(rows)
        if sum(map(len, self._parts)) >= self._limit:
            self._parts = [self.reduced()]

    def reduced(self) -> Floats:
        """Return (at most columns, columns) R."""
        joined = np.concatenate(self._parts)
        return np.asarray(np.linalg.qr(joined, mode="r")) if len(joined) else joined


@dataclass(frozen=True)
class LinearSystem:
    """Weighted least-squares system of K columns, reduced to a triangle.

    Attributes:
        matrix: (R, K) with R <= K + 1.
        labels: (R,) right-hand side.
        rows: number of rows with a weight, by property name.
    """

    matrix: Floats
    labels: Floats
    rows: Mapping[str, int]


def reduce_system(
    model: LinearModel,
    training: Iterable[tuple[Configuration, CachedRows]],
    properties: Sequence[Property],
    ranks: Ranks,
) -> LinearSystem | None:
    """Return the reduced system of the training set on the first rank, ``None`` on the others.

    Args:
        model: defines the columns; those without a coefficient are left out.
        training: the configurations of this rank, with their cached inputs.
        properties: properties of the fit.
        ranks: share the work.

    Raises:
        TrainingError: a number is not finite, or no row has a weight.
    """
    fitted = model.fitted
    triangle, rows = Triangle(int(fitted.sum()) + 1), dict.fromkeys((one.name for one in properties), 0)
    for _, name, weighted in weighted_rows(model, training, properties):
        triangle.add(weighted)
        rows[name] += len(weighted)
    parts = ranks.gather((triangle.reduced(), rows))
    if not parts:
        return None
    whole = Triangle(int(fitted.sum()) + 1)
    for part, _ in parts:
        whole.add(part)
    counts = {name: sum(found[name] for _, found in parts) for name in rows}
    return LinearSystem(*_split(whole.reduced()), counts)


def gather_system(
    model: LinearModel,
    training: Iterable[tuple[Configuration, CachedRows]],
    properties: Sequence[Property],
    ranks: Ranks,
) -> LinearSystem | None:
    """Return the whole system, for solvers that need every row; arguments and result as in `reduce_system`."""
    found = list(weighted_rows(model, training, properties))
    shares = ranks.gather(found)
    if not shares:
        return None
    # By id, so that the order of the rows, and with it rounding, does not depend on the number of ranks.
    parts = sorted((part for share in shares for part in share), key=lambda part: part[0])
    counts = {one.name: sum(len(rows) for _, name, rows in parts if name == one.name) for one in properties}
    empty = np.zeros((0, int(model.fitted.sum()) + 1))
    return LinearSystem(*_split(np.concatenate([empty, *(rows for _, _, rows in parts)])), counts)


def weighted_rows(
    model: LinearModel, training: Iterable[tuple[Configuration, CachedRows]], properties: Sequence[Property]
) -> Iterator[tuple[str, str, Floats]]:
    """Yield id of a configuration, name of a property and weighted rows [A y] (M, K + 1), for rows with a weight.

    Raises:
        TrainingError: a number is not finite.
    """
    fitted = model.fitted
    for configuration, cached in training:
        for one, (design, labels, weight) in rows_of(model, configuration, cached, properties):
            if weight > 0:
                rows = np.column_stack([design[:, fitted], labels]) * weight
                if not np.isfinite(rows).all():
                    raise TrainingError(
                        f"{configuration.id}: descriptors, {one.title.lower()} or weight are too large: the linear "
                        "system is not finite. Look for outliers with `check`."
                    )
                yield configuration.id, one.name, rows


def _split(augmented: Floats) -> tuple[Floats, Floats]:
    """Return matrix and right-hand side of a system.

    Raises:
        TrainingError: it has no rows.
    """
    if not len(augmented):
        raise TrainingError("no label of the training set has a weight above 0. Increase weights in [GROUPS].")
    return augmented[:, :-1], augmented[:, -1]
