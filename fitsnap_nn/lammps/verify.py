"""The proof of a fit: LAMMPS runs the exported files, and must find what the trainer found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.evaluation import Evaluation
from fitsnap_nn.errors import LammpsError, VerificationError
from fitsnap_nn.lammps.evaluate import evaluate_in_lammps
from fitsnap_nn.lammps.files import LammpsFiles
from fitsnap_nn.lammps.program import Lammps, find_lammps
from fitsnap_nn.units import BAR


class Tolerances(NamedTuple):
    """Largest relative differences of energies, forces, and stresses times volume; absolute below 1 eV and 1 eV/Å."""

    energy: float
    force: float
    stress: float


# Both sides compute from the same numbers, and differ by the rounding of sums, which steep networks amplify. A model
# of float32 is compared with its prediction in float64.
TOLERANCES: Mapping[str, Tolerances] = MappingProxyType(
    {"float64": Tolerances(1e-9, 1e-8, 1e-8), "float32": Tolerances(1e-6, 1e-3, 1e-3)}
)


class Difference(NamedTuple):
    """Largest absolute differences.

    Attributes:
        energy: eV.
        force: eV/Å.
        stress: eV/Å³; ``None`` where no stress was compared.
    """

    energy: float
    force: float
    stress: float | None


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes:
        lammps: version of the LAMMPS.
        formats: formats of the model that were run.
        ranks: the numbers of MPI ranks they ran on.
        configurations: how many were compared.
        difference: the largest of all; ``None`` when nothing was run.
        reason: why nothing was run, and what would help.
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
        count = f"{self.configurations} configuration{'s' if self.configurations != 1 else ''}"
        pressure = "" if stress is None else f", |dP| {stress / BAR:.0e} bar"
        return (
            f"verified in LAMMPS {self.lammps} (model {' and '.join(self.formats)}): {ranks}, {count}, "
            f"|dE| {energy:.0e} eV, |dF| {force:.0e} eV/Å{pressure}"
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
) -> Verification:
    """Run exported files in LAMMPS, in every format that it can run, and compare with the trainer's predictions.

    Args:
        predictions: what the model, in float64, says of each configuration, with the reference added.
        lammps: the one at hand if ``None``.
        ranks: numbers of MPI ranks; those above one are left out where there is no ``mpirun``.
        timeout: seconds for each run of LAMMPS.
        shear: compare shear stresses too. LAMMPS takes the sum of x f_y for them, which is their symmetric part only
            where the energy does not depend on how the configuration is turned.
        stress_tolerance: smallest relative tolerance of the stress, for strain derivatives by finite differences.

    Raises:
        VerificationError: LAMMPS finds something else, or fails on the files.
    """
    try:
        lammps = lammps or find_lammps()
    except LammpsError as error:
        return Verification("", reason=str(error))
    formats = tuple(name for name in lammps.formats if name in files.models)
    if not formats or not configurations:
        return Verification(lammps.version, reason=_remedy(files, lammps) if configurations else "no configurations.")
    counts = tuple(count for count in ranks if count == 1 or lammps.launcher)
    exact = TOLERANCES[files.precision]
    allowed = exact._replace(stress=max(exact.stress, stress_tolerance))
    differences = []
    used: set[int] = set()
    for name in formats:
        for count in counts if lammps.plugin or name != "unified" else (1,):  # LAMMPS' own has no exchange of messages
            used.add(count)
            try:
                found = evaluate_in_lammps(files, configurations, lammps, name, ranks=count, timeout=timeout)
            except LammpsError as error:
                raise VerificationError(f"LAMMPS cannot run the exported {files.mod}: {error}") from error
            where = f"LAMMPS {lammps.version}, model {name}, {count} rank{'s' if count > 1 else ''}"
            for configuration, expected, evaluation in zip(configurations, predictions, found, strict=True):
                if evaluation is not None:
                    differences.append(_compare(configuration, expected, evaluation, where, shear, allowed))
    return Verification(lammps.version, formats, tuple(sorted(used)), len(configurations), _largest(differences))


def _remedy(files: LammpsFiles, lammps: Lammps) -> str:
    """Why a LAMMPS can run no format of a model."""
    if not lammps.formats:
        return "it was built without ML-IAP or ML-SNAP; pip install 'lammps[mpi]' has both."
    return (
        f"{files.unsupported_reason}, and this LAMMPS runs no Python for {files.mod.stem}. "
        "`python -m fitsnap_nn doctor` says why; or use an activation that model nn knows."
    )


def _compare(
    configuration: Configuration, expected: Evaluation, found: Evaluation, where: str, shear: bool, allowed: Tolerances
) -> Difference:
    """The differences on one configuration, each within its tolerance.

    Raises:
        VerificationError: one is not.
    """
    assert expected.forces is not None
    assert found.forces is not None
    energy = _difference("energies (eV)", expected.energy, found.energy, allowed.energy, configuration, where)
    force = _difference("forces (eV/Å)", expected.forces, found.forces, allowed.force, configuration, where)
    stress = None
    if expected.stress is not None and found.stress is not None:
        # an eV/Å³ is a huge stress: what counts is the energy of straining the whole cell
        volume = configuration.volume
        components = slice(None) if shear else slice(3)
        virials = expected.stress[components] * volume, found.stress[components] * volume
        stress = _difference("stress times volume (eV)", *virials, allowed.stress, configuration, where) / volume
    return Difference(energy, force, stress)


def _difference(
    name: str,
    expected: np.typing.ArrayLike,
    found: np.typing.ArrayLike,
    tolerance: float,
    configuration: Configuration,
    where: str,
) -> float:
    trained, computed = np.asarray(expected), np.asarray(found)
    largest = float(np.abs(computed - trained).max())
    allowed = tolerance * max(1.0, float(np.abs(trained).max()))
    if not largest <= allowed:
        raise VerificationError(
            f"{where}: {configuration.id}: {name} differ from the trainer's by {largest:.3g}, more than {allowed:.1g}. "
            f"The exported files do not hold the model that was fitted; please report this with them."
        )
    return largest


def _largest(differences: Sequence[Difference]) -> Difference:
    stresses = [difference.stress for difference in differences if difference.stress is not None]
    return Difference(
        max(difference.energy for difference in differences),
        max(difference.force for difference in differences),
        max(stresses) if stresses else None,
    )
