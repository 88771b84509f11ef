"""Whole fits with the Kalman filter, balanced losses and committees: ranks, restarts, warm starts, LAMMPS, reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io import read
from places import EXAMPLE, SAMPLES
from processes import run_on_ranks
from small_fit import fit, log_of, write_small_input

from fitsnap_nn.errors import InputError, TrainingError
from fitsnap_nn.interfaces.ase import Calculator
from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.settings import load_settings
from fitsnap_nn.training.checkpoint import load_restart
from fitsnap_nn.workflow.evaluation import evaluate_files
from fitsnap_nn.workflow.run import Fit

pytestmark = [pytest.mark.lammps]

KALMAN = (("learning_rate = 2e-3\n", ""), ("batch_size = 4", "batch_size = 2\noptimizer = LKF"), ("= 3\nb", "= 2\nb"))
COMMITTEE = (*KALMAN[:1], ("batch_size = 4", "batch_size = 2\noptimizer = LKF\nbalance = 1\ncommittee = 2"), KALMAN[2])
SOAP = "cutoff_radius = 4.0\nmax_angular = 2\nmax_radial = 2\nnum_neurons_per_layer = 8"


def losses(folder: Path) -> list[float]:
    return [loss for row in read_epochs(folder) for loss in (row.train_loss, row.validation_loss)]


def two_elements(folder: Path, *changes: tuple[str, str]) -> Path:
    """Indium phosphide instead of tantalum."""
    folder.mkdir(exist_ok=True)
    return write_small_input(
        folder,
        *changes,
        ("numTypes = 1\ntype = Ta\ntwojmax = 4", "numTypes = 2\ntype = In P\nwj = 1.0 0.9\ntwojmax = 2"),
        (str(EXAMPLE / "JSON"), str(SAMPLES / "InP_JSON")),
        ("Volume_BCC    = 6 2", "Bulk = 2 1"),
        ("Displaced_BCC = 5 2", "EOS = 3 2"),
        ("hybrid/overlay zero 6.0 zbl 4.0 4.8\npair_coeff1 = * * zero\npair_coeff2 = * * zbl 73 73", "zero 6.0"),
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """A committee of two, fitted and verified in LAMMPS."""
    folder = tmp_path_factory.mktemp("base")
    return fit(write_small_input(folder, *COMMITTEE), "fit", verify=True, num_epochs=3)


def test_the_exported_committee_agrees_with_lammps(base: Fit):
    assert "verified in LAMMPS" in log_of(base)
    assert "(model nn and mliappy): 1 and 2 ranks" in log_of(base)
    assert "committee of 2, 402 weights" in log_of(base)


def test_epochs_have_no_learning_rate(base: Fit):
    assert all(np.isnan(row.learning_rate) for row in base.history)
    assert not any("learning_rate" in line for line in base.verdict)


def test_spread_in_python_predictions_and_verdict(base: Fit, tmp_path: Path):
    data = str(EXAMPLE / "JSON" / "Displaced_BCC" / "Displaced_BCC.json")
    found = evaluate_files(base.model_file, [data], output=tmp_path / "out.xyz", quiet=True)
    frame = read(tmp_path / "out.xyz", "3")
    calculator = Calculator(base.model_file)
    calculator.calculate(frame)
    for name, place in (("energies", frame.arrays), ("forces", frame.arrays), ("energy", frame.info)):
        value = calculator.results[f"{name}_std"]
        assert np.shape(value) == (() if name == "energy" else (len(frame),))
        np.testing.assert_allclose(place[f"predicted_{name}_std"], value, rtol=1e-5, atol=1e-7)
    for lines in (base.verdict, found.verdict):
        (line,) = [line for line in lines if line.startswith("  uncertainty: standard deviation of the energy ")]
        assert "meV/atom (mean over the " in line


def test_a_resumed_fit_ends_with_the_same_bits(base: Fit):
    path = base.folder.parent / "small.in"
    fit(path, "parts", num_epochs=1)
    fit(path, "parts", num_epochs=3, resume=True)
    one, other = (load_restart(folder / "restart.pt") for folder in (base.folder, base.folder.parent / "parts"))
    for name in ("weights", "best_weights"):
        assert torch.equal(one["trainer"][name], other["trainer"][name])
    assert one["trainer"]["factors"] == other["trainer"]["factors"]
    assert losses(base.folder.parent / "parts") == losses(base.folder)


@pytest.mark.mpi
@pytest.mark.slow
def test_losses_do_not_depend_on_the_number_of_ranks(tmp_path: Path):
    """Batches of two on three ranks, and of one on two, leave a rank without a share."""
    (tmp_path / "committee").mkdir()
    committee = write_small_input(tmp_path / "committee", *COMMITTEE)
    networks = two_elements(tmp_path / "InP", *KALMAN, ("= tanh", "= tanh\nmulti_element_option = 2"))
    fits = {"committee": (committee, 2), "two": (networks, 2), "one": (networks, 1)}  # batch sizes
    alone = {name: losses(fit(path, f"{name}1", batch_size=size).folder) for name, (path, size) in fits.items()}
    keys = ["--no-verify", "-k", "PYTORCH", "batch_size"]
    for ranks in (2, 3):
        jobs = [
            [str(path), *keys, str(size), "--set", f"OUTFILE.folder={tmp_path / name}{ranks}"]
            for name, (path, size) in fits.items()
        ]
        run_on_ranks(ranks, jobs[: 2 if ranks == 3 else 3], tmp_path)
    for name, ranks in (("committee", 2), ("committee", 3), ("two", 2), ("two", 3), ("one", 2)):
        expected = alone[name]
        assert len(expected) == 4
        assert losses(tmp_path / f"{name}{ranks}") == pytest.approx(expected, rel=1e-8)


def test_energies_or_forces_alone(tmp_path: Path):
    path = write_small_input(tmp_path, *KALMAN)
    for name, keys in (
        ("energies", {"force_weight": 0, "stress_weight": 0, "energy_weight": 10}),
        ("forces", {"energy_weight": 0, "stress_weight": 0, "force_weight": 1}),
    ):
        result = fit(path, name, num_epochs=8, **keys)
        found = losses(result.folder)[::2]
        assert found[-1] < 0.5 * found[0]


def test_options_for_two_elements_and_frozen_weights(tmp_path: Path):
    path = two_elements(tmp_path / "InP", *COMMITTEE, ("= tanh", "= tanh\nmulti_element_option = 3"))
    for option, frozen in ((3, "networks.1"), (2, "networks.0 networks.2.1")):
        result = fit(path, f"option{option}", multi_element_option=option, freeze=frozen)
        start = fit(path, f"start{option}", multi_element_option=option, num_epochs=0).model.state_dict()
        state = result.model.state_dict()
        same = {name for name in state if name.startswith("networks") and torch.equal(state[name], start[name])}
        beginnings = tuple(f"{word}." for word in frozen.split())
        assert same == {name for name in state if name.startswith(beginnings)}


def test_too_many_weights_are_refused(tmp_path: Path):
    path = write_small_input(tmp_path, *KALMAN)
    message = r"covariances of \d+ weights would need .* GB, more than 2\.0 GB\. Use smaller layers, .* fewer members"
    with pytest.raises(TrainingError, match=message):
        fit(path, "large", layer_sizes="num_desc 200 200 200 1", committee=20)


def test_a_model_without_analytic_derivatives(spex: None, tmp_path: Path):
    network = "layer_sizes = num_desc 8 8 1\nactivation = tanh\n"
    graphs = f"[CALCULATOR]\ncalculator = LAMMPSGRAPH\n\n[SOAP_BPNN]\n{SOAP}\n\n[BISPECTRUM]"
    path = write_small_input(tmp_path, *KALMAN, (network, "model = SOAP_BPNN\n"), ("[BISPECTRUM]", graphs))
    whole = fit(path, "whole")
    assert losses(whole.folder)[2] < losses(whole.folder)[0]
    fit(path, "parts", num_epochs=1)
    fit(path, "parts", resume=True)
    assert losses(tmp_path / "parts") == losses(whole.folder)


def test_the_state_of_the_filter_in_other_fits(base: Fit, tmp_path: Path):
    """Of the same kind it is taken over; of another it is not, and the log says so."""
    start = base.folder / "restart.pt"
    covariances = load_restart(start)["trainer"]["optimizer"]["filters"][0]["covariances"]
    path = write_small_input(tmp_path, *COMMITTEE, ("activation", f"save_state_input = {start}\nactivation"))
    again = fit(path, "again", num_epochs=1)
    assert "optimiser: state after epoch 3 of the file\n" in log_of(again)
    assert losses(again.folder)[0] < losses(base.folder)[0]
    forgetting = [
        load_restart(folder / "restart.pt")["trainer"]["optimizer"]["filters"][0]["forgetting"]
        for folder in (again.folder, base.folder)
    ]
    assert forgetting[0] > forgetting[1]
    assert covariances[0].shape == (120, 120)
    frozen = fit(path, "frozen", num_epochs=1, freeze="networks.0.0")
    assert "starts from zero: the file has other trainable parameters" in log_of(frozen)
    other = fit(path, "adam", num_epochs=1, optimizer="Adam", learning_rate=1e-3)
    assert "starts from zero: that of the file is of optimizer = LKF, which Adam cannot use" in log_of(other)
    back = fit(path, "back", num_epochs=1, save_state_input=other.folder / "restart.pt")
    assert "starts from zero: that of the file is of optimizer = Adam, which LKF cannot use" in log_of(back)
    warm = fit(
        write_small_input(tmp_path, *COMMITTEE, ("activation", f"start_from = {base.model_file}\nactivation")), "warm"
    )
    assert "weights of " in log_of(warm)
    assert losses(warm.folder)[0] < 0.5 * losses(base.folder)[0]  # of the training set


def test_the_size_of_the_committee_is_that_of_the_file(base: Fit, tmp_path: Path):
    start = ("activation", f"start_from = {base.model_file}\nactivation")
    omitted = write_small_input(tmp_path, *KALMAN, start)
    result = fit(omitted, "omitted", num_epochs=0)
    assert result.model.committee == 2
    assert "[PYTORCH] committee = 2" in log_of(result)
    assert "a tenth of the default" not in log_of(result)  # there is no learning rate
    for size in (1, 3):
        with pytest.raises(InputError, match=rf"committee — is {size}, but .* was fitted with 2"):
            fit(omitted, "other", committee=size)


def test_keys_without_effect(tmp_path: Path):
    path = write_small_input(tmp_path, ("batch_size = 4", "optimizer = LKF\nbalance = 1\nloss = huber\nema_decay = 0"))
    notices = "\n".join(load_settings(path).notices)
    assert "[PYTORCH] learning_rate has no effect with optimizer = LKF" in notices
    assert "root mean square residuals; the loss rates the epochs and balances the properties." in notices
