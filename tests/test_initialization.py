"""Baselines before training: element energies by each method that an input can name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fitsnap_nn.errors import DataError
from fitsnap_nn.models import Model
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import load_settings
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.workflow.initialization import create_model, initialize
from fitsnap_nn.workflow.preparation import prepare

MODELS = {
    "SNAP": "[BISPECTRUM]\ntype = O H\ntwojmax = 2\nrcutfac = 3.0\n[PYTORCH]\nlayer_sizes = num_desc 4 1\n",
    "graph": "[CALCULATOR]\ncalculator = LAMMPSGRAPH\nelements = O H\n[NANOPET]\nd_pet = 4\ncutoff = 3.0\n"
    "[PYTORCH]\nmodel = NANOPET\n",
}
REST = """\
{energies}
[SCRAPER]
scraper = XYZ
[PATH]
dataPath = data.xyz
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
molecules = 1.0 0.0 1 0 0
{atoms}
"""
ATOM = '1\nProperties=species:S:1:pos:R:3 energy={energy} pbc="F F F" config_type={group}\n{symbol} 0.0 0.0 0.0\n'
# One atom, but a crystal: its neighbours are its images.
CRYSTAL = (
    '1\nLattice="2 0 0 0 2 0 0 0 2" Properties=species:S:1:pos:R:3 energy=-99 pbc="T T T" config_type=atoms\n'
    "H 0.0 0.0 0.0\n"
)


def molecule(symbols: str, energy: float) -> str:
    places = np.random.default_rng(len(symbols)).normal(size=(len(symbols), 3)).tolist()
    atoms = [f"{symbol} {x} {y} {z}" for symbol, (x, y, z) in zip(symbols, places, strict=True)]
    header = f'Properties=species:S:1:pos:R:3 energy={energy} pbc="F F F" config_type=molecules'
    return "\n".join([str(len(symbols)), header, *atoms, ""])


WATER, HYDROGEN = molecule("OHH", -14.2), molecule("HH", -4.6)
ATOMS = [ATOM.format(energy=energy, group="atoms", symbol=symbol) for symbol, energy in (("O", -1.5), ("H", -0.25))]


def initialized(folder: Path, model: str, energies: str, *frames: str) -> tuple[Model, str]:
    (folder / "data.xyz").write_text("".join(frames))
    atoms = "atoms = 1.0 0.0 0 0 0" if "config_type=atoms" in "".join(frames) else ""
    (folder / "fit.in").write_text(MODELS[model] + REST.format(energies=energies, atoms=atoms))
    settings = load_settings(folder / "fit.in", [("OUTFILE", "folder", str(folder / "fit"))])
    created = create_model(settings)
    notes = initialize(created, settings, prepare(settings, created.input, Ranks(), Console()))
    return created, next(iter(notes), "")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("energies", "frames", "expected", "note"),
    [
        ("", [WATER, HYDROGEN], [-9.6, -2.3], "by least squares: O -9.6000, H -2.3000 eV"),
        ("element_energies = isolated", [WATER, CRYSTAL, *ATOMS], [-1.5, -0.25], "of isolated atoms: O -1.5000"),
        ("element_energies = H -0.5 O -2", [WATER, HYDROGEN], [-2.0, -0.5], "as given: O -2.0000, H -0.5000 eV"),
        ("element_energies = H -0.5", [WATER], [-13.2, -0.5], "as given, by least squares for O: O -13.2000, H -0.5"),
    ],
)
def test_element_energies(
    tmp_path: Path, model: str, energies: str, frames: list[str], expected: list[float], note: str
) -> None:
    created, found = initialized(tmp_path, model, energies, *frames)
    expected_energies = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(created.element_energies, expected_energies, rtol=0, atol=1e-12)
    assert note in found


def test_baselines_can_be_left_out(tmp_path: Path) -> None:
    created, note = initialized(tmp_path, "graph", "composition_baseline = 0\nscale_targets = 0", WATER, HYDROGEN)
    assert created.element_energies.tolist() == [0.0, 0.0]
    assert float(created.energy_scale) == 1.0
    assert note == ""
    scaled, note = initialized(tmp_path, "graph", "composition_baseline = 0", WATER, HYDROGEN)
    assert float(scaled.energy_scale) == pytest.approx(((14.2 / 3) ** 2 / 2 + 2.3**2 / 2) ** 0.5)
    assert note.startswith("energies, forces and stresses are scaled by ")


def test_compositions_that_leave_them_open_are_said_so(tmp_path: Path) -> None:
    created, found = initialized(tmp_path, "graph", "", WATER)
    assert float(created.element_energies @ torch.tensor([1.0, 2.0], dtype=torch.float64)) == pytest.approx(-14.2)
    assert "(minimum-norm solution: the data do not determine every element energy)" in found


def test_several_isolated_atoms_of_an_element_are_averaged(tmp_path: Path) -> None:
    other = ATOM.format(energy=-0.75, group="molecules", symbol="H")
    created, _ = initialized(tmp_path, "graph", "element_energies = isolated", WATER, *ATOMS, other)
    assert created.element_energies.tolist() == pytest.approx([-1.5, -0.5])


def test_an_element_without_isolated_atom_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is an isolated atom of H, without neighbours up to 3 Å"):
        initialized(tmp_path, "graph", "element_energies = isolated", WATER, CRYSTAL, ATOMS[0])
