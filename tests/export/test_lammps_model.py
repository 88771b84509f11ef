"""Model files as objects for LAMMPS, and the comparison of descriptor files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_potentials import random_bpnn

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.export.formats import descriptor_text
from fitsnap_nn.export.lammps_model import from_content, from_model_file
from fitsnap_nn.export.model_file import save_model
from fitsnap_nn.export.pair_style import reference_styles
from fitsnap_nn.export.unified import UnifiedModel
from fitsnap_nn.models import build_model
from fitsnap_nn.plugin.descriptor_model import descriptor_differences
from fitsnap_nn.settings.schema import Bispectrum, Reference, Settings

TA = Bispectrum(type=("Ta",), twojmax=(4,), bzeroflag=True)
ZBL = Reference(pair_style="hybrid/overlay zero 10.0 zbl 4.0 4.8", pair_coeff=("* * zero", "* * zbl 73 73"))


def test_a_model_file_is_an_object_for_lammps(tmp_path: Path) -> None:
    settings = Settings(bispectrum=TA, reference=ZBL)
    save_model(tmp_path / "a.pt", random_bpnn(TA), settings, {})
    model = from_model_file(tmp_path / "a.pt")
    assert (model.reference, getattr(model, "n_descriptors", 0)) == ("zbl", 14)
    same = from_content(torch.load(tmp_path / "a.pt"), "LATER")
    assert getattr(same, "descriptor", "") == descriptor_text(TA)
    with pytest.raises(CheckpointError, match=r"LATER is not a model file of fitsnap_nn: .* file of FitSNAP"):
        from_content({"model_state_dict": {}}, "LATER")


def test_a_model_on_graphs_is_a_unified_object(tmp_path: Path) -> None:
    graph = build_model({"architecture": "NANOPET", "elements": ["Ta"], "d_pet": 4, "num_heads": 1, "cutoff": 3.0})
    save_model(tmp_path / "g.pt", graph, Settings(reference=ZBL), {})
    model = from_model_file(tmp_path / "g.pt")
    assert isinstance(model, UnifiedModel)
    assert (model.reference, model.rcutfac) == ("zbl", 1.5)


@pytest.mark.parametrize(
    ("style", "coefficients", "styles"),
    [
        ("zero 10.0", ("* *",), []),
        ("none", (), []),
        ("zbl 4.0 4.8", ("1 1 73 73",), ["zbl"]),
        ("hybrid zero 5 zbl 4 5 eam", ("* * zero", "1 1 zbl 7 7", "* 2 eam F", "2 2 zbl 1 1"), ["zbl", "eam"]),
    ],
)
def test_styles_of_a_reference(style: str, coefficients: tuple[str, ...], styles: list[str]) -> None:
    assert reference_styles(Reference(pair_style=style, pair_coeff=coefficients)) == styles


def test_descriptor_files_are_compared_by_value() -> None:
    """FitSNAP's files have fewer lines and other spellings of the numbers."""
    lines = (
        "# required",
        "rcutfac 4.67637",
        "twojmax 4",
        "",
        "nelems 1",
        "elems Ta ",
        "radelems 0.5",
        "welems 1",
        "rmin0 0",
    )
    fitsnap = "\n".join([*lines, "bzeroflag 1"])
    assert descriptor_differences(descriptor_text(TA), fitsnap) == []
    assert descriptor_differences("", fitsnap) == []  # a model that does not know its descriptors
    chemical = descriptor_text(replace(TA, chemflag=True, rcutfac=5.0, type=("W",)))
    assert set(descriptor_differences(chemical, fitsnap)) == {
        "rcutfac 4.67637 instead of 5", "elems Ta instead of W", "chemflag 0 instead of 1",
    }  # fmt: skip
