"""The committee of models from several fits, as one model file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import torch

from fitsnap_nn.data.split import Split
from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.export.model_file import ModelFile
from fitsnap_nn.export.pair_style import ModelStyle, pair_commands
from fitsnap_nn.models import GraphModel
from fitsnap_nn.models.mixed_committee import MixedCommittee, members_of
from fitsnap_nn.settings.schema import Reference

MEMBERS = "Members: models of the energy, on SNAP or ACE descriptors or on neighbour graphs."

MODEL = "MODEL"  # stands for the pair style of the model


class Fixed(NamedTuple):
    """Properties that all models of a committee share, and the file that states them."""

    source: str
    elements: Sequence[str]
    reference: Reference
    files: Mapping[str, bytes] | None
    eshift: Mapping[str, float]


def combine(files: Sequence[ModelFile], weights: Sequence[float] = ()) -> ModelFile:
    """Return the mean of the models of several files.

    It is in the lowest precision of the members; those on descriptors are in float64. What is trained or validated on
    in one of the fits is so for the whole; the validation set excludes what any member was trained on.

    Args:
        files: at least two.
        weights: of the files, with a sum of 1, shared equally by the members of a committee; if empty, all members of
            all files have the same weight.

    Raises:
        CheckpointError: the models do not go together; the message names the file and the reason.
    """
    first = files[0]
    require_same([fixed_of(file) for file in files])
    by_file = [_members(file) for file in files]
    members = [member for of_file in by_file for member in of_file]
    shares = [share / len(of_file) for share, of_file in zip(weights, by_file, strict=False) for _ in of_file]
    precisions = {one.precision for one in members}
    model = MixedCommittee(members, shares)
    model.set_precision(torch.float32 if torch.float32 in precisions else torch.float64)
    origin = f"mean of {len(members)} models, from {', '.join(str(file.path) for file in files)}"
    return first._replace(
        model=model.eval().requires_grad_(False),
        provenance={"origin": origin},
        split=_merged([file.split for file in files]),
        uncertainty=None,
    )


def _members(file: ModelFile) -> list[GraphModel]:
    """Return independent models on neighbour graphs that the model of a file is the mean of.

    Raises:
        CheckpointError: it is of another kind, or predicts more than the energy and its derivatives.
    """
    if file.properties:
        names = ", ".join(row.name for row in file.properties)
        raise CheckpointError(f"{file.path} predicts {names}: committees have energies, forces and stresses only.")
    try:
        return members_of(file.model)
    except ValueError as error:
        raise CheckpointError(f"{file.path} cannot be a member of a committee: {error}. {MEMBERS}") from error


def fixed_of(file: ModelFile) -> Fixed:
    """Return the properties of a model that all models of a committee share."""
    return Fixed(str(file.path), file.model.elements, file.reference, file.files, file.eshift)


def require_same(members: Sequence[Fixed]) -> None:
    """Require what the members of a committee share.

    Raises:
        CheckpointError: it differs.
    """
    compared: dict[str, Callable[[Fixed], str]] = {
        "elements, in the same order": lambda one: " ".join(one.elements),
        "[REFERENCE]": lambda one: _reference(one.reference),
        "files of the reference potential": lambda one: _files(one.files),
        "[ESHIFT]": lambda one: _shifts(one.eshift),
    }
    first = members[0]
    for other in members[1:]:
        for name, text in compared.items():
            if text(first) != text(other):
                what = f"{other.source} has {text(other) or 'none'}, but {first.source} has {text(first) or 'none'}"
                raise CheckpointError(f"the models cannot be combined: {what}. Members need the same {name}.")


def _reference(reference: Reference) -> str:
    """Return the commands of a reference potential, without ``zero``, whose cutoff does not matter in LAMMPS."""
    first, *coefficients = pair_commands(reference, ModelStyle(MODEL), (), {})
    commands = [first.removesuffix(f" {MODEL}"), *coefficients[:-1]] if coefficients[:-1] else []
    return ", ".join([*commands, f"units {reference.units}", f"atom_style {reference.atom_style}"])


def _files(files: Mapping[str, bytes] | None) -> str:
    """Return names and checksums of the files of the reference potential."""
    return ", ".join(f"{word} ({sha256(one).hexdigest()[:8]})" for word, one in sorted((files or {}).items()))


def _shifts(eshift: Mapping[str, float]) -> str:
    return ", ".join(f"{element} {shift:g} eV" for element, shift in sorted(eshift.items()) if shift)


def _merged(splits: Sequence[Split | None]) -> Split | None:
    """Return what the fits have seen together; ``None`` if that of one is unknown."""
    known = [split for split in splits if split is not None]
    if len(known) < len(splits):
        return None
    training = {key for split in known for key in split.training}
    earlier = {key for split in known for key in split.earlier}
    validation = {key for split in known for key in split.validation}
    return Split(
        known[0].seed,
        tuple(sorted(training)),
        tuple(sorted(validation - training - earlier)),
        tuple(sorted(earlier - training)),
    )
