"""``pair_style mliap model mliappy`` on our SNAP kernel gives what LAMMPS gives on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from decks import COLUMNS, last_dump, start, write_deck
from mliappy_cases import CHEM, INP, TA, THREE, displaced, random_networks, sheared, tantalum, write_potential
from numpy.typing import NDArray
from once import once
from processes import run

from fitsnap_nn.settings.schema import Bispectrum

pytestmark = pytest.mark.timeout(100)

THERMO = "pe press pxx pyy pzz pxy pxz pyz"


@dataclass(frozen=True)
class Case:
    """One structure with one potential.

    Attributes:
        types: elements of the atom types.
        pair: the pair style's commands, with MLIAP for the words after ``mliap``.
        before: commands before there is a box.
        after: commands once there are atoms and a pair style.
    """

    bispectrum: Bispectrum
    atoms: Atoms
    types: tuple[str, ...]
    pair: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    activation: str = "tanh"


def case(bispectrum: Bispectrum, *, atoms: Atoms | None = None, **choices: Any) -> Case:
    elements = bispectrum.type
    pair = ("pair_style mliap MLIAP", f"pair_coeff * * {' '.join(elements)}")
    found = atoms or (tantalum(2) if elements == ("Ta",) else displaced("bcc", 3.1, (3, 2, 2), elements, 5))
    return Case(bispectrum, found, **{"types": elements, "pair": pair, **choices})


MIXED = displaced("bcc", 3.1, (3, 2, 2), ("In", "P"), 6)
WITH_ALUMINIUM = displaced("bcc", 3.1, (3, 2, 2), ("In", "P", "Al"), 7)
ZBL = ("pair_coeff 1 1 zbl 49 49", "pair_coeff 1 2 zbl 49 15", "pair_coeff 2 2 zbl 15 15")

CASES = {
    "one element": case(TA),
    "two elements": case(INP),
    "three elements": case(THREE),
    "odd twojmax": case(replace(INP, twojmax=(5,))),
    "twojmax 0": case(replace(INP, twojmax=(0,))),
    "twojmax 1": case(replace(INP, twojmax=(1,))),
    "twojmax 8": case(replace(TA, twojmax=(8,))),
    "rmin0 and rfac0": case(replace(INP, rfac0=0.9, rmin0=0.3, rcutfac=5.1)),
    "bzeroflag": case(replace(INP, bzeroflag=True)),
    "bnormflag": case(replace(INP, bnormflag=True, bzeroflag=True)),
    "switchflag 0": case(replace(INP, switchflag=False)),
    "switchinnerflag": case(replace(INP, switchinnerflag=True, sinner=(2.9, 2.4), dinner=(0.6, 0.5))),
    "wselfallflag without chemflag": case(replace(INP, wselfallflag=True, bzeroflag=True)),
    "chemflag": case(CHEM),
    "chemflag of one element": case(replace(TA, chemflag=True, bzeroflag=False)),
    "chemflag of three elements": case(replace(THREE, chemflag=True, twojmax=(2,))),
    "chemflag, bzeroflag": case(replace(CHEM, bzeroflag=True, twojmax=(4,))),
    "chemflag, wselfallflag": case(replace(CHEM, wselfallflag=True)),
    "chemflag and all others": case(
        replace(
            CHEM, wselfallflag=True, bnormflag=True, bzeroflag=True, rmin0=0.2, rfac0=0.95,
            switchinnerflag=True, sinner=(2.6, 2.2), dinner=(0.5, 0.4),
        )
    ),
    "triclinic": case(INP, atoms=sheared(MIXED)),
    "one cell, thinner than the cutoff": case(THREE, atoms=sheared(displaced("fcc", 3.6, (1, 1, 1), THREE.type, 8))),
    "a slab": case(TA, atoms=Atoms(tantalum(2), pbc=(True, True, False), cell=[6.6, 6.6, 30.0])),
    "other order of types": case(INP, atoms=MIXED, types=("P", "In"), pair=(
        "pair_style mliap MLIAP", "pair_coeff * * P In",
    )),
    "some of the elements": case(THREE, atoms=displaced("bcc", 3.1, (3, 2, 2), ("Al", "In"), 9), types=("Al", "In"),
        pair=("pair_style mliap MLIAP", "pair_coeff * * Al In"),
    ),
    "one element for two types": case(INP, atoms=WITH_ALUMINIUM, types=THREE.type, pair=(
        "pair_style mliap MLIAP", "pair_coeff * * In P In",
    )),
    "four types": case(THREE, atoms=displaced("bcc", 3.1, (3, 2, 2), ("In", "P", "Al", "Ga"), 10),
        types=("In", "P", "Al", "Ga"), pair=("pair_style mliap MLIAP", "pair_coeff * * Al In P In"),
    ),
    "hybrid with NULL": case(INP, atoms=WITH_ALUMINIUM, types=THREE.type, pair=(
        "pair_style hybrid lj/cut 5.0 mliap MLIAP", "pair_coeff * * mliap In P NULL",
        "pair_coeff 1*3 3 lj/cut 0.05 2.6",
    )),
    "hybrid, a pair taken away": case(INP, atoms=MIXED, pair=(
        "pair_style hybrid zbl 4.0 4.8 mliap MLIAP", "pair_coeff * * mliap In P", "pair_coeff 1 2 zbl 49 15",
    )),
    "overlay": case(INP, atoms=MIXED, pair=(
        "pair_style hybrid/overlay zbl 4.0 4.8 mliap MLIAP", *ZBL, "pair_coeff * * mliap In P",
    )),
    "overlay with NULL": case(INP, atoms=WITH_ALUMINIUM, types=THREE.type, pair=(
        "pair_style hybrid/overlay zbl 4.0 4.8 mliap MLIAP", "pair_coeff * * zbl 49 49",
        "pair_coeff * * mliap NULL P In",
    )),
    "twice, scaled": case(INP, atoms=MIXED, pair=(
        "pair_style hybrid/scaled 0.3 mliap MLIAP 0.7 mliap MLIAP",
        "pair_coeff * * mliap 1 In P", "pair_coeff * * mliap 2 P In",
    )),
    "tiled": case(TA, atoms=tantalum(3), before=("comm_style tiled",), after=("balance 0.9 rcb",)),
    "other grid of processors": case(TA, atoms=tantalum(3), before=("processors 1 1 *",)),
    "ranks without atoms": case(INP, atoms=Atoms(MIXED, pbc=False, cell=[40.0, 40.0, 40.0])),
    "virial summed over pairs": case(INP, after=("pair_modify nofdotr",)),
    "neighbors found by type": case(INP, after=("neighbor 0.5 multi", "comm_modify mode multi")),
    "ghosts from further away": case(INP, after=("comm_modify cutoff 9.0",)),
}  # fmt: skip


# Cases in which ranks matter.
PARALLEL = (
    "three elements", "chemflag and all others", "triclinic", "one cell, thinner than the cutoff", "hybrid with NULL",
    "overlay", "tiled", "neighbors found by type", "other grid of processors", "ghosts from further away",
    "virial summed over pairs", "ranks without atoms",
)  # fmt: skip
SOFTPLUS = {
    "softplus": case(THREE, activation="softplus"),
    "softplus, chemflag": case(CHEM, activation="softplus"),
    "softplus, overlay": replace(CASES["overlay"], activation="softplus"),
    "softplus, tiled": replace(CASES["tiled"], activation="softplus"),
}
ALL = {**CASES, **SOFTPLUS}


@dataclass(frozen=True)
class Way:
    """How cases are run: one after the other, by one LAMMPS.

    Attributes:
        form: of the model, ``mliappy`` or ``nn``.
        names: of the cases.
        instructions: that our kernel is to use; the best if empty.
    """

    form: str
    names: Iterable[str]
    ranks: int = 1
    instructions: str = ""
    native: bool = False


FEW = ("two elements", "twojmax 8", "chemflag and all others")
WAYS = {
    "nn": Way("nn", CASES),
    "mliappy": Way("mliappy", ALL),
    "2 ranks": Way("mliappy", (*PARALLEL, *SOFTPLUS), ranks=2),
    "3 ranks": Way("mliappy", ("triclinic", "overlay", "tiled", "ranks without atoms"), ranks=3),
    "native": Way("mliappy", SOFTPLUS, native=True),
    "sse2": Way("mliappy", FEW, instructions="sse2"),
    "avx2": Way("mliappy", FEW, instructions="avx2"),
    "avx512": Way("mliappy", FEW, instructions="avx512"),
}


def commands(folder: Path, name: str, way: str) -> list[str]:
    """A step of a case, whose results go to files named after case and way."""
    case, number = ALL[name], list(ALL).index(name)
    files = write_potential(folder, str(number), case.bispectrum, random_networks(case.bispectrum, case.activation))
    pair = [line.replace("MLIAP", getattr(files, WAYS[way].form)) for line in case.pair]
    first, *rest = start(folder / f"{number}.data", case.atoms, pair, case.types)
    numbers = " ".join(f"$({name}:%.17g)" for name in THERMO.split())
    stem = stem_of(name, way)
    return [
        "clear",
        first,
        *case.before,
        *rest,
        *case.after,
        f"thermo_style custom step {THERMO}",
        "run 0",
        f'print "{numbers}" file {stem}.thermo',
        f"write_dump all custom {stem}.dump {COLUMNS} modify sort id format float %.17g",
    ]


def stem_of(name: str, way: str) -> str:
    return f"{list(ALL).index(name)}.{way.replace(' ', '_')}"


Results = Callable[[str, str], tuple[NDArray[np.float64], NDArray[np.float64]]]


@pytest.fixture(scope="module")
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, plugin_environment: None
) -> Results:
    """Thermodynamic output (8,) and dumped rows (N, 15) of a case, run in one of the ``WAYS``."""
    folder = tmp_path_factory.mktemp("agreement")

    @once
    def run_all(name: str) -> None:
        way = WAYS[name]
        deck = write_deck(folder / "in.deck", [line for case in way.names for line in commands(folder, case, name)])
        prefix = request.getfixturevalue("native_lammps") if way.native else []
        launcher = ["mpirun", "-np", str(way.ranks)] if way.ranks > 1 else []
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FITSNAP_NN_SNAP_ISA", way.instructions)
            ended = run([*prefix, *launcher, "lmp", "-in", str(deck), "-log", "none"], folder, timeout=90)
        if "does not support the instruction set" in ended.stdout:
            pytest.skip(f"this processor has no instruction set {way.instructions}")
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def results_of(name: str, way: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        run_all(way)
        stem = stem_of(name, way)
        return np.loadtxt(folder / f"{stem}.thermo"), last_dump(folder / f"{stem}.dump")

    return results_of


@pytest.mark.parametrize(("way", "name"), [(way, name) for way in WAYS for name in WAYS[way].names if name in CASES])
def test_equal_to_model_nn(results: Results, way: str, name: str) -> None:
    if way != "nn":
        assert_equal(results(name, way), results(name, "nn"))
    else:
        assert np.abs(results(name, way)[1][:, 5:8]).max() > 0.01


@pytest.mark.parametrize("name", SOFTPLUS)
@pytest.mark.parametrize("way", ["mliappy", "2 ranks"])
def test_equal_to_native_mliappy(native_lammps: list[str], results: Results, way: str, name: str) -> None:
    assert_equal(results(name, way), results(name, "native"))


def assert_equal(
    found: tuple[NDArray[np.float64], NDArray[np.float64]], expected: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> None:
    """Energy, pressures, forces, energies and stresses of atoms: each to twelve digits of the largest."""
    assert found[1].shape == expected[1].shape
    parts = [
        (result[0][:1], result[0][1:], result[1][:, 5:8], result[1][:, 8], result[1][:, 9:])
        for result in (found, expected)
    ]
    for ours, theirs in zip(*parts, strict=True):
        assert np.abs(theirs).max() > 0.0
        assert np.abs(ours - theirs).max() <= 1e-12 * np.abs(theirs).max()
