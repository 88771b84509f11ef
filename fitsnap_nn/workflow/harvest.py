"""Frames of molecular dynamics that a training set should contain: uncertain, different, and not broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fitsnap_nn.data.atoms import configuration_from_atoms
from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.data.neighbours import find_neighbours
from fitsnap_nn.data.new_group import XYZ, write_new_group
from fitsnap_nn.errors import DataError, InputError, Problem, counted
from fitsnap_nn.interfaces.potential import Potential, load_potential
from fitsnap_nn.models.uncertainty import RULE
from fitsnap_nn.settings.ini import COMMAND_LINE

RANGE, BINS = 6.0, 60  # of radial distributions, Å
SMEARING = 0.2  # Å
TOO_CLOSE = 0.5  # of the sum of the covalent radii: no calculation converges there
NEAR_DUPLICATE = 0.02  # relative difference of radial distributions


class Frame(NamedTuple):
    """A frame of molecular dynamics.

    Attributes:
        configuration: its atoms; the id names file and step.
        sigma: largest uncertainty of the force on an atom, eV/Å.
        distribution: radial distributions of all pairs of elements.
    """

    configuration: Configuration
    sigma: float
    distribution: Floats


class Harvest(NamedTuple):
    """Result of `harvest`.

    Attributes:
        chosen: frames of the new group.
        files: files that were written.
        lines: what was left out and why.
    """

    chosen: list[Frame]
    files: list[Path]
    lines: list[str]


def harvest(files: Sequence[str], model: str, target: Path, count: int, *, trust: bool = False) -> Harvest:
    """Write a new group, without labels, of the most uncertain and most different frames.

    Args:
        files: dump files of LAMMPS with the column ``element``, or other files that ASE reads.
        model: model file with an uncertainty.
        target: folder of FitSNAP JSON files, or extended XYZ file; it must not exist.
        count: maximum number of frames.
        trust: see `load_potential`.

    Raises:
        InputError: the target exists already, or the format cannot represent a frame.
        DataError: a file cannot be read, contains no frame that is useful, or the model has no uncertainty.
    """
    name = target.name.removesuffix(XYZ)
    others = [target.with_name(f"{name}{end}") for end in (".label.py", ".README.md")]
    if found := [path for path in (target, *others) if path.exists()]:
        raise InputError([Problem(str(path), "exists already.", "Choose another name.") for path in found])
    potential = load_potential(model, trust=trust)
    lines: list[str] = []
    configurations = [one for file in files for one in read_frames(file)]
    intact = [one for one in configurations if not _broken(one)]
    if len(intact) < len(configurations):
        broken = counted(len(configurations) - len(intact), "frame")
        lines.append(f"{broken} left out: atoms closer than half the sum of their covalent radii")
    partly = [one for one in intact if any(one.pbc) and not all(one.pbc)]
    if partly and target.suffix != XYZ:
        what = f"{partly[0].id} is periodic in some directions only, which FitSNAP's JSON format cannot state."
        raise InputError([Problem(COMMAND_LINE, what, f"Write an XYZ file: --to {target}.xyz")])
    frames = [_frame(potential, one) for one in intact]
    chosen, duplicates = choose(frames, count)
    if duplicates:
        lines.append(f"{counted(duplicates, 'frame')} left out: nearly the same as one that was chosen")
    if rest := len(frames) - duplicates - len(chosen):
        reason = f"--count {count}" if len(chosen) == count else "no force is uncertain"
        lines.append(f"{counted(rest, 'frame')} left out: {reason}")
    if not chosen:
        raise DataError(f"{', '.join(files)}: no frame is left. {' '.join(lines)}".strip())
    named, sigma = [one.configuration for one in chosen], [one.sigma for one in chosen]
    domain = _domain(sigma, potential)
    written = write_new_group(target, named, sigma, Path(model).name, domain)
    return Harvest(chosen, [target, *written], [*lines, *filter(None, [domain])])


def _domain(sigma: Sequence[float], potential: Potential) -> str:
    """Return a sentence that says how many frames are outside the domain of the training set, if that is known."""
    if potential.uncertainty is None:
        return ""
    threshold = potential.uncertainty.threshold
    above = sum(one > threshold for one in sigma)
    limit = f"the threshold of the model ({threshold:.3g} eV/Å, {RULE})"
    return f"Above {limit}: {above} of {counted(len(sigma), 'frame')}."


def read_frames(file: str) -> list[Configuration]:
    """Return the frames of a file, without labels.

    Args:
        file: dump file of LAMMPS, or another file that ASE reads.

    Raises:
        DataError: the file cannot be read, or is a dump without chemical symbols.
    """
    from ase.io import read
    from ase.io.formats import open_with_compression

    dump = False
    try:
        with open_with_compression(file, "rb") as opened:
            head = opened.read(2000).decode("utf-8", "replace")
        dump = head.startswith("ITEM:")
        frames: list[Any] = read(file, ":", parallel=False, **({"format": "lammps-dump-text"} if dump else {}))
    except Exception as error:  # readers of ASE raise what they like
        hint = " If the run was killed, its last frame is incomplete: remove it." if dump else ""
        raise DataError(f"{file} cannot be read: {str(error).rstrip('.')}.{hint}") from error
    columns = next((line for line in head.splitlines() if line.startswith("ITEM: ATOMS")), "")
    if dump and "element" not in columns.split():
        raise DataError(f"{file} has no column `element`. Add it: dump_modify ID element SYMBOL ...")
    steps = head.count("ITEM: TIMESTEP") and _steps(file)
    names = [f"step {step}" for step in steps] if steps else [f"frame {number + 1}" for number in range(len(frames))]
    return [
        replace(configuration_from_atoms(atoms), id=f"{Path(file).name}, {name}")
        for atoms, name in zip(frames, names, strict=True)
    ]


def _steps(file: str) -> list[str]:
    from ase.io.formats import open_with_compression

    with open_with_compression(file, "rt") as opened:
        return [next(opened).strip() for line in opened if line.startswith("ITEM: TIMESTEP")]


def choose(frames: Sequence[Frame], count: int) -> tuple[list[Frame], int]:
    """Return the most uncertain frame, then always the one with the largest product of uncertainty and distance.

    The distance of a frame is that of its radial distributions from the nearest ones of the chosen frames.

    Args:
        frames: the frames.
        count: maximum number.

    Returns:
        The chosen frames, and the number of near-duplicates among the others.
    """
    if not frames:
        return [], 0
    sigma = np.array([one.sigma for one in frames])
    chosen, distance = [int(sigma.argmax())], _distances(frames, int(sigma.argmax()))
    while len(chosen) < count:
        score = np.where(distance > NEAR_DUPLICATE, sigma * distance, 0.0)
        if not score.max() > 0:
            break
        chosen.append(int(score.argmax()))
        distance = np.minimum(distance, _distances(frames, chosen[-1]))
    duplicates = int((distance <= NEAR_DUPLICATE).sum()) - len(chosen)
    return [frames[number] for number in chosen], duplicates


def _distances(frames: Sequence[Frame], number: int) -> Floats:
    """Return the relative differences of radial distributions from those of one frame."""
    own = frames[number]
    size = float(np.linalg.norm(own.distribution)) or 1.0
    same = [sorted(one.configuration.species) == sorted(own.configuration.species) for one in frames]
    found = [np.linalg.norm(one.distribution - own.distribution) / size for one in frames]
    return np.where(same, found, 1.0)


def _frame(potential: Potential, configuration: Configuration) -> Frame:
    found = potential.predict(configuration, outputs=["forces_std"])
    return Frame(configuration, float(found.spread["forces"].max()), _distribution(configuration, potential.elements))


def _distribution(configuration: Configuration, elements: Sequence[str]) -> Floats:
    """Return the radial distributions of all pairs of elements, per atom, divided by the area of the sphere."""
    pairs = find_neighbours(configuration, RANGE)
    species = configuration.element_indices(elements)
    lengths = np.linalg.norm(pairs.vectors, axis=1)
    grid = np.linspace(1.0, RANGE - 2 * SMEARING, BINS)
    result = np.zeros((len(elements), len(elements), BINS))
    for a in range(len(elements)):
        for b in range(len(elements)):
            mine = lengths[(species[pairs.i] == a) & (species[pairs.j] == b)]
            result[a, b] = np.exp(-0.5 * ((mine[:, None] - grid) / SMEARING) ** 2).sum(axis=0) / grid**2
    return result / len(configuration)


def _broken(configuration: Configuration) -> bool:
    from ase.data import atomic_numbers, covalent_radii

    radii = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in configuration.species])
    try:
        pairs = find_neighbours(configuration, TOO_CLOSE * 2 * float(radii.max()))
    except DataError:
        return True
    limit = TOO_CLOSE * (radii[pairs.i] + radii[pairs.j])
    return bool((np.linalg.norm(pairs.vectors, axis=1) < limit).any())
