"""Export of a saved model to LAMMPS."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.export.lammps_files import write_lammps_files
from fitsnap_nn.export.model_file import load_model


def export(model: str | Path, folder: str | Path, *, overwrite: bool = False) -> list[str]:
    """Write the LAMMPS files of a model file, or of the best model in a restart file.

    Args:
        model: the file.
        folder: output folder; created if necessary.
        overwrite: replace existing files.

    Returns:
        Paths of the files that were written.

    Raises:
        CheckpointError: ``model`` is not a model or restart file.
        InputError: files exist already; nothing was written.
    """
    content = load_model(model)
    with tempfile.TemporaryDirectory() as temporary:
        files = write_lammps_files(
            content.model,
            content.reference,
            Path(temporary),
            Path(content.potential).name,
            structure=content.structure,
            reference_folder=Path(model).parent,
            home=Path(folder),
        )
        targets = {path: Path(folder) / path.name for path in files.all}
        existing = [target for target in targets.values() if target.exists()]
        if existing and not overwrite:
            raise InputError(
                [Problem(str(target), "already exists.", "Give --overwrite to replace it.") for target in existing]
            )
        Path(folder).mkdir(parents=True, exist_ok=True)
        for path, target in targets.items():
            shutil.copyfile(path, target)
    return [str(target) for target in targets.values()]
