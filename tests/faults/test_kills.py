"""A fit that is killed at any moment, a rank or the launcher, and resumed ends with the bits of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from processes import run_on_ranks
from small_fit import write_small_input

from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.training.checkpoint import load_restart

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.lammps, pytest.mark.timeout(300)]

LAUNCHER = [str(Path(sys.executable).parent / "mpirun"), "-np", "2", sys.executable]
KINDS = ("whole", "killed")
EPOCHS = 24
KILLS = (("launcher", 2), ("rank", 9))  # what is killed, and after which epoch
# The first kill is before stage two, the second in it.
STAGE_TWO = {"stage_two": 1, "stage_two_start": 6, "stage_two_energy_weight": 500, "stage_two_average": 1}


def arguments(folder: str, *more: str) -> list[str]:
    keys = ["--set", f"OUTFILE.folder={folder}", "--set", f"PYTORCH.num_epochs={EPOCHS}"]
    keys += [word for key, value in STAGE_TWO.items() for word in ("--set", f"PYTORCH.{key}={value}")]
    return ["small.in", "--no-verify", *keys, *more]


def epoch(folder: Path) -> int:
    path = folder / "restart.pt"
    return int(load_restart(path)["trainer"]["epoch"]) if path.exists() else 0


def ranks_of(launcher: int) -> list[int]:
    """Return the processes that mpirun has started, by way of its proxy."""
    (proxy,) = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return [int(one) for one in Path(f"/proc/{proxy}/task/{proxy}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs the process table of Linux")
def test_a_fit_killed_twice_on_two_ranks(tmp_path: Path):
    write_small_input(tmp_path)
    folder, option = tmp_path / "killed", "--overwrite"
    for victim, after in KILLS:
        with subprocess.Popen(
            [*LAUNCHER, "-m", "fitsnap_nn", *arguments("killed", option)],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as job:
            while epoch(folder) < after:
                assert job.poll() is None, job.communicate()
                time.sleep(0.01)
            ranks = ranks_of(job.pid)
            os.kill(job.pid if victim == "launcher" else ranks[1], signal.SIGKILL)
            job.communicate(timeout=10)
        deadline = time.monotonic() + 10
        while (running := [one for one in ranks if Path(f"/proc/{one}").exists()]) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert running == []
        assert after <= epoch(folder) < EPOCHS, "killed too late: this test shows nothing"
        option = "--resume"
    run_on_ranks(2, [arguments("killed", option), arguments("whole")], tmp_path)
    first, second = (load_restart(tmp_path / name / "restart.pt")["trainer"] for name in KINDS)
    for name in ("weights", "best_weights", "epoch_mean"):
        assert torch.equal(first[name], second[name])
    one, other = ([(row.train_loss, row.validation_loss) for row in read_epochs(tmp_path / name)] for name in KINDS)
    assert one == other
    assert len(one) == EPOCHS
