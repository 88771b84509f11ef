"""Fits with an uncertainty: files, log, Python interfaces, ranks; and a round trip of frames that become a group."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import ase.calculators.calculator
import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.lj import LennardJones
from places import EXAMPLE
from processes import run_on_ranks
from small_fit import fit, log_of, without_plots, write_small_input

import fitsnap_nn
from fitsnap_nn.cli import main
from fitsnap_nn.data.atoms import configuration_from_atoms
from fitsnap_nn.data.new_group import label, write_new_group
from fitsnap_nn.errors import CheckpointError, DataError, InputError
from fitsnap_nn.export.card import describe_model
from fitsnap_nn.export.model_file import load_model, load_payload
from fitsnap_nn.interfaces.ase import Calculator
from fitsnap_nn.interfaces.potential import load_potential
from fitsnap_nn.models import BPNN, Model
from fitsnap_nn.reports.uncertainty import UNCERTAINTY_FILE
from fitsnap_nn.units import GPA
from fitsnap_nn.workflow.harvest import harvest, read_frames

LAST_LAYER = ("[GROUPS]", "[EXTRAS]\nuncertainty = last_layer\non_uncertainty = dump\n\n[GROUPS]")
COMMITTEE = ("manual_seed_flag = 1", "manual_seed_flag = 1\ncommittee = 3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit with ``uncertainty = last_layer``, in the folder ``one``."""
    path = tmp_path_factory.mktemp("uncertainty")
    fit(write_small_input(path, LAST_LAYER), "one")
    return path


class NoStress(ase.calculators.calculator.Calculator):
    """A calculator as those with a basis of atomic orbitals."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms: ase.Atoms, *arguments: object) -> None:
        super().calculate(atoms, *arguments)
        self.results = {"energy": -1.5, "forces": np.zeros((len(atoms), 3))}


def frames() -> list[ase.Atoms]:
    """Hot frames: one twice, one with an atom on another, and two others."""
    rng = np.random.default_rng(1)
    start = bulk("Ta", "bcc", a=3.3, cubic=True).repeat(2)
    found = []
    for size in (0.1, 0.2, 0.4):
        one = start.copy()
        one.positions += rng.normal(0.0, size, one.positions.shape)
        found.append(one)
    broken = start.copy()
    broken.positions[1] = broken.positions[0] + 0.3
    return [found[0], found[1], found[2], found[2].copy(), broken]


def test_what_a_fit_writes_and_says(folder: Path) -> None:
    content = json.loads((folder / "one" / UNCERTAINTY_FILE).read_text(encoding="utf-8"))
    assert content["method"] == "last layer"
    assert (content["quantity"], content["unit"], content["set"]) == ("force", "eV/Å", "Validation")
    assert set(content["rank_correlation"]) == {"all", "Volume_BCC", "Displaced_BCC"}
    assert content["rank_correlation"]["Volume_BCC"] is None  # forces vanish by symmetry
    assert content["rank_correlation"]["all"] > 0.3
    sigma, rmse, count = (np.array(content["calibration"][key]) for key in ("sigma", "rmse", "count"))
    assert (np.diff(sigma) >= 0).all()
    assert (count * sigma**2).sum() == pytest.approx((count * rmse**2).sum(), rel=1e-9)  # calibrated
    assert content["threshold"] >= sigma[-1]
    log = (folder / "one" / "run.log").read_text(encoding="utf-8")
    assert "uncertainty of forces (last layer): rank correlation with the error" in log
    assert "unknown for Volume_BCC: forces of 0, or fewer than 10 atoms" in log
    watch = (folder / "one" / "pot.uncertainty.mod").read_text(encoding="utf-8")
    assert "variable on_uncertainty index dump" in watch
    assert f"variable uncertainty_limit string {content['threshold']:.4g}" in watch
    assert "pot.uncertainty.mod" in (folder / "one" / "in.md").read_text(encoding="utf-8")
    assert "uncertainty last layer; threshold" in describe_model(folder / "one" / "FitTorch_Pytorch.pt")


def test_python_and_ase(folder: Path) -> None:
    potential, atoms = load_potential(folder / "one" / "FitTorch_Pytorch.pt"), frames()[1]
    assert not potential.predict(atoms).spread  # it costs several predictions
    found = potential.predict(atoms, outputs=["forces_std"])
    assert set(found.spread) == {"forces", "energy", "energies"}
    assert found.spread["forces"].shape == (len(atoms),)
    same = potential.predict(atoms, outputs=["mtt::aux::energy_uncertainty"])
    assert float(same.spread["energy"]) == float(found.spread["energy"])
    atoms.calc = Calculator(potential, outputs=["forces_std"])
    atoms.get_forces()
    np.testing.assert_array_equal(atoms.calc.results["forces_std"], found.spread["forces"])
    hot = potential.predict(frames()[2], outputs=["forces_std"])
    assert hot.spread["forces"].max() > 1.5 * found.spread["forces"].max()


def test_predictions_of_a_test_have_columns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(path) for path in sorted((EXAMPLE / "JSON" / "Displaced_BCC").iterdir())[:2]]
    model = str(folder / "one" / "FitTorch_Pytorch.pt")
    assert main(["test", model, *files, "-o", str(folder / "out.xyz")]) == 0
    predicted = ase.io.read(folder / "out.xyz", ":")
    assert all(one.arrays["predicted_forces_std"].min() > 0 for one in predicted)
    overrides = [f"--set=MEMORY.cache={folder / 'cache'}", f"--set=OUTFILE.folder={folder / 'one'}"]
    output = folder / "of_the_input.xyz"
    assert main(["test", str(folder / "small.in"), *overrides, "-o", str(output)]) == 0
    deviations = [one.arrays["predicted_forces_std"] for one in ase.io.read(output, ":")]
    assert max(one.max() for one in deviations) > 0
    printed = capsys.readouterr().out
    assert printed.count("  uncertainty: standard deviation of the energy") == 2
    assert "committee" not in printed


def test_two_ranks_find_the_same(folder: Path) -> None:
    path = str(folder / "small.in")
    overrides = [f"--set=MEMORY.cache={folder / 'cache'}", f"--set=OUTFILE.folder={folder / 'two'}"]
    run_on_ranks(2, [["fit", path, *overrides, "--no-verify"]], folder)
    one, two = (load_model(folder / name / "FitTorch_Pytorch.pt").uncertainty for name in ("one", "two"))
    assert one is not None
    assert two is not None
    largest = float(one.displacements.abs().max())
    np.testing.assert_allclose(one.displacements, two.displacements, rtol=1e-5, atol=1e-5 * largest)
    assert one.threshold == pytest.approx(two.threshold, rel=1e-5)


def test_a_committee_is_calibrated_by_default(folder: Path, tmp_path: Path) -> None:
    done = fit(write_small_input(tmp_path, COMMITTEE), "fit")
    content = json.loads((done.folder / UNCERTAINTY_FILE).read_text(encoding="utf-8"))
    assert content["method"] == "committee"
    assert "uncertainty of forces (committee)" in log_of(done)
    with without_plots():  # continued without: the files of the uncertainty are gone
        again = fitsnap_nn.fit(
            done.folder.parent / "small.in",
            {"OUTFILE.folder": done.folder, "EXTRAS.uncertainty": "none", "MEMORY.cache": tmp_path / "cache"},
            resume=True,
            verify=False,
        )
    assert not (again.folder / UNCERTAINTY_FILE).exists()
    assert not (again.folder / "pot.uncertainty.mod").exists()
    assert load_payload(again.model_file)["uncertainty"] is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("displacements", torch.zeros(2, 5, dtype=torch.float64), "the uncertainty is that of another model"),
        ("displacements", torch.zeros(2, 9), "uncertainty has wrong displacements"),
        ("threshold", float("nan"), "uncertainty is not finite"),
        ("method", "guess", "uncertainty has an unknown method"),
        ("action", "quit 1", "uncertainty has an unknown action"),
    ],
)
def test_a_model_file_of_somebody_is_checked(folder: Path, name: str, value: object, message: str) -> None:
    payload = load_payload(folder / "one" / "FitTorch_Pytorch.pt")
    payload["uncertainty"] = {**payload["uncertainty"], name: value}
    torch.save(payload, folder / "changed.pt")
    with pytest.raises(CheckpointError, match=message):
        load_model(folder / "changed.pt")


REFUSED = {
    "committee": (LAST_LAYER[1].replace("last_layer", "committee"), "there is no committee. Use last_layer"),
    "last_layer": (LAST_LAYER[1], "last_layer is for single networks. Use committee"),
}


@pytest.mark.parametrize("method", REFUSED)
def test_methods_that_do_not_fit_the_model(tmp_path: Path, method: str) -> None:
    text, message = REFUSED[method]
    changes = [("[GROUPS]", text), *([COMMITTEE] if method == "last_layer" else [])]
    with pytest.raises(InputError, match=message):
        fit(write_small_input(tmp_path, *changes), "fit")


ENERGIES_ONLY = ("[PYTORCH]", "[CALCULATOR]\nforce = 0\nstress = 0\n\n[PYTORCH]")
TRAINING_ONLY = (" 2 10", " 0 10")  # both rows


@pytest.mark.parametrize("change", [ENERGIES_ONLY, TRAINING_ONLY])
def test_an_uncertainty_that_cannot_be_calibrated(tmp_path: Path, change: tuple[str, str]) -> None:
    """Before anything is trained."""
    with pytest.raises(
        InputError, match="last_layer is calibrated on forces of the validation set, but it contains none"
    ):
        fit(write_small_input(tmp_path, LAST_LAYER, change), "fit")
    assert not (tmp_path / "fit" / "metrics.csv").exists()


def test_a_committee_without_forces_has_its_raw_spread(tmp_path: Path) -> None:
    done = fit(write_small_input(tmp_path, COMMITTEE, ENERGIES_ONLY), "fit", num_epochs=0)
    assert "no uncertainty: it is calibrated on forces" in log_of(done)
    assert load_model(done.model_file).uncertainty is None


def test_a_model_that_does_not_name_its_last_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is trained."""
    monkeypatch.setattr(BPNN, "last_layer_parameters", Model.last_layer_parameters)
    with pytest.raises(InputError, match="BPNN does not name the parameters of its last layer"):
        fit(write_small_input(tmp_path, LAST_LAYER), "fit")
    assert not (tmp_path / "fit" / "metrics.csv").exists()


def test_a_model_without_uncertainty(tmp_path: Path) -> None:
    done = fit(write_small_input(tmp_path), "fit", num_epochs=0)
    ase.io.write(tmp_path / "frames.xyz", frames())
    with pytest.raises(DataError, match=r"no uncertainties. Continue its fit with \[EXTRAS\] uncertainty = last_layer"):
        harvest([str(tmp_path / "frames.xyz")], str(done.model_file), tmp_path / "new", 5)


DUMP = "ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 9\n0 9\n0 9\n"


@pytest.mark.parametrize("name", ["md.dump", "md.dump.gz"])
def test_dumps(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    def write(columns: str, rows: tuple[str, ...]) -> str:
        text = "".join(f"{DUMP.format(step=10 * step)}ITEM: ATOMS {columns}\n{row}\n" for step, row in enumerate(rows))
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return str(path)

    found = read_frames(write("id type element x y z", ("1 1 Ta 0 0 0", "1 1 Ta 1 0 0")))
    assert [one.id for one in found] == [f"{name}, step 0", f"{name}, step 10"]
    assert found[1].species == ("Ta",)
    with pytest.raises(DataError, match="no column `element`"):  # a type is not an element
        read_frames(write("id type x y z", ("1 1 0 0 0", "1 1 1 0 0")))
    with pytest.raises(DataError, match="last frame is incomplete"):
        read_frames(write("id type element x y z", ("1 1 Ta 0 0 0", "1 1 T")))


@pytest.mark.parametrize("name", ["Hot", "Hot.xyz"])
def test_labels_without_stress_are_kept(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / name
    write_new_group(target, [configuration_from_atoms(frames()[0])], [1.0], "model.pt")
    label(target, NoStress())
    assert "labelled, but without stress, which the calculator does not compute" in capsys.readouterr().out
    label(target, None)
    assert not capsys.readouterr().out  # nothing is left to do
    text = next(tmp_path.glob("Hot/*.json"), target).read_text(encoding="utf-8")
    assert "-1.5" in text
    assert "tress=" not in text
    assert '"Stress"' not in text


@pytest.mark.parametrize("name", ["Hot", "Hot.xyz"])
def test_frames_become_a_group(folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    source, target = tmp_path / "md.xyz", data / name
    ase.io.write(source, frames())
    model = str(folder / "one" / "FitTorch_Pytorch.pt")
    command = ["harvest", str(source), "--model", model, "--to", str(target), "--count", "2"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "1 frame left out: atoms closer than half the sum of their covalent radii" in said
    assert "1 frame left out: nearly the same as one that was chosen" in said
    assert "md.xyz, frame 3: 16 atoms, largest uncertainty" in said  # the hottest comes first
    assert "2 frames without labels" in said
    assert re.search(r"Above the threshold of the model \(\S+ eV/Å, the largest uncertainty .*\): \d of 2 frames", said)
    assert main(command) != 0
    assert "exists already" in capsys.readouterr().err
    assert "the force on each atom" in (data / "Hot.README.md").read_text(encoding="utf-8")
    compile((data / "Hot.label.py").read_text(encoding="utf-8"), "Hot.label.py", "exec")
    label(target, None)
    assert capsys.readouterr().out.count("needs energy, forces and stress") == 2
    calculator = LennardJones(epsilon=0.5, sigma=2.5, rc=5.0)
    label(target, calculator)
    assert capsys.readouterr().out.count("labelled") == 2
    label(target, None)
    assert not capsys.readouterr().out
    text = f"[SCRAPER]\nscraper = {'XYZ' if name.endswith('xyz') else 'JSON'}\n\n[PATH]"
    path = write_small_input(tmp_path, ("[PATH]", text))
    content = path.read_text().split("Volume_BCC")[0] + "Hot = 0.5 0.5 10 1 1e-8\n"
    path.write_text(content.replace(str(EXAMPLE / "JSON"), str(data)))
    done = fit(path, "fit", num_epochs=0)
    assert "data: 2 configurations, 32 atoms, 1 group · 1 training, 1 validation" in log_of(done)
    atoms = frames()[2]
    atoms.calc = calculator
    energy, stress = atoms.get_potential_energy() / len(atoms), atoms.get_stress() / GPA
    ends = ("", "_val")  # the frame is in one of the sets
    energies = [np.loadtxt(done.folder / f"energy_comparison{end}.dat", usecols=1) for end in ends]
    assert min(abs(float(one) - energy) for one in energies) < 1e-6
    stresses = [np.loadtxt(done.folder / f"stress_comparison{end}.dat", usecols=1) for end in ends]
    assert min(np.abs(one - stress).max() for one in stresses) < 1e-3 * np.abs(stress).max()
