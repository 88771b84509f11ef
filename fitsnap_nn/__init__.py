"""Neural-network and linear potentials for LAMMPS from FitSNAP-style inputs.

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
    from fitsnap_nn.interfaces.ase import Calculator
    from fitsnap_nn.interfaces.potential import Potential
    from fitsnap_nn.workflow.run import Fit

__version__ = "0.1.0"
__all__ = ["Calculator", "__version__", "evaluate", "fit", "load_potential"]


def fit(
    path: str | os.PathLike[str],
    overrides: Mapping[str, object] | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    train: bool = True,
    verify: bool = True,
    verbose: bool = False,
    quiet: bool = False,
    strict: bool = False,
) -> Fit:
    """Fit a potential as an input file says.

    Args:
        path: the input file.
        overrides: ``{"SECTION.key": value}``, which take precedence over the file.
        overwrite: replace an earlier fit in the output folder.
        resume: continue it, exactly where it was interrupted.
        train: ``False`` only computes model inputs into the cache.
        verify: run the exported files in LAMMPS and compare.
        verbose: list the notices about the input too.
        quiet: print nothing. ``run.log`` and the logger ``fitsnap_nn`` still get every line.
        strict: treat warnings about the data as errors.

    Returns:
        Folder, table of errors, model file, model, history of the epochs, and verification.

    Raises:
        InputError: something is wrong with the input; nothing was run.
        FitsnapError: another of its kinds; see `fitsnap_nn.errors`.
    """
    from fitsnap_nn.job import job
    from fitsnap_nn.settings import load_settings
    from fitsnap_nn.settings.ini import WeightsFrom
    from fitsnap_nn.usage import Stopwatch

    watch = Stopwatch.now()
    weights_from: WeightsFrom = "restart file" if resume else "input"
    with job() as process:
        settings = process.agreed(
            lambda: load_settings(path, _triples(overrides), weights_from=weights_from),
            lambda found: found.text,
            f"input {os.fspath(path)}",
        )
        from fitsnap_nn.workflow.pipeline import fit as run

        return run(
            settings,
            overwrite=overwrite,
            resume=resume,
            train=train,
            verify=verify,
            verbose=verbose,
            quiet=quiet,
            strict=strict,
            watch=watch,
        )


def evaluate(
    path: str | os.PathLike[str],
    model: str | os.PathLike[str],
    overrides: Mapping[str, object] | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    trust: bool = False,
) -> Fit:
    """Compute the errors of a saved model on the data of an input file.

    The sets are those of the fit, which the model file contains.

    Args:
        path: the input file; sections that describe the model may be missing.
        model: model or restart file.
        overrides, overwrite, quiet: as in `fit`; the files go to the folder ``test`` in the output folder.
        output: extended XYZ file for labels and predictions.
        trust: see `load_potential`.

    Raises:
        InputError: something is wrong with the input.
        CheckpointError: the model was fitted on another model input or another reference.
    """
    from fitsnap_nn.workflow.evaluation import evaluate_input

    to = None if output is None else os.fspath(output)
    options = {"overwrite": overwrite, "quiet": quiet, "trust": trust}
    return evaluate_input(path, _triples(overrides), os.fspath(model), output=to, **options)


def load_potential(path: str | os.PathLike[str], *, trust: bool = False, device: str = "auto") -> Potential:
    """Return the potential in a model file, or the best one in a restart file.

    Args:
        path: the file.
        trust: let its reference potential run code (pair styles such as ``mliap`` and ``python``) and read files
            outside the model file. For files from sources that you trust only.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:NUMBER``.

    Raises:
        CheckpointError: it is neither, is damaged, or needs ``trust``.
        InputError: torch does not find the requested GPU.
    """
    from fitsnap_nn.interfaces.potential import load_potential as load

    return load(os.fspath(path), trust=trust, device=device)


def _triples(overrides: Mapping[str, object] | None) -> list[tuple[str, str, str]]:
    triples = []
    for name, value in (overrides or {}).items():
        section, _, key = name.partition(".")
        triples.append((section, key, str(value)))
    return triples


def __getattr__(name: str) -> Any:
    # ASE, which the calculator needs, is loaded only when it is asked for.
    if name == "Calculator":
        from fitsnap_nn.interfaces.ase import Calculator

        return Calculator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
