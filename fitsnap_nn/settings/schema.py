"""Sections and keys of an input file with type, default and description.

Checks, docs/input.md and the input templates are generated from these dataclasses. Sections and keys of FitSNAP keep
their names and meaning. The annotation of a field is the type of its value; ``option`` declares the rest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from fitsnap_nn.settings.ace import Ace
from fitsnap_nn.settings.architectures import BUILT_IN, Architecture, architecture_names, load_architecture
from fitsnap_nn.settings.linear import ALWAYS, Ard, Lasso, Ridge, Solver
from fitsnap_nn.settings.losses import LossChoice, choose_losses
from fitsnap_nn.settings.options import LARGEST_SEED, option
from fitsnap_nn.settings.rows import GroupRow as GroupRow
from fitsnap_nn.settings.rows import PropertyRow as PropertyRow
from fitsnap_nn.settings.training import PytorchSection as PytorchSection

VASP = "VASP files are read without conversion"
VASP_FILES = "a vasprun.xml is read instead of the OUTCAR of the same run"
MAPPED = "descriptors are memory-mapped from disk"


@dataclass(frozen=True)
class Bispectrum:
    """SNAP bispectrum components; the options are those of LAMMPS' ``compute snap``."""

    num_types: int = option(1, "number of elements", key="numTypes", minimum=1)
    type: tuple[str, ...] = option(("H",), "chemical symbols in the order of the LAMMPS atom types")
    twojmax: tuple[int, ...] = option(
        (6,),
        "2 j_max: band limit of the bispectrum components, one value or one per element; the maximum is used",
        minimum=0,
        maximum=50,
        limit_reason="The factorials in the Clebsch-Gordan coefficients lose precision for larger values and overflow "
        "double precision at 80; fits rarely need more than 10.",
    )
    rcutfac: float = option(4.67637, "cutoff factor: R_ij = rcutfac (radelem_i + radelem_j)", unit="Å", minimum=0)
    rfac0: float = option(0.99363, "fraction of π that the polar angle θ0 reaches at the cutoff", minimum=0, maximum=1)
    rmin0: float = option(0.0, "distance that maps to θ0 = 0", unit="Å")
    wj: tuple[float, ...] = option((1.0,), "weight of each element in the neighbour density; give each its own")
    radelem: tuple[float, ...] = option((0.5,), "cutoff radius of each element in units of rcutfac")
    bzeroflag: bool = option(False, "subtract the bispectrum components of an isolated atom")
    quadraticflag: bool = option(False, "add all products of two components")
    chemflag: bool = option(False, "one neighbour density per element (EME-SNAP)")
    bnormflag: bool = option(False, "divide each component by 2j + 1")
    wselfallflag: bool = option(False, "add the self-contribution to the density of every element")
    switchflag: bool = option(True, "switch the density smoothly to 0 at the cutoff")
    switchinnerflag: bool = option(False, "switch the density off at short distances too (sinner, dinner)")
    sinner: tuple[float, ...] = option((0.9,), "centre of the inner switching region of each element", unit="Å")
    dinner: tuple[float, ...] = option((0.1,), "half-width of the inner switching region of each element", unit="Å")
    bikflag: bool = option(True, "per-atom descriptors", no_effect="descriptors are always computed per atom")
    dgradflag: bool = option(
        True, "descriptor gradients", no_effect="gradients are computed whenever forces are fitted"
    )


@dataclass(frozen=True)
class CalculatorSection:
    """Input of the model, and the labels to fit."""

    calculator: str = option(
        "LAMMPSSNAP",
        "input of the model: SNAP descriptors, ACE descriptors or neighbour graphs",
        choices=("LAMMPSSNAP", "LAMMPSPACE", "LAMMPSGRAPH"),
    )
    elements: tuple[str, ...] = option(
        (), "LAMMPSGRAPH: chemical symbols in the order of the LAMMPS atom types; [BISPECTRUM] type when empty"
    )
    energy: bool = option(True, "fit energies")
    force: bool = option(True, "fit forces")
    stress: bool = option(True, "fit stresses where their weight is not 0")
    per_atom_energy: bool = option(True, "energies per atom in the loss", no_effect="the loss always uses eV/atom")
    nonlinear: bool = option(True, "a nonlinear model", no_effect="it follows from [SOLVER] solver")
    per_atom_scalar: bool = option(
        False, "fit a scalar per atom", no_effect="per-atom scalars are declared in section TARGETS"
    )

    @property
    def fits_energy(self) -> bool:
        """Whether the energy, or a derivative of it, is fitted to anything."""
        return self.energy or self.force or self.stress


@dataclass(frozen=True)
class Scraper:
    """Format of the data files."""

    scraper: str = option("JSON", "data format", choices=("JSON", "XYZ", "VASP", "ASE"))
    property_array: str = option(
        "",
        "units of the labels, instead of those of the file, such as Stress: pressure kB metal; "
        "Energy: energy eV metal. The sign of the stress stays that of the format (JSON: pressure; XYZ: tension)",
    )
    energy_key: str = option("", "name of the energy in the files; empty: the names in docs/data.md")
    forces_key: str = option("", "name of the forces in the files; empty: the names in docs/data.md")
    stress_key: str = option("", "name of the stress in the files; empty: the names in docs/data.md")
    virial_key: str = option("", "name of the virial (minus volume times stress) in the files, XYZ and ASE")
    stress_sign: str = option(
        "format",
        "sign of stresses in the files: positive in tension (ASE), or that of a pressure (LAMMPS, VASP); "
        "format: JSON pressure, XYZ tension",
        choices=("format", "tension", "pressure"),
    )
    stress_order: tuple[str, ...] = option(
        (), "order of stresses with six components in the files, for example xx yy zz xy yz zx (VASP)"
    )
    weight_key: str = option("", "name of the weight of a frame, by which all its weights are multiplied")
    energy_weight_key: str = option("", "name of the weight of the energy of a frame")
    forces_weight_key: str = option("", "name of the weight of the forces of a frame; one number per frame")
    stress_weight_key: str = option("", "name of the weight of the stress of a frame")
    save_group_scrape: str = option("", "index of frames to write", no_effect="the split is stored in the restart file")
    read_group_scrape: str = option("", "index of frames to read", no_effect="the split is stored in the restart file")


@dataclass(frozen=True)
class PathSection:
    """Location of the data, relative to the folder of the input file."""

    data_path: str = option("JSON", "folder with one subfolder or file per group", key="dataPath")
    group_file: str = option("", "file with the group table, instead of rows in GROUPS", key="groupFile")


@dataclass(frozen=True)
class Outfile:
    """Names of the output files."""

    folder: str = option("", "output folder, relative to the working folder; <input>_fit when empty")
    metrics: str = option("fitsnap_metrics", "table of errors by group")
    potential: str = option("fitsnap_potential", "prefix of the LAMMPS files")
    output_style: str = option("SNAP", "style of the LAMMPS files", no_effect="it follows from the model")
    tensorboard: bool = option(False, "write event files for TensorBoard to the subfolder tensorboard")
    detailed_errors: bool = option(False, "errors by group", no_effect=ALWAYS)
    metrics_style: str = option("MD", "format of the table", choices=("MD", "CSV", "SSV", "JSON", "DF"))
    report: bool = option(True, "write report.html, the whole fit on one page")


@dataclass(frozen=True)
class Reference:
    """LAMMPS pair style that is subtracted from the labels and added back in MD."""

    units: str = option("metal", "LAMMPS units", choices=("metal",))
    atom_style: str = option("atomic", "LAMMPS atom style", choices=("atomic", "charge", "spin"))
    pair_style: str = option("zero 10.0", "pair style and its arguments, case-sensitive")
    pair_coeff: tuple[str, ...] = option((), "arguments of one pair_coeff command per key", key="pair_coeff*")


@dataclass(frozen=True)
class Groups:
    """Groups of configurations with their sizes and weights."""

    group_sections: tuple[str, ...] = option(
        ("name", "size", "eweight", "fweight", "vweight"), "columns of the rows below"
    )
    group_types: tuple[str, ...] = option(
        ("str", "float", "float", "float", "float"), "types of the columns: str, float, int or bool (default float)"
    )
    smartweights: bool = option(
        False, "divide all weights by the number of configurations, fweight also by 3N, vweight also by 6"
    )
    random_sampling: bool = option(False, "shuffle each group before it is split")
    random_seed: int = option(
        0, "seed of the shuffle; 0: a random seed, which is printed", minimum=0, maximum=LARGEST_SEED
    )
    sampling_block: int = option(
        1,
        "number of consecutive configurations that the shuffle keeps together, so that MD frames next to each other "
        "are in one set; fewer in groups where a set would have fewer than three such blocks",
        minimum=1,
    )
    vasp_free_energy: bool = option(
        True,
        "1: VASP energies are free energies (TOTEN), consistent with the forces; 0: energies without entropy",
        key="vasp_use_TOTEN",
    )
    vasp_keep_unconverged: str = option(
        "",
        "keep ionic steps of VASP whose electronic loop did not converge, and append this text to their ids ('' = "
        "append nothing); without a value such steps are left out",
        key="vasp_unconverged_label",
    )
    vasp_ignore_incomplete: bool = option(
        True, "use the finished ionic steps of VASP runs that were cut short; 0: such runs are an error"
    )
    vasp_json_pathname: str = option("vJSON", "folder of converted files", no_effect=VASP)
    vasp_ignore_jsons: bool = option(False, "convert again", no_effect=VASP)
    vasp_xml_only: bool = option(False, "read vasprun.xml only", no_effect=VASP_FILES)
    vasp_outcar_only: bool = option(False, "read OUTCAR only", no_effect=VASP_FILES)
    boltz: float = option(0.0, "Boltzmann weights", key="BOLTZ", no_effect="weights are those of the group table")
    rows: tuple[GroupRow, ...] = ()


@dataclass(frozen=True)
class Extras:
    """Additional output files and checks."""

    dump_peratom: bool = option(False, "write peratom.dat: labelled and predicted forces of every atom")
    dump_perconfig: bool = option(False, "write perconfig.dat: labelled and predicted energy of every configuration")
    uncertainty: str = option(
        "auto",
        "uncertainty of predictions, calibrated on the validation set and exported: last_layer (of every network), "
        "committee (spread of its members); auto: committee if there is one, otherwise none",
        choices=("auto", "none", "last_layer", "committee"),
    )
    on_uncertainty: str = option(
        "warn",
        "what the exported example of MD does when an atom is more uncertain than any of the validation set: warn; "
        "dump: also write the frame; stop: also end the run",
        choices=("warn", "dump", "stop"),
    )
    md_checks: bool = option(
        False,
        "after the fit, check in LAMMPS that the potential is suitable for molecular dynamics, and write "
        "md_checks.json; at most about 3 minutes, see docs/md_checks.md",
    )
    dump_configs: bool = option(False, "pickle of all configurations", no_effect="pickles are unsafe to load")
    only_test: bool = option(False, "evaluate only", no_effect="use the command `test`")
    dump_descriptors: bool = option(
        False, "linear solvers: write Descriptors.npy, the matrix of the system, without weights"
    )
    dump_truth: bool = option(False, "linear solvers: write Truth-Ref.npy, its right-hand side")
    dump_weights: bool = option(False, "linear solvers: write Weights.npy, the weight of each row")
    dump_dataframe: bool = option(
        False,
        "linear solvers: write FitSNAP.csv: group, configuration, set, kind, atom, label, prediction and weight of "
        "each row of the system",
    )
    apply_transpose: bool = option(
        False, "normal equations", no_effect="the system is reduced by orthogonal transformations"
    )
    multinode_testing: bool = option(False, "self-test of FitSNAP", no_effect="fits run on several machines anyway")


@dataclass(frozen=True)
class Memory:
    """Storage of descriptors and neighbour lists."""

    override: bool = option(False, "continue when memory is short", no_effect=MAPPED)
    memory: str = option("RAM", "type of memory", no_effect=MAPPED)
    cache: str = option("", "folder of the cache; <output folder>/cache when empty")


@dataclass(frozen=True)
class Settings:
    """Checked settings of an input file.

    Attributes:
        eshift: energy added to the label for each atom of an element, eV.
        targets: user-defined properties of the section TARGETS.
        architectures: sections of the architectures by name; those of other packages only if the input uses them.
        source: path of the input file.
        folder: folder that relative data paths refer to.
        text: text of the input file, command-line overrides included.
        notices: messages for the user.
    """

    bispectrum: Bispectrum = Bispectrum()
    ace: Ace = field(default_factory=Ace)
    calculator: CalculatorSection = CalculatorSection()
    eshift: dict[str, float] = field(default_factory=dict)
    targets: tuple[PropertyRow, ...] = ()
    pytorch: PytorchSection = field(default_factory=PytorchSection)
    architectures: Mapping[str, Architecture] = field(
        default_factory=lambda: {name: section() for name, section in BUILT_IN.items()}
    )
    solver: Solver = field(default_factory=Solver)
    ridge: Ridge = field(default_factory=Ridge)
    ard: Ard = field(default_factory=Ard)
    lasso: Lasso = field(default_factory=Lasso)
    scraper: Scraper = Scraper()
    path: PathSection = PathSection()
    outfile: Outfile = Outfile()
    reference: Reference = Reference()
    groups: Groups = Groups()
    extras: Extras = Extras()
    memory: Memory = Memory()
    source: str = ""
    folder: str = "."
    text: str = ""
    notices: tuple[str, ...] = ()

    def __repr__(self) -> str:
        model = self.solver.solver if self.solver.is_linear else self.pytorch.model
        data = f"{' '.join(self.elements)}, {len(self.groups.rows)} rows of groups"
        return f"Settings({self.source!r}, {model}, {data}, output folder {self.output_folder!r})"

    @property
    def architecture(self) -> Architecture:
        """Section of the chosen model; an empty one for BPNN, which has none."""
        return self.architectures.get(self.pytorch.model, Architecture())

    def section(self, name: str) -> Any:
        """Return a section by its name in an input file; defaults for a section of another package that is absent.

        Raises:
            ArchitectureError: the section is absent and its package cannot be imported.
        """
        if name in self.architectures:
            return self.architectures[name]
        if name in architecture_names():
            return load_architecture(name)()
        return getattr(self, name.lower())

    @property
    def losses(self) -> dict[str, LossChoice]:
        """Loss of every property: energy, forces, stress and those of the section TARGETS.

        The delta of a user-defined property is in the unit of its labels.
        """
        chosen = self.pytorch.losses
        common = choose_losses(self.pytorch.loss, ())["energy"].kind if len(self.pytorch.loss) == 1 else "mse"
        for row in self.targets:
            shared = chosen.get(row.name, LossChoice(common, 1.0))
            delta = shared.delta if row.delta is None else row.delta
            chosen[row.name] = LossChoice(row.loss or shared.kind, delta)
        return chosen

    @property
    def uncertainty(self) -> str:
        """Method of uncertainties: ``last_layer``, ``committee`` or ``none``."""
        if self.extras.uncertainty != "auto":
            return "none" if self.solver.is_linear else self.extras.uncertainty
        return "committee" if self.pytorch.committee > 1 and not self.solver.is_linear else "none"

    @property
    def data_path(self) -> str:
        """Path of the data relative to the working folder."""
        return os.path.normpath(os.path.join(self.folder, self.path.data_path))

    @property
    def initial_file(self) -> str:
        """File whose weights the fit starts from, relative to the working folder; empty without one."""
        name = self.pytorch.start_from
        return os.path.normpath(os.path.join(self.folder, name)) if name else self.pytorch.save_state_input

    @property
    def starts_from_least_squares(self) -> bool:
        """Whether the last layers of the initial model are fitted by linear least squares."""
        training = self.pytorch
        return training.initial == "least_squares" and training.model == "BPNN" and not self.initial_file

    @property
    def output_folder(self) -> str:
        """Folder of all output files: ``[OUTFILE] folder``, or <name of the input>_fit."""
        return self.outfile.folder or f"{PurePath(self.source).stem or 'fitsnap'}_fit"

    @property
    def cutoff(self) -> float:
        """Largest neighbour distance of the model, Å; 0 if the section of an architecture does not name it."""
        if self.pytorch.model == "BPNN":
            if self.calculator.calculator == "LAMMPSPACE":
                return self.ace.cutoff
            return 2.0 * self.bispectrum.rcutfac * max(self.bispectrum.radelem)
        return float(getattr(self.architecture, self.architecture.cutoff_key or "cutoff", 0.0))

    @property
    def elements_key(self) -> tuple[str, str]:
        """Section and key that list the elements."""
        if self.calculator.calculator == "LAMMPSPACE":
            return ("ACE", "type")
        of_graph = self.calculator.calculator == "LAMMPSGRAPH" and self.calculator.elements
        return ("CALCULATOR", "elements") if of_graph else ("BISPECTRUM", "type")

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the LAMMPS atom types."""
        section, key = self.elements_key
        elements: tuple[str, ...] = getattr(self.section(section), key)
        return elements
