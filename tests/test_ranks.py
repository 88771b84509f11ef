"""The same fit on any number of ranks, and how a job ends when one of them fails."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import EXAMPLE
from processes import mpirun, run, run_on_ranks
from small_fit import fit, without_plots, write_small_input

import fitsnap_nn
from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.settings import load_settings
from fitsnap_nn.training.distributed import Ranks, partition_by_cost
from fitsnap_nn.workflow.preparation import read_dataset

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

DATA = EXAMPLE / "JSON"


def losses(folder: Path) -> list[float]:
    return [loss for row in read_epochs(folder) for loss in (row.train_loss, row.validation_loss)]


def arguments(path: Path, folder: str, *more: str) -> list[str]:
    return ["-m", "fitsnap_nn", str(path), "--set", f"OUTFILE.folder={folder}", *more]


FEW = (("= 6 2 10", "= 2 0 10"), ("Displaced_BCC = 5 2 100 1 1e-8\n", ""))  # configurations: fewer than ranks


STAGED: dict[str, dict[str, object]] = {
    "averaged": {
        "stage_two": 1, "stage_two_start": 1, "stage_two_energy_weight": 500, "stage_two_average": 1, "amsgrad": 1,
    },
    "shampoo": {"optimizer": "SOAP"},
    "free": {"optimizer": "ScheduleFree", "stage_two": 1, "stage_two_start": 2, "best_model_metric": "rmse_prod"},
}  # fmt: skip
if importlib.util.find_spec("schedulefree") is None:  # optional
    del STAGED["free"]


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fits of the same input on one, two and three ranks: one job for each number of ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "few").mkdir()
    path, few = write_small_input(folder), write_small_input(folder / "few", *FEW)
    fit(path, "on1")
    fit(few, "few1")
    for kind, values in STAGED.items():
        fit(path, f"{kind}1", **values)
    staged = [job(path, f"{kind}2", "--no-verify", *keys(values)) for kind, values in STAGED.items()]
    two_epochs = ["--no-verify", "-k", "PYTORCH", "num_epochs", "2"]
    run_on_ranks(2, [job(path, "on2", "--no-verify"), job(path, "parts", *two_epochs), *staged], folder)
    run_on_ranks(3, [job(path, "on3", "--no-verify"), job(few, "few3")], folder)
    return folder


def job(path: Path, folder: str, *more: str) -> list[str]:
    return [str(path), "--set", f"OUTFILE.folder={folder}", *more]


def keys(values: dict[str, object]) -> list[str]:
    return [word for key, value in values.items() for word in ("--set", f"PYTORCH.{key}={value}")]


@pytest.mark.parametrize("kind", STAGED)
def test_stage_two_does_not_depend_on_the_number_of_ranks(fits: Path, kind: str):
    found, expected = (losses(fits / f"{kind}{ranks}") for ranks in (2, 1))
    assert found == pytest.approx(expected, rel=1e-10)
    assert found != pytest.approx(losses(fits / "on1"), rel=1e-3)


@pytest.mark.parametrize("ranks", [2, 3])
def test_losses_do_not_depend_on_the_number_of_ranks(fits: Path, ranks: int):
    assert len(losses(fits / "on1")) == 6
    assert losses(fits / f"on{ranks}") == pytest.approx(losses(fits / "on1"), rel=1e-10)


def test_more_ranks_than_configurations(fits: Path):
    assert "verified in LAMMPS" in (fits / "few3" / "run.log").read_text(encoding="utf-8")
    found, expected = (losses(fits / name)[::2] for name in ("few3", "few/few1"))
    assert found == pytest.approx(expected, rel=1e-10)


def test_torchrun_gives_the_same_losses(fits: Path, small_input: Path):
    torchrun = [str(Path(sys.executable).parent / "torchrun"), "--nproc-per-node", "2", "--standalone"]
    done = run([*torchrun, *arguments(small_input, "torchrun", "--no-verify")], small_input.parent)
    assert done.returncode == 0, done.stderr
    assert losses(small_input.parent / "torchrun") == pytest.approx(losses(fits / "on1"), rel=1e-10)


def test_a_resumed_fit_may_have_another_number_of_ranks(fits: Path):
    assert len(losses(fits / "parts")) == 4
    with without_plots():
        fitsnap_nn.fit(fits / "small.in", {"OUTFILE.folder": fits / "parts"}, verify=False, resume=True)
    assert losses(fits / "parts") == pytest.approx(losses(fits / "on1"), rel=1e-10)


@pytest.mark.parametrize("broken", ["Volume_BCC", "Displaced_BCC"])
def test_an_error_on_one_rank_ends_all(small_input: Path, tmp_path: Path, broken: str):
    """Each of two ranks reads one file; one of the files is damaged."""
    data = tmp_path / "data"
    for group in ("Volume_BCC", "Displaced_BCC"):
        (data / group).mkdir(parents=True)
        content = (DATA / group / f"{group}.json").read_text()
        (data / group / f"{group}.json").write_text(content[:1000] if group == broken else content)
    started = time.monotonic()
    done = mpirun(2, arguments(small_input, "fit", "--set", f"PATH.dataPath={data}"), tmp_path, timeout=60)
    assert time.monotonic() - started < 30  # start-up included
    assert done.returncode == 3
    assert f"{broken}.json" in done.stderr


def test_atoms_at_the_same_place_end_all(small_input: Path, tmp_path: Path):
    """Two atoms at the same place, in one of the configurations."""
    data = tmp_path / "data"
    for group in ("Volume_BCC", "Displaced_BCC"):
        (data / group).mkdir(parents=True)
        text = (DATA / group / f"{group}.json").read_text()
        start = text.index("{")
        content = json.loads(text[start:])
        if group == "Displaced_BCC":
            for frame in content["Dataset"]["Data"]:
                frame["Positions"][1] = frame["Positions"][0]
        (data / group / f"{group}.json").write_text(json.dumps(content))
    done = mpirun(2, arguments(small_input, "fit", "--set", f"PATH.dataPath={data}"), tmp_path, timeout=60)
    assert done.returncode == 3
    assert "Displaced_BCC" in done.stderr
    assert "atoms 1 (Ta) and 2 (Ta) are at the same place" in done.stderr


def test_ctrl_c_ends_all_ranks_and_says_how_to_go_on(small_input: Path):
    folder = small_input.parent / "fit"
    launcher = str(Path(sys.executable).parent / "mpirun")
    more = arguments(small_input, str(folder), "--set", "PYTORCH.num_epochs=100000")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([launcher, "-np", "2", sys.executable, *more], cwd=small_input.parent, **pipes) as job:
        while not (folder / "restart.pt").exists():
            time.sleep(0.1)
        job.send_signal(signal.SIGINT)
        printed, errors = job.communicate(timeout=30)
    assert job.returncode == 130
    assert "Traceback" not in errors
    line = next(line for line in printed.splitlines() if "interrupted" in line)
    assert line.startswith("interrupted in epoch ")
    assert f"; {folder}/restart.pt contains the state after " in line
    assert f"To go on: mpirun -np 2 python -m fitsnap_nn {small_input} " in line
    assert line.endswith(" --resume")


def test_wrong_input_is_said_once(small_input: Path):
    small_input.write_text(small_input.read_text().replace("learning_rate", "learnin_rate"))
    done = mpirun(2, arguments(small_input, "fit"), small_input.parent)
    assert done.returncode == 2
    assert done.stderr.count("learnin_rate") == 1


def test_work_is_dealt_evenly():
    costs = [float(k**2) for k in range(40)]
    hands = partition_by_cost(costs, 3)
    sums = [sum(costs[item] for item in hand) for hand in hands]
    assert sorted(item for hand in hands for item in hand) == list(range(40))
    assert max(sums) < 1.02 * min(sums)
    assert partition_by_cost([1.0], 3) == [[0], [], []]


FILES_INPUT = """\
[BISPECTRUM]
type = Ar
[SCRAPER]
scraper = {scraper}
[PATH]
dataPath = {scraper}
[GROUPS]
few = 1.0 1 1 0
many = 1.0 1 1 0
"""
READ = """\
import sys
from fitsnap_nn.settings import load_settings
from fitsnap_nn.training.distributed import session
from fitsnap_nn.workflow.preparation import read_dataset
for path in sys.argv[1:]:
    with session() as ranks:
        found = [(c.id, c.energy) for c in read_dataset(load_settings(path), ranks).configurations]
        if ranks.is_first:
            print(found)
"""


def test_each_rank_reads_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """ASE, by default, hands all ranks of an MPI job what the first has read."""
    for number, (group, count) in enumerate({"few": 2, "many": 5}.items()):
        header = 'Properties=species:S:1:pos:R:3 pbc="F F F" energy='
        frames = [f"1\n{header}{10 * number + k}\nAr 0 0 0\n" for k in range(count)]
        for kind, folder in {"XYZ": tmp_path / "XYZ", "ASE": tmp_path / "ASE" / group}.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{group}.xyz").write_text("".join(frames))
            (tmp_path / f"{kind}.in").write_text(FILES_INPUT.format(scraper=kind))
    (tmp_path / "read.py").write_text(READ)
    together = mpirun(2, ["read.py", "XYZ.in", "ASE.in"], tmp_path).stdout.splitlines()
    monkeypatch.chdir(tmp_path)
    for line, kind in zip(together, ("XYZ", "ASE"), strict=True):
        alone = [(c.id, c.energy) for c in read_dataset(load_settings(f"{kind}.in"), Ranks()).configurations]
        assert len(alone) == 7
        assert line == str(alone)
