"""Damaged files: a flipped bit ends in one clean error or changes nothing, for every kind of binary file."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_potentials import crystal

from fitsnap_nn.cli import main
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.export import stored
from fitsnap_nn.export.card import describe_model
from fitsnap_nn.export.mliappy import MliapModel, to_pickle
from fitsnap_nn.export.model_file import load_model, load_payload, model_payload, save_model
from fitsnap_nn.export.stored import SPARE
from fitsnap_nn.export.unified import unified_pickle
from fitsnap_nn.inputs.cache.store import InputStore
from fitsnap_nn.inputs.graph.cached import CachedGraph
from fitsnap_nn.inputs.graph.compute import GraphCompute
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.integrity import SEAL_SIZE, deserialize, serialize
from fitsnap_nn.models import BPNN, build_model
from fitsnap_nn.plugin.runtime import read_model
from fitsnap_nn.settings.problems import ValueProblem
from fitsnap_nn.settings.schema import Bispectrum, Reference, Settings
from fitsnap_nn.training.checkpoint import load_restart, save_restart

SETTINGS = Settings(bispectrum=Bispectrum(type=("Ta",), twojmax=(2,)), reference=Reference(pair_coeff=("* *",)))
FLIPS = 60
OLD = Path(__file__).parents[1] / "export" / "version_1"
NANOPET = {"architecture": "NANOPET", "elements": ["Ta"], "cutoff": 3.0, "d_pet": 4, "num_heads": 2}


def network() -> BPNN:
    torch.manual_seed(0)
    return BPNN(SnapInput(SETTINGS.bispectrum), (4,), "tanh").eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    save_model(folder / "bpnn.pt", network(), SETTINGS, {"seed": 1}, crystal(("Ta",), 1))
    save_model(folder / "graph.pt", build_model(NANOPET), SETTINGS, {})
    trainer = {"epoch": 1, "weights": torch.rand(50)}
    payload = model_payload(network(), SETTINGS, {})
    save_restart(folder / "restart.pt", model=payload, trainer=trainer, settings={}, data="d", split_seed=1)
    (folder / "a.mliappy").write_bytes(to_pickle(MliapModel(network().plain_networks())))
    (folder / "a.unified").write_bytes(unified_pickle(build_model(NANOPET)))
    for name in ("bpnn.pt", "nanopet.pt"):
        (folder / f"old_{name}").write_bytes((OLD / name).read_bytes())
    return folder


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def everything(path: Path) -> Any:
    load_model(path)
    return load_payload(path)


def of_lammps(path: Path) -> Any:
    return deserialize(read_model(path).__reduce__()[1][0], "")


READERS: dict[str, Callable[[Path], Any]] = {
    "bpnn.pt": everything,
    "graph.pt": everything,
    "restart.pt": load_restart,
    "a.mliappy": of_lammps,
    "a.unified": of_lammps,
    "old_bpnn.pt": everything,
    "old_nanopet.pt": everything,
}


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_an_error_or_changes_nothing(files: Path, tmp_path: Path, name: str) -> None:
    read, path, content = READERS[name], tmp_path / name, (files / name).read_bytes()
    expected, refused, generator = read(files / name), 0, random.Random(3)
    for bit in generator.sample(range(8 * len(content)), FLIPS):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        message = ""
        try:
            assert same(read(path), expected)
        except CheckpointError as error:
            message = str(error)
            refused += 1
        assert not message or (str(path) in message and "\n" not in message)
    assert refused > 0.5 * FLIPS


@pytest.mark.parametrize("name", ["a.mliappy", "a.unified"])
def test_lammps_without_the_plugin_finds_damaged_weights(files: Path, name: str) -> None:
    """It unpickles the file itself, so that our function in the pickle has to look."""
    content = bytearray((files / name).read_bytes())
    content[len(content) // 2] ^= 4
    with pytest.raises(CheckpointError, match="damaged"):
        pickle.loads(content)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("part", [0, 100, 0.5, -1, -SEAL_SIZE - 1])
def test_a_truncated_file_is_an_error(files: Path, tmp_path: Path, name: str, part: float) -> None:
    content = (files / name).read_bytes()
    cut = int(part * len(content)) if isinstance(part, float) else part
    (tmp_path / name).write_bytes(content[:cut])
    with pytest.raises(CheckpointError, match=name):
        READERS[name](tmp_path / name)


def test_files_remain_those_of_torch_and_pickle(files: Path) -> None:
    for name in ("bpnn.pt", "restart.pt"):
        assert torch.load(files / name, weights_only=True)["format"].startswith("fitsnap_nn")
        assert zipfile.ZipFile(files / name).testzip() is None
    assert pickle.loads((files / "a.mliappy").read_bytes()).n_descriptors == 5


def test_the_exit_code_is_that_of_a_damaged_file(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray((files / "bpnn.pt").read_bytes())
    content[-300] ^= 1
    (tmp_path / "m.pt").write_bytes(content)
    for command in (["show"], ["export"], ["test"]):
        data = ["x.json"] if command == ["test"] else []
        assert main([*command, str(tmp_path / "m.pt"), *data]) == 5
        assert "m.pt is damaged" in capsys.readouterr().err


def test_show_says_whether_there_is_a_digest(files: Path) -> None:
    assert "digest" not in describe_model(files / "bpnn.pt")
    assert "digest      none" in describe_model(files / "old_bpnn.pt")


def test_a_small_file_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Repeated numbers, records that claim to be larger than the file, compressed ones, and huge layers."""
    expanded = serialize({"a": torch.zeros(1).expand(10**9)})
    shared: list[Any] = [0] * 100
    for _ in range(12):
        shared = [shared] * 100
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**8))
    for content in (expanded, serialize({"a": shared}), bomb.getvalue()):
        assert len(content) < 200_000
        with pytest.raises(CheckpointError, match=r"memory|larger than the file"):
            deserialize(content, "small.pt")
    payload = model_payload(network(), SETTINGS, {})
    payload["description"]["hidden"] = [60_000, 60_000]
    (tmp_path / "wide.pt").write_bytes(serialize(payload))
    with pytest.raises(CheckpointError, match="larger model than the weights"):
        load_model(tmp_path / "wide.pt")


@pytest.mark.parametrize("kept", [False, True])
def test_temporary_tensors_of_a_model_do_not_count_as_its_weights(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building a MACE with correlation 3 creates several times more numbers than are allowed at one time."""
    model = network()
    alive: list[torch.nn.Parameter] = []

    def build(_: object) -> BPNN:
        for _number in range(8):
            made = torch.nn.Parameter(torch.empty(SPARE // 4))  # a parameter is another object with the same memory
            if kept:
                alive.append(made)
        return network()

    monkeypatch.setattr(stored, "build_model", build)
    if kept:
        with pytest.raises(ValueProblem, match="larger model than the weights"):
            stored.build_stored(model.description(), model.state_dict())
    else:
        restored = stored.build_stored(model.description(), model.state_dict())
        assert all(map(torch.equal, model.state_dict().values(), restored.state_dict().values()))


def looked_up(folder: Path, configurations: list[Configuration]) -> tuple[InputStore, list[Configuration]]:
    store = InputStore(folder, {"a": 1}, CachedGraph)
    return store, store.missing(configurations)


@pytest.mark.parametrize("suffix", [".bin", ".index"])
def test_a_damaged_cache_is_computed_again(tmp_path: Path, suffix: str) -> None:
    configurations = [crystal(("Ta",), seed) for seed in range(3)]
    with GraphCompute(("Ta",), 3.0, Reference(), tmp_path) as compute:
        inputs = list(compute.compute_all(configurations))
    store = InputStore(tmp_path / "cache", {"a": 1}, CachedGraph)
    with store.writer() as writer:
        for configuration, cached in zip(configurations, inputs, strict=True):
            writer.add(configuration, cached)
    (path,) = store.folder.glob(f"*{suffix}")
    kept = {file: file.read_bytes() for file in store.folder.iterdir()}
    for bit in random.Random(5).sample(range(8 * len(kept[path])), FLIPS):
        for file, content in kept.items():
            file.write_bytes(content)
        flipped = bytearray(kept[path])
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.warns(UserWarning, match="computed again"):
            found, missing = looked_up(tmp_path / "cache", configurations)
        assert missing
        for configuration, cached in zip(configurations, inputs, strict=True):
            if configuration not in missing:
                arrays = zip(found.cached(configuration).arrays(), cached.arrays(), strict=True)
                assert all(np.array_equal(*pair) for pair in arrays)


@pytest.mark.parametrize("read", [load_model, load_restart])
def test_a_pipe_is_no_file(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointError, match=r"cannot read .*: it is a pipe, not a file"):
        read(tmp_path / "pipe.pt")
