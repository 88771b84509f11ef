"""Keys that FitSNAP reads in other sections or under other names: they are moved to where this package has them."""

from __future__ import annotations

from collections.abc import Iterator

from fitsnap_nn.settings.ini import COMMAND_LINE, Document, Entry
from fitsnap_nn.settings.keys import keys_of
from fitsnap_nn.settings.pair_network import SWITCH
from fitsnap_nn.settings.problems import ValueProblem, parse_real

CUSTOM = "CUSTOM"  # FitSNAP's pair network: the section of its calculator, and our name of the model
CALCULATOR, SOLVER, MODEL = ("CALCULATOR", "calculator"), ("SOLVER", "solver"), ("PYTORCH", "model")
NETWORK_KEYS = ("layer_sizes", "activation", "multi_element_option")  # of FitSNAP's solver, here of the architecture


def adopt_fitsnap_names(document: Document) -> list[str]:
    """Move the keys of an input in FitSNAP's form; conflicts are reported to the document.

    Applied to its own result it changes nothing.

    Returns:
        Notices about what is read as something else.
    """
    _move_vasp_keys(document)
    return [*_pair_network(document)]


def _move_vasp_keys(document: Document) -> None:
    """Move the keys of VASP files, which newer versions of FitSNAP read in SCRAPER, to GROUPS."""
    entries = document.sections.get("SCRAPER", {})
    for key in [key for key in keys_of("GROUPS") if key.startswith("vasp_") and key in entries]:
        _move(document, ("SCRAPER", key), ("GROUPS", key))


def _move(document: Document, old: tuple[str, str], new: tuple[str, str]) -> None:
    """Move a key; it may be given in both places only if the command line sets one of them."""
    moved = document.sections[old[0]].pop(old[1])
    present = document.entry(*new)
    if present and COMMAND_LINE not in (moved.where, present.where):
        place = f"[{new[0]}] {new[1]}".removesuffix(f" {old[1]}")
        document.report(*old, f"also given in {place}, {present.where}", "Remove one.", moved.where)
    if present is None or moved.where == COMMAND_LINE:
        _set(document, new, moved)


def _set(document: Document, key: tuple[str, str], entry: Entry) -> None:
    document.headers.setdefault(key[0], entry.where)
    document.sections.setdefault(key[0], {})[key[1]] = entry


def _pair_network(document: Document) -> Iterator[str]:
    """Read LAMMPSCUSTOM and NETWORK as LAMMPSGRAPH and PYTORCH with the model CUSTOM."""
    calculator, solver = document.entry(*CALCULATOR), document.entry(*SOLVER)
    custom = calculator if calculator and calculator.value.upper() == "LAMMPSCUSTOM" else None
    network = solver if solver and solver.value.upper() == "NETWORK" else None
    if cause := custom or network:
        _check_both(document, calculator, custom, solver, network)
        for key in list(document.sections.get("NETWORK", {})):
            _move(document, ("NETWORK", key), ("PYTORCH", key))
        document.sections.pop("NETWORK", None)
        document.headers.pop("NETWORK", None)
        for place, value in ((CALCULATOR, "LAMMPSGRAPH"), (SOLVER, "PYTORCH"), (MODEL, CUSTOM)):
            present = document.entry(*place)
            _set(document, place, Entry(value, present.where if present else cause.where))
    model = document.entry(*MODEL)
    if model is None or model.value.upper() != CUSTOM:
        return
    _move_keys_of_the_network(document)
    if cause:
        yield (
            "FitSNAP's pair network: calculator = LAMMPSCUSTOM and solver = NETWORK are read as LAMMPSGRAPH and "
            f"PYTORCH, [NETWORK] as [PYTORCH] with model = {CUSTOM}; {', '.join(NETWORK_KEYS)} belong to [{CUSTOM}]."
        )
        yield from _differences(document)


def _check_both(
    document: Document, calculator: Entry | None, custom: Entry | None, solver: Entry | None, network: Entry | None
) -> None:
    """Report a calculator, solver or model with which there is no pair network."""
    reason = "[CALCULATOR] calculator = LAMMPSCUSTOM" if custom else "[SOLVER] solver = NETWORK"
    chosen = calculator.value if calculator else "LAMMPSSNAP"
    if not custom and chosen.upper() != "LAMMPSGRAPH":
        what = f"is {chosen}, but {reason} needs LAMMPSCUSTOM"
        document.report(*CALCULATOR, what, "Use calculator = LAMMPSCUSTOM.")
    if solver and not network and solver.value.upper() != "PYTORCH":
        document.report(*SOLVER, f"is {solver.value}, but {reason} needs NETWORK", "Use solver = NETWORK.")
    model = document.entry(*MODEL)
    if model and model.value.upper() != CUSTOM:
        what = f"is {model.value}, but {reason} needs {CUSTOM}"
        document.report(*MODEL, what, f"Use model = {CUSTOM}, or another calculator and solver.")


def _move_keys_of_the_network(document: Document) -> None:
    for key in NETWORK_KEYS:
        if document.entry("PYTORCH", key):
            _move(document, ("PYTORCH", key), (CUSTOM, key))
    if types := document.entry(CUSTOM, "type"):
        count = document.entry(CUSTOM, "numTypes")
        if count and count.value != str(len(types.value.split())):
            what = f"is {count.value}, but type = {types.value} lists {len(types.value.split())}"
            document.report(CUSTOM, "numTypes", what, "Correct or remove the key.")
        _move(document, (CUSTOM, "type"), ("CALCULATOR", "elements"))


def _differences(document: Document) -> Iterator[str]:
    """Yield what an input in FitSNAP's form leaves to defaults that differ, or states twice."""
    cutoff, default = document.entry(CUSTOM, "cutoff"), keys_of(CUSTOM)["cutoff"].default
    if cutoff is None:
        yield (
            f"[{CUSTOM}] cutoff = {default:g}: the input does not set it. FitSNAP's default of 3 Å is too short for "
            f"its cutoff function, which starts to fall at {SWITCH:g} Å."
        )
    style = document.entry("REFERENCE", "pair_style")
    words = style.value.split() if style else []
    try:
        radii = [parse_real(word) for word in (cutoff.value if cutoff else str(default), *words[1:2])]
    except ValueProblem:  # it is reported where the key is read
        return
    if words[:1] == ["zero"] and len(set(radii)) > 1:
        yield (
            f"[{CUSTOM}] cutoff = {radii[0]:g} Å determines the neighbours, not [REFERENCE] pair_style = zero "
            f"{radii[1]:g}, as in FitSNAP, where the two should be equal."
        )
