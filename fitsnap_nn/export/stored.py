"""Checks of the content of a model file, before any of it reaches LAMMPS, the file system or the memory.

A model file can come from anybody. Its values are therefore checked like those of an input file, whatever wrote them.
docs/trust.md states what this protects from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from fitsnap_nn.errors import CheckpointError, FitsnapError
from fitsnap_nn.inputs import DescriptorInput, input_from_payload
from fitsnap_nn.lammps.reference import words_of
from fitsnap_nn.models import ARCHITECTURES, Model, build_model
from fitsnap_nn.models.committee import MIXED
from fitsnap_nn.models.uncertainty import COMMITTEE, LAST_LAYER, Uncertainty
from fitsnap_nn.settings.architectures import architecture_names
from fitsnap_nn.settings.elements import SYMBOLS
from fitsnap_nn.settings.fields import format_value, parse_value
from fitsnap_nn.settings.ini import Document, Entry
from fitsnap_nn.settings.keys import Key, keys_of
from fitsnap_nn.settings.lammps_words import arguments_problem, code_styles, is_path, name_problem, printable
from fitsnap_nn.settings.problems import ValueProblem
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.settings.schema import Reference
from fitsnap_nn.settings.targets import SECTION as TARGETS
from fitsnap_nn.settings.targets import format_row, read_targets

Payload = Mapping[str, Any]

TRUST = "If the file comes from a source that you trust, confirm it: --trust, or trust=True in Python."
UNITS = {"energy": "eV", "length": "Å", "force": "eV/Å", "stress": "eV/Å³", "lammps": "metal"}
# Functions of torch that reserve memory for the sizes in their arguments, and how much of it a model may reserve for
# each number of its state.
FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye})
SPARE = 2**24


def check_payload(payload: Payload, trust: bool) -> None:
    """Check everything in the payload of a model file besides its weights.

    Args:
        payload: content of the file, of the current version.
        trust: let the reference potential run code and name files outside the model file.

    Raises:
        CheckpointError, ValueProblem: a value is not one that a fit writes.
        Exception: the payload lacks a value, or contains one of another type.
    """
    elements = payload["elements"]
    _require(bool(elements) and set(elements) <= set(SYMBOLS), "elements", "are not chemical symbols")
    _require(len(set(elements)) == len(elements), "elements", "are listed more than once")
    _check_description(payload["description"], list(elements))
    state = payload["state_dict"]
    _require(all(isinstance(one, Tensor) for one in state.values()), "state_dict", "does not consist of tensors")
    _require(dict(payload["units"]) == UNITS, "units", "are not eV and Å")
    reference = reference_of(payload)
    _check_reference(reference, payload.get("files") or {}, elements, trust)
    _require(set(payload["eshift"]) <= set(SYMBOLS), "eshift", "is not keyed by chemical symbols")
    _require(all(map(math.isfinite, payload["eshift"].values())), "eshift", "is not finite")
    _refuse("potential", name_problem(PurePath(payload["potential"]).name))
    if payload["structure"] is not None:
        _check_structure(payload["structure"], elements)
    _require(isinstance(payload["provenance"], dict), "provenance", "is not a dictionary")
    if payload.get("split") is not None:
        _check_split(payload["split"])
    for row in payload.get("properties", ()):
        _check_property(PropertyRow(**row))
    if payload.get("uncertainty") is not None:
        _check_uncertainty(payload["uncertainty"])


def reference_of(payload: Payload) -> Reference:
    """Return the reference potential in a payload, with the types of an input."""
    stored = payload["reference"]
    return Reference(**{**stored, "pair_coeff": tuple(stored["pair_coeff"])})


def files_of(payload: Payload) -> dict[str, bytes] | None:
    """Return the files of the reference potential by the words that name them; ``None`` in files of early versions."""
    files = payload.get("files")
    return None if files is None else {word: content.numpy().tobytes() for word, content in files.items()}


def _require(condition: bool, field: str, problem: str) -> None:
    if not condition:
        raise ValueProblem(f"{field} {problem}")


def _refuse(field: str, problem: str) -> None:
    _require(not problem, field, problem)


def _check_values(section: str, values: Mapping[str, Any], found: Callable[[Key], str]) -> None:
    """Parse the values of keys like those of an input file."""
    for name, key in keys_of(section).items():
        if found(key) in values:
            value = values[found(key)]
            value = tuple(value) if isinstance(value, list) else value
            try:
                same = parse_value(format_value(value), key) == value
            except ValueProblem as problem:
                raise ValueProblem(f"[{section}] {name} {problem.what}", problem.hint) from None
            _require(same, f"[{section}] {name}", f"has the value {value!r}")


def _check_description(description: Payload, elements: list[str]) -> None:
    """Check the hyperparameters of a model, and the options of its descriptors."""
    name = description["architecture"]
    if name == MIXED:
        for member in description["models"]:
            _require(member["architecture"] != name, "description", "is of a committee of committees")
            _check_description(member, elements)
        _require(len(description["models"]) > 1, "description", "is of a committee with fewer than two members")
        return
    _require(list(description.get("elements", elements)) == elements, "description", "has other elements")
    section = name if name in architecture_names() else "PYTORCH"
    _check_values(section, description, lambda key: key.name)
    _check_values("PYTORCH", {"committee": description.get("committee", 1)}, lambda key: key.name)
    for target in description.get("targets", ()):
        _check_property(PropertyRow(**target, column=target["name"]))
    if "model_input" in description:
        model_input = input_from_payload(description["model_input"])
        _require(list(model_input.elements) == elements, "model_input", "has other elements")
        values = model_input.section_values() if isinstance(model_input, DescriptorInput) else None
        if values:
            _check_values(values.section, {**values.common, **values.by_element}, lambda key: key.name)


def _check_reference(reference: Reference, files: Mapping[str, Tensor], elements: Sequence[str], trust: bool) -> None:
    """Check the commands of the reference potential and the names of its files."""
    values = {field.name: getattr(reference, field.name) for field in fields(reference)}
    for key, text in (("pair_style", reference.pair_style), *(("pair_coeff", one) for one in reference.pair_coeff)):
        _refuse(f"[REFERENCE] {key}", arguments_problem(text))
    _check_values("REFERENCE", {name: values[name] for name in ("units", "atom_style")}, lambda key: key.attribute)
    _require(bool(reference.pair_style.split()), "[REFERENCE] pair_style", "is empty")
    words = words_of(reference)
    for word, content in files.items():
        _require(word in words, f"file {word!r}", "is not named by the reference potential")
        _require(content.dtype == torch.uint8, f"file {word!r}", "does not consist of bytes")
        _refuse(f"file {word!r}", name_problem(PurePath(word).name))
    if trust:
        return
    if styles := code_styles(reference.pair_style):
        raise ValueProblem(f"[REFERENCE] pair_style = {reference.pair_style} runs code ({', '.join(styles)})", TRUST)
    for word in words:
        if word not in files and word not in elements and is_path(word):
            raise ValueProblem(f"[REFERENCE] names the file {word}, which is not inside the model file", TRUST)


def _check_structure(plain: Payload, elements: Sequence[str]) -> None:
    """Check the initial structure of the example input."""
    species, count = plain["species"], len(plain["species"])
    _require(bool(species) and set(species) <= set(elements), "structure", "has other elements")
    _require(plain["id"].isprintable(), "structure id", "contains control characters")
    _require(len(plain["pbc"]) == 3, "structure", "has no periodicity")
    shapes = {"positions": (count, 3), "cell": (3, 3), "charges": (count,), "spins": (count, 4)}
    for name, shape in shapes.items():
        array = plain[name]
        if array is None and name in ("charges", "spins"):
            continue
        _require(tuple(array.shape) == shape and bool(array.isfinite().all()), "structure", f"has wrong {name}")


def _check_split(plain: Payload) -> None:
    _require(isinstance(plain["seed"], int), "split", "has no seed")
    for name in ("training", "validation", "earlier"):
        _require(plain[name].dtype == torch.uint8 and plain[name].ndim == 1, "split", f"has wrong keys ({name})")


def _check_uncertainty(plain: Payload) -> None:
    found = Uncertainty(**plain)
    numbers, displacements = (found.force_scale, found.energy_scale, found.threshold), found.displacements
    _require(found.method in (LAST_LAYER, COMMITTEE), "uncertainty", "has an unknown method")
    _require(found.action in ("warn", "dump", "stop"), "uncertainty", "has an unknown action")
    _require(all(math.isfinite(one) and one >= 0 for one in numbers), "uncertainty", "is not finite")
    sound = displacements.dtype == torch.float64 and displacements.ndim == 2 and bool(displacements.isfinite().all())
    _require(sound, "uncertainty", "has wrong displacements")


def _check_property(row: PropertyRow) -> None:
    """Parse a property as a line of the section TARGETS."""
    text = format_row(row)
    document = Document("", {TARGETS: {row.name: Entry(text, row.where)}})
    _require(read_targets(document) == (row,) and text.isprintable(), f"property {row.name!r}", "is not valid")


@contextmanager
def refused(path: str | Path) -> Iterator[None]:
    """Turn what is wrong with the content of a model file into an error that names the file.

    Raises:
        CheckpointError: the body raised an exception, other than for a missing package.
    """
    try:
        yield
    except (FitsnapError, ImportError):
        raise
    except ValueProblem as problem:
        raise CheckpointError(f"{path} is refused: {printable(problem.what)}. {problem.hint}".strip()) from problem
    except Exception as error:  # wrong types and missing keys raise almost anything
        text = " ".join(str(error).split())[:200]
        what = "does not have the content of a model file of this version"
        raise CheckpointError(f"{path} is refused: it {what} ({type(error).__name__}: {text}).") from error


class _LimitedMemory(TorchFunctionMode):
    """Refuses tensors if all that exist have more numbers than a model of a known size, while it is built.

    Temporary tensors count as long as they exist only: those of a MACE with correlation 3 add up to 55 million numbers.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self._numbers = numbers
        self._used = 0
        self._made: list[tuple[StorageWeakRef, int]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function not in FACTORIES:
            return function(*args, **(kwargs or {}))
        sizes = args[0] if args and isinstance(args[0], list | tuple) else args
        size = math.prod(one for one in sizes if isinstance(one, int))
        if self._used + size > self._numbers:
            self._made = [made for made in self._made if not made[0].expired()]  # type: ignore[no-untyped-call]
            self._used = sum(numbers for _, numbers in self._made)
        _require(self._used + size <= self._numbers, "description", "is of a larger model than the weights in the file")
        tensor = function(*args, **(kwargs or {}))
        self._made.append((StorageWeakRef(tensor.untyped_storage()), size))  # type: ignore[no-untyped-call]
        self._used += size
        return tensor


def build_stored(description: Payload, state: Mapping[str, Tensor]) -> Model[Any]:
    """Return the model of a description with its weights; without them, no memory is used for it.

    Args:
        description: result of `Model.description`.
        state: its state dict.

    Raises:
        Exception: description and weights do not belong together.
    """
    numbers = sum(tensor.numel() for tensor in state.values())
    name = description["architecture"]
    if name not in ARCHITECTURES and name not in architecture_names():
        raise ValueProblem(f"its architecture, {name}, is not known", "Install the package that provides it.")
    with _LimitedMemory(2 * numbers + SPARE):
        model = build_model(description)
    model.load_state_dict(state, assign=True)
    return model
