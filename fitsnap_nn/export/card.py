"""The card of a model file: what the model is, what it was fitted to and how well, and how to run it."""

from __future__ import annotations

import shlex
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fitsnap_nn.data.split import Split
from fitsnap_nn.errors import InputError, Problem
from fitsnap_nn.export.export import convert_mace
from fitsnap_nn.export.model_file import FORMAT, Payload, load_payload, split_of
from fitsnap_nn.inputs import input_from_payload
from fitsnap_nn.integrity import is_sealed
from fitsnap_nn.models.uncertainty import from_payload as uncertainty_from
from fitsnap_nn.settings.architectures import BUILT_IN
from fitsnap_nn.settings.files import MACE_SUFFIX
from fitsnap_nn.settings.ini import COMMAND_LINE
from fitsnap_nn.settings.lammps_words import printable
from fitsnap_nn.settings.schema import Reference

WIDTH, COLUMNS = 12, 110  # of the names, and of all
# Entries of the provenance that have a place of their own.
PLACED = ("origin", "input", "date", "versions", "seed", "epoch", "errors", "error_table", "data", "data_hash")


def describe_model(path: str | Path, *, trust: bool = False, head: str = "", with_input: bool = True) -> str:
    """Return a human-readable card of a model.

    Args:
        path: a model or restart file, or a file of mace-torch, whose code is then run.
        trust: see `load_model`.
        head: of a model of mace-torch that has several.
        with_input: list the input of the fit.

    Raises:
        CheckpointError: see `load_model`.
        InputError: ``head`` is given for another kind of file.
    """
    if Path(path).suffix == MACE_SUFFIX:
        with tempfile.TemporaryDirectory() as folder:
            payload = load_payload(convert_mace(Path(path), Path(folder), head=head))
        return "\n".join(_card(payload, Path(path), True, with_input, head))
    if head:
        what = f"--head is for models of mace-torch ({MACE_SUFFIX}), not for {path}."
        raise InputError([Problem(COMMAND_LINE, what, "Remove it.")])
    return "\n".join(_card(load_payload(path, trust=trust), Path(path), is_sealed(path), with_input))


def _card(payload: Payload, path: Path, sealed: bool, with_input: bool, head: str = "") -> Iterator[str]:
    kind = "a model of mace-torch" if path.suffix == MACE_SUFFIX else f"{FORMAT}, format {payload['version']}"
    yield f"{path}: {kind}"
    split = _described(split_of(payload))
    for name, text in [*_model(payload, sealed), *_origin(payload["provenance"]), ("split", split)]:
        yield _wrapped(f"{name:<{WIDTH}}{text}")
    provenance = payload["provenance"]
    yield from _block("data", provenance.get("data"))
    yield from _block("errors", provenance.get("error_table") or _lines(provenance.get("errors")))
    yield from _how_to_run(payload, path, head)
    for key, value in provenance.items():
        if key not in PLACED:
            text = _printable(value)
            yield f"{key}:\n{text}" if "\n" in text else f"{key:<{WIDTH}}{text}"
    if "input" in provenance:
        text = _printable(provenance["input"])
        yield f"\ninput:\n{text}" if with_input else f"\ninput: {len(text.splitlines())} lines, shown with --verbose"


def _model(payload: Payload, sealed: bool) -> Iterator[tuple[str, str]]:
    """Yield names and texts about the model itself."""
    description, state = payload["description"], payload["state_dict"]
    for number, member in enumerate(members := _members(description), 1):
        yield f"member {number}" if len(members) > 1 else "model", _hyperparameters(member)
    if weights := description.get("weights"):
        yield "weights", f"{' '.join(format(one, '.3g') for one in weights)}, of the members in the mean"
    floating = [tensor for tensor in state.values() if tensor.is_floating_point()]
    largest = max(floating, key=torch.Tensor.numel, default=torch.zeros(0))
    total = sum(tensor.numel() for tensor in state.values())
    yield "size", f"{total} numbers, weights in {str(largest.dtype).removeprefix('torch.')}"
    count = len(payload["elements"])
    types = f"types 1 to {count}" if count > 1 else "type 1"
    yield "elements", f"{' '.join(payload['elements'])} (LAMMPS {types})"
    if cutoff := max(map(_cutoff, members)):
        yield "cutoff", f"{cutoff:g} Å"
    yield "units", f"eV, eV/Å, eV/Å³; LAMMPS units {payload['units']['lammps']}"
    for member in members:
        if "model_input" in member:
            yield "input", _listed(input_from_payload(member["model_input"]).changed_options())
    if targets := description.get("targets", ()):
        named = (f"{one['name']} (per {one['per']}, {one['symmetry']})" for one in targets)
        yield "targets", ", ".join(named)
    defaults = asdict(Reference())
    reference = {key: value for key, value in payload["reference"].items() if value != defaults[key]}
    yield "reference", _listed(reference) if len(reference) > 1 or "pair_coeff" not in reference else "none"
    if payload.get("files"):
        yield "files", f"{', '.join(payload['files'])}, of the reference potential"
    if any(payload["eshift"].values()):
        yield "eshift", f"{_listed(payload['eshift'])} eV, added to the data's energies"
    yield "uncertainty", _uncertainty(payload)
    if not sealed:
        yield "digest", "none, as in files of earlier versions; checksums of the zip archive were compared"


def _members(description: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the descriptions of the members of a committee of several fits, or of the only model."""
    return list(description.get("models", [description]))


def _hyperparameters(description: Mapping[str, Any]) -> str:
    apart = ("elements", "model_input", "targets")
    shown = {key: value for key, value in description.items() if key not in apart and value not in (None, "", [], ())}
    return _listed(shown)


def _cutoff(description: Mapping[str, Any]) -> float:
    """Return the cutoff of the neighbours, Å; 0 if it is not known, as for architectures of other packages."""
    if "model_input" in description:
        return float(input_from_payload(description["model_input"]).cutoff)
    section = BUILT_IN.get(description["architecture"])
    value = description.get(section.cutoff_key or "cutoff" if section else "cutoff")
    return float(value) if isinstance(value, int | float) else 0.0


def _uncertainty(payload: Payload) -> str:
    if calibrated := uncertainty_from(payload.get("uncertainty")):
        return f"{calibrated.method}; threshold {calibrated.threshold:.3g} eV/Å per atom"
    members = payload["description"].get("committee", len(_members(payload["description"])))
    if members > 1:
        return f"standard deviation over a committee of {members}: Potential.predict(atoms).spread"
    if payload["description"]["architecture"] == "LINEAR":
        return "not available for linear models"
    return "not available; [EXTRAS] uncertainty adds it"


def _origin(provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names and texts about the fit."""
    if "date" in provenance:
        yield "fitted", _printable(provenance["date"])
    if isinstance(versions := provenance.get("versions"), dict):
        yield "versions", _printable(_listed(versions))
    origin = [str(provenance["origin"])] if "origin" in provenance else []
    origin += [f"{key} {provenance[key]}" for key in ("seed", "epoch") if key in provenance]
    if provenance.get("epoch") == 0 and "date" not in provenance:
        origin.append("no epoch was finished: these are not weights of a complete fit")
    if origin:
        yield "origin", _printable(", ".join(origin))
    if "data_hash" in provenance:
        yield "data hash", f"{_printable(provenance['data_hash'])[:16]} (labels, weights and sets)"


def _how_to_run(payload: Payload, path: Path, head: str) -> Iterator[str]:
    """Yield the commands that run the model."""
    style = payload["reference"]["atom_style"]
    include = path.with_name(f"{Path(payload['potential']).name}.mod")
    yield "\nin LAMMPS:"
    if not include.exists():
        include = Path("potential", include.name)
        chosen = ["--head", head] if head else []
        yield f"  {shlex.join(['python', '-m', 'fitsnap_nn', 'export', str(path), 'potential', *chosen])}"
        yield "  and in the input of LAMMPS:"
    yield from (f"  {line}" for line in ("units metal", f"atom_style {style}", f"include {include}"))
    yield "\nin Python, with ASE:"
    yield "  import fitsnap_nn"
    file = path if path.suffix != MACE_SUFFIX else include.with_name(f"{path.stem}.pt")
    yield f"  atoms.calc = fitsnap_nn.Calculator({str(file)!r})"


def _block(title: str, text: object) -> Iterator[str]:
    if text:
        yield "\n".join([f"\n{title}:", *(f"  {line}" for line in _printable(text).splitlines())])


def _lines(errors: object) -> str:
    """Return the mean absolute errors by set, which files of earlier versions contain."""
    if not isinstance(errors, dict):
        return ""
    return "\n".join(f"{name}: {text} (mean absolute)" for name, text in errors.items())


def _wrapped(text: str) -> str:
    indent = " " * WIDTH
    return textwrap.fill(text, COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _printable(value: object) -> str:
    return "\n".join(map(printable, str(value).splitlines())).rstrip()


def _described(split: Split | None) -> str:
    if split is None:
        return "not in this file: which configurations the model was trained on is unknown"
    seed = f"random_seed {split.seed}"
    earlier = f", {len(split.earlier)} in earlier fits" if split.earlier else ""
    return f"{len(split.training)} training and {len(split.validation)} validation configurations{earlier}, {seed}"


def _listed(values: Mapping[str, Any]) -> str:
    """Return ``key value, key value``."""

    def text(value: Any) -> str:
        return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    return ", ".join(f"{key} {text(value)}" for key, value in values.items())
