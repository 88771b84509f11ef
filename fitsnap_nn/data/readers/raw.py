"""Conversion of the raw data of a frame to a configuration; all checks of units and shapes are made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.properties import Property, labels_of
from fitsnap_nn.data.readers.numbers import numbers
from fitsnap_nn.data.symmetries import Cartesian
from fitsnap_nn.data.voigt import from_voigt, voigt
from fitsnap_nn.errors import DataError, shorten
from fitsnap_nn.units import FIELDS, factor

Units = Mapping[str, str]

LARGEST = 1e18  # of any number in internal units; the square of a larger one exceeds float32 in the loss
LENGTHS = (": Positions", ": Lattice")
SYMMETRIC = 1e-4  # largest difference of two equal components of a symmetric matrix, relative to the largest
CORRECT = "Correct the file, or remove it."
DECLARATION = (
    "Correct the file, or the words after the name in [TARGETS]: per_atom or per_configuration, and the symmetry."
)
LARGEST_LENGTH = 1e7  # Å, 1 mm; the distances of atoms that far from the origin have errors of 1e-9 Å


class DataFile(NamedTuple):
    """Data file.

    Attributes:
        path: the file.
        group: group of its configurations; empty if each frame names its group.
        id: prefix of the ids of its configurations, ``group/file``.
        beside: files in the same folder that usually contain the same data.
    """

    path: str
    group: str
    id: str
    beside: tuple[str, ...] = ()


class Column(NamedTuple):
    """Label of a user-defined property in a file.

    Attributes:
        property: the property.
        name: name of the field, column or key.
    """

    property: Property
    name: str


@dataclass(frozen=True)
class VaspOptions:
    """Options of the reader of VASP files.

    Attributes:
        free_energy: whether the energy label is the free energy (TOTEN) instead of the energy without entropy.
        unconverged_label: appended to the ids of unconverged steps, which are left out if it is empty.
        ignore_incomplete: whether the finished steps of runs that were cut short are read.
    """

    free_energy: bool = True
    unconverged_label: str = ""
    ignore_incomplete: bool = True


@dataclass(frozen=True)
class ReadOptions:
    """Options of the readers, from the input.

    Attributes:
        units: units that replace those of the file or format, by field.
        columns: labels of user-defined properties.
        names: names of labels in the files, by label; those of other programs are known without.
        weight_names: names of the weights of frames, by property or ``all``.
        stress_sign: ``tension``, ``pressure``, or ``format`` for that of the format.
        stress_order: order of six stress components; empty if unknown.
        vasp: options of the reader of VASP files.
    """

    units: Units = field(default_factory=dict)
    columns: Sequence[Column] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    weight_names: Mapping[str, str] = field(default_factory=dict)
    stress_sign: str = "format"
    stress_order: Sequence[str] = ()
    vasp: VaspOptions = VaspOptions()


class Raw(NamedTuple):
    """Unchecked data of one configuration in the units of the file; missing labels are ``None``.

    Attributes:
        stress: stress in ASE's sign: (3, 3), (9,), or (6,) in Voigt order.
        pressure: stress in the opposite sign, that of LAMMPS; same shapes.
        weights: factors for the weights of the group, by property name.
        others: labels of user-defined properties.
    """

    species: Any
    positions: Any
    lattice: Any
    pbc: tuple[bool, bool, bool]
    energy: Any = None
    forces: Any = None
    stress: Any = None
    pressure: Any = None
    charges: Any = None
    spins: Any = None
    weights: Mapping[str, Any] = MappingProxyType({})
    others: Sequence[tuple[Property, Any]] = ()


def make_configuration(source: DataFile, raw: Raw, units: Units, frame: int | None = None) -> Configuration:
    """Check the data of one frame and convert them to internal units.

    Args:
        source: file of the frame.
        raw: data in the units of the file.
        units: unit of each of `fitsnap_nn.units.FIELDS`.
        frame: zero-based number of the frame in a file with several, else ``None``.

    Raises:
        DataError: a unit is unknown, a shape is wrong, or a number is not finite.
    """
    where = source.path if frame is None else f"{source.path}, configuration {frame}"
    species = tuple(raw.species)
    count = len(species)
    if count == 0:
        raise DataError(f"{where}: the configuration has no atoms. Remove it.")
    if not all(isinstance(symbol, str) for symbol in species):
        start = shorten(list(species)[:5])
        raise DataError(f"{where}: AtomTypes must be chemical symbols, one per atom, but the list starts with {start}.")

    def array(field: str, value: Any, *shapes: tuple[int, ...]) -> Floats:
        return _array(f"{where}: {field}", value, shapes, _factor(where, field, units))

    stress = None
    for value, sign in ((raw.stress, 1.0), (raw.pressure, -1.0)):
        if value is not None:
            tensor = array("Stress", value, (3, 3), (9,), (6,))
            stress = sign * from_voigt(tensor if tensor.size == 6 else voigt(tensor.reshape(3, 3)))
    weights = {name: float(array(f"{name}_weight", value, ())) for name, value in raw.weights.items()}
    labels = labels_of(
        energy=None if raw.energy is None else array("Energy", raw.energy, (), (1,)).reshape(()),
        forces=None if raw.forces is None else array("Forces", raw.forces, (count, 3)),
        stress=stress,
        **{one.name: _target(where, one, value, count) for one, value in raw.others},
    )
    return Configuration(
        id=source.id if frame is None else f"{source.id}#{frame}",
        group=source.group,
        species=species,
        positions=array("Positions", raw.positions, (count, 3)),
        cell=array("Lattice", raw.lattice, (3, 3)),
        pbc=raw.pbc,
        # A frame's own weight of 0 marks a label that is unknown, often with 0.0 in its place.
        labels={name: label for name, label in labels.items() if weights.get(name) != 0.0},
        weights=weights,
        charges=None if raw.charges is None else array("Charges", raw.charges, (count,)),
        spins=None if raw.spins is None else array("Spins", raw.spins, (count, 4)),
    )


def _target(where: str, quantity: Property, value: Any, count: int) -> Floats:
    """Return the label of a user-defined property; matrices as (3, 3), (6,), (N, 3, 3) or (N, 6).

    Raises:
        DataError: see `make_configuration`; or a matrix is not symmetric although it was declared so.
    """
    rows = (count,) if quantity.per == "atom" else ()
    array = _array(f"{where}: {quantity.name}", value, _shapes(quantity, rows), 1.0, DECLARATION)
    if not (isinstance(quantity.symmetry, Cartesian) and quantity.symmetry.rank == 2):
        return array
    if array.shape[-1] == 9:
        array = array.reshape(*rows, 3, 3)
    if quantity.symmetry.symmetric and array.shape[-1] == 3:
        difference = np.abs(array - np.swapaxes(array, -1, -2)).max(initial=0.0)
        if difference > SYMMETRIC * np.abs(array).max(initial=0.0):
            raise DataError(
                f"{where}: {quantity.name} is not a symmetric matrix: two components that should be equal differ by "
                f"{difference:.3g}. Declare it as tensor instead of symmetric_tensor, or correct the file."
            )
    return array


def _shapes(quantity: Property, rows: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the allowed shapes of a label."""
    symmetry = quantity.symmetry
    if symmetry.components == 1:
        return (rows, (*rows, 1))
    if not isinstance(symmetry, Cartesian) or symmetry.rank == 1:
        return ((*rows, symmetry.components),)
    full = (*rows, 3, 3), (*rows, 9)
    return (*full, (*rows, 6)) if symmetry.symmetric else full


def _factor(where: str, field: str, units: Units) -> float:
    if field not in FIELDS:
        return 1.0
    try:
        return factor(FIELDS[field], units[field])
    except ValueError as error:
        raise DataError(
            f"{where}: {field}: {error}. Correct {field}Style in the file, or set the unit in [SCRAPER] property_array."
        ) from None


def _array(where: str, value: Any, shapes: tuple[tuple[int, ...], ...], scale: float, remedy: str = CORRECT) -> Floats:
    expected = " or ".join(str(shape) for shape in shapes)
    try:
        array = numbers(value)
    except ValueError:
        raise DataError(f"{where} is not an array of numbers of shape {expected}. {remedy}") from None
    if array.shape not in shapes:
        raise DataError(f"{where} has shape {array.shape}, not {expected}. {remedy}")
    if not np.isfinite(array).all():
        raise DataError(f"{where} contains a number that is not finite. If the label is unknown, omit it.")
    largest = float(np.abs(array).max(initial=0.0)) * scale
    limit = LARGEST_LENGTH if where.endswith(LENGTHS) else LARGEST
    if largest > limit:
        raise DataError(
            f"{where} contains a number of {largest:.3g} in internal units (eV, Å), above the limit of {limit:.0e}. "
            "Correct it, or the unit."
        )
    return array * scale
