"""Checks of layer_sizes, the nodes per layer of a network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

# Activations of the hidden layers, the keys of `fitsnap_nn.models.mlp.ACTIVATIONS`.
ACTIVATIONS = ("softplus", "tanh", "sigmoid", "silu", "gelu", "relu", "linear")
MAX_DIGITS = 9  # of a number of nodes
MAX_LAYERS = 1000
MAX_PARAMETERS = 10**8


def layers_problem(words: Sequence[str], output: str) -> str:
    """Return what is wrong with the words of ``layer_sizes``; empty if nothing is.

    Args:
        words: ``num_desc`` or a number, then the number of nodes of each layer.
        output: the quantity of the last layer.
    """
    if words[0] != "num_desc" and not is_positive(words[0]):
        return f"{words[0]} is neither num_desc nor a positive integer"
    if wrong := [word for word in words[1:] if not is_positive(word)]:
        return f"{' '.join(wrong)}: not a positive integer"
    if len(words) < 2 or int(words[-1]) != 1:
        return f"the last layer must have 1 node, the {output}"
    return ""


def size_problem(widths: Sequence[int], networks: int = 1) -> str:
    """Return why networks do not fit into memory: weights, gradients and the two moments of Adam; empty if they do.

    Args:
        widths: number of inputs, then of the nodes of each layer.
        networks: number of networks.
    """
    parameters = networks * sum((one + 1) * other for one, other in pairwise(widths))
    if parameters <= MAX_PARAMETERS and len(widths) <= MAX_LAYERS:
        return ""
    memory = f"{16 * parameters / 2**30:.2g} GiB to train"
    limits = f"The limits are {MAX_LAYERS} layers and {MAX_PARAMETERS:.0e} parameters; fits need below 1e6"
    return f"{len(widths) - 1} layers with {parameters:.2g} parameters ({memory}). {limits}"


def is_positive(word: str) -> bool:
    """Return whether a word is a positive integer of at most ``MAX_DIGITS`` digits."""
    return word.isascii() and word.isdigit() and 0 < len(word.lstrip("0")) <= MAX_DIGITS
