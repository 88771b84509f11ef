"""A run writes to its own folder only, over files of its own only, alone, and not before it has begun."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from places import EXAMPLE
from processes import mpirun
from small_fit import without_plots, write_small_input

import fitsnap_nn
from fitsnap_nn.cli import main
from fitsnap_nn.errors import CheckpointError, DataError, InputError, OutputError
from fitsnap_nn.export.export import export
from fitsnap_nn.files import atomic_write, create_locked, one_line_errors
from fitsnap_nn.folders import LOCK, MARKER, locked
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import load_settings
from fitsnap_nn.settings.outputs import output_names
from fitsnap_nn.workflow.pipeline import check
from fitsnap_nn.workflow.run import Fit


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an input, two groups of data, and the fit of this input in the folder ``fit``."""
    folder = tmp_path_factory.mktemp("home")
    for group in ("Volume_BCC", "Displaced_BCC"):
        shutil.copytree(EXAMPLE / "JSON" / group, folder / "data" / group)
    write_small_input(folder, (str(EXAMPLE / "JSON"), "data"), ("[OUTFILE]", "[OUTFILE]\nfolder = fit"))
    with without_plots(), pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        fitsnap_nn.fit("small.in", verify=False)
    return folder


@pytest.fixture
def place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the working folder."""
    shutil.copytree(home, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(autouse=True)
def no_plots() -> Iterator[None]:
    """Fits without plots."""
    with without_plots():
        yield


def fit(**options: bool) -> Fit:
    return fitsnap_nn.fit("small.in", verify=False, quiet=True, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_every_file_of_a_fit_is_announced(place: Path):
    assert set(contents(place / "fit")) <= {*output_names(load_settings("small.in")), MARKER}


@pytest.mark.parametrize("names", [["pot.mod", "restart.pt"], ["run.log"], ["in.md", "parity.png", "pot.mliap.nn"]])
def test_files_of_the_user_are_not_replaced(place: Path, names: list[str]):
    shutil.rmtree("fit")
    Path("fit").mkdir()
    for name in names:
        Path("fit", name).write_text("precious")
    with pytest.raises(InputError, match=r"has not written and would replace: " + ", ".join(names)):
        fit(overwrite=True)
    with pytest.raises(InputError, match="Move them"):
        check(load_settings("small.in"))
    assert contents(Path("fit")) == dict.fromkeys(names, b"precious")


def test_a_file_that_the_user_adds_to_a_fit_is_not_replaced(place: Path):
    Path("fit/peratom.dat").write_text("precious")
    with pytest.raises(InputError, match=r"would replace: peratom\.dat"):
        fitsnap_nn.fit("small.in", {"EXTRAS.dump_peratom": 1}, overwrite=True)
    Path("fit/errors.md").unlink()
    Path("fit/errors.md").symlink_to(min((place / "data/Volume_BCC").iterdir()))
    with pytest.raises(InputError, match=r"would replace: errors\.md"):
        fit(overwrite=True)


def test_a_folder_of_an_earlier_version_is_ours(place: Path):
    Path("fit", MARKER).unlink()
    with pytest.raises(InputError, match="holds an earlier run"):
        fit()
    assert fit(resume=True).model_file.exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("OUTFILE.metrics", "../data/Volume_BCC/a.json", "is a path instead of the name of a file"),
        ("OUTFILE.metrics", "/tmp/x", "is a path instead of the name of a file"),
        ("OUTFILE.metrics", "input.used.in", "is also the name of a file of every fit"),
        ("OUTFILE.metrics", "test", "is also the name of a file of every fit"),
        ("OUTFILE.metrics", "restart.pt", "also the name of [PYTORCH] save_state_output"),
        ("OUTFILE.metrics", "..", "is not the name of a file"),
        ("OUTFILE.metrics", "a" * 201, "the name has 201 bytes"),
        ("PYTORCH.output_file", "pot.mod", "also the name of [PYTORCH] output_file"),
        ("PYTORCH.output_file", "in.md", "also the name of a file of every fit"),
        ("PYTORCH.output_file", "./restart.pt", "is a path instead of the name of a file"),
        ("PYTORCH.output_file", "energy_comparison_val.dat", "also the name of a file of every fit"),
        ("PYTORCH.save_state_output", "fitsnap_nn.lock", "also the name of a file of every fit"),
        ("OUTFILE.potential", "a b", "LAMMPS cannot read files named 'a b'"),
        ("OUTFILE.potential", "a$x", "LAMMPS cannot read files named 'a$x'"),
        ("OUTFILE.potential", "ü", "LAMMPS cannot read files named 'ü'"),
        ("OUTFILE.folder", "data", "data is in the folder of the data, data"),
        ("OUTFILE.folder", "data/Volume_BCC/x", "is in the folder of the data, data/Volume_BCC"),
        ("OUTFILE.folder", "link", "link is in the folder of the data, data"),
        ("OUTFILE.folder", "small.in", "small.in cannot be a folder"),
        ("MEMORY.cache", "data/Volume_BCC", "is in the folder of the data, data/Volume_BCC"),
        ("PYTORCH.start_from", "fit/FitTorch_Pytorch.pt", "is read by the fit and would be replaced by it"),
    ],
)
def test_outputs_that_are_impossible_are_found_by_the_check_of_the_input(
    place: Path, key: str, value: str, message: str
):
    Path("link").symlink_to("data")
    section, _, name = key.partition(".")
    with pytest.raises(InputError) as caught:
        load_settings("small.in", [(section, name, value)])
    assert message in str(caught.value)


def test_relative_folders_are_checked_where_they_are(place: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert main(["../small.in", "--relative", "--set", "OUTFILE.folder=data"]) == 2
    assert "is in the folder of the data" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["small.in", "fit/run.log", "fit/pot.mod", "data/Volume_BCC/x", "no/x.log", "data"])
def test_log_destroys_nothing(place: Path, capsys, name: str):
    before = contents(place) | contents(place / "fit")
    assert main(["small.in", "--overwrite", "--log", name]) == 2
    assert f"--log {name} " in capsys.readouterr().err
    assert contents(place) | contents(place / "fit") == before


def test_a_log_is_continued(place: Path):
    for _ in range(2):
        assert main(["small.in", "--resume", "--no-verify", "--log", "fit.log"]) == 0
    assert Path("fit.log").read_text(encoding="utf-8").count("fitsnap_nn 0.") == 2


def test_a_refused_run_leaves_a_fit_as_it_was(place: Path):
    before = contents(place / "fit")
    with pytest.raises(CheckpointError, match="learning_rate"):
        fitsnap_nn.fit("small.in", {"PYTORCH.learning_rate": 0.5}, resume=True)
    first = min(Path("data/Volume_BCC").iterdir())
    first.write_text("{")
    for options in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(DataError):
            fit(**options)
    assert contents(place / "fit") == before


def test_a_failure_does_not_block_the_next_run(place: Path):
    shutil.rmtree("fit")
    with pytest.raises(CheckpointError, match="does not exist"):
        fit(resume=True)
    assert not Path("fit").exists()
    failing = patch("fitsnap_nn.training.trainer.Trainer.run", side_effect=DataError("in the first epoch"))
    with failing, pytest.raises(DataError):
        fit()
    assert fit().model_file.exists()


def test_one_run_at_a_time(place: Path):
    before = contents(place / "fit")
    with locked(place / "fit") as remark:
        assert remark == ""
        with pytest.raises(InputError, match=rf"in use by another run: process {os.getpid()} on .* since \d{{4}}-"):
            fit(overwrite=True)
        with pytest.raises(InputError, match="in use by another run"):
            export("fit/FitTorch_Pytorch.pt", "fit", overwrite=True)
        done = mpirun(2, ["-m", "fitsnap_nn", "small.in", "--resume"], place)
        assert done.returncode == 2
        assert "in use by another run" in done.stderr
    assert contents(place / "fit") == before


def test_the_lock_of_a_killed_process_is_recognised(tmp_path: Path):
    script = "import os, signal\nfrom pathlib import Path\nfrom fitsnap_nn.folders import locked\n"
    script += "with locked(Path('.')):\n    os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path) as remark:
        assert "was left locked by process" in remark
    assert not (tmp_path / LOCK).exists()


def test_temporary_files_of_killed_writers_are_removed(place: Path):
    left, foreign = place / "fit" / f".restart.pt.{'a' * 32}", place / "fit" / f".mine.{'a' * 32}"
    left.touch()
    foreign.touch()
    with create_locked(lambda: place / "fit" / f".restart.pt.{'b' * 32}") as written:
        fit(resume=True)
        assert Path(written.name).exists()
    assert not left.exists()
    assert foreign.exists()


@pytest.mark.parametrize("function", ["delivery.write_lammps_files", "delivery.write_reports"])
def test_a_full_disk_after_the_training_loses_nothing(place: Path, capsys, function: str):
    shutil.rmtree("fit")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    failing = patch(f"fitsnap_nn.workflow.{function}", side_effect=full)
    with failing, pytest.raises(OutputError, match="No space left on device"):
        fitsnap_nn.fit("small.in", verify=False)
    printed = capsys.readouterr().out
    assert "the fit is complete, and the model is saved in fit/FitTorch_Pytorch.pt" in printed
    assert "To write them: the same command with --resume" in printed
    model = Path("fit/FitTorch_Pytorch.pt").read_bytes()
    assert model
    result = fit(resume=True)
    assert result.errors
    assert {"errors.md", "pot.mod", "metrics.csv"} <= set(contents(place / "fit"))


def test_a_full_disk_during_the_training_keeps_the_last_epoch(place: Path, capsys):
    shutil.rmtree("fit")
    original, calls = os.fsync, []

    def fsync(number: int) -> None:
        calls.append(os.readlink(f"/proc/self/fd/{number}"))
        if sum("restart.pt" in name for name in calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(number)

    with patch("os.fsync", fsync), pytest.raises(CheckpointError, match=r"restart\.pt: No space .* needed, .* free"):
        fitsnap_nn.fit("small.in", verify=False)
    assert "contains the state after epoch 1" in capsys.readouterr().out
    assert not list(Path("fit").glob(".*"))
    assert len(fit(resume=True).history) == 3


def test_a_failed_write_names_the_file_and_keeps_the_old_one(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    message = r"a\.txt: Disk quota exceeded \(2 kB needed, .* free\)"
    failing = patch("os.fsync", side_effect=OSError(errno.EDQUOT, "Disk quota exceeded"))
    with failing, pytest.raises(OutputError, match=message), one_line_errors(), atomic_write(path) as file:
        file.write(b"x" * 2000)
    assert contents(tmp_path) == {"a.txt": b"old"}


def test_a_group_table_without_training_data_is_refused(place: Path):
    overrides = {f"GROUPS.{name}": "0 2 10 1 1e-8" for name in ("Volume_BCC", "Displaced_BCC")}
    triples = [("GROUPS", name.partition(".")[2], text) for name, text in overrides.items()]
    with pytest.raises(DataError, match=r"no configuration is in the training set: .* Increase \[GROUPS\] training_"):
        check(load_settings("small.in", triples))
    with pytest.raises(DataError, match="no configuration is in the training set"):
        fitsnap_nn.fit("small.in", overrides, overwrite=True)


def test_a_terminal_without_utf_8_gets_ascii(tmp_path: Path):
    raw = io.BytesIO()
    with Console(io.TextIOWrapper(raw, encoding="ascii"), tmp_path / "run.log") as console:
        console.line("1 rank · 3 meV/Å² └── π \udcfc 中")
        assert raw.getvalue() == b"1 rank - 3 meV/A2 `-- pi ? ?\n"
    assert (tmp_path / "run.log").read_text(encoding="utf-8") == "1 rank · 3 meV/Å² └── π \\udcfc 中\n"


def test_other_commands_replace_files_of_their_own_only(place: Path, capsys):
    model = "fit/FitTorch_Pytorch.pt"
    Path("lammps").mkdir()
    Path("lammps/pot.mod").write_text("precious")
    assert main(["export", model, "lammps", "--overwrite"]) == 2
    assert contents(Path("lammps")) == {"pot.mod": b"precious"}
    Path("lammps/pot.mod").unlink()
    assert [main(["export", model, "lammps", *flag]) for flag in ([], [], ["--overwrite"])] == [0, 2, 0]
    Path("fit/test").mkdir()
    Path("fit/test/errors.md").write_text("precious")
    assert main(["test", "small.in", "--overwrite"]) == 2
    Path("fit/test/errors.md").unlink()
    data = next(Path("data/Volume_BCC").iterdir())
    before = data.read_bytes()
    for output in (data, Path("small.in"), Path(model)):
        assert main(["test", "small.in", "-o", str(output), "--overwrite"]) == 2
    Path("notes.xyz").write_text("precious")
    assert main(["test", model, str(data), "-o", "notes.xyz", "--overwrite"]) == 2
    assert (data.read_bytes(), Path("notes.xyz").read_text()) == (before, "precious")
    assert main(["new", "no/new.in", "--data", "data"]) == 2
    assert "there is no folder no" in capsys.readouterr().err
