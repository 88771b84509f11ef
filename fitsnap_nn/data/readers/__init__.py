"""Readers of data files, one module per format. To add a format, write a module and register it in `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.readers.json_files import read_json
from fitsnap_nn.data.readers.raw import Column, DataFile, ReadOptions, VaspOptions
from fitsnap_nn.data.readers.vasp import outcars_beside_xml, read_vasp
from fitsnap_nn.data.readers.xyz import read_ase, read_xyz
from fitsnap_nn.settings.formats import LAYOUTS

__all__ = ["FORMATS", "Column", "DataFile", "Format", "ReadOptions", "VaspOptions"]


def _each_alone(paths: Sequence[Path]) -> dict[Path, tuple[Path, ...]]:
    return dict.fromkeys(paths, ())


class Format(NamedTuple):
    """File format of a data set.

    Attributes:
        read: function that yields the configurations of one file in internal units, and adds to a list what it
            assumed, converted or left out.
        suffixes, patterns, group_by_frame: see `fitsnap_nn.settings.formats.Layout`.
        choose: function that returns the files to read, and the files beside each that usually contain the same data.
    """

    read: Callable[[DataFile, ReadOptions, list[Finding]], Iterator[Configuration]]
    suffixes: tuple[str, ...]
    patterns: tuple[str, ...]
    group_by_frame: bool = False
    choose: Callable[[Sequence[Path]], Mapping[Path, tuple[Path, ...]]] = _each_alone


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "JSON": Format(read_json, *LAYOUTS["JSON"]),
        "XYZ": Format(read_xyz, *LAYOUTS["XYZ"]),
        "VASP": Format(read_vasp, *LAYOUTS["VASP"], choose=outcars_beside_xml),
        "ASE": Format(read_ase, *LAYOUTS["ASE"], choose=outcars_beside_xml),
    }
)
