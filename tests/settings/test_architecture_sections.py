"""Architectures of other packages: imported only if an input uses them, named in an error if they are broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fitsnap_nn.settings.architectures import ArchitectureError, architecture_names, load_architecture

ROOT = Path(__file__).resolve().parents[2]
ENTRY_POINTS = """\
[fitsnap_nn.architectures]
BROKEN = broken_net:Section
WRONG = wrong_net:Section
GOOD = good_net:Section
MACE = broken_net:Section
"""
GOOD = """\
from dataclasses import dataclass
from fitsnap_nn.settings.architectures import Architecture
from fitsnap_nn.settings.options import option

@dataclass(frozen=True)
class Section(Architecture):
    '''A network.'''

    width: int = option(6, "nodes of the hidden layer", minimum=1)
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder like site-packages, with a package that cannot be imported, a wrong one and a good one."""
    info = tmp_path / "packages" / "nets-2.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nets\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (info.parent / "broken_net.py").write_text("import no_such_library\n")
    (info.parent / "wrong_net.py").write_text("Section = 7\n")
    (info.parent / "good_net.py").write_text(GOOD)
    return info.parent


def command(packages: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a new process, in which these packages are installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])}
    line = [sys.executable, "-m", "fitsnap_nn", *arguments]
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


def load(packages: Path, path: Path, *overrides: tuple[str, str, str]) -> subprocess.CompletedProcess[str]:
    """Load an input in a new process, then print the notices, the section GOOD and what was imported."""
    script = (
        "import sys; from fitsnap_nn.settings import load_settings, as_dict, from_dict, differences\n"
        f"settings = load_settings({str(path)!r}, {list(overrides)!r})\n"
        "stored = from_dict(as_dict(settings))\n"
        "assert stored == settings and differences(settings, stored) == []\n"
        "print(settings.notices, settings.architectures.get('GOOD'))\n"
        "print(*sorted({'broken_net', 'wrong_net', 'good_net'} & sys.modules.keys()))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])}
    line = [sys.executable, "-c", script]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_broken_package_does_not_stop_the_command_line(packages, write_input, tmp_path):
    version = command(packages, "--version", cwd=tmp_path)
    assert (version.returncode, version.stderr) == (0, "")
    done = load(packages, write_input())
    assert done.stdout.splitlines() == ["() None", ""], done.stderr


def test_a_broken_package_is_named_when_its_model_is_chosen(packages, write_input, tmp_path):
    path = write_input()
    done = command(packages, "check", path.name, "--set", "PYTORCH.model=BROKEN", cwd=tmp_path)
    assert done.returncode == 2
    assert (
        "command line  [PYTORCH] model — BROKEN cannot be loaded: entry point broken_net:Section of package nets 2.5 "
        "raises ModuleNotFoundError: No module named 'no_such_library'. Repair or reinstall that package."
    ) in done.stderr
    wrong = command(packages, "check", path.name, "--set", "PYTORCH.model=WRONG", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "entry point wrong_net:Section of package nets 2.5 is not a dataclass derived from" in wrong.stderr


def test_a_section_of_a_broken_package_is_noted_when_another_model_is_chosen(packages, write_input):
    done = load(packages, write_input(("[PATH]", "[BROKEN]\nwidth = 3\n[PATH]")))
    assert "[BROKEN] is not checked: BROKEN cannot be loaded" in done.stdout, done.stderr


def test_a_good_package_is_used_and_checked(packages, write_input, tmp_path):
    path = write_input(("[PATH]", "[GOOD]\nwidth = 3\n[PATH]"))
    done = load(packages, path)
    notice = "Without effect with [PYTORCH] model = BPNN: section [GOOD]."
    assert done.stdout.splitlines() == [f"('{notice}',) Section(width=3)", "good_net"], done.stderr
    chosen = ("PYTORCH", "model", "GOOD"), ("CALCULATOR", "calculator", "LAMMPSGRAPH")
    without_snap = write_input(("numTypes = 2\ntwojmax = 6\n", ""), ("wj = 1.0 0.9", ""))
    assert load(packages, without_snap, *chosen).stdout.splitlines() == ["() Section(width=6)", "good_net"]
    wrong = command(packages, "check", path.name, "--set", "GOOD.widht=3", cwd=tmp_path)
    assert "command line  [GOOD] widht — unknown key. Did you mean width?" in wrong.stderr


def test_built_in_architectures_are_not_replaced(packages, write_input):
    assert load(
        packages, write_input(), ("PYTORCH", "model", "MACE"), ("CALCULATOR", "calculator", "LAMMPSGRAPH")
    ).stdout


def test_unknown_names_have_no_section():
    assert "NO_SUCH_MODEL" not in architecture_names()
    with pytest.raises(KeyError):
        load_architecture("NO_SUCH_MODEL")
    assert not issubclass(ArchitectureError, KeyError)
