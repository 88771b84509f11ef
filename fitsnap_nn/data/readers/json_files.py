"""FitSNAP's JSON: one data set a file, with one configuration or several, and the unit of each field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.readers.raw import Column, DataFile, Raw, Units, make_configuration
from fitsnap_nn.errors import DataError
from fitsnap_nn.units import FIELDS

NO_LATTICE = ((0.0, 0.0, 0.0),) * 3


def read_json(source: DataFile, units: Units, columns: Sequence[Column] = ()) -> Iterator[Configuration]:
    """The configurations of one file.

    Lines before the first that starts with ``{`` are comments. ``Dataset`` holds ``Data``, a list of configurations,
    and for each field its unit, as ``EnergyStyle``; a unit in ``units`` stands instead of the file's, a field with
    neither is in LAMMPS' metal units, and nothing is carried over to another file. A configuration without
    ``Lattice`` is not periodic. FitSNAP's ``Stress`` has the sign of LAMMPS' pressure, the opposite of ours.

    Raises:
        DataError: the file is not JSON of that form, or its numbers do not fit together.
    """
    dataset = _dataset(source.path)
    styles = {field: str(dataset.get(f"{field.lower()}style", "metal")) for field in FIELDS}
    frames = dataset.get("data")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise DataError(f"{source.path}: Dataset.Data must be a list of at least one configuration.")
    for k, frame in enumerate(frames):
        number = k if len(frames) > 1 else None
        yield make_configuration(source, _raw(source.path, _lower(frame), columns), {**styles, **units}, number)


def _dataset(path: str) -> dict[str, Any]:
    """The object ``Dataset`` of a file, its keys in lower case."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: it cannot be read: {error.strerror}.") from None
    start = re.search(r"^\s*\{", text, re.MULTILINE)
    if start is None:
        raise DataError(f"{path}: no line starts with '{{': this is not FitSNAP's JSON.")
    try:
        content = json.loads(text[start.start() :])
    except json.JSONDecodeError as error:
        line = text.count("\n", 0, start.start()) + error.lineno
        raise DataError(f"{path}:{line}: this is not JSON: {error.msg}.") from None
    dataset = content.get("Dataset")
    if not isinstance(dataset, dict):
        raise DataError(f"{path}: the file has no object 'Dataset'.")
    return _lower(dataset)


def _lower(table: dict[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in table.items()}


def _raw(path: str, frame: dict[str, Any], columns: Sequence[Column]) -> Raw:
    missing = [field for field in ("AtomTypes", "Positions") if not isinstance(frame.get(field.lower()), list)]
    if missing:
        raise DataError(f"{path}: a configuration has no list {' and no list '.join(missing)}.")
    species, lattice = frame["atomtypes"], frame.get("lattice")
    if frame.get("numatoms", len(species)) != len(species):
        raise DataError(f"{path}: NumAtoms is {frame['numatoms']}, but there are {len(species)} AtomTypes.")
    periodic = lattice is not None
    return Raw(
        species=species,
        positions=frame["positions"],
        lattice=lattice if periodic else NO_LATTICE,
        pbc=(periodic, periodic, periodic),
        energy=frame.get("energy"),
        forces=frame.get("forces"),
        pressure=frame.get("stress"),
        charges=frame.get("charges"),
        spins=frame.get("spins"),
        others=[(one.property, label) for one in columns if (label := frame.get(one.name.lower())) is not None],
    )
