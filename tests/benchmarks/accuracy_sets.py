"""Data sets of bench_accuracy.py, and the errors of published potentials on their test sets.

`DataSet.training` is all that `new` and `fit` read. Only the final evaluation opens the files of `DataSet.tests`.
"""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ZUO = "Zuo et al., J. Phys. Chem. A 124, 731 (2020)"
COLUMNS = ["name", "training_size", "testing_size", "test_size", "eweight", "fweight", "vweight"]
FITSNAP_ROWS = {"*": "0.7 0.3 0 1e-2 1 0"}  # of FitSNAP's example Ta_PyTorch_NN, with the weights of bench_fitsnap.py


@dataclass(frozen=True)
class DataSet:
    """Training data and test files, relative to the folder of an unpacked archive.

    Attributes:
        archive: below the folder of data; empty: the paths are those of files outside archives.
        tests: test files by label of their row in the table.
        rows: rows of [GROUPS], with `COLUMNS`, that replace those of
            ``new``.
    """

    archive: str
    training: str
    tests: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)


SETS = {
    "Ni": DataSet("zuo/zuo2020_Ni_Si.tar.xz", "zuo2020_Ni_train.xyz", {"test": "zuo2020_Ni_test.xyz"}),
    "Si": DataSet("zuo/zuo2020_Ni_Si.tar.xz", "zuo2020_Si_train.xyz", {"test": "zuo2020_Si_test.xyz"}),
    "Ta": DataSet("Ta_JSON.tar.xz", "JSON", rows=FITSNAP_ROWS),
    "AcAc": DataSet(
        "AcAc_extxyz.tar.xz",
        "acac/train_300K.xyz",
        {"300 K": "acac/test_MD_300K.xyz", "600 K": "acac/test_MD_600K.xyz"},
    ),
    "InP": DataSet("InP_JSON.tar.xz", "JSON"),
}

# Mean absolute and root-mean-square errors of energies (meV/atom), then of forces (meV/Å), of the potential files of
# ZUO on the same test sets.
PUBLISHED = {
    "Ni": {
        "SNAP": (0.78, 1.17, 37.7, 84.7),
        "qSNAP": (0.78, 1.04, 30.8, 74.8),
        "n2p2": (1.52, 2.25, 30.2, 67.0),
        "MTP": (0.48, 0.75, 14.0, 26.9),
    },
    "Si": {
        "SNAP": (6.44, 8.06, 132.7, 205.3),
        "qSNAP": (3.81, 5.51, 115.7, 176.9),
        "n2p2": (5.63, 6.93, 108.6, 169.7),
        "MTP": (2.31, 3.03, 56.0, 88.1),
    },
}


def find_sets(words: list[str], data: Path) -> dict[str, DataSet]:
    """Return the data sets by name.

    Args:
        words: names of `SETS`, or NAME=TRAINING[,TEST...] with paths of files; empty: those of `SETS` that exist.
        data: folder of the archives.

    Raises:
        SystemExit: a name is unknown, or a file does not exist.
    """
    if not words:
        words = [name for name, one in SETS.items() if (data / one.archive).is_file()]
    found = {}
    for word in words:
        name, own, paths = word.partition("=")
        if own:
            training, *tests = (str(Path(path).resolve()) for path in paths.split(","))
            found[name] = DataSet("", training, {Path(path).stem: path for path in tests})
        elif name in SETS:
            found[name] = SETS[name]
        else:
            sys.exit(
                f"--sets {word}: no such data set; known are {', '.join(SETS)}, others are NAME=TRAINING[,TEST...]"
            )
        one = found[name]
        needed = [data / one.archive] if one.archive else [Path(one.training), *map(Path, one.tests.values())]
        if missing := [str(path) for path in needed if not path.exists()]:
            sys.exit(f"--sets {word}: there is no {', no '.join(missing)}")
    return found


def unpack(one: DataSet, data: Path, folder: Path) -> Path:
    """Unpack the archive of a data set into a folder unless that has been done; return where its paths start."""
    if one.archive:
        target = folder / Path(one.archive).name.partition(".")[0]
        if not target.exists():
            partial = target.with_name(f"{target.name}.partial")  # a killed run leaves no half an archive behind
            with tarfile.open(data / one.archive) as archive:
                archive.extractall(partial, filter="data")
            partial.rename(target)
        return target
    return folder
