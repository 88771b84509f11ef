"""Architectures: one file each; all implement the interface in ``base.py``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from fitsnap_nn.models.base import GraphModel, Model
from fitsnap_nn.models.bpnn import BPNN
from fitsnap_nn.models.committee import MIXED, GraphCommittee
from fitsnap_nn.models.descriptor_model import DescriptorModel
from fitsnap_nn.models.prediction import Prediction, predict

# Module and class of each architecture. Imported on use, since some depend on optional libraries.
ARCHITECTURES: Mapping[str, str] = MappingProxyType(
    {
        "BPNN": "fitsnap_nn.models.bpnn:BPNN",
        "LINEAR": "fitsnap_nn.models.linear:LinearModel",
        "SOAP_BPNN": "fitsnap_nn.models.soap_bpnn:SoapBpnn",
        "NANOPET": "fitsnap_nn.models.nanopet:Nanopet",
        "MACE": "fitsnap_nn.models.mace:MACE",
        "ACE": "fitsnap_nn.models.descriptor_network:DescriptorNetwork",
        "SNAP": "fitsnap_nn.models.descriptor_network:DescriptorNetwork",
        "CUSTOM": "fitsnap_nn.models.pair_network:PairNetwork",
        MIXED: "fitsnap_nn.models.mixed_committee:MixedCommittee",
    }
)
GROUP = "fitsnap_nn.models"  # entry points of other packages

__all__ = [
    "ARCHITECTURES",
    "BPNN",
    "DescriptorModel",
    "GraphModel",
    "Model",
    "Prediction",
    "build_model",
    "predict",
]


def build_model(description: Mapping[str, Any]) -> Model[Any]:
    """Return the model of a description, with weights still to be loaded.

    Args:
        description: the result of `Model.description`: ``architecture`` and its hyperparameters, and the number of
            members of a ``committee`` if it is one.

    Returns:
        The model, with initial weights.

    Raises:
        KeyError: the architecture is unknown.
        ImportError: a library that it needs is not installed.
    """
    hypers = dict(description)
    name = hypers.pop("architecture")
    from_packages = {point.name: point.value for point in entry_points(group=GROUP)}
    module, _, attribute = {**from_packages, **ARCHITECTURES}[name].partition(":")
    kind = getattr(import_module(module), attribute)
    if issubclass(kind, GraphModel) and (members := hypers.pop("committee", 1)) > 1:
        return GraphCommittee(partial(kind, **hypers), members)
    model: Model[Any] = kind(**hypers)
    return model
