"""Text to typed values and back."""

from __future__ import annotations

import pytest

from fitsnap_nn.settings.fields import format_value, parse_value
from fitsnap_nn.settings.keys import keys_of, section_classes
from fitsnap_nn.settings.problems import ValueProblem, did_you_mean


def parse(section: str, key: str, text: str):
    return parse_value(text, keys_of(section)[key])


@pytest.mark.parametrize(
    ("section", "key", "text", "value"),
    [
        ("CALCULATOR", "energy", "YES", True),
        ("CALCULATOR", "energy", "t", True),
        ("CALCULATOR", "energy", "1", True),
        ("CALCULATOR", "energy", "0", False),
        ("CALCULATOR", "energy", "Off", False),
        ("PYTORCH", "num_epochs", "12", 12),
        ("PYTORCH", "learning_rate", "1e-2", 0.01),
        ("PYTORCH", "learning_rate", "5", 5.0),
        ("PYTORCH", "energy_weight", "1e-2", 0.01),
        ("PYTORCH", "energy_weight", "None", None),
        ("PYTORCH", "optimizer", "ADAMW", "AdamW"),
        ("PYTORCH", "layer_sizes", "num_desc 64\n1", ("num_desc", "64", "1")),
        ("PYTORCH", "save_state_input", "None", ""),
        ("BISPECTRUM", "twojmax", "8 10", (8, 10)),
        ("BISPECTRUM", "wj", "1.0 0.5", (1.0, 0.5)),
        ("BISPECTRUM", "type", "W Be", ("W", "Be")),
        ("REFERENCE", "pair_style", "eam/fs", "eam/fs"),
    ],
)
def test_values_take_the_type_of_their_key(section, key, text, value):
    parsed = parse(section, key, text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("section", "key", "text", "message"),
    [
        ("CALCULATOR", "energy", "maybe", "is not a Boolean"),
        ("CALCULATOR", "energy", "2", "is not a Boolean"),
        ("PYTORCH", "num_epochs", "6.0", "not an integer"),
        ("PYTORCH", "num_epochs", "", "no value"),
        ("PYTORCH", "num_epochs", "-1", "below the minimum, 0"),
        ("PYTORCH", "multi_element_option", "4", "above the maximum, 3"),
        ("PYTORCH", "learning_rate", "1e-2x", "not a number"),
        ("PYTORCH", "learning_rate", "nan", "not a finite number"),
        ("PYTORCH", "learning_rate", "inf", "not a finite number"),
        ("PYTORCH", "energy_weight", "nan", "not a finite number"),
        ("PYTORCH", "optimizer", "SGD", "is not one of Adam, AdamW"),
        ("PYTORCH", "seed", str(10**400), "above the maximum"),
        ("PYTORCH", "output_file", "", "no value"),
        ("PYTORCH", "layer_sizes", "", "no value"),
        ("BISPECTRUM", "twojmax", "6 6.5", "'6.5' is not an integer"),
        ("BISPECTRUM", "twojmax", "6 51", "51 is above the maximum, 50"),
        ("BISPECTRUM", "wj", "1.0 nan", "not a finite number"),
        ("REFERENCE", "units", "real", "must be metal"),
    ],
)
def test_wrong_values_are_refused(section, key, text, message):
    with pytest.raises(ValueProblem, match=message):
        parse(section, key, text)


def test_the_limit_of_twojmax_is_explained():
    assert parse("BISPECTRUM", "twojmax", "50") == (50,)
    with pytest.raises(ValueProblem) as error:
        parse("BISPECTRUM", "twojmax", "80")
    assert "overflow double precision at 80" in error.value.hint


def test_defaults_survive_being_written_and_read():
    """Every default is a value that its own key accepts."""
    count = 0
    for section in section_classes():
        for key in keys_of(section).values():
            if not key.is_prefix:
                text = "None" if key.default is None else format_value(key.default)
                assert parse_value(text, key) == key.default, (section, key.name)
                count += 1
    assert count > 80


def test_suggestions_look_past_case():
    assert did_you_mean("TWOJMAX", ["twojmax", "type"]) == "Did you mean twojmax?"
    assert did_you_mean("xyzzy", ["twojmax", "type"]) == ""
