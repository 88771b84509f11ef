"""Parallel evaluation of a model on many configurations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from fitsnap_nn import devices
from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.properties import Property
from fitsnap_nn.errors import FitsnapError
from fitsnap_nn.inputs.base import CachedInput
from fitsnap_nn.models.base import Model
from fitsnap_nn.models.evaluation import evaluate_together, to_float64
from fitsnap_nn.models.uncertainty import Uncertainty
from fitsnap_nn.training.distributed import Ranks, rank_batches

MAX_ATOMS = 300.0  # per batch: amortises the overhead of a batch, with little memory
# On a GPU batches must be larger to keep it busy. An atom of a large graph model needs some 20 MB with its derivatives
# in float64; where it is more, the batches are halved.
ATOMS_PER_GIB = 25.0


def evaluate_all(
    model: Model[Any],
    configurations: Sequence[Configuration],
    inputs_of: Callable[[Sequence[Configuration]], Sequence[CachedInput]],
    ranks: Ranks,
    properties: Sequence[Property],
    *,
    release: Callable[[], None] = lambda: None,
    device: torch.device | None = None,
    say: Callable[[str], None] = lambda _: None,
    uncertainty: Uncertainty | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Evaluation]:
    """Evaluate a model in float64 on all ranks and collect the predictions on rank 0.

    Args:
        model: the model; left unchanged.
        configurations: the configurations, the same on every rank.
        inputs_of: returns the model inputs of configurations, in order.
        ranks: the ranks of this run.
        properties: requested properties.
        release: called after each batch, to release the memory of its cached inputs.
        device: where to evaluate; ``None`` for the device of the model.
        say: prints a line, on rank 0.
        uncertainty: see `fitsnap_nn.models.evaluation.evaluate`.
        progress: called with the number of configurations of this rank that are done, and of all.

    Returns:
        One evaluation per configuration, in the same order, on rank 0; an empty list on other ranks.

    Raises:
        FitsnapError: the GPU has not enough memory for a single configuration.
    """
    model = to_float64(model, device)
    evaluations: dict[int, Evaluation] = {}

    def evaluate(numbers: Sequence[int]) -> None:
        progress(len(evaluations), total)
        members = [configurations[number] for number in numbers]
        predictions = evaluate_together(model, members, inputs_of(members), properties, uncertainty)
        evaluations.update(zip(numbers, predictions, strict=True))
        release()

    sizes = [float(len(configuration)) for configuration in configurations]
    limit = _max_atoms(model.element_energies.device)
    batches = list(rank_batches(sizes, limit, ranks))
    total = sum(map(len, batches))
    halved = for_each_within_memory(batches, evaluate)
    found = ranks.gather((evaluations, halved))
    if most := max((times for _, times in found), default=0):
        say(f"note: evaluation batches divided by {2**most}, because larger ones exceed the memory of the GPU")
    everything = {number: one for of_rank, _ in found for number, one in of_rank.items()}
    return [everything[number] for number in sorted(everything)]


def _max_atoms(device: torch.device) -> float:
    """Return the maximum number of atoms of a batch."""
    free = devices.free_memory(device)
    return MAX_ATOMS if free is None else max(MAX_ATOMS, ATOMS_PER_GIB * free / 2**30)


def for_each_within_memory(groups: list[list[int]], evaluate: Callable[[Sequence[int]], None]) -> int:
    """Call a function for each group; where the memory of the GPU does not suffice, all groups left are halved.

    Args:
        groups: indices of configurations.
        evaluate: is called again with the parts of a group for which it ran out of memory.

    Returns:
        How often the groups were halved.

    Raises:
        FitsnapError: the memory does not suffice for a single configuration.
    """
    waiting, halved = groups[::-1], 0
    while waiting:
        if _fits(evaluate, waiting[-1]):
            waiting.pop()
            continue
        if len(waiting[-1]) == 1:
            raise FitsnapError(
                "the memory of the GPU does not suffice to evaluate a single configuration. Close other programs that "
                "use the GPU, evaluate on the CPU ([PYTORCH] device = cpu), or remove the largest configuration."
            )
        halved += 1
        parts = ([one[len(one) // 2 :], one[: len(one) // 2]] for one in waiting)
        waiting = [part for both in parts for part in both if part]
    return halved


def _fits(evaluate: Callable[[Sequence[int]], None], group: Sequence[int]) -> bool:
    """Return whether a group could be evaluated in the memory of the GPU."""
    try:
        evaluate(group)
    except torch.OutOfMemoryError:
        return False  # the tensors that the traceback refers to are freed only after this block
    return True
