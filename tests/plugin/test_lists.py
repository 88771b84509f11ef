"""Models that follow LAMMPS' neighbour lists, as on a GPU, against the same models on pairs that LAMMPS selects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from toy_model import AtomMessages, EdgeMessages

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.resident import ResidentModel
from fitsnap_nn.export.unified import UnifiedModel
from fitsnap_nn.lammps.session import open_lammps
from fitsnap_nn.models import GraphModel, build_model
from fitsnap_nn.plugin import stubs
from fitsnap_nn.plugin.data import ListStep

if TYPE_CHECKING:
    from lammps import lammps

ELEMENTS = ["Ta", "O"]
PRESSURES = ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")
SMALL_MACE = {"max_ell": 2, "correlation": 2, "radial_MLP": [8], "MLP_irreps": "4x0e", "avg_num_neighbors": 9.0}
MODELS: Mapping[str, Mapping[str, Any]] = {
    "MACE": {"r_max": 4.0, "hidden_irreps": "4x0e+4x1o", **SMALL_MACE},
    "MACE without cutoff of messages": {
        "r_max": 4.0,
        "hidden_irreps": "4x0e+4x1o",
        "apply_cutoff": False,
        "pair_repulsion": True,
        **SMALL_MACE,
    },
    "NANOPET": {"cutoff": 4.0, "d_pet": 8, "num_heads": 2, "zbl": True},
    "SOAP_BPNN": {"cutoff_radius": 4.0, "max_angular": 3, "max_radial": 3, "zbl": True},
    "CUSTOM": {"cutoff": 4.0, "layer_sizes": ["num_desc", "8", "1"], "multi_element_option": 3},
}
OF_OPTIONAL = {"MACE": "mace", "SOAP_BPNN": "spex"}

PAIR = ("pair_style mliap unified EXISTS 0", "pair_coeff * * Ta O")
OVERLAY = (
    "pair_style hybrid/overlay lj/cut 3.0 mliap unified EXISTS 0",
    "pair_coeff * * mliap Ta O",
    "pair_coeff * * lj/cut 0.01 2.5",
)
WITHOUT_ONE = (*OVERLAY[:1], "pair_coeff * * mliap Ta NULL", *OVERLAY[2:])
MOVE = ("velocity all create 2000 1", "fix move all nve")


def box(cells: int) -> list[str]:
    """A sheared cell of displaced atoms of two types."""
    return [
        "lattice bcc 3.3",
        f"region box prism 0 {cells} 0 {cells} 0 {cells} 0.2 0.1 -0.2",
        "create_box 2 box",
        "create_atoms 1 box",
        "set group all type/fraction 2 0.4 4433",
        "displace_atoms all random 0.1 0.1 0.1 7",
        "mass * 30.0",
        "neighbor 0.4 bin",
    ]


# What is run after each other; results are compared after each block.
BLOCKS: Mapping[str, tuple[Sequence[str], Sequence[str], Sequence[Sequence[str]]]] = {
    "changes": (
        box(3),
        PAIR,
        (
            ("run 0",),
            (*MOVE, "run 20"),
            ("unfix move", "fix move all npt temp 500 500 0.1 tri 5000 5000 0.3", "run 10"),
            ("run 3 pre no",),
            ("delete_atoms random fraction 0.2 yes all NULL 3", "run 3"),
            ("create_atoms 2 random 3 5 NULL overlap 1.0", "run 2"),
            ("set atom 1*5 type 2", "run 2"),
            ("unfix move", "minimize 0 1e-3 4 20"),
            ("change_box all x scale 0.93 remap", "run 2"),
        ),
    ),
    "several images": (box(1), PAIR, (("run 0",), (*MOVE, "run 15"))),
    "compressed between builds": (
        ["newton off", *box(3), "neighbor 2.0 bin"],
        PAIR,
        (
            ("neigh_modify every 1000 delay 0 check no", *MOVE, "run 1"),
            ("fix shrink all deform 1 x scale 0.9 y scale 0.9 remap x", "run 10"),
        ),
    ),
    "with another pair style": (box(3), OVERLAY, (("run 0",), (*MOVE, "run 10"))),
    "an element that is not the model's": (box(3), WITHOUT_ONE, (("run 0",), (*MOVE, "run 10"))),
}


def prepared(model: GraphModel) -> GraphModel:
    model.set_precision(torch.float64)
    model.element_energies += torch.tensor([-30.0, 2.5])
    return model.eval().requires_grad_(False)


@pytest.fixture(params=["atoms", "edges", "local", *MODELS])
def model(request: pytest.FixtureRequest) -> GraphModel:
    torch.manual_seed(5)
    toys = {
        "atoms": lambda: AtomMessages(ELEMENTS),
        "edges": lambda: EdgeMessages(ELEMENTS, layers=3),
        "local": lambda: AtomMessages(ELEMENTS, layers=1),
    }
    if request.param in toys:
        return prepared(toys[request.param]())
    name = request.param.partition(" ")[0]
    if name in OF_OPTIONAL:
        request.getfixturevalue(OF_OPTIONAL[name])
    return prepared(build_model({"architecture": name, "elements": ELEMENTS, **MODELS[request.param]}))


def mliap() -> Any:
    """The module of LAMMPS through which a script passes a model."""
    stubs.install()
    return import_module("lammps.mliap")


def results(
    instance: lammps, model: GraphModel, blocks: str, *, follows_lists: bool, dumped: str = ""
) -> list[NDArray[np.float64]]:
    """Energy, pressures, and by atom: energies, virials and forces, after each block."""
    mliap().load_unified(UnifiedModel(model, follows_lists=follows_lists))
    first, pair, runs = BLOCKS[blocks]
    averages = ["compute energy all pe/atom", "compute stress all stress/atom NULL virial", "thermo 1"]
    dumps = [f"dump all all custom 1 {dumped or '/dev/null'} id type x y z c_energy c_stress[1]"]
    instance.commands_list(["clear", "units metal", *first, *pair, *averages, *dumps, "timestep 0.002"])
    found = []
    for run in runs:
        instance.commands_list(list(run))
        order = np.argsort(instance.numpy.extract_atom("id")[: instance.get_natoms()])
        energies = instance.numpy.extract_compute("energy", 1, 1)[order]
        virials = instance.numpy.extract_compute("stress", 1, 2)[order] / 1e6
        forces = instance.numpy.extract_atom("f")[order]
        sums = [instance.get_thermo("pe"), *(instance.get_thermo(name) / 1e6 for name in PRESSURES)]
        found.append(np.concatenate([sums, energies, virials.ravel(), forces.ravel()]))
    return found


class Counted:
    """Counts how often lists are read, and steps and graphs of other sizes are computed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = dict.fromkeys(("_read", "_run", "_resize", "compute"), 0)
        for name in self.calls:
            monkeypatch.setattr(ResidentModel, name, self._counting(name, getattr(ResidentModel, name)))

    def _counting(self, name: str, method: Any) -> Any:
        def counting(*arguments: Any) -> Any:
            self.calls[name] += 1
            return method(*arguments)

        return counting


@pytest.mark.parametrize("blocks", ["changes", "several images"])
def test_the_same_results(lammps_here: lammps, monkeypatch: pytest.MonkeyPatch, model: GraphModel, blocks: str) -> None:
    counted = Counted(monkeypatch)
    expected = results(lammps_here, model, blocks, follows_lists=False)
    assert not any(counted.calls.values())
    found = results(lammps_here, model, blocks, follows_lists=True)
    assert 1 < counted.calls["_read"] < counted.calls["compute"]
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() < 1e-10 * max(1.0, np.abs(other).max())


@pytest.mark.parametrize(
    "blocks", ["compressed between builds", "with another pair style", "an element that is not the model's"]
)
def test_the_same_in_other_runs(lammps_here: lammps, monkeypatch: pytest.MonkeyPatch, blocks: str) -> None:
    torch.manual_seed(5)
    model, counted = prepared(EdgeMessages(ELEMENTS)), Counted(monkeypatch)
    expected = results(lammps_here, model, blocks, follows_lists=False)
    found = results(lammps_here, model, blocks, follows_lists=True)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() < 1e-10 * max(1.0, np.abs(other).max())
    grown = counted.calls["_run"] - counted.calls["compute"]
    assert grown > 0 if blocks == "compressed between builds" else grown == 0


def test_two_simulations_share_a_model(lammps_here: lammps) -> None:
    torch.manual_seed(5)
    model = prepared(AtomMessages(ELEMENTS))
    expected = results(lammps_here, model, "changes", follows_lists=False)[0]
    other = open_lammps(["-screen", "none", "-log", "none", "-nocite"])
    try:
        mliap().load_unified(UnifiedModel(model, follows_lists=True))
        for instance, cells in ((lammps_here, 3), (other, 2)):
            instance.commands_list(["clear", "units metal", *box(cells), *PAIR, "run 0"])
        lammps_here.command("run 0 pre no")
        assert lammps_here.get_thermo("pe") == pytest.approx(expected[0], abs=1e-9)
        lammps_here.commands_list(["fix move all nve", "run 1 pre no"])
        assert lammps_here.get_thermo("pe") == pytest.approx(expected[0], abs=1e-2)
    finally:
        other.close()


def test_rerun(lammps_here: lammps, tmp_path: Path) -> None:
    torch.manual_seed(5)
    model, energies = prepared(AtomMessages(ELEMENTS)), []
    for follows_lists in (False, True):
        dump = tmp_path / f"{follows_lists}.dump"
        results(lammps_here, model, "several images", follows_lists=follows_lists, dumped=str(dump))
        lammps_here.commands_list(["undump all", f"rerun {tmp_path / 'False.dump'} every 3 dump x y z"])
        energies.append(lammps_here.get_thermo("pe"))
    assert energies[1] == pytest.approx(energies[0], abs=1e-12)


def test_without_ids(lammps_here: lammps) -> None:
    """Ghosts learn their owners without them."""
    torch.manual_seed(5)
    model, energies = prepared(AtomMessages(ELEMENTS)), []
    first, pair, _ = BLOCKS["changes"]
    # LAMMPS' own lists of a sheared cell need IDs.
    one_type = [line.replace("prism", "block").replace(" 0.2 0.1 -0.2", "") for line in first if "frac" not in line]
    for identified in ("atom_modify map array", "atom_modify id no"):
        mliap().load_unified(UnifiedModel(model, follows_lists=True))
        lammps_here.commands_list(["clear", "units metal", identified, *one_type, *pair, "run 0"])
        energies.append(lammps_here.get_thermo("pe"))
    assert energies[1] == pytest.approx(energies[0], abs=1e-10)


@pytest.mark.parametrize("follows_lists", [False, True])
def test_atoms_at_the_same_place(lammps_here: lammps, follows_lists: bool) -> None:
    mliap().load_unified(UnifiedModel(prepared(AtomMessages(ELEMENTS)), follows_lists=follows_lists))
    first, pair, _ = BLOCKS["changes"]
    lammps_here.commands_list(["clear", "units metal", *first, *pair, "displace_atoms all move 0.3 0 0", "run 0"])
    place = " ".join(map(repr, lammps_here.numpy.extract_atom("x")[0].tolist()))
    lammps_here.command(f"create_atoms 1 single {place} units box")
    with pytest.raises(Exception, match=r"same (place|position)"):
        lammps_here.command("run 0")


@pytest.mark.parametrize("follows_lists", [False, True])
def test_an_energy_that_is_no_number(lammps_here: lammps, follows_lists: bool) -> None:
    model = prepared(AtomMessages(ELEMENTS))
    model.element_energies[1] = torch.nan
    with pytest.raises(Exception, match="not a finite number"):
        results(lammps_here, model, "several images", follows_lists=follows_lists)


def test_lammps_prints_the_note_once(lammps_here: lammps, tmp_path: Path) -> None:
    model = UnifiedModel(prepared(AtomMessages(ELEMENTS)), follows_lists=True)
    model.note = "The potential runs on cuda:7 (a GPU)"
    mliap().load_unified(model)
    first, pair, _ = BLOCKS["several images"]
    log = tmp_path / "log"
    lammps_here.commands_list([f"log {log}", "clear", "units metal", *first, *pair, "run 0", "run 0", "log none"])
    assert log.read_text(encoding="utf-8").splitlines().count(model.note) == 1


def test_memory_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("Tried to allocate 2 GiB")

    monkeypatch.setattr(ResidentModel, "compute", fail)
    model = UnifiedModel(prepared(AtomMessages(ELEMENTS)), follows_lists=True)
    step = ListStep(model, *[None] * (len(ListStep._fields) - 1))  # type: ignore[arg-type]
    with pytest.raises(LammpsError, match=r"too small for the atoms of this rank. Use more GPUs .* in float32"):
        model.compute_lists(step)
