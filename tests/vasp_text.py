"""Text of OUTCAR and vasprun.xml files in VASP's layout, with labels of known values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import ase.units
import numpy as np
import pytest
from ase import Atoms

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.findings import Finding

REACHED = "aborting loop because EDIFF is reached"
NOT_REACHED = "aborting loop EDIFF was not reached (unconverged)"
HARD_STOP = "aborting loop because hard stop was set"
RULE = " " + "-" * 83
DATED = "01Jan2000"


@dataclass
class Step:
    """Ionic step: labels in VASP's units and sign, and the course of the electronic loop.

    Attributes:
        pressure: (3, 3) kB.
        changes: total-energy and band-energy change of the last iteration, eV.
        result: which results VASP prints: of density functional theory ("dft"), of a force field ("ml"), or both.
    """

    atoms: Atoms
    energy: float
    entropy_term: float = 0.0  # energy without entropy minus free energy
    forces: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    pressure: Floats = field(default_factory=lambda: np.zeros((3, 3)))
    iterations: int = 8
    ending: str = REACHED
    changes: tuple[float, float] = (-1e-3, -2e-3)
    result: str = "dft"


def steps(count: int, symbols: str = "Ta2O", seed: int = 0) -> list[Step]:
    """Return steps with random positions and labels that OUTCAR prints without rounding."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        cell = np.round(4.0 * np.eye(3) + rng.normal(scale=0.2, size=(3, 3)), 9)
        atoms = Atoms(symbols, cell=cell, pbc=True)
        atoms.positions = np.round(rng.uniform(0, 4, size=(len(atoms), 3)), 5)
        pressure = np.round(rng.normal(scale=50.0, size=(3, 3)), 5)
        made.append(
            Step(
                atoms,
                energy=round(-20.0 - number + rng.normal(), 8),
                entropy_term=0.25,
                forces=np.round(rng.normal(size=(len(atoms), 3)), 6),
                pressure=np.triu(pressure) + np.triu(pressure, 1).T,
            )
        )
    return made


def outcar(made: Sequence[Step], *, end: bool = True, vdw: bool = False, **tags: object) -> str:
    """Return the text of an OUTCAR.

    Args:
        made: ionic steps of the same atoms, sorted by species.
        end: whether the run finished.
        vdw: whether forces and energies without van der Waals correction are printed, too (IVDW).
        tags: INCAR parameters.
    """
    kinds = [(symbol, len(list(run))) for symbol, run in groupby(made[0].atoms.get_chemical_symbols())]
    values = {"NELM": 60, "EDIFF": 1e-4, "NSW": len(made), "IBRION": 0, "ISIF": 2, "ICHARG": 2, "IALGO": 38, **tags}
    lines = [" vasp.6.4.2 20Jul23 (build Oct 18 2023 12:00:00) complex", " INCAR:"]
    lines += [f"   {name} = {value}" for name, value in tags.items()]
    lines += [f" POTCAR:    PAW_PBE {symbol}_sv {DATED}" for symbol, _ in kinds]
    for symbol, _ in kinds:
        lines += [f" POTCAR:    PAW_PBE {symbol}_sv {DATED}", f"   VRHFIN ={symbol}: 5p6s5d"]
        lines += [f"   TITEL  = PAW_PBE {symbol}_sv {DATED}      "]
    counts = "".join(f"{count:4d}" for _, count in kinds[:10])  # VASP prints no more
    lines += [
        f"   number of dos      NEDOS =    301   number of ions     NIONS = {len(made[0].atoms):6d}",
        f"   ions per type =            {counts}",
        "   ISPIN  =      1    spin polarized calculation?",
        f"   NELM   = {values['NELM']:6};   NELMIN=  2; NELMDL= -5     # of ELM steps",
        f"   EDIFF  = {values['EDIFF']:.1E}   stopping-criterion for ELM",
        f"   NSW    = {values['NSW']:6}    number of steps for IOM",
        f"   IBRION = {values['IBRION']:6}    ionic relax: 0-MD 1-quasi-New 2-CG",
        f"   ISIF   = {values['ISIF']:6}    stress and relaxation",
        f"   ICHARG = {values['ICHARG']:6}    charge: 1-file 2-atom 10-const",
        f"   IALGO  = {values['IALGO']:6}    algorithm",
        " k-points in reciprocal lattice and weights: Automatic mesh",
        "   0.00000000  0.00000000  0.00000000       1.000",
    ]
    lines += _lattice(made[0].atoms)
    for number, step in enumerate(made, start=1):
        if "ml" in step.result:
            lines += _results(step, vdw=False, predicted=True)
        if "dft" in step.result:
            lines += _electronic_loop(step, number) + _results(step, vdw, predicted=False)
    return "\n".join([*lines, *[" General timing and accounting informations for this job:"] * end, ""])


def _electronic_loop(step: Step, number: int) -> list[str]:
    lines = []
    for iteration in range(1, step.iterations + 1):
        first, second = step.changes if iteration == step.iterations else (-1.0, -1.0)
        lines += [
            f"----------------------------------------- Iteration {number:4d}({iteration:4d})  ----------------",
            f" total energy-change (2. order) :{first: .7E}  ({second: .7E})",
            f"  free energy    TOTEN  = {step.energy + first:18.8f} eV",
            f"  energy without entropy = {step.energy:18.8f}  energy(sigma->0) = {step.energy:18.8f}",
        ]
    return [*lines, f"------------------------ {step.ending} ------------------------"]


def _lattice(atoms: Atoms) -> list[str]:
    rows = np.hstack((atoms.cell.array, np.linalg.inv(atoms.cell.array).T))
    title = "      direct lattice vectors                 reciprocal lattice vectors"
    return [title, *("   " + "".join(f"{value:13.9f}" for value in row) for row in rows), ""]


def _results(step: Step, vdw: bool, predicted: bool) -> list[str]:
    """Results of a step; those of a force field are zero, and their lines are marked by ML."""
    mark = " ML" if predicted else ""
    energy, forces, p = step.energy * (not predicted), step.forces * (not predicted), step.pressure
    without = energy + step.entropy_term
    others = forces * 0.9
    title = " POSITION                                       TOTAL-FORCE (eV/Angst)"
    title += (" (ML)" if predicted else "") + (",                   FORCE-w/o vdW (eV/Angst)" if vdw else "")
    tail, gap = (" eV    w/o vdW =       -1.00000000", " eV    w/o vdW =       -1.10000000") if vdw else (" eV", "")
    lines = [
        f" {mark} FORCE on cell =-STRESS in cart. coord.  units (eV):",
        "  in kB   " + "".join(f"{v:12.5f}" for v in (p[0, 0], p[1, 1], p[2, 2], p[0, 1], p[1, 2], p[2, 0])),
        "   Total+kin.   111.111     222.222     333.333       4.444       5.555       6.666",
        *_lattice(step.atoms),
        title,
        RULE,
    ]
    for position, force, other in zip(step.atoms.positions, forces, others, strict=True):
        row = "".join(f"{v:13.5f}" for v in position) + "   " + "".join(f"{v:14.6f}" for v in force)
        lines.append(row + "".join(f"{v:14.6f}" for v in other) * vdw)
    return [
        *lines,
        RULE,
        "    total drift:                                0.000000      0.000000      0.000000",
        "",
        f" {mark} FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
        "  ---------------------------------------------------",
        f"  free  energy {mark.strip() or ' '} TOTEN  = {energy:18.8f}{tail}",
        "",
        f" {mark} energy  without entropy= {without:16.8f}{gap}  energy(sigma->0) = {without:16.8f}{gap}",
        "  enthalpy is  TOTEN    =       999.00000000 eV   P V=      999.00000000",
        "",
    ]


def vasprun(made: Sequence[Step], *, end: bool = True, response: int = 0, **tags: object) -> str:
    """Return the text of a vasprun.xml.

    Args:
        made: ionic steps of the same atoms.
        end: whether the run finished.
        response: number of iterations of a linear response, which follow the results of a step.
        tags: INCAR parameters.
    """
    values = {"NELM": 60, "NSW": len(made), "IBRION": 0, "ISIF": 2, "ICHARG": 2, "IALGO": 38, **tags}
    first = made[0].atoms
    items = "".join(f'<i type="int" name="{name}">{value}</i>\n' for name, value in values.items() if name != "PSTRESS")
    atoms = "".join(f"<rc><c>{symbol:2s}</c><c>   1</c></rc>\n" for symbol in first.get_chemical_symbols())
    pstress = float(str(tags.get("PSTRESS", 0.0)))
    lines = [
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n',
        '<kpoints><varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1</v></varray></kpoints>\n',
        f'<parameters>\n{items}<i name="PSTRESS">{pstress}</i>\n',
        '<separator name="response functions"><i type="int" name="NELM">1</i></separator></parameters>\n',
        f'<atominfo><atoms>{len(first)}</atoms><array name="atoms"><set>\n{atoms}</set></array></atominfo>\n',
        f'<structure name="initialpos">{_structure(first)}</structure>\n',
    ]
    for step in made:
        body = f"<structure>{_structure(step.atoms)}</structure>\n" + _rows("forces", step.forces)
        body += _rows("stress", step.pressure)
        if step.result == "ml":
            lines.append(f"{body}{_energy(step, 0.0)}\n")
            continue
        pv = pstress * step.atoms.cell.volume / 1602.17733  # kB Å³ to eV
        loop = f"<scstep>{_energy(step, 0.0)}</scstep>\n"
        body = f"{loop * step.iterations}{body}{_energy(step, pv)}\n{loop * response}"
        lines.append(f"<calculation>\n{body}</calculation>\n")
    return "".join(lines) + f'<structure name="finalpos">{_structure(first)}</structure>\n</modeling>\n' * end


def _rows(name: str, table: Floats) -> str:
    rows = "".join("<v>" + " ".join(f"{value:.12f}" for value in row) + "</v>\n" for row in table)
    return f'<varray name="{name}">\n{rows}</varray>\n'


def _structure(atoms: Atoms) -> str:
    scaled = atoms.get_scaled_positions(wrap=False)
    return f"<crystal>{_rows('basis', atoms.cell.array)}</crystal>{_rows('positions', scaled)}"


def _energy(step: Step, pv: float) -> str:
    """Energies of an iteration, or the final ones, of which VASP 5 prints only e_fr_energy correctly."""
    without = step.energy + step.entropy_term if pv == 0.0 else 0.0
    return (
        f'<energy><i name="e_fr_energy">{step.energy + pv:.8f}</i><i name="e_wo_entrp">{without:.8f}</i>'
        f'<i name="e_0_energy">{without:.8f}</i></energy>'
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def assert_step(configuration: Configuration, step: Step) -> None:
    """Compare what was read with what was written."""
    assert configuration.species == tuple(step.atoms.get_chemical_symbols())
    assert configuration.pbc == (True, True, True)
    assert np.allclose(configuration.positions, step.atoms.positions, atol=1e-8)
    assert np.allclose(configuration.cell, step.atoms.cell.array, atol=1e-8)
    assert configuration.energy == pytest.approx(step.energy, abs=1e-7)
    assert configuration.forces is not None
    assert np.allclose(configuration.forces, step.forces, atol=1e-8)
    assert configuration.stress is not None
    assert np.allclose(configuration.stress, -0.1 * ase.units.GPa * step.pressure, rtol=1e-7)


def remarks(findings: list[Finding], *, warning: bool = False) -> str:
    """Return the warnings, or the notes."""
    return "\n".join(f"{one.where}: {one.what}" for one in findings if one.warning is warning)
