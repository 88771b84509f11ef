"""Binary files with a digest: what is written is found unchanged, or reported as damaged, when it is read.

torch does not compare the checksums in its files, so that a flipped bit changes a weight in silence. The files of
`serialize` remain those of ``torch.save``: the digest is the comment of the zip archive. Digests behind a pickle are
ignored by ``pickle.load``, which stops at the end of the object.

The module imports torch on use, because the LAMMPS plugin imports it whenever LAMMPS starts.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

from fitsnap_nn.errors import CheckpointError

MARK = b"fitsnap_nn sha256 "
DIGEST_SIZE = 64  # hexadecimal digits
SEAL_SIZE = len(MARK) + DIGEST_SIZE
REMEDY = "Restore it from a copy, or write it again."
# A file refers to a tensor several times at most; more would let a small file fill the memory.
MAX_EXPANSION = 16


def seal(content: bytes) -> bytes:
    """Append the digest of a content to it."""
    return content + _seal_of(content)


def _seal_of(content: bytes | memoryview) -> bytes:
    return MARK + hashlib.sha256(content).hexdigest().encode()


def check_seal(content: bytes, name: str) -> bool:
    """Compare a content with the digest at its end.

    Args:
        content: content of a file.
        name: name of the file in messages.

    Returns:
        Whether there is a digest; files of earlier versions have none.

    Raises:
        CheckpointError: content and digest differ.
    """
    start = content.rfind(MARK, -2 * SEAL_SIZE)  # not exactly at the end of files that lack or gained a few bytes
    if start < 0:
        return False
    if _seal_of(memoryview(content)[:start]) != content[start:]:
        raise damaged(name, "its content does not agree with the digest at its end")
    return True


def is_sealed(path: str | Path) -> bool:
    """Return whether a file ends with a digest."""
    with open(path, "rb") as file:
        file.seek(0, io.SEEK_END)
        file.seek(max(0, file.tell() - SEAL_SIZE))
        return file.read().startswith(MARK)


def damaged(name: str, reason: str) -> CheckpointError:
    """Return the error for a damaged file."""
    return CheckpointError(f"{name} is damaged: {reason}. {REMEDY}")


def serialize(content: Any) -> bytes:
    """Return the content of a file of ``torch.save``, with a digest.

    Args:
        content: tensors, numbers and strings in dictionaries, lists and tuples.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(-2, io.SEEK_END)  # a zip archive ends with the length of its comment, which torch leaves empty
    buffer.write(struct.pack("<H", SEAL_SIZE))
    with buffer.getbuffer() as archive:
        end = _seal_of(archive)
    buffer.write(end)
    return buffer.getvalue()


def deserialize(content: bytes, name: str) -> Any:
    """Return what `serialize` or ``torch.save`` has written, on the CPU, without running code in it.

    Args:
        content: content of the file; one without digest is checked by the checksums of its zip archive.
        name: name of the file in messages.

    Raises:
        CheckpointError: the file is damaged, needs more memory than its size justifies, or would run code.
    """
    import torch

    check_seal(content, name)
    archive = _checked_archive(content, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, on files that are not for `torch.load`
            found = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    except Exception as error:  # the pickle of a damaged or foreign file can raise anything
        what = "it is malformed, or contains objects that would run code"
        raise CheckpointError(
            f"{name} is not a model file or restart file of fitsnap_nn: {what} ({type(error).__name__})."
        ) from error
    _check_size(found, len(content), name)
    return found


def _checked_archive(content: bytes, name: str) -> bytes:
    """Return a zip archive with the records of another one, whose checksums and sizes have been compared.

    torch ignores the checksums, and reserves the memory that a record claims to need. It reads the new archive, since
    two readers can disagree about a malicious one.
    """
    checked = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(checked, "w") as target:
            members = source.infolist()
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            if not stored or sum(member.file_size for member in members) > len(content):
                raise zipfile.BadZipFile("its records are larger than the file")
            for member in members:
                target.writestr(member.filename, source.read(member))
    except Exception as error:  # zipfile raises many kinds of errors for a damaged archive
        raise damaged(name, f"it is not a complete zip archive of torch.save ({error})") from error
    return checked.getvalue()


def _check_size(found: Any, size: int, name: str) -> None:
    """Refuse contents that are larger than their file: tensors that repeat a number, nested references to one list.

    Raises:
        CheckpointError: see above.
    """
    import torch

    allowed = MAX_EXPANSION * size
    left = [found]
    while left and allowed >= 0:
        one = left.pop()
        allowed -= 1
        if isinstance(one, torch.Tensor):
            allowed -= one.numel() * one.element_size()
        elif isinstance(one, str | bytes):
            allowed -= len(one)
        elif isinstance(one, dict):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set):
            left += one
    if allowed < 0:
        raise CheckpointError(f"{name} is refused: it would need far more memory than its size justifies.")
