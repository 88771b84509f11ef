"""Python side of ``pair_style mliap unified``: functions that the C++ plugin calls to load a model and to run it."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.integrity import check_seal, damaged
from fitsnap_nn.plugin import stubs
from fitsnap_nn.plugin.data import Data, Floats, ListStep, PairStyle, on_host

OWN_PACKAGE = __name__.partition(".")[0]
TORCH_SUFFIXES = (".pt", ".pth")
# Bytes that model and restart files of fits contain, and those of the pickles that they are exported to.
MODEL_FILE = b"fitsnap_nn model"
EXPORTED = b"fitsnap_nn.export."
NO_RESULTS = (np.zeros(0), np.zeros((0, 3)))  # in place of the arrays for energies and forces


class UnifiedInterface:
    """Unified model and its declared properties.

    A model is any object with the methods ``compute_descriptors``, ``compute_gradients`` and ``compute_forces``, which
    take a `Data`; normally a subclass of ``lammps.mliap.mliap_unified_abc.MLIAPUnified``. Required attributes are
    ``element_types``, ``rcutfac`` (half the cutoff), ``ndescriptors`` and ``nparams``. Optional attributes are

    - ``units``: LAMMPS units of energies and distances; other ``units`` of the input are then rejected;
    - ``ghost_layers``: receptive field in cutoffs, for models that evaluate the environments of ghost atoms instead of
      calling ``forward_exchange`` or ``edge_exchange``. The ghost cutoff is enlarged, and pairs of ghost atoms are
      listed, accordingly;
    - ``pairwise``: True if the energy is a sum over pairs, which makes ``neigh_modify exclude`` meaningful;
    - ``num_threads``: torch threads per rank;
    - ``follows_lists``: True if the model has a method ``compute_lists`` that takes a `ListStep` and returns the
      energy. On a single rank it is called in place of the other methods;
    - ``note``: a line that LAMMPS prints before the first run;
    - ``atom_targets``: number of components by name, of quantities of atoms that LAMMPS' ``fix pair`` can read. The
      model then has a method ``compute_targets`` that takes a `Data` and names, and returns an array (nlocal, sum of
      components); if it follows lists, also ``compute_list_targets`` that takes a `ListStep` and names;
    - ``reference``: pair styles, separated by blanks, that the input must add to the model.

    Args:
        model: the model.
        name: name of the model in error messages.

    Attributes:
        elements: chemical symbols allowed in ``pair_coeff``.
        cutoff: in LAMMPS' unit of length.

    Raises:
        CheckpointError: a required attribute is missing.
    """

    def __init__(self, model: Any, name: str) -> None:
        needed = ("element_types", "rcutfac", "ndescriptors", "nparams", "compute_forces")
        missing = [attribute for attribute in needed if getattr(model, attribute, None) is None]
        if missing:
            remedy = " Use pair_style mliap model mliappy FILE descriptor sna FILE." if callable(model) else ""
            raise CheckpointError(
                f"{name} holds a {type(model).__name__} without {', '.join(missing)}, so it is not a unified model."
                f"{remedy}"
            )
        self.model = model
        self.elements = tuple(str(element) for element in model.element_types)
        self.cutoff = 2.0 * float(model.rcutfac)
        self.ndescriptors = int(model.ndescriptors)
        self.nparams = int(model.nparams)
        self.units = str(getattr(model, "units", None) or "")
        self.ghost_layers = int(getattr(model, "ghost_layers", None) or 0)
        self.pairwise = bool(getattr(model, "pairwise", False))
        self.reference = str(getattr(model, "reference", None) or "")
        self.follows_lists = bool(getattr(model, "follows_lists", False))
        self.note = str(getattr(model, "note", None) or "")
        targets = dict(getattr(model, "atom_targets", None) or {})
        self.target_names = tuple(str(name) for name in targets)
        self.target_components = tuple(int(count) for count in targets.values())
        model.interface = self

    def compute(self, *step: Any) -> float:
        """Run the model for one time step.

        Args:
            step: arguments of `Data` after ``sizes``.

        Returns:
            Energy of the atoms owned by this rank, in LAMMPS' energy unit.
        """
        data = Data(self, *step)
        self.compute_descriptors(data)
        self.compute_gradients(data)
        self.compute_forces(data)
        return data.energy

    def compute_lists(self, *step: Any) -> float:
        """Run a model that follows the neighbour lists of LAMMPS for one time step.

        Args:
            step: fields of `ListStep` after ``simulation``.

        Returns:
            Energy, in LAMMPS' energy unit.
        """
        return float(self.model.compute_lists(ListStep(self, *step)))

    def compute_targets(self, link: PairStyle, names: Sequence[str], values: Floats, *step: Any) -> None:
        """Evaluate targets on the step that `compute` has seen; called only when LAMMPS asks for them.

        Args:
            link: for exchanges.
            names: names in ``atom_targets``, in their order.
            values: (nlocal x components,) output.
            step: arguments of `Data` from ``nlocal`` to ``rij``.
        """
        arguments: list[Any] = [link, 0, 0, *step, *NO_RESULTS]
        _assign(values, self.model.compute_targets(Data(self, *arguments), names))

    def compute_list_targets(self, link: PairStyle, names: Sequence[str], values: Floats, *step: Any) -> None:
        """Evaluate targets on the step that `compute_lists` has seen; arguments as in `compute_targets`.

        ``step`` are the fields of `ListStep` from ``cell`` to ``positions``.
        """
        arguments: list[Any] = [link, 0, True, *step, *NO_RESULTS]
        _assign(values, self.model.compute_list_targets(ListStep(self, *arguments), names))

    def compute_descriptors(self, data: Data) -> None:
        self.model.compute_descriptors(data)

    def compute_gradients(self, data: Data) -> None:
        self.model.compute_gradients(data)

    def compute_forces(self, data: Data) -> None:
        self.model.compute_forces(data)


def _assign(values: Floats, found: Any) -> None:
    """Copy the values of targets to the array that LAMMPS reads.

    Raises:
        ValueError: the model has returned another number of values.
    """
    flat = on_host(found).ravel()
    if len(flat) != len(values):
        raise ValueError(f"the model returned {len(flat)} values of targets, but {len(values)} are required")
    values[:] = flat


def load_unified(file: str, ranks: int) -> UnifiedInterface:
    """Load a model, or for the name EXISTS return the model that a script passed to ``lammps.mliap.load_unified``.

    Files are pickles, or objects saved by ``torch.save`` if their names end in .pt or .pth. Loading executes code that
    the file contains.

    Args:
        file: file name, or EXISTS.
        ranks: number of MPI ranks of this LAMMPS.

    Raises:
        CheckpointError: the model does not exist, or lacks a required attribute.
        Exception: any exception that loading the file raises.
    """
    stubs.install()
    model = stubs.passed_model("mliap_unified_couple") if file == "EXISTS" else read_model(Path(file))
    if model is None:
        raise CheckpointError(
            "No model was passed for the name EXISTS. Call lammps.mliap.load_unified(model) before pair_style."
        )
    limit_threads(ranks, getattr(model, "num_threads", None))
    return UnifiedInterface(model, file)


def read_model(path: Path) -> Any:
    """Load the object in a model file; executes code that the file contains.

    Args:
        path: file saved by ``torch.save`` (.pt, .pth) or ``pickle``, or the model file of a fit.

    Raises:
        CheckpointError: the file does not exist, needs a package that is not installed, or was written by a version of
            this package with other modules.
        Exception: any exception that loading the file raises.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no model file {path} (working directory: {Path.cwd()}).")
    content = path.read_bytes()
    sealed = check_seal(content, str(path))
    with prefer_own_symbols():
        # Imported by name, as by the pickles for LAMMPS: exports are built on this package, not the reverse.
        if MODEL_FILE in content and path.suffix in TORCH_SUFFIXES:
            return importlib.import_module("fitsnap_nn.export.lammps_model").from_model_file(path)
        try:
            return _unpickled(content, path)
        except (ModuleNotFoundError, AttributeError) as error:
            if _module_of(error).partition(".")[0] == OWN_PACKAGE:
                raise CheckpointError(
                    f"{path} was written by another version of fitsnap_nn, in which the modules have other names "
                    f"({error}). Export it again from the model file of the fit: python -m fitsnap_nn export FILE.pt"
                ) from error
            if not isinstance(error, ModuleNotFoundError):
                raise
            raise CheckpointError(
                f"{path} holds a model of the Python package {error.name}, which {sys.executable} cannot find. "
                "Install it, or name the file of a fit of fitsnap_nn."
            ) from error
        except Exception as error:
            # Pickles of other packages raise what they like. Ours, of a version without digests, are damaged.
            cut = isinstance(error, EOFError | pickle.UnpicklingError)
            if sealed or not (cut or EXPORTED in content):
                raise
            raise damaged(str(path), f"it cannot be unpickled ({type(error).__name__})") from error


def _module_of(error: ModuleNotFoundError | AttributeError) -> str:
    """Return the module that an unpickling error is about: one that does not exist, or that lacks an attribute."""
    if isinstance(error, ModuleNotFoundError):
        return error.name or ""
    found = re.search(r"<module '([\w.]+)'", str(error))
    return found.group(1) if found else ""


def _unpickled(content: bytes, path: Path) -> Any:
    """Return the object in a pickle, or the model in what ``torch.load`` returns."""
    if path.suffix not in TORCH_SUFFIXES:
        return pickle.loads(content)
    import torch

    found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
    if isinstance(found, dict):  # of a file that is not one of ours, which the error says
        return importlib.import_module("fitsnap_nn.export.lammps_model").from_model_file(path)
    return found


@contextmanager
def prefer_own_symbols() -> Iterator[None]:
    """Load libraries such that they prefer their own symbols to those of LAMMPS (``RTLD_DEEPBIND``, see dlopen(3)).

    LAMMPS exports its unoptimised reference ``dgemm_``. With the default symbol order, torch's float64 matrix products
    would call it instead of torch's own, which is several times faster (measured). With ``LD_PRELOAD`` set the flag is
    not used, because it would also bypass a preloaded malloc.
    """
    flags = sys.getdlopenflags()
    if "LD_PRELOAD" not in os.environ:
        sys.setdlopenflags(flags | getattr(os, "RTLD_DEEPBIND", 0))  # only glibc defines the flag
    try:
        yield
    finally:
        sys.setdlopenflags(flags)


def limit_threads(ranks: int, wanted: int | None) -> None:
    """Limit torch to one thread per rank if there are several ranks, unless the model or OMP_NUM_THREADS sets a number.

    By default torch would start one thread per core on every rank.

    Args:
        ranks: number of MPI ranks of this LAMMPS.
        wanted: number of threads requested by the model.
    """
    torch = sys.modules.get("torch")  # not imported here: models without torch need no threads
    if torch is None or (wanted is None and (ranks == 1 or "OMP_NUM_THREADS" in os.environ)):
        return
    torch.set_num_threads(wanted or 1)
