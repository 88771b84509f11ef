"""Model inputs: what a model is given for a configuration, how it is computed, cached and made into batches.

To add one: a folder with a subclass of `ModelInput`, a class for its cached arrays, and one for its batches; its name
in `MODEL_INPUTS`; and its file formats for LAMMPS (``export/formats.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from fitsnap_nn.inputs.base import CachedInput, Compute, DescriptorInput, ModelInput
from fitsnap_nn.inputs.batch import Batch, join_batches

__all__ = [
    "MODEL_INPUTS",
    "Batch",
    "CachedInput",
    "Compute",
    "DescriptorInput",
    "ModelInput",
    "input_class",
    "input_from_payload",
    "join_batches",
]

# Where each model input is, by the value of [CALCULATOR] calculator; imported when it is needed.
MODEL_INPUTS: Mapping[str, str] = MappingProxyType(
    {
        "LAMMPSSNAP": "fitsnap_nn.inputs.snap.input:SnapInput",
        "LAMMPSGRAPH": "fitsnap_nn.inputs.graph.input:GraphInput",
    }
)


def input_class(calculator: str) -> type[ModelInput[Any]]:
    """Return the class of a model input by the value of ``[CALCULATOR] calculator``.

    Raises:
        KeyError: there is no model input of that name.
    """
    module, _, attribute = MODEL_INPUTS[calculator].partition(":")
    kind: type[ModelInput[Any]] = getattr(import_module(module), attribute)
    return kind


def input_from_payload(payload: Mapping[str, Any]) -> ModelInput[Any]:
    """Return the model input that ``ModelInput.payload()`` described; raises as `input_class` does."""
    return input_class(payload["calculator"]).from_payload(payload)
