"""Files for LAMMPS: descriptors, model, ``.mod`` file and an example input for molecular dynamics.

All are in LAMMPS' units ``metal``: Å, ps, eV, K, bar, g/mol.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.deck import deck_text
from fitsnap_nn.export.formats import Formats, formats_of
from fitsnap_nn.export.location import identity_commands, identity_of, in_home, location_commands
from fitsnap_nn.export.pair_style import ModelStyle, pair_commands
from fitsnap_nn.export.pointer import POINTER_COMMANDS
from fitsnap_nn.export.uncertainty import watch_text
from fitsnap_nn.files import atomic_write
from fitsnap_nn.lammps.data_file import data_text
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.reference import with_files
from fitsnap_nn.models import Model
from fitsnap_nn.models.uncertainty import Uncertainty
from fitsnap_nn.settings.lammps_names import unreadable_folder, unreadable_name
from fitsnap_nn.settings.outputs import LAMMPS_SUFFIXES
from fitsnap_nn.settings.schema import Reference

DECK, DATA = "in.md", "md.data"  # names of the example input
SUFFIXES = {"snap": ".snapcoeff", "pace": ".yace"}  # of model files, if not .mliap. and the name of the format
KINDS = {"snap": "Linear SNAP", "pace": "Linear ACE"}  # of models with these formats; the others are networks
SNAP_COMMENTS = (
    "# Formats of the model: snap, for any LAMMPS with ML-SNAP; mliappy, several times faster, for LAMMPS with the",
    "# plugin of fitsnap_nn, or with Python ML-IAP.",
)
FORMAT_COMMENTS = (
    "# Formats of the model: nn, a text file for any LAMMPS with ML-IAP, where it exists; mliappy, several times",
    "# faster, for LAMMPS with the plugin of fitsnap_nn, or with Python ML-IAP.",
)
UNIFIED_COMMENT = (
    "# For LAMMPS with the plugin of fitsnap_nn, or with Python ML-IAP (on one rank if the model passes messages)."
)
PACE_COMMENTS = (
    "# Formats of the model: pace, for any LAMMPS with ML-PACE; unified, for LAMMPS with the plugin of fitsnap_nn, or",
    "# with Python ML-IAP. To choose one:  lmp -var potential_model FORMAT ...",
)


def write_lammps_files(
    model: Model[Any],
    reference: Reference,
    folder: Path,
    stem: str,
    *,
    structure: Configuration | None = None,
    reference_folder: Path = Path(),
    home: Path | None = None,
    uncertainty: Uncertainty | None = None,
) -> LammpsFiles:
    """Write the LAMMPS files of a model, replacing existing files.

    Args:
        model: the model.
        reference: reference potential.
        folder: output folder; created if necessary.
        stem: common part of the file names, ``[OUTFILE] potential``.
        structure: atoms of the example input; without it no example is written.
        reference_folder: folder to which file names in ``reference`` are relative; the files are copied to ``folder``.
        home: folder where the files will be used, for ``folder`` is a temporary one; ``folder`` by default.
        uncertainty: how the uncertainty of its forces is found, if it is known.

    Returns:
        Paths and formats of the files.

    Raises:
        LammpsError: LAMMPS cannot read files of this name, or in this folder.
    """
    if problem := unreadable_name(stem) or unreadable_folder(str(home or folder)):
        raise LammpsError(f"[OUTFILE] potential and folder: {problem}.")
    folder.mkdir(parents=True, exist_ok=True)
    formats = formats_of(model.input, model, *((uncertainty,) if uncertainty else ()))
    resolved, named = with_files(reference, model.elements, reference_folder)
    # Without its .mod file, a folder in which the other files have been replaced only partly is not a potential.
    (folder / f"{stem}.mod").unlink(missing_ok=True)
    copies = _copied(named, folder, stem)
    files = LammpsFiles(
        folder=folder,
        mod=folder / f"{stem}.mod",
        descriptor=folder / f"{stem}.mliap.descriptor" if formats.descriptor else None,
        models={name: folder / f"{stem}{SUFFIXES.get(name, f'.mliap.{name}')}" for name in formats.contents},
        default_format=formats.default,
        unsupported_reason=formats.unsupported_reason,
        precision=formats.precision,
        extra=tuple(copies.values()),
        deck=folder / DECK if structure else None,
        data=folder / DATA if structure else None,
        elements=model.elements,
        atom_style=reference.atom_style,
        texts=tuple(folder / f"{stem}{suffix}" for suffix in formats.texts),
        single_rank=formats.single_rank,
        uncertainty=folder / f"{stem}.uncertainty.mod" if uncertainty else None,
    )
    _write_model(files, formats, stem)
    commands = setup_commands(files, resolved, copies)
    contents = [path.read_bytes() for path in files.potential if path != files.mod]
    identity = identity_of([*contents, "\n".join(commands).encode()])
    location = location_commands(files.mod.name, identity, home or folder)
    _write(files.mod, mod_text(files, [*identity_commands(identity), *location, *commands]).encode())
    if uncertainty and files.uncertainty:
        _write(files.uncertainty, watch_text(files, uncertainty).encode())
    if structure:
        _write_example(files, structure, location, formats)
    return files


def _write_example(files: LammpsFiles, structure: Configuration, location: Sequence[str], formats: Formats) -> None:
    """Write the example input for molecular dynamics and its atoms."""
    assert files.deck is not None, "there is a structure"
    assert files.data is not None, "there is a structure"
    _write(files.data, data_text(structure, files.elements, files.atom_style).encode())
    deck = deck_text(
        structure,
        files.deck.name,
        files.mod.name,
        files.data.name,
        files.atom_style,
        location,
        several_ranks=not files.single_rank,
        targets=formats.targets,
        uncertainty=files.uncertainty,
    )
    _write(files.deck, deck.encode())


def _write_model(files: LammpsFiles, formats: Formats, stem: str) -> None:
    """Write the files of the model; remove those of an earlier model of another kind, which could be selected."""
    for suffix in LAMMPS_SUFFIXES:
        if (path := files.folder / f"{stem}{suffix}") not in files.potential:
            path.unlink(missing_ok=True)
    for name, content in formats.contents.items():
        _write(files.models[name], content)
    if files.descriptor:
        _write(files.descriptor, formats.descriptor.encode())
    for path, text in zip(files.texts, formats.texts.values(), strict=True):
        _write(path, text.encode())


def setup_commands(files: LammpsFiles, reference: Reference, copies: Mapping[Path, Path]) -> list[str]:
    """Return the commands that set up a potential whose folder has been found, see `location_commands`.

    The LAMMPS variable ``potential_model`` chooses the format.

    Args:
        files: the files of the model.
        reference: reference potential with absolute file names.
        copies: copy of each of its files in the folder of the ``.mod`` file.
    """
    place = {str(path): in_home(copy.name) for path, copy in copies.items()}

    def commands(*style: str) -> list[str]:
        return pair_commands(reference, ModelStyle(*style), files.elements, place)

    stem = files.mod.name.removesuffix(".mod")
    if not files.descriptor:
        unified = commands("mliap", f"unified {in_home(files.models['unified'].name)} 0")
        if "pace" not in files.models:
            return [UNIFIED_COMMENT, _pointer_commands(), *unified]
        choice = _choice(PACE_COMMENTS, files.default_format, "unified")
        pace = commands("pace", "product", in_home(files.models["pace"].name))
        return [*choice, _pointer_commands(" && ${potential_format} == unified"), *_either("pace", pace, unified)]
    comments = SNAP_COMMENTS if "snap" in files.models else FORMAT_COMMENTS
    choice = _choice(comments, files.default_format, "mliappy")
    model = f"model ${{potential_format}} {in_home(f'{stem}.mliap.${{potential_format}}')}"
    mliap = commands("mliap", f"{model} descriptor sna {in_home(files.descriptor.name)}")
    if "snap" in files.models:
        names = f"{in_home(files.models['snap'].name)} {in_home(f'{stem}.snapparam')}"
        return [*choice, *_either("snap", commands("snap", "", names), mliap)]
    return [*choice, *mliap]


def _choice(comments: Sequence[str], default: str, with_plugin: str) -> list[str]:
    """Return commands that choose a format: the default, another one with the plugin, or that of the user."""
    return [
        *comments,
        f"variable potential_format string {default}",
        f'if "x${{potential_plugin}} == x1" then "variable potential_format string {with_plugin}"',
        'if "$(is_defined(variable,potential_model)) == 1" then "variable potential_format string ${potential_model}"',
    ]


def _pointer_commands(condition: str = "") -> str:
    """Return the command that passes the model a pointer to LAMMPS, which without the plugin passes no atom IDs."""
    return " ".join([f'if "x${{potential_plugin}} != x1{condition}" then', *(f'"{one}"' for one in POINTER_COMMANDS)])


def _either(name: str, commands: Sequence[str], others: Sequence[str]) -> Iterator[str]:
    """Yield an ``if`` command that runs commands for one format, and others for all other formats."""
    yield f'if "${{potential_format}} == {name}" then &'
    yield from (f'  "{command}" &' for command in commands)
    yield "else &"
    yield from (f'  "{command}" &' for command in others[:-1])
    yield f'  "{others[-1]}"'


def mod_text(files: LammpsFiles, commands: Sequence[str]) -> str:
    """Return the content of the ``.mod`` file, the commands that set up the potential.

    The LAMMPS variable ``potential_folder`` can be set before it is included. LAMMPS keeps the first value of an
    ``index`` variable, even after ``clear``, so the ``.mod`` file itself uses string variables, which it sets again:
    several potentials can be used one after the other.

    Args:
        files: the files of the model.
        commands: those that state the identity of the potential, find its folder and set it up.
    """
    types = ", ".join(f"{number} {element}" for number, element in enumerate(files.elements, start=1))
    kind = next((KINDS[name] for name in KINDS if name in files.models), "Neural network")
    lines = [
        f"# {kind} {files.mod.stem}. Units metal: energies in eV, distances in Å. Atom types: {types}.",
        "# Include it from any folder. If its files were moved:  lmp -var potential_folder FOLDER ...",
        *([f"# {files.single_rank}."] if files.single_rank else []),
        *commands,
    ]
    return "\n".join(lines) + "\n"


def names_of_copies(files: Iterable[Path], folder: Path, stem: str) -> dict[Path, str]:
    """Return names in ``folder`` for files that a reference potential names: readable by LAMMPS, and all different.

    Args:
        files: the files.
        folder: folder of the ``.mod`` file. Files in it that LAMMPS can read keep their names.
        stem: common part of the names of the potential, which are taken.
    """
    own = (DECK, DATA, *(f"{stem}{suffix}" for suffix in (*LAMMPS_SUFFIXES, ".mliap.")))
    names: dict[Path, str] = {}
    for path in sorted(files, key=lambda path: path.resolve().parent != folder.resolve()):
        name = re.sub(r"[^\w.+=@~-]", "_", path.name, flags=re.ASCII)
        while name.startswith(own) or name in names.values():  # files of one name in different folders
            name = f"{len(names)}_{name}"
        names[path] = name
    return names


def _copied(files: Iterable[Path], folder: Path, stem: str) -> dict[Path, Path]:
    """Copy files to ``folder``; return the copies."""
    copies = {path: folder / name for path, name in names_of_copies(files, folder, stem).items()}
    for path, target in copies.items():
        if not (target.exists() and target.samefile(path)):
            _write(target, path.read_bytes())
    return copies


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)
