"""Checks of inputs with a linear solver."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from fitsnap_nn.settings.descriptors import n_descriptors
from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.linear import NEED_SKLEARN
from fitsnap_nn.settings.schema import Settings

MAX_COLUMNS = 20_000  # the triangle of the system and its decomposition take 10 GB
Finding = tuple[str, str, str, str]  # section, key, what is wrong, remedy


def check_linear(document: Document, settings: Settings) -> None:
    """Report what a linear solver does not support; note that a model without constants has to fit whole energies."""
    for finding in _findings(document, settings):
        document.report(*finding)
    if settings.bispectrum.bzeroflag and not any(settings.eshift.values()):
        document.notices.append(
            "[BISPECTRUM] bzeroflag = 1: the linear model has no constant energy for each element, and none is "
            "subtracted from the labels. bzeroflag = 0 adds the constants."
        )


def _findings(document: Document, settings: Settings) -> Iterator[Finding]:
    solver, calculator, bispectrum = settings.solver.solver, settings.calculator.calculator, settings.bispectrum
    if document.sound("CALCULATOR", "calculator") and calculator != "LAMMPSSNAP":
        what = f"is {calculator}, but [SOLVER] solver = {solver} is linear in SNAP descriptors"
        yield "CALCULATOR", "calculator", what, "Use calculator = LAMMPSSNAP, or solver = PYTORCH."
    if solver in NEED_SKLEARN and find_spec("sklearn") is None:
        yield "SOLVER", "solver", f"{solver} needs scikit-learn", "Install it with: pip install 'fitsnap_nn[linear]'"
    if settings.extras.apply_transpose and solver in ("RIDGE", *NEED_SKLEARN):
        what = f"changes the meaning of the parameters of solver = {solver}, and is not supported"
        yield "EXTRAS", "apply_transpose", what, "Remove the key, and choose the parameters for the system itself."
    if not document.sound("BISPECTRUM", "type", "twojmax", "chemflag", "quadraticflag"):
        return
    if bispectrum.chemflag and len(set(bispectrum.twojmax)) > 1:
        what = f"= {' '.join(map(str, bispectrum.twojmax))} differs between elements, which chemflag = 1 does not allow"
        yield "BISPECTRUM", "twojmax", what, "Give one value."
    columns = len(bispectrum.type) * (n_descriptors(bispectrum) + 1)
    if columns > MAX_COLUMNS:
        what = f"a linear model would have {columns} coefficients, above the maximum of {MAX_COLUMNS}"
        key = "quadraticflag" if bispectrum.quadraticflag else "twojmax"
        yield "BISPECTRUM", key, what, "Decrease twojmax, or set quadraticflag = 0."
    for row in settings.targets:
        yield "TARGETS", row.name, "a linear model predicts energy, forces and stress only", "Remove it."
