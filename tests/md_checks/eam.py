"""Analytic potentials of LAMMPS in the place of exported models: their properties are known."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

from lammps import lammps

from fitsnap_nn.lammps.files import LammpsFiles

EAM = "CuTa.eam.alloy"


def potential(folder: Path, style: str, coefficients: str, elements: tuple[str, ...] = ("Ta",)) -> LammpsFiles:
    """Write the files of a pair style of LAMMPS, as `write_lammps_files` does for a model."""
    source = Path(inspect.getfile(lammps)).parent / "share" / "lammps" / "potentials" / EAM
    shutil.copyfile(source, folder / EAM)
    mod, model = folder / "pot.mod", folder / "pot.mliap.nn"
    mod.write_text(f"pair_style {style}\npair_coeff {coefficients}\n", encoding="utf-8")
    model.write_text("")
    return LammpsFiles(
        folder=folder,
        mod=mod,
        descriptor=None,
        models={"nn": model},
        default_format="nn",
        unsupported_reason="",
        precision="float64",
        extra=(folder / EAM,),
        deck=None,
        data=None,
        elements=elements,
        atom_style="atomic",
    )


def tantalum(folder: Path) -> LammpsFiles:
    """Return the potential that labelled the example Ta_BPNN."""
    return potential(folder, "eam/alloy", f"* * {EAM} Ta")
