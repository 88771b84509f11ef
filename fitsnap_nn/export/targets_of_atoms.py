"""Targets of atoms, which LAMMPS' ``fix pair`` reads from the plugin's pair style."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models import GraphModel


def components_of_targets(model: GraphModel) -> dict[str, int]:
    """Return the number of components of each target of a model, by name.

    Args:
        model: the model.
    """
    return {name: spec.tensor.components for name, spec in model.specs.items()}


@torch.no_grad()
def values_of_atoms(model: GraphModel, graph: Graph, names: Sequence[str]) -> NDArray[np.float64]:
    """Return the values (owned atoms, components) of targets side by side, see `TargetModel.targets_of_atoms`.

    Args:
        model: the model.
        graph: owned atoms, followed by ghosts.
        names: names of targets.
    """
    found = model.targets_of_atoms(graph, names)
    values: NDArray[np.float64] = torch.cat([found[name] for name in names], dim=1).cpu().numpy()
    return values
