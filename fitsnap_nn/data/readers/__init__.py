"""Readers of data files, one module a format. A new format is one module and one line in `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.readers.ase_files import read_ase
from fitsnap_nn.data.readers.json_files import read_json
from fitsnap_nn.data.readers.raw import Column, DataFile, Units
from fitsnap_nn.data.readers.vasp import one_per_folder, read_vasp
from fitsnap_nn.data.readers.xyz import read_xyz

__all__ = ["FORMATS", "Column", "DataFile", "Format", "Units"]


class Format(NamedTuple):
    """How the data of a group are found and read.

    Attributes:
        read: the configurations of one file, in the package's units.
        suffixes: a group is the folder of its name, or the file of its name with one of these added.
        patterns: which files of the group's folder are data.
        group_by_frame: whether one file can hold all groups, each frame naming its own by ``config_type``.
        choose: drops files that repeat others.
    """

    read: Callable[[DataFile, Units, Sequence[Column]], Iterator[Configuration]]
    suffixes: tuple[str, ...]
    patterns: tuple[str, ...]
    group_by_frame: bool = False
    choose: Callable[[list[Path]], list[Path]] = list


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "JSON": Format(read_json, (".json",), ("*.json",)),
        "XYZ": Format(read_xyz, (".extxyz", ".xyz"), ("*.extxyz", "*.xyz"), group_by_frame=True),
        "VASP": Format(read_vasp, ("",), ("**/*OUTCAR*", "**/*vasprun*.xml*"), choose=one_per_folder),
        "ASE": Format(read_ase, ("",), ("*",), group_by_frame=True),
    }
)
