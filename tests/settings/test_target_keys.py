"""Keys of metatrain's trainer that concern single targets: they have the same effect as the options of the rows."""

from __future__ import annotations

from fitsnap_nn.settings import load_settings

ROWS = "[TARGETS]\ndipole = per_configuration scalar unit=e*Å\ncharge = per_atom scalar unit=e\n[PATH]"


def test_targets_that_are_not_divided_by_the_number_of_atoms(write_input):
    path = write_input(("[PATH]", f"[PYTORCH]\nper_structure_targets = dipole\n{ROWS}"))
    assert {row.name: row.per_structure for row in load_settings(path).targets} == {"dipole": True, "charge": False}


def test_scales_of_targets(write_input):
    path = write_input(("[PATH]", f"[PYTORCH]\nfixed_scaling_weights = energy 0.5 charge 0.25\n{ROWS}"))
    settings = load_settings(path)
    assert {row.name: row.scale for row in settings.targets} == {"dipole": None, "charge": 0.25}
    assert settings.pytorch.fixed_scales["energy"] == 0.5
