"""Names of the outputs of a potential, those of metatrain included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fitsnap_nn.data.properties import STANDARD, Property
from fitsnap_nn.errors import DataError
from fitsnap_nn.settings.problems import did_you_mean

ENERGIES, FEATURES, LAST_LAYER = "energies", "features", "_last_layer_features"
# Uncertainties: keys of `Evaluation.spread` with the suffix, and metatrain's name.
DEVIATIONS = ("energy_std", "energies_std", "forces_std")
UNCERTAINTY = "energy_uncertainty"
METATRAIN = "mtt::"  # prefix of metatrain's own names of outputs; mtt::aux:: of auxiliary ones


class Outputs(NamedTuple):
    """Requested outputs.

    Attributes:
        properties: energy, its derivatives, and targets.
        energies: whether energies of atoms are requested.
        features: outputs whose features are requested, by the requested name; an empty one for those of all heads.
        deviations: whether uncertainties are requested.
    """

    properties: tuple[Property, ...]
    energies: bool
    features: dict[str, str]
    deviations: bool


def parse_outputs(names: Iterable[str], targets: Sequence[Property]) -> Outputs:
    """Return the outputs that names stand for.

    Args:
        names: ``energy``, ``forces``, ``stress``, a target, ``energies``, ``features``,
            ``<energy or target>_last_layer_features``, or the uncertainties ``energy_std``, ``energies_std`` and
            ``forces_std``; or metatrain's names ``mtt::<target>``, ``feature``, ``mtt::aux::energy_uncertainty`` and
            ``mtt::aux::<...>_last_layer_features``.
        targets: targets of the potential.

    Raises:
        DataError: a name stands for nothing that the potential predicts.
    """
    known = {one.name: one for one in (*STANDARD, *targets)}
    last_layers = {f"{name}{LAST_LAYER}": name for name in ("energy", *(one.name for one in targets))}
    properties: list[Property] = []
    energies, deviations, features = False, False, {}
    for written in names:
        name = written.removeprefix(METATRAIN).removeprefix("aux::")
        if name in known:
            properties.append(known[name])
        elif name == ENERGIES:
            energies = True
        elif name in (FEATURES, "feature"):
            features[FEATURES] = ""
        elif name in last_layers:
            features[name] = last_layers[name]
        elif name in (*DEVIATIONS, UNCERTAINTY):
            deviations = True
            properties += [known["forces"]] if name == "forces_std" else []
        else:
            every = [*known, ENERGIES, FEATURES, *last_layers, *DEVIATIONS]
            hint = did_you_mean(name, every) or f"The outputs are {', '.join(every)}."
            raise DataError(f"{written} is not an output of this potential. {hint}")
    return Outputs(tuple(properties), energies, features, deviations)
