"""Section PYTORCH: architecture, loss and optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fitsnap_nn.settings.architectures import architecture_names
from fitsnap_nn.settings.layers import ACTIVATIONS
from fitsnap_nn.settings.losses import LossChoice, choose_losses, pairs_of
from fitsnap_nn.settings.options import LARGEST_SEED, option
from fitsnap_nn.settings.problems import ValueProblem, parse_real, parse_time

KALMAN = "LKF"  # value of optimizer: the layer-wise Kalman filter
SHAMPOO = "SOAP"  # value of optimizer: Adam in the eigenbasis of Shampoo's preconditioner
SCHEDULE_FREE = "ScheduleFree"  # value of optimizer: schedule-free AdamW
PLATEAU_KEYS = ("plateau_factor", "plateau_patience")
SCHEDULE_KEYS = ("scheduler", *PLATEAU_KEYS, "lr_scheduler_gamma", "min_learning_rate")
# Without effect on an optimiser.
UNUSED_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        KALMAN: (
            "learning_rate", "weight_decay", *SCHEDULE_KEYS, "warmup_fraction", "gradient_clip", "loss_reduction",
            "amsgrad", "beta",
        ),
        SHAMPOO: ("amsgrad",),
        SCHEDULE_FREE: (*SCHEDULE_KEYS, "ema_decay", "amsgrad"),
    }
)  # fmt: skip
STAGE_TWO_KEYS = (
    "stage_two_start", "stage_two_learning_rate", "stage_two_energy_weight", "stage_two_force_weight",
    "stage_two_stress_weight", "stage_two_average",
)  # fmt: skip
LOSS, LAST = "loss", "last"  # default of best_model_metric; its value that takes the last epoch
LOWERED = 0.1  # default learning rate of stage two over that before


def parse_scale(word: str) -> float:
    """Convert the scale of a target to a number.

    Raises:
        ValueProblem: it is not a finite number above 0.
    """
    scale = parse_real(word)
    if not scale > 0:
        raise ValueProblem(f"'{word}' is not a positive number")
    return scale


@dataclass(frozen=True)
class PytorchSection:
    """Model and training."""

    model: str = option("BPNN", "architecture", choices=("BPNN", *architecture_names()))
    layer_sizes: tuple[str, ...] = option(
        ("num_desc", "512", "512", "1"), "BPNN: nodes per layer; num_desc is the number of descriptors per atom"
    )
    activation: str = option(
        "softplus",
        "BPNN: activation of the hidden layers; softplus, silu and gelu need a LAMMPS that runs Python, as the "
        "plugin's does",
        choices=ACTIVATIONS,
    )
    multi_element_option: int = option(
        1,
        "BPNN: 1: one network for all elements; 2: one network per element; 3: one network with the element as "
        "one-hot input",
        minimum=1,
        maximum=3,
    )
    standardize: bool = option(
        True, "BPNN: standardise each descriptor to mean 0 and standard deviation 1 over the atoms of each element"
    )
    committee: int = option(
        1,
        "number of committee members, networks with different initial weights; their mean is exported, and their "
        "spread indicates the uncertainty. For BPNN the mean is one network; for other models MD evaluates all members",
        minimum=1,
        maximum=100,
    )
    initial: str = option(
        "random",
        "BPNN: initial weights of the last layer: random, or fitted to the training set by linear least squares on the "
        "random features of the hidden layers; with least_squares the errors of the linear model on the same "
        "descriptors are reported too",
        choices=("random", "least_squares"),
    )
    composition_baseline: bool = option(True, "subtract an energy per element before training")
    element_energies: tuple[str, ...] = option(
        ("least_squares",),
        "energies subtracted with composition_baseline: least_squares; isolated (from single-atom configurations); "
        "or given, such as H -13.6 O -2043.9. Those of elements that the list omits are fitted by least squares",
        unit="eV",
    )
    refit_element_energies: bool = option(
        False,
        "start_from, save_state_input and mace_model: refit the element energies to the residuals of the initial model "
        "for the energies of the training set, for data of another reference method",
    )
    scale_targets: bool = option(
        True, "scale energies, forces and stresses, and each target of [TARGETS], to order 1 in training"
    )
    fixed_scaling_weights: tuple[str, ...] = option(
        (),
        "scales of targets instead of those fitted to the training set, as pairs such as energy 0.5 dipole 2.0; energy "
        "in eV, others in their units",
    )
    per_structure_targets: tuple[str, ...] = option(
        (),
        "names of per_configuration [TARGETS] whose residuals in the loss and the errors are not divided by the number "
        "of atoms, as with per_structure=1 in their rows",
    )
    log_separate_blocks: bool = option(
        False,
        "1: also list the errors of tensors of [TARGETS] by irreducible block (trace, λ = 2 ...): in the final table "
        "of errors, and per epoch in metrics.csv and TensorBoard, but not in the lines on screen and in the log",
    )
    dtype_setting: int = option(
        1, "precision: 1: float32, 2: float64; energies are always summed in float64", minimum=1, maximum=2
    )
    learning_rate: float = option(1e-2, "learning rate after warm-up", minimum=0)
    num_epochs: int = option(
        10, "passes over the training set (0 = evaluate and export the initial model)", minimum=0, maximum=10**9
    )
    batch_size: int = option(4, "configurations per step, over all ranks", minimum=1, maximum=10**9)
    batch_atom_bounds: tuple[int | None, ...] = option(
        (0, 0),
        "minimum and maximum number of atoms per step, instead of batch_size (0 0 = off); None: no such bound. Without "
        "a maximum, a step takes configurations until it has the minimum",
        minimum=0,
    )
    energy_weight: float | None = option(
        None, "weight of all energies, instead of the column eweight", unit="(eV/atom)⁻²", minimum=0
    )
    force_weight: float | None = option(
        None, "weight of all forces, instead of the column fweight", unit="(eV/Å)⁻²", minimum=0
    )
    stress_weight: float | None = option(
        None, "weight of all stresses, instead of the column vweight", unit="bar⁻²", minimum=0
    )
    loss: tuple[str, ...] = option(
        ("mse",),
        "loss of all properties (mse, mae, huber), or pairs such as energy huber forces mae stress mse; properties "
        "that are not listed use mse",
    )
    huber_delta: tuple[str, ...] = option(
        (),
        "residual at which huber turns from quadratic to linear: pairs such as energy 0.01 forces 0.1 stress 1000 "
        "(these are the defaults), or one number if one property uses huber",
        unit="eV/atom, eV/Å, bar",
    )
    loss_reduction: str = option(
        "mean", "mean: average the loss over the labels of a batch; sum: add it up", choices=("mean", "sum")
    )
    primitive_cells: bool = option(
        True,
        "1: train perfect supercells as their primitive cells, with the same loss in less time. For models on "
        "graphs without long-range interactions, and optimizers other than LKF",
    )
    balance: bool = option(
        False,
        "1: minimise the geometric mean of the losses of energy, forces, stress and other properties instead of their "
        "sum: none is neglected, and only the ratio of weights within a property matters. The default is 1 with "
        "optimizer = LKF",
    )
    training_fraction: float | None = option(
        None,
        "fraction of each group to train on, instead of the sizes of the groups; the rest is for validation",
        minimum=0,
        maximum=1,
    )
    optimizer: str = option(
        "Adam",
        "optimiser; SOAP: Adam in the eigenbasis of Shampoo's preconditioner (not the descriptor); ScheduleFree: AdamW "
        "without a schedule, whose averaged weights are validated and exported; LKF: layer-wise Kalman filter, for "
        "networks of up to 10 000 weights, without a learning rate; best with balance = 1",
        choices=("Adam", "AdamW", SHAMPOO, SCHEDULE_FREE, KALMAN),
    )
    amsgrad: bool = option(False, "Adam and AdamW: AMSGrad variant, with the maximum of all past second moments")
    beta: float = option(
        0.9,
        "Adam, AdamW and SOAP: beta1, decay of the mean gradient; ScheduleFree: interpolation between averaged and "
        "last weights at which gradients are computed",
        minimum=0.01,
        maximum=0.9999,
    )
    initial_variance: float = option(
        2000.0,
        "LKF: initial variance of the weights, divided by the mean square of the weights of their tensor; smaller "
        "values keep weights closer to their initial values",
        minimum=1e-6,
    )
    weight_decay: float = option(0.0, "weight decay", minimum=0)
    scheduler: str = option(
        "constant", "learning-rate schedule", choices=("constant", "plateau", "cosine", "exponential")
    )
    warmup_fraction: float = option(
        0.0, "fraction of all steps for linear warm-up of the learning rate from 0", minimum=0, maximum=1
    )
    plateau_factor: float = option(0.5, "plateau: factor applied to the learning rate", minimum=0, maximum=1)
    plateau_patience: int = option(
        10, "plateau: epochs without improvement of the validation loss before the learning rate drops", minimum=0
    )
    lr_scheduler_gamma: float = option(
        0.9993, "exponential: factor applied to the learning rate after each epoch", minimum=0.01, maximum=1
    )
    min_learning_rate: float = option(0.0, "plateau, cosine and exponential: minimum learning rate", minimum=0)
    gradient_clip: float = option(0.0, "maximum norm of the gradient (0 = no clipping)", minimum=0)
    ema_decay: float = option(
        0.0, "per-step EMA decay; the averaged weights are validated and exported (0 = off)", minimum=0, maximum=1
    )
    early_stopping: int = option(
        0,
        "stop after this many epochs without a new minimum of the validation loss (0 = off); with stage_two = 1, start "
        "stage two instead if it has not begun",
        minimum=0,
    )
    best_model_metric: str = option(
        LOSS,
        "criterion for the best epoch, whose weights are exported: the validation loss, or the product of the RMSE or "
        "MAE of all properties of the validation set; last: the last epoch, whatever the validation set shows",
        choices=(LOSS, "rmse_prod", "mae_prod", LAST),
    )
    stage_two: bool = option(
        False,
        "1: train the last epochs with other loss weights and a lower learning rate, as MACE's stage two does; the "
        "best epoch is then one of them",
    )
    stage_two_start: int = option(
        0, "epochs before stage two (0 = three quarters of num_epochs)", minimum=0, maximum=10**9
    )
    stage_two_learning_rate: float | None = option(
        None,
        "learning rate of stage two, with scheduler = cosine the initial one; None: a tenth of learning_rate",
        minimum=0,
    )
    stage_two_energy_weight: float | None = option(
        None,
        "weight of all energies in stage two, except those of groups with weight 0; None: as before",
        unit="(eV/atom)⁻²",
        minimum=0,
    )
    stage_two_force_weight: float | None = option(
        None,
        "weight of all forces in stage two, except those of groups with weight 0; None: as before",
        unit="(eV/Å)⁻²",
        minimum=0,
    )
    stage_two_stress_weight: float | None = option(
        None,
        "weight of all stresses in stage two, except those of groups with weight 0; None: as before",
        unit="bar⁻²",
        minimum=0,
    )
    stage_two_average: bool = option(
        False,
        "1: validate and export the mean of the weights after each epoch of stage two (stochastic weight averaging)",
    )
    shuffle_flag: bool = option(True, "shuffle the training set every epoch")
    manual_seed_flag: bool = option(False, "1: seed the random numbers of training with `seed`; 0: random seed")
    seed: int = option(
        0, "seed of initial weights and shuffling with manual_seed_flag = 1", minimum=0, maximum=LARGEST_SEED
    )
    device: str = option(
        "auto",
        "auto: a GPU if there is one, otherwise the CPU; the environment variable `FITSNAP_NN_DEVICE` replaces it",
        choices=("auto", "cpu", "cuda"),
    )
    tf32: bool = option(
        False,
        "1: train with matrix products in TF32 on a GPU, faster for large networks, with a relative precision of 1e-3 "
        "instead of the 1e-7 of float32; evaluation and MD are not affected",
    )
    max_time: str = option(
        "",
        "wall time after which the fit is saved and ends, to be continued with --resume: hh:mm:ss, mm:ss or seconds, "
        "counted from the start of the program; empty or off: no limit",
    )
    log_interval: int = option(
        0,
        "epochs between lines on screen and in the log; metrics.csv contains every epoch. 0: at most 200 lines",
        minimum=0,
        maximum=10**9,
    )
    log_mae: bool = option(
        False, "1: print RMSE and MAE of the validation set after each epoch; 0: MAE only. metrics.csv contains both"
    )
    save_state_output: str = option("FitTorchModel", "restart file, written every epoch")
    checkpoint_interval: int = option(
        0,
        "epochs between copies of the restart file that are kept, <save_state_output>_<epoch>.pt (0 = none)",
        minimum=0,
        maximum=10**9,
    )
    start_from: str = option(
        "",
        "model or restart file whose weights the fit starts from, relative to the folder of the input; it determines "
        "the architecture; data, loss weights and schedule may differ",
    )
    save_state_input: str = option(
        "",
        "as start_from, but with the state of the optimiser if it is a restart file; searched for in the working "
        "folder, the output folder and the folder of the input. Exact continuation: --resume",
    )
    freeze: tuple[str, ...] = option(
        (), "parameters that are not trained: names, or prefixes of names that end before a dot, such as networks.0.0"
    )
    output_file: str = option("FitTorch_Pytorch.pt", "model file")
    num_elements: int = option(0, "number of elements", no_effect="it follows from the list of elements", minimum=0)
    save_freq: int = option(10, "epochs between restart files", no_effect="the restart file is written every epoch")
    silence_ace_multi_warning: bool = option(False, "silence a warning", no_effect="no such warning is printed")

    @property
    def given_energies(self) -> dict[str, float]:
        """Energies of the elements listed in ``element_energies``, eV; empty if it names a method.

        Raises:
            ValueError: it is not a list of elements and finite numbers.
        """
        words = self.element_energies
        if words in (("least_squares",), ("isolated",)):
            return {}
        return {symbol: parse_real(number) for symbol, number in zip(words[::2], words[1::2], strict=True)}

    @property
    def atom_bounds(self) -> tuple[int, int | None] | None:
        """Minimum and maximum number of atoms per step; ``None`` for batches of ``batch_size`` configurations."""
        minimum, *others = self.batch_atom_bounds
        maximum = others[0] if others else None
        return (minimum or 0, maximum or None) if minimum or maximum else None

    @property
    def time_limit(self) -> float | None:
        """Seconds of ``max_time``; ``None`` without a limit.

        Raises:
            ValueProblem: it is not a time.
        """
        return parse_time(self.max_time)

    @property
    def second_stage(self) -> int | None:
        """Epochs before stage two; ``None`` without one."""
        return (self.stage_two_start or max(1, 3 * self.num_epochs // 4)) if self.stage_two else None

    @property
    def second_rate(self) -> float:
        """Learning rate of stage two."""
        rate = self.stage_two_learning_rate
        return LOWERED * self.learning_rate if rate is None else rate

    @property
    def fixed_scales(self) -> dict[str, float]:
        """Scales by target in ``fixed_scaling_weights``.

        Raises:
            ValueProblem: it is not a list of names and positive numbers.
        """
        pairs = pairs_of(self.fixed_scaling_weights, "Use, for instance, energy 0.5 dipole 2.0.")
        return {name: parse_scale(word) for name, word in pairs.items()}

    @property
    def losses(self) -> dict[str, LossChoice]:
        """Loss of energy, forces, stress and of each further property that ``loss`` or ``huber_delta`` names.

        `Settings.losses` adds the properties of the section TARGETS.

        Raises:
            ValueProblem: one of the two keys is malformed.
        """
        return choose_losses(self.loss, self.huber_delta)

    @property
    def precision(self) -> str:
        """Name of the floating-point type in torch and numpy: ``float32`` or ``float64``."""
        return "float32" if self.dtype_setting == 1 else "float64"
