"""Search for data in a folder of unknown content: which files hold configurations, in which format and groups."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fitsnap_nn.data.files import natural_order
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.other_programs import reason_not_read
from fitsnap_nn.data.readers.vasp import is_vasp
from fitsnap_nn.files import irregularity
from fitsnap_nn.settings.formats import LAYOUTS

XYZ, JSON, VASP, ASE = "XYZ", "JSON", "VASP", "ASE"
ASE_SUFFIXES = (".db", ".traj", ".aselmdb")
HEAD = 65536  # bytes of a JSON file that are read to determine its kind
OTHER_JSON = "neither FitSNAP's JSON format (no 'Dataset') nor an ASE database."
OUTPUT = "output folder of a fit."
# Names of groups that are taken for a test or a validation set.
TEST = re.compile(r"(?:^|[^a-z])test(?:set|ing)?(?:[^a-z]|$)", re.IGNORECASE)
VALIDATION = re.compile(r"(?:^|[^a-z])val(?:id|idation)?(?:[^a-z]|$)", re.IGNORECASE)


@dataclass
class Candidate:
    """Data of one format.

    Attributes:
        scraper: the format.
        data_path: folder of the groups, or the file with all of them.
        groups: names of the groups; empty if each frame of one file names its group.
    """

    scraper: str
    data_path: Path
    groups: list[str] = field(default_factory=list)


class Discovery(NamedTuple):
    """Data that were found, by format, and what was ignored."""

    candidates: tuple[Candidate, ...]
    ignored: tuple[Finding, ...]


def discover(data: Path) -> Discovery:
    """Find the data in a file or folder; of JSON files only the beginning is read, of others nothing.

    Args:
        data: file, or folder with files and subfolders of any depth.
    """
    if data.is_file():
        scraper = file_format(data)
        if not scraper:
            return Discovery((), (Finding(_reason(data), data.name),))
        return Discovery((_of_one_file(data, scraper),), ())
    found: dict[str, Candidate] = {}
    ignored: list[Finding] = []
    for path in _walk(data, ignored):
        scraper = file_format(path)
        if not scraper:
            ignored.append(Finding(_reason(path), path.relative_to(data).as_posix()))
            continue
        candidate = found.setdefault(scraper, Candidate(scraper, data))
        group = _group(data, path, scraper)
        if group not in candidate.groups:
            candidate.groups.append(group)
    return Discovery(tuple(found.values()), tuple(ignored))


def file_format(path: Path) -> str:
    """Return the scraper for a file, or an empty string."""
    name = path.name
    if irregularity(path):
        return ""
    if name.endswith(LAYOUTS[XYZ].suffixes):
        return XYZ
    if is_vasp(path):
        return VASP
    if name.endswith(ASE_SUFFIXES):
        return ASE
    if name.endswith(LAYOUTS[JSON].suffixes):
        head = _head(path)
        if '"Dataset"' in head:
            return JSON
        return ASE if '"numbers"' in head and '"unique_id"' in head else ""
    return ""


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(HEAD).decode("utf-8", errors="replace")
    except OSError:
        return ""  # a broken link, or a file that may not be read


def _reason(path: Path) -> str:
    if kind := irregularity(path):
        return f"{kind}, not a file."
    if not os.access(path, os.R_OK):
        return "the file cannot be read: a broken link, or no permission."
    return OTHER_JSON if path.suffix == ".json" else reason_not_read(path)


def _of_one_file(path: Path, scraper: str) -> Candidate:
    """Return one XYZ or ASE file as a whole data set, another file as a group of its folder."""
    if scraper in (XYZ, ASE):
        return Candidate(scraper, path)
    name = path.name.removesuffix(".json") if scraper == JSON else path.name
    return Candidate(scraper, path.parent, [name])


def _walk(root: Path, ignored: list[Finding]) -> Iterator[Path]:
    """Yield all files below a folder in natural order; hidden ones and those of fits are skipped."""
    for folder, subfolders, files in os.walk(root):
        here = Path(folder)
        if "input.used.in" in files:
            ignored.append(Finding(OUTPUT, here.relative_to(root).as_posix()))
            subfolders.clear()
            continue
        subfolders[:] = sorted((name for name in subfolders if not name.startswith(".")), key=natural_order)
        yield from (here / name for name in sorted(files, key=natural_order) if not name.startswith("."))


def _group(root: Path, path: Path, scraper: str) -> str:
    """Return the group of a file.

    A file in the folder of the data is a group, others belong to that of their folder. All VASP runs below one
    subfolder are a group. Every ASE file is a group, since a folder as a group would include files that are no data.
    """
    relative = path.relative_to(root)
    if scraper == ASE or (scraper == VASP and len(relative.parts) == 1):
        return relative.as_posix()
    if len(relative.parts) == 1:
        return path.stem
    return relative.parts[0] if scraper == VASP else relative.parent.as_posix()
