"""All reports at once: each file that is announced exists, and nothing else is written."""

from __future__ import annotations

import math
from dataclasses import replace

from fitsnap_nn.data.properties import STANDARD
from fitsnap_nn.reports.epochs import EpochLog, EpochRow
from fitsnap_nn.reports.errors_table import errors_table
from fitsnap_nn.reports.write import write_reports
from fitsnap_nn.settings.schema import Bispectrum, Extras, Settings

SETTINGS = Settings(bispectrum=Bispectrum(type=("Ta",)))


def test_announced_files_are_those_that_were_written(random_results, tmp_path):
    with EpochLog(tmp_path, STANDARD) as log:
        log.write(EpochRow(1, 1.0, mae=(math.nan,) * 3))
    settings = replace(SETTINGS, extras=Extras(dump_peratom=True, dump_perconfig=True))
    rows = errors_table(random_results, STANDARD)
    files = write_reports(tmp_path, rows, random_results, STANDARD, settings)
    assert rows[0].group == "*ALL"
    assert {path.name for path in tmp_path.iterdir()} == {*files, "metrics.csv", "loss_vs_epochs.dat"}
    assert {"perconfig.dat", "peratom.dat", "fitsnap_metrics"} <= set(files)


def test_without_extras_and_epochs_there_are_fewer(random_results, tmp_path):
    write_reports(tmp_path, errors_table(random_results, STANDARD), random_results, STANDARD, SETTINGS)
    names = {path.name for path in tmp_path.iterdir()}
    assert names.isdisjoint({"perconfig.dat", "peratom.dat"})
