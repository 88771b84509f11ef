"""Checks of a model file of mace-torch without loading it, which would run code that it contains."""

from __future__ import annotations

import zipfile
from importlib.util import find_spec

from fitsnap_nn.files import irregularity
from fitsnap_nn.memory import shortage
from fitsnap_nn.settings.files import nearest

PICKLE = b"\x80"  # first byte of a pickle, the format of torch before version 1.6
COPIES = 3  # of the tensors of a float64 file: those read, their conversion, and those of our model
DOWNLOAD = "Download the file again."
WANTED = "Give a file with the suffix .model that mace_run_train or mace-foundations provides."


def mace_file_problem(path: str) -> tuple[str, str] | None:
    """Return why a file cannot be a model of mace-torch, and a remedy; ``None`` if nothing speaks against it.

    A file of torch is a zip archive of tensors and of a pickle, which names the classes of the objects in it.
    """
    if kind := irregularity(path):
        return f"{path} is {kind}, not a file", WANTED
    try:
        with open(path, "rb") as file:
            start = file.read(60)
        if not start:
            return f"{path} is empty", DOWNLOAD
        if not zipfile.is_zipfile(path):
            return _not_an_archive(path, start)
        with zipfile.ZipFile(path) as archive:
            return _archive_problem(path, archive)
    except FileNotFoundError:
        return f"no such file: {path}", nearest(path) or "Relative paths are relative to the folder of the input file."
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}", "Check its permissions."
    except (zipfile.BadZipFile, KeyError) as error:
        return f"{path} is damaged: {error}", DOWNLOAD


def _not_an_archive(path: str, start: bytes) -> tuple[str, str] | None:
    if start.startswith(PICKLE):
        return None
    if start.startswith(b"PK"):
        return f"{path} is incomplete: the end of the archive is missing", DOWNLOAD
    shown = start.decode("ascii", "replace").split("\n")[0].strip()
    pointer = " This is a pointer of Git LFS: get the file itself with git lfs pull." if b"git-lfs" in start else ""
    return f"{path} is not a file of torch; it starts with '{shown}'", f"{DOWNLOAD}{pointer}"


def _archive_problem(path: str, archive: zipfile.ZipFile) -> tuple[str, str] | None:
    names = archive.namelist()
    if any("/code/" in name for name in names):
        return f"{path} is a compiled model (TorchScript), whose layers cannot be read", WANTED
    pickled = next((name for name in names if name.endswith("/data.pkl")), "")
    if not pickled:
        return f"{path} is an archive, but not one of torch", WANTED
    classes = archive.read(pickled)
    if b"mace.calculators.lammps" in classes:
        return f"{path} was converted for LAMMPS", "Give the .model file that it was made from."
    if b"mace.modules.models" not in classes and b"mace.modules.extensions" not in classes:
        return f"{path} contains no model of mace-torch; a checkpoint contains its weights only", WANTED
    if b"cuequivariance_torch" in classes and find_spec("cuequivariance_torch") is None:
        hint = "Install cuequivariance and cuequivariance-torch, or convert the file with mace_cueq_to_e3nn."
        return f"{path} contains layers of cuequivariance, which is not installed", hint
    tensors = sum(entry.file_size for entry in archive.infolist())
    if short := shortage(COPIES * tensors):
        return f"{path} has tensors of {tensors / 2**30:.3g} GiB; reading them needs at least {short}", ""
    return None
