"""Commands of the .mod file; LAMMPS itself judges them in tests/lammps."""

from __future__ import annotations

import pytest

from fitsnap_nn.export.pair_style import ModelStyle, pair_commands
from fitsnap_nn.settings.schema import Reference

MLIAP = "model nn M descriptor sna D"
STYLE = ModelStyle("mliap", MLIAP)


def commands(style: str, *coefficients: str) -> list[str]:
    return pair_commands(Reference(pair_style=style, pair_coeff=coefficients), STYLE, ("In", "P"), {})


@pytest.mark.parametrize(
    "style", ["zero 10.0", "zero 10.0 full", "none", "hybrid/overlay zero 9", "hybrid zero 5 nocoeff"]
)
def test_without_a_reference_the_network_is_alone(style: str) -> None:
    assert commands(style, "* * zero") == [f"pair_style mliap {MLIAP}", "pair_coeff * * In P"]


def test_a_plain_reference_is_overlaid() -> None:
    assert commands("zbl 4.0 4.8", "1 1 49 49", "* 2 49 15") == [
        f"pair_style hybrid/overlay zbl 4.0 4.8 mliap {MLIAP}",
        "pair_coeff 1 1 zbl 49 49",
        "pair_coeff * 2 zbl 49 15",
        "pair_coeff * * mliap In P",
    ]


def test_zero_is_dropped_wherever_it_stands() -> None:
    assert commands(
        "hybrid/overlay zero 10.0 nocoeff full zbl 4.0 4.8 zero 3.0 lj/cut 5.0",
        "* * zero", "* * zbl 49 49", "* * lj/cut 0.1 2.0",
    ) == [
        f"pair_style hybrid/overlay zbl 4.0 4.8 lj/cut 5.0 mliap {MLIAP}",
        "pair_coeff * * zbl 49 49",
        "pair_coeff * * lj/cut 0.1 2.0",
        "pair_coeff * * mliap In P",
    ]  # fmt: skip


def test_factors_stay_with_their_styles() -> None:
    assert commands("hybrid/scaled 0.5 zero 4.0 0.25 zbl 4.0 4.8", "* * zero", "* * zbl 49 49")[0] == (
        f"pair_style hybrid/scaled 0.25 zbl 4.0 4.8 1.0 mliap {MLIAP}"
    )


def test_a_reference_that_is_mliap_is_numbered() -> None:
    assert commands("mliap model linear L descriptor sna E", "* * In P") == [
        f"pair_style hybrid/overlay mliap model linear L descriptor sna E mliap {MLIAP}",
        "pair_coeff * * mliap 1 In P",
        "pair_coeff * * mliap 2 In P",
    ]
    twice = commands("hybrid/overlay mliap A mliap B", "* * mliap 1 In P", "* * mliap 2 In P")
    assert twice[1:] == [f"pair_coeff * * mliap {number} In P" for number in (1, 2, 3)]


def test_case_is_kept_and_names_are_replaced() -> None:
    reference = Reference(pair_style="eam/fs", pair_coeff=('* * "/data/my In_P.eam.fs" In P',))
    place = {"/data/my In_P.eam.fs": "./my_In_P.eam.fs"}
    assert "pair_coeff * * eam/fs ./my_In_P.eam.fs In P" in pair_commands(reference, STYLE, ("In", "P"), place)
