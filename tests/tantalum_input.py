"""FitSNAP's input for its tantalum data with PYTORCH: keys and values as its users write them, slips of theirs too."""

from __future__ import annotations

import os
from collections.abc import Iterable

DESCRIPTORS = """\
[BISPECTRUM]
numTypes = 1
twojmax = 6
rcutfac = 4.67637
rfac0 = 0.99363
rmin0 = 0.0
wj = 1.0
radelem = 0.5
type = Ta
"""
TEMPLATE = (
    DESCRIPTORS
    + """\
wselfallflag = 0
chemflag = 0
bzeroflag = 1
quadraticflag = 0
bikflag = True
dgradflag = 1
[CALCULATOR]
calculator = LAMMPSSNAP
energy = 1
per_atom_energy = 1
force = 1
stress = 0
nonlinear = 1
[ESHIFT]
Ta = 0.0
[PYTORCH]
layer_sizes = num_desc 64 64 1
learning_rate = 5e-5 \n\
num_epochs = {epochs}
batch_size = 4 # of 363
save_state_output = Ta_Pytorch.pt
energy_weight = 1e-2
force_weight = 1.0
#training_fraction = 0.7
[SOLVER]
solver = PYTORCH
compute_testerrs = 1
detailed_errors = 1
[SCRAPER]
scraper = JSON
[PATH]
dataPath = {data}
[OUTFILE]
metrics = Ta_metrics.md
potential = Ta_pot
[REFERENCE]
units = metal
atom_style = atomic
pair_style = hybrid/overlay zero 10.0 zbl 4.0 4.8
pair_coeff1 = * * zero
pair_coeff2 = * * zbl 73 73
[GROUPS]
# name size eweight fweight vweight
group_sections = name training_size testing_size eweight fweight vweight
group_types = str float float float float float
smartweights = 0
random_sampling = 1
{groups}
[EXTRAS]
dump_peratom = 1   # errors of every atom
dump_perconfig = 1
dump_configs = 1
[MEMORY]
override = 0
"""
)
WEIGHTS = {
    "Displaced_A15": "100 1 1.00E-08",
    "Displaced_BCC": "100 1 1.00E-08",
    "Displaced_FCC": "100 1 1.00E-08",
    "Elastic_BCC": "1.00E-08 1.00E-08 0.0001",
    "Elastic_FCC": "1.00E-09        1.00E-09        1.00E-09",
    "GSF_110": "100 1 1.00E-08",
    "GSF_112": "100 1 1.00E-08",
    "Liquid": "4.67E+02        1               1.00E-08",
    "Surface": "100 1 1.00E-08",
    "Volume_A15": "1.00E+00 1.00E-09 1.00E-09",
    "Volume_BCC": "1.00E+00 1.00E-09 1.00E-09",
    "Volume_FCC": "1.00E+00 1.00E-09 1.00E-09",
}


# The same for FitSNAP's pair network: its section of descriptors, and the names of calculator and solver.
PAIR_NETWORK = """\
[CUSTOM]
numAtoms = 1
numTypes = 1
type = Ta
num_radial = 8 # number of radial descriptors
num_3body = 23
cutoff = 5.0 # that of pair zero
"""


def pair_network_input(data: str | os.PathLike[str], epochs: int) -> str:
    """The text of the input for the pair network; arguments as in `tantalum_input`."""
    text = tantalum_input(data, epochs)
    replaced = {
        text[: text.index("[CALCULATOR]")]: PAIR_NETWORK,
        "LAMMPSSNAP": "LAMMPSCUSTOM ",
        "[PYTORCH]": "[NETWORK]",
        "solver = PYTORCH": "solver = NETWORK ",
        "64 64 1": "32 32 1 ",
        "5e-5": "5e-4",
        "hybrid/overlay zero 10.0 zbl 4.0 4.8": "zero 5.0 full ",
        "pair_coeff1 = * * zero\npair_coeff2 = * * zbl 73 73": "pair_coeff = * * ",
        "random_sampling = 1": "random_sampling = 0",
    }
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return text


# The same for ACE descriptors, those of FitSNAP's example Ta_PACE_PyTorch_NN.
ACE = """\
[ACE]
numTypes = 1
ranks = 1 2 3 4 5 6
lmax =  1 2 2 2 1 1
nmax = 22 2 2 2 1 1
nmaxbase = 22
rcutfac = 4.604694451
lambda = 3.059235105
type = Ta
lmin = 1 1 1 1 1 1
bzeroflag = 0
bikflag = 1
dgradflag = 1
b_basis = minsub
"""


def ace_input(data: str | os.PathLike[str], epochs: int) -> str:
    """The text of the input for a network on ACE descriptors; arguments as in `tantalum_input`."""
    text = tantalum_input(data, epochs).replace("LAMMPSSNAP", "LAMMPSPACE")
    return text.replace(text[: text.index("[CALCULATOR]")], ACE)


def tantalum_input(data: str | os.PathLike[str], epochs: int, groups: Iterable[str] = WEIGHTS, more: str = "") -> str:
    """The text of the input.

    Args:
        data: the folder of the groups.
        groups: those that are fitted.
        more: a further line in ``[GROUPS]``.
    """
    rows = [more, *(f"{name} =  0.7    0.3       {WEIGHTS[name]}" for name in groups)]
    return TEMPLATE.format(data=os.fspath(data), epochs=epochs, groups="\n".join(rows))
