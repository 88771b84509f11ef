"""Stress labels: order of six components, virials, and plausible sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.readers.numbers import numbers
from fitsnap_nn.errors import DataError
from fitsnap_nn.units import GPA

COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")  # Voigt order, as in ASE
LARGE = 1000.0 * GPA  # eV/Å³
# σV bounds the work of a deformation; a crystal that is compressed to a stress of the size of its bulk modulus gains an
# energy of about σV/2. Numbers in GPa, kB or bar that are taken for eV/Å³ exceed that by orders of magnitude.
WORK_RATIO = 20.0
SLACK = 1.0  # eV/atom
DISAGREE = 0.01  # relative difference between stress and virial


def stress_tensor(value: Any, what: str, order: Sequence[str] = ()) -> Floats:
    """Return a stress or virial as (3, 3) tensor in the unit of the file.

    Args:
        value: (3, 3), (9,), or (6,) if their order is known.
        what: file, frame and label, for errors.
        order: order of six components, for example ``("xx", "yy", "zz", "xy", "yz", "zx")``.

    Raises:
        DataError: wrong shape, not numbers, or six numbers of unknown order.
    """
    try:
        array = numbers(value)
    except ValueError:
        raise DataError(f"{what} is not an array of numbers. Correct the file, or remove it.") from None
    if array.size == 9:
        return array.reshape(3, 3)
    if array.shape != (6,):
        raise DataError(f"{what} has shape {array.shape}, not (3, 3), (9,) or (6,). Correct the file, or remove it.")
    if not order:
        raise DataError(
            f"{what} has six components, whose order is not fixed by the format: ASE writes xx yy zz yz xz xy, VASP "
            "xx yy zz xy yz zx. State it in [SCRAPER] stress_order, or write 3 x 3 components."
        )
    tensor = np.empty((3, 3))
    for number, component in zip(array, order, strict=True):
        row, column = ("xyz".index(axis) for axis in component)
        tensor[row, column] = tensor[column, row] = number
    return tensor


def is_order(words: Sequence[str]) -> bool:
    """Return whether words name each of the six components of a symmetric tensor once."""
    return sorted("".join(sorted(word)) for word in words) == sorted(COMPONENTS)


def stress_of_virial(virial: Floats, volume: float, where: str) -> Floats:
    """Return the stress (eV/Å³, positive in tension) of a virial (eV), which is minus volume times stress.

    Raises:
        DataError: the volume is 0.
    """
    if not volume > 0.0:
        raise DataError(f"{where}: a virial must consist of numbers and requires a Lattice. Correct or remove it.")
    return -virial / volume


def refuse_contradiction(stress: Floats, other: Floats, where: str) -> None:
    """Refuse a stress and a virial (converted to a stress) that differ.

    Raises:
        DataError: they differ by more than 1 % of the larger component.
    """
    size = max(float(np.abs(stress).max()), float(np.abs(other).max()))
    if np.abs(stress - other).max() <= DISAGREE * size + 1e-6:
        return
    opposite = np.abs(stress + other).max() <= DISAGREE * size + 1e-6
    how = "have opposite signs (virial = -volume * stress)" if opposite else "differ"
    raise DataError(
        f"{where}: stress and virial {how}: {stress[0, 0] / GPA:.4g} and {other[0, 0] / GPA:.4g} GPa for xx. "
        "Choose one with [SCRAPER] stress_key or virial_key, or correct the file."
    )


def implausible_stresses(configurations: Iterable[Configuration]) -> list[Configuration]:
    """Return configurations whose stress is out of proportion to their energies, so that its unit is probably wrong.

    Args:
        configurations: those of one file or data set; the energies of equal compositions are compared.
    """
    members = [(one, _composition(one)) for one in configurations]
    lowest: dict[tuple[tuple[str, float], ...], float] = {}
    for one, composition in members:
        if one.energy is not None:
            lowest[composition] = min(one.energy / len(one), lowest.get(composition, np.inf))
    return [one for one, composition in members if _is_implausible(one, lowest.get(composition, 0.0))]


def _composition(configuration: Configuration) -> tuple[tuple[str, float], ...]:
    counts = Counter(configuration.species)
    return tuple(sorted((symbol, round(count / len(configuration), 6)) for symbol, count in counts.items()))


def _is_implausible(configuration: Configuration, lowest: float) -> bool:
    if configuration.stress is None or not all(configuration.pbc):
        return False
    energy = configuration.energy
    excess = 0.0 if energy is None else energy / len(configuration) - lowest
    work = float(np.abs(configuration.stress).max()) * configuration.volume / len(configuration)
    return work > WORK_RATIO * (excess + SLACK)
