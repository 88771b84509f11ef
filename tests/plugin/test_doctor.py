"""Reports of ``doctor`` and ``plugin-dir`` for a LAMMPS that loads the plugin and for one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitsnap_nn import plugin as lammps_plugin
from fitsnap_nn.cli import main
from fitsnap_nn.lammps import doctor
from fitsnap_nn.plugin import build, installed_abi, plugin_dir


def lines(text: str) -> dict[str, str]:
    return {line.split()[0]: line.partition(line.split()[0])[2].strip() for line in text.splitlines()}


def test_plugin_that_loads(plugin_environment):
    report = lines(doctor.report())
    assert report["plugin"] == str(plugin_dir())
    assert str(installed_abi()) in report["built"]
    assert report["loads"] == "yes: pair_style mliap runs models in Python"
    assert report["compiler"]


def test_lammps_that_refuses_it(native_lammps):
    report = lines(doctor.report([*native_lammps, "lmp"]))
    assert report["loads"].startswith("no: it was built for LAMMPS 20250722, this is LAMMPS 20250204.")


def test_plugin_that_is_not_there(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(lammps_plugin, "plugin_folders", lambda abi: (tmp_path, tmp_path / "cache"))
    monkeypatch.setenv("CXX", "/nowhere/g++")
    report = lines(doctor.report())
    assert report["plugin"].startswith("no: the LAMMPS plugin has not been built. Build it with: python -m fitsnap_nn")
    assert report["compiler"] == "none: the LAMMPS plugin cannot be built"
    assert main(["plugin-dir"]) == 4
    assert "error: the LAMMPS plugin has not been built." in capsys.readouterr().err


def test_plugin_dir_is_printed_alone(capsys):
    assert main(["plugin-dir"]) == 0
    assert capsys.readouterr().out == f"{plugin_dir()}\n"


def test_rebuild(monkeypatch, capsys):
    monkeypatch.setattr(build, "rebuild", lambda: Path("/a/folder"))
    monkeypatch.setattr(doctor, "report", lambda: "all well")
    assert main(["doctor", "--rebuild"]) == 0
    assert capsys.readouterr().out == "LAMMPS plugin built in /a/folder\nall well\n"


def test_rebuild_that_fails(monkeypatch, capsys):
    monkeypatch.setenv("CXX", "/nowhere/g++")
    assert main(["doctor", "--rebuild"]) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: the LAMMPS plugin cannot be built without a C++ compiler")


@pytest.mark.parametrize("status", [0, 3])
def test_lmp_hands_all_arguments_on(monkeypatch, status):
    from fitsnap_nn.plugin import lmp

    heard = []
    monkeypatch.setattr(lmp, "run_lammps", lambda arguments: heard.append(arguments) or status)
    with pytest.raises(SystemExit) as leaving:
        main(["lmp", "-in", "x", "-v", "a", "1", "-h"])
    assert leaving.value.code == status
    assert heard == [["-in", "x", "-v", "a", "1", "-h"]]
