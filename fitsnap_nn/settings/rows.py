"""Lines of the sections whose keys are names: groups of data and targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class GroupRow:
    """One row of the group table.

    A size that is a float is a fraction of the group (1.0 = all), an int is a number of configurations.

    Attributes:
        name: name of the group, or a pattern with ``*`` and ``?``.
        training_size: part of the group to train on; ``None``: given by ``[PYTORCH] training_fraction``.
        testing_size: part held out for validation; ``None``: all that training and test set leave, as with FitSNAP's
            column ``size`` or ``[PYTORCH] training_fraction``.
        eweight: weight of squared energy residuals, (eV/atom)⁻².
        fweight: weight of squared force residuals, (eV/Å)⁻².
        vweight: weight of squared stress residuals, bar⁻².
        where: file and line.
        test_size: part held out as test set, which the trainer never sees; ``None``: no test set.
    """

    name: str
    training_size: float | int | None
    testing_size: float | int | None
    eweight: float
    fweight: float
    vweight: float
    where: str
    test_size: float | int | None = None


SPHERICAL = "spherical"
SYMMETRIES: Mapping[str, str] = MappingProxyType(
    {
        "scalar": "1 number",
        "vector": "3 components x y z",
        "symmetric_tensor": "3 x 3 matrix, stored as xx yy zz yz xz xy",
        "tensor": "3 x 3 matrix, stored as xx xy xz yx yy yz zx zy zz",
        SPHERICAL: "2 lambda + 1 components, m = -lambda ... lambda",
    }
)


@dataclass(frozen=True)
class PropertyRow:
    """One property of the section TARGETS.

    Attributes:
        name: identifier of the property.
        per: ``atom``: one label per atom; ``configuration``: one label per configuration.
        symmetry: a key of ``SYMMETRIES``.
        column: name of the label in the data files.
        unit: unit of the labels, for tables and plots; labels are not converted.
        weight: weight in the loss, in 1/unit².
        loss: name of the loss; empty: that of ``[PYTORCH] loss``.
        delta: delta of the loss in the unit of the labels; ``None``: that of ``[PYTORCH] huber_delta``.
        intensive: whether a property per configuration is independent of the number of atoms: the mean over atoms
            instead of the sum. Extensive properties are divided by it in the loss and in tables.
        where: file and line.
        degree: degree of a spherical tensor.
        pseudo: whether inversion changes the sign as compared with a proper tensor.
        head: ``mlp`` or ``linear``; empty: the default of the architecture.
        per_structure: do not divide an extensive property by the number of atoms in the loss and in tables.
        scale: unit of the model's output, in the unit of the labels; ``None``: fitted to the training set.
    """

    name: str
    per: str
    symmetry: str
    column: str
    unit: str = ""
    weight: float = 1.0
    loss: str = ""
    delta: float | None = None
    intensive: bool = False
    where: str = ""
    degree: int = 0
    pseudo: bool = False
    head: str = ""
    per_structure: bool = False
    scale: float | None = None

    @property
    def blocks(self) -> tuple[tuple[int, bool], ...]:
        """Degree, and whether it is a pseudo-tensor, of each irreducible block."""
        if self.symmetry == "symmetric_tensor":
            return (0, self.pseudo), (2, self.pseudo)
        if self.symmetry == "tensor":
            return (0, self.pseudo), (1, not self.pseudo), (2, self.pseudo)
        return (({"scalar": 0, "vector": 1}.get(self.symmetry, self.degree), self.pseudo),)

    @property
    def is_invariant(self) -> bool:
        """Whether rotations and inversion leave the property unchanged."""
        return self.blocks == ((0, False),)
