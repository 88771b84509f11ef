"""Raw numbers of a frame to a configuration: the one place where units and shapes are checked and converted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.properties import Cartesian, Property, labels_of
from fitsnap_nn.data.voigt import from_voigt, voigt
from fitsnap_nn.errors import DataError
from fitsnap_nn.units import FIELDS, factor

Units = Mapping[str, str]


class DataFile(NamedTuple):
    """A data file: its path, and the group it belongs to (empty: each frame names its own)."""

    path: str
    group: str
    id: str


class Column(NamedTuple):
    """Where a reader finds the label of a property of the user: name of the field, column or key in the file."""

    property: Property
    name: str


class Raw(NamedTuple):
    """One configuration as a file has it, still in the file's units; ``None`` is a label that is missing.

    Attributes:
        stress: in ASE's sign: (3, 3), (9,), or (6,) in Voigt order.
        pressure: the same in LAMMPS' sign, the opposite.
        weights: factors on the group's weights, by property name.
        others: labels of the user's properties.
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
    """A checked `Configuration` in the package's units from the numbers of one frame of a file.

    ``units`` names the unit of each of `fitsnap_nn.units.FIELDS`; ``frame`` is the frame's number in a file
    that has several, counted from 0.

    Raises:
        DataError: a unit that is unknown, a shape that does not fit, a number that is not finite.
    """
    where = source.path if frame is None else f"{source.path}, configuration {frame}"
    species = tuple(raw.species)
    count = len(species)
    if count == 0 or not all(isinstance(symbol, str) for symbol in species):
        raise DataError(f"{where}: AtomTypes must be chemical symbols, one an atom; they are {list(species)[:5]}.")

    def array(field: str, value: Any, *shapes: tuple[int, ...]) -> Floats:
        return _array(f"{where}: {field}", value, shapes, _factor(where, field, units))

    stress = None
    for value, sign in ((raw.stress, 1.0), (raw.pressure, -1.0)):
        if value is not None:
            tensor = array("Stress", value, (3, 3), (9,), (6,))
            stress = sign * from_voigt(tensor if tensor.size == 6 else voigt(tensor.reshape(3, 3)))
    return Configuration(
        id=source.id if frame is None else f"{source.id}#{frame}",
        group=source.group,
        species=species,
        positions=array("Positions", raw.positions, (count, 3)),
        cell=array("Lattice", raw.lattice, (3, 3)),
        pbc=raw.pbc,
        labels=labels_of(
            energy=None if raw.energy is None else array("Energy", raw.energy, ()),
            forces=None if raw.forces is None else array("Forces", raw.forces, (count, 3)),
            stress=stress,
            **{one.name: array(one.name, value, *_shapes(one, count)) for one, value in raw.others},
        ),
        weights={name: float(array(f"{name}_weight", value, ())) for name, value in raw.weights.items()},
        charges=None if raw.charges is None else array("Charges", raw.charges, (count,)),
        spins=None if raw.spins is None else array("Spins", raw.spins, (count, 4)),
    )


def _shapes(quantity: Property, count: int) -> tuple[tuple[int, ...], ...]:
    """Return the shapes that a label may have."""
    rows = (count,) if quantity.per == "atom" else ()
    if not isinstance(quantity.symmetry, Cartesian):
        return (rows, (*rows, 1))
    return ((*rows, 3),) if quantity.symmetry.rank == 1 else ((*rows, 3, 3), (*rows, 9), (*rows, 6))


def _factor(where: str, field: str, units: Units) -> float:
    if field not in FIELDS:
        return 1.0
    try:
        return factor(FIELDS[field], units[field])
    except ValueError as error:
        raise DataError(
            f"{where}: {field}: {error}. Mend {field}Style in the file, or give the unit in [SCRAPER] property_array."
        ) from None


def _array(where: str, value: Any, shapes: tuple[tuple[int, ...], ...], scale: float) -> Floats:
    expected = " or ".join(str(shape) for shape in shapes)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"{where} is not an array of numbers of shape {expected}. Mend the file, or take it out."
        ) from None
    if array.shape not in shapes:
        raise DataError(f"{where} has shape {array.shape}, not {expected}. Mend the file, or take it out.")
    if not np.isfinite(array).all():
        raise DataError(f"{where} holds a number that is not finite. Leave a label out where there is none.")
    return array * scale
