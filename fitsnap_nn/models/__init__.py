"""Architectures: one file each, all behind the contract of ``base.py``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from fitsnap_nn.models.base import DescriptorModel, GraphModel, Model, Prediction, predict
from fitsnap_nn.models.bpnn import BPNN

# Where each architecture is; it is imported when it is built, for some need libraries that others do without.
ARCHITECTURES: Mapping[str, str] = MappingProxyType(
    {
        "BPNN": "fitsnap_nn.models.bpnn:BPNN",
        "SOAP_BPNN": "fitsnap_nn.models.soap_bpnn:SoapBpnn",
        "NANOPET": "fitsnap_nn.models.nanopet:Nanopet",
        "MACE": "fitsnap_nn.models.mace:MACE",
    }
)
GROUP = "fitsnap_nn.models"  # of entry points, by which other packages add theirs

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
    """Return the model that ``Model.description()`` described, with weights yet to be loaded.

    Raises:
        KeyError: the architecture is not known.
        ImportError: a library that it needs is not installed.
    """
    hypers = dict(description)
    name = hypers.pop("architecture")
    others = {point.name: point.value for point in entry_points(group=GROUP)}
    module, _, attribute = {**others, **ARCHITECTURES}[name].partition(":")
    model: Model[Any] = getattr(import_module(module), attribute)(**hypers)
    return model
