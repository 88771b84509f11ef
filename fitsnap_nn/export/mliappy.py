"""Model object of ``pair_style mliap model mliappy``, for LAMMPS with our plugin or with Python ML-IAP.

LAMMPS opens file names that end in .pt or .pth with ``torch.load``, which since torch 2.6 rejects callable objects by
default, and all others with ``pickle``. The file is therefore a pickle. It contains only the name of a function of this
module and a payload that ``torch.load(weights_only=True)`` reads, so that unpickling runs no code but ours. The payload
contains its digest, which every LAMMPS therefore checks; that at the end of the file is checked by our plugin.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitsnap_nn.devices import VARIABLE
from fitsnap_nn.export.threads import limit_threads
from fitsnap_nn.inputs.snap.products import with_products
from fitsnap_nn.integrity import deserialize, seal, serialize
from fitsnap_nn.launch import is_first_rank, world_size
from fitsnap_nn.models.mlp import energy_and_gradient

NAME = "the model file of pair_style mliap"

Network = tuple[Tensor, Tensor, Sequence[tuple[Tensor, Tensor]], str]


class MliapModel:
    """Per-atom energies and their derivatives with respect to descriptors, in the interface that LAMMPS calls.

    Attributes:
        n_descriptors, n_elements, n_params: sizes that LAMMPS compares with descriptors and ``pair_coeff``.
        units: LAMMPS units.
        descriptor: content of the descriptor file that belongs to the model, which our plugin compares with the one in
            the input; empty if unknown.
        reference: pair styles that the model was fitted on top of, separated by blanks; empty if unknown.
        errors_are_collective: whether an exception on one rank ends all ranks, as in our plugin.
    """

    units = "metal"
    errors_are_collective = False
    reference = ""

    def __init__(
        self,
        networks: Sequence[Network],
        quadratic: bool = False,
        descriptor: str = "",
        others: Sequence[Sequence[Network]] = (),
        factor: float = 1.0,
    ) -> None:
        """
        Args:
            networks: shift (D,), scale (D,), layers (weight, bias) and activation per element, float64.
            quadratic: whether the D inputs are descriptors, their halved squares and their products.
            descriptor: content of the descriptor file.
            others: the networks of other models, whose deviations from this one make up the uncertainty.
            factor: of the deviations.
        """
        self.descriptor = descriptor
        self.others = tuple(tuple(networks) for networks in others)
        self.factor = factor
        self.networks = tuple(networks)
        self.quadratic = quadratic
        inputs = len(self.networks[0][0])
        self.n_descriptors = _linear_count(inputs) if quadratic else inputs
        self.n_elements = len(self.networks)
        self.n_params = sum(w.numel() + b.numel() for _, _, layers, _ in self.networks for w, b in layers)

    def __call__(
        self,
        elems: NDArray[np.int32],
        descriptors: NDArray[np.float64],
        beta: NDArray[np.float64],
        energy: NDArray[np.float64],
    ) -> None:
        """Compute energies and derivatives of the N atoms of this rank in place.

        Args:
            elems: (N,) index of the element of each atom, from 0.
            descriptors: (N, D).
            beta: (N, D), output: dE_i/dB_i, eV.
            energy: (N,), output: E_i, eV; LAMMPS passes it uninitialised.

        Raises:
            FloatingPointError: an energy or a derivative is not finite.
        """
        with abort_all_ranks_on_error(self.errors_are_collective):
            self._fill(elems, descriptors, beta, energy)

    @property
    def deviations(self) -> int:
        """Number of other models."""
        return len(self.others)

    def deviation(
        self,
        number: int,
        elems: NDArray[np.int32],
        descriptors: NDArray[np.float64],
        output: NDArray[np.float64],
    ) -> None:
        """Compute the deviation of another model from this one; the variance of a force is the sum of their squares.

        Args:
            number: number of the other model.
            elems, descriptors: see `__call__`.
            output: (N, D), output: deviation of dE_i/dB_i, eV.
        """
        for element, pair in enumerate(zip(self.networks, self.others[number], strict=True)):
            (members,) = np.nonzero(elems == element)
            inputs = torch.from_numpy(descriptors[members])
            evaluate = _evaluate_products if self.quadratic else _evaluate
            (_, own), (_, other) = (evaluate(network, inputs.clone()) for network in pair)
            output[members] = (self.factor * (other - own)).numpy()

    def _fill(
        self,
        elems: NDArray[np.int32],
        descriptors: NDArray[np.float64],
        beta: NDArray[np.float64],
        energy: NDArray[np.float64],
    ) -> None:
        for element, network in enumerate(self.networks):
            (members,) = np.nonzero(elems == element)
            inputs = torch.from_numpy(descriptors[members])
            evaluate = _evaluate_products if self.quadratic else _evaluate
            energies, slopes = evaluate(network, inputs)
            energy[members] = energies.numpy()
            beta[members] = slopes.numpy()
        # Our plugin checks the results itself, and names the atom.
        if not self.errors_are_collective and not (np.isfinite(energy).all() and np.isfinite(beta).all()):
            raise FloatingPointError(
                "the network's energy is not a finite number: atoms have come too close, or the run is unstable. "
                "Reduce the time step, or check the initial structure."
            )

    def __reduce__(self) -> tuple[Callable[[bytes], MliapModel], tuple[bytes]]:
        content = {
            "networks": [tuple(network) for network in self.networks],
            "quadratic": self.quadratic,
            "descriptor": self.descriptor,
            "others": [[tuple(network) for network in networks] for networks in self.others],
            "factor": self.factor,
        }
        return from_bytes, (serialize(content),)


def from_bytes(payload: bytes) -> MliapModel:
    """Return the model of a pickle, which names this function.

    Args:
        payload: result of `serialize`.

    Raises:
        CheckpointError: the payload is damaged.
    """
    limit_threads()
    say_cpu()
    return MliapModel(**deserialize(payload, NAME))


def say_cpu() -> None:
    """Print, on the first rank, that a GPU that the user has named is not used."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted.startswith("cuda") and is_first_rank():
        print(
            f"{VARIABLE} = {wanted} is ignored: pair_style mliap model mliappy runs on the CPU. "
            "For a GPU: fitsnap_nn export MODEL FOLDER --unified",
            flush=True,
        )


def to_pickle(model: MliapModel) -> bytes:
    """Return the content of the file that LAMMPS opens.

    Args:
        model: the model.
    """
    return seal(pickle.dumps(model, protocol=4))


def _evaluate(network: Network, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return energies (N,) of atoms of one element and their derivatives (N, D) with respect to the inputs (N, D)."""
    shift, scale, layers, activation = network
    weights, biases = zip(*layers, strict=True)
    energies, slopes, _ = energy_and_gradient((inputs - shift) / scale, weights, biases, activation)
    return energies, slopes / scale


def _evaluate_products(network: Network, linear: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same for a network whose inputs are descriptors (N, D) and their products."""
    linear = linear.requires_grad_(True)
    inputs = with_products(linear)
    energies, slopes = _evaluate(network, inputs.detach())
    (linear_slopes,) = torch.autograd.grad(inputs, linear, slopes)
    return energies, linear_slopes


def _linear_count(inputs: int) -> int:
    """Return D for D + D (D + 1) / 2 inputs."""
    return (isqrt(9 + 8 * inputs) - 3) // 2


@contextmanager
def abort_all_ranks_on_error(errors_are_collective: bool) -> Iterator[None]:
    """Terminate all ranks on an exception, where LAMMPS would otherwise wait for this rank forever.

    LAMMPS' own Python ML-IAP handles an exception on its rank only. The traceback is printed and the process ends, upon
    which the MPI launcher terminates the others. Our plugin handles exceptions collectively.

    Args:
        errors_are_collective: whether the caller handles exceptions on all ranks.
    """
    try:
        yield
    except Exception:  # of any kind: each would leave the other ranks waiting; it is raised again or printed
        if errors_are_collective or world_size() == 1:
            raise
        sys.stderr.write(traceback.format_exc())  # a single write, so that output of several ranks is not interleaved
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
