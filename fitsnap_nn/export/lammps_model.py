"""The model file of a fit as the object that LAMMPS calls: FitSNAP's inputs for MD name ``FitTorch_Pytorch.pt``."""

from __future__ import annotations

from pathlib import Path

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.export.chemical import symmetrized
from fitsnap_nn.export.formats import descriptor_text
from fitsnap_nn.export.mliappy import MliapModel
from fitsnap_nn.export.model_file import load_model
from fitsnap_nn.export.pair_style import reference_styles
from fitsnap_nn.export.payload import limit_threads
from fitsnap_nn.export.unified import UnifiedModel
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.models import BPNN, GraphModel


def from_model_file(path: Path) -> MliapModel | UnifiedModel:
    """Return the model of a model or restart file, for ``pair_style mliap`` of the plugin, which calls this function.

    Args:
        path: the file.

    Raises:
        CheckpointError: it is not a model file, or a model without interface to LAMMPS.
    """
    content = load_model(path)
    model = content.model.requires_grad_(False)
    limit_threads()
    if isinstance(model, BPNN) and isinstance(model.input, SnapInput):
        options = model.input.bispectrum
        networks = symmetrized(model.plain_networks(), options)
        found: MliapModel | UnifiedModel = MliapModel(networks, options.quadraticflag, descriptor_text(options))
    elif isinstance(model, GraphModel):
        found = UnifiedModel(model)
    else:
        raise CheckpointError(f"{path} holds a {type(model).__name__}, which pair_style mliap cannot run.")
    found.reference = " ".join(reference_styles(content.reference))
    return found
