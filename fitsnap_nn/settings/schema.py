"""Every section and key of an input file: type, default, meaning. The documentation, the input
templates and the checks are all made from this page.

The sections and keys that FitSNAP has keep their names and meaning. A field's annotation is the
type of the value; ``option`` carries the rest.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from fitsnap_nn.settings.architectures import architectures
from fitsnap_nn.settings.options import option

LARGEST_SEED = 2**32 - 1
LINEAR = "only linear solvers use it"
VASP = "VASP files are read through ASE"


@dataclass(frozen=True)
class Bispectrum:
    """SNAP bispectrum components, the options of LAMMPS' ``compute snap``."""

    num_types: int = option(1, "number of elements", key="numTypes", minimum=1)
    type: tuple[str, ...] = option(("H",), "chemical symbols, in the order of LAMMPS' atom types")
    twojmax: tuple[int, ...] = option(
        (6,), "twice the largest angular momentum, one for all or one an element; the largest counts", minimum=0
    )
    rcutfac: float = option(4.67637, "cutoff factor: R_ij = rcutfac (radelem_i + radelem_j)", unit="Å", minimum=0)
    rfac0: float = option(0.99363, "fraction of the hypersphere's angle that r = R_ij maps to", minimum=0, maximum=1)
    rmin0: float = option(0.0, "distance that maps to the pole of the hypersphere", unit="Å")
    wj: tuple[float, ...] = option((1.0,), "weight of each element in the neighbour density")
    radelem: tuple[float, ...] = option((0.5,), "cutoff radius of each element, in units of rcutfac")
    bzeroflag: bool = option(False, "subtract the bispectrum of an isolated atom")
    quadraticflag: bool = option(False, "add all products of two components")
    chemflag: bool = option(False, "one neighbour density an element (EME-SNAP)")
    bnormflag: bool = option(False, "divide each component by 2j + 1")
    wselfallflag: bool = option(False, "add the self-contribution to the density of every element")
    switchflag: bool = option(True, "switch the density off smoothly at the cutoff")
    switchinnerflag: bool = option(False, "switch the density off at short distance too (sinner, dinner)")
    sinner: tuple[float, ...] = option((0.9,), "centre of the inner switching of each element", unit="Å")
    dinner: tuple[float, ...] = option((0.1,), "half-width of the inner switching of each element", unit="Å")
    bikflag: bool = option(True, "per-atom descriptors", no_effect="a network always needs per-atom descriptors")
    dgradflag: bool = option(True, "descriptor gradients", no_effect="gradients are computed when forces are fitted")


@dataclass(frozen=True)
class CalculatorSection:
    """What is computed, and which labels are fitted."""

    calculator: str = option(
        "LAMMPSSNAP",
        "what a model is given: SNAP descriptors, or a graph of neighbours",
        choices=("LAMMPSSNAP", "LAMMPSGRAPH"),
    )
    elements: tuple[str, ...] = option(
        (), "LAMMPSGRAPH: chemical symbols, in the order of LAMMPS' atom types; those of BISPECTRUM type when empty"
    )
    energy: bool = option(True, "fit energies")
    force: bool = option(True, "fit forces")
    stress: bool = option(True, "fit stresses, where a weight for them is not zero")
    per_atom_energy: bool = option(True, "energies an atom in the loss", no_effect="the loss is always per atom")
    nonlinear: bool = option(True, "a nonlinear model", no_effect="every model here is a network")
    per_atom_scalar: bool = option(False, "fit a scalar per atom", no_effect="energies, forces and stresses are fitted")


@dataclass(frozen=True)
class PytorchSection:
    """The network and how it is trained."""

    model: str = option("BPNN", "architecture", choices=("BPNN", *architectures()))
    layer_sizes: tuple[str, ...] = option(
        ("num_desc", "512", "512", "1"), "nodes of each layer; num_desc is the number of descriptors of an atom"
    )
    activation: str = option(
        "softplus",
        "activation of the hidden layers; softplus, silu and gelu need a LAMMPS with Python",
        choices=("softplus", "tanh", "sigmoid", "silu", "gelu", "relu", "linear"),
    )
    multi_element_option: int = option(
        1, "1: one network for all elements; 2: one for each; 3: one, with the element as input", minimum=1, maximum=3
    )
    standardize: bool = option(True, "shift and scale each descriptor of each element to mean 0 and deviation 1")
    composition_baseline: bool = option(True, "subtract an energy for each element before training")
    element_energies: tuple[str, ...] = option(
        ("least_squares",),
        "those energies: least_squares; isolated, from configurations of one atom without neighbours; "
        "or each as H -13.6 O -2043.9",
        unit="eV",
    )
    scale_targets: bool = option(True, "train on targets of unit scale")
    dtype_setting: int = option(1, "1: float32, 2: float64; sums of energies are float64 always", minimum=1, maximum=2)
    learning_rate: float = option(1e-2, "learning rate, after warm-up", minimum=0)
    num_epochs: int = option(10, "passes over the training set; 0 evaluates and exports the model as it is", minimum=0)
    batch_size: int = option(4, "configurations a step", minimum=1)
    batch_atom_bounds: tuple[int, ...] = option(
        (0, 0), "least and most atoms a step, instead of batch_size; 0 0: off", minimum=0
    )
    energy_weight: float | None = option(None, "weight of all energy errors, instead of the groups'", minimum=0)
    force_weight: float | None = option(None, "weight of all force errors, instead of the groups'", minimum=0)
    stress_weight: float | None = option(
        None, "weight of all stress errors (residuals in bar), instead of the groups'", minimum=0
    )
    training_fraction: float | None = option(
        None, "fraction of each group that is trained on, instead of the groups' sizes", minimum=0, maximum=1
    )
    optimizer: str = option("Adam", "optimiser", choices=("Adam", "AdamW"))
    weight_decay: float = option(0.0, "weight decay of the optimiser", minimum=0)
    scheduler: str = option("constant", "learning rate over the epochs", choices=("constant", "plateau", "cosine"))
    warmup_fraction: float = option(
        0.0, "fraction of all steps in which the learning rate rises from 0", minimum=0, maximum=1
    )
    plateau_factor: float = option(0.5, "plateau: factor on the learning rate", minimum=0, maximum=1)
    plateau_patience: int = option(10, "plateau: epochs without a better validation loss before it", minimum=0)
    min_learning_rate: float = option(0.0, "plateau and cosine: the least learning rate", minimum=0)
    gradient_clip: float = option(0.0, "largest norm of the gradient of a step; 0: no limit", minimum=0)
    ema_decay: float = option(
        0.0,
        "decay a step of the moving average of the weights that is validated and exported; 0: off",
        minimum=0,
        maximum=1,
    )
    early_stopping: int = option(0, "epochs without a better validation loss before the fit ends; 0: off", minimum=0)
    shuffle_flag: bool = option(True, "draw the order of the configurations anew each epoch")
    manual_seed_flag: bool = option(False, "start the random numbers of the training at `seed`")
    seed: int = option(0, "seed of weights and order when manual_seed_flag = 1", minimum=0, maximum=LARGEST_SEED)
    device: str = option("auto", "auto takes a GPU where there is one", choices=("auto", "cpu", "cuda"))
    save_state_output: str = option("FitTorchModel", "restart file, written every epoch")
    save_state_input: str = option(
        "", "restart file to start from: in the working folder, the output folder, or beside the input"
    )
    output_file: str = option("FitTorch_Pytorch.pt", "model file")
    num_elements: int = option(0, "number of elements", no_effect="as many as there are elements", minimum=0)
    save_freq: int = option(10, "epochs between restart files", no_effect="the restart file is written every epoch")
    silence_ace_multi_warning: bool = option(False, "silence a warning", no_effect="only ACE descriptors have it")

    @property
    def given_energies(self) -> dict[str, float]:
        """Energies of elements that ``element_energies`` lists, eV; empty where it names a way to find them.

        Raises:
            ValueError: it is no list of elements and finite numbers.
        """
        words = self.element_energies
        if words in (("least_squares",), ("isolated",)):
            return {}
        given = {symbol: float(number) for symbol, number in zip(words[::2], words[1::2], strict=True)}
        if not all(map(math.isfinite, given.values())):
            raise ValueError("an energy is not finite")
        return given

    @property
    def precision(self) -> str:
        """Name of the type that ``dtype_setting`` stands for, to torch and to numpy."""
        return "float32" if self.dtype_setting == 1 else "float64"


@dataclass(frozen=True)
class Solver:
    """FitSNAP's choice of solver; a network is ``PYTORCH``."""

    solver: str = option("PYTORCH", "solver", choices=("PYTORCH",))
    compute_testerrs: bool = option(False, "errors of the testing set", no_effect="they are always computed")
    detailed_errors: bool = option(False, "errors by group", no_effect="they are always computed")
    normalweight: float = option(-12.0, "weight of the normal equations", no_effect=LINEAR)
    normratio: float = option(0.5, "ratio of the normal equations", no_effect=LINEAR)
    nsam: int = option(0, "posterior samples", no_effect=LINEAR)
    cov_nugget: float = option(0.0, "nugget of the covariance", no_effect=LINEAR)
    mcmc_num: int = option(1000, "Monte Carlo steps", no_effect=LINEAR)
    mcmc_gamma: float = option(0.01, "Monte Carlo step width", no_effect=LINEAR)
    mcmc_sigma: float = option(0.1, "Monte Carlo noise", no_effect=LINEAR)
    merr_mult: int = option(0, "model error factor", no_effect=LINEAR)
    merr_method: str = option("iid", "model error method", no_effect=LINEAR)
    merr_cfs: str = option("all", "model error coefficients", no_effect=LINEAR)


@dataclass(frozen=True)
class Scraper:
    """How the data files are read."""

    scraper: str = option("JSON", "format of the data", choices=("JSON", "XYZ", "VASP", "ASE"))
    property_array: str = option(
        "", "units of the labels instead of the files' own, as in Stress: pressure kB metal; Energy: energy eV metal"
    )
    save_group_scrape: str = option("", "index of frames to write", no_effect="the split is stored in the restart file")
    read_group_scrape: str = option("", "index of frames to read", no_effect="the split is stored in the restart file")


@dataclass(frozen=True)
class PathSection:
    """Where the data are; relative to the folder of the input file."""

    data_path: str = option("JSON", "folder with one folder, or file, for each group", key="dataPath")
    group_file: str = option("", "table of groups instead of rows in GROUPS", key="groupFile")


@dataclass(frozen=True)
class Outfile:
    """Names of the files that a fit writes."""

    folder: str = option("", "folder for all of them, relative to the working folder; <input>_fit when empty")
    metrics: str = option("fitsnap_metrics", "table of errors by group")
    potential: str = option("fitsnap_potential", "stem of the LAMMPS files")
    output_style: str = option("SNAP", "style of the LAMMPS files", no_effect="the model decides")
    detailed_errors: bool = option(False, "errors by group", no_effect="they are always computed")
    metrics_style: str = option("MD", "style of the table", choices=("MD", "CSV", "SSV", "JSON", "DF"))


@dataclass(frozen=True)
class Reference:
    """A LAMMPS pair style that is subtracted from the labels and added again in MD."""

    units: str = option("metal", "LAMMPS units", choices=("metal",))
    atom_style: str = option("atomic", "LAMMPS atom style", choices=("atomic", "charge", "spin"))
    pair_style: str = option("zero 10.0", "pair style with its arguments, case kept")
    pair_coeff: tuple[str, ...] = option((), "arguments of pair_coeff, one key pair_coeff<N> a line", key="pair_coeff*")


@dataclass(frozen=True)
class GroupRow:
    """One row of the group table: a name, perhaps with wildcards, and the columns by name.

    A float size is a fraction (1.0 is all), an int size a count. ``None`` where the table has no such column:
    ``PYTORCH training_fraction`` replaces the sizes, or, for ``testing_size``, all that is not trained on is
    held out (the column ``size``). ``where`` is file:line.
    """

    name: str
    training_size: float | int | None
    testing_size: float | int | None
    eweight: float
    fweight: float
    vweight: float
    where: str


@dataclass(frozen=True)
class Groups:
    """Which data are fitted, with which sizes and weights."""

    group_sections: tuple[str, ...] = option(
        ("name", "size", "eweight", "fweight", "vweight"), "the columns of the rows below"
    )
    group_types: tuple[str, ...] = option(
        ("str", "float", "float", "float", "float"), "their types: str, float, int or bool; float when not given"
    )
    smartweights: bool = option(False, "divide weights by the number of configurations, fweight by 3N, vweight by 6")
    random_sampling: bool = option(False, "shuffle each group before it is split")
    random_seed: int = option(0, "seed of the shuffle; 0 draws one, which is printed", minimum=0, maximum=LARGEST_SEED)
    vasp_use_toten: bool = option(False, "which energy is read", key="vasp_use_TOTEN", no_effect=VASP)
    vasp_json_pathname: str = option("vJSON", "folder of converted files", no_effect=VASP)
    vasp_ignore_incomplete: bool = option(True, "skip what is incomplete", no_effect=VASP)
    vasp_ignore_jsons: bool = option(False, "convert anew", no_effect=VASP)
    vasp_unconverged_label: str = option("UNCONVERGED", "name of what is skipped", no_effect=VASP)
    boltz: float = option(0.0, "Boltzmann weights", key="BOLTZ", no_effect="weights are those of the group table")
    rows: tuple[GroupRow, ...] = ()


@dataclass(frozen=True)
class Extras:
    """Further files."""

    dump_peratom: bool = option(False, "write peratom.dat: forces of every atom, truth and prediction")
    dump_perconfig: bool = option(False, "write perconfig.dat: energies of every configuration")
    dump_configs: bool = option(False, "a pickle of all configurations", no_effect="nothing unsafe to load is written")
    only_test: bool = option(False, "only compute errors", no_effect="use the `test` command")
    dump_descriptors: bool = option(False, "descriptors as .npy", no_effect=LINEAR)
    dump_truth: bool = option(False, "targets as .npy", no_effect=LINEAR)
    dump_weights: bool = option(False, "weights as .npy", no_effect=LINEAR)
    dump_dataframe: bool = option(False, "data frame", no_effect=LINEAR)
    apply_transpose: bool = option(False, "normal equations", no_effect=LINEAR)
    multinode_testing: bool = option(False, "a test of FitSNAP", no_effect=LINEAR)


@dataclass(frozen=True)
class Memory:
    """Where descriptors are kept."""

    override: bool = option(False, "go on when memory is short", no_effect="descriptors are memory-mapped from disk")
    memory: str = option("RAM", "kind of memory", no_effect="descriptors are memory-mapped from disk")
    cache: str = option("", "folder of the descriptor cache; <output folder>/cache when empty")


@dataclass(frozen=True)
class Settings:
    """A checked input file. ``folder`` is where relative data paths start; ``notices`` are things to tell the user.

    ``text`` is the input file, with what the command line set.
    """

    bispectrum: Bispectrum = Bispectrum()
    calculator: CalculatorSection = CalculatorSection()
    eshift: dict[str, float] = field(default_factory=dict)
    pytorch: PytorchSection = PytorchSection()
    architectures: Mapping[str, Any] = field(
        default_factory=lambda: {name: section() for name, section in architectures().items()}
    )
    solver: Solver = Solver()
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

    @property
    def architecture(self) -> Any:
        """The section of the model, with its hyperparameters; BPNN has none."""
        return self.architectures[self.pytorch.model]

    def section(self, name: str) -> Any:
        """A section by its name in an input file."""
        return self.architectures[name] if name in self.architectures else getattr(self, name.lower())

    @property
    def data_path(self) -> str:
        """``PATH dataPath``, as seen from the working folder."""
        return os.path.normpath(os.path.join(self.folder, self.path.data_path))

    @property
    def output_folder(self) -> str:
        """Folder of everything the fit writes: ``OUTFILE folder``, else <name of the input>_fit."""
        return self.outfile.folder or f"{PurePath(self.source).stem or 'fitsnap'}_fit"

    @property
    def elements_key(self) -> tuple[str, str]:
        """Section and key that give the elements."""
        of_graph = self.calculator.calculator == "LAMMPSGRAPH" and self.calculator.elements
        return ("CALCULATOR", "elements") if of_graph else ("BISPECTRUM", "type")

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols in the order of LAMMPS' atom types."""
        section, key = self.elements_key
        elements: tuple[str, ...] = getattr(self.section(section), key)
        return elements
