"""Names of labels in the files of other programs.

A file is read with one family of names, for example those with the prefix ``REF_``. Labels of other families belong to
another method, such as a calculator that was attached later, and are never mixed in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fitsnap_nn.data.findings import Finding, some
from fitsnap_nn.data.readers.numbers import numbers
from fitsnap_nn.data.readers.weights import WEIGHT_KEYS
from fitsnap_nn.errors import DataError

Frame = Mapping[str, Any]
"""All header entries, per-atom columns and calculator results of one frame, by name."""
Names = Mapping[str, tuple[tuple[str, ...], ...]]
"""Per label the names of equivalent quantities, in lower case; earlier tuples are preferred."""

LABELS = ("energy", "forces", "stress", "virial")
PLAIN_NAMES: Names = {
    # The free energy is the energy whose gradient the forces are; ``energy`` of ASE is extrapolated to 0 K.
    "energy": (("free_energy",), ("energy", "total_energy")),
    "forces": (("forces", "force"),),
    "stress": (("stress",),),
    "virial": (("virial", "virials"),),
}
LABELS_READ = "labels read: "  # notes that `label_checks` quotes in its errors start with one of the two
NO_LABELS = "no labels found"
LABEL_LIKE = re.compile("energ|force|stress|virial|weight|unit", re.IGNORECASE)
STATES = frozenset({"charge", "total_charge", "spin", "multiplicity", "spin_multiplicity"})  # of configurations
MAX_KEYS = 12  # names listed in a note


@dataclass(frozen=True)
class Family:
    """Names, units and sign that one program gives its labels.

    Attributes:
        names: names of each label in lower case.
        units: units that differ from those of ASE.
        stress_sign: 1 if a stress is positive in tension, as in ASE; -1 if it has the sign of a pressure.
        voigt: whether six stress components are documented to be in ASE's order.
        markers: the family is used only for files that contain all names of one of these sets.
    """

    names: Names
    units: Mapping[str, str]
    stress_sign: float = 1.0
    voigt: bool = False
    markers: tuple[frozenset[str], ...] = ()

    def is_in(self, frames: Sequence[Frame], labels: Sequence[str]) -> bool:
        """Return whether a file has one of the labels, or the marker, of this family."""
        if self.markers:
            return any(marker <= frame.keys() for frame in frames for marker in self.markers)
        mine = {name for label in labels for kind in self.names[label] for name in kind}
        return any(name.lower() in mine for frame in frames for name in frame)

    def has(self, name: str) -> bool:
        """Return whether a name is one of this family."""
        return any(name.lower() in kind for kinds in self.names.values() for kind in kinds)


def with_affixes(prefix: str, suffix: str = "", *, voigt: bool = False) -> Family:
    """Return the family of the plain names with a prefix and a suffix."""
    names = {
        label: tuple(tuple(f"{prefix}{name}{suffix}" for name in kind) for kind in kinds)
        for label, kinds in PLAIN_NAMES.items()
    }
    return Family(names, {}, voigt=voigt)


PLAIN = Family(PLAIN_NAMES, {})
MACE = with_affixes("ref_", voigt=True)
QUIP = with_affixes("dft_")
LAMMPS = Family(  # dump style extxyz; the file does not state LAMMPS' units, metal are assumed
    {"energy": (("potential_energy",),), "forces": (("forces",),), "stress": (("stress",),), "virial": ()},
    {"Energy": "metal", "Forces": "metal", "Stress": "metal"},
    stress_sign=-1.0,
    markers=(frozenset({"Potential_energy"}), frozenset({"Timestep", "Stress"})),
)
FAMILIES = (MACE, QUIP, LAMMPS, PLAIN)  # in order of precedence


class Chosen(NamedTuple):
    """Names of the labels that are read from one file.

    Attributes:
        family: family of the names.
        names: names of each label; none if the file does not have it.
        given: labels whose name the input states.
    """

    family: Family
    names: Mapping[str, tuple[str, ...]]
    given: frozenset[str] = frozenset()

    def value(self, frame: Frame, label: str, where: str) -> Any:
        """Return a label of a frame, ``None`` if the frame does not have it.

        Raises:
            DataError: the frame has the label under two names with different values.
        """
        found = dict(self.found(frame, label))
        values = list(found.values())
        if not all(_equal(values[0], other) for other in values[1:]):
            raise DataError(
                f"{where}: {' and '.join(found)} have different values. "
                f"Choose one with [SCRAPER] {label}_key, or remove the others."
            )
        return values[0] if values else None

    def found(self, frame: Frame, label: str) -> Iterator[tuple[str, Any]]:
        """Yield the entries of a frame that are this label; a name from the input is compared exactly if it exists."""
        wanted = self.names[label]
        if label in self.given and wanted[0] in frame:
            yield wanted[0], frame[wanted[0]]
            return
        lower = {name.lower() for name in wanted}
        for name, value in frame.items():
            if name.lower() in lower and value is not None and not _per_atom_tensor(label, value):
                yield name, value


def choose(frames: Sequence[Frame], keys: Mapping[str, str]) -> Chosen:
    """Choose the names of the labels of one file.

    Args:
        frames: all frames of the file.
        keys: names that the input states, by label. Labels without a name come from the family of the stated names; a
            stated stress excludes the virial and vice versa.
    """
    given = {label: keys[label] for label in LABELS if keys.get(label)}
    family = _family(frames, list(given.values()))
    names: dict[str, tuple[str, ...]] = {}
    for label in LABELS:
        other = {"stress": "virial", "virial": "stress"}.get(label)
        if label in given:
            names[label] = (given[label],)
        else:
            names[label] = () if other in given else _most_frequent(frames, family.names[label])
    return Chosen(family, names, frozenset(given))


def _family(frames: Sequence[Frame], given: Sequence[str]) -> Family:
    # A family with energies or forces is preferred: a stress alone may be all that another method has left.
    present = [family for labels in (LABELS[:2], LABELS[2:]) for family in FAMILIES if family.is_in(frames, labels)]
    for family in present:
        if any(family.has(name) for name in given):
            return family
    for name in given:
        if (affixes := _affixes(name)) is None:
            continue
        family = with_affixes(*affixes) if any(affixes) else PLAIN
        others = [{key: None for key in frame if key not in given} for frame in frames]
        # A suffix may tell kinds of one label apart, as energy_U0 and energy_U of QM9, whose forces have none.
        if not affixes[1] or family.is_in(others, LABELS[1:]):
            return family
    return present[0] if present else PLAIN


def _affixes(name: str) -> tuple[str, str] | None:
    """Return what precedes and follows a plain name: ``qm_`` for ``QM_energy``, ``_xtb`` for ``energy_xtb``.

    ``None`` if the name neither ends nor starts with a plain name.
    """
    plain = sorted((name for kinds in PLAIN_NAMES.values() for kind in kinds for name in kind), key=len, reverse=True)
    lower = name.lower()
    before = next((lower.removesuffix(end) for end in plain if lower.endswith(end)), None)
    after = next((lower.removeprefix(start) for start in plain if lower.startswith(start)), None)
    return (before, "") if before is not None else ("", after) if after is not None else None


def _most_frequent(frames: Sequence[Frame], kinds: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the kind that most frames have: energies of different kinds must not be mixed within a file."""
    lower = [{name.lower() for name, value in frame.items() if value is not None} for frame in frames]
    counts = [sum(not names.isdisjoint(kind) for names in lower) for kind in kinds]
    return kinds[counts.index(max(counts))] if any(counts) else ()


def _per_atom_tensor(label: str, value: Any) -> bool:
    """Return whether a column of tensors per atom has the name of a stress or virial of the configuration."""
    if label not in ("stress", "virial"):
        return False
    try:
        shape = np.shape(value)
    except ValueError:  # ragged lists
        return False
    return len(shape) == 2 and shape[-1] in (6, 9)


def _equal(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    try:
        first, second = numbers(one).ravel(), numbers(other).ravel()
    except ValueError:
        return repr(one) == repr(other)
    return first.shape == second.shape and bool(np.allclose(first, second, rtol=1e-6, atol=1e-8))


def label_notes(
    path: str, frames: Sequence[Frame], chosen: Chosen, used: Sequence[str] = (), *, usual: Family = PLAIN
) -> list[Finding]:
    """Return a note on what is read from a file, if that is not obvious or something is left out.

    Args:
        path: the file.
        frames: all frames of the file.
        chosen: names that are read.
        used: other names that are read.
        usual: family that needs no note.
    """
    read: dict[str, str] = {}
    for label in LABELS:
        for frame in frames:
            for name, _ in chosen.found(frame, label):
                read.setdefault(name, label)
    keys = list(dict.fromkeys(name for frame in frames for name in frame))
    if not read:
        return [Finding(f"{NO_LABELS}; keys of the file: {some(keys, MAX_KEYS) or 'none'}.", path, warning=False)]
    same = {name for name in keys if _repeats(name, read, frames)}
    left = [name for name in keys if LABEL_LIKE.search(name) and name not in {*read, *used, *same, *WEIGHT_KEYS}]
    # Without smearing ASE writes the same number as energy and free_energy.
    is_free = _is_free(read) and not {name.lower() for name in same} & {"energy", "ref_energy", "dft_energy"}
    usual_names = all(name.lower() in (label, f"free_{label}") for name, label in read.items()) and not is_free
    if chosen.family == usual and usual_names and not left and not chosen.given:
        return []
    what = ", ".join(f"{label} = {name}" for name, label in read.items())
    rest = f"; not read: {some(left, MAX_KEYS)}" if left else ""
    free = " (free energy, consistent with the forces)" if is_free else ""
    return [Finding(f"{LABELS_READ}{what}{free}{rest}.", path, warning=False)]


def state_notes(path: str, frames: Sequence[Frame]) -> list[Finding]:
    """Return notes on charges and spins of configurations that differ within a file, which models do not use."""
    values: dict[str, set[float]] = {}
    for frame in frames:
        for name, value in frame.items():
            if name.lower() in STATES and isinstance(value, int | float | np.number):
                values.setdefault(name, set()).add(float(value))
    return [
        Finding(
            f"{name} has the values {some([f'{one:g}' for one in sorted(found)])}, which models do not use: "
            "configurations of one composition must have the same.",
            path,
            warning=False,
        )
        for name, found in values.items()
        if len(found) > 1
    ]


def _is_free(read: Mapping[str, str]) -> bool:
    return any(label == "energy" and "free_energy" in name.lower() for name, label in read.items())


def _repeats(name: str, read: Mapping[str, str], frames: Sequence[Frame]) -> bool:
    """Return whether an entry that is not read has the values of one that is, as ASE's energy without smearing."""
    return any(
        all(_equal(frame.get(name), frame.get(other)) for frame in frames)
        for other, label in read.items()
        if label in name.lower() and name not in read
    )
