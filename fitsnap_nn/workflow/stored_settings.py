"""Settings of a fit or test that uses a model file: the file determines the architecture, the input the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fitsnap_nn.errors import CheckpointError, InputError
from fitsnap_nn.export.model_file import Payload
from fitsnap_nn.inputs import DescriptorInput, ModelInput, input_from_payload, rows_class
from fitsnap_nn.models.committee import MIXED
from fitsnap_nn.settings.architectures import architecture_names
from fitsnap_nn.settings.effects import OF_LINEAR, add_notices
from fitsnap_nn.settings.fields import format_value
from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.keys import keys_of
from fitsnap_nn.settings.linear import LINEAR_SOLVERS
from fitsnap_nn.settings.load import document_of
from fitsnap_nn.settings.plain import section_differences
from fitsnap_nn.settings.problems import did_you_mean
from fitsnap_nn.settings.schema import Reference, Settings
from fitsnap_nn.settings.training_defaults import with_training_defaults

LINEAR = "LINEAR"  # architecture of linear models in model files
# Keys that concern the baselines of a fit from random weights.
BASELINES = ("composition_baseline", "element_energies", "scale_targets", "standardize")


def adopt(
    settings: Settings, payload: Payload, path: str, *, check: bool = True, train: bool = True
) -> tuple[Settings, list[str]]:
    """Return the settings with the architecture of a model file, and lines about them for the log.

    Args:
        settings: settings of the input.
        payload: content of the model file, see ``export.model_file``.
        path: the file, for messages.
        check: refuse keys of the input that contradict the file; otherwise they are left as they are.
        train: the model is trained; then the elements and [ESHIFT] may differ from those of the file.

    Raises:
        InputError: lists all keys that contradict the file.
        CheckpointError: the architecture is of another package, which is not installed.
    """
    document = document_of(settings)
    document.architecture_stored = True
    adoption = _Adoption(document, settings, path, train)
    values, model_input = _stored(payload)
    adoption.solver(linear="PYTORCH" not in values)
    for section, key in (("CALCULATOR", "calculator"), ("PYTORCH", "model")):
        if section in values:
            adoption.section(section, {key: values[section].pop(key)})
    adoption.elements(tuple(payload["elements"]))
    if check and document.problems:  # of another architecture, or for other elements, every key would differ
        raise InputError(document.problems)
    if isinstance(model_input, DescriptorInput):
        adoption.descriptors(model_input)
    for section, stored in values.items():
        adoption.section(section, stored)
    adoption.reference(Reference(**payload["reference"]), tuple(payload["elements"]))
    adoption.shifts(payload["eshift"])
    if train:
        adoption.training()
    if check and document.problems:
        raise InputError(document.problems)
    return adoption.settings, adoption.notes()


def _stored(payload: Payload) -> tuple[dict[str, dict[str, Any]], ModelInput | None]:
    """Return the values of the architecture's keys in a model file, by section and key, and its descriptors.

    Linear models have no section PYTORCH.
    """
    description = dict(payload["description"])
    name = description.pop("architecture")
    members = {"committee": description.pop("committee", 1)}  # absent in files of a single network
    if name == "BPNN":
        model_input = input_from_payload(description["model_input"])
        network = {
            "model": name,
            "layer_sizes": ("num_desc", *map(str, description["hidden"]), "1"),
            "activation": description["activation"],
            "multi_element_option": description["multi_element_option"],
            **members,
        }
        return {"CALCULATOR": {"calculator": model_input.calculator}, "PYTORCH": network}, model_input
    if name == LINEAR:
        stored = description["model_input"]
        model_input = rows_class(stored["calculator"]).from_payload(stored)
        return {"CALCULATOR": {"calculator": model_input.calculator}}, model_input
    if name == MIXED:
        raise CheckpointError(
            "it is the mean of models of several fits, which no input describes. Test it on data files (test MODEL "
            "FILE ...); to train further, train its members and combine them again."
        )
    if name not in architecture_names():
        raise CheckpointError(f"its architecture, {name}, is of a package that is not installed. Install that package.")
    keys = keys_of(name)
    # Models without long-range interactions do not store the key.
    hypers = {key: _plain(value) for key, value in {"long_range": False, **description}.items() if key in keys}
    return {"CALCULATOR": {"calculator": "LAMMPSGRAPH"}, "PYTORCH": {"model": name, **members}, name: hypers}, None


class _Adoption:
    """Settings that take values of a file one after the other; contradictions are reported to the document."""

    def __init__(self, document: Document, settings: Settings, path: str, train: bool) -> None:
        self.document = document
        self.settings = settings
        self.path = path
        self.train = train
        self._taken: dict[str, list[str]] = {}
        self._remarks: list[str] = []

    def solver(self, *, linear: bool) -> None:
        """Take the kind of model, linear or a network, unless the input states the other kind.

        Raises:
            CheckpointError: a linear model would have to be trained further.
        """
        if linear and self.train:
            raise CheckpointError(
                "it is a linear model, whose coefficients cannot be the initial weights of a network. [PYTORCH] "
                "initial = least_squares starts a BPNN from linear least squares."
            )
        if self.settings.solver.is_linear == linear:
            return
        kind = "a linear model" if linear else "a neural network"
        if self._given("SOLVER", "solver"):
            what = f"is {self.settings.solver.solver}, but {self.path} is {kind}"
            self.document.report("SOLVER", "solver", what, "Remove the key to test this file.")
        elif linear:
            self._replace("SOLVER", {"solver": LINEAR_SOLVERS[0]})
            self._remarks.append(f"{self.path} is {kind}")

    def section(self, section: str, stored: Mapping[str, Any]) -> None:
        """Take the keys of a section that the input does not set; the others must agree.

        With a pretrained model, the keys of its architecture have no effect.
        """
        current, keys = self.settings.section(section), keys_of(section)
        idle = section == self.settings.pytorch.model and self.settings.architecture.pretrained[0]
        changes = {}
        for key, value in stored.items():
            attribute = keys[key].attribute
            here = getattr(current, attribute)
            if idle or not self._given(section, key):
                changes[attribute] = value
                if not _same(key, here, value):
                    self._taken.setdefault(section, []).append(f"{key} = {format_value(value)}")
            elif not _same(key, here, value):
                self._contradicts(section, key, here, value)
        self._replace(section, changes)

    def elements(self, stored: tuple[str, ...]) -> None:
        """Take the elements of the file unless the input lists some; only a fit may have others."""
        section, key = self.settings.elements_key
        if not self._given(section, key):
            if self.settings.calculator.calculator == "LAMMPSGRAPH":
                section, key = "CALCULATOR", "elements"
            self._replace(section, {key: stored} | ({"num_types": len(stored)} if key == "type" else {}))
            self._taken.setdefault(section, []).append(f"{key} = {' '.join(stored)}")
        elif self.settings.elements != stored and not self.train:
            self._contradicts(section, key, self.settings.elements, stored)
        elif self.settings.elements != stored:
            new = [element for element in self.settings.elements if element not in stored]
            dropped = [element for element in stored if element not in self.settings.elements]
            changes = [f"new: {' '.join(new)}"] if new else []
            changes += [f"left out: {' '.join(dropped)}"] if dropped else []
            found = "; ".join(changes) or "in another order"
            self._remarks.append(
                f"elements {' '.join(self.settings.elements)} (in the file {' '.join(stored)}): {found}"
            )

    def descriptors(self, stored: DescriptorInput) -> None:
        """Take the options of the descriptors; those of an element go with its symbol."""
        values, now = stored.section_values(), self.settings.elements
        if values is None:
            return
        self.section(values.section, values.common)
        for key, of_elements in values.by_element.items():
            known = dict(zip(stored.elements, of_elements, strict=True))
            self._values_by_element(values.section, key, known, values.new_elements.get(key))
        if self.train and stored.file_key and not self._given(values.section, stored.file_key):
            what = f"is missing: a file of this kind defines the descriptors of {self.path}"
            self.document.report(values.section, stored.file_key, what, "Name the file.")
        if self.document.problems:
            return
        new = stored.with_section(self.settings)
        if (
            new.size != stored.size
            or new.names != stored.names
            or (stored.ordered_by_element and now != stored.elements)
        ):
            what = f"{' '.join(now)} has other descriptors than {self.path}, for {' '.join(stored.elements)}"
            hint = "The network cannot take other descriptors: list the same elements in the same order, or fit anew."
            self.document.report(*self.settings.elements_key, what, hint)

    def _values_by_element(self, section: str, key: str, known: Mapping[str, Any], for_new: Any) -> None:
        """Take one number per element; new elements have that of the input, or a default."""
        now, values = self.settings.elements, getattr(self.settings.section(section), key)
        if not self._given(section, key):
            found = tuple(known.get(element, values[0] if for_new is None else for_new) for element in now)
            if any(value != keys_of(section)[key].default[0] for value in found):
                self._taken.setdefault(section, []).append(f"{key} = {format_value(found)}")
            self._replace(section, {key: found})
        elif len(values) != len(now) or any(known.get(e, v) != v for e, v in zip(now, values, strict=True)):
            self._contradicts(section, key, values, ", ".join(f"{value} for {e}" for e, value in known.items()))

    def reference(self, stored: Reference, elements: tuple[str, ...]) -> None:
        """Take the reference potential, which must agree; for other elements only the input can state it."""
        here, same = self.settings.reference, self.settings.elements == elements
        shown = f"pair_style {stored.pair_style}; pair_coeff {'; '.join(stored.pair_coeff)}"
        if "REFERENCE" not in self.document.sections:
            if not (same or is_zero(stored)):
                what = (
                    f"is needed for {' '.join(self.settings.elements)}: that of {self.path} is for {' '.join(elements)}"
                )
                hint = f"It must contain {shown}, with the numbers of the types of this input."
                self.document.report("REFERENCE", "", what, hint)
                return
            self.settings = replace(self.settings, reference=stored)
            if not is_zero(stored):
                self._taken.setdefault("REFERENCE", []).append(shown)
        elif is_zero(stored) and is_zero(here):
            return
        elif same or is_zero(stored) or is_zero(here):
            lines = section_differences("REFERENCE", stored, here)
            listed = "; ".join(line.partition("] ")[2] for line in lines)
            if lines:
                what = f"differs from that of {self.path} ({listed})"
                self.document.report("REFERENCE", "", what, f"The file was fitted with {shown}.")
        else:
            self._remarks.append(
                f"[REFERENCE] is used as given; for {' '.join(elements)} it must equal that of the file ({shown})"
            )

    def shifts(self, stored: Mapping[str, float]) -> None:
        """Take [ESHIFT], which is part of the energies that the model was fitted to, where the input has none.

        Only a fit may have another one.
        """
        given = self.document.sections.get("ESHIFT", {})
        for element in given:
            if element not in self.settings.elements:
                listed = " ".join(self.settings.elements)
                hint = did_you_mean(element, self.settings.elements)
                self.document.report("ESHIFT", element, f"not among the elements {listed}", hint)
        now = {element: stored.get(element, 0.0) for element in self.settings.elements}
        found = {element: self.settings.eshift[element] if element in given else now[element] for element in now}
        for element, value in found.items():
            if value != now[element] and not self.train:
                self._contradicts("ESHIFT", element, value, now[element])
            elif value != now[element]:
                self._remarks.append(f"[ESHIFT] {element} = {value:g} eV, in the file {now[element]:g} eV")
            elif element not in given and value:
                self._taken.setdefault("ESHIFT", []).append(f"{element} = {value:g}")
        self.settings = replace(self.settings, eshift=found)

    def training(self) -> None:
        """Set the defaults of the trainer, now that the architecture is known, and remark keys without effect."""
        if self.document.lacks_architecture:
            self.settings = replace(self.settings, pytorch=with_training_defaults(self.document, self.settings))
            add_notices(self.document, self.settings)
        if idle := [key for key in BASELINES if self._given("PYTORCH", key)]:
            self._remarks.append(f"[PYTORCH] {', '.join(idle)} has no effect: the baselines are those of the file")

    def notes(self) -> list[str]:
        """Return what was taken from the file and what differs from it, one line each."""
        taken = "; ".join(f"[{section}] {', '.join(parts)}" for section, parts in self._taken.items())
        return [*([f"from the file: {taken}"] if taken else []), *self._remarks, *self.document.notices]

    def _given(self, section: str, key: str) -> bool:
        if section == "PYTORCH" and self.settings.solver.is_linear and key not in OF_LINEAR:
            return False  # it has no effect
        return self.document.entry(section, key) is not None

    def _contradicts(self, section: str, key: str, here: Any, stored: Any) -> None:
        shown = format_value(stored) or "empty"
        what = f"is {format_value(here) or 'empty'}, but {self.path} was fitted with {shown}"
        self.document.report(section, key, what, "Remove the key to use the value of the file.")

    def _replace(self, section: str, values: Mapping[str, Any]) -> None:
        if section in architecture_names():
            changed = replace(self.settings.section(section), **values)
            self.settings = replace(self.settings, architectures={**self.settings.architectures, section: changed})
        else:
            changed = replace(self.settings.section(section), **values)
            self.settings = replace(self.settings, **{section.lower(): changed})


def is_zero(reference: Reference) -> bool:
    """Return whether a reference potential has no energy."""
    return reference.pair_style.split()[:1] in (["zero"], ["none"])


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _same(key: str, here: Any, stored: Any) -> bool:
    """Return whether two values of a key mean the same architecture."""
    if key == "layer_sizes":  # the first word is num_desc or the number of descriptors, which follows from the input
        return bool(here[1:] == stored[1:])
    if isinstance(here, str) and isinstance(stored, str):
        return here.replace(" ", "") == stored.replace(" ", "")  # irreps
    return bool(here == stored)
