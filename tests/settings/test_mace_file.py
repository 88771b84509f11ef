"""Files that are no models of mace-torch are found before they are loaded, with what they are instead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from torch_archives import MACE, write_archive

from fitsnap_nn import memory
from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import load_settings
from fitsnap_nn.settings.mace_file import mace_file_problem


def problem(path: Path) -> str:
    found = mace_file_problem(str(path))
    return ". ".join(found) if found else ""


def test_files_that_may_be_models(tmp_path: Path):
    assert problem(write_archive(tmp_path / "a.model")) == ""
    assert problem(write_archive(tmp_path / "les.model", b"cmace.modules.extensions\nMACELES\n")) == ""  # named later
    (tmp_path / "early.model").write_bytes(b"\x80\x02\x8a\nl")  # of torch before version 1.6
    assert problem(tmp_path / "early.model") == ""


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "x.model is empty. Download the file again."),
        (b"<!DOCTYPE html>\n<html>", "x.model is not a file of torch; it starts with '<!DOCTYPE html>'. Download"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "get the file itself with git lfs pull"),
        (b"PK\x03\x04 and the rest is missing", "x.model is incomplete: the end of the archive is missing. Download"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes, what: str):
    (tmp_path / "x.model").write_bytes(content)
    assert what in problem(tmp_path / "x.model")


def test_archives_without_a_model(tmp_path: Path):
    def of(classes: bytes, **others: bytes) -> str:
        return problem(write_archive(tmp_path / "x.model", classes, **others))

    assert "x.model contains no model of mace-torch; a checkpoint contains its weights" in of(
        b"ccollections\nOrderedDict"
    )
    assert "was converted for LAMMPS. Give the .model file that it was made from" in of(
        b"cmace.calculators.lammps_mliap_mace\nLAMMPS_MLIAP_MACE\n" + MACE
    )
    assert "x.model is a compiled model (TorchScript)" in of(MACE, **{"code/__torch__/mace.py": b""})


def test_layers_of_a_library_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fitsnap_nn.settings.mace_file.find_spec", lambda name: None)
    path = write_archive(tmp_path / "x.model", MACE + b"ccuequivariance_torch.operations.linear\nLinear\n")
    assert "layers of cuequivariance, which is not installed. Install cuequivariance and" in problem(path)


def test_thousands_of_channels_are_refused_with_the_memory_that_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_archive(tmp_path / "x.model", **{"data/0": bytes(2**20)})
    assert problem(path) == ""
    monkeypatch.setattr(memory, "total_memory", lambda: 2**20)
    found = problem(path)
    assert "has tensors of 0.000977 GiB; reading them needs at least 0.00293 GiB of memory, but this computer" in found


@pytest.mark.parametrize(("memory_of", "refused"), [(8, True), (64, False)])
def test_thousands_of_channels_are_refused_before_they_are_built(write_input, monkeypatch, memory_of, refused):
    path = write_input(
        ("[PATH]", "[PYTORCH]\nmodel = MACE\n[MACE]\nhidden_irreps = 4096x0e + 4096x1o + 4096x2e\n[PATH]"),
        ("stress = 0", "stress = 0\ncalculator = LAMMPSGRAPH\nelements = W Be"),
    )
    monkeypatch.setattr(memory, "total_memory", lambda: memory_of * 2**30)
    if not refused:
        load_settings(path)
        return
    what = r"hidden_irreps — a model with at least .*e\+0[89] weights needs .* GiB of memory, but this computer has 8"
    with pytest.raises(InputError, match=what):
        load_settings(path)


def test_unreadable_and_missing_files(tmp_path: Path):
    (tmp_path / "small.model").mkdir()
    assert problem(tmp_path / "small.model").startswith(f"{tmp_path / 'small.model'} is a folder, not a file")
    assert "no such file" in problem(tmp_path / "smal.model")
    assert "Did you mean small.model?" in problem(tmp_path / "smal.model")
    path = write_archive(tmp_path / "x.model")
    path.write_bytes(path.read_bytes().replace(b"mace.modules", b"mace.MODULES"))
    assert "is damaged: Bad CRC-32" in problem(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission(tmp_path: Path):
    path = write_archive(tmp_path / "x.model")
    path.chmod(0)
    assert "x.model cannot be read: Permission denied. Check its permissions." in problem(path)


def test_the_check_of_an_input_finds_them(write_input, tmp_path: Path):
    (tmp_path / "a.model").write_bytes(b"<html>")
    path = write_input(
        ("[PATH]", "[PYTORCH]\nmodel = MACE\n[MACE]\nmace_model = a.model\n[PATH]"),
        ("stress = 0", "stress = 0\ncalculator = LAMMPSGRAPH\nelements = W Be"),
    )
    with pytest.raises(
        InputError, match=r"\[MACE\] mace_model — .*a\.model is not a file of torch; it starts with '<html>'"
    ):
        load_settings(path)
