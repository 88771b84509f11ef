"""Reader of FitSNAP's JSON files, which contain one or more configurations and the unit of each field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.readers.raw import Column, DataFile, Raw, ReadOptions, make_configuration
from fitsnap_nn.errors import DataError
from fitsnap_nn.units import FIELDS

NO_LATTICE = ((0.0, 0.0, 0.0),) * 3


def read_json(source: DataFile, options: ReadOptions, findings: list[Finding]) -> Iterator[Configuration]:
    """Yield the configurations of one file.

    Lines before the first line that starts with ``{`` are comments. ``Dataset`` contains ``Data``, a list of
    configurations, and the unit of each field, for example ``EnergyStyle``. Fields without a unit are in LAMMPS' metal
    units. A configuration without ``Lattice`` is not periodic. ``Stress`` has the sign of LAMMPS' pressure, which is
    opposite to the internal one.

    Args:
        source: the file.
        options: units, and labels of user-defined properties.
        findings: receives remarks on the file.

    Raises:
        DataError: the file does not have this format, or the data are inconsistent.
    """
    dataset = _dataset(source.path)
    styles = {field: str(dataset.get(f"{field.lower()}style", "metal")) for field in FIELDS}
    frames = dataset.get("data")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise DataError(f"{source.path}: Dataset.Data must be a list with at least one configuration.")
    for k, frame in enumerate(frames):
        number = k if len(frames) > 1 else None
        yield make_configuration(
            source, _raw(source.path, _lower(frame), options.columns), {**styles, **options.units}, number
        )


def _dataset(path: str) -> dict[str, Any]:
    """Return the object ``Dataset`` of a file, with keys in lower case."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read: {error.strerror}.") from None
    start = re.search(r"^\s*\{", text, re.MULTILINE)
    if start is None:
        raise DataError(f"{path}: no line starts with '{{', so the file is not in FitSNAP's JSON format.")
    try:
        content = json.loads(text[start.start() :])
    except json.JSONDecodeError as error:
        line = text.count("\n", 0, start.start()) + error.lineno
        raise DataError(f"{path}:{line}: the file is not valid JSON: {error.msg}.") from None
    dataset = content.get("Dataset")
    if not isinstance(dataset, dict):
        raise DataError(f"{path}: the file has no object 'Dataset', so it is not in FitSNAP's JSON format.")
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
