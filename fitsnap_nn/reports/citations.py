"""Citations: the programs, models and methods that a fit has used, as BibTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from fitsnap_nn.settings.schema import Settings

CITATIONS_FILE = "CITE.bib"


class Citation(NamedTuple):
    """One entry.

    Attributes:
        use: what it was used for.
        kind: type of the BibTeX entry.
        fields: fields of the entry.
    """

    use: str
    kind: str
    fields: Mapping[str, str]

    @property
    def text(self) -> str:
        """The entry in words, without LaTeX."""
        one = {key: _plain(value) for key, value in self.fields.items()}
        authors = one["author"].split(" and ")
        names = ", ".join(_natural(name) for name in authors[:3]) + (" et al." if len(authors) > 3 else "")
        volume = " ".join(
            filter(None, [one.get("journal", one.get("booktitle", one.get("publisher", ""))), one.get("volume", "")])
        )
        place = ", ".join(filter(None, [volume, one.get("pages", "")]))
        eprint = f"arXiv:{one['eprint']}" if "eprint" in one else ""
        doi = f"doi:{one['doi']}" if "doi" in one else ""
        return ", ".join(filter(None, [names, one["title"], place, f"{one['year']}", doi or eprint]))


def _plain(value: str) -> str:
    for latex, letter in LETTERS.items():
        value = value.replace(latex, letter)
    return value.replace("{", "").replace("}", "").replace("--", "–")


def _natural(name: str) -> str:
    """Return ``Given Family`` of ``Family, Given``."""
    family, comma, given = name.partition(", ")
    return f"{given} {family}" if comma else name


LETTERS = MappingProxyType(
    {
        r"{\"o}": "ö",
        r"{\o}": "ø",
        r"{\'o}": "ó",
        r"{\'a}": "á",
        r"{\'A}": "Á",
        r"{\'e}": "é",
        r"{\`a}": "à",
        r"\&": "&",
    }
)


def _article(use: str, author: str, title: str, journal: str, volume: str, pages: str, year: int, doi: str) -> Citation:
    fields = {"author": author, "title": title, "journal": journal, "volume": volume, "pages": pages}
    return Citation(use, "article", {**fields, "year": str(year), "doi": doi})


def _paper(use: str, author: str, title: str, place: str, year: int, **more: str) -> Citation:
    where = {"booktitle": place} if place else {}
    kind = "inproceedings" if place else "misc"
    preprint = {"archiveprefix": "arXiv"} if "eprint" in more else {}
    return Citation(use, kind, {"author": author, "title": title, **where, "year": str(year), **preprint, **more})


NEURIPS = "Advances in Neural Information Processing Systems"
ENTRIES: Mapping[str, Citation] = MappingProxyType(
    {
        "LAMMPS": _article(
            "molecular dynamics, verification",
            "Thompson, Aidan P. and Aktulga, H. Metin and Berger, Richard and Bolintineanu, Dan S. and Brown, W. "
            "Michael and Crozier, Paul S. and {in 't Veld}, Pieter J. and Kohlmeyer, Axel and Moore, Stan G. and "
            "Nguyen, Trung Dac and Shan, Ray and Stevens, Mark J. and Tranchida, Julien and Trott, Christian and "
            "Plimpton, Steven J.",
            "{LAMMPS} -- a flexible simulation tool for particle-based materials modeling at the atomic, meso, and "
            "continuum scales",
            "Comput. Phys. Commun.", "271", "108171", 2022, "10.1016/j.cpc.2021.108171",
        ),
        "FitSNAP": _article(
            "format of input and data",
            "Rohskopf, A. and Sievers, C. and Lubbers, N. and Cusentino, M. A. and Goff, J. and Janssen, J. and "
            "McCarthy, M. and {Montes de Oca Zapiain}, D. and Nikolov, S. and Sargsyan, K. and Sema, D. and Sikorski, "
            "E. and Williams, L. and Thompson, A. P. and Wood, M. A.",
            "{FitSNAP}: Atomistic machine learning with {LAMMPS}",
            "J. Open Source Softw.", "8", "5118", 2023, "10.21105/joss.05118",
        ),
        "SNAP": _article(
            "descriptors: SNAP bispectrum components",
            "Thompson, A. P. and Swiler, L. P. and Trott, C. R. and Foiles, S. M. and Tucker, G. J.",
            "Spectral neighbor analysis method for automated generation of quantum-accurate interatomic potentials",
            "J. Comput. Phys.", "285", "316--330", 2015, "10.1016/j.jcp.2014.12.018",
        ),
        "qSNAP": _article(
            "quadraticflag: quadratic SNAP",
            "Wood, Mitchell A. and Thompson, Aidan P.",
            "Extending the accuracy of the {SNAP} interatomic potential form",
            "J. Chem. Phys.", "148", "241721", 2018, "10.1063/1.5017641",
        ),
        "EME-SNAP": _article(
            "chemflag: explicit multi-element SNAP",
            "Cusentino, M. A. and Wood, M. A. and Thompson, A. P.",
            "Explicit multielement extension of the spectral neighbor analysis potential for chemically complex "
            "systems",
            "J. Phys. Chem. A", "124", "5456--5464", 2020, "10.1021/acs.jpca.0c02450",
        ),
        "ACE": _article(
            "descriptors: atomic cluster expansion",
            "Drautz, Ralf",
            "Atomic cluster expansion for accurate and transferable interatomic potentials",
            "Phys. Rev. B", "99", "014104", 2019, "10.1103/PhysRevB.99.014104",
        ),
        "PACE": _article(
            "radial functions of ACE; compute pace of LAMMPS",
            r"Lysogorskiy, Yury and {van der Oord}, Cas and Bochkarev, Anton and Menon, Sarath and Rinaldi, Matteo and "
            r"Hammerschmidt, Thomas and Mrovec, Matous and Thompson, Aidan and Cs{\'a}nyi, G{\'a}bor and Ortner, "
            r"Christoph and Drautz, Ralf",
            "Performant implementation of the atomic cluster expansion ({PACE}) and application to copper and silicon",
            "npj Comput. Mater.", "7", "97", 2021, "10.1038/s41524-021-00559-9",
        ),
        "ACE_basis": _article(
            "coupling and independent functions of ACE, as in FitSNAP",
            "Goff, James M. and Sievers, Charles and Wood, Mitchell A. and Thompson, Aidan P.",
            "Permutation-adapted complete and independent basis for atomic cluster expansion descriptors",
            "J. Comput. Phys.", "510", "113073", 2024, "10.1016/j.jcp.2024.113073",
        ),
        "BPNN": _article(
            "atomic neural networks",
            r"Behler, J{\"o}rg and Parrinello, Michele",
            "Generalized neural-network representation of high-dimensional potential-energy surfaces",
            "Phys. Rev. Lett.", "98", "146401", 2007, "10.1103/PhysRevLett.98.146401",
        ),
        "smooth_overlap": _article(
            "descriptors: SOAP power spectrum",
            r"Bart{\'o}k, Albert P. and Kondor, Risi and Cs{\'a}nyi, G{\'a}bor",
            "On representing chemical environments",
            "Phys. Rev. B", "87", "184115", 2013, "10.1103/PhysRevB.87.184115",
        ),
        "smooth_basis": _article(
            "radial functions of SOAP",
            "Bigi, Filippo and Huguenin-Dumittan, Kevin K. and Ceriotti, Michele and Manolopoulos, David E.",
            "A smooth basis for atomistic machine learning",
            "J. Chem. Phys.", "157", "234101", 2022, "10.1063/5.0124363",
        ),
        "metatrain": _paper(
            "architecture as in metatrain; torch-spex",
            "Bigi, Filippo and Abbott, Joseph W. and Loche, Philip and Mazitov, Arslan and Tisi, Davide and Langer, "
            "Marcel F. and Goscinski, Alexander and Pegolo, Paolo and Chong, Sanggyu and Goswami, Rohit and Chorna, "
            "Sofiia and Kellner, Matthias and Ceriotti, Michele and Fraux, Guillaume",
            "Metatensor and metatomic: foundational libraries for interoperable atomistic machine learning",
            "", 2025, eprint="2508.15704",
        ),
        "sphericart": _article(
            "spherical harmonics",
            "Bigi, Filippo and Fraux, Guillaume and Browning, Nicholas J. and Ceriotti, Michele",
            "Fast evaluation of spherical harmonics with sphericart",
            "J. Chem. Phys.", "159", "064802", 2023, "10.1063/5.0156307",
        ),
        "PET": _paper(
            "architecture NANOPET, after the point edge transformer",
            "Pozdnyakov, Sergey N. and Ceriotti, Michele",
            "Smooth, exact rotational symmetrization for deep learning on point clouds",
            f"{NEURIPS} 36", 2023, eprint="2305.19302",
        ),
        "MACE": _paper(
            "architecture MACE",
            r"Batatia, Ilyes and Kov{\'a}cs, D{\'a}vid P{\'e}ter and Simm, Gregor N. C. and Ortner, Christoph and "
            r"Cs{\'a}nyi, G{\'a}bor",
            "{MACE}: higher order equivariant message passing neural networks for fast and accurate force fields",
            f"{NEURIPS} 35", 2022, eprint="2206.07697",
        ),
        "MACE_design": _article(
            "architecture MACE",
            r"Batatia, Ilyes and Batzner, Simon and Kov{\'a}cs, D{\'a}vid P{\'e}ter and Musaelian, Albert and Simm, "
            r"Gregor N. C. and Drautz, Ralf and Ortner, Christoph and Kozinsky, Boris and Cs{\'a}nyi, G{\'a}bor",
            "The design space of {E(3)}-equivariant atom-centred interatomic potentials",
            "Nat. Mach. Intell.", "7", "56--67", 2025, "10.1038/s42256-024-00956-x",
        ),
        "long_range": _article(
            "long_range: features from potentials of learned charges",
            "Huguenin-Dumittan, Kevin K. and Loche, Philip and Haoran, Ni and Ceriotti, Michele",
            "Physics-inspired equivariant descriptors of nonbonded interactions",
            "J. Phys. Chem. Lett.", "14", "9612--9618", 2023, "10.1021/acs.jpclett.3c02375",
        ),
        "torch-pme": _article(
            "use_ewald = 0: P3M",
            "Loche, Philip and Huguenin-Dumittan, Kevin K. and Honarmand, Melika and Xu, Qianjun and Rumiantsev, Egor "
            "and How, Wei Bin and Langer, Marcel F. and Ceriotti, Michele",
            "Fast and flexible long-range models for atomistic machine learning",
            "J. Chem. Phys.", "162", "142501", 2025, "10.1063/5.0251713",
        ),
        "ZBL": Citation(
            "reference potential: pair_style zbl",
            "book",
            {
                "author": "Ziegler, J. F. and Biersack, J. P. and Littmark, U.",
                "title": "The stopping and range of ions in matter",
                "publisher": "Pergamon",
                "address": "New York",
                "volume": "1",
                "year": "1985",
            },
        ),
        "PyTorch": _paper(
            "training",
            "Ansel, Jason and Yang, Edward and He, Horace and Gimelshein, Natalia and Jain, Animesh and others",
            "{PyTorch} 2: faster machine learning through dynamic {Python} bytecode transformation and graph "
            "compilation",
            "Proceedings of the 29th ACM International Conference on Architectural Support for Programming Languages "
            "and Operating Systems, Volume 2",
            2024, pages="929--947", doi="10.1145/3620665.3640366",
        ),
        "ASE": _article(
            "data files, chemical symbols",
            "Larsen, Ask Hjorth and Mortensen, Jens J{\\o}rgen and Blomqvist, Jakob and Castelli, Ivano E. and others",
            "The atomic simulation environment -- a {Python} library for working with atoms",
            "J. Phys.: Condens. Matter", "29", "273002", 2017, "10.1088/1361-648X/aa680e",
        ),
        "Adam": _paper(
            "optimizer = Adam", "Kingma, Diederik P. and Ba, Jimmy", "Adam: a method for stochastic optimization",
            "", 2014, eprint="1412.6980",
        ),
        "AdamW": _paper(
            "optimizer = AdamW", "Loshchilov, Ilya and Hutter, Frank", "Decoupled weight decay regularization",
            "", 2017, eprint="1711.05101",
        ),
        "SOAP": _paper(
            "optimizer = SOAP",
            "Vyas, Nikhil and Morwani, Depen and Zhao, Rosie and Kwun, Mujin and Shapira, Itai and Brandfonbrener, "
            "David and Janson, Lucas and Kakade, Sham",
            "{SOAP}: improving and stabilizing {Shampoo} using {Adam}", "", 2024, eprint="2409.11321",
        ),
        "ScheduleFree": _paper(
            "optimizer = ScheduleFree",
            "Defazio, Aaron and Yang, Xingyu Alice and Mehta, Harsh and Mishchenko, Konstantin and Khaled, Ahmed and "
            "Cutkosky, Ashok",
            "The road less scheduled", "", 2024, eprint="2405.15682",
        ),
        "Kalman": _article(
            "optimizer = LKF: Kalman filter",
            r"Singraber, Andreas and Morawietz, Tobias and Behler, J{\"o}rg and Dellago, Christoph",
            "Parallel multistream training of high-dimensional neural network potentials",
            "J. Chem. Theory Comput.", "15", "3075--3092", 2019, "10.1021/acs.jctc.8b01092",
        ),
        "LKF": _paper(
            "optimizer = LKF: layers of the filter",
            "Hu, Siyu and Zhang, Wentao and Sha, Qiuchen and Pan, Feng and Wang, Lin-Wang and Jia, Weile and Tan, "
            "Guangming and Zhao, Tong",
            "{RLEKF}: an optimizer for deep potential with ab initio accuracy",
            "Proceedings of the AAAI Conference on Artificial Intelligence 37", 2023,
            pages="7910--7918", doi="10.1609/aaai.v37i7.25957",
        ),
        "SWA": _paper(
            "mean of the weights of stage two",
            "Izmailov, Pavel and Podoprikhin, Dmitrii and Garipov, Timur and Vetrov, Dmitry and Wilson, Andrew Gordon",
            "Averaging weights leads to wider optima and better generalization", "", 2018, eprint="1803.05407",
        ),
        "scikit-learn": Citation(
            "linear solvers",
            "article",
            {
                "author": "Pedregosa, F. and Varoquaux, G. and Gramfort, A. and Michel, V. and Thirion, B. and others",
                "title": "Scikit-learn: machine learning in {Python}",
                "journal": "J. Mach. Learn. Res.",
                "volume": "12",
                "pages": "2825--2830",
                "year": "2011",
            },
        ),
    }
)  # fmt: skip
OF_DESCRIPTORS: Mapping[str, Sequence[str]] = MappingProxyType(
    {"LAMMPSSNAP": ("SNAP",), "LAMMPSPACE": ("ACE", "PACE", "ACE_basis")}
)
OF_ARCHITECTURE: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "BPNN": ("BPNN",),
        "SOAP_BPNN": ("smooth_overlap", "smooth_basis", "BPNN", "metatrain", "sphericart"),
        "NANOPET": ("PET", "metatrain"),
        "MACE": ("MACE", "MACE_design"),
    }
)


def citations_of(settings: Settings) -> tuple[str, ...]:
    """Return the keys of what a fit uses, most important first.

    Args:
        settings: settings of the fit.
    """
    return tuple(dict.fromkeys(key for key in _keys(settings) if key in ENTRIES))


def _keys(settings: Settings) -> Iterator[str]:
    training, descriptors, calculator = settings.pytorch, settings.section("BISPECTRUM"), settings.calculator.calculator
    linear = settings.solver.is_linear
    described = linear or training.model == "BPNN"
    yield from ("LAMMPS", "FitSNAP")
    if described:
        yield from OF_DESCRIPTORS.get(calculator, ())
    if linear:
        yield from ("scikit-learn",) if settings.solver.solver in ("ARD", "LASSO") else ()
    else:
        yield from OF_ARCHITECTURE.get(training.model, ())
    if described and calculator == "LAMMPSSNAP":
        yield from (("qSNAP",) if descriptors.quadraticflag else ())
        yield from (("EME-SNAP",) if descriptors.chemflag else ())
    if getattr(settings.architecture, "long_range", False):
        yield "long_range"
        yield from () if getattr(settings.architecture, "use_ewald", True) else ("torch-pme",)
    if "zbl" in settings.reference.pair_style.split():
        yield "ZBL"
    if not linear:
        yield from ("Kalman", "LKF") if training.optimizer == "LKF" else (training.optimizer,)
        yield from ("SWA",) if training.stage_two else ()
        yield "PyTorch"
    yield "ASE"


def bibtex(keys: Sequence[str]) -> str:
    """Return the text of ``CITE.bib``.

    Args:
        keys: keys of `ENTRIES`; unknown ones, of other versions, are left out.
    """
    lines = ["% Programs, models and methods that this fit has used. Please cite them, and the source of your data."]
    for key in keys:
        if one := ENTRIES.get(key):
            fields = ",\n".join(f"  {name} = {{{value}}}" for name, value in one.fields.items())
            lines += ["", f"% {one.use}", f"@{one.kind}{{{key},\n{fields}\n}}"]
    return "\n".join(lines) + "\n"
