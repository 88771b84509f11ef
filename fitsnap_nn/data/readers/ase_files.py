"""Reader of all formats that ASE supports; labels are the stored calculator results, ASE computes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.properties import Property
from fitsnap_nn.data.readers.raw import Column, DataFile, Raw, ReadOptions, Units, make_configuration
from fitsnap_nn.data.readers.vasp import is_vasp, read_vasp
from fitsnap_nn.errors import DataError

ASE_UNITS: Units = {
    "Energy": "eV",
    "Forces": "eV/angstrom",
    "Stress": "eV/angstrom^3",
    "Positions": "angstrom",
    "Lattice": "angstrom",
}
DEFAULT_GROUP = "Default"  # group of frames without config_type
NOT_CHECKED = (
    "ASE reads this VASP file for the labels of [PROPERTIES], and does not check convergence: make sure that the "
    "electronic loops of all steps converged."
)


def read_ase(source: DataFile, options: ReadOptions, findings: list[Finding]) -> Iterator[Configuration]:
    """Yield all frames of a file in a format that ASE recognises; the energy label is the free energy if available.

    OUTCAR and vasprun.xml are left to `fitsnap_nn.data.readers.vasp.read_vasp`, unless labels are wanted that it does
    not read.

    Args:
        source: the file.
        options: units, and labels of user-defined properties.
        findings: receives remarks on the file.

    Raises:
        DataError: ASE cannot read the file, or the data are inconsistent.
    """
    if is_vasp(Path(source.path)):
        if not options.columns:
            named = source if source.group else source._replace(group=DEFAULT_GROUP, id=f"{DEFAULT_GROUP}/{source.id}")
            yield from read_vasp(named, options, findings)
            return
        findings.append(Finding(NOT_CHECKED, source.id))
    frames = read_frames(source.path, None)
    for k, atoms in enumerate(frames):
        results = atoms.calc.results if atoms.calc else {}
        frame = k if len(frames) > 1 else None
        yield labelled_configuration(source, atoms, free_energy(results), options, frame)


def read_frames(path: str, file_format: str | None) -> list[Any]:
    """Return all frames of a file as ``ase.Atoms``.

    Args:
        path: the file.
        file_format: ASE's name of the format; ``None`` to detect it.

    Raises:
        DataError: ASE cannot read the file, or it is empty.
    """
    from ase.io import iread  # slow to import, and most data sets are JSON

    try:
        # parallel=False: by default ASE reads on the first rank and broadcasts, but here ranks read different files.
        frames = list(iread(path, index=":", format=file_format, parallel=False, do_not_split_by_at_sign=True))
    except Exception as error:  # ASE's parsers do not restrict the exceptions they raise
        kind = f" as {file_format}" if file_format else ""
        raise DataError(f"{path}: ASE cannot read it{kind}: {type(error).__name__}: {error}") from error
    if not frames:
        raise DataError(f"{path}: the file contains no configuration. Remove it from the data.")
    return frames


def free_energy(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return energy, forces and stress from ASE calculator results.

    The energy is the free energy if available: with electronic smearing it is the energy whose gradient the forces are.
    """
    return {
        "energy": results.get("free_energy", results.get("energy")),
        "forces": results.get("forces"),
        "stress": results.get("stress"),
    }


def labelled_configuration(
    source: DataFile,
    atoms: Any,
    labels: Mapping[str, Any],
    options: ReadOptions,
    frame: int | None,
) -> Configuration:
    """Return a configuration from ``ase.Atoms`` and its labels.

    ``energy_weight``, ``force_weight`` and ``stress_weight`` in ``atoms.info`` multiply the weights of the group. If
    the file has no group, ``atoms.info["config_type"]`` is the group. If the options contain a unit for Stress, the
    label is a pressure in LAMMPS' sign, as in FitSNAP; otherwise it is a stress in ASE's sign.

    Args:
        source: file of the frame.
        atoms: ``ase.Atoms``.
        labels: ``energy``, ``forces`` and ``stress``.
        options: units, and labels of user-defined properties, which are looked up in ``atoms`` by name.
        frame: zero-based number of the frame in a file with several, else ``None``.

    Raises:
        DataError: see `make_configuration`.
    """
    if not source.group:
        group = str(atoms.info.get("config_type", DEFAULT_GROUP))
        source = source._replace(group=group, id=f"{group}/{source.id}")
    along_a, along_b, along_c = map(bool, atoms.pbc)
    charges = atoms.get_initial_charges() if atoms.has("initial_charges") else None
    stress = labels.get("stress")
    raw = Raw(
        species=atoms.get_chemical_symbols(),
        positions=atoms.positions,
        lattice=atoms.cell.array,
        pbc=(along_a, along_b, along_c),
        energy=labels.get("energy"),
        forces=labels.get("forces"),
        stress=None if "Stress" in options.units else stress,
        pressure=stress if "Stress" in options.units else None,
        charges=charges,
        weights=_weights(atoms, options.columns),
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
    return [(quantity, value) for quantity, value in found if value is not None]


def _weights(atoms: Any, columns: Sequence[Column]) -> dict[str, Any]:
    keys = {"energy": "energy_weight", "forces": "force_weight", "stress": "stress_weight"}
    keys |= {column.property.name: f"{column.property.name}_weight" for column in columns}
    return {name: atoms.info[key] for name, key in keys.items() if key in atoms.info}
