"""Models on SNAP descriptors for ``pair_style mliap unified``, which runs them on a GPU."""

from __future__ import annotations

import sys
from pathlib import Path

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.export.export import write_export
from fitsnap_nn.export.formats import on_graphs
from fitsnap_nn.export.model_file import load_model
from fitsnap_nn.interfaces.potential import Potential
from fitsnap_nn.lammps.verify import Verification
from fitsnap_nn.reports.runlog import Console
from fitsnap_nn.workflow.delivery import verify_potential


def export_unified(
    model: str | Path, folder: str | Path, *, overwrite: bool = False, quiet: bool = False, trust: bool = False
) -> Verification | None:
    """Write the LAMMPS files of a model on SNAP descriptors as one that computes them itself, and verify these.

    Energies and forces in LAMMPS are compared with those of the model and of the compiled SNAP kernel, or LAMMPS' own
    SNAP, for the structure in the model file.

    Args:
        model: model or restart file.
        folder: output folder; created if necessary.
        overwrite: replace existing files.
        quiet: print warnings and results only.
        trust: see `load_potential`.

    Returns:
        The comparison with LAMMPS; ``None`` if the file contains no structure.

    Raises:
        CheckpointError: it is no model file, or of another kind.
        InputError: files exist already; nothing was written.
        VerificationError: LAMMPS does not reproduce the model.
    """
    content = load_model(model, trust=trust)
    if content.properties:
        names = ", ".join(row.name for row in content.properties)
        raise CheckpointError(
            f"{model} predicts {names}: --unified is for models of the energy and its derivatives only."
        )
    try:
        on_graph, uncertainty = on_graphs(content.model, content.uncertainty)
    except ValueError as error:
        raise CheckpointError(f"{model} cannot be exported with --unified: {error}.") from error
    with Console(sys.stdout, brief=quiet) as console:
        files = write_export(content._replace(model=on_graph, uncertainty=uncertainty), [], Path(folder), overwrite)
        for path in files.all:
            console.line(str(path))
        if content.structure is None:
            console.line("note: not verified in LAMMPS, since the model file contains no structure", final=True)
            return None
        potential = Potential(content.model, content.located_reference(), content.path.parent)
        return verify_potential(potential, [content.structure], files, console)
