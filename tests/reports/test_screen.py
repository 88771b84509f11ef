"""The console with its log, progress with a clock that the test turns, and the tree of files."""

from __future__ import annotations

import io

from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.reports.tree import render_tree


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_everything_printed_is_in_the_log(tmp_path):
    screen = io.StringIO()
    with Console(screen, tmp_path / "run.log") as console:
        console.line("Å and eV")
        console.section("Data")
        console.line()
        assert (tmp_path / "run.log").read_text(encoding="utf-8") == screen.getvalue()
    assert screen.getvalue() == "Å and eV\n\nData\n----\n\n"


def test_a_fit_that_goes_on_keeps_the_log(tmp_path):
    for append, text in ((False, "old"), (False, "first"), (True, "second")):
        with Console(None, tmp_path / "run.log", append=append) as console:
            console.line(text)
    assert (tmp_path / "run.log").read_text(encoding="utf-8") == "first\nsecond\n"


def test_other_ranks_are_silent(capsys):
    with Console() as console:
        console.line("text")
        console.section("title")
        report = console.progress("descriptors")
        report(1, 2)
        report(2, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_prints_every_tenth_with_the_time_left():
    screen, clock = io.StringIO(), Clock()
    report = Console(screen, clock=clock).progress("descriptors")
    for done in range(1, 201):
        clock.now = 0.5 * done
        report(done, 200)
    lines = screen.getvalue().splitlines()
    assert lines[0] == "descriptors: 20/200 (10 %), 1 min 30 s left"
    assert lines[8] == "descriptors: 180/200 (90 %), 10.0 s left"
    assert lines[9] == "descriptors: 200/200 in 1 min 40 s"
    assert len(lines) == 10


def test_progress_of_quick_work_is_one_line():
    screen, clock = io.StringIO(), Clock()
    report = Console(screen, clock=clock).progress("descriptors")
    for done in range(1, 201):
        clock.now = 0.001 * done
        report(done, 200)
    assert screen.getvalue() == "descriptors: 200/200 in 0.2 s\n"


def test_progress_on_a_terminal_rewrites_its_line_but_logs_only_the_end(tmp_path):
    screen, clock = Terminal(), Clock()
    with Console(screen, tmp_path / "run.log", clock=clock) as console:
        report = console.progress("descriptors")
        for done in range(5):
            clock.now = 3600.0 * done
            report(done, 4)
    assert screen.getvalue().count("\n") == 1
    assert "\r\033[Kdescriptors: 0/4 (0 %), ? left\r\033[Kdescriptors: 1/4 (25 %), 3 h 00 min left" in screen.getvalue()
    assert (tmp_path / "run.log").read_text(encoding="utf-8") == "descriptors: 4/4 in 4 h 00 min\n"


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
