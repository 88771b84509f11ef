"""Text file of ``pair_style mliap model nn``, which LAMMPS runs without Python.

LAMMPS silently treats an unknown activation as linear; such networks are therefore refused here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from fitsnap_nn.lammps.program import NN_ACTIVATIONS
from fitsnap_nn.models.bpnn import PlainNetwork

# In the first line of a potential file, LAMMPS compares this with the units of the input (utils::open_potential).
UNITS_TAG = "UNITS: metal"
NUMBERS_PER_LINE = 10  # LAMMPS reads at most 30


def unsupported_reason(networks: Sequence[PlainNetwork], quadratic: bool) -> str:
    """Return the reason why LAMMPS' ``model nn`` does not support networks; empty if it does.

    Args:
        networks: one network per element.
        quadratic: whether the inputs include products of descriptors.
    """
    if quadratic:
        return "model nn does not support products of descriptors (quadraticflag = 1)"
    activation = networks[0].activation
    if activation not in NN_ACTIVATIONS and len(networks[0].layers) > 1:
        return f"model nn supports the activations {', '.join(NN_ACTIVATIONS)}, not {activation}"
    return ""


def nn_text(networks: Sequence[PlainNetwork]) -> str:
    """Return the file: number of elements and parameters, the layers, then shift, scale and nodes of each element.

    Args:
        networks: one network per element.

    Raises:
        ValueError: the networks are not supported, see `unsupported_reason`.
    """
    if reason := unsupported_reason(networks, quadratic=False):
        raise ValueError(reason)
    shift, _, layers, activation = networks[0]
    count = sum(weight.numel() + bias.numel() for weight, bias in layers)
    activations = [activation] * (len(layers) - 1) + ["linear"]
    words = [f"{name} {len(bias)}" for name, (_, bias) in zip(activations, layers, strict=True)]
    lines = [
        f"# SNAP neural network for pair_style mliap model nn. {UNITS_TAG} (eV)",
        f"{len(networks)} {count}",
        f"NET {len(shift)} {len(layers)} {' '.join(words)}",
    ]
    for network in networks:
        lines += _wrapped(network.shift.tolist())
        lines += _wrapped(network.scale.tolist())
        for weight, bias in network.layers:
            for node_bias, node_weights in zip(bias.tolist(), weight.tolist(), strict=True):
                lines += _wrapped([node_bias, *node_weights])
    return "\n".join(lines) + "\n"


def _wrapped(numbers: Iterable[float]) -> Iterator[str]:
    """Yield lines of numbers with all digits of float64."""
    words = (f"{number:.17g}" for number in numbers)
    while line := " ".join(islice(words, NUMBERS_PER_LINE)):
        yield line
