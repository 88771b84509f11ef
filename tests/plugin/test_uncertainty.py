"""Uncertainty of forces in LAMMPS: the same as in Python, on two ranks too, and what happens above the threshold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pytest
import torch
from decks import write_deck
from processes import mpirun
from random_potentials import crystal

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.export.formats import on_graphs
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.inputs.ace.input import AceInput
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.models import BPNN, Model, build_model
from fitsnap_nn.models.descriptor_network import DescriptorNetwork
from fitsnap_nn.models.mixed_committee import MixedCommittee
from fitsnap_nn.models.pair_network import PairNetwork
from fitsnap_nn.models.soap_bpnn import SoapBpnn
from fitsnap_nn.models.uncertainty import COMMITTEE, LAST_LAYER, Uncertainty
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.schema import Bispectrum, Reference

if TYPE_CHECKING:
    from lammps import lammps

ELEMENTS = ("In", "P")
SNAP = Bispectrum(num_types=2, type=ELEMENTS, twojmax=(4,), rcutfac=4.5, radelem=(0.5, 0.4), wj=(1.0, 0.9))
REFERENCE = Reference(pair_style="zbl 1.0 2.0", pair_coeff=("1 1 49 49", "1 2 49 15", "2 2 15 15"))
NAMES = (
    "BPNN",
    "quadratic",
    "committee",
    "ACE",
    "ACE committee",
    "ACE linear",
    "CUSTOM",
    "SOAP_BPNN",
    "MACE",
    "MACE committee",
    "NANOPET",
    "on lists",
    "committee on lists",
    "mixed committee",
    "on graphs",
    "committee on graphs",
)


def model_of(name: str) -> Model[Any]:
    torch.manual_seed(4)
    model: Model[Any]
    if name == "SOAP_BPNN":
        model = SoapBpnn(ELEMENTS, max_angular=2, max_radial=2, cutoff_radius=4.0, num_neurons_per_layer=6)
    elif name.startswith("MACE"):
        options = {"r_max": 4.0, "hidden_irreps": "4x0e + 4x1o", "correlation": 2, "max_ell": 2, "num_radial_basis": 4}
        members = 3 if name.endswith("committee") else 1
        model = build_model({"architecture": "MACE", "elements": ELEMENTS, **options, "committee": members})
    elif name == "mixed committee":
        ace = DescriptorNetwork.of(model_of("ACE"))  # type: ignore[arg-type]  # a BPNN
        model = MixedCommittee(
            [ace, model_of("MACE"), PairNetwork(ELEMENTS, cutoff=3.8, layer_sizes=("num_desc", "1"))],
            weights=(0.5, 0.3, 0.2),
        )
    elif name == "CUSTOM":
        model = PairNetwork(ELEMENTS, cutoff=4.0, layer_sizes=("num_desc", "4", "1"))
    elif name == "NANOPET" or name.endswith("on lists"):
        options = {"long_range": True, "smearing": 1.0} if name.endswith("on lists") else {}
        network = {"architecture": "NANOPET", "elements": ELEMENTS, "d_pet": 8, "num_heads": 2, "num_gnn_layers": 2}
        model = build_model({**network, "cutoff": 4.0, **options, "committee": 2 if "committee" in name else 1})
    elif name.startswith("ACE"):
        ace = Ace(num_types=2, type=ELEMENTS, ranks=(1, 2), nmax=(2, 1), lmax=(0, 1), nmaxbase=2, rcutfac=(4.0,))
        hidden = () if name == "ACE linear" else (5, 4)
        model = BPNN(AceInput(ace), hidden, "softplus", 2, committee=1 if name == "ACE" else 3)
    else:
        snap = Bispectrum(**{**vars(SNAP), "twojmax": (2,), "quadraticflag": True}) if name == "quadratic" else SNAP
        model = BPNN(SnapInput(snap), (5,), "softplus", 2, committee=3 if name.startswith("committee") else 1)
    model.energy_scale.fill_(2.0)
    model.set_precision(torch.float64)
    return model.eval()


def uncertainty_of(model: Model[Any], threshold: float = 1e-6, action: str = "warn") -> Uncertainty:
    if len(model.members()) > 1:
        return Uncertainty(COMMITTEE, 1.5, 1.0, threshold, torch.zeros(0, 0, dtype=torch.float64), action)
    size = sum(tensor.numel() for tensor in model.last_layer_parameters())
    displacements = 0.2 * torch.randn(3, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Uncertainty(LAST_LAYER, 1.0, 1.0, threshold, displacements, action)


def structure() -> Configuration:
    return crystal(ELEMENTS, 1)


def exported(folder: Path, name: str, **options: Any) -> tuple[LammpsFiles, np.ndarray]:
    """Export a model; return its files, and the uncertainty of the structure in Python."""
    model = model_of(name)
    uncertainty = uncertainty_of(model, **options)
    written, of_written = on_graphs(model, uncertainty) if name.endswith("on graphs") else (model, uncertainty)  # type: ignore[arg-type]  # BPNN
    files = write_lammps_files(written, REFERENCE, folder, "pot", structure=structure(), uncertainty=of_written)
    found = Potential(model, REFERENCE, uncertainty=uncertainty).predict(structure(), outputs=["forces_std"])
    return files, found.spread["forces"]


def commands(files: LammpsFiles, *more: str, **variables: object) -> list[str]:
    """Commands of a new run, with other values of the variables of the included file; LAMMPS keeps those it has."""
    folder = files.folder
    chosen = {"uncertainty_file": f"{folder}/uncertain.dump", **variables}
    names = ("on_uncertainty", "uncertainty_every", "uncertainty_frames", "uncertainty_file")
    before = [f"variable {name} delete" for name in names]
    before += [f"variable {name} index {value}" for name, value in chosen.items()]
    before += ["clear", "units metal", "atom_style atomic", f"read_data {folder}/md.data"]
    watch = [f"include {folder}/pot.mod", f"include {folder}/pot.uncertainty.mod"]
    return [*before, *watch, "fix move all nve", *more]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_as_in_python(lammps_here: lammps, tmp_path: Path, name: str, request: pytest.FixtureRequest) -> None:
    if name in (library := {"SOAP_BPNN": "spex", "MACE": "mace", "MACE committee": "mace", "mixed committee": "mace"}):
        request.getfixturevalue(library[name])
    files, expected = exported(tmp_path, name)
    lammps_here.commands_list(commands(files, "fix again all pair 1 mliap uncertainty 0", "run 0"))
    order = np.argsort(lammps_here.numpy.extract_atom("id")[: len(expected)])
    for fix in ("uncertainty", "again"):
        found = np.array(lammps_here.numpy.extract_fix(fix, 1, 1)[: len(expected)])[order]
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)
    assert lammps_here.extract_fix("uncertainty", 0, 1, 0) == pytest.approx(expected.max(), rel=1e-8)
    assert lammps_here.extract_fix("uncertainty", 0, 1, 1) == expected.argmax() + 1
    assert expected.min() > 1e-4


def test_ranks_frames_and_the_end_of_a_run(tmp_path: Path, plugin_environment: None) -> None:
    """Two ranks: a local and a message-passing model dump what one rank of Python computes; then a run is stopped."""
    script, expected = [], []
    for name in ("BPNN", "NANOPET"):
        folder = tmp_path / name
        folder.mkdir()
        files, values = exported(folder, name, action="dump")
        expected.append(values)
        variables = {"uncertainty_every": 1, "uncertainty_frames": 3, "uncertainty_file": f"{name}.dump"}
        script += commands(files, "velocity all create 300 1", "run 2", "run 3", **variables)
    stop = ["undump uncertainty", "unfix uncertainty", "fix uncertainty all mliap/uncertainty 2 1e-6 stop", "run 9"]
    done = mpirun(2, ["-m", "fitsnap_nn", "lmp", "-in", str(write_deck(tmp_path / "in", [*script, *stop]))], tmp_path)
    assert done.returncode != 0
    assert "Run stopped at step 6: the uncertainty of the force on atom" in done.stdout + done.stderr
    assert done.stdout.count("is above 1e-06 eV/A: outside the domain of the training set") == 2 * 6
    for name, values in zip(("BPNN", "NANOPET"), expected, strict=True):
        frames = ase.io.read(tmp_path / f"{name}.dump", ":", format="lammps-dump-text")
        assert len(frames) == 3  # uncertainty_frames
        np.testing.assert_allclose(frames[0].arrays["f_uncertainty"].ravel(), values, rtol=1e-6)
        assert tuple(frames[0].get_chemical_symbols()) == structure().species


def test_below_the_threshold_nothing_is_said(lammps_here: lammps, tmp_path: Path) -> None:
    files, expected = exported(tmp_path, "BPNN", threshold=20.0, action="stop")
    assert expected.max() < 10.0
    lammps_here.commands_list([f"log {tmp_path}/log", *commands(files, "run 2", uncertainty_every=1)])
    lammps_here.command("log none")
    text = (tmp_path / "log").read_text()
    assert "above 20 eV/A in 0 of 3 evaluations" in text
    assert "WARNING: Step" not in text


def test_what_is_not_a_number_is_above_every_threshold(lammps_here: lammps, tmp_path: Path) -> None:
    model = model_of("BPNN")
    known = uncertainty_of(model, threshold=1e3)
    unknown = replace(known, displacements=known.displacements * np.nan)
    files = write_lammps_files(model, REFERENCE, tmp_path, "pot", structure=structure(), uncertainty=unknown)
    lammps_here.commands_list([*commands(files), "run 0"])
    assert lammps_here.extract_fix("uncertainty", 0, 1, 0) == np.inf


REFUSED = {
    "fix u all mliap/uncertainty 10 0.5": "Usage: fix ID group mliap/uncertainty N THRESHOLD warn|dump|stop",
    "fix u all mliap/uncertainty 10 0 warn": "the number of steps and the threshold must be above 0",
}


def test_what_is_refused(lammps_here: lammps, tmp_path: Path) -> None:
    files, _ = exported(tmp_path, "BPNN")
    lammps_here.commands_list(commands(files))
    for command, message in REFUSED.items():
        with pytest.raises(Exception, match=message.replace("|", r"\|")):
            lammps_here.command(command)
    plain = write_lammps_files(model_of("BPNN"), REFERENCE, tmp_path, "pot", structure=structure())
    assert plain.uncertainty is None
    assert not files.uncertainty.exists()  # of the earlier export
    script = ["clear", "units metal", f"read_data {tmp_path}/md.data", f"include {tmp_path}/pot.mod"]
    lammps_here.commands_list([*script, "fix u all mliap/uncertainty 1 0.5 warn", "fix move all nve"])
    with pytest.raises(Exception, match="has no uncertainty of forces: repeat its fit"):
        lammps_here.command("run 0")
