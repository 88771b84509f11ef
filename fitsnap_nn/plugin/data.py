"""Data of one time step for a unified model: the interface of LAMMPS' ``MLIAPDataPy``, plus message passing."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
Exchange = Callable[[NDArray[Any]], None]


class PairStyle(Protocol):
    """Callbacks of the C++ pair style that runs the model; valid during one time step only.

    Arrays are C-contiguous; exchanges modify them in place.
    """

    def add_pair_energies(self, energies: Floats, /) -> float:
        """Distribute (P,) pair energies to the atoms and return the energy of the owned atoms."""

    def add_pair_forces(self, forces: Floats, /) -> None:
        """Add (P, 3) pair forces and their virial."""

    def add_virial(self, virial: Floats, /) -> None:
        """Add the (6,) virial of this step: xx, yy, zz, xy, xz, yz."""

    def add_atom_virials(self, virials: Floats, /) -> None:
        """Add the (nlocal, 6) virials of the owned atoms."""

    def forward_exchange(self, features: NDArray[Any], /) -> None:
        """Copy the (N, n) features of owned atoms to their ghosts."""

    def reverse_exchange(self, features: NDArray[Any], /) -> None:
        """Add the (N, n) features of ghosts to their owned atoms."""

    def edge_exchange(self, features: NDArray[Any], /) -> None:
        """Replace the (P, n) features of each pair by those of the reverse pair."""


class Sizes(Protocol):
    """Sizes that a model declares."""

    ndescriptors: int
    nparams: int
    elements: tuple[str, ...]


class ListStep(NamedTuple):
    """One time step for a model that declares ``follows_lists``: the neighbour lists of LAMMPS as they are.

    Rows are those of `Data`. The lists extend beyond the cutoff by LAMMPS' skin, and stay the same until LAMMPS builds
    them again, so that a model keeps them, and measures the pairs itself from the positions. They occur on a single
    rank only, where all ghost atoms are images of owned atoms. The next step overwrites the arrays.

    Attributes:
        simulation: the same object at all steps of a pair style. Several may share a model, each with lists of its own.
        pair_style: receives the virial.
        vflag: LAMMPS' flag for virials; 0 if not required.
        changed: whether anything but the positions differs from the previous step.
        cell: (3, 3) cell vectors as rows, Å.
        periodic: (3,) 1 for each periodic direction, 0 for others.
        elems: (N,) index into the model's ``element_types``.
        tags: (N,) atom IDs; 0 if atoms have none.
        owners: (N,) row of the owned atom that each row is an image of; float64.
        numneighs: (nlocal,) number of pairs of each owned atom.
        pair_j: (P,) row of the neighbour in each pair, sorted by the owned atom.
        positions: (N, 3) Å.
        eatoms: (nlocal,) output: energies.
        f: (nlocal, 3) output: forces.
    """

    simulation: object
    pair_style: PairStyle
    vflag: int
    changed: bool
    cell: tuple[tuple[float, float, float], ...]
    periodic: tuple[int, int, int]
    elems: Ints
    tags: Ints
    owners: Floats
    numneighs: Ints
    pair_j: Ints
    positions: Floats
    eatoms: Floats
    f: Floats


class Data:
    """Atoms and pairs of this rank at one time step, with the attribute names of LAMMPS' ``MLIAPDataPy``.

    Rows are atoms: first the ``nlocal`` atoms owned by this rank, then ghost atoms (periodic images and atoms of other
    ranks). Atoms of types that are NULL in ``pair_coeff`` are excluded. All arrays belong to NumPy, so that keeping a
    reference is safe, but the next step overwrites them. LAMMPS' arrays for fitting (``gamma``, ``gradforce``, ...)
    are not used: values that a model assigns to ``descriptors``, ``betas``, ``gradforce`` or ``graddesc`` are kept
    until the end of the step and otherwise ignored.

    Attributes:
        eflag, vflag: LAMMPS' flags for energies and virials; 0 if not required.
        nlocal, nlistatoms: number of owned atoms.
        ntotal: number of rows N.
        natomneigh: number of central atoms C: owned atoms, and ghost atoms if the model declares ``ghost_layers``.
        npairs, nneigh_max: number of pairs P.
        elems: (N,) index into the model's ``element_types``.
        tags: (N,) atom IDs; a ghost atom has the ID of its owned atom.
        iatoms, ielems, numneighs: (C,) row, element and number of pairs of each central atom.
        pair_i, pair_j: (P,) rows of the central atom and of its neighbour within the cutoff.
        jatoms, jelems, jtags: (P,) row, element and ID of the neighbour.
        rij: (P, 3) vectors from i to j, in LAMMPS' unit of length.
        eatoms: (nlocal,) energies of owned atoms, set by the model.
        f: (N, 3) forces on all rows, initially zero; added to LAMMPS' forces after the model returns.
        energy: energy of the owned atoms.
        ndescriptors, nparams, nelements: sizes declared by the model.
    """

    gamma_nnz = 0
    gamma = gamma_row_index = gamma_col_index = egradient = None
    descriptors: Any = None
    betas: Any = None
    gradforce: Any = None
    graddesc: Any = None

    def __init__(
        self,
        sizes: Sizes,
        pair_style: PairStyle,
        eflag: int,
        vflag: int,
        nlocal: int,
        elems: Ints,
        tags: Ints,
        iatoms: Ints,
        ielems: Ints,
        numneighs: Ints,
        pair_i: Ints,
        pair_j: Ints,
        jelems: Ints,
        rij: Floats,
        eatoms: Floats,
        f: Floats,
    ) -> None:
        self._sizes = sizes
        self._pair_style = pair_style
        self.eflag = eflag
        self.vflag = vflag
        self.nlocal = self.nlistatoms = nlocal
        self.ntotal = len(elems)
        self.natomneigh = len(iatoms)
        self.npairs = self.nneigh_max = len(pair_i)
        self.elems = elems
        self.tags = tags
        self.iatoms = iatoms
        self.ielems = ielems
        self.numneighs = numneighs
        self.pair_i = pair_i
        self.pair_j = self.jatoms = pair_j
        self.jelems = jelems
        self.rij = self.rij_max = rij
        self.f = f
        self._eatoms = eatoms
        self._energy = 0.0

    @property
    def energy(self) -> float:
        return self._energy

    @energy.setter
    def energy(self, value: Any) -> None:
        self._energy = float(value.detach()) if hasattr(value, "detach") else float(value)

    @property
    def eatoms(self) -> Floats:
        return self._eatoms

    @eatoms.setter
    def eatoms(self, values: ArrayLike) -> None:
        self._eatoms[:] = on_host(values)

    @property
    def jtags(self) -> Ints:
        return self.tags[self.pair_j]

    @property
    def ndescriptors(self) -> int:
        return self._sizes.ndescriptors

    @property
    def nparams(self) -> int:
        return self._sizes.nparams

    @property
    def nelements(self) -> int:
        return len(self._sizes.elements)

    @property
    def size_gradforce(self) -> int:
        return 3 * self.nparams * self.nelements

    def update_pair_energy(self, eij: Any) -> None:
        """Set ``eatoms`` and ``energy`` from pair energies; half of each is assigned to atom i.

        The reverse pair (j, i) contributes the other half to atom j.

        Args:
            eij: (P,) array or tensor.
        """
        self._energy = self._pair_style.add_pair_energies(_to_float64(eij))

    def update_pair_forces(self, fij: Any) -> None:
        """Add ``fij`` to the force on atom i and ``-fij`` to that on atom j, and their virial.

        Args:
            fij: (P, 3) array or tensor, derivative of the energy with respect to ``rij``.
        """
        self._pair_style.add_pair_forces(_to_float64(fij))

    update_pair_energy_cpu = update_pair_energy_gpu = update_pair_energy
    update_pair_forces_cpu = update_pair_forces_gpu = update_pair_forces

    def forward_exchange(self, copy_from: Any, copy_to: Any, vec_len: int) -> None:
        """Copy the features of owned atoms to their ghost atoms on all ranks.

        Collective: all ranks with atoms must call it. Ranks without atoms take part automatically.

        Args:
            copy_from, copy_to: arrays or tensors of N rows and ``vec_len`` columns, both float32 or both float64. They
                may be the same object.
            vec_len: number of features per atom.

        Raises:
            TypeError: the types differ, or are neither float32 nor float64.
            ValueError: the shapes are wrong.
        """
        self._exchange(self._pair_style.forward_exchange, self.ntotal, copy_from, copy_to, vec_len)

    def reverse_exchange(self, copy_from: Any, copy_to: Any, vec_len: int) -> None:
        """Add the rows of ghost atoms to those of their owned atoms, and set them to zero.

        The transpose of `forward_exchange`, for gradients. Arguments and exceptions are the same.
        """
        self._exchange(self._pair_style.reverse_exchange, self.ntotal, copy_from, copy_to, vec_len)

    def edge_exchange(self, copy_from: Any, copy_to: Any, vec_len: int) -> None:
        """Replace the features of each pair (i, j) by those of the pair (j, i), which may be on another rank.

        The operation is its own transpose, so that gradients use the same call. Arguments and exceptions are those of
        `forward_exchange`, with P instead of N rows. LAMMPS' own ML-IAP does not provide it.
        """
        self._exchange(self._pair_style.edge_exchange, self.npairs, copy_from, copy_to, vec_len)

    def _exchange(self, exchange: Exchange, rows: int, copy_from: Any, copy_to: Any, vec_len: int) -> None:
        types = [str(values.dtype).removeprefix("torch.") for values in (copy_from, copy_to)]
        if types[0] != types[1] or types[0] not in ("float32", "float64"):
            raise TypeError(f"features must be float32 or float64, not {types[0]} and {types[1]}")
        shapes = [tuple(values.shape) for values in (copy_from, copy_to)]
        if any(prod(shape) != rows * vec_len for shape in shapes):
            raise ValueError(
                f"features have shapes {shapes[0]} and {shapes[1]}, but {rows} rows of {vec_len} are required"
            )
        values = _staged(copy_from).reshape(rows, vec_len)
        exchange(values)
        if isinstance(copy_to, np.ndarray):
            copy_to[...] = values.reshape(copy_to.shape)
        else:
            import torch

            copy_to.detach().copy_(torch.from_numpy(values).view(copy_to.shape))


def _staged(values: Any) -> NDArray[Any]:
    """Return a contiguous copy of an array or tensor; that of a tensor on a GPU is in pinned memory."""
    if not getattr(values, "is_cuda", False):
        return np.array(on_host(values), order="C")
    import torch

    # A copy from and to pinned memory is several times faster. torch keeps this memory for later tensors of this size.
    staged = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return staged.copy_(values.detach()).numpy()


def on_host(values: Any) -> NDArray[Any]:
    """Return an array or tensor as a NumPy array that shares its memory, or a copy if it is on a GPU."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _to_float64(values: Any) -> Floats:
    return np.ascontiguousarray(on_host(values), dtype=np.float64)
