"""The console with its log, progress with a clock that the test turns, and the tree of files."""

from __future__ import annotations

import io
import re
import time

import pytest

from fitsnap_nn.reports import activity, runlog
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.reports.tree import render_tree


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_everything_printed_is_in_the_log(tmp_path):
    screen = io.StringIO()
    with Console(screen, tmp_path / "run.log") as console:
        console.line("Å and eV")
        console.line()
        assert (tmp_path / "run.log").read_text(encoding="utf-8") == screen.getvalue()
    assert screen.getvalue() == "Å and eV\n\n"


def test_a_fit_that_goes_on_keeps_the_log(tmp_path):
    for append, text in ((False, "old"), (False, "first"), (True, "second")):
        with Console(None, tmp_path / "run.log", append=append) as console:
            console.line(text)
    assert (tmp_path / "run.log").read_text(encoding="utf-8") == "first\nsecond\n"


def test_other_ranks_are_silent(capsys):
    with Console() as console:
        console.line("text")
        report = console.progress("descriptors")
        report(1, 2)
        report(2, 2)
    assert capsys.readouterr() == ("", "")


def test_a_task_is_announced_after_two_seconds_of_silence_and_then_ever_less_often():
    screen, clock = io.StringIO(), Clock()
    console = Console(screen, clock=clock)
    with console.task("descriptors", 200_000) as task:
        for second in range(1, 100_000):
            clock.now = float(second)
            task.update(second)
            console.beat()
    lines = screen.getvalue().splitlines()
    assert lines[0] == "descriptors: 2/200000 (0 %), 55 h 33 min left"
    assert lines[1].startswith("descriptors: 12/200000")
    assert lines[-1].endswith("left")
    assert 100 < len(lines) < 200


def test_nothing_is_said_while_other_lines_are_printed():
    screen, clock = io.StringIO(), Clock()
    console = Console(screen, clock=clock)
    with console.task("training"):
        for second in range(1, 60):
            clock.now = float(second)
            console.line(f"epoch {second}")
            clock.now += 0.9
            console.beat()
    assert "training" not in screen.getvalue()


def test_a_part_is_shown_with_the_whole():
    screen, clock = io.StringIO(), Clock()
    console = Console(screen, clock=clock)
    with console.task("epochs", 100, done=10) as epochs, console.task("training") as part:
        part.restart("steps of epoch 11", 50)
        clock.now = 20.0
        part.update(25)
        epochs.update(10.5)
        console.beat()
    assert (
        screen.getvalue() == "epochs: 10/100 (10 %), 59 min 40 s left · steps of epoch 11: 25/50 (50 %), 20.0 s left\n"
    )


def test_progress_of_quick_work_is_one_line():
    screen, clock = io.StringIO(), Clock()
    report = Console(screen, clock=clock).progress("descriptors")
    for done in range(1, 201):
        clock.now = 0.001 * done
        report(done, 200)
    assert screen.getvalue() == "descriptors: 200/200 in 0.2 s\n"


@pytest.mark.parametrize("width", [60, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_bars_on_a_terminal_and_plain_lines_in_the_log(tmp_path, monkeypatch, width, encoding):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    raw, clock = io.BytesIO(), Clock()
    screen = Terminal(raw, encoding=encoding)
    with Console(screen, tmp_path / "run.log", clock=clock) as console:
        with console.task("steps of the epoch with a long name", 4) as task:
            for done in range(4):
                clock.now = 3600.0 * done
                task.update(done)
                console.beat()
            console.line("Å above the bars")
        console.line("after")
    shown = raw.getvalue().decode(encoding)
    rows = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n").splitlines()
    bars = [row.rstrip() for row in rows if "2/4" in row]
    assert bars
    assert all(len(row) <= width and row.endswith("2 h 00 min left") for row in bars)
    assert ("━" if encoding == "utf-8" else "-") in bars[0]
    assert "\x1b[?25h" in shown[shown.rindex("\x1b[?25l") :] if "\x1b[?25l" in shown else True
    assert not re.search(r"\x1b\[[0-9;]*m", shown)  # no colours
    assert rows[-1] == "after"
    log = (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()
    assert log[:3] == [
        f"steps of the epoch with a long name: {done}/4 ({25 * done} %), {4 - done} h 00 min left" for done in (1, 2, 3)
    ]
    assert log[3:] == ["Å above the bars", "after"]


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    raw, clock = io.BytesIO(), Clock()
    console = Console(Terminal(raw, encoding="utf-8"), clock=clock)
    with console.task("drawing plots"):
        clock.now = 2.5
        console.beat()
    assert raw.getvalue() == b"drawing plots ...\n"


def test_brief_output_has_warnings_and_results_and_the_log_everything(tmp_path):
    screen, clock = io.StringIO(), Clock()
    with Console(screen, tmp_path / "run.log", brief=True, clock=clock) as console:
        console.line("data: 3 configurations\n  warning: one is odd\n  note: all are small")
        with console.task("plots"):
            clock.now = 5.0
            console.beat()
        console.line("verdict: fine", final=True)
    assert screen.getvalue() == "  warning: one is odd\nverdict: fine\n"
    log = (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()
    assert log == [
        "data: 3 configurations",
        "  warning: one is odd",
        "  note: all are small",
        "plots ...",
        "verdict: fine",
    ]


def test_details_are_in_the_log_only(tmp_path):
    screen = io.StringIO()
    with Console(screen, keep=True) as console:
        console.detail("every notice")
        console.start_log(tmp_path / "run.log")
    assert screen.getvalue() == ""
    assert (tmp_path / "run.log").read_text(encoding="utf-8") == "every notice\n"


def test_the_thread_speaks_while_the_program_waits(monkeypatch):
    monkeypatch.setattr(activity, "FIRST", 0.02)
    monkeypatch.setattr(runlog, "BEAT", 0.01)
    screen = io.StringIO()
    with Console(screen) as console, console.task("waiting"):
        deadline = time.monotonic() + 5.0
        while not screen.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert screen.getvalue() == "waiting ...\n"


def test_progress_of_nothing_ends_at_once():
    screen = io.StringIO()
    Console(screen, clock=Clock()).progress("descriptors")(0, 0)
    assert screen.getvalue() == "descriptors: 0/0 in 0.0 s\n"


def test_tree_draws_what_exists_with_its_phrase(tmp_path):
    (tmp_path / "md").mkdir()
    for name in ("run.log", "md/in.md", "md/Ta.mod", "secret"):
        (tmp_path / name).touch()
    phrases = {
        "run.log": "what was printed",
        "md": "to run in LAMMPS",
        "md/in.md": "input",
        "md/Ta.mod": "pair style",
        "absent": "never written",
    }
    assert render_tree(tmp_path, phrases).splitlines() == [
        f"{tmp_path}/",
        "├── run.log     what was printed",
        "└── md/         to run in LAMMPS",
        "    ├── in.md   input",
        "    └── Ta.mod  pair style",
    ]
    assert render_tree(tmp_path, {}) == f"{tmp_path}/"
