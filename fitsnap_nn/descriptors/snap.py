"""SNAP descriptors of a configuration, their derivatives, and the reference potential: one `Record`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.lammps_cell import LammpsCell, to_lammps
from fitsnap_nn.data.voigt import COLUMNS, ROWS, from_voigt
from fitsnap_nn.descriptors.bispectrum import (
    largest_cutoff,
    n_components,
    n_descriptors,
    snap_arguments,
    with_product_derivatives,
    with_products,
)
from fitsnap_nn.descriptors.lammps import ARRAY, Session
from fitsnap_nn.descriptors.record import Record
from fitsnap_nn.descriptors.reference import ReferencePotential
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.settings.schema import Bispectrum, Reference

Pairs = NDArray[np.int32]
STRAIN_STEP = 4e-6
TAGS = 3  # leading columns of compute snap's array: forces, or indices of the row
LARGEST_ARRAY = 2**31 - 1


class SnapCalculator:
    """Turns configurations into records; keeps its LAMMPS instances from one to the next.

    Args:
        gradients: compute dB_i/dR_j, for forces.
        strain: compute dB_i/d(strain), for stresses.
        folder: where relative names of potential files start, the input file's.
    """

    def __init__(
        self,
        bispectrum: Bispectrum,
        reference: Reference,
        *,
        gradients: bool,
        strain: bool,
        folder: str | Path = ".",
    ) -> None:
        self.n_descriptors = n_descriptors(bispectrum)
        self._width = n_components(bispectrum)
        self._cutoff = largest_cutoff(bispectrum)
        self._products = bispectrum.quadraticflag
        self._gradients = gradients
        self._strain = strain
        arguments = snap_arguments(bispectrum)
        self._compute_snap = f"snap all snap {arguments} bikflag 1 dgradflag 1"
        setup = (f"pair_style zero {self._cutoff:.17g} nocoeff", "pair_coeff * *")
        self._session = Session(bispectrum.type, (*setup, f"compute sna all sna/atom {arguments}"))
        self._reference = ReferencePotential(reference, bispectrum.type, Path(folder))

    def __enter__(self) -> SnapCalculator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the LAMMPS instances; the next configuration would start new ones."""
        self._session.close()
        self._reference.close()

    def compute(self, configuration: Configuration) -> Record:
        """Descriptors, derivatives and reference of one configuration.

        Raises:
            DataError: the configuration does not suit LAMMPS or the settings.
            LammpsError: LAMMPS refused, or its numbers are not finite; names the configuration.
        """
        cell = to_lammps(configuration)
        energy, forces, stress = self._reference.compute(configuration, cell)
        components, pair_i, pair_j, gradients = self._descriptors(configuration, cell)
        strain_gradients = self._strain_gradients(configuration, pair_i, pair_j, gradients)
        if not (np.isfinite(components).all() and np.isfinite(forces).all() and np.isfinite(energy)):
            raise LammpsError(
                f"{configuration.id}: LAMMPS finds descriptors or reference energies that are not finite. "
                "Are two atoms at the same place, or far closer than the reference potential allows?"
            )
        if self._products:
            gradients = with_product_derivatives(components[pair_i], gradients)
            strain_gradients = with_product_derivatives(components[: len(strain_gradients)], strain_gradients)
            components = with_products(components)
        return Record(components, pair_i, pair_j, gradients, strain_gradients, energy, forces, stress)

    def _descriptors(self, configuration: Configuration, cell: LammpsCell) -> tuple[Floats, Pairs, Pairs, Floats]:
        """(N, n) components B_i, the pairs, and (P, 3, n) dB_i/dR_j in the configuration's own frame."""
        if not self._gradients:
            components = self._components(configuration, cell)
            none = np.zeros(0, dtype=np.int32)
            return components, none, none, np.zeros((0, 3, self._width))
        self._check_size(configuration)
        session = self._session
        session.load(configuration, cell)
        with session.temporary_compute(self._compute_snap, "snap_press"):
            session.run()
            components, pair_i, pair_j, gradients = _unpack(session.global_compute("snap", ARRAY), len(configuration))
        if not np.array_equal(cell.rotation, np.eye(3)):
            gradients = cell.rotation.T @ gradients
        return components, pair_i, pair_j, gradients

    def _components(self, configuration: Configuration, cell: LammpsCell) -> Floats:
        self._session.load(configuration, cell)
        self._session.run()
        return self._session.atom_compute("sna")

    def _strain_gradients(
        self, configuration: Configuration, pair_i: Pairs, pair_j: Pairs, gradients: Floats
    ) -> Floats:
        """(N, 6, n) dB_i/d(strain); (0, 6, n) when not asked for, zero for cells that are not fully periodic."""
        if not self._strain:
            return np.zeros((0, 6, self._width))
        derivatives = np.zeros((len(configuration), 6, self._width))
        if not all(configuration.pbc):
            return derivatives
        if self._gradients and _narrowest(configuration) > 2.0 * self._cutoff:
            return _contracted(configuration, pair_i, pair_j, gradients)
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
        return self._components(deformed, to_lammps(deformed))

    def _check_size(self, configuration: Configuration) -> None:
        """compute snap fills two dense arrays of 3 N² rows, and counts their elements in an int."""
        count = len(configuration)
        elements = 3 * count**2 * (self._width + TAGS)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if elements > LARGEST_ARRAY or 2 * 8 * elements > memory:
            raise LammpsError(
                f"{configuration.id}: {count} atoms need {2 * 8 * elements / 1e9:.0f} GB in LAMMPS' compute snap, "
                "whose arrays have 3 N² rows. Use a smaller cell, a smaller twojmax, or fit energies only "
                "([CALCULATOR] force = 0)."
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


def _contracted(configuration: Configuration, pair_i: Pairs, pair_j: Pairs, gradients: Floats) -> Floats:
    """(N, 6, n) strain derivatives where at most one image of each j is a neighbour of i: the exact
    sum over j of dB_i/dR_j (R_j - R_i), symmetrised."""
    distances = configuration.positions[pair_j] - configuration.positions[pair_i]
    distances -= np.round(distances @ np.linalg.inv(configuration.cell)) @ configuration.cell
    derivatives = np.zeros((len(configuration), 6, gradients.shape[2]))
    starts = np.flatnonzero(np.diff(pair_i, prepend=-1))
    for direction, (row, column) in enumerate(zip(ROWS, COLUMNS, strict=True)):
        terms = gradients[:, row] * distances[:, column, None] + gradients[:, column] * distances[:, row, None]
        derivatives[pair_i[starts], direction] = 0.5 * np.add.reduceat(terms, starts, axis=0)
    return derivatives
