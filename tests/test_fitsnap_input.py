"""A FitSNAP input for its tantalum data, keys and values as its users write them, from the data to a verified model."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

import fitsnap_nn
from fitsnap_nn.reports.epochs import read_epochs

ROWS = {
    "Displaced_A15": "100 1 1.00E-08", "Displaced_BCC": "100 1 1.00E-08", "Displaced_FCC": "100 1 1.00E-08",
    "Elastic_BCC": "1.00E-08 1.00E-08 0.0001", "Elastic_FCC": "1.00E-09 1.00E-09 1.00E-09",
    "GSF_110": "100 1 1.00E-08", "GSF_112": "100 1 1.00E-08", "Liquid": "4.67E+02 1 1.00E-08",
    "Surface": "100 1 1.00E-08", "Volume_A15": "1.00E+00 1.00E-09 1.00E-09",
    "Volume_BCC": "1.00E+00 1.00E-09 1.00E-09", "Volume_FCC": "1.00E+00 1.00E-09 1.00E-09",
}  # fmt: skip

INPUT = """\
[BISPECTRUM]
numTypes = 1
twojmax = 6
rcutfac = 4.67637
rfac0 = 0.99363
rmin0 = 0.0
wj = 1.0
radelem = 0.5
type = Ta
wselfallflag = 0
chemflag = 0
bzeroflag = 1
quadraticflag = 0
bikflag = True
dgradflag = 1
[CALCULATOR]
calculator = LAMMPSSNAP
energy = 1
per_atom_energy = 1
force = 1
stress = 0
nonlinear = 1
[ESHIFT]
Ta = 0.0
[PYTORCH]
layer_sizes = num_desc 64 64 1
learning_rate = 5e-5
num_epochs = 12
batch_size = 4 # of 363
save_state_output = Ta_Pytorch.pt
energy_weight = 1e-2
force_weight = 1.0
#training_fraction = 0.7
[SOLVER]
solver = PYTORCH
compute_testerrs = 1
detailed_errors = 1
[SCRAPER]
scraper = JSON
[PATH]
dataPath = DATA
[OUTFILE]
metrics = Ta_metrics.md
potential = Ta_pot
[REFERENCE]
units = metal
atom_style = atomic
pair_style = hybrid/overlay zero 10.0 zbl 4.0 4.8
pair_coeff1 = * * zero
pair_coeff2 = * * zbl 73 73
[GROUPS]
# name size eweight fweight vweight
group_sections = name training_size testing_size eweight fweight vweight
group_types = str float float float float float
smartweights = 0
random_sampling = 1
random_seed = 1234
ROWS
[EXTRAS]
dump_peratom = 1   # errors of every atom
dump_perconfig = 1
dump_configs = 1
[MEMORY]
override = 0
"""


@pytest.fixture
def path(tmp_path: Path, ta_json: Path) -> Path:
    rows = "\n".join(f"{name} =  0.7    0.3   {weights}" for name, weights in ROWS.items())
    path = tmp_path / "Ta-example.in"
    path.write_text(INPUT.replace("DATA", str(ta_json)).replace("ROWS", rows))
    return path


def test_it_runs_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(path.parent)
    result = fitsnap_nn.fit(path)
    rows = read_epochs(result.folder)
    counts = {(row.subset, row.property): row.count for row in result.errors if row.group == "*ALL"}
    assert counts["Train", "Energy"] == 253
    assert counts["Test", "Energy"] == 110
    assert rows[-1].energy_mae < 0.6 * rows[0].energy_mae
    assert rows[-1].force_mae < 0.4  # FitSNAP's is 0.21 to 0.27 eV/Å after 5 epochs and 0.1 after 100
    assert result.verification.forms == ("mliappy",)  # LAMMPS' text form knows no softplus
    assert result.verification.difference.force < 1e-9
    assert "Without effect" in capsys.readouterr().out
    atoms = np.genfromtxt(result.folder / "peratom.dat", names=True, dtype=None, encoding="utf-8")
    assert len(atoms) == 4224
    assert {"Fx_Truth", "Fz_Pred", "Testing_Bool"} <= set(atoms.dtype.names)


def test_lammps_with_python_runs_its_softplus_network(
    path: Path, native_lammps: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("FITSNAP_NN_LAMMPS", shlex.join([*native_lammps, "lmp"]))
    result = fitsnap_nn.fit(path, {"PYTORCH.num_epochs": 1})
    assert result.verification.forms == ("mliappy",)
    assert result.verification.ranks == (1, 2)
    assert result.verification.difference.force < 1e-9
