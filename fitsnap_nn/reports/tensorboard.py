"""Event files for TensorBoard, with the content of ``metrics.csv``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from fitsnap_nn.data.properties import Property
from fitsnap_nn.files import named_errors
from fitsnap_nn.reports.epochs import EpochRow
from fitsnap_nn.settings.outputs import TENSORBOARD

EVENTS = "events.out.tfevents.*"  # names of event files


class EventLog(AbstractContextManager["EventLog"]):
    """Writes a number per epoch for losses, errors of the validation set, learning rate and time.

    Args:
        folder: output folder; the files are in its subfolder ``tensorboard``.
        properties: properties of the fit.
        after: last epoch of existing files to keep, for a resumed fit; ``None`` removes the files of an earlier fit.
        blocks: irreducible blocks of properties whose errors are reported too.
    """

    def __init__(
        self, folder: Path, properties: Sequence[Property], after: int | None = None, blocks: Sequence[Property] = ()
    ) -> None:
        # Optional; the checks of the input have found it.
        from torch.utils.tensorboard import SummaryWriter

        self._folder, self._properties, self._blocks = folder / TENSORBOARD, properties, blocks
        if after is None:
            for path in self._folder.glob(EVENTS):
                path.unlink()
        purged = None if after is None else after + 1
        with named_errors(self._folder):
            self._writer = SummaryWriter(str(self._folder), purge_step=purged)

    def write(self, row: EpochRow) -> None:
        """Add an epoch.

        Args:
            row: results of the epoch.
        """
        numbers = {
            "loss/training": row.train_loss,
            "loss/validation": row.validation_loss,
            "learning rate": row.learning_rate,
            "time per epoch (s)": row.seconds,
        }
        of_properties = (("MAE", row.mae, self._properties), ("RMSE", row.rmse, self._properties))
        of_blocks = (("MAE", row.block_mae, self._blocks), ("RMSE", row.block_rmse, self._blocks))
        for kind, values, properties in (*of_properties, *of_blocks):
            for one, value in zip(properties, values, strict=False):
                numbers[f"{one.title.lower()}/{kind} of validation ({one.report_unit.label})"] = value
        for name, value in numbers.items():
            if not math.isnan(value):
                self._writer.add_scalar(name, value, row.epoch)
        with named_errors(self._folder):
            self._writer.flush()

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._writer.close()
