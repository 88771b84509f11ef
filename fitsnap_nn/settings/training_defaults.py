"""Training keys that an input does not set: defaults of the architecture, FitSNAP's otherwise."""

from __future__ import annotations

from dataclasses import replace

from fitsnap_nn.settings.architecture import Architecture
from fitsnap_nn.settings.fields import parse_value
from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.keys import keys_of
from fitsnap_nn.settings.problems import ValueProblem
from fitsnap_nn.settings.schema import PytorchSection, Settings
from fitsnap_nn.settings.training import KALMAN, UNUSED_KEYS

FINE_TUNING = 0.1  # learning rate of trained weights over that of random ones


def with_training_defaults(document: Document, settings: Settings) -> PytorchSection:
    """Replace FitSNAP's defaults by those of the architecture for keys that the input does not set, with a notice.

    Trained weights, those of ``start_from`` or ``mace_model``, get a tenth of the learning rate of random ones: MACE's
    documentation has 0.01 for training and 0.001 for naive fine-tuning. With ``save_state_input`` FitSNAP's default
    remains.
    """
    known, taken, model = keys_of("PYTORCH"), {}, settings.pytorch.model
    optimizer = settings.pytorch.optimizer
    defaults = settings.architecture.training_defaults
    if document.entry("PYTORCH", "optimizer") is not None:
        defaults = _defaults_with(optimizer, settings.architecture)
        if defaults != settings.architecture.training_defaults:
            model = f"{model} with optimizer = {optimizer}"
    missing = {name: text for name, text in defaults.items() if document.entry("PYTORCH", name) is None}
    for name, text in missing.items():
        try:
            taken[known[name].attribute] = parse_value(text, known[name])
        except (KeyError, ValueProblem) as problem:
            what = f"the architecture {model} declares the invalid default {name} = {text}: {problem}"
            document.report("PYTORCH", "model", what, f"Set {name} in the input, or correct the package.")
    trained = settings.pytorch.start_from or settings.architecture.pretrained[0]
    if trained and optimizer != KALMAN and document.entry("PYTORCH", "learning_rate") is None:
        missing.pop("learning_rate", None)
        taken["learning_rate"] = FINE_TUNING * taken.get("learning_rate", settings.pytorch.learning_rate)
        document.notices.append(
            f"[PYTORCH] learning_rate = {taken['learning_rate']:g}: a tenth of the default of {model}, because the "
            "weights have been trained already. The input does not set it."
        )
    if missing:
        listed = ", ".join(f"{name} = {text}" for name, text in missing.items())
        document.notices.append(f"[PYTORCH] {listed}: defaults of {model}, which the input does not set.")
    return replace(settings.pytorch, **taken)


def _defaults_with(optimizer: str, architecture: Architecture) -> dict[str, str]:
    """Return the defaults of training keys for an optimiser that the input sets, as text."""
    unused = UNUSED_KEYS.get(optimizer, ())
    defaults = {name: text for name, text in architecture.training_defaults.items() if name not in unused}
    if optimizer == KALMAN:
        return defaults | {"balance": "1"}
    usual = architecture.training_defaults.get("optimizer", PytorchSection().optimizer)
    if architecture.other_learning_rate and optimizer != usual:
        defaults["learning_rate"] = architecture.other_learning_rate
    return defaults
