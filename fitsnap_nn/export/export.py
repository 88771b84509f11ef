"""Export of a saved model to LAMMPS."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.export.model_file import ModelFile, load_model, save_model
from fitsnap_nn.files import atomic_write, one_line_errors, remove_temporaries
from fitsnap_nn.folders import claim, locked, own_files, refuse_foreign_files
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.models import build_model
from fitsnap_nn.settings.files import MACE_SUFFIX
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.settings.outputs import LAMMPS_SUFFIXES
from fitsnap_nn.settings.schema import Outfile, Reference, Settings


def export(
    model: str | Path,
    folder: str | Path,
    *,
    overwrite: bool = False,
    elements: Sequence[str] = (),
    head: str = "",
    trust: bool = False,
) -> list[str]:
    """Write the LAMMPS files of a model file, of the best model in a restart file, or of a model of mace-torch.

    Args:
        model: the file. One with the suffix ``.model`` is of mace-torch; reading it runs code that it contains, so that
            it must come from a trusted source. A model file of this package is written too, with the same name and the
            suffix ``.pt``.
        folder: output folder; created if necessary.
        overwrite: replace existing files.
        elements: elements of a model of mace-torch to keep, in the order of LAMMPS' atom types; all by default.
        head: head of a model of mace-torch, if it has several.
        trust: let the reference potential name pair styles that run code, and files outside the model file.

    Returns:
        Paths of the files that were written.

    Raises:
        CheckpointError: ``model`` is not such a file, or lacks an element or the head.
        InputError: files exist already, or elements or head are given for another kind of file; nothing was written.
    """
    path = Path(model)
    with tempfile.TemporaryDirectory() as temporary:
        converted = []
        if path.suffix == MACE_SUFFIX:
            converted = [convert_mace(path, Path(temporary), elements, head)]
        elif elements or head:
            what = f"--elements and --head are for models of mace-torch ({MACE_SUFFIX}), not for {path}."
            raise InputError([Problem(COMMAND_LINE, what, "Its elements are fixed.")])
        content = load_model(converted[0] if converted else path, trust=trust)
        written = write_export(content, converted, Path(folder), overwrite)
    return [str(Path(folder) / path.name) for path in (*converted, *written.all)]


def write_export(content: ModelFile, others: Sequence[Path], folder: Path, overwrite: bool) -> LammpsFiles:
    """Write the LAMMPS files of a model to a folder, and copies of other files, once all of them exist.

    Args:
        content: the model.
        others: files to copy.
        folder: where to write; created if necessary.
        overwrite: replace existing files.

    Raises:
        InputError: files exist already; nothing was written.
        LammpsError: LAMMPS cannot read files of this name, or in this folder.
    """
    with tempfile.TemporaryDirectory() as temporary:
        files = write_lammps_files(
            content.model,
            content.located_reference(),
            Path(temporary),
            Path(content.potential).name,
            structure=content.structure,
            reference_folder=content.path.parent,
            home=folder,
            uncertainty=content.uncertainty,
        )
        targets = {written: folder / written.name for written in (*others, *files.all)}
        with one_line_errors():
            _deliver(targets, folder, overwrite, targets[files.mod])
    return files.in_folder(folder)


def _deliver(targets: Mapping[Path, Path], folder: Path, overwrite: bool, last: Path) -> None:
    """Copy files to a folder, unless they would replace those of somebody else or, unasked, those of an export.

    Args:
        targets: where each file goes.
        folder: folder of all targets; created if necessary.
        overwrite: replace existing files of this program, and remove those of another model of the same name.
        last: the .mod file, which states that the others are complete: it is removed first and written last.

    Raises:
        InputError: files exist already; nothing was written.
    """
    existing = [target for target in targets.values() if target.exists()]
    if existing and not overwrite:
        raise InputError(
            [Problem(str(target), "already exists.", "Give --overwrite to replace it.") for target in existing]
        )
    names = {target.name for target in targets.values()}
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        refuse_foreign_files(folder, names)
        remove_temporaries(folder, names)
        own = own_files(folder, names)
        claim(folder, names)
        last.unlink(missing_ok=True)
        for suffix in LAMMPS_SUFFIXES:  # formats and uncertainty of an earlier export that this one does not have
            name = f"{last.stem}{suffix}"
            if name in own - names:
                (folder / name).unlink(missing_ok=True)
        for written, target in sorted(targets.items(), key=lambda pair: pair[1] == last):
            with atomic_write(target) as file:
                file.write(written.read_bytes())


def convert_mace(path: Path, folder: Path, elements: Sequence[str] = (), head: str = "") -> Path:
    """Convert a model of mace-torch to a model file of this package, and return its path.

    Args:
        path: the file, whose code is run.
        folder: where to write.
        elements, head: see `export`.

    Raises:
        CheckpointError, InputError: see `export`.
    """
    from fitsnap_nn.interfaces.mace_files import run_and_convert

    if twice := [element for element in dict.fromkeys(elements) if elements.count(element) > 1]:
        raise InputError([Problem(COMMAND_LINE, f"--elements lists {' '.join(twice)} more than once.")])
    description, state = run_and_convert(path, elements, head)
    model = build_model(description)
    model.load_state_dict(state, assign=True)
    stem = path.stem.replace(" ", "_")
    settings = Settings(reference=Reference(pair_coeff=("* *",)), outfile=Outfile(potential=stem))
    versions = {name: metadata.version(name) for name in ("mace-torch", "torch")}
    converted = folder / f"{stem}.pt"
    origin = f"{path.name} of mace-torch" + (f", head {head}" if head else "")
    save_model(converted, model, settings, {"origin": origin, "versions": versions})
    return converted
