"""Training keys that an input does not set: defaults of the architecture, FitSNAP's for BPNN."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from torch_archives import write_archive

from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import load_settings
from fitsnap_nn.settings.architectures import BUILT_IN, Mace, Nanopet
from fitsnap_nn.settings.fields import parse_value
from fitsnap_nn.settings.keys import keys_of
from fitsnap_nn.settings.schema import PytorchSection


def write(folder: Path, model: str, *lines: str) -> Path:
    """Write an input for a model, with further keys of PYTORCH."""
    (folder / "JSON" / "Bulk").mkdir(parents=True)
    head = "[BISPECTRUM]\ntype = Ta\n" if model == "BPNN" else "[CALCULATOR]\ncalculator = LAMMPSGRAPH\nelements = Ta\n"
    path = folder / "x.in"
    training = "\n".join([f"model = {model}", *lines])
    path.write_text(f"{head}[PYTORCH]\n{training}\n[GROUPS]\nBulk = 0.5 1 1 0\n")
    return path


@pytest.mark.parametrize("model", BUILT_IN)
def test_omitted_keys_take_the_defaults_of_the_architecture(tmp_path, model):
    settings = load_settings(write(tmp_path, model))
    defaults = BUILT_IN[model].training_defaults
    known = keys_of("PYTORCH")
    expected = {name: parse_value(text, known[name]) for name, text in defaults.items()}
    assert settings.pytorch == replace(PytorchSection(model=model), **expected)
    (notice,) = settings.notices if defaults else [""]
    assert all(f"{name} = {text}" in notice for name, text in defaults.items())


def test_given_keys_are_kept_and_not_listed(tmp_path):
    settings = load_settings(write(tmp_path, "NANOPET", "learning_rate = 0.01"), [("PYTORCH", "scheduler", "constant")])
    assert (settings.pytorch.learning_rate, settings.pytorch.scheduler) == (0.01, "constant")
    assert settings.pytorch.gradient_clip == float(Nanopet.training_defaults["gradient_clip"])
    assert "learning_rate" not in settings.notices[0]
    assert "scheduler" not in settings.notices[0]


@pytest.mark.parametrize("model", BUILT_IN)
def test_schedule_free_optimisers_take_no_schedule_and_no_average(tmp_path, model):
    settings = load_settings(write(tmp_path, model, "optimizer = schedulefree"))
    training, defaults = settings.pytorch, BUILT_IN[model].training_defaults
    assert (training.scheduler, training.ema_decay) == ("constant", 0.0)
    rate = BUILT_IN[model].other_learning_rate or defaults.get("learning_rate", PytorchSection().learning_rate)
    assert training.learning_rate == float(rate)
    assert training.warmup_fraction == float(defaults.get("warmup_fraction", PytorchSection().warmup_fraction))
    assert not any("scheduler" in notice or "ema_decay" in notice for notice in settings.notices)


@pytest.mark.parametrize(("optimizer", "rate"), [("Adam", 3e-4), ("AdamW", 3e-4), ("SOAP", 3e-3)])
def test_the_rate_of_nanopet_is_that_of_its_optimiser(tmp_path, optimizer, rate):
    path = write(tmp_path, "NANOPET", f"optimizer = {optimizer}")
    settings = load_settings(path)
    assert settings.pytorch.learning_rate == rate
    (notice,) = settings.notices
    source = "NANOPET" if optimizer == "SOAP" else f"NANOPET with optimizer = {optimizer}"
    assert f"learning_rate = {rate:g}" in notice.replace("3e-3", "0.003").replace("3e-4", "0.0003")
    assert f": defaults of {source}, which the input does not set." in notice
    assert load_settings(path, [("PYTORCH", "learning_rate", "1e-3")]).pytorch.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("model", "weights"), [("BPNN", "start_from"), ("NANOPET", "start_from"), ("MACE", "mace_model")]
)
def test_trained_weights_get_a_tenth_of_the_rate(tmp_path, model, weights):
    write_archive(tmp_path / "trained")
    line = f"{weights} = trained" if weights == "start_from" else f"\n[MACE]\n{weights} = trained\n[PATH]"
    path = write(tmp_path, model, "batch_size = 3", line)
    defaults = BUILT_IN[model].training_defaults if model in BUILT_IN else {}
    usual = defaults.get("learning_rate", PytorchSection().learning_rate)
    calculator = "LAMMPSSNAP" if model == "BPNN" else "LAMMPSGRAPH"
    settings = load_settings(path, [("CALCULATOR", "calculator", calculator)])
    assert settings.pytorch.learning_rate == pytest.approx(float(usual) / 10, rel=1e-12)
    remark = f"learning_rate = {float(usual) / 10:g}: a tenth of the default of {model}"
    assert any(remark in notice for notice in settings.notices)
    given = load_settings(path, [("PYTORCH", "learning_rate", "2e-3")])
    assert given.pytorch.learning_rate == 2e-3
    assert not any("a tenth" in notice for notice in given.notices)


def test_inputs_of_fitsnap_keep_its_defaults(tmp_path):
    settings = load_settings(write(tmp_path, "BPNN"))
    assert settings.pytorch == PytorchSection()
    assert settings.notices == ()


@pytest.mark.parametrize("wrong", [{"learning_rat": "1e-3"}, {"scheduler": "cosin"}, {"learning_rate": "-1"}])
def test_invalid_defaults_of_a_package_are_reported(tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(Mace, "training_defaults", MappingProxyType(wrong))
    ((name, text),) = wrong.items()
    with pytest.raises(InputError, match=rf"MACE declares the invalid default {name} = {text}"):
        load_settings(write(tmp_path, "MACE"))
