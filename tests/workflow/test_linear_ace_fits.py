"""Fits of linear models on ACE descriptors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from linear_case import INPUT, TANTALUM, check_two_ranks, fit, values_of, write_case
from random_potentials import random_linear
from small_fit import without_plots
from tantalum_input import ACE as ACE_SECTION
from tantalum_input import DESCRIPTORS

import fitsnap_nn
from fitsnap_nn.cli import main
from fitsnap_nn.errors import InputError
from fitsnap_nn.settings.ace import Ace

ACE = Ace(num_types=2, type=("In", "P"), ranks=(1, 2), nmax=(3, 2), lmax=(0, 2), nmaxbase=3, rcutfac=(4.2,))
SECTION = """\
[ACE]
numTypes = 2
type = In P
ranks = 1 2
nmax = 3 2
lmax = 0 2
nmaxbase = 3
rcutfac = 4.2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ace")
    text = INPUT.replace(INPUT[: INPUT.index("[CALCULATOR]")], SECTION).replace("LAMMPSSNAP", "LAMMPSPACE")
    write_case(folder, ACE, text)
    return folder


def test_the_model_is_found_and_used_like_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = fit(folder, "svd")
    expected = random_linear(ACE).values
    # Pairs In-P and P-In with the same cutoff add the same to the total energy: the solution has the mean of both.
    indium, phosphorus = expected.reshape(2, -1)
    indium[2:7:2] = phosphorus[1:6:2] = (indium[2:7:2] + phosphorus[1:6:2]) / 2
    np.testing.assert_allclose(values_of(found), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    log = (found.folder / "run.log").read_text(encoding="utf-8")
    assert f"solver SVD: {len(expected)} coefficients; rows: 7 energy, " in log
    assert "the model for pair_style pace" in log
    assert {"pot.yace", "pot.acecoeff", "pot.mliap.unified", "pot.mod", "in.md"} <= {
        path.name for path in found.folder.iterdir()
    }
    errors = fitsnap_nn.evaluate(
        folder / "linear.in", found.model_file, {"OUTFILE.folder": found.folder}, quiet=True
    ).errors
    assert [(row.group, row.count, row.mae) for row in errors] == [(r.group, r.count, r.mae) for r in found.errors]
    with pytest.raises(InputError, match=r"bzeroflag — is 1, but .*pot.pt was fitted with 0"):
        fitsnap_nn.evaluate(folder / "linear.in", found.model_file, {"ACE.bzeroflag": "1"}, quiet=True)
    assert main(["show", str(found.model_file)]) == 0
    assert "architecture LINEAR" in capsys.readouterr().out
    none = fit(folder, "none", ACE__bzeroflag=1)
    assert len(values_of(none)) == len(expected) - 2


@pytest.mark.mpi
@pytest.mark.slow
def test_two_ranks_find_the_same_and_files_are_verified_in_lammps(folder: Path) -> None:
    check_two_ranks(folder, "unified")


# FitSNAP's example Ta_PACE: weights, and errors of all energies and forces (mae, rmse), 17 October 2022.
ACE_WEIGHTS = {
    **dict.fromkeys(("Displaced_A15", "Displaced_BCC", "Displaced_FCC"), "28.78562746 0.9985573607"),
    **dict.fromkeys(("Elastic_BCC", "Elastic_FCC"), "115.5696535 0.39682072"),
    **dict.fromkeys(("GSF_110", "GSF_112"), "30.93231609 2.049246789"),
    "Liquid": "274.4904041 1.439344999",
    "Surface": "23.07342458 1.562790276",
    **dict.fromkeys(("Volume_A15", "Volume_BCC", "Volume_FCC"), "33.26362519 1.137553845"),
}
ACE_PUBLISHED = {"Energy": (0.0383091, 0.0997539), "Force": (0.169269, 0.315309)}


@pytest.mark.slow
def test_tantalum_has_the_published_errors(tmp_path: Path, fitsnap_tantalum: Path) -> None:
    text = TANTALUM.replace(DESCRIPTORS, ACE_SECTION.replace("bikflag = 1\ndgradflag = 1\n", ""))
    text = text.replace("zero 10.0", "zero 5.0") + "[CALCULATOR]\ncalculator = LAMMPSPACE\nstress = 0\n"
    groups = "\n".join(f"{name} = 1.0 0.0 {weights} 1e-8" for name, weights in ACE_WEIGHTS.items())
    path = tmp_path / "Ta.in"
    path.write_text(text.format(data=fitsnap_tantalum, groups=groups))
    with without_plots():
        found = fitsnap_nn.fit(path, {"OUTFILE.folder": tmp_path / "fit"}, verify=False, quiet=True)
    errors = {row.property: row for row in found.errors if row.group == "*ALL"}
    for name, published in ACE_PUBLISHED.items():
        # Singular values at the cutoff of the solver, 1e-13, change the last digits.
        assert [errors[name].mae, errors[name].rmse] == pytest.approx(published, rel=1e-4)
