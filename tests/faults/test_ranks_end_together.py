"""A rank that fails ends all, within seconds, with one message and the right exit code; what ranks open is local."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import mpirun, run

from fitsnap_nn.errors import DataError, InputError, Problem
from fitsnap_nn.job import Job
from fitsnap_nn.launch import Neighbours, neighbours
from fitsnap_nn.training.distributed import Ranks

pytestmark = pytest.mark.mpi

HERE = Path(__file__).parent
FAULTS = str(HERE / "rank_faults.py")
SECONDS = 10

# Each rank runs what its number selects.
BY_RANK = """\
import os, subprocess, sys
commands = {commands!r}
command = [sys.executable, *commands[int(os.environ["PMI_RANK"])]]
{how}
"""
HOW = {
    "in its place": "os.execv(sys.executable, command)",
    "below it": "sys.exit(subprocess.call(command, close_fds=False))",
}
FIT = ["-m", "fitsnap_nn", "small.in", "--no-verify"]


def started_by_rank(folder: Path, *commands: list[str], how: str = "in its place") -> subprocess.CompletedProcess[str]:
    (folder / "by_rank.py").write_text(BY_RANK.format(commands=commands, how=HOW[how]), encoding="utf-8")
    started = time.monotonic()
    done = mpirun(len(commands), ["by_rank.py"], folder, timeout=60)
    assert time.monotonic() - started < SECONDS
    return done


WRONG = {
    "no input": (["-m", "fitsnap_nn", "nosuch.in"], 2, "nosuch.in  no such file", True),
    "wrong arguments": ([*FIT, "--nosuch"], 2, "unrecognized arguments: --nosuch", True),
    "wrong settings": ([*FIT, "--set", "PYTORCH.num_epochs=x"], 2, "[PYTORCH] num_epochs", True),
    "other settings": ([*FIT, "--set", "PYTORCH.num_epochs=2"], 2, "input small.in  rank 1 differs from rank 0", False),
    "another command": (["-m", "fitsnap_nn", "test", "small.in"], 2, "command and version", False),
    "not ours": (["-c", "raise SystemExit(3)"], None, "a rank has ended before all ranks had joined", False),
    "no such module": (["-m", "nosuch"], None, "a rank has ended before all ranks had joined", False),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_rank_that_fails_before_the_others_have_met_it(small_input: Path, name: str):
    command, code, message, named = WRONG[name]
    done = started_by_rank(small_input.parent, FIT, command)
    assert done.returncode == code if code else done.returncode > 0
    assert done.stderr.count(message) == 1
    assert ("(on rank 1 of 2)" in done.stderr) == named
    assert "Traceback" not in done.stderr
    assert not (small_input.parent / "fit").exists()


@pytest.mark.parametrize("lost", [0, 2])
def test_a_lost_rank_is_reported_once_whichever_it_is(small_input: Path, lost: int):
    """Wrappers too, as the shell scripts that choose a GPU for each rank."""
    commands = [["-c", "raise SystemExit(3)"] if rank == lost else FIT for rank in range(3)]
    done = started_by_rank(small_input.parent, *commands, how="below it")
    assert done.returncode > 0
    # If mpirun is faster, it kills the others itself, and reports the one whose end it sees first.
    reported = done.stderr.count("a rank has ended before all ranks had joined")
    assert reported == 1 or (reported == 0 and "BAD TERMINATION" in done.stdout)


def test_a_list_of_ranks_without_the_one_that_reads_it_tells_nothing(monkeypatch: pytest.MonkeyPatch):
    """The kernel's list lacks processes if another ends meanwhile: no rank may end silently because of that."""
    own, proxy = os.getpid(), 77
    listed = f"{own + 1} {own + 2}"
    files = {f"/proc/{own}/stat": f"{own} (python) S {proxy} 1", f"/proc/{proxy}/comm": "hydra_pmi_proxy\n"}
    monkeypatch.setenv("MPI_LOCALNRANKS", "4")
    monkeypatch.setattr(Path, "read_text", lambda self: files.get(str(self), listed))
    assert neighbours() == Neighbours(complete=True, first=True)
    listed = f"{own} {own + 1} {own + 2}"
    assert neighbours() == Neighbours(complete=False, first=True)
    listed = f"{own + 1} {own} {own + 2}"
    assert neighbours() == Neighbours(complete=False, first=False)


def test_a_log_that_cannot_be_opened(small_input: Path):
    started = time.monotonic()
    done = mpirun(2, [*FIT, "--log", "nosuch/fit.log"], small_input.parent, timeout=60)
    assert time.monotonic() - started < SECONDS
    assert done.returncode == 2
    assert done.stderr.count("--log nosuch/fit.log") == 1
    assert "Traceback" not in done.stderr


def test_a_library_that_one_rank_cannot_import(small_input: Path):
    folder = small_input.parent
    (folder / "broken").mkdir()
    (folder / "broken" / "torch.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    broken = "import sys, runpy; sys.path.insert(0, 'broken'); sys.argv[1:] = ['small.in', '--no-verify']; "
    broken += "runpy.run_module('fitsnap_nn', run_name='__main__')"
    done = started_by_rank(folder, FIT, ["-c", broken])
    assert done.returncode == 1
    assert done.stderr.count("ImportError: libgomp.so.1") == 1
    assert "(on rank 1 of 2)" in done.stderr


LATER = {
    "raises": (3, "error: one of the files is damaged\n(on rank 1 of 2)\n"),
    "raises_everywhere": (3, "error: all of the files are damaged\n"),
    "full": (1, "OSError: [Errno 28] No space left on device"),
}


@pytest.mark.parametrize("what", LATER)
def test_an_error_ends_all_ranks(tmp_path: Path, what: str):
    code, message = LATER[what]
    started = time.monotonic()
    done = mpirun(2, [FAULTS, what], tmp_path, timeout=60)
    assert time.monotonic() - started < SECONDS
    assert done.returncode == code
    assert done.stderr.count(message) == 1
    assert done.stderr.count("error: ") <= 1
    assert "MPI_Abort" not in done.stderr + done.stdout


def test_a_killed_rank_ends_all(tmp_path: Path):
    started = time.monotonic()
    assert mpirun(2, [FAULTS, "killed"], tmp_path, timeout=60).returncode > 0
    assert time.monotonic() - started < SECONDS


def test_mpi_is_finalized_before_a_rank_ends(tmp_path: Path):
    """mpirun kills ranks that still end, and fails, when one has ended without it; not each time."""
    (tmp_path / "ends.py").write_text(
        "import atexit, sys\n"
        "def report():\n"
        "    from mpi4py import MPI\n"
        "    sys.stdout.write(f'finalized: {MPI.Is_finalized()}\\n')\n"
        "atexit.register(report)\n"  # before the ranks join: called last
        "from fitsnap_nn.job import job\n"
        "with job():\n"
        "    pass\n"
    )
    done = mpirun(2, ["ends.py"], tmp_path, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "finalized: True\n" * 2, "")


def test_processes_that_do_not_know_each_other_do_not_all_fit(small_input: Path):
    """The mpirun of another MPI: each process would be alone, and write into the same folder."""
    done = run(["env", "OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_RANK=0", sys.executable, *FIT], small_input.parent)
    assert done.returncode == 2
    assert "4 processes were started" in done.stderr
    assert "bin/mpirun" in done.stderr


class World:
    """Stand-in for MPI.COMM_WORLD of two ranks, of which the other one sends what it is given."""

    def __init__(self, other: object) -> None:
        self.other = other

    def allgather(self, mine: object) -> list[object]:
        return [mine, self.other]


def test_ranks_agree_on_what_they_read():
    refused = InputError([Problem("x.in:1", "is wrong.")])

    def agreed(other: object) -> str:
        return Job(0, 2, world=World(other)).agreed(lambda: "text", str.upper, "input x.in")

    assert agreed((None, "TEXT")) == "text"
    with pytest.raises(InputError, match="rank 1 differs from rank 0"):
        agreed((None, "OTHER"))
    with pytest.raises(InputError, match="is wrong") as raised:
        agreed((refused, None))
    assert raised.value.ranks == "on rank 1 of 2"


def test_files_have_to_be_the_same_on_all_machines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Ranks, "share", lambda self, value: [value, ["b.json"]])
    Ranks(0, 2).require_same(["b.json"], "list of data files")
    with pytest.raises(DataError, match="list of data files: rank 1 differs from rank 0"):
        Ranks(0, 2).require_same(["a.json"], "list of data files")


LISTENING = """\
import os, sys
from fitsnap_nn.job import job
from fitsnap_nn.training.distributed import session

def open_here(process):
    found = set()
    for name in os.listdir(f"/proc/{process}/fd"):
        try:
            found.add(os.readlink(f"/proc/{process}/fd/{name}"))
        except OSError:
            pass
    return found

with session() as ranks:
    ranks.barrier()
    mine = open_here("self") - open_here(os.getppid())  # mpirun passes its own on
    lines = [line.split() for kind in ("tcp", "tcp6") for line in open(f"/proc/net/{kind}")]
    found = {line[1].split(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in mine}
    for addresses in ranks.share(found):
        if ranks.is_first:
            print(*sorted(addresses))
    if ranks.is_first:
        print("opened:", ranks.opened)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs the list of sockets of Linux")
def test_ranks_of_one_machine_listen_on_its_loopback_interface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "listening.py").write_text(LISTENING, encoding="utf-8")
    here = mpirun(2, ["listening.py"], tmp_path)
    assert here.returncode == 0, here.stderr
    first, second, opened = here.stdout.splitlines()
    assert first == second == "0100007F"  # 127.0.0.1
    assert opened == "opened: "
    monkeypatch.setenv("MPIR_CVAR_ODD_EVEN_CLIQUES", "1")  # MPICH then takes the ranks for those of two machines
    apart = mpirun(2, ["listening.py"], tmp_path)
    assert apart.returncode == 0, apart.stderr
    first, second, opened = apart.stdout.splitlines()
    assert "00000000" in first
    assert second == "0100007F"
    assert f"of all interfaces of {os.uname().nodename}" in opened
