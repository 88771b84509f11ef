"""Labels and predictions as arrays, for plots: ``predictions.npz``.

Values are in the report units of the properties. Energies are those minus the element energies, per atom.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.properties import ENERGY, STRESS, Property
from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.files import atomic_write, read_regular
from fitsnap_nn.reports.results import Floats, Result, in_report_unit, in_the_fit

PREDICTIONS_FILE = "predictions.npz"
MAX_ROWS = 100_000  # rows per property in the file: 100 000 atoms take 2.4 MB
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Values:
    """Labels and predictions of one property.

    Attributes:
        name, title, symbol: those of the property.
        unit: report unit.
        display_unit, display_factor: unit of residuals, and the number of these units in a report unit.
        note: what a reader has to know about the values, such as the sign; may be empty.
        per_atom: whether there is one row per atom.
        model, target: (rows, components) predictions and labels.
        owner: (rows,) index of the configuration.
        atom: (rows,) number of the atom in its configuration, from 1; 0 for values of configurations.
        weight: (rows,) number of rows that each stands for: 1, or more if the arrays contain a sample.
        total: number of rows that there are; the arrays contain all of them, or a sample.
    """

    name: str
    title: str
    symbol: str
    unit: str
    display_unit: str
    display_factor: float
    note: str
    per_atom: bool
    model: Floats
    target: Floats
    owner: Integers
    atom: Integers
    weight: Floats
    total: int

    @property
    def is_sample(self) -> bool:
        """Whether some rows are left out."""
        return len(self.owner) < self.total

    @property
    def residual(self) -> Floats:
        """(rows, components) predictions minus labels, in display units."""
        return (self.model - self.target) * self.display_factor


class Structure(NamedTuple):
    """Structure of a configuration with large errors.

    Attributes:
        configuration: index of the configuration.
        numbers: (N,) atomic numbers.
        positions: (N, 3) Å.
        cell: (3, 3) Å.
        pbc: (3,) whether each direction is periodic.
        force_errors: (N,) norm of the error of the force, eV/Å; empty if unknown.
    """

    configuration: int
    numbers: Integers
    positions: Floats
    cell: Floats
    pbc: NDArray[np.bool_]
    force_errors: Floats


@dataclass(frozen=True, eq=False)
class Predicted:
    """Labels and predictions of all configurations.

    Attributes:
        names: id of each configuration.
        groups, sets: group of each configuration, and value of its `Subset`.
        atoms: number of atoms of each configuration.
        values: values by property name.
        worst: structures with the largest errors, largest first.
        left_out: number of configurations without any weight, which are not among these; see `in_the_fit`.
    """

    names: list[str]
    groups: list[str]
    sets: list[str]
    atoms: Integers
    values: Mapping[str, Values]
    worst: tuple[Structure, ...] = ()
    left_out: int = 0


NOTES = {ENERGY.name: "minus element energies", STRESS.name: "positive in tension"}


def predicted_of(
    results: Sequence[Result],
    properties: Sequence[Property],
    element_energies: Mapping[str, float],
    worst: Sequence[Result] = (),
) -> Predicted:
    """Return the arrays of results; configurations without any weight are left out.

    Args:
        results: predictions and labels.
        properties: properties of the fit.
        element_energies: eV by element, to be subtracted from energies.
        worst: results with the largest errors, largest first.
    """
    shown = in_the_fit(results)
    left_out, results = len(results) - len(shown), shown
    configurations = [one.configuration for one in results]
    values = {one.name: found for one in properties if (found := _values(one, results, element_energies)) is not None}
    index = {one.id: number for number, one in enumerate(configurations)}
    return Predicted(
        [one.id for one in configurations],
        [one.group for one in configurations],
        [one.subset.value for one in configurations],
        np.array([len(one) for one in configurations], dtype=np.int64),
        values,
        tuple(_structure(one, index[one.configuration.id]) for one in worst),
        left_out,
    )


def _values(quantity: Property, results: Sequence[Result], element_energies: Mapping[str, float]) -> Values | None:
    model, target, owner, atom = [], [], [], []
    for number, (configuration, evaluation) in enumerate(results):
        label, value = configuration.labels.get(quantity.name), evaluation.values.get(quantity.name)
        if label is None or value is None:
            continue
        divisor = len(configuration) if quantity.per_atom else 1
        both = [in_report_unit(quantity, one, divisor) for one in (value, label)]
        if quantity == ENERGY:
            free = sum(element_energies[symbol] for symbol in configuration.species) / len(configuration)
            both = [one - free for one in both]
        rows = len(both[0])
        model.append(both[0])
        target.append(both[1])
        owner.append(np.full(rows, number))
        atom.append(np.arange(1, rows + 1) if quantity.per == "atom" else np.zeros(rows, dtype=np.int64))
    if not model:
        return None
    arrays = [np.concatenate(one) for one in (model, target, owner, atom)]
    total = len(arrays[0])
    chosen, weight = sample(np.abs(arrays[0] - arrays[1]).max(axis=1), MAX_ROWS)
    arrays = [one[chosen] for one in arrays]
    # Rounded here, and not in the file only: pictures of the file are those of the fit.
    both = [one.astype(stored_type(quantity.per == "atom")).astype(np.float64) for one in arrays[:2]]
    return Values(
        name=quantity.name,
        title=quantity.title,
        symbol=quantity.symbol,
        unit=quantity.report_unit.label,
        display_unit=quantity.display_unit.label,
        display_factor=quantity.report_unit.size / quantity.display_unit.size,
        note=NOTES.get(quantity.name, ""),
        per_atom=quantity.per == "atom",
        model=both[0],
        target=both[1],
        owner=arrays[2],
        atom=arrays[3],
        weight=weight,
        total=total,
    )


def stored_type(per_atom: bool) -> type[np.floating[Any]]:
    """Return the type of stored labels and predictions: float32 for the many of atoms."""
    return np.float32 if per_atom else np.float64


def sample(sizes: Floats, count: int) -> tuple[Integers, Floats]:
    """Return at most ``count`` indices, in order: a tenth of them those of the largest sizes, the rest evenly spaced.

    Args:
        sizes: (M,) sizes of errors. Those that are not finite count as the largest.
        count: maximum number of indices.

    Returns:
        The indices; how many of the M each of them stands for, so that weighted means are those of all.
    """
    if len(sizes) <= count:
        return np.arange(len(sizes)), np.ones(len(sizes))
    order = np.argsort(-np.nan_to_num(sizes, nan=np.inf, posinf=np.inf), kind="stable")
    largest, rest = order[: count // 10], np.sort(order[count // 10 :])
    even = rest[np.linspace(0, len(rest) - 1, count - len(largest)).astype(np.int64)]
    chosen = np.concatenate([largest, even])
    weight = np.concatenate([np.ones(len(largest)), np.full(len(even), len(rest) / len(even))])
    order = np.argsort(chosen, kind="stable")
    return chosen[order], weight[order]


def _structure(result: Result, index: int) -> Structure:
    from ase.data import atomic_numbers

    configuration, evaluation = result
    errors = np.zeros(0)
    if configuration.forces is not None and evaluation.forces is not None:
        errors = np.linalg.norm(evaluation.forces - configuration.forces, axis=1)
    numbers = np.array([atomic_numbers[symbol] for symbol in configuration.species])
    pbc = np.array(configuration.pbc)
    return Structure(index, numbers, configuration.positions, configuration.cell, pbc, errors)


def save_predicted(path: Path, predicted: Predicted) -> None:
    """Write the arrays.

    Raises:
        OSError: the file cannot be written.
    """
    arrays: dict[str, Any] = {
        **{name: _packed(getattr(predicted, name)) for name in ("names", "groups", "sets")},
        "atoms": predicted.atoms,
        "properties": _packed(list(predicted.values)),
        "left_out": predicted.left_out,
        "worst": np.array([one.configuration for one in predicted.worst], dtype=np.int64),
    }
    for name, one in predicted.values.items():
        precision = stored_type(one.per_atom)
        words = [one.title, one.symbol, one.unit, one.display_unit, one.note]
        arrays |= {f"{name}/words": _packed(words), f"{name}/factor": one.display_factor, f"{name}/total": one.total}
        arrays |= {f"{name}/per_atom": one.per_atom, f"{name}/owner": one.owner.astype(np.int32)}
        arrays |= {f"{name}/atom": one.atom.astype(np.int32), f"{name}/weight": one.weight}
        arrays |= {f"{name}/model": one.model.astype(precision), f"{name}/target": one.target.astype(precision)}
    for number, structure in enumerate(predicted.worst):
        arrays |= {
            f"worst{number}/{key}": value for key, value in structure._asdict().items() if key != "configuration"
        }
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)


def load_predicted(path: Path) -> Predicted:
    """Read the arrays.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged.
    """
    content = io.BytesIO(read_regular(path))
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays = dict(file)
        values = {name: _loaded(name, arrays) for name in _unpacked(arrays["properties"])}
        keys = [key for key in Structure._fields if key != "configuration"]
        worst = tuple(
            Structure(int(index), *(arrays[f"worst{number}/{key}"] for key in keys))
            for number, index in enumerate(arrays["worst"])
        )
        names, groups, sets = (_unpacked(arrays[name]) for name in ("names", "groups", "sets"))
        return Predicted(names, groups, sets, arrays["atoms"], values, worst, int(arrays["left_out"]))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise CheckpointError(f"{path} is damaged: {error}. Repeat the fit.") from error


def _loaded(name: str, arrays: Mapping[str, Any]) -> Values:
    def array(key: str, kind: Any) -> Any:
        return arrays[f"{name}/{key}"].astype(kind)

    title, symbol, unit, display_unit, note = _unpacked(arrays[f"{name}/words"])
    return Values(
        name=name,
        title=title,
        symbol=symbol,
        unit=unit,
        display_unit=display_unit,
        display_factor=float(arrays[f"{name}/factor"]),
        note=note,
        per_atom=bool(arrays[f"{name}/per_atom"]),
        model=array("model", np.float64),
        target=array("target", np.float64),
        owner=array("owner", np.int64),
        atom=array("atom", np.int64),
        weight=array("weight", np.float64),
        total=int(arrays[f"{name}/total"]),
    )


def _packed(words: Sequence[str]) -> NDArray[np.uint8]:
    """Return words as bytes, which take less space than numpy's arrays of text."""
    text = "\0".join(words).encode("utf-8", "surrogateescape")
    return np.frombuffer(text, dtype=np.uint8)


def _unpacked(array: NDArray[np.uint8]) -> list[str]:
    text = array.tobytes().decode("utf-8", "surrogateescape")
    return text.split("\0") if text else []
