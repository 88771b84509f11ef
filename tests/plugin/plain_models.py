"""Models for the tests that start fast: without torch, and those that fail."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any

import numpy as np

from fitsnap_nn.plugin.data import Data


class Empty:
    """Computes nothing.

    Args:
        declared: further attributes.
    """

    element_types = ("Ar",)
    rcutfac = 1.25
    ndescriptors = 1
    nparams = 1

    def __init__(self, **declared: Any) -> None:
        for name, value in declared.items():
            setattr(self, name, value)

    def compute_descriptors(self, data: Data) -> None:
        pass

    def compute_gradients(self, data: Data) -> None:
        pass

    def compute_forces(self, data: Data) -> None:
        pass


class LennardJones(Empty):
    """4 ε ((σ/r)^12 - (σ/r)^6), cut off without a shift, as LAMMPS' lj/cut."""

    pairwise = True

    def compute_forces(self, data: Data) -> None:
        squared = np.sum(data.rij**2, axis=1)
        power6 = (self.sigma**2 / squared) ** 3
        data.update_pair_energy(4.0 * self.epsilon * power6 * (power6 - 1.0))
        half_slope = 12.0 * self.epsilon * power6 * (1.0 - 2.0 * power6) / squared
        data.update_pair_forces(half_slope[:, np.newaxis] * data.rij)


class FailsOnLoading(Empty):
    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.rank == this_rank():
            raise ArithmeticError("cannot be loaded here")


class Fails(Empty):
    """Exchanges features, and raises an exception at a step on a rank, before, in or after the exchange.

    Attributes:
        rank, step, moment: when.
    """

    steps = 0

    def compute_forces(self, data: Data) -> None:
        self.steps += 1
        features = np.zeros((data.ntotal, 3))
        self.fail_at("before", data, features)
        data.forward_exchange(features, features, 3)
        self.fail_at("after", data, features)

    def fail_at(self, moment: str, data: Data, features: np.ndarray) -> None:
        if self.rank != this_rank() or self.steps != self.step:
            return
        if self.moment == "in":
            data.forward_exchange(features[:-1], features, 3)
        elif self.moment == moment:
            raise ArithmeticError("no luck with the arithmetic")


class NotFinite(Empty):
    """Writes one number that is none into ``name`` on the first of the ranks that has the atom with a given id."""

    def compute_forces(self, data: Data) -> None:
        (rows,) = np.nonzero(data.tags[: data.nlocal] == self.tag)
        for row in rows:
            getattr(data, self.name)[row] = np.nan


class KeepsData(Empty):
    """Keeps its views of the first step, and calls LAMMPS with them at the third."""

    kept: Data | None = None
    steps = 0

    def compute_forces(self, data: Data) -> None:
        self.steps += 1
        if self.kept is None:
            self.kept = data
        if self.steps == 3:
            sys.stdout.write(f"sum of kept numbers is finite: {bool(np.isfinite(self.kept.rij.sum()))}\n")
            self.kept.update_pair_forces(self.kept.rij)


class WidthOfRank(Empty):
    """Exchanges features of widths that differ between ranks."""

    def compute_forces(self, data: Data) -> None:
        features = np.zeros((data.ntotal, 1 + this_rank()))
        data.forward_exchange(features, features, features.shape[1])


def matrix_product() -> str:
    """The digits of a product in float64, by torch."""
    import torch

    numbers = torch.linspace(-1.0, 1.0, 100 * 100, dtype=torch.float64).sin().reshape(100, 100)
    return hashlib.sha256((numbers @ numbers).numpy().tobytes()).hexdigest()


class Multiplies(Empty):
    """Tells the digits of a matrix product."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.digits = matrix_product()

    def compute_forces(self, data: Data) -> None:
        sys.stdout.write(f"digits {self.digits}\n")


class Threads(Empty):
    """Tells how many threads torch takes."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        import torch

        self.__dict__.update(state)
        torch.set_num_threads(self.taken)

    def compute_forces(self, data: Data) -> None:
        import torch

        # One piece, so that the lines of two ranks are not mixed where Python does not buffer.
        sys.stdout.write(f"{torch.get_num_threads()} threads of torch\n")


def this_rank() -> int:
    return int(os.environ.get("PMI_RANK", "0"))
