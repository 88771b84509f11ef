"""Every key of the sections of the architectures changes the model: the shape of its weights, or its energies."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from fitsnap_nn.models import GraphModel
from fitsnap_nn.settings import load_settings
from fitsnap_nn.testing.graphs import crystal, make_graph
from fitsnap_nn.workflow.initialization import create_model

BASES = {
    "SOAP_BPNN": {"cutoff_radius": "4", "max_angular": "2", "max_radial": "2", "num_neurons_per_layer": "4"},
    "NANOPET": {"cutoff": "4", "d_pet": "8", "num_heads": "2", "num_attention_layers": "1"},
    "MACE": {
        "r_max": "4", "num_radial_basis": "4", "max_ell": "2", "hidden_irreps": "4x0e + 4x1o", "correlation": "2",
        "radial_MLP": "8 8", "MLP_irreps": "4x0e", "avg_num_neighbors": "7.5",
    },
}  # fmt: skip
# Another value of each key, besides those of pretrained files and those without effect.
VALUES = {
    "SOAP_BPNN": {
        "cutoff_radius": "3.6", "cutoff_width": "1.5", "max_angular": "3", "max_radial": "3", "legacy": "0",
        "num_hidden_layers": "1", "num_neurons_per_layer": "5", "layernorm": "0", "heads": "mlp", "zbl": "1",
        "add_lambda_basis": "0",
    },
    "NANOPET": {
        "cutoff": "3.6", "cutoff_width": "1.5", "d_pet": "12", "num_heads": "4", "num_attention_layers": "2",
        "num_gnn_layers": "1", "heads": "linear", "zbl": "1",
    },
    "MACE": {
        "r_max": "3.6", "num_radial_basis": "5", "radial_type": "gaussian", "num_cutoff_basis": "3", "max_ell": "3",
        "interaction": "RealAgnosticDensityResidualInteractionBlock", "num_interactions": "1",
        "hidden_irreps": "4x0e", "edge_irreps": "2x0e + 2x1o", "apply_cutoff": "0", "avg_num_neighbors": "9",
        "pair_repulsion": "1", "distance_transform": "Soft", "correlation": "3", "gate": "tanh",
        "interaction_first": "RealAgnosticInteractionBlock", "MLP_irreps": "5x0e", "radial_MLP": "8 9",
        "use_last_readout_only": "1", "keep_last_layer_irreps": "1", "use_agnostic_product": "1",
    },
}  # fmt: skip
# Keys without effect unless others are set, and these.
NEEDS = {
    **{key: {"long_range": "1"} for key in ("use_ewald", "smearing", "kspace_resolution")},
    "interpolation_nodes": {"long_range": "1", "use_ewald": "0"},
}
LONG_RANGE = {
    "long_range": "1", "use_ewald": "0", "smearing": "2", "kspace_resolution": "2.2", "interpolation_nodes": "3",
}  # fmt: skip
TARGETS = {"add_lambda_basis": "[TARGETS]\nq = per_atom spherical lambda=2\n"}
LIBRARIES = {"SOAP_BPNN": "spex", "MACE": "mace"}  # and the fixtures that skip without them


def made(folder: Path, section: str, more: str = "", **keys: str) -> GraphModel:
    """Return the model of an input with further sections, in float64 and with random weights."""
    (folder / "JSON" / "all").mkdir(parents=True, exist_ok=True)
    lines = [f"{key} = {value}" for key, value in {**BASES[section], **keys}.items()]
    text = f"[CALCULATOR]\ncalculator = LAMMPSGRAPH\nelements = Ga P\n[PYTORCH]\nmodel = {section}\n[{section}]\n"
    path = folder / "fit.in"
    path.write_text(text + "\n".join([*lines, more, "[GROUPS]", "all = 1.0 1 1 0", ""]), encoding="utf-8")
    model = create_model(load_settings(path))
    model.set_precision(torch.float64)
    torch.manual_seed(3)
    with torch.no_grad():
        for one in model.parameters():  # some start from 0
            one.add_(0.1 * torch.randn_like(one))
    return model


@cache
def base(folder: Path, section: str, more: str, needed: tuple[tuple[str, str], ...]) -> GraphModel:
    return made(folder, section, more, **dict(needed))


def energies(model: GraphModel) -> torch.Tensor:
    return model.atom_energies(make_graph(model, crystal(model.elements, lattice=3.0))).detach()


for one in ("SOAP_BPNN", "NANOPET"):
    VALUES[one] |= LONG_RANGE


@pytest.mark.parametrize(("section", "key"), [(section, key) for section, keys in VALUES.items() for key in keys])
def test_a_key_changes_the_model(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, section: str, key: str
) -> None:
    if section in LIBRARIES:
        request.getfixturevalue(LIBRARIES[section])
    if key in LONG_RANGE:
        request.getfixturevalue("torchpme")
    needed, more = NEEDS.get(key, {}), TARGETS.get(key, "")
    folder = tmp_path_factory.getbasetemp()
    usual = base(folder, section, more, tuple(needed.items()))
    other = made(folder, section, more, **{**needed, key: VALUES[section][key]})
    weights, others = ({name: one.shape for name, one in model.named_parameters()} for model in (usual, other))
    if weights == others:
        with torch.no_grad():
            for name, one in other.named_parameters():
                one.copy_(usual.get_parameter(name))
        assert not torch.allclose(energies(usual), energies(other), rtol=1e-8, atol=1e-10)
