"""Bispectrum components and derivatives by LAMMPS' ``compute snap``, where the kernel has not been built."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.voigt import COLUMNS, ROWS, from_voigt
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.inputs.snap.bispectrum import largest_cutoff, n_components, snap_arguments
from fitsnap_nn.inputs.snap.components import Components, Pairs
from fitsnap_nn.lammps.cell import LammpsCell, to_lammps
from fitsnap_nn.lammps.session import ARRAY, Session
from fitsnap_nn.plugin import REMEDY
from fitsnap_nn.settings.schema import Bispectrum

STRAIN_STEP = 4e-6
TAGS = 3  # leading columns of compute snap's array: forces, or indices of the row
LARGEST_ARRAY = 2**31 - 1


class LammpsSource:
    """Components by LAMMPS; derivatives by the strain of small cells by differences of components."""

    def __init__(self, bispectrum: Bispectrum, *, gradients: bool, strain: bool) -> None:
        self._width = n_components(bispectrum)
        self._cutoff = largest_cutoff(bispectrum)
        self._gradients = gradients
        self._strain = strain
        arguments = snap_arguments(bispectrum)
        self._compute_snap = f"snap all snap {arguments} bikflag 1 dgradflag 1"
        setup = (f"pair_style zero {self._cutoff:.17g} nocoeff", "pair_coeff * *")
        self._session = Session(bispectrum.type, (*setup, f"compute sna all sna/atom {arguments}"))

    def compute(self, batch: Sequence[tuple[Configuration, LammpsCell]]) -> Iterator[Components]:
        """Those of each configuration in turn.

        Raises:
            DataError: an element without descriptors; names the configuration.
            LammpsError: LAMMPS refused, or needs more memory than there is.
        """
        for configuration, cell in batch:
            found = self._descriptors(configuration, cell)
            yield found._replace(strain_gradients=self._strain_gradients(configuration, found))

    def close(self) -> None:
        """End LAMMPS."""
        self._session.close()

    def _descriptors(self, configuration: Configuration, cell: LammpsCell) -> Components:
        """All but derivatives by the strain, in the configuration's own frame."""
        no_strain = np.zeros((0, 6, self._width))
        if not self._gradients:
            none = np.zeros(0, dtype=np.int32)
            return Components(self._values(configuration, cell), none, none, np.zeros((0, 3, self._width)), no_strain)
        self._check_size(configuration)
        session = self._session
        session.load(configuration, cell)
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

    def _strain_gradients(self, configuration: Configuration, found: Components) -> Floats:
        """(N, 6, n) dB_i/d(strain); (0, 6, n) when not asked for, zero for cells that are not fully periodic."""
        if not self._strain:
            return np.zeros((0, 6, self._width))
        derivatives = np.zeros((len(configuration), 6, self._width))
        if not all(configuration.pbc):
            return derivatives
        if self._gradients and _narrowest(configuration) > 2.0 * self._cutoff:
            return _contracted(configuration, found)
        for direction in range(6):
            strain = STRAIN_STEP * _unit_strain(direction)
            derivatives[:, direction] = self._strained(configuration, strain) - self._strained(configuration, -strain)
        return derivatives / (2.0 * STRAIN_STEP)

    def _strained(self, configuration: Configuration, strain: Floats) -> Floats:
        """(N, n) components with atoms and cell deformed together."""
        deformation = np.eye(3) + strain
        deformed = replace(
            configuration, positions=configuration.positions @ deformation, cell=configuration.cell @ deformation
        )
        return self._values(deformed, to_lammps(deformed))

    def _check_size(self, configuration: Configuration) -> None:
        """compute snap fills two dense arrays of 3 N² rows, and counts their elements in an int."""
        count = len(configuration)
        elements = 3 * count**2 * (self._width + TAGS)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if elements > LARGEST_ARRAY or 2 * 8 * elements > memory:
            raise LammpsError(
                f"{configuration.id}: {count} atoms need {2 * 8 * elements / 1e9:.0f} GB in LAMMPS' compute snap, "
                f"whose arrays have 3 N² rows. The kernel needs far less. {REMEDY}"
            )


def _unpack(array: Floats, count: int) -> tuple[Floats, Pairs, Pairs, Floats]:
    """Descriptors, pairs and gradients from the dense array of ``compute snap``, in LAMMPS' frame.

    Its rows are N times B_i, then -dB_i/dR_j for j, i, xyz (the last runs fastest), then one of the reference.
    """
    components = array[:count, TAGS:].copy()
    dense = array[count : count + 3 * count**2, TAGS:].reshape(count, count, 3, -1)
    pair_i, pair_j = np.nonzero(dense.any(axis=(2, 3)).T)
    gradients = dense[pair_j, pair_i]
    np.negative(gradients, out=gradients)
    return components, pair_i.astype(np.int32), pair_j.astype(np.int32), gradients


def _unit_strain(direction: int) -> Floats:
    """The symmetric strain of one Voigt component; shears have e_yz = e_zy = 1/2."""
    components = np.zeros(6)
    components[direction] = 1.0 if direction < 3 else 0.5
    return from_voigt(components)


def _narrowest(configuration: Configuration) -> float:
    """Least distance of two opposite faces of the cell, Å."""
    return float(1.0 / np.linalg.norm(np.linalg.inv(configuration.cell), axis=0).max())


def _contracted(configuration: Configuration, found: Components) -> Floats:
    """(N, 6, n) strain derivatives where at most one image of each j is a neighbour of i: the exact
    sum over j of dB_i/dR_j (R_j - R_i), symmetrised."""
    pair_i, pair_j, gradients = found.pair_i, found.pair_j, found.gradients
    distances = configuration.positions[pair_j] - configuration.positions[pair_i]
    distances -= np.round(distances @ np.linalg.inv(configuration.cell)) @ configuration.cell
    derivatives = np.zeros((len(configuration), 6, gradients.shape[2]))
    starts = np.flatnonzero(np.diff(pair_i, prepend=-1))
    for direction, (row, column) in enumerate(zip(ROWS, COLUMNS, strict=True)):
        terms = gradients[:, row] * distances[:, column, None] + gradients[:, column] * distances[:, row, None]
        derivatives[pair_i[starts], direction] = 0.5 * np.add.reduceat(terms, starts, axis=0)
    return derivatives
