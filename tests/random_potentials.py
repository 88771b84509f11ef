"""Small crystals and random networks on them, for tests that need a potential but no fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import Derivatives
from fitsnap_nn.inputs import DescriptorInput
from fitsnap_nn.inputs.ace.rows import AceRows
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.inputs.snap.rows import SnapRows
from fitsnap_nn.models import BPNN
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.schema import Bispectrum, Reference

INP_ACE = Ace(
    num_types=2, type=("In", "P"), ranks=(1, 2, 3), nmax=(3, 2, 1), lmax=(0, 2, 1), nmaxbase=3,
    rcutfac=(4.2, 4.0, 3.9, 3.6),
)  # fmt: skip
BCC = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])


def crystal(
    elements: Sequence[str], seed: int, *, repeat: int = 2, skew: float = 0.0, displacement: float = 0.1
) -> Configuration:
    """A bcc crystal of 2 ``repeat``³ atoms of random elements, displaced by random vectors.

    Args:
        skew: deviation of the random entries added to the unit matrix that deforms the crystal.
        displacement: deviation of each coordinate, Å.
    """
    random = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(*[np.arange(repeat)] * 3), axis=-1).reshape(-1, 1, 3)
    deformation = np.eye(3) + skew * random.standard_normal((3, 3))
    positions = 3.3 * (corners + BCC).reshape(-1, 3) @ deformation
    return Configuration(
        id=f"crystal/{seed}",
        group="crystal",
        species=tuple(str(element) for element in random.choice(elements, len(positions))),
        positions=positions + displacement * random.standard_normal(positions.shape),
        cell=3.3 * repeat * np.eye(3) @ deformation,
    )


def random_bpnn(
    bispectrum: Bispectrum, *, activation: str = "tanh", option: int = 1, hidden: Sequence[int] = (8, 8), seed: int = 0
) -> BPNN:
    """A network with random weights in float64, standardised on a few crystals, with an energy for each element."""
    torch.manual_seed(seed)
    elements = bispectrum.type
    model = BPNN(SnapInput(bispectrum), hidden, activation, option)
    model.set_precision(torch.float64)
    mean, deviation = statistics(model.input)
    factor = torch.linspace(1.0, 1.3, len(elements), dtype=torch.float64)[:, None]
    model.standardize(mean * factor, deviation * factor, deviation)
    model.element_energies += torch.linspace(-11.0, -7.0, len(elements), dtype=torch.float64)
    return model


def random_linear(descriptors: Bispectrum | Ace, seed: int = 0) -> LinearModel:
    """A linear model with random coefficients, all terms of which are of order 0.1 eV per atom."""
    model = LinearModel(AceRows(descriptors) if isinstance(descriptors, Ace) else SnapRows(descriptors))
    random = np.random.default_rng(seed)
    _, deviation = statistics(model.input)
    coefficients = 0.1 * random.standard_normal(model.coefficients.shape) / deviation.numpy()
    constants = random.uniform(-11.0, -7.0, (len(coefficients), int(model.has_constants)))
    model.assign(np.where(model.fitted, np.hstack([constants, coefficients]).ravel(), 0.0))
    return model


def statistics(model_input: DescriptorInput) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (D,) of the descriptors over a few crystals; 1 for constant ones."""
    with model_input.open(Reference(), Path(), Derivatives(positions=False, strain=False)) as compute:
        found = [compute.compute(crystal(model_input.elements, number)).descriptors for number in range(3)]
    descriptors = torch.from_numpy(np.concatenate(found))
    spread = descriptors.std(dim=0)
    return descriptors.mean(dim=0), torch.where(spread > 1e-6, spread, 1.0)
