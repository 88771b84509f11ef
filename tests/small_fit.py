"""A fit of seconds, on a few configurations of the shipped example."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from places import EXAMPLE

import fitsnap_nn

if TYPE_CHECKING:
    from fitsnap_nn.workflow.run import Fit

SMALL_INPUT = """\
[BISPECTRUM]
numTypes = 1
type = Ta
twojmax = 4
rcutfac = 4.67637
bzeroflag = 1

[PYTORCH]
layer_sizes = num_desc 8 8 1
activation = tanh
learning_rate = 2e-3
num_epochs = 3
batch_size = 4
dtype_setting = 2
manual_seed_flag = 1
seed = 3
save_state_output = restart.pt

[PATH]
dataPath = {data}

[OUTFILE]
metrics = errors.md
potential = pot

[REFERENCE]
pair_style = hybrid/overlay zero 6.0 zbl 4.0 4.8
pair_coeff1 = * * zero
pair_coeff2 = * * zbl 73 73

[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
group_types = str float float float float float
random_sampling = 1
random_seed = 5
Volume_BCC    = 6 2 10 1 1e-8
Displaced_BCC = 5 2 100 1 1e-8
"""


def write_small_input(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the input of the fit.

    Args:
        changes: pairs (old, new) of text to replace in it.
    """
    text = SMALL_INPUT.format(data=EXAMPLE / "JSON")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "small.in"
    path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def without_plots() -> Iterator[None]:
    """Fits that draw nothing and write no page: these take as long as the rest of them."""
    with (
        patch("fitsnap_nn.workflow.summary.write_pictures", return_value=({}, [])),
        patch("fitsnap_nn.workflow.summary.write_report"),
    ):
        yield


def fit(path: Path, folder: str, *, resume: bool = False, verify: bool = False, **keys: object) -> Fit:
    """Fit an input in-process, without plots; fits to one folder share their model inputs.

    Args:
        path: the input.
        folder: output folder, beside the input.
        resume, verify: as of `fitsnap_nn.fit`.
        keys: values of keys of [PYTORCH].
    """
    overrides = {"OUTFILE.folder": path.parent / folder, "MEMORY.cache": path.parent / "cache"}
    overrides |= {f"PYTORCH.{key}": value for key, value in keys.items()}
    with without_plots():
        return fitsnap_nn.fit(path, overrides, verify=verify, resume=resume)


def log_of(result: Fit) -> str:
    return (result.folder / "run.log").read_text(encoding="utf-8")
