"""Section TARGETS, its earlier name, and what each architecture can predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fitsnap_nn.errors import InputError
from fitsnap_nn.settings import load_settings
from fitsnap_nn.settings.ini import Document, Entry
from fitsnap_nn.settings.load import document_of
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.settings.targets import SECTION, format_row, read_targets

ROWS = (
    PropertyRow("charge", "atom", "scalar", "q", "e", 2.0, "huber", 0.1, head="mlp"),
    PropertyRow("dipole", "configuration", "vector", "dipole", per_structure=True, scale=0.5),
    PropertyRow("gap", "configuration", "scalar", "gap", intensive=True, pseudo=True),
    PropertyRow("q3", "atom", "spherical", "q3", degree=3, head="linear"),
)


@pytest.fixture
def with_targets(write_input: Callable[..., Path]) -> Callable[..., Path]:
    """A function that writes an input for an architecture on graphs."""

    def write(model: str, rows: str, keys: str = "", section: str = "", calculator: str = "LAMMPSGRAPH") -> Path:
        text = f"[PYTORCH]\nmodel = {model}\n{keys}\n{section}\n[TARGETS]\n{rows}\n[PATH]"
        return write_input(("stress = 0", f"calculator = {calculator}"), ("[PATH]", text))

    return write


def problem(path: Path) -> str:
    with pytest.raises(InputError) as error:
        load_settings(path)
    (found,) = error.value.problems
    return str(found)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows_there_and_back(row: PropertyRow) -> None:
    document = Document("", {SECTION: {row.name: Entry(format_row(row), "")}})
    assert read_targets(document) == (row,)
    assert not document.problems


def test_both_names_of_the_section(with_targets: Callable[..., Path]) -> None:
    path = with_targets("NANOPET", "charge = per_atom scalar\n[PROPERTIES]\ndipole = per_configuration vector")
    settings = load_settings(path)
    assert [row.name for row in settings.targets] == ["charge", "dipole"]
    assert {entry.where for entry in document_of(settings).sections["TARGETS"].values()} == {
        row.where for row in settings.targets
    }
    replaced = load_settings(path, [("PROPERTIES", "charge", "per_atom vector")]).targets
    assert [(row.name, row.symmetry) for row in replaced] == [("charge", "vector"), ("dipole", "vector")]
    twice = with_targets("NANOPET", "charge = per_atom scalar\n[PROPERTIES]\ncharge = per_atom vector")
    assert "charge — also given in [PROPERTIES], an earlier name of this section" in problem(twice)


def test_keys_of_pytorch(with_targets: Callable[..., Path]) -> None:
    rows = "dipole = per_configuration vector\ncharge = per_atom scalar scale=2"
    keys = "per_structure_targets = dipole\nfixed_scaling_weights = energy 0.5 dipole 3.0"
    settings = load_settings(with_targets("SOAP_BPNN", rows, keys))
    assert [(row.per_structure, row.scale) for row in settings.targets] == [(True, 3.0), (False, 2.0)]
    assert settings.pytorch.fixed_scales == {"energy": 0.5, "dipole": 3.0}


def test_targets_alone_can_be_fitted(write_input: Callable[..., Path]) -> None:
    targets = "[PYTORCH]\nmodel = NANOPET\n[TARGETS]\ncharge = per_atom scalar\n[PATH]"
    off = "calculator = LAMMPSGRAPH\nenergy = 0\nforce = 0\nstress = 0"
    path = write_input(("stress = 0", off), ("[PATH]", targets))
    assert any("only targets are fitted" in notice for notice in load_settings(path).notices)


@pytest.mark.parametrize(
    ("model", "rows", "keys", "section", "expected"),
    [
        ("SOAP_BPNN", "q = per_atom vector", "", "[SOAP_BPNN]\nmax_angular = 0", "Set [SOAP_BPNN] max_angular to 1 or"),
        (
            "SOAP_BPNN",
            "q = per_atom spherical lambda=4",
            "",
            "[SOAP_BPNN]\nmax_angular = 3",
            "Set [SOAP_BPNN] max_angular to 4 or more, or add_lambda_basis = 0",
        ),
        ("SOAP_BPNN", "q = per_atom scalar", "", "[SOAP_BPNN]\nnum_hidden_layers = 0", "num_hidden_layers to 1"),
        (
            "MACE",
            "q = per_atom tensor",
            "",
            "[MACE]\nhidden_irreps = 8x0e + 8x1o",
            "Use [MACE] hidden_irreps = 8x0e + 8x1o + 8x1e + 8x2e",
        ),
        (
            "MACE",
            "q = per_atom scalar parity=pseudo",
            "",
            "[MACE]\nhidden_irreps = 8x0e + 8x1o",
            "Use [MACE] hidden_irreps = 8x0e + 8x1o + 8x0o, keep_last_layer_irreps = 1.",
        ),
        (
            "MACE",
            "q = per_atom scalar parity=pseudo",
            "",
            "[MACE]\nhidden_irreps = 8x0e + 8x1o + 8x0o\ncorrelation = 1\nkeep_last_layer_irreps = 1",
            "the node features 0o that it needs are 0 for every structure",
        ),
        (
            "MACE",
            "q = per_atom vector parity=pseudo",
            "",
            "[MACE]\nhidden_irreps = 8x0e + 8x1o + 8x1e\ncorrelation = 2",
            "Use [MACE] hidden_irreps = 8x0e + 8x1o + 8x1e + 8x0o, keep_last_layer_irreps = 1.",
        ),
        ("MACE", "q = per_atom vector", "", "[MACE]\nnum_interactions = 1", "Set [MACE] num_interactions to 2 or more"),
        ("MACE", "q = per_atom vector head=mlp", "", "", "head=mlp applies to invariants, and it has none"),
        ("MACE", "q = per_atom vector", "", "[MACE]\nmace_head_target = q", "q is not a sum of atomic invariants"),
        ("MACE", "q = per_atom scalar", "", "[MACE]\nmace_head_target = p", "p is not a target of this fit"),
        ("CUSTOM", "q = per_atom scalar", "", "", "Remove it, or use one of the models SOAP_BPNN, NANOPET, MACE."),
        ("NANOPET", "q = per_atom scalar", "per_structure_targets = q", "", "q is per_atom and never divided"),
        ("NANOPET", "q = per_atom scalar", "per_structure_targets = energy", "", "energy is always divided"),
        ("NANOPET", "q = per_atom scalar", "fixed_scaling_weights = forces 1", "", "forces follows from the energy"),
        ("NANOPET", "q = per_atom scalar", "fixed_scaling_weights = charge 1", "", "charge is not a target of this"),
        ("NANOPET", "q = per_atom scalar", "fixed_scaling_weights = q 0", "", "'0' is not a positive number"),
        ("NANOPET", "q = per_atom scalar scale=1", "fixed_scaling_weights = q 2", "", "scale is also set for q by"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_the_remedy(
    with_targets: Callable[..., Path], model: str, rows: str, keys: str, section: str, expected: str
) -> None:
    assert expected in problem(with_targets(model, rows, keys, section))


@pytest.mark.parametrize(("keys", "expected"), [("committee = 2", "committee"), ("initial = least_squares", "initial")])
def test_targets_of_bpnn(with_targets: Callable[..., Path], keys: str, expected: str) -> None:
    found = problem(with_targets("BPNN", "q = per_atom scalar", keys, calculator="LAMMPSSNAP"))
    assert f"[PYTORCH] {expected} — cannot be used with [TARGETS]" in found
