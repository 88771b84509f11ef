"""The model file of a fit as the object that LAMMPS calls: FitSNAP's inputs for MD name ``FitTorch_Pytorch.pt``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fitsnap_nn.export.formats import lammps_object
from fitsnap_nn.export.mliappy import MliapModel
from fitsnap_nn.export.model_file import ModelFile, load_model, model_of, validated
from fitsnap_nn.export.pair_style import reference_styles
from fitsnap_nn.export.threads import limit_threads
from fitsnap_nn.export.unified import UnifiedModel


def from_model_file(path: Path) -> MliapModel | UnifiedModel:
    """Return the model of a model or restart file, for ``pair_style mliap`` of the plugin, which calls this function.

    Args:
        path: the file.

    Raises:
        CheckpointError: it is not a model file.
        LammpsError: LAMMPS cannot run the model.
    """
    # LAMMPS is told the styles of the reference potential only; those that the input names are run.
    return _lammps_object(load_model(path, trust=True))


def from_content(content: dict[str, Any], name: str) -> MliapModel | UnifiedModel:
    """Return the same for the content of a model file, which FitSNAP's Python scripts for MD pass to LAMMPS.

    Args:
        content: what ``torch.load`` has returned.
        name: name of the model in messages.

    Raises:
        CheckpointError: it is not the content of a model file.
        LammpsError: LAMMPS cannot run the model.
    """
    return _lammps_object(model_of(validated(content, name, trust=True), name))


def _lammps_object(content: ModelFile) -> MliapModel | UnifiedModel:
    limit_threads()
    uncertainty = () if content.uncertainty is None else (content.uncertainty,)
    found = lammps_object(content.model.input, content.model.requires_grad_(False), *uncertainty)
    found.reference = " ".join(reference_styles(content.reference))
    return found
