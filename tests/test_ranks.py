"""The same fit on any number of ranks, and how a job ends when one of them fails."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from places import EXAMPLE
from processes import mpirun, run

from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.training.distributed import partition_by_cost

DATA = EXAMPLE / "JSON"


def losses(folder: Path) -> list[float]:
    return [loss for row in read_epochs(folder) for loss in (row.train_loss, row.validation_loss)]


def arguments(path: Path, folder: str, *more: str) -> list[str]:
    return ["-m", "fitsnap_nn", str(path), "--set", f"OUTFILE.folder={folder}", *more]


def test_losses_do_not_depend_on_the_number_of_ranks(small_input: Path):
    found = {}
    for ranks in (1, 2, 3):
        done = mpirun(ranks, arguments(small_input, f"on{ranks}", "--no-verify"), small_input.parent)
        assert done.returncode == 0, done.stderr
        found[ranks] = losses(small_input.parent / f"on{ranks}")
    assert found[2] == pytest.approx(found[1], rel=1e-10)
    assert found[3] == pytest.approx(found[1], rel=1e-10)


def test_more_ranks_than_configurations(small_input: Path):
    text = small_input.read_text().replace("= 6 2 10", "= 2 0 10")
    small_input.write_text("\n".join(line for line in text.splitlines() if not line.startswith("Displaced")))
    for ranks in (1, 3):
        done = mpirun(ranks, arguments(small_input, f"on{ranks}"), small_input.parent)
        assert done.returncode == 0, done.stderr
        assert "verified in LAMMPS" in done.stdout
    found, expected = (losses(small_input.parent / name)[::2] for name in ("on3", "on1"))
    assert found == pytest.approx(expected, rel=1e-10)


def test_torchrun_gives_the_same_losses(small_input: Path):
    torchrun = [str(Path(sys.executable).parent / "torchrun"), "--nproc-per-node", "2", "--standalone"]
    done = run([*torchrun, *arguments(small_input, "torchrun", "--no-verify")], small_input.parent)
    assert done.returncode == 0, done.stderr
    alone = run([sys.executable, *arguments(small_input, "alone", "--no-verify")], small_input.parent)
    assert alone.returncode == 0, alone.stderr
    found, expected = (losses(small_input.parent / name) for name in ("torchrun", "alone"))
    assert found == pytest.approx(expected, rel=1e-10)


def test_a_resumed_fit_may_have_another_number_of_ranks(small_input: Path):
    folder = small_input.parent
    assert (
        mpirun(2, arguments(small_input, "parts", "--no-verify", "-k", "PYTORCH", "num_epochs", "2"), folder).returncode
        == 0
    )
    done = run([sys.executable, *arguments(small_input, "parts", "--no-verify", "--resume")], folder)
    assert done.returncode == 0, done.stderr
    whole = run([sys.executable, *arguments(small_input, "whole", "--no-verify")], folder)
    assert whole.returncode == 0, whole.stderr
    assert losses(folder / "parts") == pytest.approx(losses(folder / "whole"), rel=1e-10)


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


def test_an_error_of_lammps_on_one_rank_ends_all(small_input: Path, tmp_path: Path):
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
    assert done.returncode == 4
    assert "Displaced_BCC" in done.stderr


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
dataPath = data
[GROUPS]
few = 1.0 1 1 0
many = 1.0 1 1 0
"""
READ = """\
import sys
from fitsnap_nn.workflow.preparation import read_dataset
from fitsnap_nn.settings import load_settings
from fitsnap_nn.training.distributed import session
with session() as ranks:
    found = [(c.id, c.energy) for c in read_dataset(load_settings(sys.argv[1]), ranks).configurations]
    if ranks.is_first:
        print(found)
"""


@pytest.mark.parametrize("scraper", ["XYZ", "ASE"])
def test_each_rank_reads_its_own_files(tmp_path: Path, scraper: str):
    """ASE, by default, hands all ranks of an MPI job what the first has read."""
    for number, (group, count) in enumerate({"few": 2, "many": 5}.items()):
        folder = tmp_path / "data" / (group if scraper == "ASE" else "")
        folder.mkdir(parents=True, exist_ok=True)
        header = 'Properties=species:S:1:pos:R:3 pbc="F F F" energy='
        frames = [f"1\n{header}{10 * number + k}\nAr 0 0 0\n" for k in range(count)]
        (folder / f"{group}.xyz").write_text("".join(frames))
    (tmp_path / "files.in").write_text(FILES_INPUT.format(scraper=scraper))
    (tmp_path / "read.py").write_text(READ)
    alone, together = (mpirun(ranks, ["read.py", "files.in"], tmp_path) for ranks in (1, 2))
    assert alone.stdout.count("#") == 7, alone.stderr
    assert together.stdout == alone.stdout
