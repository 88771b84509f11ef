"""Input templates, generated from the schema and the content of a data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations_with_replacement
from types import MappingProxyType

from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.settings.architectures import architecture_names
from fitsnap_nn.settings.elements import SYMBOLS, atomic_number
from fitsnap_nn.settings.fields import format_value
from fitsnap_nn.settings.files import find_groups, nearest
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.settings.keys import Key, keys_of, section_names
from fitsnap_nn.settings.problems import did_you_mean

COLUMN = 34  # column where the comments start

GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "group_sections": "name training_size testing_size eweight fweight vweight",
        "group_types": "str float float float float float",
        "random_sampling": "1",
        "random_seed": "1",
    }
)
TARGETS: Mapping[str, str] = MappingProxyType({"energy": "1", "force": "1", "stress": "1"})


def _graph(model: str, section: Mapping[str, str], **training: str) -> Mapping[str, Mapping[str, str]]:
    """Return the recommended keys of an architecture on neighbour graphs."""
    common = {"scheduler": "cosine", "warmup_fraction": "0.05", "ema_decay": "0.99", "manual_seed_flag": "1"}
    return {
        "CALCULATOR": {"calculator": "LAMMPSGRAPH", **TARGETS},
        "PYTORCH": {"model": model, **training, **common},
        model: section,
        "REFERENCE": {"pair_style": "hybrid/overlay zero 10.0 zbl 2.0 3.0"},
        "GROUPS": GROUPS,
    }


# Recommended values of new inputs. They differ from the defaults, which are FitSNAP's so that its inputs keep their
# meaning.
RECOMMENDED: Mapping[str, Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "BPNN": {
            "BISPECTRUM": {"twojmax": "6", "rcutfac": "4.67637", "rfac0": "0.99363", "rmin0": "0.0", "bzeroflag": "1"},
            "CALCULATOR": TARGETS,
            "PYTORCH": {
                "model": "BPNN",
                "layer_sizes": "num_desc 64 64 1",
                "activation": "tanh",
                "multi_element_option": "1",
                "num_epochs": "300",
                "batch_size": "8",
                "optimizer": "Adam",
                "learning_rate": "3e-3",
                "scheduler": "cosine",
                "warmup_fraction": "0.05",
                "ema_decay": "0.99",
                "manual_seed_flag": "1",
            },
            "REFERENCE": {"pair_style": "hybrid/overlay zero 10.0 zbl 4.0 4.8"},
            "GROUPS": GROUPS,
        },
        "SOAP_BPNN": _graph(
            "SOAP_BPNN", {"cutoff_radius": "5.0", "max_angular": "6", "max_radial": "7"},
            num_epochs="200", batch_size="8", learning_rate="1e-3",
        ),
        "NANOPET": _graph(
            "NANOPET",
            {"cutoff": "4.2", "cutoff_width": "1.0", "d_pet": "64", "num_gnn_layers": "1"},
            num_epochs="300", batch_size="16", learning_rate="3e-4", gradient_clip="1.0",
        ),
        "MACE": _graph(
            "MACE", {"r_max": "5.0", "hidden_irreps": "32x0e + 32x1o", "correlation": "3"},
            num_epochs="200", batch_size="8", learning_rate="5e-3", gradient_clip="10.0",
        ),
    }
)  # fmt: skip
# training_size, testing_size, eweight, fweight, vweight of every group of a new input.
ROW = "0.9  0.1  1e-1  1.0  1e-11"


def render_template(
    model: str,
    elements: Sequence[str],
    data_path: str,
    groups: Sequence[str],
    *,
    scraper: str = "JSON",
    every_key: bool = False,
) -> str:
    """Return the text of an input file with a comment for each key.

    Args:
        model: architecture.
        elements: chemical symbols in the order of the LAMMPS atom types.
        data_path: path of the data relative to the folder of the input file.
        groups: names of the rows of the group table.
        scraper: data format.
        every_key: add all keys that keep their defaults, as comments.
    """
    lines = [
        f"# {model} for {' '.join(elements)}. Text after # is a comment. All keys are documented in docs/input.md.",
        "# Check this file with `python -m fitsnap_nn check FILE`, then fit with `python -m fitsnap_nn FILE`.",
    ]
    written = _values(model, elements, data_path, scraper)
    others = {"BISPECTRUM", *architecture_names()} - {"BISPECTRUM" if model == "BPNN" else model}
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
            body += _rows(groups)
        if body:
            lines += ["", f"[{section}]", *body]
    return "\n".join(lines) + "\n"


def _values(model: str, elements: Sequence[str], data_path: str, scraper: str) -> dict[str, dict[str, str]]:
    """Return the values by section and key: the recommended ones and those that depend on elements and data."""
    values = {section: dict(keys) for section, keys in RECOMMENDED[model].items()}
    if model == "BPNN":
        count = len(elements)
        values["BISPECTRUM"] |= {"numTypes": str(count), "type": " ".join(elements)}
        values["BISPECTRUM"] |= {"wj": " ".join(["1.0"] * count), "radelem": " ".join(["0.5"] * count)}
        if count > 1:
            values["PYTORCH"]["multi_element_option"] = "2"
    else:
        values["CALCULATOR"]["elements"] = " ".join(elements)
    values["SCRAPER"] = {"scraper": scraper}
    values["PATH"] = {"dataPath": data_path}
    values["OUTFILE"] = {"potential": f"{''.join(elements)}_pot"}
    pairs = combinations_with_replacement(enumerate(elements, start=1), 2)
    coefficients = ["* * zero", *(f"{i} {j} zbl {atomic_number(a)} {atomic_number(b)}" for (i, a), (j, b) in pairs)]
    values["REFERENCE"] |= {f"pair_coeff{number}": text for number, text in enumerate(coefficients, start=1)}
    return values


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


def _rows(groups: Sequence[str]) -> list[str]:
    width = max(map(len, groups), default=0)
    return [f"{name:<{width}} = {ROW}" for name in groups]


def write_template(infile: str, model: str, elements: Sequence[str], data: str, every_key: bool = False) -> int:
    """Write an input file for the data in a folder, or in one XYZ file; return the number of groups.

    Raises:
        InputError: the file exists already, or an element, the model or the data do not exist.
    """
    problems = [
        Problem(COMMAND_LINE, f"{symbol} is not a chemical element.", did_you_mean(symbol, SYMBOLS))
        for symbol in elements
        if symbol not in SYMBOLS
    ]
    if model not in RECOMMENDED:
        problems.append(Problem(COMMAND_LINE, f"unknown model {model}.", f"Known models: {', '.join(RECOMMENDED)}."))
    scraper, groups = find_groups(data)
    if not os.path.exists(data):
        problems.append(Problem(data, "no such file or folder.", nearest(data)))
    elif not groups:
        what = "contains no subfolders with JSON files, no XYZ files and no VASP runs."
        problems.append(Problem(data, what, "Give the folder that contains one subfolder or file per group."))
    if os.path.exists(infile):
        problems.append(Problem(infile, "exists already and is not overwritten.", "Choose another name."))
    if problems:
        raise InputError(problems)
    data_path = os.path.relpath(data, os.path.dirname(infile) or ".")
    text = render_template(model, elements, data_path, groups, scraper=scraper, every_key=every_key)
    with open(infile, "x", encoding="utf-8") as file:
        file.write(text)
    return len(groups)
