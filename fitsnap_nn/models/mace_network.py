"""The network of mace-torch that holds the weights of `MACE`, with its hyperparameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.serialization import safe_globals

from fitsnap_nn.environment import kept_environment
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.mace_kernels import Chebyshev, Convolution, SymmetricProduct
from fitsnap_nn.settings.elements import atomic_number

RESIDUAL = "RealAgnosticResidualInteractionBlock"


@dataclass(frozen=True)
class Hypers:
    """Hyperparameters, named as in the input section MACE; the last four occur only in pretrained files.

    ``correlation`` is one number, or in pretrained files one per layer. ``avg_num_neighbors`` is ``None`` until
    `MACE.fit_to_data` determines it.
    """

    r_max: float = 5.0
    num_radial_basis: int = 8
    radial_type: str = "bessel"
    num_cutoff_basis: int = 5
    max_ell: int = 3
    interaction: str = RESIDUAL
    num_interactions: int = 2
    hidden_irreps: str = "128x0e + 128x1o + 128x2e"
    edge_irreps: str = ""
    apply_cutoff: bool = True
    avg_num_neighbors: float | None = None
    pair_repulsion: bool = False
    distance_transform: str = "None"
    correlation: int | Sequence[int] = 3
    gate: str = "silu"
    interaction_first: str = RESIDUAL
    MLP_irreps: str = "16x0e"
    radial_MLP: Sequence[int] = (64, 64, 64)
    use_last_readout_only: bool = False
    use_agnostic_product: bool = False
    use_so3: bool = False
    use_edge_irreps_first: bool = False
    readout: str = "NonLinearReadoutBlock"
    keep_last_layer_irreps: bool = False


def _update_ghosts(
    node_feats: Tensor, lammps_class: Graph, lammps_natoms: tuple[int, int], first_layer: bool
) -> Tensor:
    """Replacement of ``handle_lammps`` of mace's blocks: append the features of ghosts to those of owned atoms.

    The features of the first layer depend on the element only and include the ghosts already.
    """
    if first_layer:
        return node_feats
    padded = functional.pad(node_feats, (0, 0, 0, lammps_natoms[1]))
    return lammps_class.with_ghosts(padded)


def create_network(elements: Sequence[str], hypers: Hypers) -> Any:
    """Return mace's module, with the two most expensive operations of its blocks replaced by `mace_kernels`."""
    modules, o3 = libraries()
    with float64_without_torchscript():
        network = modules.MACE(**arguments(elements, hypers))
    del network.atomic_energies_fn  # element energies are buffers of GraphModel
    if hypers.radial_type == "chebyshev":
        network.radial_embedding.bessel_fn = Chebyshev(hypers.num_radial_basis)
    for interaction in network.interactions:
        interaction.conv_tp = Convolution(interaction.conv_tp, o3.wigner_3j)
        interaction.conv_fusion = True  # the block then expects conv_tp to sum over neighbours
        interaction.handle_lammps = _update_ghosts
    for module in network.modules():
        if hasattr(module, "__codegen__"):
            # e3nn's CodeGenMixin would copy and pickle these submodules as TorchScript.
            module.__codegen__ = []
    for product in network.products:
        product.symmetric_contractions = SymmetricProduct(product.symmetric_contractions)
    return network


def arguments(elements: Sequence[str], hypers: Hypers) -> dict[str, Any]:
    """Return the constructor arguments of ``mace.modules.MACE``.

    Args:
        elements: chemical symbols.
        hypers: hyperparameters.

    Raises:
        ImportError: mace-torch is not installed.
    """
    modules, o3 = libraries()
    return {
        "r_max": hypers.r_max,
        "num_bessel": hypers.num_radial_basis,
        "num_polynomial_cutoff": hypers.num_cutoff_basis,
        "max_ell": hypers.max_ell,
        "interaction_cls": modules.interaction_classes[hypers.interaction],
        "interaction_cls_first": modules.interaction_classes[hypers.interaction_first],
        "num_interactions": hypers.num_interactions,
        "num_elements": len(elements),
        "hidden_irreps": o3.Irreps(hypers.hidden_irreps),
        "MLP_irreps": o3.Irreps(hypers.MLP_irreps),
        "atomic_energies": [0.0] * len(elements),
        "avg_num_neighbors": hypers.avg_num_neighbors or 1.0,
        "atomic_numbers": [atomic_number(element) for element in elements],
        "correlation": hypers.correlation,
        "gate": modules.gate_dict[hypers.gate],
        "pair_repulsion": hypers.pair_repulsion,
        "apply_cutoff": hypers.apply_cutoff,
        "use_reduced_cg": False,  # else the shapes of weights depend on whether cuequivariance is installed
        "use_so3": hypers.use_so3,
        "use_agnostic_product": hypers.use_agnostic_product,
        "use_last_readout_only": hypers.use_last_readout_only,
        "distance_transform": hypers.distance_transform,
        "edge_irreps": o3.Irreps(hypers.edge_irreps) if hypers.edge_irreps else None,
        "use_edge_irreps_first": hypers.use_edge_irreps_first,
        "radial_MLP": list(hypers.radial_MLP),
        "radial_type": hypers.radial_type,
        "readout_cls": modules.readout_classes[hypers.readout],
        "keep_last_layer_irreps": hypers.keep_last_layer_irreps,
    }


def libraries() -> tuple[ModuleType, ModuleType]:
    """Import ``mace.modules`` and ``e3nn.o3`` without side effects on the process.

    mace sets ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``, which disables safe loading for all later ``torch.load`` calls. e3nn
    0.4.4 loads a table that contains a ``slice``, which safe loading rejects unless it is allowed explicitly. Both
    print to the terminal on import.

    Returns:
        ``mace.modules``, ``e3nn.o3``.

    Raises:
        ImportError: mace-torch is not installed.
    """
    try:
        with kept_environment(), safe_globals([slice]), redirect_stdout(None), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from e3nn import o3
            from mace import modules
    except ImportError as error:
        raise ImportError(f"MACE needs mace-torch: pip install 'fitsnap_nn[mace]' ({error}).") from error
    return modules, o3


@contextmanager
def float64_without_torchscript() -> Iterator[None]:
    """Construct e3nn modules with constants in float64 and without TorchScript.

    TorchScript is deprecated and no faster for these modules. e3nn computes Clebsch-Gordan coefficients in torch's
    default type, which would limit them to float32.
    """
    import e3nn

    dtype, options = torch.get_default_dtype(), e3nn.get_optimization_defaults()
    torch.set_default_dtype(torch.float64)
    e3nn.set_optimization_defaults(jit_script_fx=False)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        e3nn.set_optimization_defaults(**options)
