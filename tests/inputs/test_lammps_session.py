"""The LAMMPS that is kept: finding its library, errors in its own words, a usable session after them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clusters import make_configuration
from processes import mpirun, run

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.lammps.cell import to_lammps
from fitsnap_nn.lammps.session import SCALAR, Session

DIMER = make_configuration(np.eye(3) * 9.0, [[0.1, 0.1, 0.1], [0.1, 0.1, 0.4]], ("Ta", "Ta"), name="pair/2.7")
LENNARD_JONES = ("pair_style lj/cut 4.0", "pair_coeff 1 1 0.5 2.0")
ENERGY = 4 * 0.5 * ((2.0 / 2.7) ** 12 - (2.0 / 2.7) ** 6)


def energy(session: Session) -> float:
    session.load(DIMER, to_lammps(DIMER))
    session.run()
    return float(session.global_compute("thermo_pe", SCALAR))


def test_an_error_names_configuration_and_command_and_the_next_load_starts_anew():
    with Session(("Ta",), LENNARD_JONES) as session:
        assert energy(session) == pytest.approx(ENERGY, rel=1e-12)
        with pytest.raises(
            LammpsError, match=r"pair/2\.7: LAMMPS stopped at `pair_style nonsense`:\n *ERROR: .*nonsense"
        ):
            session.command("pair_style nonsense")
        with pytest.raises(LammpsError, match="no configuration is loaded"):
            session.run()
        assert energy(session) == pytest.approx(ENERGY, rel=1e-12)


def test_an_error_in_the_setup_is_told_each_time():
    session = Session(("Ta",), ("pair_style eam/alloy", "pair_coeff * * Missing.eam.alloy Ta"))
    for _ in range(2):
        with pytest.raises(
            LammpsError, match=r"(?s)pair/2\.7.*pair_coeff.*cannot open eam/alloy potential file Missing"
        ):
            session.load(DIMER, to_lammps(DIMER))


SCRIPT = """
import os
from pathlib import Path
import numpy as np
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.lammps.cell import to_lammps
from fitsnap_nn.lammps.session import SCALAR, Session
dimer = Configuration("a", "a", ("Ta", "Ta"), np.array([[0, 0, 0], [0, 0, 2.7]]), np.eye(3) * 9.0)
with Session(("Ta",), ("pair_style lj/cut 4.0", "pair_coeff 1 1 0.5 2.0")) as session:
    session.load(dimer, to_lammps(dimer))
    session.run()
    Path(f"{os.getpid()}.energy").write_text(str(session.global_compute("thermo_pe", SCALAR)))
"""


def energies(done: subprocess.CompletedProcess[str], folder: Path) -> list[float]:
    """Energies that the processes of a command wrote."""
    assert done.returncode == 0, done.stderr
    return [float(path.read_text()) for path in folder.glob("*.energy")]


def test_the_library_is_found_in_a_fresh_interpreter(tmp_path):
    assert energies(run([sys.executable, "-c", SCRIPT], tmp_path), tmp_path) == pytest.approx([ENERGY], rel=1e-12)


def test_each_rank_has_a_lammps_of_its_own(tmp_path):
    (tmp_path / "ranks.py").write_text(SCRIPT)
    assert energies(mpirun(3, ["ranks.py"], tmp_path), tmp_path) == pytest.approx([ENERGY] * 3, rel=1e-12)
