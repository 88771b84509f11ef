"""Time and memory of a run, and short representations of what a user meets in Python."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.reports.errors_table import ErrorRow, ErrorTable
from fitsnap_nn.settings import load_settings
from fitsnap_nn.usage import Stopwatch, Usage, describe_usage, duration, peak_memory, process_start


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (125.0, "2 min 05 s"), (3 * 3600 + 299, "3 h 04 min")],
)
def test_durations(seconds: float, text: str):
    assert duration(seconds) == text


def test_usage_of_several_ranks():
    ranks = [Usage(60.0, 2**30), Usage(30.0, 2**29)]
    assert describe_usage(100.0, ranks[:1]) == "time: 1 min 40 s, CPU time 1 min 00 s; peak memory 1.00 GiB"
    assert describe_usage(100.0, ranks) == (
        "time: 1 min 40 s, CPU time 1 min 30 s of 2 ranks; peak memory 1.50 GiB of all ranks, 1.00 GiB of the largest"
    )
    assert describe_usage(1.0, [Usage(1.0, 2**20, 2**21)]).endswith("peak memory 1 MiB; on the GPU 2 MiB")


def test_memory_and_times_of_this_process():
    before = peak_memory()
    array = np.ones(2**25)  # 256 MiB
    assert peak_memory() > 2**27 + array.nbytes // 2
    assert peak_memory() >= before
    started, now = process_start(), time.monotonic()
    assert now - 24 * 3600 < started < now
    watch = Stopwatch.of_process()
    assert watch.wall() >= now - started - 1.0
    assert watch.usage().cpu > Stopwatch.now().usage().cpu


def test_short_representations(small_input):
    one = Configuration("bcc/a.json", "bcc", ("Ta", "Ta", "O"), np.zeros((3, 3)), np.eye(3))
    assert repr(one) == "Configuration('bcc/a.json', Ta2O, Train, no labels)"
    labelled = replace(one, labels={"energy": np.array(1.0), "forces": np.zeros((3, 3))})
    assert repr(labelled) == "Configuration('bcc/a.json', Ta2O, Train, energy, forces)"
    settings = load_settings(str(small_input))
    expected = f"Settings({str(small_input)!r}, BPNN, Ta, 2 rows of groups, output folder 'small_fit')"
    assert repr(settings) == expected
    table = ErrorTable([ErrorRow("*ALL", "Train", "Energy", 5, 0.1, 0.2, 0.9, "eV/atom")])
    assert repr(table).splitlines()[0].startswith("| Group | Set   | Property")
    assert repr(table) == table._repr_markdown_()
    assert repr(ErrorTable()) == "no errors"
