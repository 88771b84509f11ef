"""The card of a model: what it is, its data and errors, and commands that run it."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_model_file import PROVENANCE, SETTINGS, network, saved

from fitsnap_nn.errors import InputError
from fitsnap_nn.export.card import describe_model
from fitsnap_nn.export.model_file import save_model

FITTED = {
    "input": "[PYTORCH]\nseed = 1",
    "date": "2026-01-01T00:00:00+00:00",
    "seed": 1,
    "epoch": 7,
    "error_table": "| Group | Set |\n| *ALL | Train |",
    "data": "group  training\nbcc           5",
    "data_hash": "0123456789abcdef" * 4,
}


def card(tmp_path: Path, **provenance: object) -> list[str]:
    save_model(tmp_path / "m.pt", network(), SETTINGS, {**FITTED, **provenance})
    return describe_model(tmp_path / "m.pt", with_input=False).splitlines()


def test_what_it_says_of_a_fit(tmp_path: Path):
    lines = card(tmp_path)
    for line in (
        "elements    In P (LAMMPS types 1 to 2)",
        "units       eV, eV/Å, eV/Å³; LAMMPS units metal",
        "fitted      2026-01-01T00:00:00+00:00",
        "origin      seed 1, epoch 7",
        "data hash   0123456789abcdef (labels, weights and sets)",
        "  bcc           5",
        "  | *ALL | Train |",
        "input: 2 lines, shown with --verbose",
    ):
        assert line in lines
    assert any(line.startswith("size        ") and line.endswith(" numbers, weights in float32") for line in lines)
    assert any(line.startswith("cutoff      ") and line.endswith(" Å") for line in lines)
    assert any(line.startswith("uncertainty not available") for line in lines)


def test_the_commands_run_it(tmp_path: Path):
    lines = card(tmp_path)
    start = lines.index("in LAMMPS:")
    assert lines[start + 1] == f"  python -m fitsnap_nn export {tmp_path / 'm.pt'} potential"
    assert lines[start + 3 : start + 6] == ["  units metal", "  atom_style atomic", "  include potential/InP_pot.mod"]
    (tmp_path / "InP_pot.mod").touch()
    lines = card(tmp_path)
    assert lines[lines.index("in LAMMPS:") + 3] == f"  include {tmp_path / 'InP_pot.mod'}"
    assert (
        lines[lines.index("in Python, with ASE:") + 2] == f"  atoms.calc = fitsnap_nn.Calculator('{tmp_path / 'm.pt'}')"
    )


def test_files_of_earlier_versions_and_of_fits_without_an_epoch(tmp_path: Path):
    lines = card(tmp_path, error_table="", errors={"Train": "E 1 meV/atom"})
    assert "  Train: E 1 meV/atom (mean absolute)" in lines
    save_model(tmp_path / "m.pt", network(), SETTINGS, {"epoch": 0})
    text = describe_model(tmp_path / "m.pt")
    assert "origin      epoch 0, no epoch was finished: these are not weights of a complete fit" in text
    assert PROVENANCE["input"].splitlines()[0] in describe_model(saved(tmp_path))


def test_heads_are_of_other_files(tmp_path: Path):
    with pytest.raises(InputError, match="--head is for models of mace-torch"):
        describe_model(saved(tmp_path), head="mp")
