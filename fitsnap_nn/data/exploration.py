"""Reading of data of unknown content for a new input."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.discovery import ASE, VASP, Candidate, discover
from fitsnap_nn.data.files import list_files, natural_order, read_options
from fitsnap_nn.data.findings import Finding, summarize
from fitsnap_nn.data.readers import FORMATS, DataFile
from fitsnap_nn.errors import DataError, counted
from fitsnap_nn.settings.schema import GroupRow, Groups, PathSection, Scraper, Settings

MAX_BYTES = 2 * 2**30  # of files to read; larger data sets are sampled at even spacing
# A folder with more groups than this, of fewer configurations on average, is one group.
MANY_GROUPS, FEW_CONFIGURATIONS = 10, 3
PROGRESS_SECONDS = 3.0
# Of a file in a group with others, and of a file that is a group of its own.
STOPS = "a fit would stop at this file. Repair it, or move it out of the data"
LEFT_OUT = "the file cannot be read and is left out"

Say = Callable[[str], None]


class Group(NamedTuple):
    """Configurations that belong to one row of the group table."""

    name: str
    members: list[Configuration]


@dataclass(frozen=True)
class Reading:
    """Content of a file or folder.

    Attributes:
        scraper: format.
        data_path: folder of the groups, or the file with all of them.
        groups: in natural order of their names.
        num_files: number of files that were read.
        all_files: number of files that were found.
        findings: remarks of the readers, and files that were ignored or cannot be read.
    """

    scraper: str
    data_path: Path
    groups: tuple[Group, ...]
    num_files: int
    all_files: int
    findings: tuple[Finding, ...]

    @property
    def configurations(self) -> list[Configuration]:
        """Configurations of all groups."""
        return [one for group in self.groups for one in group.members]

    @property
    def num_labelled(self) -> int:
        """Number of configurations with an energy, forces or a stress."""
        return sum(bool(one.labels) for one in self.configurations)


def explore(data: Path, say: Say, conventions: Scraper | None = None) -> Reading:
    """Read the data in a file or folder; of several formats, take the one with the most labelled configurations.

    Args:
        data: file or folder.
        say: receives progress lines.
        conventions: names, units and signs of the labels; its format is ignored.

    Returns:
        The data, without configurations that have no label.

    Raises:
        DataError: no file has a known format, or no configuration has a label; the message lists why.
    """
    found = discover(data)
    readings = [_read(candidate, conventions or Scraper(), say) for candidate in found.candidates]
    if not readings:
        raise DataError(
            f"{data}: no FitSNAP JSON files, XYZ files, VASP runs, ASE databases or trajectories."
            + "".join(f"\n  {line}" for line in summarize(found.ignored))
        )
    chosen = max(readings, key=lambda reading: reading.num_labelled)
    others = [
        Finding(
            f"left out: {counted(len(one.configurations), 'configuration')} in {counted(one.num_files, 'file')} of "
            f"format {one.scraper}: an input reads one format. Convert them to that of the others, or fit them with an "
            "input of their own."
        )
        for one in readings
        if one is not chosen
    ]
    chosen = replace(_regrouped(chosen), findings=(*found.ignored, *others, *chosen.findings))
    if not chosen.num_labelled:
        raise DataError(_nothing_to_fit(chosen))
    return _labelled(chosen)


def _nothing_to_fit(reading: Reading) -> str:
    """Return why no label was read, from the remarks of the readers, and what to do."""
    what = "no file can be read"
    if reading.groups:
        what = "no configuration has an energy, forces or a stress under a known name (docs/data.md)"
    lines = "".join(f"\n  {line}" for line in summarize(reading.findings))
    return (
        f"{reading.data_path}: {what}.{lines}\nIf the data need keys of [SCRAPER], set them with --set, for example "
        "--set SCRAPER.energy_key=NAME --set SCRAPER.forces_key=NAME."
    )


def _labelled(reading: Reading) -> Reading:
    """Leave out configurations without a label: a fit does not use them, and they may be far from any structure."""
    groups = [Group(name, [one for one in members if one.labels]) for name, members in reading.groups]
    missing = len(reading.configurations) - reading.num_labelled
    left_out = Finding(
        f"{counted(missing, 'configuration')} without energy, forces and stress: not considered here, and not used by "
        "a fit."
    )
    findings = (*reading.findings, left_out) if missing else reading.findings
    return replace(reading, groups=tuple(group for group in groups if group.members), findings=findings)


def _read(candidate: Candidate, conventions: Scraper, say: Say) -> Reading:
    """Read the files that a fit with these groups would read, or a sample of them."""
    settings = _settings(candidate, conventions)
    sources = list_files(settings)
    chosen = _sample(sources)
    read, options = FORMATS[candidate.scraper].read, read_options(settings)
    findings: list[Finding] = []
    unreadable: list[tuple[DataFile, DataError]] = []
    members: dict[str, list[Configuration]] = {}
    last = time.monotonic()
    for number, source in enumerate(chosen):
        if time.monotonic() - last > PROGRESS_SECONDS:
            say(f"reading: {number} of {len(chosen)} files")
            last = time.monotonic()
        try:
            for one in read(source, options, findings):
                members.setdefault(one.group, []).append(one)
        except DataError as error:
            unreadable.append((source, error))
    findings += [Finding(f"{STOPS if one.group in members else LEFT_OUT}: {error}") for one, error in unreadable]
    groups = tuple(Group(name, members[name]) for name in sorted(members, key=natural_order))
    return Reading(candidate.scraper, candidate.data_path, groups, len(chosen), len(sources), tuple(findings))


def _settings(candidate: Candidate, conventions: Scraper) -> Settings:
    rows = tuple(GroupRow(name, 1.0, 0, 1.0, 1.0, 1.0, name) for name in candidate.groups)
    path = PathSection(data_path=str(candidate.data_path))
    return Settings(scraper=replace(conventions, scraper=candidate.scraper), path=path, groups=Groups(rows=rows))


def _sample(sources: Sequence[DataFile]) -> list[DataFile]:
    """Return all files, or evenly spaced ones of each group if they are too large together."""
    total = sum(Path(source.path).stat().st_size for source in sources)
    step = -(-total // MAX_BYTES)
    if step <= 1:
        return list(sources)
    groups: dict[str, list[DataFile]] = {}
    for source in sources:
        groups.setdefault(source.group, []).append(source)
    return [source for members in groups.values() for source in members[::step]]


def _regrouped(reading: Reading) -> Reading:
    """Merge many groups of a few configurations each into one, whose name is that of the data folder."""
    folder, names = reading.data_path.resolve(), [group.name for group in reading.groups]
    few = len(reading.configurations) < FEW_CONFIGURATIONS * len(names)
    if not (len(names) > MANY_GROUPS and few and folder.is_dir() and folder.name):
        return reading
    # Files of ASE are their own groups, and only groups of VASP data include nested folders.
    nested = any((folder / name).is_dir() for name in names)
    if reading.scraper == ASE or (reading.scraper != VASP and nested):
        return reading
    members = [replace(one, group=folder.name) for one in reading.configurations]
    return replace(reading, data_path=folder.parent, groups=(Group(folder.name, members),))
