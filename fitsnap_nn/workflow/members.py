"""The models that a committee is made of: model files, or inputs, whose fits run where they have not yet."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.export.combine import MEMBERS, Fixed, fixed_of, require_same
from fitsnap_nn.export.model_file import load_model, load_payload
from fitsnap_nn.files import is_text
from fitsnap_nn.lammps.reference import read_files
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.settings import Settings, load_settings
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.training.distributed import session
from fitsnap_nn.workflow.pipeline import fit


@dataclass(frozen=True)
class Member:
    """A model of a committee.

    Attributes:
        source: the file that was given: a model or restart file, or an input.
        path: the model file; that of an input may not exist yet.
        settings: those of the input.
    """

    source: Path
    path: Path
    settings: Settings | None = None

    @property
    def can_be_continued(self) -> bool:
        """Whether there is a restart file of the fit."""
        settings = self.settings
        return settings is not None and Path(settings.output_folder, settings.pytorch.save_state_output).exists()

    def needs_fit(self, overwrite: bool, trust: bool) -> bool:
        """Return whether the model of an input does not exist, or is to be replaced.

        Args:
            overwrite: replace a model of another version of the input.
            trust: see `load_payload`.

        Raises:
            InputError: there is one.
        """
        if self.settings is None or not self.path.exists():
            return self.settings is not None
        if load_payload(self.path, trust=trust)["provenance"].get("input") == self.settings.text:
            return False
        if overwrite:
            return True
        what = f"its model {self.path} is from another version of this input."
        hint = "--overwrite fits it again. To use it as it is, name the model file instead of the input."
        raise InputError([Problem(str(self.source), what, hint)])

    def fixed(self, trust: bool) -> Fixed:
        """Return what has to be the same as in the other models, of a fit or of a model file."""
        settings = self.settings
        if settings is None:
            return fixed_of(load_model(self.path, trust=trust))
        files = read_files(settings.reference, settings.elements, Path(settings.folder))
        return Fixed(str(self.source), settings.elements, settings.reference, files, settings.eshift)


def find_members(sources: Sequence[str | Path]) -> list[Member]:
    """Return the models that files stand for.

    Args:
        sources: model or restart files, or inputs, which are text files; at least two.

    Raises:
        InputError: there are fewer than two, or one twice, or something is wrong with an input.
    """
    members = [_member(Path(source)) for source in sources]
    if len(members) < 2:
        hint = "Name two or more model files or inputs."
        raise InputError([Problem(COMMAND_LINE, "a committee needs at least two models.", hint)])
    paths = [one.path.resolve() for one in members]
    if twice := [path for path in dict.fromkeys(paths) if paths.count(path) > 1]:
        what = f"{', '.join(map(str, twice))} is listed more than once."
        raise InputError([Problem(COMMAND_LINE, what, "The members of a committee must differ.")])
    return members


def _member(source: Path) -> Member:
    if not is_text(source):
        return Member(source, source)
    settings = load_settings(source, weights_from="restart file")
    if settings.targets:
        what = "its model predicts targets, and cannot be a member of a committee."
        raise InputError([Problem(str(source), what, MEMBERS)])
    return Member(source, Path(settings.output_folder, settings.pytorch.output_file), settings)


def fit_missing(
    members: Sequence[Member], *, overwrite: bool, resume: bool, quiet: bool, brief: bool, trust: bool
) -> None:
    """Run the fits of inputs that have no model yet, one after the other, on all ranks.

    Args:
        members: models, with their inputs.
        overwrite: start again where a fit was interrupted, or is of another version of the input.
        resume: go on with interrupted fits.
        quiet, brief: see `fitsnap_nn.workflow.pipeline.fit`.
        trust: see `load_payload`.

    Raises:
        InputError: there is a model of another version of an input.
        CheckpointError: the models will not go together.
        FitsnapError: a fit fails, see `fitsnap_nn.workflow.pipeline.fit`.
    """
    with session() as ranks, Console(sys.stdout if ranks.is_first and not quiet else None, brief=brief) as console:
        every = members if ranks.is_first else ()
        states = [(one.needs_fit(overwrite, trust), one.can_be_continued) for one in every]
        found = zip(members, ranks.broadcast(states), strict=True)
        waiting = [(one, is_begun and resume) for one, (is_missing, is_begun) in found if is_missing]
        if waiting:
            require_same([one.fixed(trust) for one in members])
            names = ", ".join(str(one.source) for one, _ in waiting)
            console.line(f"models to fit: {names}")
    for one, going_on in waiting:
        settings = load_settings(one.source, weights_from="restart file" if going_on else "input")
        fit(settings, overwrite=overwrite, resume=going_on, quiet=quiet, brief=brief)
