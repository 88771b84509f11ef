"""Small modules of mace-torch with random weights, laid out as the foundation models for which it has code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols

from fitsnap_nn.models.mace_network import Hypers, arguments, float64_without_torchscript, libraries

AGNOSTIC, NONLINEAR = "RealAgnosticInteractionBlock", "RealAgnosticResidualNonLinearInteractionBlock"
DENSITY, DENSITY_FIRST = "RealAgnosticDensityResidualInteractionBlock", "RealAgnosticDensityInteractionBlock"
SMALL: Mapping[str, Any] = {
    "r_max": 4.0, "num_radial_basis": 4, "max_ell": 2, "hidden_irreps": "4x0e + 4x1o", "correlation": 3,
    "radial_MLP": (8, 8), "MLP_irreps": "4x0e", "avg_num_neighbors": 7.5,
}  # fmt: skip
PERIODIC_TABLE = tuple(chemical_symbols[1:90])
ORGANIC = ("H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I")
REPELLED = {"pair_repulsion": True, "distance_transform": "Agnesi"}
SEVERAL = ("pt_head", "omat", "matpes_r2scan")

# Elements, heads (None: a file from before there were heads), hyperparameters, other arguments of mace's class.
Layout = tuple[Sequence[str], Sequence[str] | None, Mapping[str, Any], Mapping[str, Any]]
LAYOUTS: Mapping[str, Layout] = {
    "MP-0": (PERIODIC_TABLE, ("Default",), {}, {}),
    "MP-0, early file": (PERIODIC_TABLE, None, {}, {}),
    "MP-0 large": (PERIODIC_TABLE, ("Default",), {"hidden_irreps": "4x0e + 4x1o + 4x2e"}, {}),
    "MP-0b": (PERIODIC_TABLE, ("Default",), REPELLED, {}),
    "MP-0b3": (
        PERIODIC_TABLE,
        ("Default",),
        REPELLED | {"interaction": DENSITY, "interaction_first": DENSITY_FIRST},
        {},
    ),
    "OFF": (ORGANIC, ("Default",), {"interaction_first": AGNOSTIC}, {}),
    "MH-0": (
        PERIODIC_TABLE,
        SEVERAL,
        REPELLED | {"interaction": DENSITY, "interaction_first": DENSITY, "num_interactions": 3},
        {},
    ),
    "MH-1": (
        PERIODIC_TABLE,
        SEVERAL,
        REPELLED
        | {
            "interaction": NONLINEAR,
            "interaction_first": NONLINEAR,
            "edge_irreps": "4x0e + 4x1o",
            "readout": "NonLinearBiasReadoutBlock",
            "use_agnostic_product": True,
            "use_last_readout_only": True,
            "apply_cutoff": False,
        },
        {},
    ),
    "reduced couplings": (ORGANIC, ("Default",), {}, {"use_reduced_cg": True}),
    "vectors in the last layer": (ORGANIC, ("Default",), {}, {"keep_last_layer_irreps": True}),
    "a correlation per layer": (ORGANIC, ("Default",), {}, {"correlation": [3, 2]}),
}
# Attributes that the classes did not have when the first foundation models were written.
LATER = ("heads", "apply_cutoff", "edge_irreps", "use_reduced_cg", "use_agnostic_product", "use_so3", "num_heads",
         "use_last_readout_only", "use_edge_irreps_first", "lammps_mliap", "cueq_config", "oeq_config")  # fmt: skip


def layout(name: str) -> Any:
    """A ScaleShiftMACE with one of the layouts; energies, scales and shifts differ between elements and heads."""
    modules, _ = libraries()
    elements, heads, hypers, others = LAYOUTS[name]
    random, count = np.random.default_rng(5), len(heads or ("",))
    torch.manual_seed(5)
    with float64_without_torchscript():
        given = arguments(elements, Hypers(**(SMALL | hypers))) | {"heads": heads and list(heads)} | others
        energies, scales, shifts = random.standard_normal((count, len(elements))), 20.0 + random.random(count), 0.3
        given["atomic_energies"] = 100.0 * (energies if heads else energies[0])
        scale = list(scales) if heads else float(scales[0])
        shift = [shifts] * count if heads else shifts
        network = modules.ScaleShiftMACE(**given, atomic_inter_scale=scale, atomic_inter_shift=shift)
    if heads is None:
        for module in network.modules():
            for attribute in LATER:
                module.__dict__.pop(attribute, None)
    return network
