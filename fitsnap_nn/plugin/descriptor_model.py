"""The Python side of ``pair_style mliap model mliappy``: what LAMMPS calls to load a model and to run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.plugin import stubs
from fitsnap_nn.plugin.runtime import limit_threads, read_model

LATER = "LATER"  # the name of no file; the pair style knows it, too
COUPLING = "mliap_model_python_couple"


class DescriptorModel:
    """A model of atoms' energies, and what it declares.

    A model is a callable that is given the atoms' elements (N,), descriptors (N, D), and arrays to fill in: the
    derivatives (N, D) of the energies by the descriptors, and the energies (N,). It must declare ``n_descriptors`` and
    ``n_elements``, and may declare ``units``, the LAMMPS units that it is for, and ``num_threads``, the threads that
    torch is to take on each rank. Its attribute ``errors_are_collective``, if it has one, is set to True: it may raise.

    Args:
        name: what messages call it.
        ranks: of this LAMMPS.
        n_descriptors, n_elements: what LAMMPS computes.

    Attributes:
        units: declared by the model; empty if it does not say.
    """

    def __init__(self, name: str, ranks: int, n_descriptors: int, n_elements: int) -> None:
        self.units = ""
        self._model: Any = None
        self._name = name
        self._ranks = ranks
        self._counts = {"n_descriptors": n_descriptors, "n_elements": n_elements}

    def use(self, model: Any) -> None:
        """Take a model.

        Raises:
            CheckpointError: it is for other descriptors or elements, or does not say for which.
        """
        for attribute, count in self._counts.items():
            declared = getattr(model, attribute, None)
            if declared is None:
                raise CheckpointError(f"{self._name} holds a {type(model).__name__} without {attribute}.")
            if int(declared) != count:
                kind = attribute.removeprefix("n_")
                raise CheckpointError(
                    f"The model in {self._name} is for {int(declared)} {kind}, "
                    f"the file after `descriptor sna` for {count}."
                )
        if hasattr(model, "errors_are_collective"):
            model.errors_are_collective = True
        limit_threads(self._ranks, getattr(model, "num_threads", None))
        self.units = str(getattr(model, "units", None) or "")
        self._model = model

    def connect(self) -> None:
        """Take the model that a script has handed over since, if it has.

        Raises:
            CheckpointError: it never has; or see ``use``.
        """
        model = stubs.take(COUPLING)
        if model is not None:
            self.use(model)
        elif self._model is None:
            raise CheckpointError(f"No model was handed over by lammps.mliap.load_model(model) for the name {LATER}.")

    def compute(
        self,
        elements: NDArray[np.int32],
        descriptors: NDArray[np.float64],
        slopes: NDArray[np.float64],
        energies: NDArray[np.float64],
    ) -> None:
        """Let the model fill in energies and slopes.

        Args:
            elements: (N,) index of each atom's element in the descriptor file.
            descriptors, slopes: (N D,) rows one after the other.
            energies: (N,).
        """
        shape = (len(elements), self._counts["n_descriptors"])
        self._model(elements, descriptors.reshape(shape), slopes.reshape(shape), energies)


def load(file: str, ranks: int, n_descriptors: int, n_elements: int) -> DescriptorModel:
    """The model in a file, or for the name LATER a place for one that a script hands over before the run.

    Files are pickles, or ``torch.save``d objects if their names end in .pt or .pth: loading one runs code in it.

    Raises:
        CheckpointError: there is none, or it does not suit the descriptors.
        Exception: what loading the file raises.
    """
    stubs.install()
    model = DescriptorModel(file, ranks, n_descriptors, n_elements)
    if file != LATER:
        model.use(read_model(Path(file)))
    return model
