"""Keys of the reader of VASP files, which FitSNAP reads in GROUPS or, in newer versions, in SCRAPER."""

from __future__ import annotations

import pytest

from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import as_dict, differences, from_dict, load_settings

KEYS = "vasp_use_TOTEN = False\nvasp_unconverged_label = BAD\nvasp_ignore_incomplete = 0\nvasp_json_pathname = J\n"


@pytest.mark.parametrize("section", ["[GROUPS]", "[SCRAPER]"])
def test_keys_in_either_section(write_input, section):
    both = f"[SCRAPER]\n{KEYS}[GROUPS]\n" if section == "[SCRAPER]" else f"[GROUPS]\n{KEYS}"
    path = write_input(("[GROUPS]\n", both))
    settings = load_settings(path)
    groups = settings.groups
    assert not groups.vasp_free_energy
    assert groups.vasp_keep_unconverged == "BAD"
    assert not groups.vasp_ignore_incomplete
    assert any("vasp_json_pathname" in notice for notice in settings.notices)
    for name in ("GROUPS", "SCRAPER"):
        changed = differences(settings, load_settings(path, [(name, "vasp_unconverged_label", "''")]))
        assert changed == ["[GROUPS] vasp_unconverged_label: BAD and ''"]


def test_a_key_in_both_sections(write_input):
    path = write_input(("[GROUPS]\n", f"[SCRAPER]\n{KEYS}[GROUPS]\nvasp_use_TOTEN = 1\n"))
    with pytest.raises(InputError, match=r"\[SCRAPER\] vasp_use_TOTEN — also given in \[GROUPS\], .*fit\.in:18"):
        load_settings(path)


def test_settings_stored_when_the_keys_had_no_effect(write_input):
    settings = load_settings(write_input())
    stored = as_dict(settings)
    stored["groups"] |= {"vasp_use_toten": False, "vasp_unconverged_label": "UNCONVERGED"}
    del stored["groups"]["vasp_free_energy"], stored["groups"]["vasp_keep_unconverged"]
    assert from_dict(stored) == settings
