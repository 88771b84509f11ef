"""Python side of ``pair_style mliap model mliappy``: functions that the C++ plugin calls to load and run a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.plugin import stubs
from fitsnap_nn.plugin.runtime import limit_threads, read_model

# Model name in the pair_style command for a model that a script passes later; also defined in the C++ pair style.
LATER = "LATER"
COUPLING = "mliap_model_python_couple"


class DescriptorModel:
    """Model of atomic energies as a function of descriptors.

    A model is a callable with the arguments elements (N,), descriptors (N, D), and two output arrays: the derivatives
    (N, D) of the energies with respect to the descriptors, and the energies (N,). It must have the attributes
    ``n_descriptors`` and ``n_elements``. Optional attributes are ``units`` (the LAMMPS units that it requires) and
    ``num_threads`` (torch threads per rank). An attribute ``errors_are_collective`` is set to True, which tells the
    model that it may raise exceptions: the pair style passes them to all ranks.

    Args:
        name: name of the model in error messages.
        ranks: number of MPI ranks of this LAMMPS.
        n_descriptors, n_elements: sizes that LAMMPS computes.

    Attributes:
        units: LAMMPS units declared by the model; empty if not declared.
    """

    def __init__(self, name: str, ranks: int, n_descriptors: int, n_elements: int) -> None:
        self.units = ""
        self._model: Any = None
        self._name = name
        self._ranks = ranks
        self._counts = {"n_descriptors": n_descriptors, "n_elements": n_elements}

    def use(self, model: Any) -> None:
        """Check and store the callable.

        Raises:
            CheckpointError: the model declares other numbers of descriptors or elements, or none.
        """
        for attribute, count in self._counts.items():
            declared = getattr(model, attribute, None)
            if declared is None:
                raise CheckpointError(
                    f"{self._name} holds a {type(model).__name__} without {attribute}, so it is not a descriptor model."
                )
            if int(declared) != count:
                kind = attribute.removeprefix("n_")
                raise CheckpointError(
                    f"The model in {self._name} is for {int(declared)} {kind}, "
                    f"the file after `descriptor sna` for {count}. Use the two files of one export."
                )
        if hasattr(model, "errors_are_collective"):
            model.errors_are_collective = True
        limit_threads(self._ranks, getattr(model, "num_threads", None))
        self.units = str(getattr(model, "units", None) or "")
        self._model = model

    def connect(self) -> None:
        """Use the model that a script has passed since the last call, if any.

        Raises:
            CheckpointError: no model has been passed yet; or see `use`.
        """
        model = stubs.take_model(COUPLING)
        if model is not None:
            self.use(model)
        elif self._model is None:
            raise CheckpointError(
                f"No model was passed for the name {LATER}. Call lammps.mliap.load_model(model) before the run."
            )

    def compute(
        self,
        elements: NDArray[np.int32],
        descriptors: NDArray[np.float64],
        gradients: NDArray[np.float64],
        energies: NDArray[np.float64],
    ) -> None:
        """Evaluate the model.

        Args:
            elements: (N,) index of each atom's element in the descriptor file.
            descriptors: (N * D,) descriptors, flattened.
            gradients: (N * D,) output, derivatives of the energies with respect to the descriptors.
            energies: (N,) output, in LAMMPS' energy unit.
        """
        shape = (len(elements), self._counts["n_descriptors"])
        self._model(elements, descriptors.reshape(shape), gradients.reshape(shape), energies)


def load(file: str, ranks: int, n_descriptors: int, n_elements: int) -> DescriptorModel:
    """Load a model, or for the name LATER return an object that receives the model from a script before the run.

    Files are pickles, or objects saved by ``torch.save`` if their names end in .pt or .pth. Loading executes code that
    the file contains.

    Args:
        file: file name, or LATER.
        ranks: number of MPI ranks of this LAMMPS.
        n_descriptors, n_elements: sizes that LAMMPS computes.

    Raises:
        CheckpointError: the file does not exist, or the model does not match the descriptors.
        Exception: any exception that loading the file raises.
    """
    stubs.install()
    model = DescriptorModel(file, ranks, n_descriptors, n_elements)
    if file != LATER:
        model.use(read_model(Path(file)))
    return model
