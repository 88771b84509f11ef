"""Model and restart files of version 1, as the code before version 2 wrote them, still give the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ase.build import bulk

import fitsnap_nn
from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.export.model_file import VERSION, load_model, load_payload, model_payload
from fitsnap_nn.settings import Settings
from fitsnap_nn.training.checkpoint import load_restart

FILES = Path(__file__).with_name("version_1")
# Energy (eV), first force component (eV/Å) and xx stress (eV/Å³) that the version that wrote the files computed.
EXPECTED = {
    "bpnn.pt": (-37.723201653985655, -3.5589122090309306, -0.31113325725668806),
    "restart.pt": (-37.723201653985655, -3.5589122090309306, -0.31113325725668806),
    "nanopet.pt": (-30.611169197010007, 0.0016561920700730991, -0.0017100843602134643),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_potential_is_the_same(name: str) -> None:
    atoms = bulk("Ta", cubic=True) * (2, 1, 1)
    atoms.rattle(0.1, seed=1)
    found = fitsnap_nn.load_potential(FILES / name).predict(atoms)
    assert found.forces is not None
    assert found.stress is not None
    numbers = (found.energy, float(found.forces[0, 0]), float(found.stress[0]))
    assert numbers == pytest.approx(EXPECTED[name], rel=1e-12)


@pytest.mark.parametrize("name", ["bpnn.pt", "nanopet.pt"])
def test_an_upgraded_file_is_one_of_the_current_version(name: str) -> None:
    stored = torch.load(FILES / name, weights_only=True)
    assert stored["version"] == 1
    payload, content = load_payload(FILES / name), load_model(FILES / name)
    assert payload["version"] == VERSION == 2
    again = model_payload(content.model, Settings(reference=content.reference), {})
    assert again["description"] == payload["description"]


def test_a_fit_is_not_continued_from_a_restart_file_of_version_1() -> None:
    with pytest.raises(CheckpointError, match="version 1"):
        load_restart(FILES / "restart.pt")
