"""Model inputs: descriptors or neighbour graphs, and how they are computed, cached and batched.

To add a model input, create a folder with a subclass of `ModelInput`, a class for its cached arrays and a class for
its batches. Then register it in `MODEL_INPUTS` and add its LAMMPS file formats to ``export/formats.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fitsnap_nn.inputs.base import CachedInput, Compute, DescriptorInput, ModelInput
from fitsnap_nn.inputs.batch import Batch, join_batches

if TYPE_CHECKING:
    from fitsnap_nn.inputs.rows import RowsInput

__all__ = [
    "MODEL_INPUTS",
    "ROWS_INPUTS",
    "Batch",
    "CachedInput",
    "Compute",
    "DescriptorInput",
    "ModelInput",
    "input_class",
    "input_from_payload",
    "join_batches",
    "rows_class",
]

# Module and class of each model input, keyed by [CALCULATOR] calculator. Imported on first use, because the
# implementations import torch, ASE and compiled code.
MODEL_INPUTS: Mapping[str, str] = MappingProxyType(
    {
        "LAMMPSSNAP": "fitsnap_nn.inputs.snap.input:SnapInput",
        "LAMMPSPACE": "fitsnap_nn.inputs.ace.input:AceInput",
        "LAMMPSGRAPH": "fitsnap_nn.inputs.graph.input:GraphInput",
    }
)

# The same for linear models, which need derivatives summed by element only.
ROWS_INPUTS: Mapping[str, str] = MappingProxyType(
    {
        "LAMMPSSNAP": "fitsnap_nn.inputs.snap.rows:SnapRows",
        "LAMMPSPACE": "fitsnap_nn.inputs.ace.rows:AceRows",
    }
)


def input_class(calculator: str) -> type[ModelInput]:
    """Return the model input class for a value of ``[CALCULATOR] calculator``.

    Args:
        calculator: key of `MODEL_INPUTS`.

    Raises:
        KeyError: no model input has this name.
    """
    found: type[ModelInput] = _imported(MODEL_INPUTS[calculator])
    return found


def rows_class(calculator: str) -> type[RowsInput]:
    """Return the same for linear models.

    Args:
        calculator: key of `ROWS_INPUTS`.

    Raises:
        KeyError: no descriptors have this name.
    """
    found: type[RowsInput] = _imported(ROWS_INPUTS[calculator])
    return found


def _imported(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def input_from_payload(payload: Mapping[str, Any]) -> ModelInput:
    """Rebuild a model input from the result of ``ModelInput.payload()``.

    Args:
        payload: plain values, as stored in a model file.

    Raises:
        KeyError: no model input has the stored name.
    """
    return input_class(payload["calculator"]).from_payload(payload)
