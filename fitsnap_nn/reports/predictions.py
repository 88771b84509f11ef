"""Predictions as an extended XYZ file, next to the labels."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fitsnap_nn.data.properties import STANDARD, STRESS, Property, plain_value
from fitsnap_nn.data.voigt import from_voigt
from fitsnap_nn.files import atomic_write
from fitsnap_nn.reports.results import Floats, Result

PREFIX = "predicted_"
HEADER_BYTES = 10_000  # maximum length of a line that is read to recognise a file


def write_predictions(
    path: Path, results: Sequence[Result], properties: Sequence[Property], columns: Mapping[str, str]
) -> None:
    """Write an extended XYZ file that ASE reads, in ASE's units (eV, eV/Å, eV/Å³, positive in tension).

    Labels have ASE's names (``energy``, ``forces``, ``stress``) or those of the columns of user-defined properties.
    Predictions have the names of the properties with the prefix ``predicted_``. A missing label is absent.
    Standard deviations over the members of a committee are ``predicted_energies_std`` (per atom) and
    ``predicted_energy_std`` in eV, and ``predicted_forces_std`` (per atom) in eV/Å.
    ``config_type`` is the group, ``source`` the id and ``set`` the set (Train, Validation, Test, Unknown) of a
    configuration.

    Args:
        path: the file; an existing one is replaced when the new one is complete.
        results: labels and predictions.
        properties: user-defined properties are written if they are among these.
        columns: name of the label in data files, by user-defined property.

    Raises:
        OSError: the file cannot be written.
    """
    from ase.io import write  # slow to import

    frames = [_frame(result, properties, columns) for result in results]
    with atomic_write(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8")
        # parallel=False: by default ASE waits for the other ranks of an MPI job, which write nothing here.
        write(text, frames, format="extxyz", parallel=False)
        text.flush()
        text.detach()


def are_predictions(path: Path) -> bool:
    """Return whether a file is one that `write_predictions` has written."""
    try:
        with path.open("rb") as file:
            file.readline(HEADER_BYTES)
            return PREFIX.encode() in file.readline(HEADER_BYTES)
    except OSError:
        return False


def _frame(result: Result, properties: Sequence[Property], columns: Mapping[str, str]) -> Any:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    configuration, evaluation = result
    atoms = Atoms(configuration.species, configuration.positions, cell=configuration.cell, pbc=configuration.pbc)
    atoms.info = {
        "config_type": configuration.group,
        "source": configuration.id,
        "set": configuration.subset.value,
    }
    if configuration.charges is not None:
        atoms.set_initial_charges(configuration.charges)
    labels, predictions = (
        {one.name: plain_value(one, values[one.name]) for one in _of(properties, values)}
        for values in (configuration.labels, evaluation.values)
    )
    results = {name: labels.pop(name) for name in [one.name for one in STANDARD] if name in labels}
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    per_atom = {one.name for one in (*STANDARD, *properties) if one.per == "atom"}
    if STRESS.name in predictions:
        # Nine numbers, as ASE writes the label; six would be ambiguous.
        predictions[STRESS.name] = from_voigt(predictions[STRESS.name]).ravel()
    named = [(name, columns.get(name, name), value) for name, value in labels.items()]
    named += [(name, f"{PREFIX}{name}", value) for name, value in predictions.items()]
    for name, key, value in named:
        place = atoms.arrays if name in per_atom else atoms.info
        place[key] = value
    for name, deviation in evaluation.spread.items():
        place = atoms.arrays if deviation.ndim else atoms.info
        place[f"{PREFIX}{name}_std"] = deviation if deviation.ndim else float(deviation)
    return atoms


def _of(properties: Sequence[Property], values: Mapping[str, Floats]) -> list[Property]:
    return [one for one in dict.fromkeys((*STANDARD, *properties)) if one.name in values]
