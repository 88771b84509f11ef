"""Model files: a model with everything needed to use it, as plain values and tensors that load without running code."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.split import KEY_BYTES, Split
from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.export.reference_files import located
from fitsnap_nn.export.stored import UNITS, build_stored, check_payload, files_of, reference_of, refused
from fitsnap_nn.files import atomic_write, read_regular
from fitsnap_nn.integrity import check_seal, damaged, deserialize, serialize
from fitsnap_nn.lammps.reference import read_files
from fitsnap_nn.models import Model
from fitsnap_nn.models.uncertainty import Uncertainty
from fitsnap_nn.models.uncertainty import from_payload as uncertainty_from
from fitsnap_nn.settings.lammps_words import printable
from fitsnap_nn.settings.rows import PropertyRow
from fitsnap_nn.settings.schema import Reference, Settings

FORMAT = "fitsnap_nn model"
VERSION = 2

Payload = dict[str, Any]


def _upgrade_1(payload: Payload) -> Payload:
    """Upgrade from version 1, which stored the descriptors next to the model instead of in its description."""
    upgraded = {**payload, "version": 2}
    options = upgraded.pop("bispectrum")
    description = dict(payload["description"])
    if description["architecture"] == "BPNN":
        del description["elements"], description["n_descriptors"]
        description["model_input"] = {"calculator": "LAMMPSSNAP", **options}
    return {**upgraded, "description": description}


# Upgrade of a payload from the version of the key to the next one.
UPGRADES: Mapping[int, Callable[[Payload], Payload]] = MappingProxyType({1: _upgrade_1})


class ModelFile(NamedTuple):
    """Content of a model file.

    Attributes:
        model: the model; its energies exclude the reference potential and include ``eshift``.
        reference: pair style whose energy is added to that of the model.
        eshift: eV per atom of each element, added to the energies of the data before the fit.
        potential: common part of the names of the LAMMPS files.
        structure: initial structure of the example input for molecular dynamics, if any.
        provenance: origin of the model: input text, versions, seed, date, metrics.
        split: training and validation set of the fit; ``None`` if the file does not contain them, as those written
            before they were stored.
        properties: user-defined properties of the fit.
        uncertainty: how uncertainties are found; ``None`` if the fit has not determined it.
        files: files of the reference potential by the words that name them; ``None`` if the file does not contain
            them, as those written before they were stored.
        path: the model file.
        trust: whether the reference potential may run code and name other files.
    """

    model: Model[Any]
    reference: Reference
    eshift: dict[str, float]
    potential: str
    structure: Configuration | None
    provenance: dict[str, Any]
    split: Split | None = None
    properties: tuple[PropertyRow, ...] = ()
    uncertainty: Uncertainty | None = None
    files: dict[str, bytes] | None = None
    path: Path = Path()
    trust: bool = False

    def located_reference(self) -> Reference:
        """Return the reference potential with the paths of its files.

        Raises:
            CheckpointError: it names a file that is not inside the model file.
        """
        return located(self.reference, self.files, self.model.elements, self.path, self.trust)


def model_payload(
    model: Model[Any],
    settings: Settings,
    provenance: Mapping[str, Any],
    structure: Configuration | None = None,
    split: Split | None = None,
    uncertainty: Uncertainty | None = None,
) -> Payload:
    """Return a model and its settings as plain values and tensors; the weights are copied.

    Args:
        model: the model.
        settings: settings of the fit.
        provenance: plain values: input text, versions, seed, date, metrics.
        structure: initial structure of the example input for molecular dynamics.
        split: training and validation set of the fit.
        uncertainty: how uncertainties are found.
    """
    files = read_files(settings.reference, model.elements, Path(settings.folder))
    return {
        "format": FORMAT,
        "version": VERSION,
        **_entries(model, provenance, split, uncertainty),
        "elements": list(model.elements),
        "reference": asdict(settings.reference),
        "files": {word: torch.frombuffer(bytearray(content), dtype=torch.uint8) for word, content in files.items()},
        "eshift": dict(settings.eshift),
        "potential": settings.outfile.potential,
        "units": UNITS,
        "structure": None if structure is None else _plain_structure(structure),
        "properties": [asdict(row) for row in settings.targets],
    }


def payload_with(payload: Payload, content: ModelFile) -> Payload:
    """Return the payload of a file with another model and what belongs to it; reference and names stay.

    Args:
        payload: of a file.
        content: its model, provenance, split and uncertainty are taken.
    """
    return payload | _entries(content.model, content.provenance, content.split, content.uncertainty)


def _entries(
    model: Model[Any], provenance: Mapping[str, Any], split: Split | None, uncertainty: Uncertainty | None
) -> Payload:
    """Return the entries of a payload that belong to one model; the weights are copied."""
    return {
        "description": model.description(),
        "state_dict": {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()},
        "provenance": dict(provenance),
        "split": None if split is None else _plain_split(split),
        "uncertainty": None if uncertainty is None else uncertainty.payload(),
    }


def save_model(
    path: str | Path,
    model: Model[Any],
    settings: Settings,
    provenance: Mapping[str, Any],
    structure: Configuration | None = None,
    split: Split | None = None,
    uncertainty: Uncertainty | None = None,
) -> None:
    """Write a model file; see `model_payload`.

    Args:
        path: the file.
        model, settings, provenance, structure, split, uncertainty: see `model_payload`.

    Raises:
        CheckpointError: the file cannot be written; an existing one is left unchanged.
    """
    write_payload(path, model_payload(model, settings, provenance, structure, split, uncertainty))


def write_payload(path: str | Path, payload: Payload) -> None:
    """Write a model file.

    Args:
        path: the file.
        payload: see `model_payload`.

    Raises:
        CheckpointError: the file cannot be written; an existing one is left unchanged.
    """
    try:
        with atomic_write(Path(path)) as file:
            file.write(serialize(payload))
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}. The previous file is unchanged.") from error


def load_model(path: str | Path, *, trust: bool = False) -> ModelFile:
    """Read a model file, or the best model in a restart file.

    Args:
        path: the file.
        trust: let its reference potential run code and name files outside the model file.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, or of a newer version.
    """
    return model_of(load_payload(path, trust=trust), path, trust=trust)


def model_of(payload: Payload, path: str | Path, *, trust: bool = False) -> ModelFile:
    """Return the model of the validated payload of a file, see `load_payload`."""
    uncertainty = uncertainty_from(payload.get("uncertainty"))
    with refused(path):
        model = build_stored(payload["description"], payload["state_dict"])
        if uncertainty:
            uncertainty.check(model)
    structure = payload["structure"]
    return ModelFile(
        model.eval(),
        reference_of(payload),
        payload["eshift"],
        payload["potential"],
        None if structure is None else _structure(structure),
        payload["provenance"],
        split_of(payload),
        tuple(PropertyRow(**row) for row in payload.get("properties", ())),
        uncertainty,
        files_of(payload),
        Path(path),
        trust,
    )


def load_payload(path: str | Path, *, trust: bool = False) -> Payload:
    """Return the validated content of a model file, upgraded to the current version.

    Args:
        path: a model or restart file.
        trust: see `load_model`.

    Raises:
        CheckpointError: see `load_model`.
    """
    return validated(_read(path), path, trust=trust)


def validated(content: Any, path: str | Path, *, trust: bool = False) -> Payload:
    """Return the payload in what ``torch.load`` has returned, upgraded to the current version.

    Args:
        content: content of a model or restart file.
        path: its name, for messages.
        trust: see `load_model`.

    Raises:
        CheckpointError: see `load_model`.
    """
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    payload: Payload = content if isinstance(content, dict) else {}
    if payload.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a model file of fitsnap_nn: it is {_kind(content)}.")
    version = payload.get("version")
    if not isinstance(version, int) or version < 1:
        raise damaged(str(path), f"its version is {version!r}")
    if version > VERSION:
        raise CheckpointError(
            f"{path} was written by a newer fitsnap_nn (format {payload['version']}, this one reads up to {VERSION}). "
            "Update fitsnap_nn."
        )
    with refused(path):
        while payload["version"] < VERSION:
            payload = UPGRADES[payload["version"]](payload)
        check_payload(payload, trust)
    return payload


def _read(path: str | Path) -> Any:
    """Return the content of a file, loaded without running code in it."""
    try:
        content = read_regular(path)
    except OSError as error:
        raise CheckpointError(f"cannot read the model file {path}: {error.strerror}.") from error
    check_seal(content, str(path))
    kind = "not a torch file, or truncated"
    if b"fitsnap3lib" in content:
        kind = "a model pickled by FitSNAP; repeat the fit with the same input"
    elif any(name in content for name in (b"fitsnap_nn.export.mliappy", b"fitsnap_nn.export.unified")):
        kind = "the pickle for LAMMPS; give the model file of the same fit instead"
    elif zipfile.is_zipfile(path):
        return deserialize(content, str(path))
    raise CheckpointError(f"{path} is not a model file of fitsnap_nn: it is {kind}.")


def _kind(content: Any) -> str:
    """Return a description of a torch file that is not ours."""
    if not isinstance(content, dict):
        return f"a torch file holding one {type(content).__name__}"
    if "model_state_dict" in content:
        return "a restart file of FitSNAP, which contains weights but not their settings"
    return f"a torch file holding {', '.join(map(str, list(content)[:5])) or 'nothing'}"


def _plain_structure(structure: Configuration) -> Payload:
    arrays = {name: getattr(structure, name) for name in ("positions", "cell", "charges", "spins")}
    tensors = {name: None if array is None else torch.tensor(np.asarray(array)) for name, array in arrays.items()}
    return {
        "id": printable(structure.id),
        "species": list(structure.species),
        "pbc": [bool(p) for p in structure.pbc],
        **tensors,
    }


def _structure(plain: Payload) -> Configuration:
    arrays: dict[str, Any] = {
        name: None if plain[name] is None else plain[name].numpy() for name in ("positions", "cell", "charges", "spins")
    }
    first, second, third = plain["pbc"]
    return Configuration(
        id=plain["id"], group="", species=tuple(plain["species"]), pbc=(first, second, third), **arrays
    )


def _plain_split(split: Split) -> Payload:
    keys = {name: getattr(split, name) for name in ("training", "validation", "earlier")}
    tensors = {
        name: torch.from_numpy(np.frombuffer(b"".join(found), dtype=np.uint8).copy()) for name, found in keys.items()
    }
    return {"seed": split.seed, **tensors}


def split_of(payload: Payload) -> Split | None:
    """Return the split in a validated payload; ``None`` if it contains none."""
    plain = payload.get("split")
    if plain is None:
        return None

    def keys(tensor: torch.Tensor) -> tuple[bytes, ...]:
        content = tensor.numpy().tobytes()
        return tuple(content[start : start + KEY_BYTES] for start in range(0, len(content), KEY_BYTES))

    return Split(plain["seed"], keys(plain["training"]), keys(plain["validation"]), keys(plain["earlier"]))
