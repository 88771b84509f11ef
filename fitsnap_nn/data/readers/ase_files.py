"""Any format that ASE reads, through the results its calculators carry; nothing is ever computed by ASE here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import Property
from fitsnap_nn.data.readers.raw import Column, DataFile, Raw, Units, make_configuration
from fitsnap_nn.errors import DataError

ASE_UNITS: Units = {
    "Energy": "eV",
    "Forces": "eV/angstrom",
    "Stress": "eV/angstrom^3",
    "Positions": "angstrom",
    "Lattice": "angstrom",
}
WITHOUT_GROUP = "Default"  # group of a frame that has no config_type


def read_ase(source: DataFile, units: Units, columns: Sequence[Column] = ()) -> Iterator[Configuration]:
    """All frames of a file in whatever format ASE recognises, with the free energy where there is one.

    Raises:
        DataError: ASE cannot read the file, or its numbers do not fit together.
    """
    frames = read_frames(source.path, None)
    for k, atoms in enumerate(frames):
        results = atoms.calc.results if atoms.calc else {}
        frame = k if len(frames) > 1 else None
        yield labelled_configuration(source, atoms, free_energy(results), units, frame, columns)


def read_frames(path: str, file_format: str | None) -> list[Any]:
    """All frames of a file as ``ase.Atoms``; ``file_format`` is ASE's name of the format, ``None`` to guess it."""
    from ase.io import iread  # slow to import, and most data sets are JSON

    try:
        # Not parallel: ranks read different files, and ASE would hand what the first has read to all of them.
        frames = list(iread(path, index=":", format=file_format, parallel=False, do_not_split_by_at_sign=True))
    except Exception as error:  # ASE's readers raise whatever their parsing meets
        kind = f" as {file_format}" if file_format else ""
        raise DataError(f"{path}: ASE cannot read it{kind}: {type(error).__name__}: {error}") from error
    if not frames:
        raise DataError(f"{path}: there is no configuration in it.")
    return frames


def free_energy(results: Mapping[str, Any]) -> dict[str, Any]:
    """Energy, forces and stress of a calculator; of its energies the one that the forces are the gradient of."""
    return {
        "energy": results.get("free_energy", results.get("energy")),
        "forces": results.get("forces"),
        "stress": results.get("stress"),
    }


def labelled_configuration(
    source: DataFile,
    atoms: Any,
    labels: Mapping[str, Any],
    units: Units,
    frame: int | None,
    columns: Sequence[Column] = (),
) -> Configuration:
    """Return a configuration from ``ase.Atoms`` and its labels ``energy``, ``forces`` and ``stress``.

    ``energy_weight``, ``force_weight`` and ``stress_weight`` in ``atoms.info`` multiply the group's weights. Where the
    source has no group, ``atoms.info["config_type"]`` names it. When ``units`` gives a unit for Stress, it is a
    pressure in LAMMPS' sign, as in FitSNAP's files; otherwise it is a stress in ASE's sign.

    Args:
        columns: labels of the user's properties, found in ``atoms`` by their names.
    """
    if not source.group:
        group = str(atoms.info.get("config_type", WITHOUT_GROUP))
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
        stress=None if "Stress" in units else stress,
        pressure=stress if "Stress" in units else None,
        charges=charges,
        weights=_weights(atoms, columns),
        others=_labels(atoms, columns),
    )
    return make_configuration(source, raw, {**ASE_UNITS, **units}, frame)


def stored(atoms: Any, name: str) -> Any:
    """Return a per-atom array, an entry of ``info`` or a calculator's result by its name, or ``None``."""
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
