"""Checks that the labels a fit asks for are in the data, and that stresses are in a plausible unit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from fitsnap_nn.data.configuration import Configuration, Subset
from fitsnap_nn.data.findings import Finding, some, summarize
from fitsnap_nn.data.fitted import user_weights
from fitsnap_nn.data.readers.labels import LABELS_READ, NO_LABELS, PLAIN_NAMES
from fitsnap_nn.data.readers.stress import implausible_stresses
from fitsnap_nn.errors import DataError, counted
from fitsnap_nn.settings.schema import Settings

KEYS: Mapping[str, str] = MappingProxyType(
    {"energy": "energy_key", "forces": "forces_key", "stress": "stress_key or virial_key"}
)
COLUMNS: Mapping[str, str] = MappingProxyType({"energy": "eweight", "forces": "fweight", "stress": "vweight"})
FLAGS: Mapping[str, str] = MappingProxyType({"energy": "energy", "forces": "force", "stress": "stress"})
UNLABELLED = "has no label: it takes no part in the fit. Remove it, or correct the names of its labels."
HUGE_STRESS = (
    "the stress is out of proportion to the energy: its unit is probably wrong. Correct the unit in the file, or state "
    "it in [SCRAPER] property_array."
)
MAX_QUOTES = 3  # notes of the readers in an error or warning


def check_labels(
    settings: Settings, configurations: Sequence[Configuration], findings: Iterable[Finding]
) -> list[Finding]:
    """Return what is missing of the labels that the fit asks for, and stresses of implausible size.

    Args:
        settings: checked settings.
        configurations: all sets of the fit, weighted; stress labels of cells that are not periodic are removed.
        findings: remarks of the readers, for errors.

    Raises:
        DataError: no label has a weight, or a label that the input names is in no file.
    """
    names = [*COLUMNS, *(one.name for one, _ in user_weights(settings))]
    _refuse_unknown_keys(settings, configurations, findings)
    training = [one for one in configurations if one.subset is Subset.TRAINING] or configurations
    if not any(one.weight(name) > 0 for one in training for name in one.labels):
        raise DataError(_nothing_to_fit(settings, training, findings))
    remarks = [remark for name in names for remark in _missing(settings, name, configurations, findings)]
    remarks += [Finding(UNLABELLED, one.id) for one in configurations if not one.labels and any(one.weights.values())]
    return remarks + [Finding(HUGE_STRESS, one.id) for one in implausible_stresses(configurations)]


def looked_for(settings: Settings, name: str) -> str:
    """Return the names under which a label is searched in the files."""
    columns = {row.name: row.column for row in settings.targets}
    if name in columns:
        return columns[name]
    given = [getattr(settings.scraper, key) for key in KEYS.get(name, "").split(" or ") if key]
    if any(given):
        return ", ".join(filter(None, given))
    if settings.scraper.scraper == "JSON":
        return name.capitalize()
    if settings.scraper.scraper == "VASP":
        return name
    labels = (name, "virial") if name == "stress" else (name,)
    plain = ", ".join(alias for label in labels for kind in PLAIN_NAMES[label] for alias in kind)
    of_lammps = ", Potential_energy (LAMMPS)" if name == "energy" else ""
    return f"{plain}, also with the prefix REF_ or DFT_{of_lammps}"


def _refuse_unknown_keys(
    settings: Settings, configurations: Sequence[Configuration], findings: Iterable[Finding]
) -> None:
    for name, keys in KEYS.items():
        given = {key: value for key in keys.split(" or ") if (value := getattr(settings.scraper, key))}
        # Stresses of cells that are not periodic have been removed; the notes of the readers still mention them.
        read = any(name in one.labels for one in configurations) or any(
            found.what.startswith(LABELS_READ) and f" = {value}" in found.what
            for found in findings
            for value in given.values()
        )
        if given and not read:
            key, value = next(iter(given.items()))
            raise DataError(f"[SCRAPER] {key} = {value}: no configuration has this label. {_quoted(findings)}".rstrip())


def _nothing_to_fit(settings: Settings, members: Sequence[Configuration], findings: Iterable[Finding]) -> str:
    names = dict.fromkeys(name for one in members for name in one.labels)
    if names:
        counts = ", ".join(f"{name} in {sum(name in one.labels for one in members)}" for name in names)
        return (
            f"no label has a weight above 0, so that there is nothing to fit. Of {len(members)} configurations, these "
            f"have labels: {counts}. Increase eweight, fweight or vweight in [GROUPS], and check that [CALCULATOR] "
            "energy, force and stress, and weights in the files, are not 0."
        )
    wanted = "; ".join(f"{name}: {looked_for(settings, name)}" for name in COLUMNS)
    return (
        f"no configuration has an energy, forces or a stress, so that there is nothing to fit. Looked for {wanted} "
        f"(names in any case). {_quoted(findings)}{_remedy(settings, list(KEYS))}"
    )


def _quoted(findings: Iterable[Finding]) -> str:
    """Return what the readers found in the files, as sentences."""
    lines = summarize(found for found in findings if found.what.startswith((LABELS_READ, NO_LABELS)))
    more = f"{len(lines) - MAX_QUOTES} more notes on labels are not shown. " if len(lines) > MAX_QUOTES else ""
    return "".join(f"{line} " for line in lines[:MAX_QUOTES]) + more


def _remedy(settings: Settings, names: Sequence[str]) -> str:
    if settings.scraper.scraper == "VASP":
        return "Use files of calculations that print them."
    keys = ", ".join(KEYS[name] for name in names)
    return f"If the files have them under other names, state these in [SCRAPER] {keys}; see docs/data.md."


def _missing(
    settings: Settings, name: str, configurations: Sequence[Configuration], findings: Iterable[Finding]
) -> Iterator[Finding]:
    """Yield a warning if a label is missing everywhere, or a note with counts if it is missing in part."""
    wanted = [one for one in configurations if one.weight(name) > 0 and (name != "stress" or all(one.pbc))]
    missing = [one.id for one in wanted if name not in one.labels]
    if not missing:
        return
    if len(missing) < len(wanted):
        what = f"{len(missing)} of {len(wanted)} configurations with a weight for {name} lack this label"
        yield Finding(f"{what}: {some(missing)}.", warning=False)
        return
    off = f"[CALCULATOR] {FLAGS[name]} = 0" if name in FLAGS else "weight=0"
    remedy = _remedy(settings, [name]) if name in KEYS else "Correct column= in [TARGETS]."
    yield Finding(
        f"none of {counted(len(wanted), 'configuration')} with a weight for {name} has this label (looked for: "
        f"{looked_for(settings, name)}). {_quoted(findings)}{remedy} If it is not to be fitted, set {off}."
    )
