"""Computation of the model inputs that the cache lacks, by ranks that see one cache folder or several."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.properties import Derivatives
from fitsnap_nn.errors import DataError, counted
from fitsnap_nn.files import create_locked
from fitsnap_nn.inputs import ModelInput
from fitsnap_nn.inputs.cache.compute import compute_missing, estimated_cost
from fitsnap_nn.inputs.cache.store import InputStore
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings.schema import Settings
from fitsnap_nn.training.distributed import Ranks, partition_by_cost

# s; NFS shows files that another machine has written after up to a minute, the default of its option acdirmax.
VISIBLE_AFTER = 90.0
TOKEN = "rank"
PAUSE = 1.0  # s between two looks


def compute_model_inputs(
    store: InputStore,
    model_input: ModelInput,
    configurations: Sequence[Configuration],
    settings: Settings,
    derivatives: Derivatives,
    ranks: Ranks,
    console: Console,
) -> None:
    """Compute the inputs that the cache lacks; the ranks that see the same cache folder share the work.

    Args:
        store: the cache.
        model_input: computes the inputs.
        configurations: of all sets, the same on every rank.
        settings: settings of the fit.
        derivatives: which derivatives the properties need.
        ranks: the ranks of this run.
        console: prints on the first rank.

    Raises:
        DataError: the cache cannot be written, or its files do not become visible.
        LammpsError: an input cannot be computed.
    """
    groups = ranks_by_folder(store.folder, ranks)
    mates = next(group for group in groups if ranks.rank in group)
    first = ranks.rank == mates[0]
    # One rank per folder looks for damaged inputs, so that ranks neither repair the same file nor read it all at once.
    with console.task("looking for model inputs in the cache"):
        absent = set(ranks.share([c.fingerprint() for c in store.missing(configurations)] if first else [])[mates[0]])
    first_of = {c.fingerprint(): c for c in reversed(configurations)}
    missing = [c for fingerprint, c in first_of.items() if fingerprint in absent]
    store.refresh()
    costs = [estimated_cost(c, model_input.cutoff) for c in missing]
    mine = partition_by_cost(costs, len(mates))[mates.index(ranks.rank)]
    if mine:
        progress = console.progress("model inputs")
        with model_input.open(settings.reference, Path(settings.folder), derivatives) as compute:
            compute_missing([missing[number] for number in mine], compute, store, progress)
    with console.task("waiting for the model inputs of other ranks"):
        ranks.barrier()
        _wait_until_visible(store, list(first_of), ranks)
    found = f"{len(missing)} computed, {len(first_of) - len(missing)} from the cache"
    console.line(f"{model_input.summary} · {found} · {store.size_bytes / 2**20:.1f} MiB in {store.folder}")
    if len(groups) > 1:
        each = ", ".join(counted(len(group), "rank") for group in groups)
        console.line(
            f"  note: {len(groups)} different cache folders of this name ({each}): the ranks of each compute all model "
            "inputs. With [MEMORY] cache on a shared file system they are computed once"
        )


def ranks_by_folder(folder: Path, ranks: Ranks) -> list[list[int]]:
    """Return the ranks that see the same folder, those of each folder ascending, in the order of their first.

    Machines can have different folders of one name, such as a local disk. Neither path, device nor inode tell them
    apart in all cases; a file that another rank has just created does.

    Args:
        folder: created if it is missing.
        ranks: the ranks of this run.
    """
    if ranks.size == 1:
        return [[0]]
    with _token(folder) as own:
        ranks.barrier()
        seen = {path.name for path in folder.glob(f".{TOKEN}.*")}
        everything = ranks.share((own, seen))
    groups: list[list[int]] = []
    for rank, (name, others) in enumerate(everything):
        known = [group for group in groups if any(_same(everything[one], (name, others)) for one in group)]
        merged = sorted([rank, *(one for group in known for one in group)])
        groups = [group for group in groups if group not in known] + [merged]
    return sorted(groups)


@contextmanager
def _token(folder: Path) -> Iterator[str]:
    """Create a file with a random name in a folder for the block; yield its name, empty if there is no permission."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Its name is that of a temporary file, so that it is removed later if this process is killed now.
        file = create_locked(lambda: folder / f".{TOKEN}.{uuid.uuid4().hex}")
    except OSError:  # a complete cache need not be written
        yield ""
        return
    with file:
        yield Path(file.name).name
    Path(file.name).unlink(missing_ok=True)


def _same(one: tuple[str, set[str]], other: tuple[str, set[str]]) -> bool:
    """Return whether one of two ranks sees the file of the other, the name and what it sees given for each."""
    return one[0] in other[1] or other[0] in one[1]


def _wait_until_visible(store: InputStore, fingerprints: Sequence[str], ranks: Ranks) -> None:
    """Wait for the files of other ranks, which network file systems show late.

    Raises:
        DataError: some are still not there.
    """
    store.refresh()
    ends = time.monotonic() + VISIBLE_AFTER
    while lacking := [one for one in fingerprints if one not in store]:
        if time.monotonic() > ends:
            raise DataError(
                f"rank {ranks.rank} on {socket.gethostname()} does not see {counted(len(lacking), 'model input')} in "
                f"{store.folder} written by another rank {VISIBLE_AFTER:.0f} s ago. Set [MEMORY] cache to a folder "
                "that all machines share, or to a local one."
            )
        time.sleep(PAUSE)
        store.refresh()
