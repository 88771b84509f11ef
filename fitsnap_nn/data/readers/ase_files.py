"""Frames of all formats that ASE supports, and their conversion; ASE computes nothing."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.properties import Property
from fitsnap_nn.data.readers.ase_formats import check_format, drop_invented_energies
from fitsnap_nn.data.readers.raw import Column, DataFile, Raw, ReadOptions, Units, make_configuration
from fitsnap_nn.data.readers.text import require_file
from fitsnap_nn.data.readers.weights import frame_weights
from fitsnap_nn.data.symmetries import Spherical
from fitsnap_nn.errors import DataError, shorten
from fitsnap_nn.settings.elements import SYMBOLS

ASE_UNITS: Units = {
    "Energy": "eV",
    "Forces": "eV/angstrom",
    "Stress": "eV/angstrom^3",
    "Positions": "angstrom",
    "Lattice": "angstrom",
}
logging.getLogger("ase").addHandler(logging.NullHandler())  # without a handler they go to the terminal
LONGEST_REASON = 300  # characters of ASE's message, which may quote the file
DEFAULT_GROUP = "Default"  # group of frames without config_type


def read_frames(path: str, file_format: str | None, findings: list[Finding], **options: Any) -> list[Any]:
    """Return all frames of a file as ``ase.Atoms``.

    Args:
        path: the file.
        file_format: ASE's name of the format; ``None`` to detect it.
        findings: receives notes on what ASE assumes.
        options: arguments of ASE's reader of the format.

    Raises:
        DataError: ASE cannot read the file or would misread it, or it is empty.
    """
    require_file(path)
    from ase.io import iread  # slow to import, and most data sets are JSON
    from ase.io.formats import filetype, ioformats

    try:
        name = file_format or filetype(path)
        check_format(path, name, findings)
        if ioformats[name].module_name == "ase.io.db":
            return _rows(path)
        # Remarks of the parsers concern ASE's developers; those that are logged go to the handler above.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            # parallel=False: by default ASE reads on the first rank and broadcasts, but here ranks read other files.
            found = iread(path, index=":", format=name, parallel=False, do_not_split_by_at_sign=True, **options)
            frames = list(found)
        drop_invented_energies(name, frames)
    except DataError:
        raise
    except Exception as error:  # ASE's parsers do not restrict the exceptions they raise
        kind = f" as {file_format}" if file_format else ""
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        raise DataError(f"{path}: ASE cannot read it{kind}: {type(error).__name__}: {reason}") from error
    if not frames:
        raise DataError(f"{path}: the file contains no configuration. Remove it from the data.")
    return frames


def _rows(path: str) -> list[Any]:
    """Return the frames of an ASE database, with the key-value pairs and the data of each row in ``atoms.info``.

    `ase.io.read` drops both: groups (``config_type``), weights of frames and labels under other names. The units that
    SchNetPack stores in the metadata become the entry ``units`` of each frame.
    """
    from ase.db import connect

    with connect(path, serial=True) as database:
        frames = []
        units = database.metadata.get("_property_unit_dict", {})
        if units and (length := database.metadata.get("_distance_unit")):
            units = {**units, "distance": length}
        for row in database.select():
            atoms = row.toatoms()
            atoms.info.update({**row.data, **row.key_value_pairs})
            if units:
                atoms.info["units"] = units
            frames.append(atoms)
    if not frames:
        raise ValueError("the database has no rows")
    return frames


def labelled_configuration(
    source: DataFile,
    atoms: Any,
    labels: Mapping[str, Any],
    options: ReadOptions,
    frame: int | None,
) -> Configuration:
    """Return a configuration from ``ase.Atoms`` and its labels.

    Weights in ``atoms.info`` multiply the weights of the group, see `fitsnap_nn.data.readers.weights`. If the file has
    no group, ``atoms.info["config_type"]`` is the group.

    Args:
        source: file of the frame.
        atoms: ``ase.Atoms``.
        labels: ``energy``, ``forces`` and ``stress`` in ASE's sign.
        options: units, and labels of user-defined properties, which are looked up in ``atoms`` by name.
        frame: zero-based number of the frame in a file with several, else ``None``.

    Raises:
        DataError: see `make_configuration`.
    """
    if not source.group:
        group = str(atoms.info.get("config_type", DEFAULT_GROUP))
        if not group.isprintable():
            raise DataError(f"{source.path}: config_type = '{shorten(group)}' has control characters. Rename it.")
        source = source._replace(group=group, id=f"{group}/{source.id}")
    numbers = atoms.numbers
    if not ((numbers >= 1) & (numbers <= len(SYMBOLS))).all():  # ASE would index its table with them
        raise DataError(f"{source.path}: atomic numbers from {numbers.min()} to {numbers.max()} are not elements.")
    along_a, along_b, along_c = map(bool, atoms.pbc)
    charges = atoms.get_initial_charges() if atoms.has("initial_charges") else None
    where = source.path if frame is None else f"{source.path}, configuration {frame}"
    properties = [column.property.name for column in options.columns]
    raw = Raw(
        species=atoms.get_chemical_symbols(),
        positions=atoms.positions,
        lattice=atoms.cell.array,
        pbc=(along_a, along_b, along_c),
        energy=labels.get("energy"),
        forces=labels.get("forces"),
        stress=labels.get("stress"),
        charges=charges,
        weights=frame_weights(atoms.info | atoms.arrays, properties, options.weight_names, where),
        others=_labels(atoms, options.columns),
    )
    return make_configuration(source, raw, {**ASE_UNITS, **options.units}, frame)


def stored(atoms: Any, name: str) -> Any:
    """Look up a calculator result, per-atom array or ``info`` entry by name; an exact match of case takes precedence.

    Returns:
        The value, or ``None`` if there is none.
    """
    found = {**atoms.info, **atoms.arrays, **(atoms.calc.results if atoms.calc else {})}
    lower = {key.lower(): value for key, value in found.items()}
    return found.get(name, lower.get(name.lower()))


def _labels(atoms: Any, columns: Sequence[Column]) -> list[tuple[Property, Any]]:
    found = ((column.property, stored(atoms, column.name)) for column in columns)
    return [(quantity, _as_written(quantity, value)) for quantity, value in found if value is not None]


def _as_written(quantity: Property, value: Any) -> Any:
    """Return the nine components of a spherical tensor with l = 4 in their order.

    ASE takes nine numbers in the header of extended XYZ for a matrix, column by column.
    """
    nine = isinstance(quantity.symmetry, Spherical) and quantity.symmetry.components == 9
    return (
        np.ravel(value, order="F") if nine and quantity.per == "configuration" and np.shape(value) == (3, 3) else value
    )
