"""IDs of atoms and units through a pointer to LAMMPS, for models in LAMMPS without our plugin."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.lammps_data import LammpsData
from fitsnap_nn.export.rank_graph import NEEDS_IDS

# Commands before ``pair_style`` that store the pointer to LAMMPS in Python.
POINTER_NAME = "fitsnap_nn_lammps"
POINTER_COMMANDS = (
    f"python {POINTER_NAME} input 1 SELF format p here 'def {POINTER_NAME}(lammps): {POINTER_NAME}.lammps = lammps'",
    f"python {POINTER_NAME} invoke",
)


def stored_pointer() -> Any:
    """Return the pointer that `POINTER_COMMANDS` have stored; ``None`` if they did not run."""
    return getattr(getattr(sys.modules["__main__"], POINTER_NAME, None), "lammps", None)


class PointedLammps:
    """LAMMPS behind a pointer.

    Args:
        pointer: result of `stored_pointer`.
    """

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer

    def _instance(self) -> Any:
        """Return LAMMPS as an object."""
        from lammps import lammps

        return lammps(ptr=self._pointer)

    def units(self) -> str | None:
        """Return the units of the input script; ``None`` if the pointer is unknown."""
        return None if self._pointer is None else self._instance().extract_global("units")

    def ids(self, data: LammpsData, rows: NDArray[np.int32]) -> Sequence[int]:
        """Return the IDs of atoms for messages; their rows in LAMMPS if IDs are unknown.

        Args:
            data: of the step.
            rows: of the atoms.
        """
        tags = getattr(data, "tags", None)
        if tags is None and self._pointer is not None:
            tags = self._instance().numpy.extract_atom("id", nelem=data.ntotal)
        return [int(atom) for atom in (rows if tags is None else tags[rows])]

    def all_ids(self, count: int) -> NDArray[np.int32]:
        """Return the IDs (count,) of all atoms and ghosts.

        Args:
            count: number of atoms and ghosts.

        Raises:
            LammpsError: there are several ranks, the pointer is unknown, or atoms have no IDs.
        """
        if self._pointer is None:
            raise LammpsError(
                "this LAMMPS does not pass atom IDs to the model. Include the .mod file that was exported with the "
                "model, which asks LAMMPS for them, or run with the plugin of fitsnap_nn."
            )
        instance = self._instance()
        if instance.extract_setting("world_size") > 1:
            raise LammpsError(
                "this LAMMPS cannot pass a model's messages between ranks. Run it on one rank, "
                "or with the plugin of fitsnap_nn."
            )
        tags: NDArray[np.int32] | None = instance.numpy.extract_atom("id", nelem=count)
        if tags is None or not tags.all():
            raise LammpsError(NEEDS_IDS)
        return tags
