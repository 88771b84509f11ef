"""The object behind ``pair_style mliap model mliappy``, for LAMMPS with our plugin or with Python ML-IAP.

LAMMPS opens a name that ends in .pt or .pth with ``torch.load``, which since torch 2.6 refuses every object that can
be called; any other name goes through plain ``pickle``. So the file is a pickle; it holds no more than the name of a
function of this module and a payload that ``torch.load(weights_only=True)`` reads.
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

from fitsnap_nn.export.payload import keep_to_one_thread, packed, unpacked
from fitsnap_nn.launch import world_size
from fitsnap_nn.models.mlp import energy_and_gradient

Network = tuple[Tensor, Tensor, Sequence[tuple[Tensor, Tensor]], str]


class MliapModel:
    """Energies of atoms, and their derivatives by the descriptors, as LAMMPS asks for them.

    Attributes:
        n_descriptors, n_elements, n_params: what LAMMPS checks its descriptors and ``pair_coeff`` against.
        units: the LAMMPS units of its numbers.
        errors_are_collective: whether an exception on one rank ends all of them, as it does in our plugin.
    """

    units = "metal"
    errors_are_collective = False

    def __init__(self, networks: Sequence[Network], quadratic: bool = False) -> None:
        """
        Args:
            networks: shift (D,), scale (D,), layers (weight, bias) and activation of each element, float64.
            quadratic: the networks' D inputs are the descriptors and half their squares and all their products.
        """
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
        """Fill in energies and derivatives of the N atoms of this rank.

        Args:
            elems: (N,) index of each atom's element, from 0.
            descriptors: (N, D).
            beta: (N, D), receives dE_i/dB_i in eV.
            energy: (N,), receives E_i in eV; LAMMPS hands it over uninitialised.
        """
        with ending_all_ranks(self.errors_are_collective):
            self._fill(elems, descriptors, beta, energy)

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
        if not (np.isfinite(energy).all() and np.isfinite(beta).all()):
            raise FloatingPointError(
                "the network's energy is not a finite number: atoms have come too close, or the run has blown up"
            )

    def __reduce__(self) -> tuple[Callable[[bytes], MliapModel], tuple[bytes]]:
        content = {"networks": [tuple(network) for network in self.networks], "quadratic": self.quadratic}
        return from_bytes, (packed(content),)


def from_bytes(payload: bytes) -> MliapModel:
    """The model that a pickle holds."""
    keep_to_one_thread()
    return MliapModel(**unpacked(payload))


def to_pickle(model: MliapModel) -> bytes:
    """What the file that LAMMPS opens must hold."""
    return pickle.dumps(model, protocol=4)


def _evaluate(network: Network, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (N,) of atoms of one element and their derivatives (N, D) by the inputs (N, D)."""
    shift, scale, layers, activation = network
    weights, biases = zip(*layers, strict=True)
    energies, slopes, _ = energy_and_gradient((inputs - shift) / scale, weights, biases, activation)
    return energies, slopes / scale


def _evaluate_products(network: Network, linear: Tensor) -> tuple[Tensor, Tensor]:
    """The same for a network whose inputs are the descriptors (N, D) and their products."""
    linear = linear.requires_grad_(True)
    inputs = _with_products(linear)
    energies, slopes = _evaluate(network, inputs.detach())
    (linear_slopes,) = torch.autograd.grad(inputs, linear, slopes)
    return energies, linear_slopes


def _with_products(linear: Tensor) -> Tensor:
    """Quadratic SNAP: (N, D) -> (N, D + D (D + 1) / 2), the squares halved, row by row of the upper triangle."""
    first, second = torch.triu_indices(linear.shape[1], linear.shape[1])
    factor = torch.where(first == second, 0.5, 1.0)
    return torch.cat([linear, linear[:, first] * linear[:, second] * factor], dim=1)


def _linear_count(inputs: int) -> int:
    """D from D + D (D + 1) / 2."""
    return (isqrt(9 + 8 * inputs) - 3) // 2


@contextmanager
def ending_all_ranks(errors_are_collective: bool) -> Iterator[None]:
    """Where an exception on one rank would leave the others waiting for it for ever, print it and end this process.

    That makes the MPI launcher end them all. In LAMMPS' own Python ML-IAP this is so, in our plugin it is not.
    """
    try:
        yield
    except Exception:
        if errors_are_collective or world_size() == 1:
            raise
        sys.stderr.write(traceback.format_exc())  # in one piece, other ranks may speak at the same time
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
