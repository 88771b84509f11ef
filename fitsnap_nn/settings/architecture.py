"""Base class of the sections of architectures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from fitsnap_nn.settings.rows import PropertyRow

CUTOFF = "neighbour cutoff radius"
CUTOFF_WIDTH = "width of the smooth cutoff, which switches neighbours off towards the cutoff radius"
ZBL = "add the ZBL nuclear repulsion, up to the sum of the covalent radii"


def texts(**values: str) -> Mapping[str, str]:
    """Return values of keys, as text."""
    return MappingProxyType(values)


@dataclass(frozen=True)
class Architecture:
    """Base class of the sections of architectures, those of other packages included.

    Attributes:
        training_defaults: values of the keys of [PYTORCH] that an input for this architecture does not set, as text.
            Keys that are not listed have FitSNAP's defaults.
        other_learning_rate: default of ``learning_rate`` with another optimiser than that of ``training_defaults``, as
            text; empty: the same.
        recommended: keys of the section that the command ``new`` writes, as text.
        several_elements: further keys of the section that ``new`` writes for more than one element, as text.
        cutoff_key: key of the section with the neighbour cutoff; ``new`` derives its value from the data.
        num_neighbours: minimum number of neighbours per atom within the cutoff that ``new`` writes. 22 are more
            than two shells and at most three in bcc, fcc and diamond, whose first four shells contain 8, 14, 26 and
            50, 12, 18, 42 and 54, and 4, 16, 28 and 34 atoms.
        kalman_elements: maximum number of elements for which ``new`` writes the Kalman filter as optimiser; the number
            of weights, and with it the cost of a step, grows with them.
        num_steps: steps of Adam or SOAP to which ``new`` reduces the number of epochs for large data sets.
        training_atoms: atoms of all steps together to which ``new`` reduces the number of epochs further: with more
            atoms per step fewer steps are needed; 0: it does not.
        batch_atoms: atoms per step above which ``new`` reduces the batch size; 0: it does not.
        robust: whether ``new`` writes Huber losses: large residuals then do not dominate the gradients of Adam.
        takes_targets: whether the model is constructed with descriptions of the targets, which it then predicts.
        isolated_energies: whether ``new`` takes element energies from isolated atoms; then the model has to learn the
            binding energy, which is large against the differences between configurations.
    """

    training_defaults: ClassVar[Mapping[str, str]] = texts()
    other_learning_rate: ClassVar[str] = ""
    recommended: ClassVar[Mapping[str, str]] = texts()
    several_elements: ClassVar[Mapping[str, str]] = texts()
    cutoff_key: ClassVar[str] = ""
    num_neighbours: ClassVar[int] = 22
    kalman_elements: ClassVar[int] = 0
    num_steps: ClassVar[int] = 10_000
    training_atoms: ClassVar[int] = 0
    batch_atoms: ClassVar[int] = 0
    robust: ClassVar[bool] = False
    isolated_energies: ClassVar[bool] = True
    takes_targets: ClassVar[bool] = False

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield keys whose values are inconsistent with those of other keys, each with the reason."""
        yield from ()

    def target_problem(self, row: PropertyRow) -> tuple[str, str] | None:
        """Return why the model cannot predict a row of section TARGETS, and the remedy; ``None`` if it can.

        An architecture of another package answers with `Model.predicts` once its model is built.
        """
        return None

    def hyperparameters(self) -> dict[str, Any]:
        """Return the keyword arguments of the model besides the elements."""
        return asdict(self)

    @property
    def pretrained(self) -> tuple[str, str]:
        """File of a pretrained model to start from, and the head in it; both empty without one."""
        return "", ""
