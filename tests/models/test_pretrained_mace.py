"""LAMMPS files and a model file from a pretrained model of mace-torch, and a fit that starts from it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from places import SAMPLES
from small_fit import without_plots
from small_models import SMALL_MACE

import fitsnap_nn
from fitsnap_nn.cli import main
from fitsnap_nn.errors import CheckpointError, InputError
from fitsnap_nn.export.export import export
from fitsnap_nn.export.model_file import load_model
from fitsnap_nn.testing.graphs import crystal
from fitsnap_nn.testing.models import forces_of, of_one
from fitsnap_nn.workflow import initialization

pytestmark = pytest.mark.usefixtures("mace")

ELEMENTS = ("H", "O", "Ta")
E0 = (-13.6, -2043.9, -7.25)


@pytest.fixture(scope="module")
def network() -> Any:
    """A module of mace-torch with random weights, for three elements and two heads."""
    from fitsnap_nn.models.mace_network import Hypers, arguments, float64_without_torchscript, libraries

    modules, _ = libraries()
    torch.manual_seed(5)
    with float64_without_torchscript():
        given = arguments(ELEMENTS, Hypers(**SMALL_MACE)) | {"heads": ["dft", "other"]}
        given["atomic_energies"] = np.array([E0, np.zeros(3)])
        return modules.ScaleShiftMACE(**given, atomic_inter_scale=[0.8, 1.0], atomic_inter_shift=[0.1, 0.0])


@pytest.fixture
def mace_file(network: Any, tmp_path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(network, tmp_path / "small.model")
    return tmp_path / "small.model"


@pytest.fixture
def in_process(network: Any, mace_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert without a process of its own, whose imports take seconds."""
    from fitsnap_nn.interfaces import mace_files

    def convert(path: Path, elements: Sequence[str] = (), head: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
        assert path == mace_file
        model = mace_files.convert(network, elements, head)
        return model.description(), model.state_dict()

    monkeypatch.setattr(mace_files, "run_and_convert", convert)


@pytest.mark.usefixtures("in_process", "mace_file")
def test_targets_have_heads_on_the_features_of_the_file(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "targets.in"
    text = INPUT.format(refit=0, data=SAMPLES / "Ta_JSON")
    path.write_text(f"{text}[TARGETS]\npush = per_atom vector column=Forces\n", encoding="utf-8")
    with without_plots():
        result = fitsnap_nn.fit(path, {"OUTFILE.folder": tmp_path / "fit"}, verify=False)
    potential = fitsnap_nn.load_potential(result.model_file)
    atoms = crystal(("Ta",))
    found = potential.predict(atoms, outputs=["push", "features", "push_last_layer_features"])
    assert found.energy == pytest.approx(energy_of_mace(network, atoms), abs=1e-9)
    assert found.values["push"].shape == (len(atoms), 3)
    assert found.values["push"].any()
    path.write_text(f"{text}[TARGETS]\npush = per_atom spherical lambda=4 column=Forces\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"push \(λ=4\): needs node features 4e, .* are: 4x0e\+4x1o; 4x0e"):
        fitsnap_nn.fit(path, {"OUTFILE.folder": tmp_path / "refused"}, verify=False)


def energy_of_mace(network: Any, configuration: Any) -> float:
    """By the conversion whose energies are compared with mace-torch's own calculator in tests/models."""
    from fitsnap_nn.interfaces.mace_files import convert
    from fitsnap_nn.testing.models import energy_of

    return energy_of(convert(network, ELEMENTS, "dft"), configuration)


def test_a_pretrained_model_becomes_lammps_files_without_data(
    network: Any, mace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["export", str(mace_file), str(out), "--head", "dft"]) == 0
    printed = capsys.readouterr().out
    assert "code stored in" in printed
    assert "trusted sources" in printed
    names = ["fitsnap_nn.files", "small.mliap.unified", "small.mod", "small.pt"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert "pair_coeff * * H O Ta" in (out / "small.mod").read_text()
    configuration, potential = crystal(ELEMENTS), fitsnap_nn.load_potential(out / "small.pt")
    expected = energy_of_mace(network, configuration)
    assert potential.predict(configuration).energy == pytest.approx(expected, rel=1e-12)
    with pytest.raises(InputError, match=r"small\.pt.*already exists"):
        export(mace_file, out, head="dft")


@pytest.mark.usefixtures("in_process")
def test_some_elements_in_the_order_asked_for(network: Any, mace_file: Path, tmp_path: Path) -> None:
    export(mace_file, tmp_path / "out", elements=["Ta", "H"], head="dft")
    content = load_model(tmp_path / "out" / "small.pt")
    assert content.model.elements == ("Ta", "H")
    assert content.provenance["origin"] == "small.model of mace-torch, head dft"
    assert "pair_coeff * * Ta H" in (tmp_path / "out" / "small.mod").read_text()
    configuration = crystal(["Ta", "H"])
    found = fitsnap_nn.load_potential(tmp_path / "out" / "small.pt").predict(configuration).energy
    assert found == pytest.approx(energy_of_mace(network, configuration), rel=1e-10)


@pytest.mark.usefixtures("in_process")
def test_wrong_elements_and_heads_are_named(mace_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(CheckpointError, match=r"does not contain Xe; its elements are H O Ta"):
        export(mace_file, out, elements=["Xe"], head="dft")
    with pytest.raises(CheckpointError, match=r"\(export, show: --head\) must be one of its heads: dft, other"):
        export(mace_file, out)
    with pytest.raises(InputError, match="lists Ta more than once"):
        export(mace_file, out, elements=["Ta", "Ta"], head="dft")
    export(mace_file, out, elements=["Ta"], head="dft")
    with pytest.raises(InputError, match="are for models of mace-torch"):
        export(out / "small.pt", tmp_path / "again", elements=["Ta"])


@pytest.mark.usefixtures("in_process")
def test_training_more_weights_than_fit_into_memory_is_refused(
    mace_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.in"
    path.write_text(INPUT.format(refit=0, data=SAMPLES / "Ta_JSON"))
    monkeypatch.setattr(initialization, "TRAINING_BYTES", 2**40)  # as if there were so many weights
    with pytest.raises(
        InputError, match=r"small\.model.*training .* weights needs .* GiB of memory, but this computer"
    ):
        fitsnap_nn.fit(path, {"OUTFILE.folder": tmp_path / "fit", "PYTORCH.num_epochs": 1})


INPUT = """\
[CALCULATOR]
calculator = LAMMPSGRAPH
elements = Ta
[PYTORCH]
model = MACE
num_epochs = 0
dtype_setting = 2
refit_element_energies = {refit}
[MACE]
mace_model = small.model
mace_head_name = dft
[PATH]
dataPath = {data}
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
Displaced_BCC = 2 1 1 1 0
"""


@pytest.mark.usefixtures("in_process")
def test_its_element_energies_adapt_to_the_data(mace_file: Path, tmp_path: Path) -> None:
    means = {}
    for refit in (0, 1):
        path = tmp_path / f"refit{refit}.in"
        path.write_text(INPUT.format(refit=refit, data=SAMPLES / "Ta_JSON"))
        with without_plots():
            result = fitsnap_nn.fit(path, {"OUTFILE.folder": tmp_path / f"fit{refit}"}, verify=False)
        predicted, labels = np.loadtxt(result.folder / "energy_comparison.dat", unpack=True)
        means[refit] = np.mean(predicted - labels)
        assert "the initial weights" in (result.folder / "run.log").read_text(encoding="utf-8")
    assert abs(means[0]) > 0.5
    assert means[1] == pytest.approx(0.0, abs=1e-9)
    mace_file.unlink()  # a test does not need it, and keys that the file had determined have no effect
    overrides = {"OUTFILE.folder": result.folder, "MACE.r_max": "4.25"}
    with without_plots():
        tested = fitsnap_nn.evaluate(path, result.model_file, overrides, quiet=True)
    assert [row.mae for row in tested.errors] == [row.mae for row in result.errors]


REPLAY = """\
[CALCULATOR]
calculator = LAMMPSGRAPH
elements = Ta O
stress = 0
[PYTORCH]
model = MACE
num_epochs = 12
batch_size = 2
learning_rate = 2e-3
scheduler = constant
warmup_fraction = 0
ema_decay = 0
manual_seed_flag = 1
[MACE]
mace_model = small.model
mace_head_name = dft
[SCRAPER]
scraper = XYZ
[PATH]
dataPath = .
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
New = 1.0 0.0 1 1 0
Replay = 1.0 0.0 {weight} {weight} 0
"""


@pytest.mark.usefixtures("in_process")
def test_replay_of_another_group_keeps_what_the_model_knew(network: Any, mace_file: Path, tmp_path: Path) -> None:
    """Labels of the replayed group are those of the pretrained model, of the new one twice its forces."""
    from fitsnap_nn.interfaces.mace_files import convert

    model = convert(network, ["Ta", "O"], "dft")
    for group, factor in (("New", 2.0), ("Replay", 1.0)):
        with (tmp_path / f"{group}.xyz").open("w", encoding="utf-8") as file:
            for seed in range(4):
                configuration = crystal(model.elements, seed + 10 * int(factor), count=2, lattice=3.0)
                found = of_one(model, configuration)
                cell = " ".join(map(str, configuration.cell.flatten()))
                header = f'Lattice="{cell}" Properties=species:S:1:pos:R:3:forces:R:3 energy={float(found.energy):.12f}'
                rows = np.column_stack([configuration.positions, factor * forces_of(found).numpy()])
                lines = (" ".join([s, *map(str, row)]) for s, row in zip(configuration.species, rows, strict=True))
                file.write("\n".join([str(len(rows)), header, *lines]) + "\n")
    errors = {}
    for weight in (0, 1):
        path = tmp_path / f"replay{weight}.in"
        path.write_text(REPLAY.format(weight=weight))
        with without_plots():
            result = fitsnap_nn.fit(path, {"OUTFILE.folder": tmp_path / f"fit{weight}"}, verify=False)
        errors[weight] = {row.group: row.mae for row in result.errors if row.property == "Force"}
    assert errors[1]["Replay"] < 0.7 * errors[0]["Replay"]
    assert errors[0]["New"] < errors[1]["New"]


@pytest.mark.usefixtures("in_process")
def test_the_card_of_a_foreign_file(mace_file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["show", str(mace_file), "--head", "dft"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"note: code stored in {mace_file} is run to read it; use files from trusted sources only"
    assert lines[1] == f"{mace_file}: a model of mace-torch"
    assert any(line.startswith("model       architecture MACE") for line in lines)
    assert "origin      small.model of mace-torch, head dft" in lines
    assert "reference   none" in lines
    assert f"  python -m fitsnap_nn export {mace_file} potential --head dft" in lines
    assert lines[-1] == "  atoms.calc = fitsnap_nn.Calculator('potential/small.pt')"
