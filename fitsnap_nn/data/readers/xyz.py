"""Reader of extended XYZ files, with the label names that other programs use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.readers.ase_files import labelled_configuration, read_frames
from fitsnap_nn.data.readers.raw import DataFile, ReadOptions
from fitsnap_nn.errors import DataError

PREFIXES = ("ref_", "dft_", "")  # in order of precedence
NAMES = {"energy": ("energy",), "forces": ("forces", "force"), "stress": ("stress",), "virial": ("virial", "virials")}


def read_xyz(source: DataFile, options: ReadOptions, findings: list[Finding]) -> Iterator[Configuration]:
    """Yield all frames of an extended XYZ file.

    Labels are ``energy`` (eV), ``forces`` (eV/Å), and ``stress`` (eV/Å³, ASE's sign) or ``virial`` (eV, minus volume
    times stress). Names are case-insensitive. Those with prefix ``REF_`` or ``DFT_`` take precedence.

    Args:
        source: the file.
        options: units, and labels of user-defined properties.
        findings: receives remarks on the file.

    Raises:
        DataError: the file is not extended XYZ, or the data are inconsistent.
    """
    frames = read_frames(source.path, "extxyz")
    for k, atoms in enumerate(frames):
        labels = _labels(atoms)
        frame_options = options
        if labels["stress"] is None and labels["virial"] is not None:
            labels["stress"] = _stress(f"{source.path}, configuration {k}", labels["virial"], atoms.cell.volume)
            units = {field: unit for field, unit in options.units.items() if field != "Stress"}
            frame_options = replace(options, units=units)
        yield labelled_configuration(source, atoms, labels, frame_options, k if len(frames) > 1 else None)


def _stress(where: str, virial: Any, volume: float) -> Floats:
    if not volume > 0.0 or np.asarray(virial).dtype.kind not in "if":
        raise DataError(f"{where}: a virial must consist of numbers and requires a Lattice. Correct or remove it.")
    return -np.asarray(virial, dtype=np.float64) / volume


def _labels(atoms: Any) -> dict[str, Any]:
    found = {**atoms.info, **atoms.arrays, **(atoms.calc.results if atoms.calc else {})}
    found = {name.lower(): value for name, value in found.items()}

    def first(names: tuple[str, ...]) -> Any:
        candidates = (f"{prefix}{name}" for prefix in PREFIXES for name in names)
        return next((found[name] for name in candidates if name in found), None)

    return {label: first(names) for label, names in NAMES.items()}
