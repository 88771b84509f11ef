"""Uncertainty of forces in LAMMPS: the deviations of the forces by other models, and commands that watch it.

The variance of the force on an atom is the sum of the squares of the scaled deviations.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitsnap_nn.export.lammps_data import LammpsData
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.models import BPNN, GraphModel, Model
from fitsnap_nn.models.bpnn import PlainNetwork
from fitsnap_nn.models.committee import member_weights
from fitsnap_nn.models.evaluation import to_float64
from fitsnap_nn.models.prediction import weighted_mean
from fitsnap_nn.models.uncertainty import COMMITTEE, RULE, Uncertainty, displaced, factors_of_members

UNCERTAINTY = "uncertainty"  # name of the quantity of atoms, also defined in the C++ pair styles
# LAMMPS variables of `watch_text`. A measurement costs as much as a few steps, hence the interval.
DEFAULTS = (
    ("on_uncertainty", "warn|dump|stop"),
    ("uncertainty_every", "100"),
    ("uncertainty_frames", "100"),
    ("uncertainty_file", "uncertain.dump"),
)


def networks_of_others(model: BPNN, uncertainty: Uncertainty) -> list[list[PlainNetwork]]:
    """Return the networks of the members of a committee, or of a BPNN with displaced last layers.

    Args:
        model: the model.
        uncertainty: how its uncertainty is found.
    """
    if uncertainty.method == COMMITTEE:
        return [member.plain_networks() for member in model.members()]
    double, found = to_float64(model, torch.device("cpu")), []
    for displacement in uncertainty.displacements:
        with displaced(double, displacement):
            found.append(double.plain_networks())
    return found


def displacements_of_networks(model: BPNN, uncertainty: Uncertainty) -> Tensor:
    """Return the same uncertainty as displacements (S, P) of the last layers of the networks that are deployed.

    These are the means over the committee, whose hidden layers are those of the members side by side: a member differs
    from the mean in the last layer only.

    Args:
        model: the model.
        uncertainty: how its uncertainty is found.
    """
    rows = []
    for number, networks in enumerate(networks_of_others(model, uncertainty)):
        weights, biases = [], []
        for mean, other in zip(model.plain_networks(), networks, strict=True):
            (weight, bias), (other_weight, other_bias) = mean.layers[-1], other.layers[-1]
            width = other_weight.shape[1]
            start = number * width if weight.shape[1] > width else 0
            moved = -weight
            moved[:, start : start + width] += other_weight
            weights.append(moved.flatten())
            biases.append(other_bias - bias)
        rows.append(torch.cat([*weights, *biases]))
    return torch.stack(rows)


def factor_of_deviations(uncertainty: Uncertainty, count: int) -> float:
    """Return the factor of the deviations of a number of models."""
    free = count - 1 if uncertainty.method == COMMITTEE else count
    return uncertainty.force_scale / sqrt(free)


@torch.no_grad()
def uncertainty_of_graph(model: GraphModel, uncertainty: Uncertainty, graph: Graph) -> NDArray[np.float64]:
    """Return the uncertainty (N, 1) of the forces on the atoms of a graph without ghosts, eV/Å.

    Args:
        model: the model.
        uncertainty: how its uncertainty is found.
        graph: N atoms.
    """
    found = _deviations(model, uncertainty, lambda one: graph.forces(one.energies_and_gradients(graph)[1]))
    return _lengths(found)


def uncertainty_of_rank(
    model: GraphModel, uncertainty: Uncertainty, data: LammpsData, gradients: Callable[[Model[Graph]], Tensor]
) -> NDArray[np.float64]:
    """Return the uncertainty (nlocal, 1) of the forces on the atoms of this rank, eV/Å.

    Args:
        model: the model.
        uncertainty: how its uncertainty is found.
        data: atoms and pairs of this rank; adds the deviations of ghosts to those of their owners.
        gradients: evaluates a model; returns the derivatives (P, 3) with respect to the vectors of the pairs, eV/Å.
    """

    def forces(one: Model[Graph]) -> Tensor:
        slopes = gradients(one)
        first, second = (torch.as_tensor(rows).to(slopes.device).long() for rows in (data.pair_i, data.pair_j))
        zeros = slopes.new_zeros(int(data.ntotal), 3)
        return zeros.index_add(0, first, slopes).index_add(0, second, -slopes)

    deviations = _deviations(model, uncertainty, forces)
    data.reverse_exchange(deviations, deviations, deviations.shape[1])
    return _lengths(deviations[: int(data.nlistatoms)])


def _lengths(deviations: Tensor) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = torch.linalg.vector_norm(deviations, dim=1, keepdim=True).cpu().numpy()
    return lengths


def _deviations(model: GraphModel, uncertainty: Uncertainty, forces: Callable[[Model[Graph]], Tensor]) -> Tensor:
    """Return the scaled deviations (N, 3 S) of forces (N, 3), of members or by displaced last layers, float64."""
    # A committee of BPNN is deployed as one network, with displacements, see `displacements_of_networks`.
    if len(members := model.members()) > 1:
        weights = member_weights(model)
        all_forces = [forces(one).double() for one in members]
        mean = weighted_mean(all_forces, weights)
        factors = [factor * uncertainty.force_scale for factor in factors_of_members(weights)]
        return torch.cat([factor * (own - mean) for factor, own in zip(factors, all_forces, strict=True)], dim=1)
    own, found = forces(model).double(), []
    for displacement in uncertainty.displacements.to(own.device):
        with displaced(model, displacement):
            found.append(forces(model).double() - own)
    return torch.cat(found, dim=1) * factor_of_deviations(uncertainty, len(found))


def watch_text(files: LammpsFiles, uncertainty: Uncertainty) -> str:
    """Return the file to ``include`` that watches the uncertainty in molecular dynamics.

    Args:
        files: the files of the potential.
        uncertainty: its threshold and action are the defaults.
    """
    options = " ".join(f"[-var {name} {value}]" for name, value in DEFAULTS)
    low, enough = "f_uncertainty[1]<=${uncertainty_limit}", "f_uncertainty[3]>${uncertainty_frames}"
    commands = [
        "fix uncertainty all mliap/uncertainty ${uncertainty_every} ${uncertainty_limit} ${on_uncertainty}",
        f"variable uncertainty_skip equal {low}||{enough}",
    ]
    dump = [
        "dump uncertainty all custom ${uncertainty_every} ${uncertainty_file} id type element x y z f_uncertainty",
        f"dump_modify uncertainty sort id format float %.10g element {' '.join(files.elements)}",
        "dump_modify uncertainty skip v_uncertainty_skip",
    ]
    format_check = ['if "${potential_format} != mliappy" then "variable uncertainty_missing string yes"']
    lines = [
        f"# Watches the uncertainty of forces by {files.mod.stem}. Include it after {files.mod.name} and the atoms.",
        "# Every uncertainty_every steps, f_uncertainty is the uncertainty of the force on each atom, eV/Å, and",
        "# f_uncertainty[1] to [3] are the largest one, the ID of its atom, and how often it was above the threshold.",
        "# Above the threshold, on_uncertainty = warn prints a warning; dump also writes the frame, at most",
        "# uncertainty_frames of them; stop also ends the run, with an error. `fitsnap_nn harvest` selects frames.",
        f"# lmp {options} [-var uncertainty_threshold T]",
        f"variable on_uncertainty index {uncertainty.action}",
        *(f"variable {name} index {value}" for name, value in DEFAULTS[1:]),
        f"# {RULE[0].upper()}{RULE[1:]}, eV/Å.",
        f"variable uncertainty_limit string {uncertainty.threshold:.4g}",
        'if "$(is_defined(variable,uncertainty_threshold)) == 1" then &',
        '  "variable uncertainty_limit string ${uncertainty_threshold}"',
        "variable uncertainty_missing string no",
        'if "x${potential_plugin} != x1" then "variable uncertainty_missing string yes"',
        *(format_check if files.descriptor else ()),
        'if "${uncertainty_missing} == yes" then &',
        "  \"print 'WARNING: no uncertainty without the plugin of fitsnap_nn, or with model nn'\" &",
        "else &",
        *(f'  "{command}" &' for command in commands[:-1]),
        f'  "{commands[-1]}"',
        'if "${uncertainty_missing} == no && ${on_uncertainty} != warn" then &',
        *(f'  "{command}" &' for command in dump[:-1]),
        f'  "{dump[-1]}"',
    ]
    return "\n".join(lines) + "\n"
