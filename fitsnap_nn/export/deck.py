"""Example input for molecular dynamics, in LAMMPS' units ``metal``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.export.location import in_home
from fitsnap_nn.lammps.cell import repeats, to_lammps
from fitsnap_nn.lammps.reference import SPIN_FIX, atom_style_commands

TARGET_ATOMS = 100  # the cell is replicated to about this number of atoms
QUIET = 0.1  # eV/Å; configurations with smaller forces are equally good to start from
LARGE_FORCE = 1.0  # eV/Å; above it, atoms are relaxed before they get velocities
# eV/atom and eV/atom/K: change of the potential energy beyond any vibration, 10 times k_B T and what melting takes.
CHANGE, THERMAL = 0.2, 8.617e-4
# Run at constant energy, and what it says about the potential.
CONSTANT_ENERGY = (
    "# Constant energy.",
    "variable energy equal etotal",
    "variable kelvin equal temp",
    "fix energy all vector 10 v_energy",
    "fix kelvin all vector 10 v_kelvin",
    "run ${steps}",
    "variable drift equal 1000*slope(f_energy)/(10*dt*atoms)",
    'if "${steps} >= 100" then &',
    "  \"print 'Constant energy: $(atoms:%.0f) atoms, none lost. Mean temperature $(ave(f_kelvin):%.0f) K.'\" &",
    "  \"print 'Drift of the total energy: $(v_drift:%.2g) meV/atom/ps, which should be below 1.'\"",
    "variable change equal pe/atoms-v_before",
    f'if "$(abs(v_change)) > $({CHANGE}+{THERMAL}*v_temperature)" then &',
    "  \"print 'WARNING: the potential energy changed by $(v_change:%.2g) eV/atom: the structure broke up, "
    "collapsed or transformed. Unless you expect that, the model is wrong there: add such configurations to the "
    "data.'\"",
)


def deck_text(
    structure: Configuration,
    deck: str,
    mod: str,
    data: str,
    atom_style: str,
    location: Sequence[str],
    *,
    several_ranks: bool = True,
    targets: Mapping[str, int] = MappingProxyType({}),
    uncertainty: Path | None = None,
) -> str:
    """Return a LAMMPS input that relaxes large forces, then runs at constant temperature and at constant energy.

    The box grows with the atoms along directions that are not periodic (``boundary m``), so that none is lost. A box
    that also shrinks (``boundary s``) is too small for neighbour bins around a planar molecule.

    Args:
        structure: initial structure.
        deck, mod, data: names of this input, of the ``.mod`` file and of the data file.
        atom_style: LAMMPS atom style.
        location: commands that find the folder of the files, see `location_commands`.
        several_ranks: whether the potential runs on several ranks.
        targets: see `Formats`.
        uncertainty: see `LammpsFiles`.
    """
    cell = to_lammps(structure)
    pressure = " press" if cell.boundary == "p p p" else ""  # undefined without a volume
    lines = [
        f"# Molecular dynamics with {mod}. Units metal: Å, ps, eV, K, bar.",
        f"# lmp -in {deck}" + (f"      or      mpirun -np 2 lmp -in {deck}" if several_ranks else ""),
        "# Without the plugin, memory of pair_style mliap grows with the square of the atoms per rank: 3 GB for 5000.",
        "variable temperature index 300",
        "variable steps index 1000",
        "variable relax index 200",
        *location,
        "",
        "units metal",
        *atom_style_commands(atom_style),
        f"boundary {cell.boundary.replace('f', 'm')}",
        f"read_data {in_home(data)}",
        f"replicate {' '.join(map(str, repeats(cell, TARGET_ATOMS)))}",
        f"include {in_home(mod)}",
        "neighbor 1.0 bin",
        "neigh_modify every 1 delay 0 check yes",
        "timestep 0.0005",
        f"thermo_style custom step temp pe ke etotal{pressure}",
        "thermo_modify lost error",
        "thermo 100",
        *([f"fix integrate all {SPIN_FIX}"] if atom_style == "spin" else []),
        "",
        "# Relax the atoms if a force is large: the structure would break up if MD started from it.",
        "run 0",
        "variable before equal $(pe/atoms)",
        f'if "$(fmax) > {LARGE_FORCE}" then &',
        "  \"print 'Largest force $(fmax:%.3g) eV/A: the atoms are relaxed.'\" &",
        '  "min_modify dmax 0.05" "minimize 0.0 0.05 ${relax} 1000" "reset_timestep 0"',
        "",
        *_lines_for_targets(targets),
        *_lines_for_uncertainty(uncertainty),
        "# Constant temperature. A single atom has no temperature.",
        'if "$(atoms) > 1" then "velocity all create ${temperature} 4928459 mom yes rot yes dist gaussian"',
        *([] if atom_style == "spin" else ["fix integrate all nve"]),
        "fix bath all langevin ${temperature} ${temperature} 0.05 48279 zero yes",
        "run ${steps}",
        "unfix bath",
        "",
        *CONSTANT_ENERGY,
    ]
    return "\n".join(lines) + "\n"


def _lines_for_targets(targets: Mapping[str, int]) -> list[str]:
    """Return comments with commands that write targets to a dump file."""
    if not targets:
        return []
    found = "f_targets" if sum(targets.values()) == 1 else "f_targets[*]"  # a vector or an array of atoms
    return [
        "# To write targets per atom every 100 steps, remove the # of the next two lines. Those of a configuration are",
        "# sums over the atoms, or means if they are intensive. Energies per atom: compute pe/atom.",
        f"# fix targets all pair 100 mliap {' '.join(f'{name} 0' for name in targets)}",
        f"# dump targets all custom 100 targets.dump id type x y z {found}",
        "",
    ]


def _lines_for_uncertainty(uncertainty: Path | None) -> list[str]:
    """Return commands that watch the uncertainty of forces."""
    if uncertainty is None:
        return []
    return ["# Warn of atoms outside the domain of the training set.", f"include {in_home(uncertainty.name)}", ""]


def starting_structure(candidates: Iterable[tuple[Configuration, Evaluation]]) -> Configuration:
    """Return the initial structure of the example: the quietest one.

    Preferred are, in this order, the largest number of elements, full periodicity, more than one atom, forces below
    ``QUIET`` or as small as possible, and the lowest energy per atom. Forces are those of the label or of the model,
    whichever are larger, and include the stress times the area per atom.

    Args:
        candidates: configurations and their predictions, at least one.
    """

    def rank(candidate: tuple[Configuration, Evaluation]) -> tuple[int, bool, bool, float, float]:
        configuration, evaluation = candidate
        periodic = all(configuration.pbc)
        isolated = len(configuration) == 1 and not any(configuration.pbc)
        energy = configuration.energy if configuration.energy is not None else evaluation.energy
        force = max(QUIET, _largest_force(configuration, evaluation))
        return -len(set(configuration.species)), not periodic, isolated, force, energy / len(configuration)

    return min(candidates, key=rank)[0]


def _largest_force(configuration: Configuration, evaluation: Evaluation) -> float:
    """Return the largest force on an atom, or on the area of an atom by the stress, eV/Å."""
    forces = [
        np.linalg.norm(each, axis=1).max() for each in (configuration.forces, evaluation.forces) if each is not None
    ]
    if all(configuration.pbc):
        area = (configuration.volume / len(configuration)) ** (2 / 3)
        stresses = (configuration.stress, evaluation.stress)
        forces += [area * np.abs(each).max() for each in stresses if each is not None]
    return float(max(forces, default=np.inf))
