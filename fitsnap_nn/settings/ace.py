"""Section ACE: descriptors of the atomic cluster expansion, with the keys of FitSNAP's ``calculator = LAMMPSPACE``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from fitsnap_nn.settings.ace_functions import (
    MAX_RANK,
    AceFunction,
    RankOptions,
    ace_functions,
    in_order,
    parse_label,
)
from fitsnap_nn.settings.files import read_text
from fitsnap_nn.settings.options import option
from fitsnap_nn.settings.problems import ValueProblem

# Limits of FitSNAP's tables of 3j symbols, whose l are at most 12: in products of four densities L is up to 2 lmax.
MAX_MOMENTA = {1: 12, 2: 12, 3: 12, 4: 6, 5: 6, 6: 6}
BOND_KEYS = ("rcutfac", "lambda", "rcinner", "drcinner")
OF_LINEAR = ("bzeroflag",)  # keys that only linear models use
EACH_PAIR = "one value, or one per ordered pair of elements (1 1, 1 2, …, 2 1, 2 2, …)"
EACH_RANK = "for each rank"


@dataclass(frozen=True)
class Ace:
    """Descriptors of the atomic cluster expansion, those of FitSNAP's ``compute pace`` and its files for LAMMPS."""

    num_types: int = option(1, "number of elements", key="numTypes", minimum=1)
    type: tuple[str, ...] = option(("H",), "chemical symbols in the order of the LAMMPS atom types")
    ranks: tuple[int, ...] = option(
        (3,),
        "numbers of neighbour densities that are multiplied; rank r describes r + 1 bodies",
        minimum=1,
        maximum=MAX_RANK,
    )
    lmax: tuple[int, ...] = option((2,), f"maximum l {EACH_RANK}; rank 1 has l = 0 only", minimum=0, maximum=12)
    nmax: tuple[int, ...] = option((2,), f"number of radial functions {EACH_RANK}", minimum=1, maximum=1000)
    lmin: tuple[int, ...] = option((0,), f"minimum l {EACH_RANK}, or one value", minimum=0, maximum=12)
    nmaxbase: int = option(16, "number of radial basis functions, at least the largest nmax", minimum=1, maximum=1000)
    rcutfac: tuple[float, ...] = option((4.5,), f"cutoff radius; {EACH_PAIR}", unit="Å", minimum=0.1, maximum=100)
    decay: tuple[float, ...] = option(
        (1.35,), f"exponential scaling of distances in the radial functions; {EACH_PAIR}", key="lambda", minimum=1e-3
    )
    rcinner: tuple[float, ...] = option(
        (0.0,), f"distance below which the radial functions are switched off; {EACH_PAIR}", unit="Å", minimum=0
    )
    drcinner: tuple[float, ...] = option(
        (0.01,), f"width of the inner switching region; {EACH_PAIR}", unit="Å", minimum=1e-3
    )
    b_basis: str = option(
        "pa_tabulated",
        "functions of ranks above 3: pa_tabulated, as many as are independent (ranks up to 4); minsub, one for each "
        "way to pair the densities (ranks up to 6)",
        choices=("pa_tabulated", "minsub"),
    )
    wigner_flag: bool = option(True, "couple by Wigner 3j symbols; 0: by Clebsch-Gordan coefficients")
    manuallabs: str = option("", "JSON file with the labels of the functions, instead of ranks, lmax, nmax and lmin")
    mumax: int = option(1, "number of elements", no_effect="it follows from the list of elements")
    erefs: tuple[float, ...] = option((0.0,), "reference energies", no_effect="FitSNAP does not use them either")
    bzeroflag: bool = option(
        False, "linear models: 1: no constant energy for each element; networks always have element energies"
    )
    rpi_heuristic: str = option(
        "", "choice of functions", key="RPI_heuristic", no_effect="FitSNAP does not use it either; see b_basis"
    )
    bikflag: bool = option(
        True,
        "per-atom descriptors",
        no_effect="networks use per-atom descriptors, linear models the sums that forces and energies need",
    )
    dgradflag: bool = option(
        True, "descriptor gradients", no_effect="gradients are computed whenever forces are fitted"
    )

    @property
    def rank_options(self) -> tuple[RankOptions, ...]:
        """Limits of the indices of each rank."""
        lowest = self.lmin * len(self.ranks) if len(self.lmin) == 1 else self.lmin
        columns = zip(self.ranks, self.nmax, lowest, self.lmax, strict=True)
        return tuple(RankOptions(*column) for column in columns)

    def values_of(self, key: str) -> tuple[float, ...]:
        """Return the values of a key, one of ``BOND_KEYS``, as they are given."""
        values: tuple[float, ...] = getattr(self, "decay" if key == "lambda" else key)
        return values

    def of_bonds(self, key: str) -> tuple[float, ...]:
        """Return the value of a key, one of ``BOND_KEYS``, for each ordered pair of elements."""
        values = self.values_of(key)
        return values * len(self.type) ** 2 if len(values) == 1 else values

    @property
    def cutoff(self) -> float:
        """Largest cutoff, Å."""
        return max(self.rcutfac)


def functions_of(ace: Ace, labels: Iterable[str] = ()) -> tuple[AceFunction, ...]:
    """Return the functions of one central atom, which are the same for all elements, in FitSNAP's order.

    Args:
        ace: the section.
        labels: labels of the functions; empty: those of ranks, lmax, nmax and lmin.

    Raises:
        ValueError: a label is wrong, or there is no function.
    """
    return _functions_of(ace.rank_options, len(ace.type), ace.b_basis, tuple(labels))


@lru_cache(maxsize=8)
def _functions_of(
    ranks: tuple[RankOptions, ...], count: int, basis: str, labels: tuple[str, ...]
) -> tuple[AceFunction, ...]:
    if not labels:
        found = ace_functions(ranks, count, basis)
        return tuple(one for one in found if one.centre == 0)
    functions = [parse_label(label) for label in dict.fromkeys(labels)]
    if beyond := [one for one in functions if max(one.centre, *one.elements) >= count]:
        raise ValueError(f"'{beyond[0].label}' refers to an element beyond the {count} of type")
    by_centre = [{one._replace(centre=0) for one in functions if one.centre == centre} for centre in range(count)]
    if any(one != by_centre[0] for one in by_centre):
        raise ValueError("the labels are not the same for all central elements, as networks need")
    return in_order(by_centre[0])


def read_labels(path: str) -> tuple[str, ...]:
    """Return the labels of a file for ``manuallabs``: a JSON list, or an object with a list for each rank.

    Raises:
        ValueProblem: the file cannot be read, or contains something else.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueProblem(f"{path} is not a JSON file: {error}") from None
    lists = list(content.values()) if isinstance(content, dict) else [content]
    labels = [label for one in lists for label in (one if isinstance(one, list) else [one])]
    if not labels or not all(isinstance(label, str) for label in labels):
        raise ValueProblem(f"{path} contains no lists of labels", 'For instance: {"1": ["0_0,1,0_", "0_0,2,0_"]}.')
    return tuple(labels)


def labels_of(ace: Ace, folder: str) -> tuple[str, ...]:
    """Return the labels of ``manuallabs``; none without it.

    Args:
        ace: the section.
        folder: folder that relative paths refer to.

    Raises:
        ValueProblem: see `read_labels`.
    """
    return read_labels(os.path.normpath(os.path.join(folder, ace.manuallabs))) if ace.manuallabs else ()
