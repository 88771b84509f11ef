"""Fits on a GPU: losses, restarts, tables and predictions equal to those on the CPU, and exported models in LAMMPS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk
from places import EXAMPLE, SAMPLES
from processes import run_on_ranks
from small_fit import fit, log_of, without_plots, write_small_input

import fitsnap_nn
from fitsnap_nn.data.atoms import configuration_from_atoms
from fitsnap_nn.data.properties import STANDARD, derivatives_of
from fitsnap_nn.reports.epochs import read_epochs
from fitsnap_nn.settings.schema import Reference
from fitsnap_nn.training import evaluation
from fitsnap_nn.training.checkpoint import load_restart
from fitsnap_nn.training.distributed import Ranks
from fitsnap_nn.workflow.run import Fit

pytestmark = pytest.mark.gpu

SOAP = "cutoff_radius = 4.0\nmax_angular = 3\nmax_radial = 3\nnum_neurons_per_layer = 8"
SECTIONS = {
    "BPNN": "",
    "SOAP_BPNN": SOAP,
    "NANOPET": "cutoff = 4.0\nd_pet = 8\nnum_heads = 2\nnum_attention_layers = 1",
    "MACE": "r_max = 4.0\nhidden_irreps = 4x0e + 4x1o\ncorrelation = 2\nmax_ell = 2\nnum_radial_basis = 4\n"
    "radial_MLP = 8",
    "CUSTOM": "cutoff = 4.0\nlayer_sizes = num_desc 8 1",
    "KALMAN": "",
    "COMMITTEE": SOAP,
    "FILTERED": SOAP,
}
# Model and more keys of those that are not named like a model.
OTHERS = {"COMMITTEE": ("SOAP_BPNN", "committee = 2\n"), "FILTERED": ("SOAP_BPNN", "optimizer = LKF\n")}
LIBRARIES = {"SOAP_BPNN": "spex", "MACE": "mace", "COMMITTEE": "spex", "FILTERED": "spex"}
KALMAN = "optimizer = LKF\ncommittee = 2\n"
LOSS_TOLERANCE = {"KALMAN": 1e-9, "FILTERED": 1e-9}  # a filter amplifies rounding
MODELS = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in SECTIONS]


def write_input(folder: Path, model: str) -> Path:
    """The input of a small fit of one model in float64."""
    network = "layer_sizes = num_desc 8 8 1\nactivation = tanh\n"
    schedule = "scheduler = constant\nwarmup_fraction = 0\n"
    changes = [
        (str(EXAMPLE / "JSON"), str(SAMPLES / "Ta_JSON")),
        ("Volume_BCC    = 6 2", "Displaced_FCC = 3 1"),
        ("Displaced_BCC = 5 2", "Displaced_BCC = 3 1"),
    ]
    if model in ("BPNN", "KALMAN"):
        changes.append((network, f"{network}{KALMAN if model == 'KALMAN' else schedule}"))
        if model == "KALMAN":
            changes.append(("learning_rate = 2e-3\n", ""))
    else:
        name, more = OTHERS.get(model, (model, ""))
        filtered = "LKF" in more
        changes.append((network, f"model = {name}\n{more}{'' if filtered else schedule}"))
        if filtered:
            changes.append(("learning_rate = 2e-3\n", ""))
        sections = f"[CALCULATOR]\ncalculator = LAMMPSGRAPH\n\n[{name}]\n{SECTIONS[model]}\n\n[BISPECTRUM]"
        changes.append(("[BISPECTRUM]", sections))
    return write_small_input(folder, *changes)


@dataclass(frozen=True)
class Fits:
    """Fits of one model to two epochs: on both devices, on the GPU in parts, and on one after the other."""

    path: Path
    cpu: Fit
    gpu: Fit
    parts: Fit
    to_cpu: Fit
    to_gpu: Fit


@pytest.fixture(scope="module", params=MODELS)
def fits(request: pytest.FixtureRequest, device: str, tmp_path_factory: pytest.TempPathFactory) -> Fits:
    """The fits of one model."""
    model = request.param
    if model in LIBRARIES:
        request.getfixturevalue(LIBRARIES[model])
    path = write_input(tmp_path_factory.mktemp(model), model)

    def resumed(folder: str, first: str, then: str) -> Fit:
        fit(path, folder, num_epochs=1, device=first)
        return fit(path, folder, num_epochs=2, device=then, resume=True)

    return Fits(
        path,
        cpu=fit(path, "cpu", num_epochs=2, device="cpu"),
        gpu=fit(path, "gpu", num_epochs=2, device=device, verify=True),
        parts=resumed("parts", device, device),
        to_cpu=resumed("to_cpu", device, "cpu"),
        to_gpu=resumed("to_gpu", "cpu", device),
    )


@pytest.fixture
def tolerance(fits: Fits) -> float:
    """Relative tolerance of losses."""
    return LOSS_TOLERANCE.get(fits.path.parent.name.rstrip("0123456789"), 1e-12)


def losses(result: Fit) -> list[float]:
    return [loss for row in result.history for loss in (row.train_loss, row.validation_loss)]


def test_losses_are_those_of_the_cpu(fits: Fits, tolerance: float) -> None:
    assert len(losses(fits.gpu)) == 4
    assert losses(fits.gpu) == pytest.approx(losses(fits.cpu), rel=tolerance)


def test_a_fit_moves_between_devices(fits: Fits, tolerance: float) -> None:
    for moved in (fits.to_cpu, fits.to_gpu):
        assert losses(moved) == pytest.approx(losses(fits.cpu), rel=tolerance)


def test_a_resumed_fit_ends_with_the_same_bits(fits: Fits) -> None:
    one, other = (load_restart(result.folder / "restart.pt")["trainer"] for result in (fits.gpu, fits.parts))
    difference = float((one["weights"] - other["weights"]).abs().max())
    assert torch.equal(one["weights"], other["weights"]), f"weights differ by up to {difference:.1e}"
    assert torch.equal(one["best_weights"], other["best_weights"])


def test_tables_are_those_of_the_cpu(fits: Fits, tolerance: float) -> None:
    with without_plots():
        again = fitsnap_nn.evaluate(
            fits.path, fits.gpu.model_file, {"OUTFILE.folder": fits.gpu.folder, "PYTORCH.device": "cpu"}, overwrite=True
        )
    for found, expected in ((again, fits.gpu), (fits.gpu, fits.cpu)):
        rows = [row for row in expected.errors if not getattr(row, "linear", False)]
        values = [(row.mae, row.rmse) for row in found.errors if not getattr(row, "linear", False)]
        assert values == [pytest.approx((row.mae, row.rmse), rel=max(1e-9, tolerance), abs=1e-11) for row in rows]


def test_the_exported_model_in_lammps(fits: Fits) -> None:
    assert fits.gpu.verification is not None
    assert "verified in LAMMPS" in log_of(fits.gpu)
    assert "1 and 2 ranks" in log_of(fits.gpu)


def test_predictions_of_the_calculator(fits: Fits, device: str) -> None:
    found = {}
    for name in ("cpu", device):
        atoms = bulk("Ta", cubic=True) * (2, 2, 2)
        atoms.rattle(0.05, seed=2)
        atoms.calc = fitsnap_nn.Calculator(fits.gpu.model_file, device=name)
        assert atoms.calc.potential.model.element_energies.device.type == name
        found[name] = np.concatenate([[atoms.get_potential_energy()], atoms.get_forces().ravel(), atoms.get_stress()])
    np.testing.assert_allclose(found[device], found["cpu"], rtol=1e-10, atol=1e-10)


STAGES = {
    "free": {"optimizer": "ScheduleFree", "stage_two": 1, "stage_two_start": 1, "stage_two_force_weight": 5},
    "shampoo": {"optimizer": "SOAP", "stage_two": 1, "stage_two_start": 1, "stage_two_force_weight": 5},
    "averaged": {
        "optimizer": "Adam",
        "amsgrad": 1,
        "stage_two": 1,
        "stage_two_start": 1,
        "stage_two_average": 1,
        "ema_decay": 0.9,
    },
}


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize("model", ["BPNN", "NANOPET"])
def test_stage_two_and_averaged_weights(
    device: str, tmp_path: Path, request: pytest.FixtureRequest, model: str, kind: str
) -> None:
    """Weights of stage two are inputs of captured steps, and optimisers act outside of them."""
    if kind == "free":
        request.getfixturevalue("schedulefree")
    path = write_input(tmp_path, model)
    keys = STAGES[kind]
    cpu = fit(path, "cpu", num_epochs=3, device="cpu", **keys)
    gpu = fit(path, "gpu", num_epochs=3, device=device, **keys)
    assert losses(gpu) == pytest.approx(losses(cpu), rel=1e-11)
    fit(path, "parts", num_epochs=2, device=device, **keys)
    parts = fit(path, "parts", num_epochs=3, device=device, resume=True, **keys)
    one, other = (load_restart(result.folder / "restart.pt")["trainer"] for result in (gpu, parts))
    assert torch.equal(one["best_weights"], other["best_weights"])


@pytest.mark.mpi
@pytest.mark.xdist_group("ranks")
def test_two_ranks_that_share_the_gpu(device: str, tmp_path: Path) -> None:
    models = ("BPNN", "NANOPET", "KALMAN")
    jobs, single = [], {}
    for name in models:
        (tmp_path / name).mkdir()
        path = write_input(tmp_path / name, name)
        keys = ["--set", "PYTORCH.num_epochs=2", "--set", f"PYTORCH.device={device}"]
        jobs.append([str(path), "--no-verify", "--set", f"OUTFILE.folder={path.parent / 'ranks'}", *keys])
        single[name] = fit(path, "single", num_epochs=2, device=device)
    run_on_ranks(2, jobs, tmp_path)
    for name in models:
        folder = tmp_path / name / "ranks"
        found = [loss for row in read_epochs(folder) for loss in (row.train_loss, row.validation_loss)]
        assert found == pytest.approx(losses(single[name]), rel=max(1e-10, LOSS_TOLERANCE.get(name, 0.0)))
        log = (folder / "run.log").read_text(encoding="utf-8")
        if torch.cuda.device_count() == 1:
            assert "2 ranks share 1 GPU; sums by gloo, through host memory" in log
        elif torch.cuda.device_count() > 1:
            assert "2 ranks on as many GPUs; sums by NCCL" in log


@pytest.fixture
def little_memory() -> Iterator[Any]:
    """A function that limits the memory of the GPU for this process; the limit is removed in the end."""

    def limit(size: float) -> None:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(size / torch.cuda.get_device_properties(0).total_memory)

    yield limit
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.xdist_group("NANOPET")
def test_batches_of_evaluation_are_halved_for_lack_of_memory(
    gpu: None, little_memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fit(write_input(tmp_path, "NANOPET"), "fit", num_epochs=1, device="cuda").model
    assert model is not None
    atoms = bulk("Ta", cubic=True) * (5, 5, 5)
    atoms.rattle(0.05, seed=2)
    configurations = [configuration_from_atoms(atoms)] * 8
    monkeypatch.setattr(evaluation, "_max_atoms", lambda device: 1e9)
    notes: list[str] = []
    with model.input.open(Reference(), tmp_path, derivatives_of(STANDARD)) as compute:

        def evaluate() -> list[Any]:
            inputs = list(compute.compute_all(configurations[:1])) * 8
            return evaluation.evaluate_all(
                model, configurations, lambda them: inputs[: len(them)], Ranks(), STANDARD, say=notes.append
            )

        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        whole = evaluate()
        assert not notes
        little_memory(before + 0.7 * (torch.cuda.max_memory_allocated() - before))
        halved = evaluate()
    (note,) = notes
    assert "evaluation batches divided by" in note
    for one, other in zip(whole, halved, strict=True):
        np.testing.assert_allclose(other.values["forces"], one.values["forces"], rtol=0, atol=1e-10)
