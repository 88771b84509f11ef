"""Settings as plain types, and what differs between two."""

from __future__ import annotations

import json

import pytest

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.settings import as_dict, differences, from_dict, load_settings


def plain(value) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(item) for key, item in value.items())
    if isinstance(value, tuple | list):
        return all(map(plain, value))
    return value is None or type(value) in (bool, int, float, str)


def test_there_and_back(write_input):
    settings = load_settings(write_input(), [("PYTORCH", "energy_weight", "1"), ("PYTORCH", "force_weight", "2")])
    stored = as_dict(settings)
    assert plain(stored)
    assert from_dict(stored) == settings
    assert from_dict(json.loads(json.dumps(stored))) == settings


def test_rows_come_back(write_input):
    path = write_input(
        ("testing_size", "testing_size test_size"), ("0.7 0.3", "0.7 0.2 0.1"), ("1.0 0.0", "1.0 0.0 0"),
        ("[PATH]", "[TARGETS]\ncharge = per_atom scalar unit=e delta=0.1\n[PATH]"),
    )  # fmt: skip
    settings = load_settings(path)
    assert from_dict(json.loads(json.dumps(as_dict(settings)))) == settings
    charge = ("TARGETS", "charge", "per_atom scalar unit=e weight=2 delta=0.1")
    (line,) = differences(settings, load_settings(path, [charge]))
    assert line.startswith("[TARGETS] charge: ")
    assert "weight=1.0" in line
    assert "weight=2.0" in line
    assert differences(settings, load_settings(path, [("GROUPS", "Liquid", "1.0 0.0 0.0 1 1 0")])) == []
    assert differences(settings, load_settings(path, [("GROUPS", "Bulk", "0.7 0.2 0 100 1 1e-8")])) == [
        "[GROUPS] Bulk: 0.7 0.2 0.1 100.0 1.0 1e-08 and 0.7 0.2 100.0 1.0 1e-08"
    ]


def test_settings_stored_before_test_sets_losses_and_properties(write_input):
    settings = load_settings(write_input())
    stored = as_dict(settings)
    for row in stored["groups"]["rows"]:
        del row["test_size"]
    for key in ("loss", "huber_delta", "loss_reduction"):
        del stored["pytorch"][key]
    del stored["targets"]
    assert from_dict(stored) == settings


def test_older_and_newer_versions(write_input):
    settings = load_settings(write_input())
    stored = as_dict(settings)
    del stored["pytorch"]["ema_decay"]
    del stored["memory"]
    assert from_dict(stored) == settings
    stored["pytorch"]["from_the_future"] = 1
    with pytest.raises(CheckpointError, match="from_the_future"):
        from_dict(stored)


def test_differences_name_section_key_and_values(write_input):
    path = write_input()
    one = load_settings(path)
    assert differences(one, one) == []
    overrides = [
        ("PYTORCH", "layer_sizes", "num_desc 8 1"),
        ("ESHIFT", "Be", "2"),
        ("GROUPS", "Bulk", "1 0 1 1 1"),
        ("PYTORCH", "energy_weight", "1"),
        ("PYTORCH", "force_weight", "1"),
        ("SOLVER", "detailed_errors", "1"),
    ]
    assert differences(one, load_settings(path, overrides)) == [
        "[PYTORCH] layer_sizes: num_desc 512 512 1 and num_desc 8 1",
        "[PYTORCH] energy_weight: not set and 1.0",
        "[PYTORCH] force_weight: not set and 1.0",
        "[ESHIFT] Be: 0.0 and 2.0",
        "[GROUPS] Bulk: 0.7 0.3 100.0 1.0 1e-08 and 1.0 0.0 1.0 1.0 1.0",
    ]


def test_a_file_elsewhere_with_the_same_settings_does_not_differ(write_input, tmp_path):
    path = write_input()
    moved = tmp_path / "moved.in"
    moved.write_text("# moved\n" + path.read_text())
    assert differences(load_settings(path), load_settings(moved)) == []
