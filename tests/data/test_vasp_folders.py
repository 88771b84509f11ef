"""Folders of VASP files: OUTCARs beside a vasprun.xml, unusable files, links, and groups without any label."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from vasp_text import Step, assert_step, outcar, remarks, steps, vasprun, write

from fitsnap_nn.data.files import list_files, read_files
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.groups import assemble
from fitsnap_nn.errors import DataError
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.settings.schema import Bispectrum, GroupRow, Groups, PathSection, Scraper, Settings


def settings_of(folder: Path, elements: str = "Ta O", **groups: object) -> Settings:
    row = GroupRow("g", 1.0, 0, 1.0, 1.0, 1.0, "in:1", None)
    return Settings(
        bispectrum=Bispectrum(type=tuple(elements.split())),
        scraper=Scraper(scraper="VASP"),
        path=PathSection(data_path=str(folder)),
        groups=Groups(rows=(row,), **groups),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("other", [steps(2, seed=5), steps(2, "Ta3"), steps(1, "Ta4O")])
def test_outcar_beside_a_vasprun_of_another_run(tmp_path: Path, other: list[Step]) -> None:
    made = steps(2)
    write(tmp_path / "g/run/vasprun.xml", vasprun(made))
    write(tmp_path / "g/run/OUTCAR", outcar(other))
    settings, findings = settings_of(tmp_path), []
    configurations = read_files(settings, list_files(settings), findings)
    ids = [f"g/run/vasprun.xml#{k}" for k in range(2)]
    ids += [f"g/run/OUTCAR#{k}" for k in range(2)] if len(other) > 1 else ["g/run/OUTCAR"]
    assert [one.id for one in configurations] == ids
    for configuration, step in zip(configurations, made + other, strict=True):
        assert_step(configuration, step)
    assert "g/run/OUTCAR: is not the run of the vasprun.xml" in remarks(findings, warning=True)


def test_outcar_of_the_same_run_is_not_read_twice(tmp_path: Path) -> None:
    made = steps(3)
    moved = [replace(step, atoms=step.atoms.copy()) for step in made]
    moved[0].atoms.positions[1] += moved[0].atoms.cell.array[2]  # another periodic image
    for affix in ("", ".relax1", ".relax2.gz"):
        # Names with a suffix pair up; without one, the compression does not matter.
        for name, text in (("vasprun.xml", vasprun(made)), ("OUTCAR", outcar(moved))):
            path = write(tmp_path / f"g/run/{name}{affix}", text)
            if affix.endswith("gz"):
                path.write_bytes(gzip.compress(text.encode()))
    settings, findings = settings_of(tmp_path), []
    configurations = read_files(settings, list_files(settings), findings)
    assert len(configurations) == 9
    assert all("vasprun" in one.id for one in configurations)
    assert remarks(findings).count("is the same run") == 3
    assert not remarks(findings, warning=True)
    write(tmp_path / "g/run/vasprun.xml", vasprun(made[:1], end=False))
    read_files(settings, list_files(settings), findings)
    assert "has 3 finished steps, but the vasprun.xml beside it" in remarks(findings, warning=True)


def test_unusable_outcar_beside_a_vasprun(tmp_path: Path) -> None:
    made = steps(1)
    write(tmp_path / "g/vasprun.xml", vasprun(made))
    settings = settings_of(tmp_path)
    for text, remark in (("nothing", "is not read"), (outcar(made, end=False)[:2000], "no ionic step was finished")):
        write(tmp_path / "g/OUTCAR", text)
        findings: list[Finding] = []
        (configuration,) = read_files(settings, list_files(settings), findings)
        assert_step(configuration, made[0])
        assert remark in remarks(findings)


def test_several_outcars_and_links_to_folders(tmp_path: Path) -> None:
    made = steps(2)
    for folder, name in (("g/a", "OUTCAR.1"), ("g/a", "OUTCAR.2"), ("elsewhere/deep", "OUTCAR")):
        write(tmp_path / folder / name, outcar(made))
    (tmp_path / "g/link").symlink_to(tmp_path / "elsewhere")
    settings = settings_of(tmp_path)
    (tmp_path / "g/a/loop").symlink_to(tmp_path / "g")
    ids = [one.id for one in list_files(settings)]
    assert ids == ["g/a/OUTCAR.1", "g/a/OUTCAR.2", "g/link/deep/OUTCAR"]


def test_all_unusable_files_are_named(tmp_path: Path) -> None:
    write(tmp_path / "g/1/OUTCAR", "nothing of the kind")
    write(tmp_path / "g/2/OUTCAR", outcar(steps(1)))
    write(tmp_path / "g/3/vasprun.xml", "<modeling><generator></modelling>")
    settings = settings_of(tmp_path)
    with pytest.raises(DataError, match=r"g/1/OUTCAR: .*not an OUTCAR(.|\n)*g/3/vasprun\.xml: .*not a vasprun\.xml"):
        read_files(settings, list_files(settings), [])


def test_a_group_without_converged_steps_says_so(tmp_path: Path) -> None:
    made = [replace(step, iterations=60) for step in steps(2)]
    write(tmp_path / "g/OUTCAR", outcar(made))
    settings, findings = settings_of(tmp_path), []
    with pytest.raises(DataError, match=r"no data for this row(.|\n)*g/OUTCAR#0, g/OUTCAR#1: .*did not converge"):
        assemble(settings, read_files(settings, list_files(settings), findings), 1, findings)
    kept = settings_of(tmp_path, vasp_keep_unconverged="UNCONVERGED")
    assert [one.id for one in read_files(kept, list_files(kept), [])] == [
        "g/OUTCAR#0_UNCONVERGED",
        "g/OUTCAR#1_UNCONVERGED",
    ]


def test_the_scraper_ase_leaves_out_what_the_scraper_vasp_does(tmp_path: Path) -> None:
    made = steps(2)
    made[0].iterations = 60
    write(tmp_path / "g/OUTCAR", outcar(made))
    write(tmp_path / "g/vasprun.xml", vasprun(made))
    settings, findings = settings_of(tmp_path), []
    settings = replace(settings, scraper=Scraper(scraper="ASE"))
    (configuration,) = read_files(settings, list_files(settings), findings)
    assert configuration.id == "g/vasprun.xml#1"
    assert_step(configuration, made[1])
    assert "did not converge" in remarks(findings)
    # ASE reads labels that the reader of VASP files does not.
    gap = PropertyRow("gap", "configuration", "scalar", "gap", unit="eV", weight=1.0)
    settings = replace(settings, targets=(gap,))
    assert len(read_files(settings, list_files(settings), findings)) == 2
    assert "does not check convergence" in remarks(findings, warning=True)
