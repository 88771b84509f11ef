"""CITE.bib: exactly what was used, as BibTeX that programs read."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fitsnap_nn.reports.citations import ENTRIES, bibtex, citations_of
from fitsnap_nn.settings.linear import Solver
from fitsnap_nn.settings.schema import Bispectrum, CalculatorSection, PytorchSection, Reference, Settings

BASE = ("LAMMPS", "FitSNAP")


def used(**changes):
    return citations_of(replace(Settings(), **changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"SNAP", "BPNN", "Adam", "PyTorch"}),
        ({"reference": Reference(pair_style="hybrid/overlay zero 6.0 zbl 4.0 4.8")},
         {"SNAP", "BPNN", "Adam", "PyTorch", "ZBL"}),
        ({"solver": Solver(solver="SVD"), "bispectrum": Bispectrum(quadraticflag=True, chemflag=True)},
         {"SNAP", "qSNAP", "EME-SNAP"}),
        ({"calculator": CalculatorSection(calculator="LAMMPSPACE"), "bispectrum": Bispectrum(chemflag=True)},
         {"ACE", "PACE", "ACE_basis", "BPNN", "Adam", "PyTorch"}),
        ({"solver": Solver(solver="LASSO")}, {"SNAP", "scikit-learn"}),
        ({"pytorch": PytorchSection(model="MACE", optimizer="AdamW", stage_two=True)},
         {"MACE", "MACE_design", "AdamW", "SWA", "PyTorch"}),
        ({"pytorch": PytorchSection(model="NANOPET", optimizer="LKF")},
         {"PET", "metatrain", "Kalman", "LKF", "PyTorch"}),
        ({"pytorch": PytorchSection(model="SOAP_BPNN")},
         {"smooth_overlap", "smooth_basis", "BPNN", "metatrain", "sphericart", "Adam", "PyTorch"}),
    ],
)  # fmt: skip
def test_only_what_was_used_is_cited(changes, expected):
    found = used(**changes)
    assert found[:2] == BASE
    assert set(found) - {*BASE, "ASE"} == expected
    assert len(set(found)) == len(found)


def test_entries_are_complete_and_well_formed():
    for key, one in ENTRIES.items():
        assert {"author", "title", "year"} <= set(one.fields), key
        assert one.fields.keys() & {"doi", "eprint", "publisher", "journal"}, key
        assert all(value.count("{") == value.count("}") for value in one.fields.values()), key
        assert not re.search(r"[^\x20-\x7e]", "".join(one.fields.values())), f"{key}: BibTeX needs LaTeX for letters"
        assert "\\" not in one.text, f"{key}: LaTeX in a text for readers: {one.text}"
        assert "{" not in one.text


def test_bibtex_has_one_entry_per_key_and_skips_unknown_ones():
    text = bibtex(["LAMMPS", "of another version", "BPNN"])
    assert re.findall(r"^@\w+\{(.+),$", text, re.MULTILINE) == ["LAMMPS", "BPNN"]
    assert text.count("{") == text.count("}")
