"""The Python side of ``pair_style mliap unified``: what LAMMPS calls to load a model and, at every step, to run it."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.plugin import stubs
from fitsnap_nn.plugin.data import Data


class UnifiedInterface:
    """A model, and what it declares.

    A model is any object with ``compute_descriptors``, ``compute_gradients`` and ``compute_forces``, each of which is
    given a ``Data``, normally a subclass of ``lammps.mliap.mliap_unified_abc.MLIAPUnified``. It must declare
    ``element_types``, ``rcutfac`` (half the cutoff), ``ndescriptors`` and ``nparams``, and may declare

    - ``units``: the LAMMPS units of its energies and distances; any other ``units`` is then refused;
    - ``ghost_layers``: how many cutoffs away atoms matter to an atom's energy, for a model that goes through the
      neighbourhoods of ghosts (instead of calling ``forward_exchange`` or ``edge_exchange``). Ghosts are then fetched
      from as far as that, and the pairs that this takes are listed;
    - ``pairwise``: True if the energy is a sum over pairs, so that ``neigh_modify exclude`` makes sense;
    - ``num_threads``: the threads that torch is to take on each rank.

    Attributes:
        elements: the symbols that pair_coeff may name.
        cutoff: in LAMMPS' unit of length.

    Raises:
        CheckpointError: something is not declared.
    """

    def __init__(self, model: Any, name: str) -> None:
        needed = ("element_types", "rcutfac", "ndescriptors", "nparams", "compute_forces")
        missing = [attribute for attribute in needed if getattr(model, attribute, None) is None]
        if missing:
            raise CheckpointError(f"{name} holds a {type(model).__name__} without {', '.join(missing)}.")
        self.model = model
        self.elements = tuple(str(element) for element in model.element_types)
        self.cutoff = 2.0 * float(model.rcutfac)
        self.ndescriptors = int(model.ndescriptors)
        self.nparams = int(model.nparams)
        self.units = str(getattr(model, "units", None) or "")
        self.ghost_layers = int(getattr(model, "ghost_layers", None) or 0)
        self.pairwise = bool(getattr(model, "pairwise", False))
        model.interface = self

    def compute(self, *step: Any) -> float:
        """Run the model on one step's data; returns the energy of this rank's atoms."""
        data = Data(self, *step)
        self.compute_descriptors(data)
        self.compute_gradients(data)
        self.compute_forces(data)
        return data.energy

    def compute_descriptors(self, data: Data) -> None:
        self.model.compute_descriptors(data)

    def compute_gradients(self, data: Data) -> None:
        self.model.compute_gradients(data)

    def compute_forces(self, data: Data) -> None:
        self.model.compute_forces(data)


def load_unified(file: str, ranks: int) -> UnifiedInterface:
    """The model in a file, or the one that ``lammps.mliap.load_unified`` was given if the name is EXISTS.

    Files are pickles, or ``torch.save``d objects if their names end in .pt or .pth: loading one runs code in it.

    Raises:
        CheckpointError: there is none, or it does not declare what a model must.
        Exception: what loading the file raises.
    """
    stubs.install()
    model = stubs.handed_over("mliap_unified_couple") if file == "EXISTS" else read_model(Path(file))
    if model is None:
        raise CheckpointError("No model was handed over by lammps.mliap.load_unified(model) for the name EXISTS.")
    limit_threads(ranks, getattr(model, "num_threads", None))
    return UnifiedInterface(model, file)


def read_model(path: Path) -> Any:
    """The object in a file; runs code that is in it.

    Raises:
        CheckpointError: there is no such file.
        Exception: what loading it raises.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no model file {path} (in {Path.cwd()}).")
    with own_functions_first():
        if path.suffix in (".pt", ".pth"):
            import torch

            return torch.load(path, map_location="cpu", weights_only=False)
        with path.open("rb") as file:
            return pickle.load(file)


@contextmanager
def own_functions_first() -> Iterator[None]:
    """Let libraries that are loaded here, such as torch, call their own functions where LAMMPS has some of that name.

    LAMMPS exports a plain ``dgemm_``; torch's matrix products in float64 would take it instead of its own, which is
    several times faster (measured). A malloc that the user has put in front of all others must stay in front.
    """
    flags = sys.getdlopenflags()
    if "LD_PRELOAD" not in os.environ:
        sys.setdlopenflags(flags | getattr(os, "RTLD_DEEPBIND", 0))  # glibc has it
    try:
        yield
    finally:
        sys.setdlopenflags(flags)


def limit_threads(ranks: int, wanted: int | None) -> None:
    """One thread of torch a rank where there are several, unless the model or OMP_NUM_THREADS says otherwise.

    Args:
        wanted: number of threads that the model asks for.
    """
    torch = sys.modules.get("torch")
    if torch is None or (wanted is None and (ranks == 1 or "OMP_NUM_THREADS" in os.environ)):
        return
    torch.set_num_threads(wanted or 1)
