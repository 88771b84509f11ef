"""The checks with analytic potentials: what is known is found, what is broken fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from eam import potential, tantalum
from places import EXAMPLE

from fitsnap_nn.data.any_format import read_any
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.readers import ReadOptions
from fitsnap_nn.md_checks.check import Check, Verdict
from fitsnap_nn.md_checks.suite import Checks, run_checks

GROUPS = ("Volume_BCC", "Strain_BCC", "Vacancy", "Surface", "Displaced_BCC")


def example(*groups: str) -> Iterator[Configuration]:
    for group in groups:
        yield from read_any(str(EXAMPLE / "JSON" / group / f"{group}.json"), ReadOptions(), [])


def numbers(check: Check) -> dict[str, tuple[float, float | None]]:
    return {one.label.removeprefix("Ta Volume_BCC: "): (one.value, one.reference) for one in check.numbers}


@pytest.fixture(scope="module")
def embedded_atom(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checks, list[str]]:
    """The potential of the labels, checked against them."""
    lines: list[str] = []
    files = tantalum(tmp_path_factory.mktemp("eam"))
    checks = run_checks(files, list(example(*GROUPS)), name="Ta", say=lines.append, limit=600)
    return checks, lines


def test_the_potential_of_the_labels_passes(embedded_atom: tuple[Checks, list[str]]) -> None:
    checks, lines = embedded_atom
    assert [(one.name, one.verdict, one.summary) for one in checks.checks if one.verdict is not Verdict.PASS] == []
    assert [one.name for one in checks.checks] == ["dimers", "volume", "elastic", "defects", "nve", "hot", "speed"]
    assert sum("PASS" in line for line in lines) == 7


def test_crystal_properties_are_the_published_ones(embedded_atom: tuple[Checks, list[str]]) -> None:
    """X. W. Zhou, R. A. Johnson and H. N. G. Wadley, Phys. Rev. B 69, 144113 (2004): C11, C12, C44; a = 3.303 Å."""
    _, volume, elastic, *_ = embedded_atom[0].checks
    found = numbers(elastic)
    assert [found[name][0] for name in ("C11", "C12", "C44")] == pytest.approx([263, 157, 82], rel=0.02)
    assert numbers(volume)["volume"][0] == pytest.approx(3.303**3 / 2, rel=2e-3)
    # B = (C11 + 2 C12) / 3: finite strains of two kinds agree.
    assert numbers(volume)["bulk modulus"][0] == pytest.approx((found["C11"][0] + 2 * found["C12"][0]) / 3, rel=0.01)


def test_labels_of_the_same_potential_are_reproduced(embedded_atom: tuple[Checks, list[str]]) -> None:
    compared = [one for check in embedded_atom[0].checks[1:4] for one in check.numbers if one.reference is not None]
    assert len(compared) > 8
    for one in compared:
        assert one.value == pytest.approx(one.reference, rel=2e-3, abs=1e-3), one.label


def test_report_has_the_agreed_form(embedded_atom: tuple[Checks, list[str]], tmp_path: Path) -> None:
    embedded_atom[0].write(tmp_path / "md_checks.json")
    content = json.loads((tmp_path / "md_checks.json").read_text(encoding="utf-8"))
    assert content.keys() == {"model", "date", "checks"}
    for check in content["checks"]:
        assert check.keys() == {
            "name", "title", "verdict", "summary", "numbers", "curves", "x_label", "y_label", "log"
        }  # fmt: skip
        assert check["verdict"] in ("pass", "fail", "not run")
        assert all(one.keys() == {"label", "value", "unit", "reference"} for one in check["numbers"])
        assert all(len(one["x"]) == len(one["y"]) > 1 for one in check["curves"])
    assert content["checks"][0]["curves"]


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    from fitsnap_nn.md_checks.check import Curve, Number

    check = Check("a", "A", Verdict.FAIL, "s", (Number("n", np.nan, "eV"),), (Curve("c", [0.0], np.array([np.inf])),))
    assert check.plain()["numbers"][0]["value"] is None
    assert check.plain()["curves"][0]["y"] == [None]


def test_a_limit_that_is_too_short_is_said(tmp_path: Path) -> None:
    lines: list[str] = []
    checks = run_checks(tantalum(tmp_path), list(example("Volume_BCC")), name="Ta", say=lines.append, limit=0.0)
    # The speed cannot be measured and no check be run; the absent defects are found without LAMMPS.
    assert {one.verdict for one in checks.checks} == {Verdict.NOT_RUN}
    assert len(checks.cut_off) == 6
    assert all("time limit of 0 s" in one.summary for one in checks.checks if one.title in checks.cut_off)


def test_isolated_atoms_leave_nothing_but_dimers(tmp_path: Path) -> None:
    atom = Configuration("atom", "atoms", ("Ta",), np.zeros((1, 3)), np.zeros((3, 3)), (False, False, False))
    checks = run_checks(tantalum(tmp_path), [atom], name="Ta", say=lambda _: None, limit=20)
    assert {one.name: one.verdict for one in checks.checks if one.verdict is not Verdict.NOT_RUN} == {
        "dimers": Verdict.PASS
    }
    assert checks.cut_off == ()


def test_broken_potentials_fail(tmp_path: Path) -> None:
    """The Buckingham potential falls to minus infinity at short distances; its minimum is not that of tantalum."""
    files = potential(tmp_path, "buck 6.0", "* * 5000.0 0.30 300.0")
    checks = run_checks(files, list(example("Volume_BCC", "Vacancy")), name="bad", say=lambda _: None, limit=300)
    failed = {one.name: one.summary for one in checks.failed}
    assert len(failed) >= 3
    assert "hole at short distance" in failed["dimers"]
    assert "defects" in failed
