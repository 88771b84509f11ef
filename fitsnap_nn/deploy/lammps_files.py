"""The files that LAMMPS runs: descriptors, model, ``.mod``, and a deck of molecular dynamics to start from.

All are in LAMMPS' units ``metal``: Å, ps, eV, K, bar, g/mol.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.lammps_cell import LammpsCell, to_lammps
from fitsnap_nn.deploy.chemical import symmetrized
from fitsnap_nn.deploy.mliappy import MliapModel, to_pickle
from fitsnap_nn.deploy.nn_text import nn_text, obstacle
from fitsnap_nn.deploy.pair_style import pair_commands
from fitsnap_nn.deploy.program import PLUGIN_LOADED
from fitsnap_nn.descriptors.reference import with_files
from fitsnap_nn.errors import LammpsError
from fitsnap_nn.files import replacing
from fitsnap_nn.models.bpnn import BPNN
from fitsnap_nn.settings.schema import Bispectrum, Reference

FORM_COMMENTS = (
    "# Forms of the model: nn, a text file for any LAMMPS with ML-IAP, where it exists; mliappy, several times faster,",
    "# for LAMMPS with the plugin of fitsnap_nn, or with Python ML-IAP.",
)
LEAST_ATOMS = 100  # the deck repeats its cell until it has about as many


@dataclass(frozen=True)
class LammpsFiles:
    """What was written.

    Attributes:
        folder: where all of it is.
        mod: the file to include in a deck.
        descriptor: options of the descriptors.
        models: the model in each form that LAMMPS can read: ``nn`` (text) and ``mliappy`` (needs Python ML-IAP).
        form: the form that ``mod`` uses where the plugin is not loaded, unless it is told otherwise.
        obstacle: why there is no ``nn`` form; empty when there is one.
        extra: files of the reference potential.
        deck, data: an example of molecular dynamics and its atoms; ``None`` where no structure was given.
        elements: in the order of the atom types.
        atom_style: of LAMMPS.
    """

    folder: Path
    mod: Path
    descriptor: Path
    models: Mapping[str, Path]
    form: str
    obstacle: str
    extra: tuple[Path, ...]
    deck: Path | None
    data: Path | None
    elements: tuple[str, ...]
    atom_style: str

    @property
    def potential(self) -> tuple[Path, ...]:
        """The files that a run needs."""
        return (self.mod, self.descriptor, *self.models.values(), *self.extra)

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return (*self.potential, *(path for path in (self.deck, self.data) if path))


def write_lammps_files(
    model: BPNN,
    bispectrum: Bispectrum,
    reference: Reference,
    folder: Path,
    stem: str,
    *,
    structure: Configuration | None = None,
    reference_folder: Path = Path(),
) -> LammpsFiles:
    """Write the LAMMPS files of a model; files of the same names are replaced.

    Args:
        folder: made if it is not there.
        stem: first part of the names, ``[OUTFILE] potential``.
        structure: atoms of the example deck; no deck without.
        reference_folder: where the relative file names in ``reference`` start; the files are copied into ``folder``.

    Raises:
        LammpsError: ``stem`` has blanks, which LAMMPS cannot read.
    """
    if stem.split() != [stem] or "/" in stem:
        raise LammpsError(
            f"LAMMPS cannot read files named {stem!r}: give [OUTFILE] potential a name without blanks or /."
        )
    folder.mkdir(parents=True, exist_ok=True)
    networks = symmetrized(model.plain_networks(), bispectrum)
    reason = obstacle(networks, bispectrum.quadraticflag)
    contents = {"mliappy": to_pickle(MliapModel(networks, bispectrum.quadraticflag))}
    if not reason:
        contents["nn"] = nn_text(networks).encode()
    resolved, named = with_files(reference, bispectrum.type, reference_folder)
    copies = _copied(named, folder)
    files = LammpsFiles(
        folder=folder,
        mod=folder / f"{stem}.mod",
        descriptor=folder / f"{stem}.mliap.descriptor",
        models={form: folder / f"{stem}.mliap.{form}" for form in contents},
        form="mliappy" if reason else "nn",
        obstacle=reason,
        extra=tuple(copies.values()),
        deck=folder / "in.md" if structure else None,
        data=folder / "md.data" if structure else None,
        elements=model.elements,
        atom_style=reference.atom_style,
    )
    if reason:  # or the .mod could be told to run the text of another model
        (folder / f"{stem}.mliap.nn").unlink(missing_ok=True)
    for form, content in contents.items():
        _write(files.models[form], content)
    _write(files.descriptor, descriptor_text(bispectrum).encode())
    _write(files.mod, mod_text(files, resolved, copies).encode())
    if structure and files.deck and files.data:
        _write(files.data, data_text(structure, model.elements, reference.atom_style).encode())
        _write(files.deck, deck_text(files, structure).encode())
    return files


def descriptor_text(bispectrum: Bispectrum) -> str:
    """The file after ``descriptor sna``: every option, so that no default of LAMMPS can matter.

    ``quadraticflag`` is not among those that LAMMPS knows here: the model forms the products itself.
    """
    elements = bispectrum.type

    def each(values: Sequence[float]) -> str:
        return " ".join(repr(float(value)) for value in (values if len(values) > 1 else list(values) * len(elements)))

    lines = [
        "# SNAP descriptors for pair_style mliap ... descriptor sna; units metal (Å)",
        f"rcutfac {bispectrum.rcutfac!r}",
        f"twojmax {max(bispectrum.twojmax)}",
        f"nelems {len(elements)}",
        f"elems {' '.join(elements)}",
        f"radelems {each(bispectrum.radelem)}",
        f"welems {each(bispectrum.wj)}",
        f"rfac0 {bispectrum.rfac0!r}",
        f"rmin0 {bispectrum.rmin0!r}",
        f"switchflag {int(bispectrum.switchflag)}",
        f"bzeroflag {int(bispectrum.bzeroflag)}",
        f"chemflag {int(bispectrum.chemflag)}",
        f"bnormflag {int(bispectrum.bnormflag)}",
        f"wselfallflag {int(bispectrum.wselfallflag)}",
        f"switchinnerflag {int(bispectrum.switchinnerflag)}",
    ]
    if bispectrum.switchinnerflag:
        lines += [f"sinnerelems {each(bispectrum.sinner)}", f"dinnerelems {each(bispectrum.dinner)}"]
    return "\n".join(lines) + "\n"


def mod_text(files: LammpsFiles, reference: Reference, copies: Mapping[Path, Path]) -> str:
    """The commands that set the potential up; two variables may be set before: where it is, and which form to use.

    Args:
        reference: with absolute paths.
        copies: from those to the files beside the ``.mod``.
    """
    stem = files.mod.name.removesuffix(".mod")
    mliap = f"model ${{potential_model}} ${{potential_folder}}/{stem}.mliap.${{potential_model}}"
    commands = pair_commands(
        reference,
        f"{mliap} descriptor sna ${{potential_folder}}/{files.descriptor.name}",
        files.elements,
        place={str(path): f"${{potential_folder}}/{copy.name}" for path, copy in copies.items()},
    )
    types = ", ".join(f"{number} {element}" for number, element in enumerate(files.elements, start=1))
    lines = [
        f"# SNAP neural network {stem}. Units metal: energies in eV, distances in Å. Atom types: {types}.",
        "# To run from another folder:  lmp -var potential_folder FOLDER ...",
        "variable potential_folder index .",
        *FORM_COMMENTS,
        f"variable potential_plugin getenv {PLUGIN_LOADED}",
        'if "x${potential_plugin} == x1" then "variable potential_model index mliappy"',
        f"variable potential_model index {files.form}",
        *commands,
    ]
    return "\n".join(lines) + "\n"


def deck_text(files: LammpsFiles, structure: Configuration) -> str:
    """Molecular dynamics at constant energy with the potential."""
    cell = to_lammps(structure)
    lines = [
        f"# Molecular dynamics with {files.mod.name}. Units metal: Å, ps, eV, K, bar.",
        f"# lmp -in {Path(files.deck or '').name}      or      mpirun -np 2 lmp -in {Path(files.deck or '').name}",
        "# Without the plugin memory grows with the square of the atoms on a rank: about 3 GB for 5000.",
        "variable potential_folder index .",
        "variable temperature index 300",
        "variable steps index 1000",
        "",
        "units metal",
        f"atom_style {files.atom_style}",
        f"boundary {cell.boundary}",
        f"read_data ${{potential_folder}}/{Path(files.data or '').name}",
        f"replicate {' '.join(map(str, _repeats(cell)))}",
        f"include ${{potential_folder}}/{files.mod.name}",
        "",
        "velocity all create ${temperature} 4928459 mom yes rot no dist gaussian",
        "timestep 0.0005",
        "fix integrate all nve",
        "thermo_style custom step temp pe ke etotal econserve press",
        "thermo 100",
        "run ${steps}",
    ]
    return "\n".join(lines) + "\n"


def data_text(configuration: Configuration, elements: Sequence[str], atom_style: str) -> str:
    """A file for ``read_data``: box, masses and atoms, atom i of the configuration having id i + 1."""
    cell = to_lammps(configuration)
    lines = [f"# {configuration.id}; units metal (Å, g/mol)", ""]
    lines += [f"{len(configuration)} atoms", f"{len(elements)} atom types", ""]
    lines += [f"{lo:.17g} {hi:.17g} {x}lo {x}hi" for x, lo, hi in zip("xyz", cell.lo, cell.hi, strict=True)]
    if cell.triclinic:
        lines.append(f"{cell.xy:.17g} {cell.xz:.17g} {cell.yz:.17g} xy xz yz")
    lines += ["", "Masses", ""]
    masses = [atomic_masses[atomic_numbers[element]] for element in elements]
    lines += [f"{n} {mass:.8g}  # {el}" for n, (mass, el) in enumerate(zip(masses, elements, strict=True), start=1)]
    lines += ["", f"Atoms  # {atom_style}", ""]
    for number, symbol in enumerate(configuration.species):
        before, after = _atom_columns(configuration, cell, atom_style, number)
        columns = [*before, *cell.positions[number], *after]
        values = " ".join(f"{value:.17g}" for value in columns)
        lines.append(f"{number + 1} {elements.index(symbol) + 1} {values}")
    return "\n".join(lines) + "\n"


def starting_structure(configurations: Iterable[Configuration]) -> Configuration:
    """The one to begin molecular dynamics from: most elements, fully periodic, then of the least energy per atom."""

    def rank(configuration: Configuration) -> tuple[int, bool, float]:
        energy = np.inf if configuration.energy is None else configuration.energy / len(configuration)
        return -len(set(configuration.species)), not all(configuration.pbc), energy

    return min(configurations, key=rank)


def _atom_columns(
    configuration: Configuration, cell: LammpsCell, atom_style: str, number: int
) -> tuple[list[float], list[float]]:
    """What an atom style has before and after the coordinates, between the type and the end of the line."""
    if atom_style == "charge":
        return [0.0 if configuration.charges is None else float(configuration.charges[number])], []
    if atom_style == "spin":
        magnitude, *direction = [0.0, 0.0, 0.0, 1.0] if configuration.spins is None else configuration.spins[number]
        return [], [*(cell.rotation @ np.array(direction)), magnitude]
    return [], []


def _repeats(cell: LammpsCell) -> tuple[int, int, int]:
    """How often to repeat a cell along periodic directions for about ``LEAST_ATOMS`` atoms in a box near a cube."""
    lengths = cell.hi - cell.lo
    periodic = [letter == "p" for letter in cell.boundary.split()]
    side = (LEAST_ATOMS / len(cell.positions) * float(np.prod(lengths))) ** (1 / 3)
    first, second, third = (ceil(side / length) if p else 1 for length, p in zip(lengths, periodic, strict=True))
    return first, second, third


def _copied(files: Iterable[Path], folder: Path) -> dict[Path, Path]:
    """Copies of files in ``folder``, under names without blanks."""
    copies = {path: folder / path.name.replace(" ", "_") for path in files}
    for path, target in copies.items():
        if not (target.exists() and target.samefile(path)):
            shutil.copyfile(path, target)
    return copies


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)
