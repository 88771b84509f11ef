"""Lines of the sections whose keys are names: groups of data and user-defined properties."""

from __future__ import annotations

from dataclasses import dataclass


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


@dataclass(frozen=True)
class PropertyRow:
    """One property of the section PROPERTIES.

    Attributes:
        name: identifier of the property.
        per: ``atom``: one label per atom; ``configuration``: one label per configuration.
        symmetry: ``scalar`` (1 number) or ``vector`` (3 Cartesian components).
        column: name of the label in the data files.
        unit: unit of the labels, for tables and plots; labels are not converted.
        weight: weight in the loss, in 1/unit².
        loss: name of the loss; empty: that of ``[PYTORCH] loss``.
        delta: delta of the loss in the unit of the labels; ``None``: that of ``[PYTORCH] huber_delta``.
        intensive: whether a property per configuration is independent of the number of atoms; extensive properties are
            divided by it in the loss and in tables.
        where: file and line.
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
