"""Architectures: one file each, all behind the contract of ``contract.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fitsnap_nn.models.bpnn import BPNN
from fitsnap_nn.models.contract import Batch, Model, Prediction, predict

ARCHITECTURES: Mapping[str, type[Model]] = {"BPNN": BPNN}

__all__ = ["ARCHITECTURES", "BPNN", "Batch", "Model", "Prediction", "build", "predict"]


def build(description: Mapping[str, Any]) -> Model:
    """The model that ``Model.description()`` described, with weights yet to be loaded.

    Raises:
        KeyError: the architecture is not known.
    """
    hypers = dict(description)
    return ARCHITECTURES[hypers.pop("architecture")](**hypers)
