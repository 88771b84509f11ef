"""Choice of the loss of each property: [PYTORCH] loss and huber_delta, and the options of [TARGETS]."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import NamedTuple

from fitsnap_nn.settings.problems import ValueProblem, did_you_mean, parse_real

ENTRY_POINT_GROUP = "fitsnap_nn.losses"
BUILT_IN = ("mse", "mae", "huber")
WITHOUT_DELTA = frozenset({"mse", "mae"})

# Units of the residuals that the loss is computed from, and the default delta in these units.
UNITS: Mapping[str, str] = MappingProxyType({"energy": "eV/atom", "forces": "eV/Å", "stress": "bar"})
DEFAULT_DELTA: Mapping[str, float] = MappingProxyType({"energy": 0.01, "forces": 0.1, "stress": 1000.0})
# [CALCULATOR] and the weights say force: users who write it here mean the same property.
ALIASES: Mapping[str, str] = MappingProxyType({"force": "forces"})


class LossChoice(NamedTuple):
    """Loss of one property.

    Attributes:
        kind: ``mse``, ``mae``, ``huber`` or the name of an entry point of the group ``fitsnap_nn.losses``.
        delta: residual at which the loss turns from quadratic to linear, in the unit of the residual; ``mse`` and
            ``mae`` have none and ignore it.
    """

    kind: str
    delta: float


@cache
def loss_names() -> tuple[str, ...]:
    """Return the names of all losses; those of other packages come from their metadata, nothing is imported."""
    points = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    return (*BUILT_IN, *sorted(points - set(BUILT_IN)))


def loss_name(word: str) -> str:
    """Return the name of a loss as it is registered, whatever its case in the input.

    Raises:
        ValueProblem: no loss has this name.
    """
    by_lower = {name.lower(): name for name in loss_names()}
    if word.lower() not in by_lower:
        hint = did_you_mean(word, loss_names()) or f"The losses are {', '.join(loss_names())}."
        raise ValueProblem(f"unknown loss {word}", hint)
    return by_lower[word.lower()]


def parse_losses(words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Parse ``[PYTORCH] loss``: one name for all properties, or pairs of property and name.

    Returns:
        The loss of properties without one of their own, and the losses by property.

    Raises:
        ValueProblem: an unknown loss, or not one word and no pairs.
    """
    if len(words) == 1:
        return loss_name(words[0]), {}
    pairs = pairs_of(words, "Use one loss for all properties, or pairs such as energy huber forces mae stress mse.")
    return "mse", {name: loss_name(word) for name, word in pairs.items()}


def parse_deltas(words: Sequence[str], kinds: Mapping[str, str]) -> dict[str, float]:
    """Parse ``[PYTORCH] huber_delta``: pairs of property and number, or one number for the only Huber loss.

    Args:
        words: value of the key.
        kinds: loss of each property.

    Raises:
        ValueProblem: not a positive finite number, not pairs, or one number for properties of different units.
    """
    hint = "Give each property its own in its unit, such as energy 0.01 forces 0.1 stress 1000 (eV/atom, eV/Å, bar)."
    if len(words) == 1:
        names = [name for name, kind in kinds.items() if kind not in WITHOUT_DELTA]
        if len(names) > 1:
            what = f"the single number {words[0]} is ambiguous: {', '.join(names)} have different units"
            raise ValueProblem(what, hint)
        return dict.fromkeys(names, parse_delta(words[0]))
    return {name: parse_delta(word) for name, word in pairs_of(words, hint).items()}


def parse_delta(word: str) -> float:
    """Convert a delta to a number.

    Raises:
        ValueProblem: it is not a finite number above 0.
    """
    try:
        delta = parse_real(word)
    except ValueProblem:
        delta = 0.0
    if not delta > 0:
        raise ValueProblem(f"'{word}' is not a positive number")
    return delta


def choose_losses(loss: Sequence[str], huber_delta: Sequence[str]) -> dict[str, LossChoice]:
    """Return the loss of energy, forces, stress and of every other property that one of the two keys names.

    Raises:
        ValueProblem: one of the two values is malformed.
    """
    common, chosen = parse_losses(loss)
    kinds = {**dict.fromkeys(DEFAULT_DELTA, common), **chosen}
    deltas = {**DEFAULT_DELTA, **parse_deltas(huber_delta, kinds)}
    names = dict.fromkeys([*kinds, *deltas])
    return {name: LossChoice(kinds.get(name, common), deltas.get(name, 1.0)) for name in names}


def pairs_of(words: Sequence[str], hint: str) -> dict[str, str]:
    """Return the pairs of property and value in a list of words.

    Raises:
        ValueProblem: not pairs, or a name that is given twice; ``hint`` is the remedy.
    """
    names = [ALIASES.get(word, word) for word in words[::2]]
    if len(words) % 2:
        raise ValueProblem(f"'{' '.join(words)}' is not a list of pairs of property and value", hint)
    counts = Counter(names)
    for name, count in counts.items():
        if not name.isidentifier():
            raise ValueProblem(f"'{name}' is not the name of a property", hint)
        if count > 1:
            raise ValueProblem(f"{name} is given {count} times", "Remove all but one.")
    return dict(zip(names, words[1::2], strict=True))
