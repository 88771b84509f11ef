"""Key of the cache: exactly the settings that a cached input depends on; and the cost of a cached input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clusters import ELEMENTS, make_configuration

from fitsnap_nn.data.properties import Derivatives
from fitsnap_nn.inputs.cache.cache_key import reference_key
from fitsnap_nn.inputs.cache.compute import estimated_cost
from fitsnap_nn.inputs.cache.store import InputStore
from fitsnap_nn.inputs.snap import kernel
from fitsnap_nn.inputs.snap.cached import CachedDescriptors
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.settings.schema import Bispectrum, Reference

SNAP = Bispectrum(num_types=2, type=ELEMENTS, twojmax=(2,), rcutfac=1.0, wj=(1.0, 0.9), radelem=(2.2, 2.0))
REFERENCE = Reference(pair_style="lj/cut 4.0", pair_coeff=("* * 0.1 2.0",))

CHANGES = {
    "twojmax": {"twojmax": (4,)},
    "rcutfac": {"rcutfac": 1.01},
    "rfac0": {"rfac0": 0.98},
    "rmin0": {"rmin0": 0.1},
    "wj": {"wj": (1.0, 0.8)},
    "radelem": {"radelem": (2.2, 2.1)},
    "type": {"type": ("P", "In")},
    "bzeroflag": {"bzeroflag": True},
    "quadraticflag": {"quadraticflag": True},
    "chemflag": {"chemflag": True},
    "bnormflag": {"bnormflag": True},
    "wselfallflag": {"wselfallflag": True},
    "switchflag": {"switchflag": False},
    "switchinnerflag": {"switchinnerflag": True, "sinner": (1.0, 1.0), "dinner": (0.1, 0.1)},
}


def folder_of(bispectrum=SNAP, reference=REFERENCE, folder=".", dtype=np.float64, gradients=True, strain=True) -> Path:
    options = SnapInput(bispectrum).cache_key(Derivatives(gradients, strain))
    settings = {**options, **reference_key(bispectrum.type, reference, Path(folder))}
    return InputStore("cache", settings, CachedDescriptors, dtype).folder


@pytest.mark.parametrize("change", CHANGES)
def test_every_option_that_matters_makes_another_key(change):
    assert folder_of(replace(SNAP, **CHANGES[change])) != folder_of()


def test_options_that_do_not_matter_keep_the_key():
    assert folder_of(replace(SNAP, twojmax=(2, 1), sinner=(2.0, 2.0), bikflag=False)) == folder_of()


def test_a_fit_goes_on_with_its_records_whatever_computed_them(monkeypatch):
    before = folder_of()
    monkeypatch.setattr(kernel, "LIBRARY", "missing.so")
    assert folder_of() == before


def test_reference_precision_and_kind_make_other_keys(tmp_path):
    others = [
        folder_of(reference=replace(REFERENCE, pair_style="lj/cut 4.1")),
        folder_of(reference=replace(REFERENCE, pair_coeff=("* * 0.2 2.0",))),
        folder_of(reference=replace(REFERENCE, atom_style="charge")),
        folder_of(dtype=np.float32),
        folder_of(gradients=False),
        folder_of(strain=False),
    ]
    assert len({folder_of(), *others}) == 1 + len(others)


def test_the_content_of_potential_files_counts_and_their_place_does_not(tmp_path):
    reference = Reference(pair_style="tersoff", pair_coeff=("* * my.tersoff Si C",))
    found = []
    for name, content in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "my.tersoff").write_text(content)
        found.append(folder_of(reference=reference, folder=tmp_path / name))
    assert found[0] == found[1] != found[2]


def test_cost_rises_with_atoms_and_density():
    small = make_configuration(np.eye(3) * 4.0, np.random.default_rng(0).random((4, 3)), ("In",) * 4)
    large = make_configuration(np.eye(3) * 8.0, np.random.default_rng(0).random((32, 3)), ("In",) * 32)
    dense = make_configuration(np.eye(3) * 3.0, np.random.default_rng(0).random((4, 3)), ("In",) * 4)
    lone = make_configuration(np.eye(3) * 3.0, [[0.0, 0.0, 0.0]], ("In",), (False, False, False))
    assert 2 * estimated_cost(small) < estimated_cost(large) < 8 * estimated_cost(small)
    assert estimated_cost(small) < estimated_cost(dense)
    assert 0 < estimated_cost(lone) < 1e3
