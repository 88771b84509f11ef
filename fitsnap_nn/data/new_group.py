"""Groups of configurations that still need labels: files of the atoms, instructions, and the labels afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.voigt import from_voigt
from fitsnap_nn.errors import DataError, counted
from fitsnap_nn.files import write_text
from fitsnap_nn.units import BAR

XYZ = ".xyz"
STYLES = {
    "EnergyStyle": "electronvolt",
    "ForcesStyle": "electronvoltperangstrom",
    "StressStyle": "bar",
    "PositionsStyle": "angstrom",
    "LatticeStyle": "angstrom",
    "AtomTypeStyle": "chemicalsymbol",
    "Label": "frame of molecular dynamics; Stress has the sign of a pressure",
}
README = """\
# {name}: {count} without labels

These are the frames of molecular dynamics for which {model} is most uncertain. {domain}
They need labels before a fit can use them. For each frame compute, without moving the atoms:

- the total energy, eV: of the same kind as those of the other groups (with or without electronic entropy);
- the force on each atom, eV/Å;
- the stress tensor, if the cell is periodic in all directions{stress}.

Use the same method as for the other groups: functional, pseudopotentials, cutoff of the basis, k-point density,
smearing, spin. Labels of another method make a fit worse than no labels.

To use a calculator of ASE, set it in `{script}` and run this script; it labels the frames that have no energy yet, and
can be interrupted. `python {script}` without a calculator lists them. Then add a row to [GROUPS] of the input:

    {name} = ...

with sizes and weights like those of the other groups, and repeat the fit. A fit leaves out frames without labels, and
warns of them.

| frame | atoms | largest uncertainty, eV/Å | from |
|---|---|---|---|
"""
SCRIPT = '''\
"""Label the frames of {name}; see {readme}."""

from pathlib import Path

from fitsnap_nn.data.new_group import label

# A calculator of ASE, with the settings of the other groups, for instance
#   from ase.calculators.vasp import Vasp
#   calculator = Vasp(xc="PBE", encut=500, kspacing=0.2, ismear=1, sigma=0.2, ediff=1e-6)
calculator = None

if __name__ == "__main__":
    label(Path(__file__).parent / "{target}", calculator)
'''


def write_new_group(
    target: Path, frames: Sequence[Configuration], sigma: Sequence[float], model: str, domain: str = ""
) -> list[Path]:
    """Write a group without labels, a script that labels it, and instructions.

    Args:
        target: folder of FitSNAP JSON files, or an extended XYZ file, whose name is that of the group.
        frames: the configurations; their ids say where they are from.
        sigma: largest uncertainty of each, eV/Å.
        model: name of the model that is uncertain.
        domain: sentence that says how many frames are outside the domain of its training set, if that is known.

    Returns:
        The script and the instructions, which are beside the group.
    """
    name = target.name.removesuffix(XYZ)
    if target.suffix == XYZ:
        names = [f"frame {number}" for number in range(1, len(frames) + 1)]
        _write_xyz(target, [_atoms(frame) for frame in frames])
    else:
        target.mkdir(parents=True)
        names = [f"{name}_{number}.json" for number in range(1, len(frames) + 1)]
        for file, frame in zip(names, frames, strict=True):
            write_text(target / file, _json(_frame(frame)))
    script, readme = target.with_name(f"{name}.label.py"), target.with_name(f"{name}.README.md")
    stress = "; the script writes it in bar, with the sign of a pressure" if target.suffix != XYZ else ""
    words = {"name": name, "model": model, "domain": domain, "script": script.name, "stress": stress}
    text = README.format(count=counted(len(frames), "frame"), **words)
    rows = zip(names, frames, sigma, strict=True)
    text += "".join(f"| {file} | {len(frame)} | {one:.3g} | {frame.id} |\n" for file, frame, one in rows)
    write_text(readme, text)
    write_text(script, SCRIPT.format(name=name, readme=readme.name, target=target.name))
    return [script, readme]


def label(target: Path, calculator: Any) -> None:
    """Label the frames of a group that have no energy, one after the other.

    Args:
        target: folder or file that `write_new_group` has written.
        calculator: of ASE; ``None``: list the frames.

    Raises:
        DataError: there is no such group, or the calculator returns a value that is not finite.
    """
    if not target.exists():
        raise DataError(f"there is no group {target}.")
    if target.suffix == XYZ:
        _label_xyz(target, calculator)
        return
    for path in sorted(target.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        (frame,) = content["Dataset"]["Data"]
        if "Energy" in frame:
            continue
        if calculator is None:
            print(f"{path}: needs energy, forces and stress")
            continue
        atoms = _atoms_of(frame)
        results = _results(atoms, calculator)
        frame["Energy"], frame["Forces"] = float(results["energy"]), results["forces"].tolist()
        if "stress" in results:
            frame["Stress"] = (-from_voigt(results["stress"]) / BAR).tolist()
        write_text(path, _json(frame))
        print(f"{path}: {_done(atoms, results)}")


def _label_xyz(target: Path, calculator: Any) -> None:
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import read

    frames = read(target, ":", format="extxyz", parallel=False)
    for number, atoms in enumerate(frames, start=1):
        if atoms.calc is not None:
            continue
        if calculator is None:
            print(f"{target}, frame {number}: needs energy, forces and stress")
            continue
        results = _results(atoms, calculator)
        atoms.calc = SinglePointCalculator(atoms, **results)
        _write_xyz(target, frames)
        print(f"{target}, frame {number}: {_done(atoms, results)}")


def _results(atoms: Any, calculator: Any) -> dict[str, Any]:
    """Return energy, forces and, of a cell that is periodic in all directions, the stress, if there is one.

    Raises:
        DataError: a value is not finite.
    """
    from ase.calculators.calculator import PropertyNotImplementedError

    atoms.calc = calculator
    found = {"forces": atoms.get_forces(), "energy": atoms.get_potential_energy()}
    if all(atoms.pbc):
        with suppress(PropertyNotImplementedError):  # energy and forces, which took hours, are not lost
            found["stress"] = atoms.get_stress()
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise DataError(f"the calculator returned a value of {name} that is not finite.")
    return found


def _done(atoms: Any, results: Mapping[str, Any]) -> str:
    missing = all(atoms.pbc) and "stress" not in results
    return "labelled, but without stress, which the calculator does not compute" if missing else "labelled"


def _write_xyz(target: Path, frames: Sequence[Any]) -> None:
    import io

    from ase.io import write

    text = io.StringIO()
    write(text, list(frames), format="extxyz", parallel=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, text.getvalue())


def _json(frame: dict[str, Any]) -> str:
    return json.dumps({"Dataset": {"Data": [frame], **STYLES}}) + "\n"


def _frame(configuration: Configuration) -> dict[str, Any]:
    frame: dict[str, Any] = {
        "AtomTypes": list(configuration.species),
        "NumAtoms": len(configuration),
        "Positions": configuration.positions.tolist(),
    }
    # Without a lattice the format has no periodicity, with one it is periodic in all directions.
    return frame | ({"Lattice": configuration.cell.tolist()} if all(configuration.pbc) else {})


def _atoms_of(frame: dict[str, Any]) -> Any:
    from ase import Atoms

    cell = frame.get("Lattice")
    return Atoms(frame["AtomTypes"], frame["Positions"], cell=cell, pbc=cell is not None)


def _atoms(configuration: Configuration) -> Any:
    from ase import Atoms

    return Atoms(configuration.species, configuration.positions, cell=configuration.cell, pbc=configuration.pbc)
