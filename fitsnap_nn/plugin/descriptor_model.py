"""Python side of ``pair_style mliap model mliappy``: functions that the C++ plugin calls to load and run a model."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.plugin import stubs
from fitsnap_nn.plugin.runtime import limit_threads, read_model

# Model name in the pair_style command for a model that a script passes later; also defined in the C++ pair style.
LATER = "LATER"
# Defaults of `descriptor sna`, see pair_style mliap in the LAMMPS manual.
DEFAULTS: Mapping[str, tuple[float]] = MappingProxyType(
    {
        "rfac0": (0.99363,),
        **dict.fromkeys(("switchflag", "bzeroflag"), (1.0,)),
        **dict.fromkeys(("rmin0", "chemflag", "bnormflag", "wselfallflag", "switchinnerflag"), (0.0,)),
    }
)
COUPLING = "mliap_model_python_couple"
UNCERTAINTY = "uncertainty"  # also defined in the C++ pair style


class DescriptorModel:
    """Model of atomic energies as a function of descriptors.

    A model is a callable with the arguments elements (N,), descriptors (N, D), and two output arrays: the derivatives
    (N, D) of the energies with respect to the descriptors, and the energies (N,). It must have the attributes
    ``n_descriptors`` and ``n_elements``. Optional attributes are ``units`` (the LAMMPS units that it requires),
    ``num_threads`` (torch threads per rank), ``descriptor`` (content of the descriptor file of the fit),
    ``reference`` (pair styles, separated by blanks, that the input must add to the model) and ``deviations``, the
    number of scaled deviations of other models from this one. Their derivatives follow from a method ``deviation`` with
    the arguments number, elements (N,), descriptors (N, D) and output (N, D). An attribute
    ``errors_are_collective`` is set to True, which tells the model that it may raise exceptions: the pair style passes
    them to all ranks.

    Args:
        name: name of the model in error messages.
        ranks: number of MPI ranks of this LAMMPS.
        n_descriptors, n_elements: sizes that LAMMPS computes.
        descriptor: content of the descriptor file in the input.

    Attributes:
        units: LAMMPS units declared by the model; empty if not declared.
        reference: pair styles declared by the model.
        deviations: number of deviations declared by the model, whose forces make up the uncertainty.
        target_names, target_components: what LAMMPS' fixes can read at the atoms: the uncertainty, if there is one.
    """

    def __init__(self, name: str, ranks: int, n_descriptors: int, n_elements: int, descriptor: str) -> None:
        self.units = ""
        self.reference = ""
        self._descriptor = descriptor
        self._model: Any = None
        self._name = name
        self._ranks = ranks
        self._counts = {"n_descriptors": n_descriptors, "n_elements": n_elements}
        self.deviations = 0
        self.target_names: tuple[str, ...] = ()
        self.target_components: tuple[int, ...] = ()

    def use(self, model: Any) -> None:
        """Check and store the callable.

        Raises:
            CheckpointError: the model declares other descriptors or other numbers of them or of elements, or none.
        """
        for attribute, count in self._counts.items():
            declared = getattr(model, attribute, None)
            if declared is None:
                unified = hasattr(model, "compute_forces")
                remedy = f" Use pair_style mliap unified {self._name}." if unified else ""
                raise CheckpointError(
                    f"{self._name} holds a {type(model).__name__} without {attribute}, so it is not a descriptor model."
                    f"{remedy}"
                )
            if int(declared) != count:
                kind = attribute.removeprefix("n_")
                raise CheckpointError(
                    f"The model in {self._name} is for {int(declared)} {kind}, "
                    f"the file after `descriptor sna` for {count}. Use the two files of one export."
                )
        if changed := descriptor_differences(str(getattr(model, "descriptor", None) or ""), self._descriptor):
            raise CheckpointError(
                f"The model in {self._name} was fitted to other descriptors than those in the file after "
                f"`descriptor sna`: {'; '.join(changed)}. Use the two files of one export."
            )
        if hasattr(model, "errors_are_collective"):
            model.errors_are_collective = True
        limit_threads(self._ranks, getattr(model, "num_threads", None))
        self.units = str(getattr(model, "units", None) or "")
        self.reference = str(getattr(model, "reference", None) or "")
        self.deviations = int(getattr(model, "deviations", None) or 0)
        if self.deviations:
            self.target_names, self.target_components = (UNCERTAINTY,), (1,)
        self._model = model

    def connect(self) -> None:
        """Use the model that a script has passed since the last call, if any.

        Raises:
            CheckpointError: no model has been passed yet; or see `use`.
        """
        model = stubs.take_model(COUPLING)
        if isinstance(model, dict):  # of the model file of a fit; imported by name as in `read_model`
            model = importlib.import_module("fitsnap_nn.export.lammps_model").from_content(model, self._name)
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

    def compute_deviation(
        self,
        number: int,
        elements: NDArray[np.int32],
        descriptors: NDArray[np.float64],
        gradients: NDArray[np.float64],
    ) -> None:
        """Evaluate one of the deviations; arguments as in `compute`."""
        shape = (len(elements), self._counts["n_descriptors"])
        self._model.deviation(number, elements, descriptors.reshape(shape), gradients.reshape(shape))


def descriptor_differences(fitted: str, given: str) -> list[str]:
    """Return the options in which two descriptor files differ, such as ``rcutfac 1.0 instead of 4.8``.

    Args:
        fitted: content of the file of the fit; if it is empty, there is nothing to compare.
        given: content of the file in the input.
    """
    expected, found = _options(fitted), _options(given)
    if not fitted:
        return []
    return [
        f"{key} {_listed(found.get(key))} instead of {_listed(expected.get(key))}"
        for key in {**expected, **found}
        if found.get(key) != expected.get(key)
    ]


def _options(text: str) -> dict[str, tuple[float | str, ...]]:
    """Return the options of a descriptor file, with LAMMPS' defaults for those that are missing."""
    options: dict[str, tuple[float | str, ...]] = dict(DEFAULTS)
    for line in text.splitlines():
        keyword, *values = line.partition("#")[0].split() or [""]
        if keyword:
            options[keyword] = tuple(values) if keyword == "elems" else tuple(map(float, values))
    return options


def _listed(values: tuple[float | str, ...] | None) -> str:
    return " ".join(f"{value:.10g}" if isinstance(value, float) else value for value in values or ("unset",))


def load(file: str, ranks: int, n_descriptors: int, n_elements: int, descriptor: str = "") -> DescriptorModel:
    """Load a model, or for the name LATER return an object that receives the model from a script before the run.

    Files are pickles, or objects saved by ``torch.save`` if their names end in .pt or .pth. Loading executes code that
    the file contains.

    Args:
        file: file name, or LATER.
        ranks: number of MPI ranks of this LAMMPS.
        n_descriptors, n_elements: sizes that LAMMPS computes.
        descriptor: content of the descriptor file in the input.

    Raises:
        CheckpointError: the file does not exist, or the model does not match the descriptors.
        Exception: any exception that loading the file raises.
    """
    stubs.install()
    model = DescriptorModel(file, ranks, n_descriptors, n_elements, descriptor)
    if file != LATER:
        model.use(read_model(Path(file)))
    return model
