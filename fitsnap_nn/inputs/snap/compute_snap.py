"""Bispectrum components and derivatives by LAMMPS' ``compute snap``, used if the kernel has not been built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.data.voigt import COLUMNS, ROWS, from_voigt
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.inputs.snap.bispectrum import largest_cutoff, n_components, snap_arguments
from fitsnap_nn.inputs.snap.components import AtomIndices, Components
from fitsnap_nn.lammps.cell import LammpsCell, to_lammps
from fitsnap_nn.lammps.session import ARRAY, Session
from fitsnap_nn.memory import total_memory
from fitsnap_nn.plugin import REMEDY
from fitsnap_nn.settings.schema import Bispectrum

# Strain of the central differences. Truncation error (step²) and rounding error (1e-16 / step) are then both about
# 1e-11, below the tolerance of 1e-6 that the verification allows for them (SnapInput.strain_error).
STRAIN_STEP = 4e-6
INDEX_COLUMNS = 3  # leading columns of the array of compute snap, which hold forces or the indices of the row
MAX_ARRAY_SIZE = 2**31 - 1  # largest C++ int; compute snap counts the elements of its array in one


class LammpsComponents:
    """Components computed by LAMMPS; strain derivatives of small cells are central differences of components.

    Args:
        bispectrum: section [BISPECTRUM].
        gradients: compute dB_i/dR_j.
        strain: compute dB_i/d(strain).
    """

    def __init__(self, bispectrum: Bispectrum, *, gradients: bool, strain: bool) -> None:
        self._n_components = n_components(bispectrum)
        self._cutoff = largest_cutoff(bispectrum)
        self._gradients = gradients
        self._strain = strain
        arguments = snap_arguments(bispectrum)
        self._compute_snap = f"snap all snap {arguments} bikflag 1 dgradflag 1"
        # pair_style zero computes no energy, but it sets the cutoff of the neighbour list that compute snap uses.
        setup = (f"pair_style zero {self._cutoff:.17g} nocoeff", "pair_coeff * *")
        self._session = Session(bispectrum.type, (*setup, f"compute sna all sna/atom {arguments}"))

    def compute(self, batch: Sequence[tuple[Configuration, LammpsCell]]) -> Iterator[Components]:
        """Yield the components of each configuration, in order.

        Args:
            batch: configurations with their LAMMPS cells.

        Raises:
            DataError: an element has no descriptors; the message names the configuration.
            LammpsError: LAMMPS reported an error, or needs more memory than available.
        """
        for configuration, cell in batch:
            find_neighbours(configuration, self._cutoff)  # refuses atoms at the same place, which LAMMPS skips
            components = self._without_strain(configuration, cell)
            yield components._replace(strain_gradients=self._strain_gradients(configuration, components))

    def close(self) -> None:
        """Close LAMMPS; the next configuration opens a new instance."""
        self._session.close()

    def _without_strain(self, configuration: Configuration, cell: LammpsCell) -> Components:
        """Return components and gradients in the frame of the configuration, without strain derivatives."""
        no_strain = np.zeros((0, 6, self._n_components))
        if not self._gradients:
            no_pairs = np.zeros(0, dtype=np.int32)
            no_gradients = np.zeros((0, 3, self._n_components))
            return Components(self._values(configuration, cell), no_pairs, no_pairs, no_gradients, no_strain)
        self._check_size(configuration)
        session = self._session
        session.load(configuration, cell)
        # compute snap allocates its array for the number of atoms at its creation, so each configuration needs a new
        # one. It creates the compute snap_press for the virial, which must be deleted as well.
        with session.temporary_compute(self._compute_snap, "snap_press"):
            session.run()
            values, pair_i, pair_j, gradients = _unpack(session.global_compute("snap", ARRAY), len(configuration))
        if not np.array_equal(cell.rotation, np.eye(3)):
            gradients = cell.rotation.T @ gradients
        return Components(values, pair_i, pair_j, gradients, no_strain)

    def _values(self, configuration: Configuration, cell: LammpsCell) -> Floats:
        self._session.load(configuration, cell)
        self._session.run()
        return self._session.atom_compute("sna")

    def _strain_gradients(self, configuration: Configuration, components: Components) -> Floats:
        """Return (N, 6, n) dB_i/d(strain), zero unless fully periodic; (0, 6, n) if not requested.

        compute snap sums gradients over the periodic images of atom j. In a cell wider than twice the cutoff at most
        one image of j is a neighbour of i, and the virial sum over R_j - R_i is exact. In smaller cells the images
        cannot be separated any more, so the components of strained cells are differenced instead.
        """
        if not self._strain:
            return np.zeros((0, 6, self._n_components))
        derivatives = np.zeros((len(configuration), 6, self._n_components))
        if not all(configuration.pbc):
            return derivatives
        if self._gradients and _smallest_width(configuration) > 2.0 * self._cutoff:
            return _virial_sum(configuration, components)
        for direction in range(6):
            strain = STRAIN_STEP * _unit_strain(direction)
            derivatives[:, direction] = self._strained(configuration, strain) - self._strained(configuration, -strain)
        return derivatives / (2.0 * STRAIN_STEP)

    def _strained(self, configuration: Configuration, strain: Floats) -> Floats:
        """Return (N, n) components after a homogeneous deformation of cell and atoms by a (3, 3) strain."""
        deformation = np.eye(3) + strain
        deformed = replace(
            configuration, positions=configuration.positions @ deformation, cell=configuration.cell @ deformation
        )
        return self._values(deformed, to_lammps(deformed))

    def _check_size(self, configuration: Configuration) -> None:
        """Check that the two dense arrays of 3 N² rows that ``compute snap`` allocates fit memory and a C++ int.

        Raises:
            LammpsError: they do not.
        """
        count = len(configuration)
        elements = 3 * count**2 * (self._n_components + INDEX_COLUMNS)
        if elements > MAX_ARRAY_SIZE or 2 * 8 * elements > total_memory():
            raise LammpsError(
                f"{configuration.id}: {count} atoms need {2 * 8 * elements / 1e9:.0f} GB in LAMMPS' compute snap, "
                f"because its arrays have 3 N² rows. The SNAP kernel needs far less. {REMEDY}"
            )


def _unpack(array: Floats, count: int) -> tuple[Floats, AtomIndices, AtomIndices, Floats]:
    """Extract components, pairs and gradients from the dense array of ``compute snap``, in the LAMMPS frame.

    With ``bikflag 1 dgradflag 1`` the rows are B_i for N atoms, then -dB_i/dR_j in C order of (j, i, xyz), then one row
    for the reference potential (LAMMPS manual, ``compute snap``). Almost all of the N² pairs are zero.

    Args:
        array: (N + 3 N² + 1, 3 + n) array of the compute.
        count: number of atoms N.

    Returns:
        (N, n) components, (P,) atoms i and (P,) atoms j of the non-zero pairs, and (P, 3, n) dB_i/dR_j.
    """
    components = array[:count, INDEX_COLUMNS:].copy()
    dense = array[count : count + 3 * count**2, INDEX_COLUMNS:].reshape(count, count, 3, -1)
    pair_i, pair_j = np.nonzero(dense.any(axis=(2, 3)).T)
    gradients = dense[pair_j, pair_i]
    np.negative(gradients, out=gradients)
    return components, pair_i.astype(np.int32), pair_j.astype(np.int32), gradients


def _unit_strain(direction: int) -> Floats:
    """Return the (3, 3) symmetric unit strain of one Voigt component; shear strains have e_yz = e_zy = 1/2."""
    components = np.zeros(6)
    components[direction] = 1.0 if direction < 3 else 0.5
    return from_voigt(components)


def _smallest_width(configuration: Configuration) -> float:
    """Return the smallest distance between opposite faces of the cell, Å."""
    # The columns of the inverse are the reciprocal vectors; the distance of two faces is 1 over the length of one.
    return float(1.0 / np.linalg.norm(np.linalg.inv(configuration.cell), axis=0).max())


def _virial_sum(configuration: Configuration, components: Components) -> Floats:
    """Return (N, 6, n) strain derivatives: the symmetrised sum over j of dB_i/dR_j (R_j - R_i).

    Exact if at most one periodic image of each atom j is a neighbour of atom i.
    """
    pair_i, pair_j, gradients = components.pair_i, components.pair_j, components.gradients
    vectors = configuration.positions[pair_j] - configuration.positions[pair_i]
    vectors -= np.round(vectors @ np.linalg.inv(configuration.cell)) @ configuration.cell  # minimum image
    derivatives = np.zeros((len(configuration), 6, gradients.shape[2]))
    starts = np.flatnonzero(np.diff(pair_i, prepend=-1))  # pairs are sorted by i; first pair of each atom
    for direction, (row, column) in enumerate(zip(ROWS, COLUMNS, strict=True)):
        terms = gradients[:, row] * vectors[:, column, None] + gradients[:, column] * vectors[:, row, None]
        derivatives[pair_i[starts], direction] = 0.5 * np.add.reduceat(terms, starts, axis=0)
    return derivatives
