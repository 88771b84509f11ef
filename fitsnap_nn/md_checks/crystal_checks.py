"""Checks of the crystals in the data: energy against volume, and elastic constants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.data.statistics import root_mean_square
from fitsnap_nn.data.voigt import from_voigt
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.md_checks.check import Check, Curve, Number, Verdict, judged
from fitsnap_nn.md_checks.crystals import (
    FEWEST,
    Crystal,
    StrainedCell,
    constants_from_stresses,
    cubic,
    elastic_cells,
    elastic_constants,
    equation_of_state,
    is_cubic,
    scaled_cells,
    strained_cells,
    volume_cells,
)
from fitsnap_nn.md_checks.references import References
from fitsnap_nn.md_checks.runner import Runner, message_of

VOLUME, VOLUME_TITLE = "volume", "Energy against volume"
ELASTIC, ELASTIC_TITLE = "elastic", "Elastic constants"
BUMP = 1e-3  # eV/atom by which the energy may fall on the way from the minimum
VOLUME_ERROR = 0.03  # relative; 1 % of the lattice constant
SHIFT = 0.15  # relative change of the volume by which a relaxed crystal is no longer that of the data
MODULUS_ERROR, STIFFNESS_ERROR = 0.15, 10.0  # relative, and GPa, whichever is larger
NO_CRYSTALS = (
    "not run: the data contain no crystals, that is periodic cells of at most 64 atoms without vacuum and with forces "
    "below 0.5 eV/Å."
)


@dataclass
class _Findings:
    """Results of one check for all crystals."""

    faults: list[str] = field(default_factory=list)
    good: list[str] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def stopped(self, crystal: Crystal, *results: object) -> None:
        """Add the first error of LAMMPS among the results for a crystal: it is a fault of the potential."""
        error = next(one for one in results if isinstance(one, LammpsError))
        self.faults.append(f"{crystal.name}: LAMMPS stopped: {message_of(error)}")


def check_volumes(runner: Runner, crystals: Sequence[Crystal], references: References) -> Check:
    """Return whether each crystal has one minimum of the energy as a function of volume, where the labels have it."""
    if not crystals:
        return Check(VOLUME, VOLUME_TITLE, Verdict.NOT_RUN, NO_CRYSTALS)
    found = _Findings()
    found.faults += [f"{one.name} cannot be relaxed: {one.error}" for one in crystals if one.relaxed is None]
    relaxed = [(one, volume_cells(one.relaxed)) for one in crystals if one.relaxed is not None]
    labelled = [scaled_cells(one.data, references) for one, _ in relaxed]
    curves = runner.evaluate_each([cells for _, cells in relaxed], relaxed=True)
    others = runner.evaluate_each(labelled)
    for (crystal, cells), curve, same, other in zip(relaxed, curves, labelled, others, strict=True):
        if isinstance(curve, LammpsError) or isinstance(other, LammpsError):
            found.stopped(crystal, curve, other)
            continue
        faults = [*_volume(crystal, _points(cells, curve), found), *_against_labels(crystal, same, other, found)]
        found.faults += [f"{crystal.name} {fault}" for fault in faults]
    verdict, summary = judged(found.faults, "; ".join(found.good))
    axes = "volume (Å³/atom)", "energy above the minimum (eV/atom)"
    check = Check(VOLUME, VOLUME_TITLE, verdict, summary, tuple(found.numbers), tuple(found.curves), *axes)
    return check.noting(" ".join(found.remarks))


def check_elastic(runner: Runner, crystals: Sequence[Crystal], references: References) -> Check:
    """Return whether the ground states are mechanically stable, and elastic constants agree with labelled stresses."""
    relaxed = [(one, one.relaxed) for one in crystals if one.relaxed is not None]
    if not relaxed:
        summary = "not run: no crystal of the data could be relaxed." if crystals else NO_CRYSTALS
        return Check(ELASTIC, ELASTIC_TITLE, Verdict.NOT_RUN, summary)
    found = _Findings()
    labelled = [strained_cells(one.data, references) for one, _ in relaxed]
    strained = runner.evaluate_each([elastic_cells(cell) for _, cell in relaxed], relaxed=True)
    others = runner.evaluate_each([[one.configuration for one in cells] for cells in labelled])
    for (crystal, _), mine, cells, other in zip(relaxed, strained, labelled, others, strict=True):
        if isinstance(mine, LammpsError) or isinstance(other, LammpsError):
            found.stopped(crystal, mine, other)
            continue
        _elastic(crystal, elastic_constants(mine), _labelled_constants(cells, other), found)
    verdict, summary = judged(found.faults, "; ".join(found.good))
    return Check(ELASTIC, ELASTIC_TITLE, verdict, summary, tuple(found.numbers)).noting(" ".join(found.remarks))


def _points(cells: Sequence[Configuration], found: Sequence[Evaluation]) -> tuple[Floats, Floats]:
    """Return volumes (Å³/atom) and energies (eV/atom)."""
    count = len(cells[0])
    return np.array([one.volume for one in cells]) / count, np.array([one.energy for one in found]) / count


def _volume(crystal: Crystal, points: tuple[Floats, Floats], found: _Findings) -> Iterator[str]:
    """Add the results of the curve of a crystal; yield what is wrong with it."""
    assert crystal.relaxed is not None
    volumes, energies = points
    found.curves.append(Curve(crystal.name, volumes, energies - energies.min()))
    change = crystal.relaxed.volume / crystal.data.volume - 1.0
    state = equation_of_state(volumes, energies)
    faults = [*_shape_faults(volumes, energies)]
    if abs(change) > SHIFT:
        faults.append(f"relaxes to a volume {100 * change:+.0f} % off the cell in the data")
    if state is None and not faults:
        faults.append("has no minimum of the energy")
    if state is not None:
        found.numbers.append(Number(f"{crystal.name}: volume", state.volume, "Å³/atom"))
        found.numbers.append(Number(f"{crystal.name}: bulk modulus", state.bulk_modulus, "GPa"))
        found.good.append(f"{crystal.name} {state.volume:.2f} Å³/atom, {state.bulk_modulus:.0f} GPa")
    yield from faults


def _shape_faults(volumes: Floats, energies: Floats) -> Iterator[str]:
    """Yield faults of a curve that should fall to one minimum and rise again."""
    middle = int(energies.argmin())
    if middle in (0, len(energies) - 1):
        yield f"has no minimum of the energy between {volumes[0]:.1f} and {volumes[-1]:.1f} Å³/atom"
        return
    for side, name in ((slice(middle, None, -1), "compression"), (slice(middle, None), "expansion")):
        branch, places = energies[side], volumes[side]
        falls = np.flatnonzero(np.maximum.accumulate(branch) - branch > BUMP)
        if len(falls):
            depth = 1e3 * float((np.maximum.accumulate(branch) - branch).max())
            yield f"has a second minimum under {name} near {places[falls[0]]:.1f} Å³/atom ({depth:.0f} meV/atom deep)"


def _against_labels(
    crystal: Crystal, cells: Sequence[Configuration], evaluations: Sequence[Evaluation], found: _Findings
) -> Iterator[str]:
    """Yield differences from the labels of scaled cells, where potential and labels are fitted at the same volumes."""
    if len(cells) < FEWEST[0]:
        found.remarks.append(f"The data have no scaled cells of {crystal.name} to compare with.")
        return
    volumes, energies = _points(cells, evaluations)
    labels = np.array([one.energy for one in cells]) / len(crystal.data)
    expected = equation_of_state(volumes, labels)
    if expected is None:
        found.remarks.append(f"The scaled cells of {crystal.name} in the data are too few near the minimum to compare.")
        return
    found.curves.append(Curve(f"{crystal.name}, labels", volumes, labels - labels.min()))
    state = equation_of_state(volumes, energies)
    if state is None:
        yield "has no minimum of the energy near that of the labels"
        return
    same = f"{crystal.name}, cells of the data"
    found.numbers.append(Number(f"{same}: volume", state.volume, "Å³/atom", expected.volume))
    found.numbers.append(Number(f"{same}: bulk modulus", state.bulk_modulus, "GPa", expected.bulk_modulus))
    near = labels - labels.min() < 0.5
    deviation = (energies - energies.min() - labels + labels.min())[near]
    found.numbers.append(Number(f"{same}: RMS difference of the curves", 1e3 * root_mean_square(deviation), "meV/atom"))
    if abs(state.volume / expected.volume - 1.0) > VOLUME_ERROR:
        yield f"has {state.volume:.2f} Å³/atom instead of {expected.volume:.2f}"
    if _differs(state.bulk_modulus, expected.bulk_modulus):
        yield f"has a bulk modulus of {state.bulk_modulus:.0f} GPa instead of {expected.bulk_modulus:.0f}"


def _elastic(crystal: Crystal, constants: Floats, compared: tuple[Floats, Floats] | None, found: _Findings) -> None:
    """Add the results for a crystal.

    Args:
        constants: (6, 6) GPa, of the relaxed crystal.
        compared: (6, 6) of potential and labels, from the same cells of the data, if there are such.
    """
    softest, symmetric = float(np.linalg.eigvalsh(constants)[0]), is_cubic(constants)
    found.numbers += [Number(f"{crystal.name}: {name}", value, "GPa") for name, value in _named(constants, symmetric)]
    found.numbers.append(Number(f"{crystal.name}: lowest eigenvalue of C", softest, "GPa"))
    expected_stable = crystal.is_ground_state
    if compared:
        mine, labelled = compared
        expected_stable = expected_stable or bool(np.linalg.eigvalsh(labelled)[0] > STIFFNESS_ERROR)
        for (name, value), (_, reference) in zip(_named(mine, symmetric), _named(labelled, symmetric), strict=True):
            found.numbers.append(Number(f"{crystal.name}, cells of the data: {name}", value, "GPa", reference))
            if _differs(value, reference):
                found.faults.append(f"{crystal.name} has {name} {value:.0f} GPa instead of {reference:.0f}")
    listed = ", ".join(f"{name} {value:.0f}" for name, value in _named(constants, symmetric)[:6])
    if softest <= 0 and expected_stable:
        found.faults.append(
            f"{crystal.name} is mechanically unstable: the lowest eigenvalue of C is {softest:.0f} GPa ({listed} GPa)"
        )
    elif softest <= 0:
        found.remarks.append(
            f"{crystal.name} is mechanically unstable ({softest:.0f} GPa), which need not be wrong: it is not the "
            "ground state, and the data have no labels to compare with."
        )
    else:
        found.good.append(f"{crystal.name} is stable: {listed} GPa")


def _labelled_constants(
    cells: Sequence[StrainedCell], evaluations: Sequence[Evaluation]
) -> tuple[Floats, Floats] | None:
    """Return elastic constants of potential and labels, from the same strained cells of the data."""
    strains = np.array([one.strain for one in cells])
    labels = [one.in_crystal(one.configuration.labels["stress"]) for one in cells]
    stresses = [cell.in_crystal(from_voigt(one.values["stress"])) for cell, one in zip(cells, evaluations, strict=True)]
    expected = constants_from_stresses(strains, np.array(labels))
    mine = constants_from_stresses(strains, np.array(stresses))
    return None if expected is None or mine is None else (mine, expected)


def _named(constants: Floats, is_cubic: bool) -> list[tuple[str, float]]:
    """Return the names and values of elastic constants (6, 6), GPa: three of a cubic crystal, all 21 of others."""
    if is_cubic:
        mean = cubic(constants)
        return [("C11", float(mean[0, 0])), ("C12", float(mean[0, 1])), ("C44", float(mean[3, 3]))]
    places = [(i, i) for i in range(6)] + [(i, j) for i in range(6) for j in range(i + 1, 6)]
    return [(f"C{i + 1}{j + 1}", float(constants[i, j])) for i, j in places]


def _differs(value: float, reference: float) -> bool:
    return abs(value - reference) > max(MODULUS_ERROR * abs(reference), STIFFNESS_ERROR)
