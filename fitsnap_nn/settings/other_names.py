"""Keys of metatrain and MACE that inputs of this package do not have, and their counterparts here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

METATRAIN = "metatrain's name"
MACE = "MACE's name"
SHARED = "a name of metatrain and MACE"
AUTOMATIC = "it is not needed"
SPLIT = "the sizes of the sets are columns of the table in [GROUPS] or [PYTORCH] training_fraction"


class OtherName(NamedTuple):
    """Counterpart of another program's key.

    Attributes:
        program: whose name it is.
        section, key: our key; empty if no key corresponds.
        remark: addition to the hint, or all of it if no key corresponds.
    """

    program: str
    section: str = ""
    key: str = ""
    remark: str = ""

    @property
    def hint(self) -> str:
        """Sentence for an error message."""
        if not self.key:
            return f"It is {self.program}; {self.remark}."
        return f"It is {self.program}; here it is {self.key} in [{self.section}]{self.remark and f' ({self.remark})'}."


def _names(
    program: str, section: str, rows: Sequence[tuple[str, str] | tuple[str, str, str]]
) -> dict[str, list[OtherName]]:
    return {their: [OtherName(program, section, *ours)] for their, *ours in rows}


# What follows "swa" or "stage_two" in MACE's options, and "stage_two" here; the stress stands for the virials, too.
_STAGE_TWO: Mapping[str, str] = MappingProxyType(
    {
        "": "",
        "_lr": "_learning_rate",
        "_energy_weight": "_energy_weight",
        "_forces_weight": "_force_weight",
        "_stress_weight": "_stress_weight",
        "_virials_weight": "_stress_weight",
    }
)

# A name can stand for several keys: that of the section in which it was written or of the chosen model is suggested.
_TABLES = (
    _names(
        METATRAIN,
        "PYTORCH",
        [
            ("scheduler_patience", "plateau_patience", "with scheduler = plateau"),
            ("scheduler_factor", "plateau_factor", "with scheduler = plateau"),
            ("atomic_baseline", "element_energies"),
            ("fixed_composition_weights", "element_energies"),
            ("remove_composition_contribution", "composition_baseline"),
            ("max_atoms_per_batch", "batch_atom_bounds", "minimum and maximum, such as None 500"),
            ("min_atoms_per_batch", "batch_atom_bounds", "minimum and maximum, such as 100 None"),
            ("grad_clip_norm", "gradient_clip"),
            ("deltas", "huber_delta"),
            ("reduction", "loss_reduction"),
        ],
    ),
    _names(
        SHARED,
        "PYTORCH",
        [
            ("lr", "learning_rate"),
            ("lr_scheduler", "scheduler"),
            ("lr_factor", "plateau_factor", "with scheduler = plateau"),
            ("lr_scheduler_patience", "plateau_patience", "with scheduler = plateau"),
            ("restart", "save_state_input", "or the option --resume"),
        ],
    ),
    _names(
        MACE,
        "PYTORCH",
        [
            ("max_num_epochs", "num_epochs"),
            ("forces_weight", "force_weight"),
            ("clip_grad", "gradient_clip"),
            ("patience", "early_stopping"),
            ("E0s", "element_energies"),
            ("default_dtype", "dtype_setting", "1 = float32, 2 = float64"),
            ("valid_fraction", "training_fraction", "the fraction to train on"),
            ("ema", "ema_decay", "0 = off"),
            ("scaling", "scale_targets"),
            ("save_all_checkpoints", "checkpoint_interval", "1 = every epoch"),
            ("keep_checkpoints", "checkpoint_interval"),
            ("beta1_schedulefree", "beta"),
            *(
                (f"{prefix}{their}", f"stage_two{ours}")
                for prefix in ("swa", "stage_two")
                for their, ours in _STAGE_TWO.items()
                if f"{prefix}{their}" != f"stage_two{ours}"
            ),
            ("start_swa", "stage_two_start"),
            ("start_stage_two", "stage_two_start"),
        ],
    ),
    _names(
        MACE,
        "MACE",
        [
            ("num_bessel", "num_radial_basis"),
            ("num_polynomial_cutoff", "num_cutoff_basis"),
            ("num_channels", "hidden_irreps", "128 channels with L up to 1: 128x0e + 128x1o"),
            ("max_L", "hidden_irreps", "128 channels with L up to 1: 128x0e + 128x1o"),
            ("interaction_cls", "interaction"),
            ("interaction_cls_first", "interaction_first"),
            ("foundation_model", "mace_model", "a file"),
            ("foundation_head", "mace_head_name"),
        ],
    ),
    _names(MACE, "CALCULATOR", [("atomic_numbers", "elements", "symbols"), ("compute_stress", "stress")]),
    _names(MACE, "PATH", [("train_file", "dataPath")]),
    _names(METATRAIN, "SCRAPER", [("read_from", "scraper")]),
    _names(METATRAIN, "PATH", [("training_set", "dataPath")]),
    _names(
        METATRAIN,
        "NANOPET",
        [
            ("num_features", "d_pet"),
            ("d_node", "d_pet"),
            ("num_layers", "num_attention_layers"),
            ("enable", "long_range", "1 or 0"),
        ],
    ),
    _names(
        METATRAIN,
        "SOAP_BPNN",
        [
            ("radius", "cutoff_radius"),
            ("width", "cutoff_width"),
            ("cutoff", "cutoff_radius"),
            ("n_max", "max_radial"),
            ("l_max", "max_angular"),
            ("enable", "long_range", "1 or 0"),
        ],
    ),
    _names(METATRAIN, "MACE", [("cutoff", "r_max"), ("cutoff_radius", "r_max"), ("zbl", "pair_repulsion")]),
    _names(MACE, "NANOPET", [("r_max", "cutoff")]),
    _names(METATRAIN, "NANOPET", [("cutoff_radius", "cutoff")]),
    _names(MACE, "SOAP_BPNN", [("r_max", "cutoff_radius")]),
    _names(MACE, "NANOPET", [("pair_repulsion", "zbl")]),
    _names(MACE, "SOAP_BPNN", [("pair_repulsion", "zbl")]),
)

_WITHOUT_KEY: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "start the fit on several ranks with mpirun, torchrun or srun instead": (SHARED, ("distributed", "launcher")),
        f"{AUTOMATIC}: the ranks find a free port; torchrun has the option --master-port": (
            SHARED,
            ("distributed_port",),
        ),
        f"{AUTOMATIC}: every epoch is logged, with errors and losses": (
            SHARED,
            ("eval_interval", "error_table"),
        ),
        f"{AUTOMATIC}: the restart file is written every epoch, and --resume continues it": (
            SHARED,
            ("restart_latest",),
        ),
        f"{AUTOMATIC}: model inputs are computed once and cached": (SHARED, ("num_workers", "valid_batch_size")),
        "weights belong in the columns of [GROUPS], or in [PYTORCH] energy_weight, force_weight and stress_weight": (
            SHARED,
            ("weights", "config_type_weights"),
        ),
        SPLIT: (SHARED, ("valid_file", "test_file", "validation_set", "test_set")),
    }
)

# Values of keys in the other programs, by our key, and ours.
OTHER_VALUES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("scheduler", "reducelronplateau"): "plateau",
        ("scheduler", "exponentiallr"): "exponential",
        ("scheduler", "cosineannealinglr"): "cosine",
    }
)

# Sections that correspond to parts of metatrain's options and MACE's command line.
OTHER_SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "ARCHITECTURE": "The architecture is [PYTORCH] model; its options are in a section of its name.",
        "MODEL": "The options of a model are in a section of its name: [SOAP_BPNN], [NANOPET] or [MACE].",
        "TRAINING": "The options of training are in [PYTORCH].",
        "TRAINER": "The options of training are in [PYTORCH].",
        "LOSS": "The loss is [PYTORCH] loss; the weights are in [GROUPS].",
        "SOAP": "The options of SOAP are in [SOAP_BPNN].",
        "BPNN": "The network of model = SOAP_BPNN is in [SOAP_BPNN], that of model = BPNN in [PYTORCH] layer_sizes.",
        "PET": "The options of NanoPET are in [NANOPET].",
    }
)


def _combined() -> Mapping[str, tuple[OtherName, ...]]:
    names: dict[str, list[OtherName]] = {}
    for table in _TABLES:
        for their, ours in table.items():
            names.setdefault(their, []).extend(ours)
    for remark, (program, keys) in _WITHOUT_KEY.items():
        for key in keys:
            names.setdefault(key, []).append(OtherName(program, remark=remark))
    return MappingProxyType({their: tuple(ours) for their, ours in names.items()})


OTHER_NAMES = _combined()


def other_name(written: str, sections: Sequence[str]) -> OtherName | None:
    """Return the counterpart of a key of metatrain or MACE; ``None`` if the key is unknown there too.

    Args:
        written: the key; of a path such as ``soap.cutoff.radius`` the last name counts.
        sections: sections to prefer, in this order.
    """
    candidates = OTHER_NAMES.get(written.rpartition(".")[2], ())
    preferred = (one for section in sections for one in candidates if one.section == section)
    return next(preferred, candidates[0] if candidates else None)
