"""The loss of each property: [PYTORCH] loss, huber_delta, loss_reduction and section [TARGETS]."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import PropertyRow, load_settings
from fitsnap_nn.settings.losses import loss_names
from fitsnap_nn.settings.training import PytorchSection

CHARGE = "charge = per_atom scalar column=ref_charge unit=e"


@pytest.fixture
def with_keys(write_input):
    """A function that writes an input with some lines in [PYTORCH], on line 10 and below, and in [TARGETS]."""

    def write(pytorch: str = "", properties: str = "") -> Path:
        return write_input(("[PATH]", f"[PYTORCH]\n{pytorch}\n[TARGETS]\n{properties}\n[PATH]"))

    return write


def problems(path: Path) -> list[str]:
    with pytest.raises(InputError) as error:
        load_settings(path)
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", {"energy": ("mse", 0.01), "forces": ("mse", 0.1), "stress": ("mse", 1000.0)}),
        ("loss = MAE", {"energy": ("mae", 0.01), "forces": ("mae", 0.1), "stress": ("mae", 1000.0)}),
        ("loss = huber", {"energy": ("huber", 0.01), "forces": ("huber", 0.1), "stress": ("huber", 1000.0)}),
        (
            "loss = energy huber force mae\nhuber_delta = 0.02",
            {"energy": ("huber", 0.02), "forces": ("mae", 0.1), "stress": ("mse", 1000.0)},
        ),
        (
            "loss = huber\nhuber_delta = stress 500 force 0.2",
            {"energy": ("huber", 0.01), "forces": ("huber", 0.2), "stress": ("huber", 500.0)},
        ),
    ],
)
def test_losses_by_property(with_keys, keys, expected):
    settings = load_settings(with_keys(keys))
    assert settings.losses == settings.pytorch.losses == expected
    assert settings.notices == ()


def test_the_reduction(with_keys):
    assert load_settings(with_keys()).pytorch.loss_reduction == "mean"
    assert load_settings(with_keys("loss_reduction = SUM")).pytorch.loss_reduction == "sum"
    assert "'max' is not one of mean, sum" in problems(with_keys("loss_reduction = max"))[0]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("loss = hubber", "[PYTORCH] loss — unknown loss hubber. Did you mean huber?"),
        ("loss = xyz", "unknown loss xyz. The losses are mse, mae, huber."),
        ("loss = energy huber forces", "'energy huber forces' is not a list of pairs of property and value. Use one"),
        ("loss = energy huber energy mse", "[PYTORCH] loss — energy is given 2 times"),
        ("loss = force mae forces mse", "[PYTORCH] loss — forces is given 2 times"),
        ("loss = energy huber 1 mse", "'1' is not the name of a property"),
        ("loss = energi huber", "[PYTORCH] loss — energi is not a property of this fit. Did you mean energy?"),
        ("loss = charge huber", "charge is not a property of this fit. Declare it in section [TARGETS]."),
        (
            "loss = huber\nhuber_delta = 0.1",
            "the single number 0.1 is ambiguous: energy, forces, stress have different",
        ),
        ("loss = huber\nhuber_delta = energy -1", "[PYTORCH] huber_delta — '-1' is not a positive number"),
        ("loss = huber\nhuber_delta = energy inf", "'inf' is not a positive number"),
        ("loss = huber\nhuber_delta = energy 0.1 forces", "is not a list of pairs of property and value. Give each"),
        ("loss = huber\nhuber_delta = stres 1", "huber_delta — stres is not a property of this fit. Did you mean"),
    ],
)
def test_wrong_losses_are_reported_with_their_line(with_keys, keys, message):
    path = with_keys(keys)
    (found,) = problems(path)
    assert found.startswith(f"{path}:{10 + keys.count(chr(10))}  [PYTORCH] ")
    assert message in found


def test_a_delta_without_a_loss_that_has_one_is_noted(with_keys):
    settings = load_settings(with_keys("loss = energy huber\nhuber_delta = energy 0.1 forces 0.1"))
    assert settings.notices == ("[PYTORCH] huber_delta has no effect on forces: the loss has no delta.",)


def test_the_section_alone_raises_a_plain_error():
    with pytest.raises(ValueError, match="unknown loss hubber"):
        _ = PytorchSection(loss=("hubber",)).losses


def test_a_loss_of_another_package_is_known_by_its_name(with_keys, tmp_path, monkeypatch):
    info = tmp_path / "site" / "toyloss-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toyloss\nVersion: 1.0\n")
    # The module does not exist: names are checked without importing it.
    (info / "entry_points.txt").write_text("[fitsnap_nn.losses]\nLogCosh = no_such_module:LogCosh\n")
    monkeypatch.syspath_prepend(str(info.parent))
    loss_names.cache_clear()
    try:
        path = with_keys("loss = forces logcosh\nhuber_delta = 0.3")
        assert load_settings(path).losses["forces"] == ("LogCosh", 0.3)
        assert "Did you mean LogCosh?" in problems(with_keys("loss = logcos"))[0]
    finally:
        loss_names.cache_clear()


def test_a_property_with_all_options(with_keys):
    text = f"{CHARGE} weight=2.5 loss=huber delta=0.05\ngap = scalar per_configuration intensive=1"
    path = with_keys("", text)
    settings = load_settings(path)
    assert settings.targets == (
        PropertyRow("charge", "atom", "scalar", "ref_charge", "e", 2.5, "huber", 0.05, False, f"{path}:12"),
        PropertyRow("gap", "configuration", "scalar", "gap", intensive=True, where=f"{path}:13"),
    )
    assert settings.losses["charge"] == ("huber", 0.05)
    assert settings.losses["gap"] == ("mse", 1.0)


@pytest.mark.parametrize(
    ("pytorch", "options", "expected"),
    [
        ("loss = mae", "", ("mae", 1.0)),
        ("loss = mae", "loss=mse", ("mse", 1.0)),
        ("loss = energy mae", "", ("mse", 1.0)),
        ("loss = charge mae energy huber", "", ("mae", 1.0)),
        ("loss = charge huber\nhuber_delta = 0.2", "", ("huber", 0.2)),
        ("loss = huber", "delta=0.3", ("huber", 0.3)),
        ("loss = huber\nhuber_delta = charge 0.4", "", ("huber", 0.4)),
    ],
)
def test_the_loss_of_a_property_follows_pytorch(with_keys, pytorch, options, expected):
    assert load_settings(with_keys(pytorch, f"{CHARGE} {options}")).losses["charge"] == expected


@pytest.mark.parametrize(
    ("pytorch", "line", "message"),
    [
        ("", "energy = per_atom scalar", "energy — is always a property of the data: it cannot be defined again"),
        ("", "force = per_atom vector", "force — is always a property of the data"),
        ("", "my-charge = per_atom scalar", "my-charge — is not a valid name. Use letters, digits"),
        ("", "charge = scalar", "charge — per_atom or per_configuration is missing. Use, for instance, charge ="),
        ("", "charge = per_atom", "charge — scalar, vector, symmetric_tensor, tensor or spherical is missing"),
        ("", "charge = per_atom per_configuration scalar", "per_atom and per_configuration exclude each other"),
        ("", "charge = per_atm scalar", "unknown word per_atm. Did you mean per_atom?"),
        ("", "charge = per_atom scalar colum=q", "unknown option colum. Did you mean column?"),
        (
            "",
            "charge = per_atom scalar xyz=q",
            "The options are column, unit, weight, loss, delta, intensive, lambda, parity, head",
        ),
        ("", "charge = per_atom scalar unit=e unit=e", "option unit is given twice"),
        ("", "charge = per_atom scalar head=mpl", "head: 'mpl' is none of mlp, linear. Did you mean mlp?"),
        ("", "charge = per_atom scalar parity=odd", "parity: 'odd' is none of proper, pseudo"),
        ("", "charge = per_atom scalar lambda=1", "lambda= applies to spherical only"),
        ("", "q = per_atom spherical", "spherical needs lambda="),
        ("", "q = per_atom spherical lambda=9", "lambda: 9 is not a degree from 0 to 8"),
        ("", "q = per_atom scalar scale=0", "scale: '0' is not a positive number"),
        ("", "q = per_atom scalar per_structure=1", "per_structure=1 applies to per_configuration only"),
        ("", "q = per_configuration scalar per_structure=1 intensive=1", "has no effect with intensive=1"),
        ("", "features = per_atom scalar", "features — is the name of another output of a potential"),
        ("", "q = per_atom vector", "q — vector is not invariant, but the descriptors of model = BPNN"),
        ("", "charge = per_atom scalar column=", "column: has no value"),
        ("", "charge = per_atom scalar weight=-1", "weight: -1 is negative"),
        ("", "charge = per_atom scalar weight=x", "weight: 'x' is not a number"),
        ("", "charge = per_atom scalar loss=hubber", "loss: unknown loss hubber. Did you mean huber?"),
        ("", "charge = per_atom scalar loss=huber delta=0", "delta: '0' is not a positive number"),
        ("", "charge = per_atom scalar loss=huber", "the loss huber needs a delta. Add delta=, in the unit of its"),
        ("loss = huber", CHARGE, "the loss huber needs a delta. Add delta=, in e."),
        ("", "charge = per_atom scalar loss=mae delta=1", "delta has no effect: loss=mae has none"),
        ("", "charge = per_atom scalar intensive=1", "intensive=1 applies to per_configuration only"),
        ("", "charge = per_atom scalar intensive=maybe", "intensive: 'maybe' is not a Boolean"),
        ("loss = charge mae", f"{CHARGE} loss=mse", "loss is also set for charge by [PYTORCH] loss. Remove one"),
        (
            "loss = huber\nhuber_delta = charge 1",
            f"{CHARGE} delta=2",
            "delta is also set for charge by [PYTORCH] huber_delta. Remove one",
        ),
    ],
)
def test_wrong_properties_are_reported_with_their_line(with_keys, pytorch, line, message):
    path = with_keys(pytorch, line)
    (found,) = problems(path)
    assert found.startswith(f"{path}:{12 + pytorch.count(chr(10))}  [TARGETS] ")
    assert message in found
