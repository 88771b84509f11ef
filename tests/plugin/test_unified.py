"""pair_style mliap unified against LAMMPS' own pair styles, and against a LAMMPS with Python ML-IAP, digit by digit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from decks import crystal, save, start, tilted, write_deck
from plain_models import LennardJones, Multiplies
from processes import run

from fitsnap_nn.lammps.session import open_lammps
from fitsnap_nn.plugin import stubs

if TYPE_CHECKING:
    from lammps import lammps

DIGITS = """
units lj
atom_style atomic
lattice fcc 0.8442
region box block 0 6 0 6 0 6
create_box 1 box
create_atoms 1 box
mass 1 1.0
displace_atoms all random 0.1 0.1 0.1 4711
velocity all create 1.44 87287 loop geom
pair_style mliap unified lj.pkl 0
pair_coeff * * Ar
neighbor 0.3 bin
neigh_modify every 5 delay 0 check no
fix move all nve
compute energy all pe/atom
compute stress all stress/atom NULL
thermo_style custom step temp pe etotal press pxx pyy pzz pxy pxz pyz
thermo_modify format float %.14g
thermo 50
dump atoms all custom 50 NAME.dump id x y z fx fy fz c_energy c_stress[*]
dump_modify atoms sort id format float %.16g
run 100
"""

CUT, SIGMA, EPSILON = 5.0, 2.2, 0.01
LJ_CUT = f"lj/cut {CUT}"


@pytest.fixture(scope="module")
def lj(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("lj") / "lj.pkl", lennard_jones())


def lennard_jones() -> LennardJones:
    return LennardJones(element_types=["Kr", "Ar"], epsilon=EPSILON, sigma=SIGMA, rcutfac=CUT / 2)


# A smaller system where neighbours of ghosts are listed: LAMMPS' model then counts pairs more than once.
GHOSTS = (
    DIGITS.replace("0 6 0 6 0 6", "0 5 0 5 0 5")
    .replace("lj.pkl 0", "lj.pkl 1\ncomm_modify cutoff 5.6")
    .replace("run 100", "timestep 1e-4\nrun 50")
)


@pytest.mark.parametrize(("ranks", "commands"), [(1, DIGITS), (2, DIGITS), (4, DIGITS), (2, GHOSTS)])
def test_all_digits_of_native(
    tmp_path: Path, native_lammps: list[str], plugin_environment: None, ranks: int, commands: str
) -> None:
    """Positions, forces, energies and stresses of atoms, and thermodynamic output."""
    stubs.install()
    from lammps.mliap.mliap_unified_lj import MLIAPUnifiedLJ

    save(tmp_path / "lj.pkl", MLIAPUnifiedLJ(["Ar"]))
    outputs = {}
    for name, prefix in {"ours": [], "native": native_lammps}.items():
        deck = write_deck(tmp_path / f"{name}.deck", [commands.replace("NAME", name)])
        ended = run([*prefix, "mpirun", "-np", str(ranks), "lmp", "-in", str(deck), "-log", "none"], tmp_path, 100)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        thermo = ended.stdout[ended.stdout.index("   Step") : ended.stdout.index("Loop time")]
        outputs[name] = thermo, (tmp_path / f"{name}.dump").read_text()
    assert outputs["ours"][0].count("\n") >= 3
    assert outputs["ours"] == outputs["native"]


def results(lammps: lammps) -> dict[str, np.ndarray]:
    """Sorted by atom id: forces, energies and stresses of atoms; energy and pressure tensor."""
    order = np.argsort(np.array(lammps.numpy.extract_atom("id"))[: lammps.extract_global("nlocal")])
    tensor = [lammps.get_thermo(f"p{axes}") for axes in ("xx", "yy", "zz", "xy", "xz", "yz")]
    return {
        "forces": np.array(lammps.numpy.extract_atom("f"))[order],
        "energies": np.array(lammps.numpy.extract_compute("energy", 1, 1))[order],
        "stresses": np.array(lammps.numpy.extract_compute("stress", 1, 2))[order],
        "energy": np.array(lammps.get_thermo("pe")),
        "pressure": np.array(tensor),
    }


def compare(lammps: lammps, commands: dict[str, list[str]]) -> None:
    """Run two lists of commands, each from the start; all results must agree, and add up."""
    found = []
    for lines in commands.values():
        lammps.command("clear")
        lammps.commands_list([*lines, "thermo_modify norm no"])
        lammps.command("run 0")
        found.append(results(lammps))
    ours, reference = found
    for name, expected in reference.items():
        np.testing.assert_allclose(ours[name], expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max(), err_msg=name)
    assert ours["energy"] == pytest.approx(ours["energies"].sum(), rel=1e-12)
    assert np.abs(reference["forces"]).max() > 0.001


def unified(file: Path, elements: str) -> list[str]:
    return [f"pair_style mliap unified {file} 0", f"pair_coeff * * {elements}"]


def lj_cut() -> list[str]:
    return [f"pair_style {LJ_CUT}", f"pair_coeff * * {EPSILON} {SIGMA}"]


WAYS = {
    "plain": [],
    "newton off": ["newton off"],
    "newton off for pairs": ["newton off on"],
    "minimize": [],
    "npt": [],
}
AFTER = {
    "minimize": ["fix box all box/relax iso 0.0 vmax 0.01", "minimize 0.0 1e-8 20 40", "unfix box"],
    "npt": ["velocity all create 50 7", "fix box all npt temp 50 50 0.1 tri 0 0 1", "run 20", "unfix box"],
}


@pytest.mark.parametrize("way", WAYS)
def test_same_as_pair_lj_cut(lammps_here: lammps, tmp_path: Path, lj: Path, way: str) -> None:
    atoms = tilted(crystal(3))
    commands = {
        name: [*WAYS[way], *start(tmp_path / "data", atoms, pair), *AFTER.get(way, [])]
        for name, pair in {"ours": unified(lj, "Ar Kr"), "lj/cut": lj_cut()}.items()
    }
    compare(lammps_here, commands)


@pytest.mark.parametrize("newton", ["on", "off"])
@pytest.mark.parametrize("style", ["hybrid", "hybrid/overlay"])
def test_hybrid_with_null_types(lammps_here: lammps, tmp_path: Path, lj: Path, style: str, newton: str) -> None:
    """Only krypton is the model's; the rest, and with hybrid/overlay a part of krypton too, is that of lj/cut."""
    others = ["1 1", "1 2"] if style == "hybrid" else ["* *"]
    ours = [
        f"pair_style {style} {LJ_CUT} mliap unified {lj} 0",
        *(f"pair_coeff {types} lj/cut {EPSILON} {SIGMA}" for types in others),
        "pair_coeff * * mliap NULL Kr",
    ]
    doubled = 1 if style == "hybrid" else 2
    reference = [*lj_cut(), f"pair_coeff 2 2 {doubled * EPSILON} {SIGMA}"]
    commands = {
        name: [f"newton {newton}", *start(tmp_path / "data", crystal(3), pair)]
        for name, pair in {"ours": ours, "lj/cut": reference}.items()
    }
    compare(lammps_here, commands)


def test_two_instances_and_a_restart(lammps_here: lammps, tmp_path: Path, lj: Path, plugin_environment: None) -> None:
    lines = start(tmp_path / "data", crystal(3), unified(lj, "Ar Kr"))
    lammps_here.commands_list([*lines, "run 2", f"write_restart {tmp_path / 'restart'}", "run 0"])
    other = open_lammps()
    other.commands_list([f"read_restart {tmp_path / 'restart'}", *unified(lj, "Ar Kr"), *lines[-3:], "run 0"])
    first, second = results(lammps_here), results(other)
    for name, values in first.items():
        np.testing.assert_allclose(second[name], values, rtol=1e-10, atol=1e-10, err_msg=name)
    other.close()
    lammps_here.command("run 0")


def test_model_handed_over_from_python(lammps_here: lammps, tmp_path: Path, lj: Path) -> None:
    stubs.install()
    import lammps.mliap

    lammps.mliap.activate_mliappy(lammps_here)
    lammps.mliap.load_unified(lennard_jones())
    compare(
        lammps_here,
        {
            name: start(tmp_path / "data", crystal(3), pair)
            for name, pair in {"python": unified(Path("EXISTS"), "Ar Kr"), "file": unified(lj, "Ar Kr")}.items()
        },
    )


def test_matrix_products_are_torch_s_own(tmp_path: Path, plugin_environment: None) -> None:
    """LAMMPS exports a slow one of the same name, whose sums are rounded in another order."""
    pair = [
        f"pair_style mliap unified {save(tmp_path / 'model.pkl', Multiplies(units='metal'))}",
        "pair_coeff * * Ar Ar",
    ]
    deck = write_deck(tmp_path / "deck", [*start(tmp_path / "data", crystal(2), pair), "run 0"])
    in_lammps = run(["lmp", "-in", str(deck), "-log", "none"], tmp_path, 60)
    alone = run(
        [sys.executable, "-c", "import plain_models; print('digits', plain_models.matrix_product())"], tmp_path, 60
    )
    assert alone.stdout.startswith("digits ")
    assert alone.stdout in in_lammps.stdout, in_lammps.stdout + in_lammps.stderr
