"""Fits of targets: charges, dipoles and tensors of clusters, for which the labels are known in closed form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from processes import run_on_ranks
from small_fit import fit, without_plots

import fitsnap_nn
from fitsnap_nn.data.readers.ase_files import stored
from fitsnap_nn.errors import DataError
from fitsnap_nn.models import build_model
from fitsnap_nn.models.spherical import rotated
from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.reports.errors_table import ALL
from fitsnap_nn.workflow.evaluation import evaluate_files
from fitsnap_nn.workflow.run import Fit

INPUT = """\
[CALCULATOR]
calculator = {calculator}
elements = Na Cl
energy = 1
force = 1
stress = 0
[BISPECTRUM]
numTypes = 2
type = Na Cl
twojmax = 2
rcutfac = 4.0
wj = 1.0 0.7
radelem = 0.5 0.5
[PYTORCH]
model = {model}
num_epochs = 2
batch_size = 4
learning_rate = 1e-2
scheduler = constant
warmup_fraction = 0
dtype_setting = 2
manual_seed_flag = 1
output_file = model.pt
save_state_output = restart.pt
layer_sizes = num_desc 8 1
log_separate_blocks = 1
fixed_scaling_weights = second 0.25
[SOAP_BPNN]
cutoff_radius = 5.0
max_angular = 3
max_radial = 3
num_neurons_per_layer = 16
[NANOPET]
cutoff = 5.0
d_pet = 8
num_heads = 2
num_gnn_layers = 1
[MACE]
r_max = 5.0
hidden_irreps = 4x0e + 4x1o + 4x2e
max_ell = 2
correlation = 2
radial_MLP = 8
[TARGETS]
charge = per_atom scalar column=q unit=e weight=10
second = per_configuration scalar unit=eV
{tensors}
[SCRAPER]
scraper = XYZ
[PATH]
dataPath = data.xyz
[OUTFILE]
metrics = errors.md
[GROUPS]
group_sections = name training_size testing_size test_size eweight fweight vweight
group_types = str float float float float float float
all = 0.6 0.2 0.2 1 1 0
"""
TENSORS = """\
dipole = per_configuration vector unit=e*Å per_structure=1
alpha = per_configuration symmetric_tensor head=linear
quadrupole = per_atom spherical lambda=2 column=q2"""
PSEUDO_TENSORS = """\
spin = per_atom vector parity=pseudo
twist = per_configuration scalar parity=pseudo
stray = per_atom tensor
chiral = per_atom tensor parity=pseudo column=stray
fifth = per_atom spherical lambda=2 parity=pseudo column=q2"""
GAP = "gap = per_configuration scalar intensive=1"
MODELS = {"SOAP_BPNN": TENSORS, "NANOPET": TENSORS, "MACE": TENSORS, "BPNN": GAP}


def cluster(seed: int) -> Atoms:
    """A cluster of ions whose charges follow from their neighbours; the other labels follow from both."""
    random = np.random.default_rng(seed)
    grid = 2.8 * np.array([(x, y, z) for x in range(2) for y in range(2) for z in range(2)], dtype=float)
    atoms = Atoms("NaCl" * 4, grid + 0.25 * random.standard_normal((8, 3)))[: 6 + seed % 3]
    vectors = atoms.positions[None] - atoms.positions[:, None]
    near = np.exp(-((vectors**2).sum(axis=2)) / 8.0) * (1.0 - np.eye(len(atoms)))
    sign = np.where(atoms.numbers == 11, 1.0, -1.0)
    charges = sign * (0.3 + 0.2 * near.sum(axis=1))
    atoms.arrays["q"] = charges - charges.mean()
    moments = np.einsum("ij,ija,ijb->iab", near, vectors, vectors)
    along_z = 2.0 * moments[:, 2, 2] - moments[:, 0, 0] - moments[:, 1, 1]
    xy, yz, xz = moments[:, 0, 1], moments[:, 1, 2], moments[:, 0, 2]
    atoms.arrays["q2"] = np.stack([xy, yz, along_z / 12**0.5, xz, (moments[:, 0, 0] - moments[:, 1, 1]) / 2.0], axis=1)
    atoms.info |= {
        "config_type": "all",
        "REF_energy": float(near.sum() + 3.0 * len(atoms)),
        "second": float(2.0 * near.sum() - 700.0 * (sign > 0).sum()),
        "dipole": atoms.arrays["q"] @ atoms.positions,
        "alpha": moments.sum(axis=0) + len(atoms) * np.eye(3),
        "gap": float(near.max()),
    }
    bonds, dipoles = np.einsum("ij,ija->ia", near, vectors), np.einsum("ij,j,ija->ia", near**2, sign, vectors)
    atoms.arrays["spin"] = np.cross(bonds, dipoles)
    atoms.arrays["stray"] = np.einsum("ia,ib->iab", bonds, dipoles).reshape(-1, 9)
    atoms.info["twist"] = float(np.einsum("ia,ia->", atoms.arrays["spin"], np.einsum("ij,ija->ia", near**3, vectors)))
    atoms.arrays["REF_forces"] = 0.1 * np.einsum("ij,ija->ia", near, vectors)
    return atoms


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("targets")
    ase.io.write(folder / "data.xyz", [cluster(seed) for seed in range(30)], format="extxyz")
    for model, tensors in MODELS.items():
        calculator = "LAMMPSSNAP" if model == "BPNN" else "LAMMPSGRAPH"
        text = INPUT.format(model=model, calculator=calculator, tensors=tensors)
        (folder / f"{model}.in").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_model_predicts_its_targets(folder: Path, model: str) -> None:
    """The file of a fit predicts what the fit reported, and `test -o` writes it."""
    if model == "MACE":
        pytest.importorskip("mace")
    found = fit(folder / f"{model}.in", model, verify=model == "SOAP_BPNN")
    assert model != "SOAP_BPNN" or found.verification is not None
    rows = {row.property: row for row in found.errors if (row.group, row.subset) == (ALL, "Test")}
    potential = fitsnap_nn.load_potential(found.folder / "model.pt")
    names = [one.name for one in potential.targets]
    assert set(names) <= rows.keys()
    assert ("alpha λ=2" in rows) == ("alpha" in rows)
    if model != "BPNN":
        assert_errors_of_blocks_of_an_epoch(found)
    frames = ase.io.read(folder / "data.xyz", ":")[-6:]
    with without_plots():
        output = folder / f"{model}.xyz"
        evaluate_files(found.folder / "model.pt", [str(folder / "data.xyz")], output=output, quiet=True)
    written = ase.io.read(folder / f"{model}.xyz", ":")[-6:]
    differences: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for atoms, other in zip(frames, written, strict=True):
        values = potential.predict(atoms, outputs=[*names, "energies"]).values
        labels = {name: stored(atoms, COLUMNS.get(name, name)) for name in names}
        assert values["energies"].sum() == pytest.approx(float(values["energy"]), abs=1e-9)
        atoms.calc = fitsnap_nn.Calculator(potential)
        atoms.get_potential_energy()
        for one in potential.targets:
            place = other.arrays if one.per == "atom" else other.info
            np.testing.assert_allclose(place[f"predicted_{one.name}"], values[one.name], atol=1e-7)
            np.testing.assert_allclose(atoms.calc.results[one.name], values[one.name], atol=1e-9)
            label = labels[one.name]
            divisor = len(atoms) if one.per_atom else 1
            differences[one.name].append((one.rows(label) - one.rows(values[one.name])).ravel() / divisor)
    for name, parts in differences.items():
        assert np.abs(np.concatenate(parts)).mean() == pytest.approx(rows[name].mae, rel=1e-4)


COLUMNS = {"charge": "q", "quadrupole": "q2"}


def assert_errors_of_blocks_of_an_epoch(found: Fit) -> None:
    """Those of the best epoch are those of the table at the end."""
    best = [row for row in read_epochs(found.folder) if row.best][-1]
    rows = {row.property: row for row in found.errors if (row.group, row.subset) == (ALL, "Validation")}
    for number, title in enumerate(("alpha λ=0", "alpha λ=2")):
        assert best.block_mae[number] == pytest.approx(rows[title].mae, rel=1e-9)
        assert best.block_rmse[number] == pytest.approx(rows[title].rmse, rel=1e-9)


def test_baselines_and_scales(folder: Path) -> None:
    """A second energy with large element energies loses no digits; a fixed scale is kept."""
    found = fit(folder / "SOAP_BPNN.in", "baselines", num_epochs=0)
    state = torch.load(found.folder / "model.pt", weights_only=True)["state_dict"]
    assert state["targets.second_baseline"][0] == pytest.approx(-700.0, abs=5.0)
    assert state["targets.second_scale"].tolist() == [0.25]
    assert state["targets.alpha_scale"].shape == (2,)
    assert state["targets.alpha_baseline"].abs().min() > 0.1
    assert not state["targets.dipole_baseline"].any()


@pytest.mark.mpi
@pytest.mark.slow
def test_a_resumed_fit_is_the_same_on_two_ranks(folder: Path) -> None:
    once = fit(folder / "SOAP_BPNN.in", "whole", num_epochs=4)
    jobs = [
        ["SOAP_BPNN.in", "--no-verify", *more, "--set", f"PYTORCH.num_epochs={epochs}", "--set", "OUTFILE.folder=parts"]
        for epochs, more in ((2, []), (4, ["--resume"]))
    ]
    run_on_ranks(2, jobs, folder)
    folders = (once.folder, folder / "parts")
    whole, parts = ([replace(row, seconds=0.0) for row in read_epochs(path)] for path in folders)
    assert [len(row.block_rmse) for row in parts] == [2] * 4
    numbers = [np.array([row.cells for row in rows], dtype=float) for rows in (parts, whole)]
    np.testing.assert_allclose(*numbers, rtol=1e-10)


@pytest.mark.usefixtures("mace")
@pytest.mark.parametrize("epochs", [0, 2])
def test_mace_predicts_pseudo_tensors(folder: Path, epochs: int) -> None:
    """`chiral` and `fifth` have labels of the other parity, which matter to nothing that is tested."""
    text = (folder / "MACE.in").read_text(encoding="utf-8").replace(TENSORS, PSEUDO_TENSORS)
    irreps = "4x0e + 4x0o + 4x1o + 4x1e + 4x2e + 4x2o"
    text = text.replace("4x0e + 4x1o + 4x2e", irreps).replace("max_ell = 2", "max_ell = 1\nkeep_last_layer_irreps = 1")
    (folder / "pseudo.in").write_text(text, encoding="utf-8")
    found = fit(folder / "pseudo.in", f"pseudo{epochs}", num_epochs=epochs)
    potential = fitsnap_nn.load_potential(found.folder / "model.pt")
    atoms = cluster(50)
    names = [one.name for one in potential.targets]
    before = potential.predict(atoms, outputs=names).values
    turn = np.linalg.qr(np.random.default_rng(4).standard_normal((3, 3)))[0]
    for matrix in (turn, -turn, -np.eye(3)):
        turned = potential.predict(Atoms(atoms.numbers, atoms.positions @ matrix.T), outputs=names).values
        for one in potential.targets:
            values = torch.from_numpy(one.rows(before[one.name]))
            expected = rotated(values, one.symmetry, torch.from_numpy(matrix).expand(len(values), 3, 3))
            size = float(expected.abs().max())
            assert size > 1e-4, one.name
            np.testing.assert_allclose(one.rows(turned[one.name]), expected, rtol=0, atol=1e-10 * size)


@pytest.mark.usefixtures("mace")
def test_features_of_symmetric_structures_cannot_represent_pseudoscalars(folder: Path) -> None:
    """Planar clusters have none: labels that are not 0 are refused instead of a prediction of 0."""
    frames = [cluster(seed) for seed in range(10)]
    for atoms in frames:
        atoms.positions[:, 2] = 0.0
    ase.io.write(folder / "planar.xyz", frames, format="extxyz")
    text = (folder / "pseudo.in").read_text(encoding="utf-8").replace("data.xyz", "planar.xyz")
    (folder / "planar.in").write_text(text.replace("energy = 1", "energy = 0"), encoding="utf-8")
    with pytest.raises(DataError, match=r"twist: .* features for λ=0 pseudo are 0 in the training set"):
        fit(folder / "planar.in", "planar", num_epochs=0)


def test_a_target_added_to_a_model(folder: Path) -> None:
    """A fit that starts from a model without a target gives it a new head, and keeps the rest."""
    text = (folder / "SOAP_BPNN.in").read_text(encoding="utf-8")
    (folder / "first.in").write_text(text.replace(TENSORS, ""), encoding="utf-8")
    first = fit(folder / "first.in", "first", log_separate_blocks=0)
    added = fit(folder / "SOAP_BPNN.in", "added", num_epochs=0, start_from=str(first.folder / "model.pt"))
    atoms = cluster(100)
    before, after = (fitsnap_nn.load_potential(one.folder / "model.pt") for one in (first, added))
    for name in ("charge", "energy", "forces"):
        expected = before.predict(atoms, outputs=[name]).values[name]
        np.testing.assert_allclose(after.predict(atoms, outputs=[name]).values[name], expected, atol=1e-10)
    assert [one.name for one in before.targets] == ["charge", "second"]
    assert [one.name for one in after.targets] == ["charge", "second", "dipole", "alpha", "quadrupole"]


def test_unknown_outputs(folder: Path) -> None:
    found = fit(folder / "BPNN.in", "unknown", num_epochs=0)
    potential = fitsnap_nn.load_potential(found.folder / "model.pt")
    with pytest.raises(DataError, match=r"chrage is not an output of this potential\. Did you mean charge\?"):
        potential.predict(cluster(0), outputs=["chrage"])
    with pytest.raises(DataError, match=r"charge_last_layer_features is not an output .*: BPNN provides the features"):
        potential.predict(cluster(0), outputs=["mtt::aux::charge_last_layer_features"])
    features = potential.predict(cluster(0), outputs=["feature", "mtt::aux::energy_last_layer_features"]).values
    np.testing.assert_array_equal(features["features"], features["energy_last_layer_features"])
    assert features["features"].shape == (6, 8)


@pytest.mark.parametrize("model", ["NANOPET", "SOAP_BPNN"])
def test_targets_of_a_model_with_other_elements(folder: Path, model: str) -> None:
    """Heads are kept where no weight of theirs belongs to an element; a baseline follows its element."""
    text = (folder / f"{model}.in").read_text(encoding="utf-8").replace("max_radial = 3", "max_radial = 3\nlegacy = 0")
    (folder / "elements.in").write_text(text, encoding="utf-8")
    first = fit(folder / "elements.in", f"elements_{model}", num_epochs=0)
    old = fitsnap_nn.load_potential(first.folder / "model.pt").model
    description = {**old.description(), "elements": ["Cl", "Na"]}
    new = build_model(description)
    new.load_state_dict(new.state_for_elements(old.state_dict(), old.elements))
    baseline = old.state_dict()["targets.second_baseline"]
    assert torch.equal(new.state_dict()["targets.second_baseline"], baseline.flip(0))
