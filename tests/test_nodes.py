"""Ranks of several machines, played by this one: working folders, caches and start times of their own."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import run
from small_fit import fit, write_small_input

from fitsnap_nn import job, launch
from fitsnap_nn.errors import DataError, InputError
from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.workflow import model_inputs, pipeline
from fitsnap_nn.workflow.model_inputs import ranks_by_folder

BIN = Path(sys.executable).parent
FIT = ["small.in", "--no-verify", "--set", "OUTFILE.folder=out"]
RUN = [str(Path(__file__).with_name("rank_jobs.py")), "jobs.json"]
SEVERAL = "2 different cache folders of this name (1 rank, 1 rank): the ranks of each compute all model inputs."


def losses(folder: Path) -> list[float]:
    return [loss for row in read_epochs(folder) for loss in (row.train_loss, row.validation_loss)]


def node_folders(folder: Path) -> list[Path]:
    nodes = [folder / "first", folder / "second"]
    for node in nodes:
        node.mkdir()
        write_small_input(node)
        write_job(node)
    return nodes


def write_job(node: Path, *more: str) -> None:
    (node / "jobs.json").write_text(json.dumps([[*FIT, *more]]))


def log_of(folder: Path) -> str:
    return (folder / "out" / "run.log").read_text(encoding="utf-8")


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.lammps
def test_mpirun_in_two_working_folders(tmp_path: Path):
    """The second rank starts seconds later, and finds neither cache nor restart file of the first."""
    first, second = node_folders(tmp_path)
    late = ["sh", "-c", 'sleep 3; exec "$@"', "late", sys.executable]

    def both(*more: str) -> None:
        for node in (first, second):
            write_job(node, *more)
        start = [str(BIN / "mpirun"), "-np", "1", "-wdir", str(first), sys.executable, *RUN]
        done = run([*start, ":", "-np", "1", "-wdir", str(second), *late, *RUN], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr

    both()
    assert SEVERAL in log_of(first)
    assert [path.name for path in (second / "out").iterdir()] == ["cache"]
    both("--resume", "-k", "PYTORCH", "num_epochs", "5", "-k", "MEMORY", "cache", str(tmp_path / "shared"))
    resumed = log_of(first).rpartition("2 ranks (mpirun)")[2]
    assert " 15 computed, 0 from the cache" in resumed
    assert SEVERAL not in resumed
    assert "continuing from out/restart.pt after epoch 3" in resumed
    alone = fit(write_small_input(tmp_path), "alone", num_epochs=5)
    assert losses(first / "out") == pytest.approx(losses(alone.folder), rel=1e-10)


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.lammps
def test_torchrun_on_two_nodes(tmp_path: Path):
    """The second node starts seconds later, in a working folder of its own."""
    nodes = node_folders(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = ["--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port]
    delayed = [["sh", "-c", f'sleep {seconds}; exec "$@"', "late", str(BIN / "torchrun")] for seconds in (0, 3)]
    commands = [[*start, *options, "--node-rank", str(node), *RUN] for node, start in enumerate(delayed)]
    with ThreadPoolExecutor() as pool:
        for done in pool.map(run, commands, nodes):
            assert done.returncode == 0, done.stdout + done.stderr
    assert SEVERAL in log_of(nodes[0])
    alone = fit(write_small_input(tmp_path), "alone")
    assert losses(nodes[0] / "out") == pytest.approx(losses(alone.folder), rel=1e-10)


def test_another_input_on_another_machine_is_refused(small_input: Path, monkeypatch: pytest.MonkeyPatch):
    """Under torchrun too, which compares nothing."""

    @contextmanager
    def session() -> Iterator[Ranks]:
        ranks = Ranks(0, 2)
        monkeypatch.setattr(ranks, "share", lambda value: [value, "another"])
        yield ranks

    monkeypatch.setattr(pipeline, "session", session)
    with pytest.raises(DataError, match=r"input .*small\.in, or the version of fitsnap_nn: rank 1 differs from rank 0"):
        fit(small_input, "fit")
    assert not (small_input.parent / "fit").exists()


def test_processes_of_torchrun_ignore_the_srun_that_started_it(monkeypatch: pytest.MonkeyPatch):
    """One torchrun per machine is one task of srun."""
    of_srun = {"SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_STEP_ID": "0", "PMI_RANK": "1", "MPI_LOCALNRANKS": "1"}
    of_torchrun = {"RANK": "6", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4"}
    for name, value in {**of_srun, **of_torchrun}.items():
        monkeypatch.setenv(name, value)
    assert (launch.rank_number(), launch.local_rank(), launch.local_size()) == (1, 0, 1)
    monkeypatch.setenv(launch.TORCHRUN_VARIABLE, "none")
    assert (launch.rank_number(), launch.local_rank(), launch.local_size()) == (6, 2, 4)
    assert not launch.is_first_rank()


# Of a task of srun --mpi=pmi2 -N 3 -n 5, as SLURM 22.05 sets them.
TASK_OF_SRUN = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_NODEID": "1",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "PMI_RANK": "3",
    "PMI_SIZE": "5",
}


def test_tasks_of_srun(monkeypatch: pytest.MonkeyPatch):
    for name in launch.MPIRUN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in TASK_OF_SRUN.items():
        monkeypatch.setenv(name, value)
    assert (launch.rank_number(), launch.local_rank(), launch.announced_size()) == (3, 1, 5)
    counts = {}
    for node in "0123":
        monkeypatch.setenv("SLURM_NODEID", node)
        counts[node] = launch.local_size()
    assert counts == {"0": 2, "1": 2, "2": 1, "3": 1}
    assert launch.started_by_srun()
    assert not launch.on_one_machine()
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "1")
    assert launch.on_one_machine()
    monkeypatch.setattr(sys, "argv", ["/somewhere/fitsnap_nn/__main__.py", "Ta.in", "--overwrite"])
    again = launch.repeated_command(5, "--overwrite", "--resume")
    assert again == "srun --mpi=pmi2 -n 5 python -m fitsnap_nn Ta.in --resume"
    # Ranks of an mpirun that srun has started on each machine.
    monkeypatch.setenv("MPI_LOCALNRANKS", "2")
    assert not launch.started_by_srun()
    assert launch.repeated_command(5).startswith("mpirun -np 5 python")


def test_srun_without_the_right_plugin_is_refused(monkeypatch: pytest.MonkeyPatch):
    for name in ("PMI_RANK", "PMI_SIZE", *launch.MPIRUN_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    for name in ("SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.setenv(name, TASK_OF_SRUN[name])
    with pytest.raises(InputError, match=r"5 processes were started.* sees one. Use srun --mpi=pmi2 or .*mpirun"):
        job._refuse_foreign_launcher()
    monkeypatch.setenv("PMIX_RANK", "3")
    monkeypatch.setenv("MPI4PY_LIBMPI", "libmpi.so.12")
    monkeypatch.setattr(job, "load_mpi", lambda: None)
    with pytest.raises(InputError, match=r"srun offers PMIx, .*libmpi.so.12, does not support. Use srun --mpi=pmi2"):
        job._join_mpi()


class Together(Ranks):
    """Ranks that are threads of this process."""

    def __init__(self, rank: int, values: list[Any], gate: threading.Barrier) -> None:
        super().__init__(rank, len(values))
        self._values = values
        self._gate = gate

    def barrier(self) -> None:
        self._gate.wait(10)

    def share(self, value: Any) -> list[Any]:
        self._values[self.rank] = value
        self._gate.wait(10)
        found = list(self._values)
        self._gate.wait(10)
        return found


def groups_of(folders: Sequence[Path]) -> list[list[list[int]]]:
    values: list[Any] = [None] * len(folders)
    gate = threading.Barrier(len(folders))
    ranks = [Together(rank, values, gate) for rank in range(len(folders))]
    with ThreadPoolExecutor(len(folders)) as pool:
        return list(pool.map(ranks_by_folder, folders, ranks))


def test_ranks_of_one_folder_share_the_work(tmp_path: Path):
    one, two = tmp_path / "one", tmp_path / "two"
    (tmp_path / "link").symlink_to(two)
    for found in groups_of([one, two, one, tmp_path / "link", one]):
        assert found == [[0, 2, 4], [1, 3]]
    assert list(one.iterdir()) == list(two.iterdir()) == []
    assert ranks_by_folder(tmp_path / "none", Ranks()) == [[0]]
    assert not (tmp_path / "none").exists()


def test_a_folder_that_a_rank_cannot_write_is_recognised_by_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As long as one of them can; otherwise each rank reads the complete cache by itself."""
    create, allowed = model_inputs.create_locked, 1

    def refuse(new_path: Any) -> Any:
        nonlocal allowed
        allowed -= 1
        if allowed < 0:
            raise PermissionError(13, "Permission denied")
        return create(new_path)

    monkeypatch.setattr(model_inputs, "create_locked", refuse)
    for found in groups_of([tmp_path] * 3):
        assert found == [[0, 1, 2]]
    for found in groups_of([tmp_path] * 2):
        assert found == [[0], [1]]


class Late(dict[str, int]):
    """A store whose files appear with a later look at the folder."""

    folder = Path("cache")

    def refresh(self) -> None:
        self["a"] = 1
        if self.pop("looked", 0):
            self["b"] = 1
        self["looked"] = 1


def test_files_of_network_file_systems_are_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(model_inputs, "PAUSE", 0.01)
    store: Any = Late()
    model_inputs._wait_until_visible(store, ["a", "b"], Ranks())
    assert "b" in store
    monkeypatch.setattr(model_inputs, "VISIBLE_AFTER", 0.05)
    with pytest.raises(DataError, match=r"rank 1 on .* does not see 1 model input in cache written by another rank"):
        model_inputs._wait_until_visible(store, ["a", "b", "c"], Ranks(1, 2))
