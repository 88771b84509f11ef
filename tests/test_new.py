"""The command ``new``: inputs derived from data of several formats, and what it says about them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from fitsnap_nn.cli import main
from fitsnap_nn.data.configuration import Subset
from fitsnap_nn.data.proposal import _row
from fitsnap_nn.data.proposed_training import choose_steps
from fitsnap_nn.data.weighting import choose_huber_deltas, choose_sizes
from fitsnap_nn.settings import Settings, load_settings


def labelled(atoms: Atoms, energy: float | None = None) -> Atoms:
    """Return the atoms with labels of the EMT potential."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    periodic = bool(atoms.pbc.all())
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    if periodic:
        results["stress"] = atoms.get_stress()
    if energy is not None:
        results["energy"] = energy
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def crystals(count: int, symbol: str = "Cu") -> list[Atoms]:
    """Return cells of four atoms, displaced at random."""
    frames = []
    for seed in range(count):
        atoms = bulk(symbol, "fcc", a=3.6, cubic=True)
        atoms.rattle(0.05, seed=seed)
        frames.append(labelled(atoms))
    return frames


def write_json(path: Path, atoms: Atoms) -> None:
    """Write a configuration in FitSNAP's format."""
    frame = {
        "Positions": atoms.positions.tolist(),
        "Lattice": atoms.cell.tolist(),
        "AtomTypes": atoms.get_chemical_symbols(),
        "NumAtoms": len(atoms),
        "Energy": atoms.get_potential_energy(),
        "Forces": atoms.get_forces().tolist(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# comment\n" + json.dumps({"Dataset": {"Data": [frame]}}))


def new(tmp_path: Path, data: str, *options: str) -> tuple[Settings, str]:
    """Write an input for data, and return its settings and its text."""
    path = tmp_path / "inputs" / f"{len(list(tmp_path.glob('inputs/*')))}.in"
    path.parent.mkdir(exist_ok=True)
    assert main(["new", str(path), "--data", str(tmp_path / data), *options]) == 0
    assert main(["check", str(path)]) == 0
    settings = load_settings(path)
    assert settings.notices == ()
    return settings, path.read_text()


def test_a_folder_of_json_groups(tmp_path, capsys):
    for number, atoms in enumerate(crystals(20)):
        write_json(tmp_path / "JSON" / "Displaced" / f"{number}.json", atoms)
    write_json(tmp_path / "JSON" / "Bulk" / "1.json", crystals(1)[0])
    (tmp_path / "JSON" / "README").write_text("no data")
    (tmp_path / "JSON" / "Bulk" / "list.json").write_text("[]")
    path = tmp_path / "Cu.in"
    assert main(["new", str(path), "--data", str(tmp_path / "JSON")]) == 0
    printed = capsys.readouterr().out
    assert "Data: 21 configurations, 84 atoms, 2 groups in 22 files of format JSON" in printed
    assert "README: not a data file of a known format" in printed
    assert "list.json" in printed
    settings = load_settings(path)
    assert settings.elements == ("Cu",)
    assert (settings.calculator.energy, settings.calculator.force, settings.calculator.stress) == (True, True, False)
    rows = {row.name: row for row in settings.groups.rows}
    assert (rows["Displaced"].training_size, rows["Displaced"].test_size) == (0.8, 0.1)
    assert (rows["Bulk"].training_size, rows["Bulk"].testing_size) == (1, 0)
    assert rows["Displaced"].vweight == 0.0
    # fcc, a = 3.6 Å: 18 neighbours up to 3.60 Å, 42 up to 4.41 Å.
    assert 3.60 < settings.bispectrum.rcutfac < 4.41
    assert settings.path.data_path == "JSON"


@pytest.mark.parametrize("count", [*range(1, 60), 346, 501, 1897, 12345])
def test_fractions_give_back_the_numbers(count):
    sizes = choose_sizes(count, Subset.TRAINING, has_validation=False, has_test=False)
    fractions = [float(word) for word in _row(sizes, (), count).split()]
    assert sum(fractions) <= 1.0 + 1e-12
    assert [int(size * count + 0.5) for size in fractions] == [round(size * count) for size in sizes]


def test_names_of_files_choose_the_sets(tmp_path, capsys):
    folder = tmp_path / "xyz"
    folder.mkdir()
    for name in ("train", "valid", "test_300K", "latest"):
        write(folder / f"{name}.xyz", crystals(6))
    settings, _ = new(tmp_path, "xyz")
    sizes = {row.name: (row.training_size, row.testing_size, row.test_size) for row in settings.groups.rows}
    assert sizes == {"train": (1, 0, 0), "latest": (1, 0, 0), "valid": (0, 1, 0), "test_300K": (0, 0, 1)}
    printed = capsys.readouterr().out
    assert "24 configurations" in printed
    assert "6 validation, 6 test" in printed.split("ok (")[1]


def test_molecules_have_no_stress_and_no_repulsion_in_their_bonds(tmp_path):
    frames = []
    for seed in range(10):
        atoms = molecule("CH3CH2OH", cell=[20, 20, 20])
        atoms.rattle(0.02, seed=seed)
        frames.append(labelled(atoms))
    energies = {"C": -1027.0, "H": -13.6, "O": -2040.0}
    alone = [labelled(Atoms(symbol), energy=energy) for symbol, energy in energies.items()]
    write(tmp_path / "all.xyz", [*frames, *alone])
    shortest = min(atoms.get_all_distances()[np.triu_indices(9, 1)].min() for atoms in frames)
    for model in ("BPNN", "SOAP_BPNN"):
        settings, text = new(tmp_path, "all.xyz", "--model", model)
        assert settings.elements == ("C", "H", "O")
        assert not settings.calculator.stress
        words = settings.reference.pair_style.split()
        radii = [float(words[k + 2]) for k, word in enumerate(words) if word == "zbl"]
        assert min(radii) < shortest
        # The isolated atoms are in one group with the others, so that their energies are written.
        assert settings.pytorch.given_energies == (energies if model == "BPNN" else {})
        assert model != "BPNN" or settings.bispectrum.wj == (0.75, 0.5, 1.0)
        assert not any("do not distinguish" in notice for notice in settings.notices)
        assert "H-O" in text


def test_frames_of_a_run_are_split_in_blocks(tmp_path, capsys):
    """Most configurations of a group large enough for blocks; independent ones are shuffled one by one."""
    folder = tmp_path / "xyz"
    folder.mkdir()
    independent = crystals(70)
    atoms, run = independent[0], []
    moves = np.random.default_rng(0).normal(scale=0.005, size=(80, 4, 3))
    for move in moves:
        atoms = atoms.copy()
        atoms.positions += move
        run.append(labelled(atoms))
    write(folder / "independent.xyz", independent)
    settings, text = new(tmp_path, "xyz")
    assert settings.groups.sampling_block == 1
    assert "sampling_block" not in text
    write(folder / "run.xyz", run)
    settings, text = new(tmp_path, "xyz")
    assert settings.groups.sampling_block == 10
    assert "consecutive configurations of run are similar" in " ".join(text.replace("\n#", "").split())
    printed = capsys.readouterr().out
    assert "split in blocks of up to 10 with random_seed = 1" in printed
    assert "group independent (2), group run (2): sampling_block = 10 is reduced" in printed


def test_a_group_of_isolated_atoms_is_for_training(tmp_path):
    folder = tmp_path / "xyz"
    folder.mkdir()
    write(folder / "bulk.xyz", crystals(10))
    write(folder / "atom.xyz", [labelled(Atoms("Cu"), energy=0.5)] * 1)
    settings, _ = new(tmp_path, "xyz", "--model", "NANOPET")
    rows = {row.name: row for row in settings.groups.rows}
    assert (rows["atom"].training_size, rows["atom"].testing_size) == (1, 0)
    assert (rows["atom"].eweight, rows["atom"].fweight, rows["atom"].vweight) == (0, 0, 0)
    assert settings.pytorch.element_energies == ("isolated",)
    assert settings.architectures["NANOPET"].cutoff < 4.5


def test_an_ase_database(tmp_path):
    with connect(tmp_path / "Cu.db") as database:
        for atoms in crystals(8):
            database.write(atoms)
    settings, _ = new(tmp_path, "Cu.db")
    assert settings.scraper.scraper == "ASE"
    (row,) = settings.groups.rows
    assert row.eweight > 0.0
    with connect(tmp_path / "groups.db") as database:
        for number, atoms in enumerate(crystals(12)):
            database.write(atoms, config_type="hot" if number % 2 else "cold", config_weight=0.5)
    settings, _ = new(tmp_path, "groups.db")
    assert sorted(row.name for row in settings.groups.rows) == ["cold", "hot"]
    with connect(tmp_path / "folder.json") as database:
        for atoms in crystals(8):
            database.write(atoms)
    (tmp_path / "data").mkdir()
    (tmp_path / "folder.json").rename(tmp_path / "data" / "more.json")
    (tmp_path / "Cu.db").rename(tmp_path / "data" / "Cu.db")
    settings, _ = new(tmp_path, "data")
    assert [row.name for row in settings.groups.rows] == ["Cu.db", "more.json"]


def test_of_several_formats_the_one_with_most_configurations(tmp_path, capsys):
    write_json(tmp_path / "data" / "Bulk" / "1.json", crystals(1)[0])
    write(tmp_path / "data" / "many.xyz", crystals(7))
    settings, _ = new(tmp_path, "data")
    assert settings.scraper.scraper == "XYZ"
    assert [row.name for row in settings.groups.rows] == ["many"]
    assert "left out: 1 configuration in 1 file of format JSON: an input reads one format." in capsys.readouterr().out


def test_a_folder_with_a_file_for_each_configuration_is_one_group(tmp_path):
    for number, atoms in enumerate(crystals(20)):
        write_json(tmp_path / "runs" / f"{number}.json", atoms)
    settings, _ = new(tmp_path, "runs")
    (row,) = settings.groups.rows
    assert row.name == "runs"
    assert settings.path.data_path == ".."
    assert (row.training_size, row.testing_size, row.test_size) == (0.8, 0.1, 0.1)


def test_an_unreadable_file_is_named(tmp_path, capsys):
    write(tmp_path / "good.xyz", crystals(5))
    (tmp_path / "bad.xyz").write_text("3\nno atoms follow\n")
    assert main(["new", str(tmp_path / "new.in"), "--data", str(tmp_path)]) == 0
    assert re.search(r"the file cannot be read and is left out: \S+bad\.xyz", capsys.readouterr().out)
    assert [row.name for row in load_settings(tmp_path / "new.in").groups.rows] == ["good"]
    assert main(["check", str(tmp_path / "new.in")]) == 0
    (tmp_path / "run").mkdir()
    write(tmp_path / "run" / "a.xyz", crystals(5))
    (tmp_path / "bad.xyz").rename(tmp_path / "run" / "bad.xyz")
    assert main(["new", str(tmp_path / "two.in"), "--data", str(tmp_path)]) == 0
    assert re.search(r"a fit would stop at this file\. .*bad\.xyz", capsys.readouterr().out)
    assert main(["check", str(tmp_path / "two.in")]) == 3


def test_outliers_have_less_weight(tmp_path):
    """A group at +28 eV/atom and 3 TPa does not dominate the loss of the others."""
    folder = tmp_path / "xyz"
    folder.mkdir()
    frames = crystals(30)
    write(folder / "usual.xyz", frames)
    compressed = [labelled(bulk("Cu", "fcc", a=2.0 + 0.1 * k, cubic=True)) for k in range(10)]
    write(folder / "volume.xyz", compressed)
    settings, _ = new(tmp_path, "xyz")
    rows = {row.name: row for row in settings.groups.rows}
    for weight in ("eweight", "vweight"):
        assert getattr(rows["volume"], weight) < 1e-2 * getattr(rows["usual"], weight)


def test_huber_losses_of_mace_turn_linear_at_a_tenth_of_the_spread(tmp_path):
    write(tmp_path / "Cu.xyz", crystals(30))
    settings, text = new(tmp_path, "Cu.xyz", "--model", "MACE")
    assert settings.notices == ()
    (row,) = settings.groups.rows
    for name, weight in (("energy", row.eweight), ("forces", row.fweight), ("stress", row.vweight)):
        kind, delta = settings.losses[name]
        assert kind == "huber"
        assert delta == pytest.approx(0.1 * weight**-0.5, rel=0.05)  # two digits each
    assert re.search(r"^huber_delta = energy \S+ forces \S+ stress \S+ ", text, re.MULTILINE)
    molecules = crystals(30)
    for one in molecules:
        one.pbc = False
    write(tmp_path / "cluster.xyz", molecules)
    settings, text = new(tmp_path, "cluster.xyz", "--model", "MACE")
    assert re.search(r"^huber_delta = energy \S+ forces \S+  ", text, re.MULTILINE)
    other, text = new(tmp_path, "Cu.xyz", "--model", "NANOPET")
    assert other.losses["forces"].kind == "mse"
    assert "huber_delta" not in text


@pytest.mark.parametrize(("repeats", "batch"), [(1, 4), (2, 4), (3, 2), (4, 1)])
def test_mace_learns_in_steps_of_some_hundred_atoms(tmp_path, repeats, batch):
    """Of 4, 32, 108 and 256 atoms; the number of steps is that of the architecture."""
    write(tmp_path / "Cu.xyz", [labelled(one.repeat(repeats)) for one in crystals(10)])
    settings, _ = new(tmp_path, "Cu.xyz", "--model", "MACE")
    assert settings.pytorch.batch_size == batch
    several, _ = new(tmp_path, "Cu.xyz", "--model", "NANOPET")
    assert several.pytorch.batch_size == 4


def test_small_batches_take_fewer_epochs():
    assert choose_steps("MACE", 1, 192, 62.0) == {"num_epochs": "208", "batch_size": "2"}
    assert choose_steps("MACE", 1, 210, 104.0) == {"num_epochs": "114", "batch_size": "2"}  # 2.5 million atoms
    assert choose_steps("MACE", 1, 450, 15.0) == {"num_epochs": "176"}
    assert choose_steps("MACE", 1, 10**6, 200.0) == {"num_epochs": "40", "batch_size": "1"}
    assert choose_steps("SOAP_BPNN", 1, 192, 62.0) == {"num_epochs": "20"}  # steps of LKF
    assert choose_steps("SOAP_BPNN", 2, 192, 62.0) == {"num_epochs": "200"}


def test_without_labels_there_is_no_huber_loss():
    assert choose_huber_deltas([(0.0, 0.0, 0.0)]) == ""
    assert choose_huber_deltas([(0.0, 4.0, 0.0), (25.0, 1.0, 0.0)]) == "energy 0.02 forces 0.05"


def test_weights_of_a_linear_model_are_for_a_sum_of_squares(tmp_path):
    write(tmp_path / "Cu.xyz", crystals(12))
    network, _ = new(tmp_path, "Cu.xyz")
    linear, text = new(tmp_path, "Cu.xyz", "--model", "LINEAR")
    assert linear.solver.solver == "SVD"
    assert not linear.bispectrum.bzeroflag
    assert "\n[PYTORCH]" not in text
    assert linear.bispectrum.rcutfac == network.bispectrum.rcutfac
    ace, _ = new(tmp_path, "Cu.xyz", "--model", "LINEAR_ACE")
    assert (ace.solver.solver, ace.calculator.calculator, ace.ace.bzeroflag) == ("RIDGE", "LAMMPSPACE", False)
    assert [row.eweight for row in ace.groups.rows] == [row.eweight for row in linear.groups.rows]
    (one,), (other,) = linear.groups.rows, network.groups.rows
    # 12 forces and 6 stress components per energy; rows are written with two digits.
    assert one.eweight == pytest.approx(other.eweight**0.5, rel=0.1)
    assert one.fweight == pytest.approx((other.fweight / 12) ** 0.5, rel=0.1)
    assert one.vweight == pytest.approx((other.vweight / 6) ** 0.5, rel=0.1)


def shifted(atoms: Atoms, pressure: float) -> Atoms:
    """A copy whose stress has an additional pressure, eV/Å³."""
    copy = labelled(atoms)
    copy.calc.results["stress"] = copy.calc.results["stress"] + pressure * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    return copy


def test_stresses_that_contradict_the_energies_are_not_fitted(tmp_path, capsys):
    """If the strained cells of one of two groups have an offset, then of this group; if all have it, of all."""
    scans = {name: [bulk("Cu", "fcc", a=a, cubic=cubic) for a in np.linspace(3.5, 3.8, 20)] for name, cubic in CELLS}
    for number, wrong in enumerate((["small"], ["small", "large"])):
        folder = tmp_path / f"xyz{number}"
        folder.mkdir()
        for name, scan in scans.items():
            write(folder / f"{name}.xyz", [shifted(one, 0.02 if name in wrong else 0.0) for one in scan])
        write(folder / "usual.xyz", crystals(12))
        settings, _ = new(tmp_path, folder.name)
        weights = {row.name: row.vweight for row in settings.groups.rows}
        assert [name for name, weight in weights.items() if weight == 0.0] == (
            ["small"] if number == 0 else ["large", "small", "usual"]
        )
        assert settings.calculator.stress == (number == 0)
        assert "small +3.2 GPa" in capsys.readouterr().out


CELLS = (("small", False), ("large", True))


def test_group_names_with_special_characters(tmp_path):
    frames = crystals(12)
    for number, atoms in enumerate(frames):
        atoms.info["config_type"] = ("a=b", "random_seed", "two words # here")[number % 3]
    write(tmp_path / "all.xyz", frames)
    settings, _ = new(tmp_path, "all.xyz")
    assert [row.name for row in settings.groups.rows] == ["a?b", "?andom_seed", "two words ? here"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--elements", "Ta"], "does not include Cu, which the data contain"),
        (["--elements", "Cu", "Q"], "Q is not a chemical element"),
        (["--elements", "Cu", "Cu"], "--elements lists Cu more than once"),
        (["--model", "BPMM"], "unknown model BPMM"),
        (["--model", "MACE", "MACE"], "--model lists MACE more than once"),
        (["--data", "nowhere"], "no such file or folder"),
    ],
)
def test_mistakes(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    write("all.xyz", crystals(1))
    assert main(["new", "x.in", "--data", "all.xyz", *options]) == 2
    assert message in capsys.readouterr().err
    write("unlabelled.xyz", bulk("Cu"))
    assert main(["new", "x.in", "--data", "unlabelled.xyz"]) == 3
    assert "no configuration has an energy, forces or a stress" in capsys.readouterr().err
    assert not Path("x.in").exists()


def test_inputs_for_several_architectures(tmp_path, capsys):
    write(tmp_path / "Cu.xyz", crystals(12))
    command = ["new", str(tmp_path / "Cu.in"), "--data", str(tmp_path / "Cu.xyz"), "--model"]
    assert main([*command, "ACE", "CUSTOM"]) == 0
    printed = capsys.readouterr().out
    files = [tmp_path / f"Cu_{model}.in" for model in ("ACE", "CUSTOM")]
    for file, model in zip(files, ("ACE", "CUSTOM"), strict=True):
        alone = tmp_path / f"{model}.in"
        assert main([*command[:1], str(alone), *command[2:], model]) == 0
        assert file.read_text() == alone.read_text().replace(f"{model}_", f"Cu_{model}_")
        assert load_settings(file).notices == ()
    assert printed.count("Elements: Cu.") == 1
    assert f"combine {files[0]} {files[1]} -o {tmp_path / 'Cu_mean'}" in printed
    files[0].unlink()
    assert main([*command, "ACE", "CUSTOM"]) == 2
    assert "Cu_CUSTOM.in" in capsys.readouterr().err
    assert not files[0].exists()
    assert main([*command, "BPNN", "LINEAR"]) == 0
    assert f"combine {tmp_path / 'Cu_BPNN.in'} {tmp_path / 'Cu_LINEAR.in'}" in capsys.readouterr().out


@pytest.mark.parametrize("lists", [["--model", "CUSTOM"], ["--model", "CUSTOM", "--elements", "Cu"]])
def test_the_name_after_a_list(tmp_path, monkeypatch, capsys, lists):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "Cu.xyz", crystals(12))
    assert main(["new", "--data", "Cu.xyz", *lists, "Cu.in"]) == 0
    assert load_settings(tmp_path / "Cu.in").pytorch.model == "CUSTOM"
    assert main(["new", "--data", "Cu.xyz", *lists]) == 2
    assert "no name for the input is given. Name it first: new Ta.in --data DATA." in capsys.readouterr().err


def test_nothing_is_overwritten(tmp_path, capsys):
    write(tmp_path / "all.xyz", crystals(1))
    (tmp_path / "x.in").write_text("precious")
    assert main(["new", str(tmp_path / "x.in"), "--data", str(tmp_path / "all.xyz")]) == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert (tmp_path / "x.in").read_text() == "precious"
