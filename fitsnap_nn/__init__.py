"""Neural-network interatomic potentials for LAMMPS from FitSNAP-style inputs.

import fitsnap_nn
result = fitsnap_nn.fit("Ta.in", {"PYTORCH.num_epochs": 200})
potential = fitsnap_nn.load_potential(result.model_file)
atoms.calc = fitsnap_nn.Calculator(potential)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fitsnap_nn.interfaces.ase import Calculator, Potential
    from fitsnap_nn.workflow.pipeline import Fit

__version__ = "0.1.0"
__all__ = ["Calculator", "__version__", "fit", "load_potential"]


def fit(path: str | os.PathLike[str], overrides: Mapping[str, object] | None = None, **options: bool) -> Fit:
    """Fit a potential as an input file says.

    Args:
        path: the input file.
        overrides: ``{"SECTION.key": value}``, over what the file says.
        options: ``overwrite``, ``resume``, ``train``, ``verify``, ``verbose``; see `fitsnap_nn.workflow.pipeline.fit`.

    Raises:
        InputError: something is wrong with the input; nothing was run.
        FitsnapError: another of its kinds; see `fitsnap_nn.errors`.
    """
    from fitsnap_nn.settings import load_settings
    from fitsnap_nn.workflow.pipeline import fit as run

    triples = [(*name.partition(".")[::2], str(value)) for name, value in (overrides or {}).items()]
    return run(load_settings(path, triples), **options)


def load_potential(path: str | os.PathLike[str]) -> Potential:
    """The potential in a model file, or the best one in a restart file.

    Raises:
        CheckpointError: it is neither.
    """
    from fitsnap_nn.interfaces.ase import load_potential as load

    return load(os.fspath(path))


def __getattr__(name: str) -> Any:
    # ASE, which the calculator needs, is loaded by those who use it.
    if name == "Calculator":
        from fitsnap_nn.interfaces.ase import Calculator

        return Calculator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
