"""Checks of section ACE, and the number of descriptors of either kind."""

from __future__ import annotations

from collections.abc import Iterator

from fitsnap_nn.settings.ace import BOND_KEYS, MAX_MOMENTA, Ace, functions_of, labels_of
from fitsnap_nn.settings.ace_functions import RankOptions, least_number
from fitsnap_nn.settings.descriptors import n_descriptors
from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.keys import keys_of
from fitsnap_nn.settings.problems import ValueProblem
from fitsnap_nn.settings.schema import Settings

ACE_CALCULATOR = "LAMMPSPACE"
MAX_FUNCTIONS = 10_000  # per atom; their derivatives take 240 kB per pair of neighbours

Finding = tuple[str, str, str]


def check_ace(document: Document, settings: Settings) -> None:
    """Report keys of section ACE whose values are inconsistent with those of other keys."""
    if document.sound("ACE", *keys_of("ACE")):
        for key, what, hint in _findings(settings.ace, settings.folder):
            document.report("ACE", key, what, hint)


def num_inputs(document: Document, settings: Settings) -> int:
    """Return the number of descriptors per atom; 0 if the section of the descriptors has problems."""
    if settings.calculator.calculator == ACE_CALCULATOR:
        known = document.sound("ACE", *keys_of("ACE"))
        return len(functions_of(settings.ace, labels_of(settings.ace, settings.folder))) if known else 0
    known = document.sound("BISPECTRUM", "type", "twojmax", "chemflag", "quadraticflag")
    return n_descriptors(settings.bispectrum) if known else 0


def _findings(ace: Ace, folder: str) -> Iterator[Finding]:
    count = len(ace.type)
    if ace.num_types != count:
        yield "numTypes", f"is {ace.num_types}, but type = {' '.join(ace.type)} lists {count}", f"Use {count}."
    found = [*_of_ranks(ace), *_of_bonds(ace)]
    yield from found
    if not found:
        yield from _of_functions(ace, folder)


def _of_functions(ace: Ace, folder: str) -> Iterator[Finding]:
    """Check the functions themselves; they are known to be few enough to be made."""
    try:
        number = len(functions_of(ace, labels_of(ace, folder)))
    except ValueProblem as problem:
        yield "manuallabs", problem.what, problem.hint
        return
    except ValueError as error:
        yield "manuallabs", str(error), "Correct the file."
        return
    if not number:
        yield "ranks", "there is no function with these ranks, lmin and lmax", "Increase lmax, or decrease lmin."
    elif number > MAX_FUNCTIONS:
        key = "manuallabs" if ace.manuallabs else "nmax"
        yield key, f"{number} functions per atom, above the maximum of {MAX_FUNCTIONS}", "Decrease nmax or lmax."


def _of_ranks(ace: Ace) -> Iterator[Finding]:
    count = len(ace.ranks)
    for key in ("lmax", "nmax", "lmin"):
        given = len(getattr(ace, key))
        if given != count and (key, given) != ("lmin", 1):
            ranks = " ".join(map(str, ace.ranks))
            yield key, f"has {given} values for {count} ranks", f"Give one value for each of ranks = {ranks}."
            return
    if len(set(ace.ranks)) < count:
        yield "ranks", f"= {' '.join(map(str, ace.ranks))} repeats a rank", "Give each rank once."
    if max(ace.nmax) > ace.nmaxbase:
        yield "nmaxbase", f"is {ace.nmaxbase}, but nmax is up to {max(ace.nmax)}", f"Use {max(ace.nmax)} or more."
    for options in ace.rank_options:
        yield from _of_rank(ace, options)


def _of_rank(ace: Ace, options: RankOptions) -> Iterator[Finding]:
    rank, highest = options.rank, MAX_MOMENTA[options.rank]
    if rank > 4 and ace.b_basis != "minsub" and not ace.manuallabs:
        yield "b_basis", f"= {ace.b_basis} has no functions of rank {rank}", "Use b_basis = minsub, or ranks up to 4."
    elif rank > 1 and options.l_min > options.l_max:
        yield "lmin", f"= {options.l_min} exceeds lmax = {options.l_max} of rank {rank}", "Decrease lmin."
    elif options.l_max > highest:
        yield "lmax", f"= {options.l_max} of rank {rank} is above the maximum, {highest}", "Decrease lmax."
    elif not ace.manuallabs:
        least = least_number(options, len(ace.type))
        if least > MAX_FUNCTIONS:
            what = f"rank {rank} has more than {least} functions per atom; the maximum of all ranks is {MAX_FUNCTIONS}"
            yield "nmax", what, "Decrease nmax or lmax of this rank."


def _of_bonds(ace: Ace) -> Iterator[Finding]:
    pairs = len(ace.type) ** 2
    for key in BOND_KEYS:
        given = len(ace.values_of(key))
        if given not in (1, pairs):
            hint = f"Give one value, or one for each of the {pairs} ordered pairs of {' '.join(ace.type)}."
            yield key, f"has {given} values for {pairs} pairs of elements", hint
            return
    for cutoff, inner in zip(ace.of_bonds("rcutfac"), ace.of_bonds("rcinner"), strict=True):
        if inner >= cutoff:
            yield "rcinner", f"= {inner:g} Å is not below rcutfac = {cutoff:g} Å", "Decrease rcinner."
