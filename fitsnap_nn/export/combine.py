"""The committee of models from several fits, as one model file."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import torch

from fitsnap_nn.data.split import Split
from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.export.model_file import ModelFile
from fitsnap_nn.models import GraphModel
from fitsnap_nn.models.mixed_committee import MixedCommittee, members_of
from fitsnap_nn.settings.schema import Reference

MEMBERS = "Members: models on neighbour graphs or on ACE descriptors (calculator = LAMMPSGRAPH or LAMMPSPACE)."


def combine(files: Sequence[ModelFile]) -> ModelFile:
    """Return the mean of the models of several files; those of a committee count one by one.

    It is in the lowest precision of the members. What is trained or validated on in one of the fits is so for the
    whole; the validation set excludes what any member was trained on.

    Args:
        files: at least two.

    Raises:
        CheckpointError: the models do not go together; the message names the file and the reason.
    """
    first = files[0]
    for other in files[1:]:
        _require_same(first, other)
    members = [member for file in files for member in _members(file)]
    precisions = {one.precision for one in members}
    model = MixedCommittee(members)
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
        raise CheckpointError(f"{file.path} is {error}, not a possible member. {MEMBERS}") from error


def _require_same(first: ModelFile, other: ModelFile) -> None:
    """Require what the members of a committee share.

    Raises:
        CheckpointError: it differs.
    """
    compared = {
        "elements, in the same order": [" ".join(one.model.elements) for one in (first, other)],
        "[REFERENCE]": [_reference(one.reference) for one in (first, other)],
        "files of the reference potential": [_files(one) for one in (first, other)],
        "[ESHIFT]": [_shifts(one) for one in (first, other)],
    }
    for name, (expected, found) in compared.items():
        if expected != found:
            what = f"{other.path} has {found or 'none'}, but {first.path} has {expected or 'none'}"
            raise CheckpointError(f"the models cannot be combined: {what}. Members need the same {name}.")


def _reference(reference: Reference) -> str:
    pair_style, *coefficients = (" ".join(one.split()) for one in (reference.pair_style, *reference.pair_coeff))
    commands = [f"pair_style {pair_style}", *(f"pair_coeff {one}" for one in coefficients)]
    return ", ".join([*commands, f"units {reference.units}", f"atom_style {reference.atom_style}"])


def _files(file: ModelFile) -> str:
    """Return names and checksums of the files of the reference potential."""
    return ", ".join(f"{word} ({sha256(one).hexdigest()[:8]})" for word, one in sorted((file.files or {}).items()))


def _shifts(file: ModelFile) -> str:
    return ", ".join(f"{element} {shift:g} eV" for element, shift in sorted(file.eshift.items()) if shift)


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
