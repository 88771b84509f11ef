"""Reader of FitSNAP's JSON files, which contain one or more configurations and the unit of each field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.readers.labels import Chosen, Family, label_notes
from fitsnap_nn.data.readers.raw import DataFile, Raw, ReadOptions, make_configuration
from fitsnap_nn.data.readers.stress import stress_tensor
from fitsnap_nn.data.readers.symbols import chemical_symbols
from fitsnap_nn.data.readers.text import read_text
from fitsnap_nn.data.readers.weights import frame_weights, used_names, weight_notes
from fitsnap_nn.errors import DataError, shorten
from fitsnap_nn.units import FIELDS

NO_LATTICE = ((0.0, 0.0, 0.0),) * 3
FITSNAP = Family({"energy": (("energy",),), "forces": (("forces",),), "stress": (("stress",),), "virial": ()}, {}, -1.0)


def read_json(source: DataFile, options: ReadOptions, findings: list[Finding]) -> Iterator[Configuration]:
    """Yield the configurations of one file.

    Lines before the first line that starts with ``{`` are comments. ``Dataset`` contains ``Data``, a list of
    configurations, and the unit of each field, for example ``EnergyStyle``. Fields without a unit are in LAMMPS' metal
    units. A configuration without ``Lattice`` is not periodic. ``Stress`` has the sign of LAMMPS' pressure, which is
    opposite to the internal one, unless the options state otherwise.

    Args:
        source: the file.
        options: names, units and signs of labels from the input, and user-defined properties.
        findings: receives remarks on the file.

    Raises:
        DataError: the file does not have this format, or the data are inconsistent.
    """
    dataset = _dataset(source.path)
    styles = {field: str(dataset.get(f"{field.lower()}style", "metal")) for field in FIELDS}
    frames = dataset.get("data")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise DataError(f"{source.path}: Dataset.Data must be a list with at least one configuration.")
    units, names = {**styles, **options.units}, _names(options)
    findings += _remarks(source.path, frames, names, units["Stress"], options)
    for k, frame in enumerate(frames):
        number = k if len(frames) > 1 else None
        where = source.path if number is None else f"{source.path}, configuration {number}"
        raw = _raw(where, frame, names, options)
        if all(isinstance(label, str) for label in raw.species):
            raw = raw._replace(species=chemical_symbols(raw.species, where, source.path, findings))
        yield make_configuration(source, raw, units, number)


def _dataset(path: str) -> dict[str, Any]:
    """Return the object ``Dataset`` of a file, with keys in lower case."""
    text = read_text(path)
    # Blanks, but not line breaks: \s* would search all following empty lines again from each of them.
    start = re.search(r"^[^\S\n]*\{", text, re.MULTILINE)
    if start is None:
        raise DataError(f"{path}: no line starts with '{{', so the file is not in FitSNAP's JSON format.")
    try:
        content = json.loads(text[start.start() :], object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        line = text.count("\n", 0, start.start()) + error.lineno
        raise DataError(f"{path}:{line}: the file is not valid JSON: {error.msg}.") from None
    except _RepeatedKey as error:
        raise DataError(f"{path}: an object has the key {error} twice, with different values. Remove one.") from None
    except RecursionError:
        raise DataError(f"{path}: lists or objects are nested too deeply for data. Correct the file.") from None
    except ValueError:  # Python's limit on the conversion of integers
        raise DataError(f"{path}: a number has thousands of digits. Correct the file, or remove it.") from None
    dataset = content.get("Dataset")
    if not isinstance(dataset, dict):
        raise DataError(f"{path}: the file has no object 'Dataset', so it is not in FitSNAP's JSON format.")
    return _lower(dataset, path)


class _RepeatedKey(Exception):
    """A key occurs twice in one object; Python would keep the last value in silence."""


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        for key, value in pairs:
            if repr(value) != repr(table[key]):
                raise _RepeatedKey(f"'{shorten(key)}'")
    return table


def _lower(table: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a table with keys in lower case.

    Raises:
        DataError: two keys that differ only in case have different values.
    """
    lower = {key.lower(): value for key, value in table.items()}
    if len(lower) < len(table):
        for key, value in table.items():
            if repr(value) != repr(lower[key.lower()]):
                raise DataError(f"{where}: '{shorten(key)}' is given twice, in different cases. Remove one.")
    return lower


def _names(options: ReadOptions) -> Chosen:
    given = {label: name for label, name in options.names.items() if name}
    usual = {label: kinds[0] if kinds else () for label, kinds in FITSNAP.names.items()}
    return Chosen(FITSNAP, {**usual, **{label: (name,) for label, name in given.items()}}, frozenset(given))


def _remarks(
    path: str, frames: Sequence[Mapping[str, Any]], chosen: Chosen, unit: str, options: ReadOptions
) -> Iterator[Finding]:
    """Yield notes on the names of the labels of one file, and on the sign of a stress whose unit the input states."""
    weights = used_names(frames, options.weight_names)
    yield from label_notes(path, frames, chosen, weights, usual=FITSNAP)
    yield from weight_notes(path, weights)
    stated = "Stress" in options.units or options.stress_sign != "format"
    if stated and any(any(chosen.found(frame, "stress")) for frame in frames):
        meaning = "positive in tension" if options.stress_sign == "tension" else "a pressure, the sign of the format"
        what = f"stress is read in {unit} as {meaning}; [SCRAPER] stress_sign changes the sign."
        yield Finding(what, path, warning=False)


def _raw(where: str, original: dict[str, Any], chosen: Chosen, options: ReadOptions) -> Raw:
    frame = _lower(original, where)
    missing = [field for field in ("AtomTypes", "Positions") if not isinstance(frame.get(field.lower()), list)]
    if missing:
        raise DataError(f"{where}: a configuration has no list {' and no list '.join(missing)}.")
    species, lattice = frame["atomtypes"], frame.get("lattice")
    if frame.get("numatoms", len(species)) != len(species):
        raise DataError(f"{where}: NumAtoms is {shorten(frame['numatoms'])}, but there are {len(species)} AtomTypes.")
    periodic = lattice is not None
    stress = chosen.value(original, "stress", where)
    if isinstance(stress, list) and len(stress) == 6 and not any(isinstance(row, list) for row in stress):
        stress = stress_tensor(stress, f"{where}: Stress", options.stress_order)
    in_tension = options.stress_sign == "tension"
    properties = [one.property.name for one in options.columns]
    return Raw(
        species=species,
        positions=frame["positions"],
        lattice=lattice if periodic else NO_LATTICE,
        pbc=(periodic, periodic, periodic),
        energy=chosen.value(original, "energy", where),
        forces=chosen.value(original, "forces", where),
        stress=stress if in_tension else None,
        pressure=None if in_tension else stress,
        charges=frame.get("charges"),
        spins=frame.get("spins"),
        weights=frame_weights(original, properties, options.weight_names, where),
        others=[(one.property, label) for one in options.columns if (label := frame.get(one.name.lower())) is not None],
    )
