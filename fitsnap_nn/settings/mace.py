"""Section MACE."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, ClassVar

from fitsnap_nn.settings.architecture import CUTOFF, ZBL, Architecture, texts
from fitsnap_nn.settings.mace_irreps import PSEUDOSCALAR, Irrep, features_of_layers, irrep_of, name_of, parse_irreps
from fitsnap_nn.settings.options import option
from fitsnap_nn.settings.rows import PropertyRow

BLOCKS = (
    "RealAgnosticResidualInteractionBlock",
    "RealAgnosticInteractionBlock",
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
    "RealAgnosticAttResidualInteractionBlock",
    "RealAgnosticResidualNonLinearInteractionBlock",
)
IRREPS = re.compile(r"\d+x\d+[eo](\s*\+\s*\d+x\d+[eo])*")
MAX_CHANNEL_DIGITS, MAX_DEGREE_DIGITS = 5, 3
FEATURE_KEYS = ("hidden_irreps", "max_ell", "correlation", "keep_last_layer_irreps")
IRREPS_FORMAT = "irreps in e3nn notation, such as 32x0e + 32x1o"


@dataclass(frozen=True)
class Mace(Architecture):
    """MACE: equivariant message passing with many-body messages, built from the blocks of mace-torch."""

    training_defaults: ClassVar[Mapping[str, str]] = texts(
        optimizer="SOAP", learning_rate="1e-2", num_epochs="400", batch_size="4", scheduler="cosine",
        warmup_fraction="0.05", ema_decay="0.999", gradient_clip="10.0",
    )  # fmt: skip
    # Acetylacetone, 450 configurations: RMSE of 50 others 0.11 meV/atom and 10 meV/Å after 22 600 steps of 4.
    num_steps: ClassVar[int] = 20_000
    # Silicon, 62 atoms: errors of validation forces are 15 % larger after 10 000 than after 21 000 steps of 2. Nickel,
    # 104 atoms: those of test forces are as small after 4100 steps of 4 as after 18 000 steps of 2.
    training_atoms: ClassVar[int] = 2_500_000
    batch_atoms: ClassVar[int] = 120
    robust: ClassVar[bool] = True
    recommended: ClassVar[Mapping[str, str]] = texts(r_max="5.0", hidden_irreps="32x0e + 32x1o", correlation="3")
    cutoff_key: ClassVar[str] = "r_max"

    takes_targets: ClassVar[bool] = True

    mace_model: str = option(
        "",
        "pretrained model file of mace-torch to start from; it determines all keys below. "
        "Loading it runs code stored in the file: use trusted files only",
    )
    mace_head_name: str = option("", "head of mace_model to use if it has several")
    mace_head_target: str = option(
        "energy",
        "target that MACE's own readouts predict: energy, or an extensive or per_atom scalar of [TARGETS]; all others "
        "have heads on the features of all layers",
    )
    r_max: float = option(5.0, CUTOFF, unit="Å", minimum=0.1, maximum=100)
    num_radial_basis: int = option(8, "number of radial basis functions", minimum=1, maximum=1000)
    radial_type: str = option("bessel", "type of the radial basis", choices=("bessel", "gaussian", "chebyshev"))
    num_cutoff_basis: int = option(5, "power p of the polynomial cutoff function", minimum=2, maximum=100)
    max_ell: int = option(3, "l_max: maximum degree of the spherical harmonics of the edges", minimum=1, maximum=11)
    interaction: str = option(BLOCKS[0], "interaction block of all layers but the first", choices=BLOCKS)
    num_interactions: int = option(
        2, "message-passing layers; each extends the receptive field by one cutoff", minimum=1, maximum=100
    )
    hidden_irreps: str = option(
        "128x0e + 128x1o + 128x2e", f"node features: {IRREPS_FORMAT}, with the same multiplicity for all"
    )
    edge_irreps: str = option("", "irreps of the node features used in messages; those of hidden_irreps when empty")
    apply_cutoff: bool = option(
        True, "1: apply the cutoff function to the radial basis; 0: to the output of the radial network"
    )
    avg_num_neighbors: float | None = option(
        None, "normalisation of sums over neighbours; None: mean number of neighbours in the training set", minimum=0
    )
    pair_repulsion: bool = option(False, ZBL)
    distance_transform: str = option(
        "None", "transform of the distances before the radial basis", choices=("None", "Agnesi", "Soft")
    )
    correlation: int = option(3, "correlation order; messages have body order correlation + 1", minimum=1, maximum=6)
    gate: str = option("silu", "activation of the last readout", choices=("silu", "tanh", "abs", "None"))
    interaction_first: str = option(
        BLOCKS[0],
        f"interaction block of the first layer; with {BLOCKS[1]} an isolated atom has exactly its element energy",
        choices=BLOCKS,
    )
    MLP_irreps: str = option("16x0e", "irreps of the hidden layer of the last readout, scalars only")
    radial_MLP: tuple[int, ...] = option(
        (64, 64, 64), "nodes of each hidden layer of the radial networks", minimum=1, maximum=4096
    )
    use_embedding_readout: bool = option(
        False,
        "read energies out of embeddings",
        no_effect="it applies to embedded charges and spins of configurations, which are not supported",
    )
    use_last_readout_only: bool = option(False, "energy from the readout of the last layer only")
    keep_last_layer_irreps: bool = option(
        False,
        "1: the features of the last layer have all hidden_irreps, for targets; 0: scalars only, enough for energies",
    )
    use_agnostic_product: bool = option(False, "share the weights of the product basis among all elements")

    def problems(self) -> Iterator[tuple[str, str]]:
        for key in ("hidden_irreps", "edge_irreps", "MLP_irreps"):
            if (irreps := getattr(self, key)) and not IRREPS.fullmatch(irreps):
                yield key, f"'{irreps}' is not a list of {IRREPS_FORMAT}"
        hidden = [part.strip().split("x") for part in self.hidden_irreps.split("+")]
        if hidden[0][-1] != "0e" or len({channels for channels, *_ in hidden}) > 1:
            yield "hidden_irreps", f"'{self.hidden_irreps}' must start with scalars (0e), all with one multiplicity"
        irreps = f"{self.hidden_irreps} {self.edge_irreps} {self.MLP_irreps}"
        for pattern, most in ((r"(\d+)x", MAX_CHANNEL_DIGITS), (r"(\d+)[eo]", MAX_DEGREE_DIGITS)):
            if any(len(digits.lstrip("0")) > most for digits in re.findall(pattern, irreps)):
                limits = f"{MAX_CHANNEL_DIGITS} digits, degrees at most {MAX_DEGREE_DIGITS}"
                yield "hidden_irreps", f"multiplicities of irreps can have at most {limits}"
                break
        if any(not part.strip().endswith("x0e") for part in self.MLP_irreps.split("+")):
            yield "MLP_irreps", f"'{self.MLP_irreps}' must be scalars, such as 16x0e"
        if self.radial_type == "chebyshev" and self.distance_transform != "Agnesi":
            yield "radial_type", "chebyshev needs distances scaled to 0 … 1, that is distance_transform = Agnesi"
        if self.use_last_readout_only and self.num_interactions == 1:
            yield "use_last_readout_only", "has no effect with num_interactions = 1, which has one readout"
        if self.keep_last_layer_irreps and (self.num_interactions == 1 or "+" not in self.hidden_irreps):
            yield "keep_last_layer_irreps", "has no effect with num_interactions = 1, or scalars only in hidden_irreps"

    def target_problem(self, row: PropertyRow) -> tuple[str, str] | None:
        if row.head == "mlp" and (0, False) not in row.blocks:
            return "head=mlp applies to invariants, and it has none", "Use head=linear."
        needed = {irrep_of(*block) for block in row.blocks}
        if self.mace_model or needed <= self._features:
            return None  # the features of mace_model are known once it is loaded
        if self.num_interactions == 1 and not row.is_invariant:
            what = "the features of the last layer, which is the only one with num_interactions = 1, are scalars"
            return what, "Set [MACE] num_interactions to 2 or more."
        missing = needed - set(parse_irreps(self.hidden_irreps)[1])
        names = ", ".join(name_of(irrep) for irrep in sorted(missing or needed - self._features))
        if missing:
            what = f"needs node features {names}, which hidden_irreps = {self.hidden_irreps} lacks"
        else:
            what = (
                f"the node features {names} that it needs are 0 for every structure: no product of the model forms them"
            )
        return what, self._remedy(needed)

    @property
    def _features(self) -> set[Irrep]:
        """Node features of all layers."""
        return set().union(*features_of_layers(self))

    def _remedy(self, needed: set[Irrep]) -> str:
        """Return the smallest change of keys with which all features that are needed exist."""
        channels, present = parse_irreps(self.hidden_irreps)
        for max_ell, correlation, more, keep in product(
            sorted({self.max_ell, max(self.max_ell, 2), max(self.max_ell, *(degree for degree, _ in needed))}),
            sorted({self.correlation, max(self.correlation, 2), max(self.correlation, 3)}),
            ((), ((1, -1),), (PSEUDOSCALAR,), (PSEUDOSCALAR, (1, -1))),
            sorted({self.keep_last_layer_irreps, True}),
        ):
            added = [irrep for irrep in sorted({*needed, *more}) if irrep not in present]
            irreps = " + ".join([self.hidden_irreps, *(f"{channels}x{name_of(irrep)}" for irrep in added)])
            changed = replace(
                self, hidden_irreps=irreps, max_ell=max_ell, correlation=correlation, keep_last_layer_irreps=keep
            )
            if needed <= changed._features:
                before, after = ({key: getattr(one, key) for key in FEATURE_KEYS} for one in (self, changed))
                values = {key: value for key, value in after.items() if value != before[key]}
                return f"Use [MACE] {', '.join(f'{key} = {_as_written(value)}' for key, value in values.items())}."
        return "Use one of the models SOAP_BPNN and NANOPET."

    @property
    def pretrained(self) -> tuple[str, str]:
        return self.mace_model, self.mace_head_name

    def hyperparameters(self) -> dict[str, Any]:
        """Return the keyword arguments of a model that is not read from ``mace_model``."""
        others = {"mace_model", "mace_head_name", "use_embedding_readout"}
        if self.mace_head_target == "energy":
            others.add("mace_head_target")
        return {key: value for key, value in asdict(self).items() if key not in others}


def _as_written(value: str | int) -> str:
    return str(int(value) if isinstance(value, bool) else value)
