"""Conversion of mace's pretrained ``.model`` files to plain values and tensors.

Such a file is a pickle of the whole module, so that loading it can run arbitrary code. It is therefore loaded in a
separate process, which returns a description and a state dict; these are loaded with ``weights_only=True``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fitsnap_nn.data.properties import ENERGY
from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.mace import EMBEDDINGS, MACE
from fitsnap_nn.models.mace_kernels import couplings_by_degree, weights_by_degree
from fitsnap_nn.models.mace_network import float64_without_torchscript, libraries
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.settings.elements import SYMBOLS
from fitsnap_nn.settings.mace_file import mace_file_problem

RADIAL_TYPES = {"BesselBasis": "bessel", "GaussianBasis": "gaussian", "ChebychevBasis": "chebyshev"}
TOLERANCE = 1e-5  # relative error of converted energies; Clebsch-Gordan coefficients in a file may be float32


def run_and_convert(
    path: Path, elements: Sequence[str] = (), head: str = ""
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Convert one of mace's model files. This runs code that the file contains: use files from trusted sources only.

    Args:
        path: the file.
        elements: elements to keep, in the order of LAMMPS' atom types; the file may have more. All when empty.
        head: one of the file's heads; required if it has several.

    Returns:
        The arguments of ``models.build_model`` and ``load_state_dict``; element energies, scale and shift are included.

    Raises:
        CheckpointError: the file cannot be read, is not a MACE energy model, or lacks an element or the head.
    """
    if problem := mace_file_problem(str(path)):
        raise CheckpointError(". ".join(filter(None, problem)))
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder, "converted.pt")
        arguments = [str(path), str(converted), head, *elements]
        command = [sys.executable, "-c", f"from {__name__} import main; main()", *arguments]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace", check=False
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise CheckpointError(f"{path}: {reason}")
        found = torch.load(converted, weights_only=True)
    return found["description"], found["state"]


def main() -> None:
    """Entry point of the separate process; its arguments are file, output, head and elements."""
    path, output, head, *elements = sys.argv[1:]
    libraries()
    try:
        network = torch.load(path, map_location="cpu", weights_only=False)
        model = convert(network, elements, head)
    except CheckpointError as error:
        raise SystemExit(str(error)) from error
    torch.save({"description": model.description(), "state": model.state_dict()}, output)


def convert(network: Any, elements: Sequence[str], head: str = "") -> MACE:
    """Convert mace's module to a `MACE` in float64, for some of its elements and one of its heads.

    Args:
        network: mace's module; it is converted to float64 in place.
        elements: elements to keep, in the order of LAMMPS' atom types; all, in the order of the file, when empty.
        head: one of its heads; required if it has several.

    Returns:
        A model with the same per-atom energies.

    Raises:
        CheckpointError: the module is not a MACE energy model, or lacks an element or the head.
    """
    if type(network).__name__ not in {"MACE", "ScaleShiftMACE"}:
        raise CheckpointError(f"{type(network).__name__} is not a MACE that predicts energies from positions alone.")
    if hasattr(network, "joint_embedding"):
        inputs = ", ".join(network.embedding_specs)
        raise CheckpointError(f"its energies depend on inputs besides positions, which are not supported: {inputs}.")
    known = [SYMBOLS[number - 1] for number in network.atomic_numbers.tolist()]
    elements = elements or known
    if missing := [element for element in elements if element not in known]:
        raise CheckpointError(f"the model does not contain {', '.join(missing)}; its elements are {' '.join(known)}.")
    heads = getattr(network, "heads", None) or ["Default"]
    if head not in heads and (head or len(heads) > 1):
        raise CheckpointError(f"mace_head_name (export, show: --head) must be one of its heads: {', '.join(heads)}.")
    selection = _Selection(
        [known.index(element) for element in elements], len(known), heads.index(head or heads[0]), len(heads)
    )
    network = _with_layers_of_e3nn(network.double())
    try:
        model = MACE(elements, **hyperparameters(network))
        state = model.state_dict()
        tensors = {f"network.{name}": value for name, value in selection.of_network(network).items()}
        state |= {name: value for name, value in tensors.items() if name in state}
        model.load_state_dict(state | selection.of_products(network, model) | selection.of_energies(network))
    except (AttributeError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"its blocks are not those of mace-torch 0.3: {' '.join(str(error).split())}") from error
    selection.check(network, model)
    return model


def _with_layers_of_e3nn(network: Any) -> Any:
    """Return a module without LoRA layers, which are merged, and without cuequivariance's, which are converted."""
    places = {type(module).__module__ for module in network.modules()}
    if "mace.modules.lora" in places:
        from mace.modules.lora import merge_lora_weights

        network = merge_lora_weights(network)
    if any(place.startswith("cuequivariance") for place in places):
        from mace.cli.convert_cueq_e3nn import run

        with float64_without_torchscript():
            network = run(network, return_model=True)
    return network


def hyperparameters(network: Any) -> dict[str, Any]:
    """Return the hyperparameters of mace's module.

    Args:
        network: mace's module.

    Returns:
        Fields of ``models.mace_network.Hypers``.

    Raises:
        AttributeError, KeyError: the module has blocks that `MACE` does not support.
    """
    modules, _ = libraries()
    radial, readout = network.radial_embedding, network.readouts[-1]
    first, last, product = network.interactions[0], network.interactions[-1], network.products[0]
    transform = type(getattr(radial, "distance_transform", None)).__name__
    correlations = [one.symmetric_contractions.contractions[0].correlation for one in network.products]
    hidden, kept = (str(one.linear.irreps_out) for one in (product, network.products[-1]))
    hypers = {
        "r_max": float(network.r_max),
        "num_radial_basis": radial.out_dim,
        "radial_type": RADIAL_TYPES[type(radial.bessel_fn).__name__],
        "num_cutoff_basis": int(radial.cutoff_fn.p),
        "max_ell": network.spherical_harmonics.irreps_out.lmax,
        "interaction": type(last).__name__,
        "interaction_first": type(first).__name__,
        "num_interactions": len(network.interactions),
        "hidden_irreps": hidden,
        "edge_irreps": str(getattr(network, "edge_irreps", None) or ""),
        "apply_cutoff": getattr(network, "apply_cutoff", True),
        "avg_num_neighbors": float(first.avg_num_neighbors),
        "pair_repulsion": hasattr(network, "pair_repulsion_fn"),
        "distance_transform": transform.removesuffix("Transform").removesuffix("Type"),  # NoneType: None
        "correlation": correlations[0] if len(set(correlations)) == 1 else correlations,
        "radial_MLP": [int(width) for width in first.conv_tp_weights.hs[1:-1]],
        "use_last_readout_only": getattr(network, "use_last_readout_only", False),
        "use_agnostic_product": getattr(network, "use_agnostic_product", False),
        "use_so3": getattr(network, "use_so3", False),
        "use_edge_irreps_first": getattr(network, "use_edge_irreps_first", False),
        "keep_last_layer_irreps": len(correlations) > 1 and kept == hidden and "+" in hidden,
    }
    if not hasattr(readout, "non_linearity"):
        return hypers
    activation = readout.non_linearity.acts[0]
    gates = {function: name for name, function in modules.gate_dict.items()}
    scalars = readout.hidden_irreps.count("0e") // getattr(readout, "num_heads", 1)  # absent in early files
    gate = gates[getattr(activation, "f", activation)]
    return hypers | {"MLP_irreps": f"{scalars}x0e", "gate": gate, "readout": type(readout).__name__}


class _Selection(NamedTuple):
    """The elements and the head of a file that are converted.

    Attributes:
        elements: indices of the elements to keep.
        all_elements: number of elements in the file.
        head: index of the head.
        heads: number of heads in the file.
    """

    elements: list[int]
    all_elements: int
    head: int
    heads: int

    def of_network(self, network: Any) -> dict[str, Tensor]:
        """Return the tensors of the state dict by name.

        e3nn's layers divide by the square root of the number of their inputs. With fewer elements there are fewer
        inputs, for which the weights are rescaled.
        """
        found = dict(network.state_dict())
        rescaling = (len(self.elements) / self.all_elements) ** 0.5
        for name, module in network.named_modules():
            if name.endswith(EMBEDDINGS):
                rows = module.weight.view(self.all_elements, -1)[self.elements]
                found[f"{name}.weight"] = rescaling * rows.flatten()
            elif type(module).__name__ == "FullyConnectedTensorProduct":
                views = [view[:, self.elements].flatten() for view in module.weight_views()]
                found[f"{name}.weight"] = rescaling * torch.cat(views)
            elif name.startswith("readouts.") and type(module).__name__ == "Linear":
                found |= self._of_readout(name, module)
        return {name: value for name, value in found.items() if not name.endswith(("output_mask", "atomic_numbers"))}

    def _of_readout(self, name: str, layer: Any) -> dict[str, Tensor]:
        """Return weight and bias of one head of a readout layer.

        Outputs are ordered by head, and so are the inputs of all layers but the first.
        """
        inputs = layer.irreps_in.count("0e")
        weight = layer.weight.view(inputs, self.heads, -1)[:, self.head]
        if name.endswith(("linear_mid", "linear_2")):
            weight = weight.view(self.heads, inputs // self.heads, -1)[self.head] / self.heads**0.5
        bias = layer.bias.view(self.heads, -1)[self.head] if len(layer.bias) else layer.bias
        return {f"{name}.weight": weight.flatten(), f"{name}.bias": bias}

    def of_products(self, network: Any, model: MACE) -> dict[str, Tensor]:
        """Return the weights of the symmetric contractions.

        The couplings U of a file can be another basis of the same space, for instance cuequivariance's reduced one. The
        weights W' of ours then follow from U' W' = U W by least squares.
        """
        found = {}
        for number, (product, block) in enumerate(zip(network.products, model.network.products, strict=True)):
            ours = block.symmetric_contractions
            for output, contraction in enumerate(product.symmetric_contractions.contractions):
                couplings, weights = couplings_by_degree(contraction), weights_by_degree(contraction)
                values = zip(couplings, weights, ours.monomials, strict=True)
                for degree, (coupling, weight, monomials) in enumerate(values, start=1):
                    known, wanted = coupling[:, monomials].flatten(0, 1), ours.coupling(output, degree).flatten(0, 1)
                    weight = weight.detach() if model.hypers.use_agnostic_product else weight.detach()[self.elements]
                    if known.shape != wanted.shape or not torch.allclose(known, wanted, rtol=0.0, atol=1e-5):
                        wanted = wanted.expand(len(weight), -1, -1)
                        weight = torch.linalg.lstsq(wanted, known @ weight, driver="gelsd").solution
                    found[f"network.products.{number}.symmetric_contractions.weights.{output}.{degree - 1}"] = weight
        return found

    def of_energies(self, network: Any) -> dict[str, Tensor]:
        """Return element energies, mace's shift included, and mace's scale, which also applies to the repulsion."""
        energies = network.atomic_energies_fn.atomic_energies.reshape(-1, self.all_elements)
        energies = energies[self.head % len(energies), self.elements].double()
        scale, shift = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        if hasattr(network, "scale_shift"):
            scale, shift = (
                value.reshape(-1)[self.head % value.numel()].double()
                for value in (network.scale_shift.scale, network.scale_shift.shift)
            )
        return {"element_energies": energies + shift, "energy_scale": scale, "repulsion_scale": scale}

    def check(self, network: Any, model: MACE) -> None:
        """Compare per-atom energies of both models on a random molecule.

        Raises:
            CheckpointError: they differ.
        """
        elements = torch.arange(6) % len(self.elements)
        positions = (
            0.3 * model.cutoff * torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        )
        near = (torch.cdist(positions, positions) < model.cutoff).fill_diagonal_(False)
        i, j = near.nonzero(as_tuple=True)
        zeros = torch.zeros(len(positions), dtype=torch.int64)
        batch = {
            "positions": positions,
            "node_attrs": functional.one_hot(torch.tensor(self.elements)[elements], self.all_elements).double(),
            "edge_index": torch.stack([j, i]),
            "shifts": torch.zeros(len(i), 3, dtype=torch.float64),
            "unit_shifts": torch.zeros(len(i), 3, dtype=torch.float64),
            "cell": torch.zeros(3, 3, dtype=torch.float64),
            "batch": zeros,
            "ptr": torch.tensor([0, len(positions)]),
            "head": torch.tensor([self.head]),
        }
        with float64_without_torchscript():
            energies = network(batch, compute_force=False)["node_energy"].detach()
        count = torch.tensor([len(positions)])
        graph = Graph(
            elements, zeros, count, torch.ones(1, dtype=torch.float64), i, j, zeros[:0], positions[j] - positions[i]
        )
        found = predict(model, graph, [ENERGY]).atom_energies
        if not (found - energies).abs().max() <= TOLERANCE * energies.abs().max():
            raise CheckpointError("the energies of the converted model differ from those of the original.")
