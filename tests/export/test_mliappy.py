"""The object that LAMMPS loads, without LAMMPS."""

from __future__ import annotations

import pickle
import pickletools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import mpirun
from stand_in_input import StandInInput

from fitsnap_nn.data.properties import ENERGY
from fitsnap_nn.export.mliappy import MliapModel, to_pickle
from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.inputs.snap.bispectrum import with_products
from fitsnap_nn.models import BPNN, predict
from fitsnap_nn.models.mlp import ACTIVATIONS

COUNT, DESCRIPTORS = 7, 5


def network(activation: str = "tanh", option: int = 2, inputs: int = DESCRIPTORS) -> BPNN:
    torch.manual_seed(3)
    model = BPNN(StandInInput(("In", "P"), inputs), (6, 4), activation, option).double()
    model.element_energies += torch.tensor([-3.0, -5.0], dtype=torch.float64)
    return model


def called(model: MliapModel, species: np.ndarray, descriptors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies and derivatives, from buffers with rubbish in them as LAMMPS has."""
    beta, energy = np.full_like(descriptors, np.nan), np.full(len(species), np.nan)
    assert model(species, descriptors, beta, energy) is None
    return energy, beta


def example() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 2, COUNT).astype(np.int32), random.standard_normal((COUNT, DESCRIPTORS))


@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_energies_are_the_trained_models_and_slopes_their_derivatives(activation: str, option: int) -> None:
    model = network(activation, option)
    species, descriptors = example()
    energy, beta = called(MliapModel(model.plain_networks()), species, descriptors)
    nothing = torch.zeros(0, dtype=torch.int64)
    batch = DescriptorBatch(
        species=torch.from_numpy(species.astype(np.int64)),
        config=torch.zeros(COUNT, dtype=torch.int64),
        n_atoms=torch.tensor([COUNT]),
        volume=torch.ones(1, dtype=torch.float64),
        descriptors=torch.from_numpy(descriptors),
        pair_i=nothing,
        pair_j=nothing,
        gradients=torch.zeros(0, 3, DESCRIPTORS, dtype=torch.float64),
        strain_gradients=torch.zeros(0, 6, DESCRIPTORS, dtype=torch.float64),
    )
    trained = predict(model, batch, [ENERGY]).atom_energies.detach().numpy()
    assert np.abs(energy - trained).max() < 1e-13
    step = 1e-5 * np.random.default_rng(1).standard_normal(descriptors.shape)
    above, _ = called(MliapModel(model.plain_networks()), species, descriptors + step)
    below, _ = called(MliapModel(model.plain_networks()), species, descriptors - step)
    assert np.abs((above - below) / 2 - (beta * step).sum(axis=1)).max() < 1e-6 * np.abs(beta * step).max()


def test_products_are_those_of_the_training() -> None:
    inputs = DESCRIPTORS * (DESCRIPTORS + 3) // 2
    plain = network(inputs=inputs).plain_networks()
    species, descriptors = example()
    quadratic = MliapModel(plain, quadratic=True)
    assert quadratic.n_descriptors == DESCRIPTORS
    energy, _ = called(quadratic, species, descriptors)
    expected, _ = called(MliapModel(plain), species, with_products(descriptors))
    assert np.abs(energy - expected).max() < 1e-13


def test_what_lammps_asks_for() -> None:
    model = MliapModel(network().plain_networks())
    assert (model.n_elements, model.n_descriptors) == (2, DESCRIPTORS)
    assert model.n_params == 2 * (6 * 5 + 6 + 4 * 6 + 4 + 4 + 1)
    assert all(type(number) is int for number in (model.n_elements, model.n_descriptors, model.n_params))


def test_no_atoms_are_no_trouble() -> None:
    energy, beta = called(MliapModel(network().plain_networks()), np.zeros(0, np.int32), np.zeros((0, DESCRIPTORS)))
    assert (energy.shape, beta.shape) == ((0,), (0, DESCRIPTORS))


def test_an_unknown_element_is_not_passed_over() -> None:
    with pytest.raises(FloatingPointError):
        called(MliapModel(network().plain_networks()), np.array([0, 2], np.int32), np.zeros((2, DESCRIPTORS)))


def test_not_a_number_is_an_error() -> None:
    species, descriptors = example()
    descriptors[2, 1] = np.nan
    with pytest.raises(FloatingPointError, match="too close"):
        called(MliapModel(network().plain_networks()), species, descriptors)


def test_among_ranks_an_error_ends_the_process(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(to_pickle(MliapModel(network().plain_networks())))
    program = (
        "import pickle, sys, numpy as np; from mpi4py import MPI\n"
        "model = pickle.load(open(sys.argv[1], 'rb'))\n"
        "try: model(np.zeros(1, np.int32), np.full((1, 5), np.nan), np.zeros((1, 5)), np.zeros(1))\n"
        "finally: print('still here')"
    )
    done = mpirun(2, ["-c", program, str(tmp_path / "model")], tmp_path, timeout=60)
    assert done.returncode == 1
    assert "still here" not in done.stdout
    assert "FloatingPointError" in done.stderr


def test_the_pickle_holds_one_function_of_ours_and_bytes() -> None:
    content = to_pickle(MliapModel(network().plain_networks()))
    operations = [(operation.name, argument) for operation, argument, _ in pickletools.genops(content)]
    assert [argument for name, argument in operations if name == "SHORT_BINUNICODE"] == [
        "fitsnap_nn.export.mliappy",
        "from_bytes",
    ]
    assert sum(name in ("GLOBAL", "STACK_GLOBAL", "INST") for name, _ in operations) == 1
    species, descriptors = example()
    again, _ = called(pickle.loads(content), species, descriptors)
    energy, _ = called(MliapModel(network().plain_networks()), species, descriptors)
    assert np.array_equal(again, energy)


def test_a_gpu_that_is_not_used_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    content = to_pickle(MliapModel(network().plain_networks()))
    for value, lines in (("", 0), ("auto", 0), ("cpu", 0), ("cuda:1", 1)):
        monkeypatch.setenv("FITSNAP_NN_DEVICE", value)
        pickle.loads(content)
        assert capsys.readouterr().out.count("is ignored: pair_style mliap model mliappy runs on the CPU") == lines


def test_loading_it_imports_nothing_of_the_fit() -> None:
    foreign = ("ase", "scipy", "lammps", "mpi4py", "vesin", "fitsnap_nn.training", "fitsnap_nn.settings")
    program = (
        f"import sys, fitsnap_nn.export.mliappy\nprint([name for name in sys.modules if name.startswith({foreign})])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
