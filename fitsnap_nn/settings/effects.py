"""Keys and sections that are given but have no effect on this fit, because of what other keys say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fitsnap_nn.settings.ace import OF_LINEAR as OF_LINEAR_ACE
from fitsnap_nn.settings.architectures import LONG_RANGE_KEYS, Custom, architecture_names
from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.keys import DESCRIPTOR_SECTIONS, FOREIGN_SECTIONS, keys_of, section_classes
from fitsnap_nn.settings.linear import SOLVER_SECTIONS
from fitsnap_nn.settings.schema import Settings
from fitsnap_nn.settings.training import KALMAN, PLATEAU_KEYS, SCHEDULE_FREE, SHAMPOO, STAGE_TWO_KEYS, UNUSED_KEYS

DIRECT = ("alphabig", "lambdasmall", "threshold_lambda")  # keys of ARD with directmethod = 1
BPNN_KEYS = ("layer_sizes", "activation", "multi_element_option", "standardize", "initial")
OF_LINEAR = ("output_file", "device")  # keys of PYTORCH that a linear fit has a use for
OF_SYSTEM = ("dump_descriptors", "dump_truth", "dump_weights", "dump_dataframe")  # keys of EXTRAS for linear fits
OF_UNCERTAINTY = ("uncertainty", "on_uncertainty")
PRETRAINED_KEYS = ("mace_model", "mace_head_name", "mace_head_target")


def add_notices(document: Document, settings: Settings) -> None:
    """Add one notice per reason, and one that lists the keys and sections that never have an effect."""
    linear = settings.solver.is_linear
    for step in (_of_solver, _sections, _of_elements, *(() if linear else (_of_model, _of_training)), _of_sets):
        document.notices += step(document, settings)
    idle = []
    for section in dict.fromkeys([*section_classes(), *settings.architectures]):
        keys = keys_of(section)
        if given := _given(document, section, [name for name, key in keys.items() if key.no_effect]):
            idle.append(f"[{section}] {', '.join(given)}")
    idle += [f"section [{section}]" for section in document.headers if section in FOREIGN_SECTIONS]
    if idle:
        document.notices.append(f"Without effect (for the reasons see docs/input.md): {'; '.join(idle)}.")


def _given(document: Document, section: str, keys: Sequence[str]) -> list[str]:
    return [key for key in keys if document.entry(section, key) is not None]


def _without_effect(document: Document, section: str, keys: Sequence[str], reason: str) -> Iterator[str]:
    if given := _given(document, section, keys):
        yield f"[{section}] {', '.join(given)} {'has' if len(given) == 1 else 'have'} no effect {reason}."


def _of_solver(document: Document, settings: Settings) -> Iterator[str]:
    """Yield sections and keys of other solvers than that of the fit."""
    solver = settings.solver.solver
    for section in SOLVER_SECTIONS:
        keys = [name for name, key in keys_of(section).items() if not key.no_effect]
        if section != solver:
            yield from _without_effect(document, section, keys, f"with [SOLVER] solver = {solver}")
    if solver == "ARD":
        unused = ("scap", "scai", "logcut") if settings.ard.directmethod else DIRECT
        reason = f"with directmethod = {int(settings.ard.directmethod)}"
        yield from _without_effect(document, "ARD", unused, reason)
    if solver != "ANL":
        yield from _without_effect(document, "SOLVER", ["cov_nugget"], f"with solver = {solver}")
    if settings.solver.is_linear:
        keys = [name for name, key in keys_of("PYTORCH").items() if name not in OF_LINEAR and not key.no_effect]
        reason = f"with [SOLVER] solver = {solver}, a linear model"
        yield from _without_effect(document, "PYTORCH", keys, reason)
        yield from _without_effect(document, "EXTRAS", OF_UNCERTAINTY, reason)
    else:
        wanted = [key for key in OF_SYSTEM if getattr(settings.extras, key)]
        yield from _without_effect(document, "EXTRAS", wanted, f"with [SOLVER] solver = {solver}")
        if settings.uncertainty == "none":
            reason = "without an uncertainty: set [EXTRAS] uncertainty"
            yield from _without_effect(document, "EXTRAS", ["on_uncertainty"], reason)


def _sections(document: Document, settings: Settings) -> Iterator[str]:
    """Yield sections of models and inputs that are not those of the fit."""
    model, calculator = settings.pytorch.model, settings.calculator.calculator
    if others := [f"[{name}]" for name in architecture_names() if name in document.headers and name != model]:
        yield f"Without effect with [PYTORCH] model = {model}: section{'s'[: len(others) - 1]} {', '.join(others)}."
    if not document.sound("CALCULATOR", "calculator"):
        return
    for kind, section in DESCRIPTOR_SECTIONS.items():
        if calculator == kind:
            reason = f"with calculator = {kind}, which takes the elements from [{section}] type"
            yield from _without_effect(document, "CALCULATOR", ["elements"], reason)
        else:
            used = ("type",) if settings.elements_key[0] == section else ()
            idle = [key for key, entry in keys_of(section).items() if key not in used and not entry.no_effect]
            yield from _without_effect(document, section, idle, f"with [CALCULATOR] calculator = {calculator}")
    if calculator == "LAMMPSPACE" and not settings.solver.is_linear:
        reason = "on networks, which have element energies of their own"
        yield from _without_effect(document, "ACE", OF_LINEAR_ACE, reason)
    if calculator == "LAMMPSSNAP" and not settings.bispectrum.switchinnerflag:
        yield from _without_effect(document, "BISPECTRUM", ["sinner", "dinner"], "with switchinnerflag = 0")


def _of_model(document: Document, settings: Settings) -> Iterator[str]:
    model = settings.pytorch.model
    if model != "BPNN":
        yield from _without_effect(document, "PYTORCH", BPNN_KEYS, f"with model = {model}")
    elif settings.initial_file and settings.pytorch.initial != "random":
        key = "start_from" if settings.pytorch.start_from else "save_state_input"
        yield from _without_effect(document, "PYTORCH", ["initial"], f"with {key}, whose file contains all weights")
    architecture = settings.architecture
    if not getattr(architecture, "long_range", True):
        yield from _without_effect(document, model, LONG_RANGE_KEYS, "with long_range = 0")
    elif getattr(architecture, "use_ewald", False):
        yield from _without_effect(document, model, ["interpolation_nodes"], "with use_ewald = 1")
    if architecture.pretrained[0]:
        fixed = [key for key, entry in keys_of(model).items() if key not in PRETRAINED_KEYS and not entry.no_effect]
        yield from _without_effect(document, model, fixed, "with mace_model, which determines them")


def _of_elements(document: Document, settings: Settings) -> Iterator[str]:
    """Yield elements that the model does not distinguish, or its descriptors as neighbours."""
    network = settings.architecture
    if isinstance(network, Custom) and network.multi_element_option < 3 and len(settings.elements) > 1:
        which = "" if network.multi_element_option == 1 else " as neighbours"
        yield (
            f"[CUSTOM] multi_element_option = {network.multi_element_option}: apart from their element energies, the "
            f"model does not distinguish {', '.join(settings.elements)}{which}. Use 3, with which the network knows "
            "the elements of both atoms."
        )
    bispectrum = settings.bispectrum
    from_file = settings.initial_file and document.entry("BISPECTRUM", "wj") is None
    if settings.calculator.calculator != "LAMMPSSNAP" or bispectrum.chemflag or from_file:
        return
    alike: dict[tuple[float, float], list[str]] = {}
    for symbol, weight, radius in zip(bispectrum.type, bispectrum.wj, bispectrum.radelem, strict=False):
        alike.setdefault((weight, radius), []).append(symbol)
    for symbols in alike.values():
        if len(symbols) > 1:
            yield (
                f"[BISPECTRUM] wj and radelem are equal for {', '.join(symbols)}: the descriptors do not distinguish "
                "these elements as neighbours. Give each element its own wj, for example between 0.5 and 1."
            )


def _of_training(document: Document, settings: Settings) -> Iterator[str]:
    """Yield keys of the trainer that another key of the trainer switches off."""
    training = settings.pytorch
    if training.optimizer == KALMAN:
        unused = UNUSED_KEYS[KALMAN]
        yield from _without_effect(document, "PYTORCH", unused, "with optimizer = LKF, which has no such step")
        rest = "rates the epochs and balances the properties" if training.balance else "only rates the epochs"
        reason = f"on the steps of optimizer = LKF, which measures root mean square residuals; the loss {rest}"
        yield from _without_effect(document, "PYTORCH", ["loss", "huber_delta"], reason)
    else:
        yield from _without_effect(document, "PYTORCH", ["initial_variance"], "without optimizer = LKF")
        if training.optimizer == SHAMPOO:
            yield from _without_effect(document, "PYTORCH", UNUSED_KEYS[SHAMPOO], "with optimizer = SOAP")
        yield from _of_schedule(document, settings)
    yield from _of_primitive_cells(document, settings)
    if not training.stage_two:
        yield from _without_effect(document, "PYTORCH", STAGE_TWO_KEYS, "with stage_two = 0")
    if not training.manual_seed_flag:
        reason = "with manual_seed_flag = 0, which draws a random seed"
        yield from _without_effect(document, "PYTORCH", ["seed"], reason)
    if training.atom_bounds:
        yield from _without_effect(document, "PYTORCH", ["batch_size"], "with batch_atom_bounds, which replaces it")
    for label in ("energy", "force", "stress"):
        if not getattr(settings.calculator, label):
            keys = [f"{label}_weight", f"stage_two_{label}_weight"]
            yield from _without_effect(document, "PYTORCH", keys, f"with [CALCULATOR] {label} = 0")


def _of_primitive_cells(document: Document, settings: Settings) -> Iterator[str]:
    reasons = {
        f"with calculator = {settings.calculator.calculator}": settings.calculator.calculator != "LAMMPSGRAPH",
        "with optimizer = LKF": settings.pytorch.optimizer == KALMAN,
        "with long_range = 1": getattr(settings.architecture, "long_range", False),
    }
    if reason := next((reason for reason, applies in reasons.items() if applies), ""):
        yield from _without_effect(document, "PYTORCH", ["primitive_cells"], reason)


def _of_schedule(document: Document, settings: Settings) -> Iterator[str]:
    """Yield keys of the learning rate that optimiser or scheduler does not use."""
    training = settings.pytorch
    if training.optimizer == SCHEDULE_FREE:
        keys = [key for key in UNUSED_KEYS[SCHEDULE_FREE] if key != "ema_decay"]
        yield from _without_effect(document, "PYTORCH", keys, "with optimizer = ScheduleFree, which has no schedule")
        return
    others = {"plateau": PLATEAU_KEYS, "exponential": ("lr_scheduler_gamma",)}
    idle = [key for scheduler, keys in others.items() if scheduler != training.scheduler for key in keys]
    idle += ["min_learning_rate"] if training.scheduler == "constant" else []
    yield from _without_effect(document, "PYTORCH", idle, f"with scheduler = {training.scheduler}")


def _of_sets(document: Document, settings: Settings) -> Iterator[str]:
    """Yield keys that need a validation set or a random split, if the fit has none."""
    training, groups = settings.pytorch, settings.groups
    if groups.rows and not _has_validation(settings):
        followed = ["early_stopping"] if training.early_stopping else []
        followed += ["scheduler = plateau"] if training.scheduler == "plateau" else []
        for key in followed:
            yield (
                f"[PYTORCH] {key} follows the training loss, which does not show overfitting: there is no validation "
                "set. Give some groups a testing_size above 0."
            )
    if not groups.random_sampling:
        yield from _without_effect(document, "GROUPS", ["random_seed", "sampling_block"], "with random_sampling = 0")


def _has_validation(settings: Settings) -> bool:
    """Return whether a group may have configurations for validation; ``None`` is what training leaves."""
    fraction = settings.pytorch.training_fraction
    if fraction is not None:
        return fraction < 1
    return any(row.testing_size != 0 and not _takes_all(row.training_size) for row in settings.groups.rows)


def _takes_all(size: float | int | None) -> bool:
    return isinstance(size, float) and size == 1.0
