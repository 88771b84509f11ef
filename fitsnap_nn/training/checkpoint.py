"""Restart files: the complete state of a fit between two steps.

They contain plain values and tensors only, so that they load with ``weights_only=True``, and are written atomically.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.files import atomic_write, read_regular
from fitsnap_nn.integrity import damaged, deserialize, serialize

CONTENTS = {"model": dict, "trainer": dict, "settings": dict, "data": str, "split_seed": int}
FORMAT = "fitsnap_nn restart"
# Version 3 can contain a part of an epoch, which readers of version 2 would ignore; it has nothing else that is new.
VERSION, OLDEST = 3, 2


def save_restart(
    path: Path,
    *,
    model: Mapping[str, Any],
    trainer: Mapping[str, Any],
    settings: Mapping[str, Any],
    data: str,
    split_seed: int,
) -> None:
    """Write a restart file.

    Args:
        path: the file.
        model: payload of the model file, with the best weights.
        trainer: ``Trainer.state_dict()``.
        settings: settings that must not change when the fit is resumed.
        data: digest of the data, their split and their weights.
        split_seed: seed of the split into training, validation and test set.

    Raises:
        CheckpointError: the file cannot be written; an existing one is left unchanged.
    """
    payload = {"format": FORMAT, "version": VERSION, "model": model, "trainer": trainer}
    try:
        with atomic_write(path) as file:
            file.write(serialize({**payload, "settings": dict(settings), "data": data, "split_seed": split_seed}))
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}. The previous file is unchanged.") from error


def load_restart(path: Path) -> dict[str, Any]:
    """Read a restart file with ``weights_only=True``, so that no code in it is run.

    Args:
        path: the file.

    Returns:
        The arguments of `save_restart`, besides ``path``, by name.

    Raises:
        CheckpointError: the file is missing, damaged, not a restart file, or of another version.
    """
    try:
        payload = deserialize(read_regular(path), str(path))
    except FileNotFoundError:
        raise CheckpointError(f"the restart file {path} does not exist.") from None
    except OSError as error:
        raise CheckpointError(f"cannot read the restart file {path}: {error.strerror}.") from error
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a restart file of fitsnap_nn (the file of save_state_output).")
    if not isinstance(payload.get("version"), int):
        raise damaged(str(path), "it states no version")
    if payload["version"] > VERSION:
        raise CheckpointError(
            f"{path} was written by a newer fitsnap_nn (format {payload['version']}). Update fitsnap_nn."
        )
    if payload["version"] < OLDEST:
        raise CheckpointError(
            f"{path} is a restart file of version {payload['version']}, but version {OLDEST} is required. "
            "Finish the fit with the fitsnap_nn that started it, or start a new fit; [PYTORCH] start_from begins with "
            "the weights of the best model in the file, which can also be exported."
        )
    if wrong := [key for key, kind in CONTENTS.items() if not isinstance(payload.get(key), kind)]:
        raise damaged(str(path), f"it lacks {', '.join(wrong)}")
    return payload


def refuse_differences(path: Path, differences: Sequence[str]) -> None:
    """Refuse to resume a fit with settings or data that differ from those it was started with.

    Args:
        path: the restart file.
        differences: one line per difference.

    Raises:
        CheckpointError: there are differences.
    """
    if differences:
        listed = "\n  ".join(differences)
        raise CheckpointError(
            f"{path} belongs to another fit:\n  {listed}\nResume with the input that the fit was started with, "
            "or start a new fit in another [OUTFILE] folder. With [PYTORCH] start_from, a new fit starts from the "
            "weights of this file, with other settings and data."
        )
