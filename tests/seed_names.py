"""Names of keys, values and outputs in the documentation that users of FitSNAP, metatrain and MACE come from.

docs/names.md has a row for each; tests/test_names.py checks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_SHARED = (
    "distributed", "distributed_port", "batch_size", "num_epochs", "learning_rate", "log_interval",
    "checkpoint_interval", "per_structure_targets", "log_mae", "loss",
)  # fmt: skip
_NEWER = ("scale_targets", "fixed_scaling_weights", "num_workers", "log_separate_blocks", "best_model_metric")

# By the title of the section of docs/names.md.
NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "FitSNAP, PyTorch models": (
            "nonlinear", "solver", "layer_sizes", "num_desc", "learning_rate", "num_epochs", "batch_size",
            "save_state_output", "save_state_input", "energy_weight", "force_weight", "training_fraction",
            "multi_element_option", "num_elements", "manual_seed_flag", "energy_comparison.dat",
            "energy_comparison_val.dat", "force_comparison.dat", "force_comparison_val.dat", "FitTorch_Pytorch.pt",
        ),
        "metatrain, SOAP-BPNN": (
            "soap.cutoff.radius", "soap.cutoff.width", "soap.max_angular", "soap.max_radial", "legacy",
            "bpnn.num_hidden_layers", "bpnn.num_neurons_per_layer", "bpnn.layernorm", "add_lambda_basis", "heads",
            "zbl", "long_range.enable", "long_range.use_ewald", "long_range.smearing", "long_range.kspace_resolution",
            "long_range.interpolation_nodes", *_SHARED, *_NEWER, "warmup_fraction", "atomic_baseline",
            "fixed_composition_weights", "remove_composition_contribution", "batch_atom_bounds", "features",
            "mtt::aux::<target>_last_layer_features",
        ),
        "metatrain, NanoPET": (
            "cutoff", "cutoff_width", "d_pet", "num_heads", "num_attention_layers", "num_gnn_layers", "heads", "zbl",
            *_SHARED, "scheduler_patience", "scheduler_factor", "fixed_composition_weights", "loss.weights",
            "loss.type", "loss.huber.deltas", "loss.reduction",
        ),
        "metatrain, MACE": (
            "mace_model", "mace_head_target", "r_max", "num_radial_basis", "radial_type", "num_cutoff_basis",
            "max_ell", "interaction", "num_interactions", "hidden_irreps", "edge_irreps", "apply_cutoff",
            "avg_num_neighbors", "pair_repulsion", "distance_transform", "correlation", "gate", "interaction_first",
            "MLP_irreps", "radial_MLP", "use_embedding_readout", "use_last_readout_only", "use_agnostic_product",
            *_SHARED, *_NEWER, "optimizer", "weight_decay", "amsgrad", "beta", "lr_scheduler", "lr_scheduler_gamma",
            "lr_factor", "lr_scheduler_patience", "atomic_baseline", "grad_clip_norm", "batch_atom_bounds",
        ),
        "metatrain, newer names": (
            "mace_head_name", "max_atoms_per_batch", "min_atoms_per_batch", "feature", "loss.<target>.type",
            "loss.<target>.weight", "loss.<target>.reduction", "loss.<target>.delta", "loss.<target>.gradients",
        ),
    }
)  # fmt: skip
