"""Input files, generated from the schema and, for the command ``new``, from the content of the data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from types import MappingProxyType

from fitsnap_nn.settings.architectures import architecture_names, load_architecture
from fitsnap_nn.settings.elements import atomic_number
from fitsnap_nn.settings.fields import format_value
from fitsnap_nn.settings.keys import DESCRIPTOR_SECTIONS, Key, keys_of, section_names
from fitsnap_nn.settings.linear import SOLVER_SECTIONS
from fitsnap_nn.settings.training import KALMAN

COLUMN = 34  # column where the comments start
WIDTH = 110  # of comments derived from the data

GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "group_sections": "name training_size testing_size test_size eweight fweight vweight",
        "group_types": "str float float float float float float",
        "random_sampling": "1",
        "random_seed": "1",
    }
)
TARGETS: Mapping[str, str] = MappingProxyType({"energy": "1", "force": "1", "stress": "1"})


# Optimiser of small networks: about ten times faster than Adam, and without a learning rate.
KALMAN_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "optimizer": KALMAN,
        "num_epochs": "20",
        "batch_size": "1",
        "ema_decay": "0.99",
        "balance": "1",
        # The loss of a small validation set follows a few outliers: for silicon it rose while all mean errors fell.
        "best_model_metric": "mae_prod",
    }
)
# Recommended values of new inputs for BPNN. They differ from the defaults, which are FitSNAP's so that its inputs keep
# their meaning. The other architectures declare theirs in settings/architectures.py.
BPNN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "BISPECTRUM": {"twojmax": "8", "rcutfac": "4.67637", "rfac0": "0.99363", "rmin0": "0.0", "bzeroflag": "1"},
        "CALCULATOR": TARGETS,
        "PYTORCH": {
            "model": "BPNN",
            "layer_sizes": "num_desc 16 16 1",
            "activation": "softplus",
            "multi_element_option": "1",
            "committee": "4",
            "initial": "least_squares",
            **KALMAN_KEYS,
            "manual_seed_flag": "1",
        },
    }
)
# Functions of up to five bodies. Products with l = 0 are left to the network, which sees both factors.
# Fewer functions per element for several elements: 88, 112 and 130 in all for one, two and three.
ACE_INDICES = (("0 4 3 2", "8 3 2 2"), ("0 4 3 2", "8 2 1 1"), ("0 3 2 1", "6 2 1 1"))  # lmax and nmax
ACE = "ACE"
ACE_KEYS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "ACE": {
            "ranks": "1 2 3 4",
            "lmax": ACE_INDICES[0][0],
            "nmax": ACE_INDICES[0][1],
            "lmin": "0 1 1 1",
            "nmaxbase": "8",
            "lambda": "1.35",
            "b_basis": "pa_tabulated",
        },
        "CALCULATOR": {"calculator": "LAMMPSPACE", **TARGETS},
        "PYTORCH": BPNN["PYTORCH"],
    }
)
# Linear SNAP, without a section of its own. The constants of the elements, which bzeroflag = 0 adds, take the place of
# the element energies that are subtracted for networks.
LINEAR = "LINEAR"
LINEAR_KEYS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "BISPECTRUM": {**BPNN["BISPECTRUM"], "bzeroflag": "0"},
        "CALCULATOR": TARGETS,
        "SOLVER": {"solver": "SVD"},
    }
)
# Linear ACE. No network forms products of densities with l = 0, so that they are functions of their own.
LINEAR_ACE = "LINEAR_ACE"
LINEAR_ACE_KEYS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "ACE": {**ACE_KEYS["ACE"], "lmin": "0 0 0 1", "bzeroflag": "0"},
        "CALCULATOR": ACE_KEYS["CALCULATOR"],
        "SOLVER": {"solver": "RIDGE"},
        "RIDGE": {"alpha": "1e-8"},
    }
)
LINEAR_MODELS = (LINEAR, LINEAR_ACE)
ON_DESCRIPTORS: Mapping[str, Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {"BPNN": BPNN, ACE: ACE_KEYS, LINEAR: LINEAR_KEYS, LINEAR_ACE: LINEAR_ACE_KEYS}
)
BPNN_NEIGHBOURS = 18  # as `Architecture.num_neighbours`: two shells of fcc, three of bcc and diamond
ZBL = "hybrid/overlay zero 10.0 zbl 1.0 1.5"
# training_size, testing_size, test_size, eweight, fweight, vweight of every group of a template without data. The
# weights are about those that `new` derives from typical data, 1 / (0.3 eV/atom)² : 1 / (1 eV/Å)² : 1 / (10 GPa)².
ROW = "0.9 0.1 0.0 10 1 1e-10"
# The same for linear solvers, whose weights multiply residuals: square roots, and fewer energies than force components.
LINEAR_ROW = "0.9 0.1 0.0 30 1 3e-5"


@dataclass(frozen=True)
class Content:
    """Parts of an input that come from the data.

    Attributes:
        scraper: data format.
        data_path: path of the data relative to the folder of the input file.
        rows: values of each row of the group table.
        values: values by section and key; they replace the recommended ones.
        comments: lines at the start of a section, or at the head of the file with the key ``""``.
    """

    scraper: str
    data_path: str
    rows: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    comments: Mapping[str, Sequence[str]] = field(default_factory=dict)


def recommended(model: str, num_elements: int = 1) -> dict[str, dict[str, str]]:
    """Return the recommended keys of an architecture by section.

    Args:
        model: the architecture.
        num_elements: number of elements.

    Raises:
        ArchitectureError: the architecture belongs to another package, which cannot be imported.
    """
    if model in ON_DESCRIPTORS:
        sections = {section: dict(keys) for section, keys in ON_DESCRIPTORS[model].items()}
    else:
        architecture = load_architecture(model)
        small = num_elements <= architecture.kalman_elements
        training = {
            "model": model,
            **(KALMAN_KEYS if small else architecture.training_defaults),
            "manual_seed_flag": "1",
        }
        sections = {"CALCULATOR": {"calculator": "LAMMPSGRAPH", **TARGETS}, "PYTORCH": training}
        sections[model] = dict(architecture.recommended)
        if num_elements > 1:
            sections[model] |= architecture.several_elements
    return sections | {"REFERENCE": {"pair_style": ZBL}, "GROUPS": dict(GROUPS)}


def known_models() -> tuple[str, ...]:
    """Return the names of all architectures, and of the networks and the linear model on descriptors."""
    return (*ON_DESCRIPTORS, *architecture_names())


def section_of(model: str) -> str:
    """Return the section with the input of a model: that of its descriptors, or that of the architecture."""
    if model in ON_DESCRIPTORS:
        return "ACE" if model in (ACE, LINEAR_ACE) else "BISPECTRUM"
    return model


def render_template(model: str, elements: Sequence[str], content: Content, *, every_key: bool = False) -> str:
    """Return the text of an input file with a comment for each key.

    Args:
        model: architecture.
        elements: chemical symbols in the order of the LAMMPS atom types.
        content: what the input takes from the data.
        every_key: add all keys that keep their defaults, as comments.
    """
    lines = [
        f"# {model} for {' '.join(elements)}. Text after # is a comment. All keys are documented in docs/input.md.",
        "# Check this file with `python -m fitsnap_nn check FILE`, then fit with `python -m fitsnap_nn FILE`.",
        *_comment_lines(content, ""),
    ]
    written = _values(model, elements, content)
    used = {section_of(model)}
    used |= {*SOLVER_SECTIONS} if model in LINEAR_MODELS else {"PYTORCH"}
    others = {*DESCRIPTOR_SECTIONS.values(), "PYTORCH", *SOLVER_SECTIONS, *architecture_names()} - used
    for section in section_names():
        if section in others:
            continue
        body = [*_key_lines(section, written.get(section, {}), every_key)]
        if section == "ESHIFT" and every_key:
            body = [
                _line(f"# {element}", "0.0", f"energy added to the labels per {element} atom, eV")
                for element in elements
            ]
        if section == "GROUPS":
            body += _rows(content.rows)
        if body:
            lines += ["", f"[{section}]", *_comment_lines(content, section), *body]
    return "\n".join(lines) + "\n"


def _comment_lines(content: Content, section: str) -> list[str]:
    text = (line for comment in content.comments.get(section, ()) for line in textwrap.wrap(comment, WIDTH))
    return [f"# {line}" for line in text]


def _values(model: str, elements: Sequence[str], content: Content) -> dict[str, dict[str, str]]:
    """Return the values by section and key: the recommended ones and those that depend on elements and data."""
    values = recommended(model, len(elements))
    if model in ON_DESCRIPTORS:
        count = len(elements)
        values[section_of(model)] |= {"numTypes": str(count), "type": " ".join(elements)}
        if section_of(model) == "ACE":
            lmax, nmax = ACE_INDICES[min(count, len(ACE_INDICES)) - 1]
            values["ACE"] |= {"lmax": lmax, "nmax": nmax}
        else:
            values["BISPECTRUM"] |= {"wj": " ".join(element_weights(elements)), "radelem": " ".join(["0.5"] * count)}
        if count > 1 and model not in LINEAR_MODELS:
            values["PYTORCH"]["multi_element_option"] = "2"
    else:
        values["CALCULATOR"]["elements"] = " ".join(elements)
    values["SCRAPER"] = {"scraper": content.scraper}
    values["PATH"] = {"dataPath": content.data_path}
    values["OUTFILE"] = {"potential": f"{''.join(elements)}_pot"}
    pairs = combinations_with_replacement(enumerate(elements, start=1), 2)
    coefficients = ["* * zero", *(f"{i} {j} zbl {atomic_number(a)} {atomic_number(b)}" for (i, a), (j, b) in pairs)]
    values["REFERENCE"] |= {f"pair_coeff{number}": text for number, text in enumerate(coefficients, start=1)}
    for section, keys in content.values.items():
        values[section] = values.get(section, {}) | dict(keys)
    return values


def element_weights(elements: Sequence[str]) -> list[str]:
    """Return ``wj`` of each element: from 0.5 for the lightest to 1 for the heaviest.

    With equal weights the descriptors do not distinguish the elements of the neighbours. Weights that increase with the
    atomic number follow M. Gastegger et al., J. Chem. Phys. 148, 241709 (2018).
    """
    by_number = sorted(elements, key=atomic_number)
    steps = max(1, len(elements) - 1)
    return [f"{1.0 - 0.5 * (len(elements) - 1 - by_number.index(symbol)) / steps:.4g}" for symbol in elements]


def _key_lines(section: str, written: Mapping[str, str], every_key: bool) -> Iterator[str]:
    for name, key in keys_of(section).items():
        if key.is_prefix:
            stem = name.removesuffix("*")
            for number, item in enumerate((item for item in written if item.startswith(stem)), start=1):
                yield _line(item, written[item], key.doc if number == 1 else "")
        elif name in written:
            yield _line(name, written[name], _comment(key))
        elif every_key and not key.no_effect:
            yield _line(f"# {name}", "None" if key.default is None else format_value(key.default), _comment(key))


def _comment(key: Key) -> str:
    unit = f", {key.unit}" if key.unit else ""
    choices = f" ({', '.join(key.choices)})" if len(key.choices) > 1 else ""
    return f"{key.doc}{unit}{choices}"


def _line(name: str, value: str, comment: str) -> str:
    assignment = f"{name} = {value}".rstrip()
    return f"{assignment:<{COLUMN}}  # {comment}" if comment else assignment


def _rows(rows: Mapping[str, str]) -> list[str]:
    """Return the lines of the group table, with the values in columns."""
    cells = [line.split() for line in rows.values()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    longest = max(map(len, rows), default=0)
    lines = (" ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in cells)
    return [f"{name:<{longest}} = {line}".rstrip() for name, line in zip(rows, lines, strict=True)]
