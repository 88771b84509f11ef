"""Model files: round trips, what is no model file, and old versions."""

from __future__ import annotations

import pickle
import sys
import types
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from random_potentials import crystal

from fitsnap_nn.errors import CheckpointError, InputError
from fitsnap_nn.export import model_file
from fitsnap_nn.export.card import describe_model
from fitsnap_nn.export.export import export
from fitsnap_nn.export.mliappy import MliapModel, to_pickle
from fitsnap_nn.export.model_file import load_model, load_payload, model_payload, save_model
from fitsnap_nn.export.unified import unified_pickle
from fitsnap_nn.folders import MARKER
from fitsnap_nn.inputs.graph.input import GraphInput
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.models import BPNN, GraphModel, build_model
from fitsnap_nn.settings.schema import Bispectrum, Outfile, Reference, Settings

SETTINGS = Settings(
    bispectrum=Bispectrum(num_types=2, type=("In", "P"), twojmax=(2,), rcutfac=4.5, radelem=(0.5, 0.4), wj=(1.0, 0.9)),
    reference=Reference(pair_style="zbl 4.0 4.8", pair_coeff=("* * 49 49",)),
    eshift={"In": 1.5},
    outfile=Outfile(potential="InP_pot"),
)
PROVENANCE = {"input": "[BISPECTRUM]\ntype = In P\n", "torch": "2.13", "seed": 3, "metrics": {"energy": [0.1, 0.2]}}


def network(dtype: torch.dtype = torch.float32) -> BPNN:
    torch.manual_seed(0)
    model = BPNN(SnapInput(SETTINGS.bispectrum), (4,), "tanh", 2)
    model.set_precision(dtype)
    model.element_energies += torch.tensor([-1.0 / 3, -2.0 / 7], dtype=torch.float64)
    return model


def saved(folder: Path, name: str = "model.pt") -> Path:
    save_model(folder / name, network(), SETTINGS, PROVENANCE, crystal(("In", "P"), 1))
    return folder / name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_saved_is_loaded(tmp_path: Path, dtype: torch.dtype) -> None:
    model, structure = network(dtype), replace(crystal(("In", "P"), 1), charges=np.linspace(-1, 1, 16))
    save_model(tmp_path / "model.pt", model, SETTINGS, PROVENANCE, structure)
    content = load_model(tmp_path / "model.pt")
    expected = model.state_dict()
    assert content.model.state_dict().keys() == expected.keys()
    for name, tensor in content.model.state_dict().items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name])
    assert content.model.input == SnapInput(SETTINGS.bispectrum)
    assert content.reference == SETTINGS.reference
    assert (content.eshift, content.potential) == (SETTINGS.eshift, "InP_pot")
    assert content.provenance == PROVENANCE
    assert content.structure is not None
    assert content.structure.fingerprint() == structure.fingerprint()


def test_the_weights_are_copied(tmp_path: Path) -> None:
    model = network()
    payload = model_payload(model, SETTINGS, {})
    before = payload["state_dict"]["element_energies"].clone()
    model.element_energies += 1
    assert torch.equal(payload["state_dict"]["element_energies"], before)


def test_the_best_model_of_a_restart_file_is_found(tmp_path: Path) -> None:
    payload = model_payload(network(), SETTINGS, PROVENANCE)
    torch.save({"format": "a restart", "version": 1, "model": payload, "trainer": {}}, tmp_path / "restart.pt")
    assert load_model(tmp_path / "restart.pt").model.elements == ("In", "P")


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()

    def torn(payload: object, file: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(CheckpointError, match="No space left"):
        saved(tmp_path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt"]


def graph_model() -> GraphModel:
    hypers = {"elements": ["In", "P"], "cutoff": 3.0, "d_pet": 4, "num_heads": 2}
    model = build_model({"architecture": "NANOPET", **hypers})
    assert isinstance(model, GraphModel)
    return model


class Foreign:
    """Stands for whatever class a pickle may name."""


def write_other(kind: str, folder: Path) -> Path:
    path = folder / kind
    plain = network()
    writers = {
        "missing": lambda: None,
        "text": lambda: path.write_text("[BISPECTRUM]\n"),
        "empty": lambda: path.write_bytes(b""),
        "cut": lambda: path.write_bytes(saved(folder).read_bytes()[:700]),
        "pickle": lambda: torch.save(Foreign(), path),
        "plain pickle": lambda: path.write_bytes(pickle.dumps(Foreign())),
        "graph for LAMMPS": lambda: path.write_bytes(unified_pickle(graph_model())),
        "for LAMMPS": lambda: path.write_bytes(to_pickle(MliapModel(plain.plain_networks()))),
        "FitSNAP restart": lambda: torch.save({"epoch": 1, "model_state_dict": {}, "loss": 0.0}, path),
        "weights": lambda: torch.save(plain.state_dict(), path),
        "tensor": lambda: torch.save(torch.zeros(2), path),
        "later": lambda: torch.save({**model_payload(plain, SETTINGS, {}), "version": 99}, path),
        "zip": lambda: zipfile.ZipFile(path, "w").close(),
        "folder": path.mkdir,
    }
    writers[kind]()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "cannot read the model file .*No such file"),
        ("text", "not a torch file"),
        ("empty", "not a torch file"),
        ("cut", "truncated"),
        ("pickle", "would run code"),
        ("plain pickle", "not a torch file"),
        ("for LAMMPS", "the pickle for LAMMPS"),
        ("graph for LAMMPS", "the pickle for LAMMPS"),
        ("FitSNAP restart", "a restart file of FitSNAP"),
        ("weights", "a torch file holding shift"),
        ("tensor", "one Tensor"),
        ("zip", "not a model file"),
        ("later", "newer fitsnap_nn .*99.*Update"),
        ("folder", "it is a folder, not a file"),
    ],
)
def test_what_is_no_model_file_is_named(tmp_path: Path, kind: str, message: str) -> None:
    path = write_other(kind, tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_a_model_of_fitsnap_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("fitsnap3lib.lib.neural_networks.write")
    module.TorchWrapper = type("TorchWrapper", (torch.nn.Linear,), {"__module__": module.__name__})
    parents = ("fitsnap3lib", "fitsnap3lib.lib", "fitsnap3lib.lib.neural_networks")
    for package in (*map(types.ModuleType, parents), module):
        monkeypatch.setitem(sys.modules, package.__name__, package)
    path = tmp_path / "FitTorch_Pytorch.pt"
    torch.save(module.TorchWrapper(2, 1), path)
    with pytest.raises(CheckpointError, match="pickled by FitSNAP"):
        load_model(path)


def test_older_files_are_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = model_payload(network(), SETTINGS, PROVENANCE)
    old["old_name"] = old.pop("potential")
    torch.save(old, tmp_path / "old.pt")

    def renamed(payload: model_file.Payload) -> model_file.Payload:
        return {**payload, "version": 3, "potential": payload["old_name"]}

    def marked(payload: model_file.Payload) -> model_file.Payload:
        return {**payload, "version": 4, "potential": payload["potential"] + "!"}

    monkeypatch.setattr(model_file, "VERSION", 4)
    monkeypatch.setattr(model_file, "UPGRADES", {2: renamed, 3: marked})
    assert load_payload(tmp_path / "old.pt")["version"] == 4
    assert load_model(tmp_path / "old.pt").potential == "InP_pot!"


def test_a_network_of_version_1_is_loaded(tmp_path: Path) -> None:
    """Which kept the descriptors beside the model, and their number in its description."""
    old = {**model_payload(network(), SETTINGS, PROVENANCE), "version": 1, "bispectrum": asdict(SETTINGS.bispectrum)}
    old["description"] = {
        "architecture": "BPNN",
        "elements": ["In", "P"],
        "n_descriptors": 5,
        "hidden": [4],
        "activation": "tanh",
        "multi_element_option": 2,
    }
    torch.save(old, tmp_path / "old.pt")
    content = load_model(tmp_path / "old.pt")
    assert content.model.input == SnapInput(SETTINGS.bispectrum)
    assert content.model.description() == network().description()
    for name, tensor in network().state_dict().items():
        assert torch.equal(content.model.state_dict()[name], tensor)


def test_a_graph_model_of_version_1_is_loaded(tmp_path: Path) -> None:
    settings = replace(SETTINGS, bispectrum=Bispectrum(type=("In", "P")))
    model = graph_model()
    old = {**model_payload(model, settings, PROVENANCE), "version": 1, "bispectrum": asdict(settings.bispectrum)}
    torch.save(old, tmp_path / "old.pt")
    content = load_model(tmp_path / "old.pt")
    assert content.model.input == GraphInput(("In", "P"), 3.0)
    assert content.model.description() == model.description()


def test_the_description_tells_what_a_user_wants_to_know(tmp_path: Path) -> None:
    text = describe_model(str(saved(tmp_path)))
    for expected in (
        "In P (LAMMPS types 1 to 2)",
        "hidden 4",
        "rcutfac 4.5",
        "zbl 4.0 4.8",
        "In 1.5 eV",
        "type = In P",
    ):
        assert expected in text
    assert "twojmax 2" in text
    assert "bikflag" not in text


def test_export_writes_what_a_run_needs_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    model, folder = saved(tmp_path), tmp_path / "out"
    written = export(str(model), str(folder))
    names = sorted(Path(path).name for path in written)
    assert names == [
        "InP_pot.mliap.descriptor", "InP_pot.mliap.mliappy", "InP_pot.mliap.nn", "InP_pot.mod", "in.md", "md.data",
    ]  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, MARKER])
    (folder / "InP_pot.mod").write_text("mine")
    (folder / "InP_pot.mliap.nn").unlink()
    with pytest.raises(InputError, match=r"InP_pot\.mod.*--overwrite"):
        export(str(model), str(folder))
    assert (folder / "InP_pot.mod").read_text() == "mine"
    assert not (folder / "InP_pot.mliap.nn").exists()
    export(str(model), str(folder), overwrite=True)
    assert "pair_style" in (folder / "InP_pot.mod").read_text()
