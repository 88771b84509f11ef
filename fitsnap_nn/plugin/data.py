"""What a unified model is given at every step: LAMMPS' ``MLIAPDataPy``, and message passing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
Perform = Callable[[NDArray[Any]], None]


class Link(Protocol):
    """The way to the pair style that called the model; ends with the step."""

    def add_pair_energies(self, energies: Floats, /) -> float: ...
    def add_pair_forces(self, forces: Floats, /) -> None: ...
    def forward_exchange(self, features: NDArray[Any], /) -> None: ...
    def reverse_exchange(self, features: NDArray[Any], /) -> None: ...
    def edge_exchange(self, features: NDArray[Any], /) -> None: ...


class Sizes(Protocol):
    """What a model declares; LAMMPS hands it back."""

    ndescriptors: int
    nparams: int
    elements: tuple[str, ...]


class Data:
    """Atoms and pairs of this rank at one step, under the names that LAMMPS gives them.

    Rows are atoms: first the ``nlocal`` that this rank owns, then ghosts, which are periodic images and atoms of other
    ranks. Atoms of types that are NULL in pair_coeff are not among them. All arrays belong to numpy and may be kept;
    the next step overwrites them. LAMMPS' arrays for fitting (``gamma``, ``gradforce``, ...) have no use here: what a
    model writes to ``descriptors``, ``betas``, ``gradforce`` or ``graddesc`` is kept for the step, and nothing more.

    Attributes:
        eflag, vflag: whether energies and virials are wanted, as LAMMPS codes it.
        nlocal, nlistatoms: number of own atoms.
        ntotal: number of rows N.
        natomneigh: number of centres C, the atoms whose neighbours are listed: own atoms, and ghosts if asked for.
        npairs, nneigh_max: number of pairs P.
        elems: (N,) index into the model's ``element_types``.
        tags: (N,) atom ids; ghosts have those of their owners.
        iatoms, ielems, numneighs: (C,) row, element and number of pairs of each centre.
        pair_i, pair_j: (P,) rows of a pair, which is a centre and a neighbour within the cutoff.
        jatoms, jelems, jtags: (P,) row, element and id of the neighbour.
        rij: (P, 3) from i to j, in LAMMPS' unit of length.
        eatoms: (nlocal,) energies of own atoms, to be filled in.
        f: (N, 3) forces of this model on all rows, zero at first; added to LAMMPS' forces when the model returns.
        energy: energy of own atoms.
        ndescriptors, nparams, nelements: sizes that the model itself declared.
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
        link: Link,
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
        self._link = link
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
        """Set ``eatoms`` and ``energy`` from energies of pairs, half of each going to its atom i.

        Args:
            eij: (P,) array or tensor.
        """
        self._energy = self._link.add_pair_energies(_doubles(eij))

    def update_pair_forces(self, fij: Any) -> None:
        """Add forces along pairs, and their virial: ``fij`` to atom i, ``-fij`` to atom j.

        Args:
            fij: (P, 3) array or tensor, the derivative of the energy by ``rij``.
        """
        self._link.add_pair_forces(_doubles(fij))

    update_pair_energy_cpu = update_pair_energy_gpu = update_pair_energy
    update_pair_forces_cpu = update_pair_forces_gpu = update_pair_forces

    def forward_exchange(self, copy_from: Any, copy_to: Any, vec_len: int) -> None:
        """Message passing: every row of ``copy_to`` gets what the owner of its atom has in ``copy_from``.

        All ranks that have atoms must call it together; the others join in by themselves.

        Args:
            copy_from, copy_to: arrays or tensors of N rows and ``vec_len`` columns, float32 or float64; may be one.

        Raises:
            TypeError: types that differ, or are no such numbers.
            ValueError: other numbers of rows.
        """
        self._exchange(self._link.forward_exchange, self.ntotal, copy_from, copy_to, vec_len)

    def reverse_exchange(self, copy_from: Any, copy_to: Any, vec_len: int) -> None:
        """The transpose of ``forward_exchange``, for gradients: ghosts' rows are added to their owners', then zero."""
        self._exchange(self._link.reverse_exchange, self.ntotal, copy_from, copy_to, vec_len)

    def edge_exchange(self, copy_from: Any, copy_to: Any, vec_len: int) -> None:
        """Message passing along pairs: the row of pair i, j gets what the pair j, i has, on whatever rank that is.

        It is its own transpose, so that the gradient takes the same call. To be called as ``forward_exchange`` is, with
        P rows; not in LAMMPS' own ML-IAP.
        """
        self._exchange(self._link.edge_exchange, self.npairs, copy_from, copy_to, vec_len)

    def _exchange(self, perform: Perform, rows: int, copy_from: Any, copy_to: Any, vec_len: int) -> None:
        source, target = on_host(copy_from), on_host(copy_to)
        if source.dtype != target.dtype or source.dtype not in (np.float32, np.float64):
            raise TypeError(f"features must be float32 or float64, not {source.dtype} and {target.dtype}")
        if not source.size == target.size == rows * vec_len:
            raise ValueError(f"features of shapes {source.shape} and {target.shape} are not {rows} rows of {vec_len}")
        values = np.array(source, order="C").reshape(rows, vec_len)
        perform(values)
        if isinstance(copy_to, np.ndarray):
            copy_to[...] = values.reshape(copy_to.shape)
        else:
            import torch

            copy_to.detach().copy_(torch.from_numpy(values).view(copy_to.shape))


def on_host(values: Any) -> NDArray[Any]:
    """An array or a tensor as an array: the same memory, unless that is on a GPU."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _doubles(values: Any) -> Floats:
    return np.ascontiguousarray(on_host(values), dtype=np.float64)
