"""The restart file: everything the next epoch depends on; plain values and tensors only; never half written."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.files import atomic_write

FORMAT = "fitsnap_nn restart"
VERSION = 2


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
        model: payload of the model file, with the best weights.
        trainer: ``Trainer.state_dict()``.
        settings: the settings that a continued fit must share.
        data: digest of the training and testing data.
        split_seed: what the shuffle before their split started from.

    Raises:
        CheckpointError: it cannot be written.
    """
    payload = {"format": FORMAT, "version": VERSION, "model": model, "trainer": trainer}
    try:
        with atomic_write(path) as file:
            torch.save({**payload, "settings": dict(settings), "data": data, "split_seed": split_seed}, file)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}. What it held before is untouched.") from error


def load_restart(path: Path) -> dict[str, Any]:
    """Read a restart file, running no code in it.

    Raises:
        CheckpointError: it is missing, damaged, not a restart file, or of another version.
    """
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no restart file {path}.") from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} is not a restart file of fitsnap_nn, or is damaged: {error}") from error
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a restart file of fitsnap_nn (the file of save_state_output).")
    if payload["version"] > VERSION:
        raise CheckpointError(f"{path} was written by a later fitsnap_nn (format {payload['version']}). Update.")
    if payload["version"] < VERSION:
        raise CheckpointError(
            f"{path} is a restart file of version {payload['version']}, but version {VERSION} is needed. "
            "Finish the fit with the version that started it, or start it again; the best model in the file can still "
            "be loaded and exported."
        )
    return payload


def refuse_differences(path: Path, differences: Sequence[str]) -> None:
    """Refuse to continue a fit with an input, or data, that it was not begun with.

    Raises:
        CheckpointError: there are differences.
    """
    if differences:
        listed = "\n  ".join(differences)
        raise CheckpointError(
            f"{path} belongs to another fit:\n  {listed}\nContinue with the input it was begun with, "
            "or start anew in another [OUTFILE] folder."
        )
