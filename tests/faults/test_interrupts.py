"""Ctrl-C and SIGTERM: one line, the right exit code, no traceback, and no process that survives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from fitsnap_nn import interrupts
from fitsnap_nn.errors import Interrupted
from fitsnap_nn.reports.runlog import Console

FAULTS = str(Path(__file__).with_name("rank_faults.py"))
LINE = "interrupted in epoch 3 of 9. To go on: --resume\n"
MPIRUN = str(Path(sys.executable).parent / "mpirun")
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs the process table of Linux")


def interrupted(
    arguments: list[str],
    folder: Path,
    send: Callable[[subprocess.Popen[str]], None],
    ready: Callable[[], bool],
    ranks: int = 2,
) -> tuple[int, str, str, float]:
    """Start a program in a session of its own, and interrupt it; return status, both outputs and seconds to the end."""
    launch = [MPIRUN, "-np", str(ranks)] if ranks > 1 else []
    environment = {**os.environ, "FITSNAP_NN_TEST": str(folder)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    command = [*launch, sys.executable, *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, **pipes) as process:
        while not ready():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        started = time.monotonic()
        send(process)
        try:
            printed, errors = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        seconds = time.monotonic() - started
    assert survivors(folder) == []
    return process.returncode, printed, errors, seconds


def survivors(folder: Path) -> list[int]:
    """Return the processes that inherit the environment of a program, once they have had time to end."""
    mark, deadline = f"FITSNAP_NN_TEST={folder}\0".encode(), time.monotonic() + 2.0
    while True:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def terminal(process: subprocess.Popen[str]) -> None:
    """Send SIGINT as a terminal does: to the launcher's process group."""
    os.killpg(process.pid, signal.SIGINT)


def scheduler(process: subprocess.Popen[str]) -> None:
    """Send SIGTERM as a batch system does: to the launcher."""
    process.send_signal(signal.SIGTERM)


def twice(process: subprocess.Popen[str]) -> None:
    """Send SIGTERM again, because the first one seems to have no effect."""
    scheduler(process)
    time.sleep(1.0)
    scheduler(process)


CODES = {terminal: 130, scheduler: 143, twice: 143}
# What the program does, how it is interrupted, on how many ranks, and the time after which it has to be over.
CASES = [
    ("sleeps", terminal, 1, 2),
    ("sleeps", scheduler, 2, 3),
    ("sleeps", terminal, 2, 3),
    ("inside", terminal, 1, 8),
    ("inside", scheduler, 2, 8),
    ("inside", twice, 2, 4),
    ("stubborn", terminal, 2, 8),
]


@NEEDS_PROC
@pytest.mark.mpi
@pytest.mark.parametrize(("what", "send", "ranks", "limit"), CASES)
def test_one_line_and_the_exit_code(tmp_path: Path, what: str, send: Callable, ranks: int, limit: float):
    status, printed, errors, seconds = interrupted([FAULTS, what], tmp_path, send, (tmp_path / "ready").exists, ranks)
    assert status == CODES[send]
    assert errors == LINE
    assert "Traceback" not in printed
    assert seconds < limit


@NEEDS_PROC
@pytest.mark.mpi
def test_a_rank_that_waits_for_one_that_does_not_start(tmp_path: Path):
    """One rank is in MPI_Init, where Python cannot act on the signal."""
    (tmp_path / "late.py").write_text(
        "import os, runpy, signal, sys, time\n"
        "if os.environ['PMI_RANK'] == '1':\n"
        "    signal.signal(signal.SIGINT, signal.SIG_IGN)\n"  # mpirun reports the status of what ends first
        "    time.sleep(60)\n"
        "from fitsnap_nn import job\n"
        "join = job._join_mpi\n"
        "job._join_mpi = lambda: (open('joining', 'w').close(), join())[1]\n"
        f"sys.argv = [{FAULTS!r}, 'sleeps']\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )

    def ready() -> bool:
        joining = (tmp_path / "joining").exists()
        if joining:
            time.sleep(1.0)  # until MPI_Init waits
        return joining

    status, _, errors, seconds = interrupted(["late.py"], tmp_path, terminal, ready)
    # mpirun, which has received the signal too, may kill the rank before this one has time to end by itself.
    assert status in (130, signal.SIGKILL)
    assert "interrupted\n" in errors or status == signal.SIGKILL
    assert seconds < 3


@NEEDS_PROC
@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.parametrize("send", [terminal, scheduler])
@pytest.mark.parametrize("moment", ["start", "training"])
def test_a_fit_on_two_ranks(small_input: Path, moment: str, send: Callable):
    folder = small_input.parent
    arguments = ["-m", "fitsnap_nn", "small.in", "--no-verify", "--set", "PYTORCH.num_epochs=100000"]
    arguments += ["--set", "OUTFILE.folder=out"]
    begun = time.monotonic()
    # Torch is being imported after one second, on any machine on which that takes longer.
    moments = {"start": lambda: time.monotonic() - begun > 1.0, "training": (folder / "out" / "restart.pt").exists}
    status, printed, errors, seconds = interrupted(arguments, folder, send, moments[moment])
    lines = [line for line in (printed + errors).splitlines() if "interrupted" in line]
    assert status == CODES[send]
    assert len(lines) == 1
    assert "Traceback" not in printed + errors
    assert seconds < 8
    if moment == "training":
        assert lines[0].startswith("interrupted in epoch ")
        assert lines[0].endswith("--resume")
        assert (folder / "out" / "run.log").read_text(encoding="utf-8").endswith(f"{lines[0]}\n")


def test_the_line_is_the_last_one_of_the_log(tmp_path: Path):
    interrupts.describe(lambda: "interrupted before epoch 1")
    stream = StringIO()
    with pytest.raises(Interrupted), Console(stream, tmp_path / "run.log"):
        raise Interrupted(signal.SIGTERM)
    assert stream.getvalue() == (tmp_path / "run.log").read_text() == "interrupted before epoch 1\n"
    assert interrupts.take_line() == ""  # nobody says it again


def test_handlers_are_restored():
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    with interrupts.handled(), interrupts.handled():
        assert [signal.getsignal(number) for number in interrupts.SIGNALS] != before
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == before


def test_lammps_does_not_survive_this_program(tmp_path: Path):
    """It has a session of its own, which nobody would end if this program is killed."""
    child = ["sleep", "60"]
    program = (
        "import subprocess, time\nfrom fitsnap_nn.lammps.program import _die_with_parent\n"
        f"child = subprocess.Popen({child}, start_new_session=True, preexec_fn=_die_with_parent)\n"
        "print(child.pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 5
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
